package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sipedge/admin"
	"sipedge/config"
	"sipedge/router"
	"sipedge/transport"
	"sipedge/transport/batch"
	"sipedge/transport/gnetudp"
	"sipedge/txn"
)

const (
	// stopTimeout is what the loops get to end when the drain is over; they need a millisecond.
	stopTimeout = time.Second
	// drainPoll is how often a drain looks at what is pending. The core's count may be 20 ms old, so
	// it has to be zero twice.
	drainPoll = 25 * time.Millisecond
)

func serveCommand(environ []string, stderr io.Writer) *cobra.Command {
	var flags *config.Flags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGTERM or SIGINT. It then takes no new work, lets transactions finish within
--drain, and exits 0; a second signal ends it at once.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := flags.Load(environ)
			if err != nil {
				return usageError{err}
			}
			return serve(cfg, newLog(cfg, stderr))
		},
	}
	flags = config.Register(c.Flags())
	c.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprintf(c.OutOrStdout(), `%s

Usage:
  sipedge serve [flags]

Examples:
  sipedge serve
        A stateful proxy on 127.0.0.1:5060.
  sipedge serve --listen udp:192.0.2.1:5060 --domain example.com --next-hop sip:192.0.2.10:5060
        What is for example.com goes on to 192.0.2.10.
  sipedge serve --listen udp:10.0.0.1:5060 --listen 'udp:[2001:db8::1]:5060' \
          --advertise udp:10.0.0.1:5060=sip.example.com --record-route always
        Two listeners, one of them behind a one-to-one NAT; every later request comes through here.

%s`, c.Long, config.Usage())
	})
	return c
}

// serve runs the proxy from start to exit.
func serve(cfg *config.Config, log *zap.Logger) error {
	defer log.Sync()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// Whoever reads our log may go away; that must not end calls.
	signal.Ignore(syscall.SIGPIPE)
	warn := func(message string) { log.Warn(message) }
	for _, w := range cfg.Warnings {
		warn(w)
	}
	runtime.GOMAXPROCS(batch.Procs(cfg.Loops))

	p, err := start(cfg, log)
	if err != nil {
		return err
	}
	return p.run(cfg, log, signals)
}

// proxy is what serve has made.
type proxy struct {
	engine  transport.Engine
	store   *txn.Store
	core    *router.Core
	service *admin.Service
	panics  *panicLog
	ended   chan error // the engine's or the service's end
}

// start opens everything and serves. What fails most often, a port that is taken, comes before what
// costs memory.
func start(cfg *config.Config, log *zap.Logger) (p *proxy, err error) {
	if err := cfg.MakeDataDir(); err != nil {
		return nil, err
	}
	secret, err := cfg.LoadSecret()
	if err != nil {
		return nil, err
	}
	if secret.Warning != "" {
		log.Warn(secret.Warning)
	}
	keys, err := txn.NewKeys(secret.Current, secret.Previous)
	if err != nil {
		return nil, err
	}
	p = &proxy{panics: newPanicLog(log), ended: make(chan error, 2)}
	if p.engine, err = openEngine(cfg, log, p.panics); err != nil {
		return nil, err
	}
	ln, err := admin.Listen(cfg.Admin)
	if err != nil {
		p.engine.Stop()
		return nil, err
	}
	defer func() {
		if err != nil {
			p.engine.Stop()
			ln.Close()
		}
	}()
	p.store = txn.NewStore(txn.StoreConfig{MaxTransactions: cfg.MaxTransactions, Loops: cfg.Loops})
	if p.core, err = router.New(routerConfig(cfg, p.engine.Addrs()), p.store, keys); err != nil {
		return nil, err
	}
	p.service, err = admin.New(func(m string) { log.Warn(m) },
		admin.Build(programVersion(), runtime.Version()), admin.Loops(p.engine), admin.Router(p.core), admin.Store(p.store))
	if err != nil {
		return nil, err
	}
	go func() {
		err := p.engine.Serve(func(loop int, l transport.Loop) transport.Handler { return p.core.NewWorker(loop, l) })
		p.ended <- err
	}()
	go func() {
		if err := p.service.Serve(ln); err != nil {
			// Calls go on without it.
			log.Error("admin service ended", zap.Error(err))
		}
	}()

	for i, addr := range p.engine.Addrs() {
		fields := []zap.Field{zap.String("udp", addr.String())}
		if a := cfg.Listeners[i].Advertise; a.Host != "" {
			fields = append(fields, zap.String("advertise", a.String()))
		}
		log.Info("listening", fields...)
	}
	a := cfg.Admin
	hint := fmt.Sprintf("curl --unix-socket %s http://sipedge/metrics", a.UnixPath)
	if a.UnixPath == "" {
		a.TCP = netip.MustParseAddrPort(ln.Addr().String())
		hint = fmt.Sprintf("curl http://%s/metrics", a.TCP)
	}
	log.Info("admin", zap.String("address", a.String()), zap.String("try", hint))
	log.Info("serving", zap.String("version", programVersion()), zap.String("mode", string(cfg.Mode)), zap.String("udp-io", string(cfg.UDPIO)),
		zap.Int("loops", cfg.Loops), zap.String("data-dir", cfg.DataDir), zap.Int("pid", os.Getpid()))
	return p, nil
}

