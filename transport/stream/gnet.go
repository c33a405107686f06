//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"sipedge/transport"
	"sipedge/transport/wslayer"
)

// run is one life of gnet, and what gnet calls.
type run struct {
	gnet.BuiltinEventEngine
	engine *Engine
	gnet   gnet.Engine

	booted  chan struct{} // closed when gnet has bound its sockets
	verdict chan bool     // whether gnet shall go on then
	dying   chan struct{} // closed when gnet begins to end
	ended   chan struct{} // closed when gnet has returned
	err     error         // why; read after ended

	hung      atomic.Bool  // all doorbells are
	enrolling atomic.Int64 // connections that are being given to gnet

	mu       sync.Mutex
	assigned int // loops that have met their gnet loop
}

// boot starts gnet, which waits for Serve before it accepts.
func (e *Engine) boot() error {
	r := &run{
		engine:  e,
		booted:  make(chan struct{}),
		verdict: make(chan bool, 1),
		dying:   make(chan struct{}),
		ended:   make(chan struct{}),
	}
	var urls []string
	for _, l := range e.ordered {
		l.release()
		urls = append(urls, l.url())
	}
	go func() {
		r.err = gnet.Rotate(r, urls,
			gnet.WithNumEventLoop(len(e.loops)),
			// A listening socket for each loop: the kernel spreads the connections, and gnet's choice of a loop, which is not
			// safe beside Register, is not needed.
			gnet.WithReusePort(true),
			gnet.WithReuseAddr(true),
			gnet.WithReadBufferCap(readBuffer),
			gnet.WithTCPKeepAlive(keepAliveIdle),
			gnet.WithTicker(true), // only for its first tick, see OnTick
			gnet.WithLogger(&log))
		close(r.ended)
	}()
	select {
	case <-r.booted:
		e.run.Store(r)
		return nil
	case <-r.ended:
		return fmt.Errorf("stream: %w", r.err)
	}
}

// OnBoot comes when the sockets are bound, before the loops run, which lets Open and Serve be two steps.
func (r *run) OnBoot(g gnet.Engine) gnet.Action {
	r.gnet = g
	close(r.booted)
	if !<-r.verdict {
		return gnet.Shutdown
	}
	return gnet.None
}

// OnTick comes the first time right after all loops were started, on a goroutine of its own. That is the moment to hang a doorbell
// into each. (For timers it is of no use: it is not on the loops.)
func (r *run) OnTick() (time.Duration, gnet.Action) {
	const never = 1 << 62
	if r.hung.Load() {
		return never, gnet.None
	}
	// gnet hands them out in turn, one to each loop. Where all loops share a listening socket, connections take turns as well, and a
	// loop may be met again.
	for _, l := range r.engine.loops {
		for l.bell.Load() == nil {
			if err := r.hangDoorbell(); err != nil {
				log.Errorf("no doorbell: %v", err)
				return never, gnet.Shutdown
			}
		}
	}
	r.hung.Store(true)
	if r.engine.stopping.Load() {
		r.engine.callAll()
	}
	return never, gnet.None
}

// hangDoorbell makes a pair of sockets and gives one end to gnet's next loop. A byte written into the other wakes that loop from
// any goroutine, without an allocation.
func (r *run) hangDoorbell() error {
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
	if err == nil {
		err = r.register(ends[0], ends[1])
		ends[0] = nil // gnet has closed it
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				c.Close()
			}
		}
	}
	return err
}

func (r *run) register(inner, outer net.Conn) error {
	ctx := gnet.NewContext(gnet.NewNetConnContext(context.Background(), inner), outer)
	done, err := r.gnet.Register(ctx)
	if err != nil {
		inner.Close()
		return err
	}
	select {
	case result := <-done:
		return result.Err
	case <-r.dying:
		return errEnded
	}
}

