//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"sipedge/transport"
	"sipedge/transport/steer"
)

// Engine is one gnet engine of its own. It implements transport.Engine.
type Engine struct {
	cfg       transport.Config
	listeners []*listener
	sources   []*source // of all listeners
	loops     []*loop
	gnet      gnet.Engine

	booted   chan struct{} // closed when gnet has bound its sockets
	verdict  chan bool     // whether gnet shall go on then
	ended    chan struct{} // closed when gnet has returned
	endErr   error         // why; read after ended
	stopping atomic.Bool
	hung     atomic.Bool    // all doorbells are
	watchers sync.WaitGroup // of the catch-all sockets

	mu       sync.Mutex
	served   bool
	assigned int // loops that have met their gnet loop
	closing  sync.Once

	datagrams atomic.Int64 // SendDatagrams under way, plus closedDatagrams once none may begin
}

var _ transport.Engine = (*Engine)(nil)

// Open binds the sockets and starts gnet, which waits for Serve before it reads. From then on
// the kernel queues datagrams. An error says which listener, why, and what to do about it.
func Open(cfg transport.Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:     cfg,
		booted:  make(chan struct{}),
		verdict: make(chan bool, 1),
		ended:   make(chan struct{}),
	}
	var urls []string
	for i, want := range cfg.Listeners {
		l, err := e.listen(i, want)
		if err != nil {
			close(e.ended)
			e.close()
			return nil, err
		}
		for _, s := range l.sources {
			urls = append(urls, s.url())
		}
	}
	if len(urls) == 0 {
		close(e.ended)
		e.close()
		return nil, errors.New("gnetudp: this machine has no address of the listeners' families; give --listen udp:127.0.0.1:5060, for example")
	}
	for i := range cfg.Loops {
		e.loops = append(e.loops, newLoop(e, i))
	}
	go func() {
		e.endErr = gnet.Rotate(&events{engine: e}, urls,
			gnet.WithNumEventLoop(cfg.Loops),
			gnet.WithReusePort(true), // as gnet has it anyway for UDP: a socket for each loop
			gnet.WithReadBufferCap(transport.MaxDatagram),
			gnet.WithSocketRecvBuffer(cfg.ReceiveBuffer),
			gnet.WithTicker(true), // only for its first tick, see OnTick
			gnet.WithLogger(&log))
		close(e.ended)
	}()
	select {
	case <-e.booted:
	case <-e.ended:
		e.close()
		return nil, fmt.Errorf("gnetudp: %w", e.endErr)
	}
	if err := e.prepare(); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// prepare does what can be done once gnet has its first sockets and before it reads.
func (e *Engine) prepare() error {
	for _, l := range e.listeners {
		if l.hold != nil { // gnet has the port now
			l.hold.Close()
			l.hold = nil
		}
		warned := false
		for _, s := range l.sources {
			fd, err := e.gnet.DupListener("udp", s.address())
			if err != nil {
				return fmt.Errorf("udp %s: %w", s.addr, err)
			}
			s.fd = fd
			if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil && e.cfg.ReceiveBuffer > 0 && !warned {
				warned = got/bufferFactor < e.cfg.ReceiveBuffer
				e.cfg.WarnReceiveBuffer(l.addr, got/bufferFactor)
			}
			if len(e.loops) > 1 {
				if err := steer.Attach(fd, len(e.loops)); err != nil && e.cfg.Warn != nil {
					e.cfg.Warn(fmt.Sprintf("udp %s: all datagrams of one peer will go to one loop: %v", s.addr, err))
				}
			}
		}
	}
	return nil
}

// Serve implements transport.Engine. An Engine serves once.
func (e *Engine) Serve(newHandler func(loop int, l transport.Loop) transport.Handler) error {
	e.mu.Lock()
	if e.served {
		e.mu.Unlock()
		return errors.New("gnetudp: Serve was called before")
	}
	e.served = true
	stopped := e.stopping.Load()
	e.mu.Unlock()
	if stopped {
		return nil
	}
	defer e.close()
	for i, l := range e.loops {
		l.handler = newHandler(i, l)
	}
	for _, l := range e.listeners {
		if l.rest != nil {
			e.watchers.Go(func() { l.rest.watch(e.loops[0], e.ended) })
		}
	}
	e.verdict <- true
	<-e.ended
	if e.endErr != nil {
		return fmt.Errorf("gnetudp: %w", e.endErr)
	}
	if !e.stopping.Load() {
		// gnet returns nil then, and has told its logger why.
		return fmt.Errorf("gnetudp: gnet ended by itself: %s", log.last())
	}
	return nil
}

