package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"sipedge/config"
	"sipedge/router"
	"sipedge/router/dialog"
	"sipedge/router/gateway"
	"sipedge/router/policy"
	"sipedge/transport"
	"sipedge/txn"
)

// routerConfig is what the router has to know.
func (p *proxy) routerConfig(cfg *config.Config) router.Config {
	rc := router.Config{
		OpenRelay:    cfg.OpenRelay,
		ForceRport:   cfg.ForceRport,
		UDPMTUSwitch: cfg.UDPMTUSwitch,
		Listeners:    p.routerListeners(cfg),
		Timers:       txn.Timers{T1: cfg.T1, T2: cfg.T2, T4: cfg.T4, C: cfg.TimerC},
		Resolver:     router.Resolver{Lookup: p.resolver.Lookup, Start: p.resolver.Start, Block: p.resolver.Block},
		Overload:     overloadRules(&cfg.Policy.Overload),
	}
	switch cfg.Mode {
	case config.Stateful:
		rc.Mode = router.Stateful
	case config.Stateless:
		rc.Mode = router.Stateless
	}
	switch cfg.RecordRoute {
	case config.RecordAuto:
		rc.RecordRoute = router.RecordAuto
	case config.RecordAlways:
		rc.RecordRoute = router.RecordAlways
	case config.RecordNever:
		rc.RecordRoute = router.RecordNever
	}
	for _, d := range slices.Concat(cfg.Domains, cfg.Policy.Domains) {
		rc.Domains = append(rc.Domains, router.Domain{Host: d.Host, Port: d.Port})
	}
	if t := cfg.NextHop; t != nil {
		rc.NextHop = &router.NextHop{Host: t.Host, Port: t.Port, Proto: t.Transport}
		if t.Sips {
			rc.NextHop.Proto = transport.TLS
		}
	}
	if p.streams != nil {
		rc.Peer, rc.Alias = p.streams.Peer, p.streams.Alias
	}
	p.policy.hook(&rc)
	return rc
}

func dnsServers(list []netip.AddrPort) (servers []string) {
	for _, s := range list {
		servers = append(servers, s.String())
	}
	return servers
}

// policies keeps what the policy file says in force.
type policies struct {
	pool    *gateway.Pool
	decider *policy.Decider
	cfg     *config.Config
	log     *zap.Logger
	calls   *dialog.Table // those that count against a limit; nil without a policy file
	ticks   chan struct{} // the schedules are new
}

func newPolicies(cfg *config.Config, e *engines, log *zap.Logger) *policies {
	pool := gateway.NewPool()
	s := &policies{pool: pool, decider: policy.New(pool, e.names, e.peer), cfg: cfg, log: log, ticks: make(chan struct{}, 1)}
	if cfg.PolicyFile != "" {
		s.calls = dialog.New(dialog.Config{
			MaxDuration: cfg.MaxCallDuration,
			Begun:       func(o dialog.Owner, now transport.Instant) bool { return s.decider.Begun(o.Peer, now) },
			Ended: func(o dialog.Owner) {
				s.decider.Ended(o.Gateway)
				s.decider.Ended(o.Peer)
			},
			TokenParam: router.TokenParam,
		})
	}
	return s
}

// close ends what runs beside.
func (s *policies) close() {
	if s.calls != nil {
		s.calls.Close()
	}
}

// hook makes the router ask. Without a policy file there is nothing to ask about.
func (s *policies) hook(rc *router.Config) {
	if s.cfg.PolicyFile == "" {
		return
	}
	rc.Decide, rc.Admit, rc.Outcome, rc.Emergency = s.decider.Decide, s.decider.Admit, s.decider.Outcome, s.decider.Emergency
	rc.Probed, rc.Dialogs = s.decider.Probed, s.calls
}

// load puts a policy in force.
func (s *policies) load(core *router.Core, p *config.Policy) error {
	if s.cfg.PolicyFile == "" {
		return nil
	}
	if err := s.decider.Load(core, p, transport.Now(), time.Now()); err != nil {
		return err
	}
	if err := core.SetOverload(overloadRules(&p.Overload)); err != nil {
		return err
	}
	select {
	case s.ticks <- struct{}{}:
	default:
	}
	return nil
}

// reload reads the policy file again. With an error everything stays as it is.
func (s *policies) reload(core *router.Core) {
	file := s.cfg.PolicyFile
	if file == "" {
		return
	}
	p, warnings, err := config.LoadPolicy(file, s.cfg)
	if err == nil {
		for _, w := range warnings {
			s.log.Warn(w)
		}
		err = s.load(core, p)
	}
	if err != nil {
		s.log.Error("the policy stays as it was; sipedge check FILE shows what is wrong", zap.String("file", file), zap.Error(err))
		return
	}
	if !slices.Equal(p.Domains, s.cfg.Policy.Domains) {
		s.log.Warn("other domains take effect at the next start")
	}
	s.log.Info("policy in force", zap.String("file", file), zap.Int("routes", len(p.Routes)))
}

// followSchedules opens and closes schedules in time until ctx ends. The clock may be set, so it is looked at each minute at
// the latest.
func (s *policies) followSchedules(ctx context.Context) {
	for {
		now := time.Now()
		wait := min(max(s.decider.Tick(now).Sub(now), 10*time.Millisecond), time.Minute)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-s.ticks:
		}
	}
}
