package batch

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sipedge/transport"
	"sipedge/transport/steer"
)

// Engine runs the loops. It implements transport.Engine.
type Engine struct {
	cfg      transport.Config
	addrs    []netip.AddrPort
	loops    []*loop
	stopping atomic.Bool

	mu     sync.Mutex
	served bool // Serve was called, and closes the sockets
	closed bool
	err    error // why a loop had to give up

	closing sync.Once

	datagrams atomic.Int64 // SendDatagrams under way, plus closedDatagrams once none may begin
}

var _ transport.Engine = (*Engine)(nil)

// Open binds the sockets: for each loop and listener one of its own. From then on the kernel
// queues datagrams for Serve. An error says which listener, why, and what to do about it.
func Open(cfg transport.Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg}
	for i := range cfg.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			e.close()
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	for i, want := range cfg.Listeners {
		if err := e.listen(i, want); err != nil {
			e.close()
			return nil, err
		}
	}
	for _, l := range e.loops {
		l.watch()
	}
	return e, nil
}

// listen opens listener i for every loop. The first socket finds the port when it is 0, and
// makes sure that nobody else has it; the others join it.
func (e *Engine) listen(i int, want netip.AddrPort) error {
	o, err := newOpener(want, &e.cfg)
	if err != nil {
		return err
	}
	for n, l := range e.loops {
		fd, err := o.open(n > 0)
		if err != nil {
			return err
		}
		l.addSocket(fd, i, o.addr)
		if n == 0 && len(e.loops) > 1 {
			if err := o.share(fd); err != nil {
				return err
			}
		}
	}
	e.addrs = append(e.addrs, o.addr)
	if len(e.loops) > 1 {
		if err := steer.Attach(e.loops[0].socks[i].fd, len(e.loops)); err != nil {
			e.warn(fmt.Sprintf("udp %s: all datagrams of one peer will go to one loop: %v", o.addr, err))
		}
	}
	return nil
}

func (e *Engine) warn(message string) {
	if e.cfg.Warn != nil {
		e.cfg.Warn(message)
	}
}

// Serve implements transport.Engine. An Engine serves once.
func (e *Engine) Serve(newHandler func(loop int, l transport.Loop) transport.Handler) error {
	e.mu.Lock()
	if e.served {
		e.mu.Unlock()
		return errors.New("batch: Serve was called before")
	}
	e.served = true
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return nil // stopped before it began
	}
	defer e.close()
	for i, l := range e.loops {
		l.handler = newHandler(i, l)
	}
	var loops sync.WaitGroup
	for _, l := range e.loops {
		loops.Go(l.run)
	}
	loops.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Stop implements transport.Engine. Before Serve it closes the sockets.
func (e *Engine) Stop() {
	e.stopping.Store(true)
	e.mu.Lock()
	served := e.served
	if !served {
		e.closed = true
	}
	e.mu.Unlock()
	if !served {
		e.close()
		return
	}
	for _, l := range e.loops {
		l.ring()
	}
}

// fail ends Serve with an error: a loop found what cannot be.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	e.err = errors.Join(e.err, err)
	e.mu.Unlock()
	e.Stop()
}

func (e *Engine) close() {
	e.closing.Do(func() {
		e.endDatagrams()
		for _, l := range e.loops {
			l.close()
		}
	})
}

// Addrs implements transport.Engine.
func (e *Engine) Addrs() []netip.AddrPort { return append([]netip.AddrPort(nil), e.addrs...) }

// Loops implements transport.Engine.
func (e *Engine) Loops() int { return len(e.loops) }

// Stats implements transport.Engine.
func (e *Engine) Stats(loop int) transport.LoopStats { return e.loops[loop].stats.load() }

// stats are the counters of one loop. The loop alone writes them, once per batch; anyone reads.
type stats struct {
	packetsIn, packetsOut, bytesIn, bytesOut, batches, waits atomic.Uint64
	sendErrors, sendDropped, icmpErrors, panics              atomic.Uint64
	receiveDropped                                           atomic.Uint64
}

func (s *stats) load() transport.LoopStats {
	return transport.LoopStats{
		PacketsIn:   s.packetsIn.Load(),
		PacketsOut:  s.packetsOut.Load(),
		BytesIn:     s.bytesIn.Load(),
		BytesOut:    s.bytesOut.Load(),
		Batches:     s.batches.Load(),
		Waits:       s.waits.Load(),
		SendErrors:  s.sendErrors.Load(),
		SendDropped: s.sendDropped.Load(),
		ICMPErrors:  s.icmpErrors.Load(),
		Panics:      s.panics.Load(),

		ReceiveDropped: s.receiveDropped.Load(),
	}
}

func closeFD(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}