func openEngine(cfg *config.Config, log *zap.Logger, panics *panicLog) (transport.Engine, error) {
	tc := transport.Config{
		Loops:         cfg.Loops,
		ReceiveBuffer: cfg.UDPReceiveBuffer,
		Warn:          func(m string) { log.Warn(m) },
		Panicked:      panics.report,
	}
	for _, l := range cfg.Listeners {
		tc.Listeners = append(tc.Listeners, l.Addr)
	}
	if cfg.UDPIO == config.Gnet {
		return gnetudp.Open(tc)
	}
	return batch.Open(tc)
}

func routerConfig(cfg *config.Config, bound []netip.AddrPort) router.Config {
	rc := router.Config{
		OpenRelay:  cfg.OpenRelay,
		ForceRport: cfg.ForceRport,
		Timers:     txn.Timers{T1: cfg.T1, T2: cfg.T2, T4: cfg.T4, C: cfg.TimerC},
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
	for _, d := range cfg.Domains {
		rc.Domains = append(rc.Domains, router.Domain{Host: d.Host, Port: d.Port})
	}
	ours, _ := net.InterfaceAddrs() // none: as on a machine without addresses
	for i, l := range cfg.Listeners {
		rc.Listeners = append(rc.Listeners, router.Listener{
			Addr: bound[i], Source: sourceFor(bound[i].Addr(), ours),
			AdvertiseHost: l.Advertise.Host, AdvertisePort: l.Advertise.Port,
		})
	}
	if cfg.NextHop != nil {
		rc.NextHop = &router.NextHop{Host: cfg.NextHop.Host, Port: cfg.NextHop.Port}
	}
	return rc
}

// run waits for the end: a signal, or a failure of the engine.
func (p *proxy) run(cfg *config.Config, log *zap.Logger, signals <-chan os.Signal) error {
	select {
	case err := <-p.ended:
		p.service.Close()
		return fmt.Errorf("the event loops ended: %w", err)
	case s := <-signals:
		log.Info("draining", zap.Stringer("signal", s), zap.Duration("at-most", cfg.Drain))
	}
	go func() {
		s := <-signals
		log.Warn("ending at once", zap.Stringer("signal", s))
		log.Sync()
		os.Exit(exitFailed)
	}()
	p.core.Drain()
	p.service.Drain()
	left := p.drain(cfg.Drain)
	p.engine.Stop()
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("the event loops ended: %w", err)
		}
	case <-time.After(stopTimeout):
		return fmt.Errorf("the event loops did not end within %v", stopTimeout)
	}
	p.store.Close()
	p.service.Close()
	p.panics.close()
	log.Info("ended", zap.Int("transactions-without-final-response", left))
	return nil
}

// drain waits until nothing is pending, at most for the time given, and returns what is.
func (p *proxy) drain(most time.Duration) (pending int) {
	over := time.After(most)
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for zeros := 0; zeros < 2; {
		select {
		case <-over:
			return p.core.Pending()
		case <-poll.C:
		}
		if pending = p.core.Pending(); pending == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return 0
}
