//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sipedge/transport"
	"sipedge/transport/wslayer"
)

// Engine runs the loops over all listeners. It implements transport.Streams.
type Engine struct {
	cfg        Config
	limits     Limits
	sweepEvery time.Duration
	listeners  map[uint16]*listener
	ordered    []*listener // as in the configuration
	loops      []*loop

	open      atomic.Int64 // connections, and dials under way
	addresses addresses
	index     index
	dials     workers
	shakers   workers
	webRules  wslayer.Rules
	restarts  atomic.Uint64

	run      atomic.Pointer[run]
	nudge    chan struct{} // somebody called a loop that has no doorbell
	stopping atomic.Bool
	context  context.Context // ends with the engine
	cancel   context.CancelFunc

	mu      sync.Mutex
	served  bool
	closing sync.Once
}

// Open binds the listeners. From then on the kernel queues connections for Serve. An error says which listener, why, and what to
// do about it.
func Open(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, limits: cfg.Limits.withDefaults(), listeners: map[uint16]*listener{}, nudge: make(chan struct{}, 1)}
	if most := fileLimit(); e.limits.Connections > most {
		if cfg.Limits.Connections > most {
			e.warn(fmt.Sprintf("connections are limited to %d instead of %d by the number of open files (ulimit -n); raise it", most, cfg.Limits.Connections))
		}
		e.limits.Connections = most
	}
	if e.cfg.Names == nil {
		e.cfg.Names = new(transport.Names)
	}
	var err error
	if e.webRules.Origins, err = wslayer.ParseOrigins(cfg.Origins); err != nil {
		return nil, err
	}
	e.sweepEvery = sweepInterval(&e.limits)
	e.dials = workers{most: e.limits.Dials, waiting: dialsWaiting}
	e.shakers = workers{most: e.limits.Handshakes, waiting: e.limits.Handshakes}
	e.context, e.cancel = context.WithCancel(context.Background())
	// Generations do not begin at 1: what a former life of this process has called by a generation must not come back.
	var b [4]byte
	_, _ = rand.Read(b[:])
	for i := range cfg.Loops {
		e.loops = append(e.loops, newLoop(e, uint8(cfg.FirstLoop+i), binary.BigEndian.Uint32(b[:])))
	}
	for _, want := range cfg.Listeners {
		if err := e.listen(want); err != nil {
			e.close()
			return nil, err
		}
	}
	if err := e.boot(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (c *Config) validate() error {
	switch {
	case len(c.Listeners) == 0:
		return errors.New("stream: no listener; give at least one --listen tcp:HOST:PORT")
	case len(c.Listeners) > transport.MaxListeners:
		return fmt.Errorf("stream: %d listeners; at most %d", len(c.Listeners), transport.MaxListeners)
	case c.Loops < 1 || c.FirstLoop < 0 || c.FirstLoop+c.Loops > transport.MaxLoops:
		return fmt.Errorf("stream: loops %d to %d; give 0 to %d", c.FirstLoop, c.FirstLoop+c.Loops-1, transport.MaxLoops-1)
	}
	for _, l := range c.Listeners {
		if (l.Proto == transport.TLS || l.Proto == transport.WSS) && c.TLS == nil {
			return fmt.Errorf("stream: listener %s needs a certificate; give --tls-cert and --tls-key", l.Addr)
		}
	}
	return nil
}

func (e *Engine) warn(message string) {
	if e.cfg.Warn != nil {
		e.cfg.Warn(message)
	}
}

// Serve makes one Handler for each loop, whose number is that of Flow.Loop, and runs the loops until Stop. When gnet ends by itself,
// which it does when a connection cannot be accepted for want of files, all connections are closed and it is started again; the Handlers
// go on. An Engine serves once.
func (e *Engine) Serve(newHandler func(loop int, l transport.Loop) transport.Handler) error {
	e.mu.Lock()
	if e.served {
		e.mu.Unlock()
		return errors.New("stream: Serve was called before")
	}
	e.served = true
	stopped := e.stopping.Load()
	e.mu.Unlock()
	if stopped {
		return nil
	}
	defer e.close()
	for _, l := range e.loops {
		l.handler = newHandler(int(l.number), l)
	}
	pause := restartAfter
	for {
		began := transport.Now()
		r := e.run.Load()
		r.verdict <- true
		<-r.ended
		e.detach()
		if e.stopping.Load() {
			return nil
		}
		if transport.Now().Sub(began) > restartGood {
			pause = restartAfter
		}
		e.warn(fmt.Sprintf("streams: all connections were closed and the listeners opened again, because gnet ended: %s", log.last()))
		for {
			if !e.tend(pause) {
				return nil
			}
			pause = min(2*pause, restartLongest)
			if err := e.boot(); err == nil {
				break
			}
		}
		e.restarts.Add(1)
	}
}

// detach notes that gnet's loops are no more. All their connections were closed by then.
func (e *Engine) detach() {
	for _, l := range e.loops {
		l.gnet.Store(nil)
		l.unhang()
	}
}

// tend takes the turns of all loops while there is no gnet, for so long; false when the engine is to stop.
func (e *Engine) tend(pause time.Duration) bool {
	over := time.NewTimer(pause)
	defer over.Stop()
	for {
		for _, l := range e.loops {
			if e.stopping.Load() {
				return false
			}
			l.rung.Store(false) // before the turn: a call during it is a new one
			l.turn(nil)
		}
		select {
		case <-over.C:
			return true
		case <-e.nudge:
		case <-e.context.Done():
			return false
		}
	}
}

// Stop ends Serve and closes all connections. Safe from any goroutine, and more than once. Before Serve it closes the
// listeners.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopping.Store(true)
	served := e.served
	e.mu.Unlock()
	e.cancel()
	if !served {
		e.close()
		return
	}
	e.callAll()
}

func (e *Engine) callAll() {
	for _, l := range e.loops {
		l.call() // the first loop to hear it answers gnet.Shutdown, which ends all
	}
}

// close ends gnet if it still waits for Serve, and gives everything back.
func (e *Engine) close() {
	e.closing.Do(func() {
		e.cancel()
		if r := e.run.Load(); r != nil {
			select {
			case r.verdict <- false:
			default: // Serve has given it
			}
			<-r.ended
		}
		for _, l := range e.loops {
			l.timer.Stop()
			l.unhang()
		}
		for _, l := range e.ordered {
			l.close()
		}
		e.dials.done.Wait()
		e.shakers.done.Wait()
		for _, l := range e.loops {
			l.abandonDials()
		}
	})
}

// Addrs is the bound address of each listener, in the order of the configuration, port 0 resolved.
func (e *Engine) Addrs() (addrs []netip.AddrPort) {
	for _, l := range e.ordered {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// Loops is the number of loops.
func (e *Engine) Loops() int { return len(e.loops) }

// reserve counts a connection, unless there are too many.
func (e *Engine) reserve() bool {
	if e.open.Add(1) > int64(e.limits.Connections) {
		e.open.Add(-1)
		return false
	}
	return true
}