// Stop implements transport.Engine. Before Serve it closes the sockets.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopping.Store(true)
	served := e.served
	e.mu.Unlock()
	if !served {
		e.close()
		return
	}
	for _, l := range e.loops {
		l.ring() // the first loop to hear it answers gnet.Shutdown, which ends all
	}
}

// close ends gnet if it still waits for Serve, and gives everything back.
func (e *Engine) close() {
	e.closing.Do(func() {
		select {
		case e.verdict <- false:
		default: // Serve has given it
		}
		<-e.ended
		e.endDatagrams()
		for _, l := range e.loops {
			l.close()
		}
		for _, l := range e.listeners {
			l.close()
		}
		e.watchers.Wait()
	})
}

// Addrs implements transport.Engine.
func (e *Engine) Addrs() (addrs []netip.AddrPort) {
	for _, l := range e.listeners {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// Loops implements transport.Engine.
func (e *Engine) Loops() int { return len(e.loops) }

// Stats implements transport.Engine.
func (e *Engine) Stats(loop int) transport.LoopStats { return e.loops[loop].stats.load() }

// events is what gnet calls.
type events struct {
	gnet.BuiltinEventEngine
	engine *Engine
}

// OnBoot comes when the sockets are bound, before the loops run, which lets Open and Serve be
// two steps.
func (ev *events) OnBoot(g gnet.Engine) gnet.Action {
	e := ev.engine
	e.gnet = g
	close(e.booted)
	if !<-e.verdict {
		return gnet.Shutdown
	}
	return gnet.None
}

// OnTick comes the first time right after all loops were started, on a goroutine of its own.
// That is the moment to hang a doorbell into each. (For timers it is of no use: it is not on
// the loops.)
func (ev *events) OnTick() (time.Duration, gnet.Action) {
	const never = 1 << 62
	e := ev.engine
	if e.loops[0].bell.Load() != nil {
		return never, gnet.None
	}
	for range e.loops { // gnet hands them out in turn, one to each loop
		if err := e.hangDoorbell(); err != nil {
			log.Errorf("no doorbell: %v", err)
			return never, gnet.Shutdown
		}
	}
	e.hung.Store(true)
	if e.stopping.Load() {
		for _, l := range e.loops {
			l.ring()
		}
	}
	return never, gnet.None
}

// hangDoorbell makes a pair of sockets and gives one end to gnet's next loop. A byte written
// into the other wakes that loop from any goroutine, without an allocation.
func (e *Engine) hangDoorbell() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "doorbell")
		c, err2 := net.FileConn(f)
		f.Close()
		if err2 != nil {
			err = err2
			continue
		}
		ends[i] = c
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				c.Close()
			}
		}
		return err
	}
	ctx := gnet.NewContext(gnet.NewNetConnContext(context.Background(), ends[0]), ends[1])
	done, err := e.gnet.Register(ctx)
	if err != nil {
		ends[0].Close()
		ends[1].Close()
		return err
	}
	if r := <-done; r.Err != nil {
		ends[1].Close()
		return r.Err
	}
	return nil
}

// OnOpen comes on the loop, for its doorbell.
func (ev *events) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	l := ev.engine.loopOf(c.EventLoop())
	bell := c.Context().(net.Conn)
	l.bell.Store(&bell)
	l.rung.Store(false) // after, so that a ring before this turn is answered by it
	return nil, l.event(nil)
}

// OnTraffic comes on the loop, for a datagram or the doorbell.
func (ev *events) OnTraffic(c gnet.Conn) gnet.Action {
	l := ev.engine.loopOf(c.EventLoop())
	if c.Context() != nil {
		c.Discard(-1)
		l.rung.Store(false)
		return l.event(nil)
	}
	return l.event(c)
}

// loopOf finds our loop for gnet's, or chooses one at their first meeting.
func (e *Engine) loopOf(g gnet.EventLoop) *loop {
	for _, l := range e.loops {
		if p := l.gnet.Load(); p != nil && *p == g {
			return l
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.loops[e.assigned]
	e.assigned++
	l.gnet.Store(&g)
	return l
}