// OnOpen comes on the loop, for its doorbell and for every connection.
func (r *run) OnOpen(g gnet.Conn) (out []byte, action gnet.Action) {
	switch of := g.Context().(type) {
	case net.Conn: // the outer end of the doorbell
		l := r.loopOf(g.EventLoop())
		if l.bell.Load() != nil {
			of.Close()
			return nil, gnet.Close
		}
		g.SetContext(l)
		l.bell.Store(&of)
		l.rung.Store(false) // after, so that a call before this turn is answered by it
		return nil, l.turn(nil)
	case dialOver:
		return nil, of.d.loop.opened(g, &of)
	}
	return nil, r.loopOf(g.EventLoop()).accepted(g)
}

// OnTraffic comes on the loop, for bytes on a connection or the doorbell.
func (r *run) OnTraffic(g gnet.Conn) gnet.Action {
	switch of := g.Context().(type) {
	case *connection:
		return of.loop.turn(of)
	case *loop:
		g.Discard(-1)
		of.rung.Store(false)
		return of.turn(nil)
	}
	return gnet.Close // refused in OnOpen
}

// OnClose comes on the loop, possibly inside a call of ours into gnet.
func (r *run) OnClose(g gnet.Conn, _ error) (action gnet.Action) {
	if c, ok := g.Context().(*connection); ok && c.gnet == g {
		defer c.loop.guarded(&action)
		c.loop.closed(c)
	}
	return gnet.None
}

// OnShutdown comes on a goroutine of its own when a loop has ended, before the others are told to and gnet closes what wakes them.
// Who gives gnet a connection uses that, so it has to be over, or the wake-up might be written into a file that got the number.
func (r *run) OnShutdown(gnet.Engine) {
	close(r.dying)
	for range enrollTries {
		if r.enrolling.Load() == 0 {
			return
		}
		time.Sleep(enrollPause)
	}
}

// enter tells whether a connection may be given to gnet; then leave has to follow.
func (r *run) enter() bool {
	r.enrolling.Add(1)
	select {
	case <-r.dying:
	default:
		if !r.engine.stopping.Load() {
			return true
		}
	}
	r.leave()
	return false
}

func (r *run) leave() {
	if r.enrolling.Add(-1) == 0 && r.engine.stopping.Load() {
		r.engine.callAll()
	}
}

// mayEnd tells whether gnet is to end now. Not while it is being given something: it would wait for ever for a loop that has ended.
func (e *Engine) mayEnd() bool {
	if !e.stopping.Load() {
		return false
	}
	r := e.run.Load()
	return r.hung.Load() && r.enrolling.Load() == 0
}

