package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sipedge/admin"
	"sipedge/config"
	"sipedge/router"
	"sipedge/router/resolve"
	"sipedge/transport"
	"sipedge/transport/batch"
	"sipedge/txn"
)

const (
	// stopTimeout is what the loops get to end when the drain is over; they need a millisecond.
	stopTimeout = time.Second
	// drainPoll is how often a drain looks at what is pending. The core's count may be 20 ms old, so
	// it has to be zero twice.
	drainPoll = 25 * time.Millisecond
	// garbage is how much of it may lie about, in per cent of the live heap. Packets make none; TLS handshakes make most, and
	// what they leave stays resident while connections are idle: 8.9 KB for each of 10,000 instead of 15 KB with Go's 100 per cent, for
	// a tenth more CPU per handshake. GOGC in the environment goes first.
	garbage = 25
)

func serveCommand(environ []string, stderr io.Writer) *cobra.Command {
	var flags *config.Flags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGTERM or SIGINT. It then takes no new work, lets transactions finish within
--drain, and exits 0; a second signal ends it at once. SIGHUP makes it read the policy file and the
certificates again; what is wrong in them is logged and changes nothing.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := flags.Load(environ)
			if err != nil {
				return usageError{err}
			}
			lines := newLogQueue(stderr)
			log := newLog(cfg, lines)
			lines.tell(log)
			return serve(cfg, log, lines)
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
  sipedge serve --listen udp:192.0.2.1:5060 --listen tcp:192.0.2.1:5060 --listen tls:192.0.2.1:5061 \
          --tls-cert cert.pem --tls-key key.pem --policy policy.yaml
        Three transports; who may call where is in the policy file. docs/examples has some.
  sipedge serve --listen udp:10.0.0.1:5060 --listen 'udp:[2001:db8::1]:5060' \
          --advertise udp:10.0.0.1:5060=sip.example.com --record-route always
        Two listeners, one of them behind a one-to-one NAT; every later request comes through here.

%s`, c.Long, config.Usage())
	})
	return c
}

// serve runs the proxy from start to exit.
func serve(cfg *config.Config, log *zap.Logger, lines *logQueue) error {
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
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}

	p, err := start(cfg, log, lines)
	if err != nil {
		return err
	}
	return p.run(cfg, log, signals)
}

// proxy is what serve has made.
type proxy struct {
	engines
	store    *txn.Store
	core     *router.Core
	resolver *resolve.Resolver
	policy   *policies
	service  *admin.Service
	panics   *panicLog
	lines    *logQueue
	ended    chan error // what the calls cannot go on without has ended

	// What runs beside the loops until stop.
	ctx    context.Context
	stop   context.CancelFunc
	beside sync.WaitGroup
}

// start opens everything and serves. What fails most often, a port that is taken, comes before what
// costs memory.
func start(cfg *config.Config, log *zap.Logger, lines *logQueue) (p *proxy, err error) {
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
	warn := func(m string) { log.Warn(m) }
	p = &proxy{panics: newPanicLog(log), lines: lines, ended: make(chan error, 2)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	if p.engines, err = openEngines(cfg, warn, p.panics); err != nil {
		return nil, err
	}
	ln, err := admin.Listen(cfg.Admin)
	if err != nil {
		p.engines.stop()
		return nil, err
	}
	defer func() {
		if err != nil {
			p.stop()
			p.engines.stop()
			ln.Close()
			if p.resolver != nil {
				p.resolver.Close()
			}
			if p.policy != nil {
				p.policy.close()
			}
		}
	}()
	p.store = txn.NewStore(txn.StoreConfig{MaxTransactions: cfg.MaxTransactions, Loops: p.loops()})
	if p.resolver, err = resolve.New(resolve.Config{Servers: dnsServers(cfg.DNS), Names: p.names, Warn: warn}); err != nil {
		return nil, err
	}
	p.policy = newPolicies(cfg, &p.engines, log)
	if p.core, err = router.New(p.routerConfig(cfg), p.store, keys); err != nil {
		return nil, err
	}
	if err = p.policy.load(p.core, cfg.Policy); err != nil {
		return nil, err
	}
	if p.service, err = p.newService(warn); err != nil {
		return nil, err
	}
	p.serveEngines(log)
	go func() {
		if err := p.service.Serve(ln); err != nil {
			// Calls go on without it.
			log.Error("admin service ended", zap.Error(err))
		}
	}()
	p.goBeside(func() { p.policy.followSchedules(p.ctx) })
	p.goBeside(func() { p.policy.decider.RunProbes(p.ctx, p.core, transport.Now) })
	hangup := onHangup()
	p.goBeside(func() { p.followHangup(log, hangup) })
	if p.tls != nil {
		p.goBeside(func() { p.tls.Watch(p.ctx) })
	}

	p.logListeners(cfg, log)
	a := cfg.Admin
	hint := fmt.Sprintf("curl --unix-socket %s http://sipedge/metrics", a.UnixPath)
	if a.UnixPath == "" {
		a.TCP = netip.MustParseAddrPort(ln.Addr().String())
		hint = fmt.Sprintf("curl http://%s/metrics", a.TCP)
	}
	log.Info("admin", zap.String("address", a.String()), zap.String("try", hint))
	log.Info("serving", zap.String("version", programVersion()), zap.String("mode", string(cfg.Mode)), zap.String("udp-io", string(cfg.UDPIO)),
		zap.Int("loops", cfg.Loops), zap.Int("stream-loops", cfg.StreamLoops), zap.String("policy", cfg.PolicyFile), zap.String("data-dir", cfg.DataDir), zap.Int("pid", os.Getpid()))
	return p, nil
}

// goBeside runs f on a goroutine that shutdown waits for; f ends with p.ctx.
func (p *proxy) goBeside(f func()) {
	p.beside.Add(1)
	go func() {
		defer p.beside.Done()
		f()
	}()
}

// serveEngines runs the loops. Without UDP the streams are all there is; otherwise UDP goes on when they end.
func (p *proxy) serveEngines(log *zap.Logger) {
	worker := func(loop int, l transport.Loop) transport.Handler { return p.core.NewWorker(loop, l) }
	if p.udp != nil {
		go func() {
			p.ended <- p.udp.Serve(func(loop int, l transport.Loop) transport.Handler {
				if p.streams != nil {
					l = transport.Join(l, p.streams)
				}
				return worker(loop, l)
			})
		}()
	}
	if p.streams != nil {
		go func() {
			err := p.streams.Serve(worker)
			if err != nil {
				log.Error("the stream engine ended; TCP, TLS and WebSocket are no longer served", zap.Error(err))
			}
			if p.udp == nil {
				p.ended <- err
			}
			close(p.streamsEnded)
		}()
	}
}

func (p *proxy) newService(warn func(string)) (*admin.Service, error) {
	sources := []prometheus.Collector{
		admin.Build(programVersion(), runtime.Version()), admin.Loops(p.loopSources()...), admin.Router(p.core), admin.Store(p.store), admin.Load(p.core),
		admin.Resolver(p.resolver), admin.GatewayMetrics(p.policy.pool),
	}
	sources = append(sources, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sipedge_log_lines_lost_total", Help: "Log lines that could not be written, or found too many waiting before them.",
	}, func() float64 { return float64(p.lines.lost.Load()) }))
	if p.streams != nil {
		sources = append(sources, admin.Streams(p.streams))
	}
	if p.policy.calls != nil {
		sources = append(sources, admin.Calls(p.policy.calls))
	}
	s, err := admin.New(warn, sources...)
	if err == nil {
		s.Gateways(p.policy.pool)
	}
	return s, err
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
	p.stop()
	p.engines.stop()
	over := time.After(stopTimeout)
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("the event loops ended: %w", err)
		}
	case <-over:
		return fmt.Errorf("the event loops did not end within %v", stopTimeout)
	}
	if p.streams != nil {
		select {
		case <-p.streamsEnded:
		case <-over:
			return fmt.Errorf("the loops of the streams did not end within %v", stopTimeout)
		}
	}
	p.beside.Wait()
	p.resolver.Close()
	p.policy.close()
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
