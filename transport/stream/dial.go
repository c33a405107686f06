//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

	"github.com/panjf2000/gnet/v2"

	"sipedge/transport"
)

// dialOver says that the worker is done with an attempt; if the loop has met no connection by then, it failed.
type dialOver struct {
	d       *destination
	attempt uint32
}

// dial makes a worker connect to d; false when there are too many connections or dials.
func (l *loop) dial(d *destination) bool {
	e := l.engine
	if !e.reserve() {
		l.n.refusedTotal.Add(1)
		return false
	}
	d.attempt++
	over := dialOver{d, d.attempt}
	to, from := d.key.addr, e.listeners[d.listener].addr.Addr()
	if !e.dials.do(func() { e.connect(l, over, to, from) }) {
		e.open.Add(-1)
		return false
	}
	d.dialing = connecting
	return true
}

// connect is what a worker does.
func (e *Engine) connect(l *loop, over dialOver, to transport.Addr, from netip.Addr) {
	dialer := net.Dialer{Timeout: e.limits.Dial}
	// From the address that our Via names, so that the peer's access list, which knows our listener, lets it in. Not from loopback
	// to anywhere else, nor the other way round, since no packet takes that way.
	if !from.IsUnspecified() && from.IsLoopback() == to.AddrPort().Addr().IsLoopback() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	at := to.AddrPort()
	if to.Scope != 0 && at.Addr().Is6() {
		at = netip.AddrPortFrom(at.Addr().WithZone(strconv.FormatUint(uint64(to.Scope), 10)), at.Port())
	}
	if c, err := dialer.DialContext(e.context, "tcp", at.String()); err == nil {
		_ = e.enroll(l, over, c)
	}
	select {
	case l.dialsOver <- over:
		l.call()
	case <-e.context.Done():
	}
}

var errEnded = errors.New("stream: gnet has ended")

// enroll gives c to the loop, which sees it in OnOpen. It takes c.
func (e *Engine) enroll(l *loop, over dialOver, c net.Conn) error {
	r := e.run.Load()
	g := l.gnet.Load()
	if g == nil || !r.enter() {
		c.Close()
		return errEnded
	}
	defer r.leave()
	done, err := (*g).Enroll(gnet.NewContext(context.Background(), over), c)
	if err != nil {
		c.Close()
		return err
	}
	select {
	case result := <-done:
		return result.Err
	case <-r.dying:
		return errEnded
	}
}

// takeDialsOver ends the attempts that brought no connection.
func (l *loop) takeDialsOver() {
	for {
		select {
		case over := <-l.dialsOver:
			if over.d.dialing == connecting && over.d.attempt == over.attempt {
				l.engine.open.Add(-1)
				l.unreachable(over.d)
			}
		default:
			return
		}
	}
}

// abandonDials is for the end, when nobody dials any more.
func (l *loop) abandonDials() {
	for _, d := range l.destinations.byKey {
		if d.dialing == connecting {
			d.dialing = notDialing
			l.engine.open.Add(-1)
		}
	}
}