// loopOf finds our loop for gnet's, or chooses one at their first meeting.
func (r *run) loopOf(g gnet.EventLoop) *loop {
	for _, l := range r.engine.loops {
		if p := l.gnet.Load(); p != nil && *p == g {
			return l
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.engine.loops[r.assigned]
	r.assigned++
	l.gnet.Store(&g)
	return l
}

// unhang takes the doorbell away.
func (l *loop) unhang() {
	if b := l.bell.Swap(nil); b != nil {
		(*b).Close() // later writes find it closed and do nothing
	}
}

// accepted judges a connection that a peer has made.
func (l *loop) accepted(g gnet.Conn) (action gnet.Action) {
	defer l.guarded(&action)
	e := l.engine
	from := e.accepting(g.LocalAddr())
	if from == nil || e.stopping.Load() {
		return gnet.Close
	}
	remote := remoteOf(g)
	address := addressOf(&remote)
	if !e.reserve() {
		l.n.refusedTotal.Add(1)
		return gnet.Close
	}
	if !e.addresses.add(address, e.limits.PerAddress) {
		e.open.Add(-1)
		l.n.refusedAddress.Add(1)
		return gnet.Close
	}
	c := l.slab.take()
	if c == nil { // cannot be: the slab has room for all that reserve allows
		e.open.Add(-1)
		e.addresses.remove(address)
		return gnet.Close
	}
	l.n.accepted.Add(1)
	c.address = address
	l.begin(c, g, from, &remote)
	if isWeb(from.Proto) {
		c.web = wslayer.NewConn(&e.webRules)
	}
	if from.Proto == transport.TLS || from.Proto == transport.WSS {
		l.secure(c, "")
	}
	return gnet.None
}

// opened meets a connection that a worker has made.
func (l *loop) opened(g gnet.Conn, over *dialOver) (action gnet.Action) {
	defer l.guarded(&action)
	d := over.d
	if d.dialing != connecting || d.attempt != over.attempt {
		return gnet.Close
	}
	c := l.slab.take()
	if c == nil {
		return gnet.Close // the worker's dialOver ends the attempt
	}
	l.n.dialed.Add(1)
	c.state = dialed
	remote := d.key.addr
	if d.key.proto == transport.TCP {
		c.state |= proven
		l.begin(c, g, l.engine.listeners[d.listener], &remote)
		l.connected(d, c)
		l.flushAll()
		return gnet.None
	}
	d.dialing, c.dest = shaking, d
	l.begin(c, g, l.engine.listeners[d.listener], &remote)
	name := l.engine.cfg.Names.Name(d.key.name)
	if name == "" {
		name = remote.AddrPort().Addr().String()
	}
	l.secure(c, name)
	return gnet.None
}

// begin fills c in.
func (l *loop) begin(c *connection, g gnet.Conn, at *listener, remote *transport.Addr) {
	l.now = transport.Now()
	c.gnet, c.loop = g, l
	f := &c.flow
	f.Remote, f.Listener, f.Loop, f.Proto = *remote, at.Index, l.number, at.Proto
	if c.state&dialed != 0 || at.addr.Addr().IsUnspecified() {
		f.Local = localOf(g.Fd())
	}
	c.opened, c.used = l.now, l.now
	g.SetContext(c)
	if f.Proto == transport.TCP {
		l.list(c, identities{})
	}
	if l.slab.live == 1 { // the first: nothing has armed the sweep
		l.swept = l.now
		l.arm(l.now.Add(l.engine.sweepEvery))
	}
}

// list lets destinations find c.
func (l *loop) list(c *connection, names identities) {
	c.state |= listed
	f := &c.flow
	l.engine.index.put(indexKey{f.Remote, f.Proto}, indexed{owned{connID{f.Conn, f.Gen}, l.number}, names})
}

// close ends c politely.
func (l *loop) close(c *connection) {
	if c == nil || c.gnet == nil {
		return
	}
	l.farewell(c)
	l.cut(c)
}

// cut ends c at once. gnet calls OnClose in it.
func (l *loop) cut(c *connection) {
	if c != nil && c.gnet != nil {
		_ = c.gnet.EventLoop().Close(c.gnet)
	}
}

// closed gives back what c had.
func (l *loop) closed(c *connection) {
	e, f := l.engine, &c.flow
	if c.gnet.OutboundBuffered() > 0 {
		l.n.unwritten.Add(uint64(c.waiting))
	}
	l.unstage(c)
	l.outTotal -= c.out
	if c.in != nil {
		l.held -= cap(c.in)
		l.buffers.put(c.in)
	}
	if c.state&listed != 0 {
		e.index.remove(indexKey{f.Remote, f.Proto}, owned{connID{f.Conn, f.Gen}, l.number})
	}
	if c.state&dialed == 0 {
		e.addresses.remove(c.address)
	}
	e.open.Add(-1)
	t, d := c.tls, c.dest
	l.slab.give(c)
	if t != nil {
		t.Shut() // ends a handshake under way
	}
	if d != nil {
		l.unreachable(d)
	}
}

// remoteOf is the address of the peer.
func remoteOf(g gnet.Conn) transport.Addr {
	a, ok := g.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return transport.Addr{}
	}
	addr := transport.AddrFrom(a.AddrPort())
	addr.Scope = scopeOf(a.Zone)
	return addr
}

// localOf is the address of ours that a connection uses.
func localOf(fd int) (ip [16]byte) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return ip
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		copy(ip[10:], []byte{0xff, 0xff, sa.Addr[0], sa.Addr[1], sa.Addr[2], sa.Addr[3]})
	case *unix.SockaddrInet6:
		ip = sa.Addr
	}
	return ip
}
