//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"golang.org/x/sys/unix"

	"sipedge/parser"
)

// nextConn tells whether there is a connection whose turn it is: intake.conn.
func (l *loop) nextConn() bool {
	in := &l.intake
	if in.conn != nil && in.conn.gnet == nil { // closed by what others had sent to it
		in.conn = nil
	}
	for in.conn == nil && len(in.ready) > 0 {
		id := in.ready[0]
		in.ready = in.ready[:copy(in.ready, in.ready[1:])]
		in.conn, in.fresh = l.slab.find(id.conn, id.gen), false
	}
	return in.conn != nil
}

// receive takes what was read from intake.conn to the Handler. Called again after a panic it goes on behind the message that
// caused it.
func (l *loop) receive() {
	in := &l.intake
	c := in.conn
	if in.fresh {
		in.fresh = false
		b, _ := c.gnet.Next(-1) // all there is; it cannot fail
		switch {
		case c.state&ending != 0 || len(b) == 0:
		case c.tls != nil:
			l.feedTLS(c, b)
		default:
			l.give(c, b)
		}
	}
	for {
		if in.data != nil {
			if isWeb(c.flow.Proto) {
				l.webFrames(c)
			} else {
				l.frames(c)
			}
			l.keep(c)
		}
		if c.gnet == nil || c.tls == nil || c.state&ending != 0 || !l.readTLS(c) {
			break
		}
	}
	if c.gnet != nil && c.tls != nil && c.in == nil {
		switch partial := c.tls.Partial(); {
		case !partial:
			c.began = 0
		case c.began == 0:
			c.began = l.now
		}
	}
	in.conn = nil
}

// give makes b the bytes to be framed, behind those that were waiting.
func (l *loop) give(c *connection, b []byte) {
	in := &l.intake
	in.at = 0
	if c.in == nil {
		in.data, in.owned = b, false
		return
	}
	l.held -= cap(c.in)
	in.data, in.owned = l.buffers.grow(c.in, b), true
	c.in = nil
}

// frames delivers every whole message in intake.data.
func (l *loop) frames(c *connection) {
	in := &l.intake
	for in.at < len(in.data) && c.gnet != nil && c.state&ending == 0 {
		rest := in.data[in.at:]
		n, frame := c.framer.Next(rest, &in.msg)
		switch frame {
		case parser.FrameMore:
			return
		case parser.FrameKeepAlive:
			in.at += n
			l.ping(c, n)
		case parser.FrameMessage:
			in.at += n
			c.pongs = 0
			l.deliver(c, rest[:n:n])
		case parser.FrameBroken:
			in.at = len(in.data)
			if in.msg.Err.Code == parser.ErrKeepAliveFlood {
				l.n.closedPings.Add(1)
				l.close(c)
				return
			}
			l.n.closedBroken.Add(1)
			c.state |= ending
			if in.msg.Err.Class() == parser.ClassAnswerable {
				l.deliver(c, rest[:len(rest):len(rest)])
			}
		}
	}
}

// keep holds back what is not a whole message yet, and ends a connection that cannot be read on.
func (l *loop) keep(c *connection) {
	in := &l.intake
	rest := in.data[in.at:]
	switch {
	case c.gnet == nil:
		rest = nil
	case c.state&ending != 0:
		l.linger(c)
		rest = nil
	case l.held+len(rest) > l.engine.limits.InTotal && len(rest) > 0:
		l.n.closedSlow.Add(1)
		l.close(c)
		rest = nil
	}
	data, owned := in.data, in.owned
	in.data, in.at, in.owned = nil, 0, false
	switch {
	case len(rest) == 0:
		if owned {
			l.buffers.put(data)
		}
		if c.gnet != nil {
			c.began = 0
		}
		return
	case owned && len(rest) == len(data): // nothing was taken off
		c.in = data
	case owned && 2*len(rest) > cap(data):
		c.in = data[:copy(data, rest)]
	default:
		c.in = l.buffers.grow(nil, rest)
		if owned {
			l.buffers.put(data)
		}
	}
	l.held += cap(c.in)
	if c.began == 0 {
		c.began = l.now
	}
}

// deliver gives one message to the Handler.
func (l *loop) deliver(c *connection, b []byte) {
	l.n.packetsIn.Add(1)
	l.n.bytesIn.Add(uint64(len(b)))
	c.used, c.began = l.now, 0
	c.state |= proven
	l.intake.current = b
	l.handler.Receive(c.flow, b, l.now)
	l.intake.current = nil
}

// ping takes n bytes of line ends in front of a message.
//
// "When a server receives a double CRLF sequence between SIP messages on a connection-oriented transport such as TCP or SCTP, it MUST
// immediately respond with a single CRLF over the same connection." RFC 5626 section 5.4
func (l *loop) ping(c *connection, n int) {
	c.used, c.began = l.now, 0
	crlfs := int(c.pongs) + n/2
	c.pongs = uint8(crlfs % 2)
	if crlfs < 2 {
		// "Implementations processing SIP messages over stream-oriented transports MUST ignore any CRLF appearing before the
		// start-line" RFC 3261 section 7.5
		return
	}
	if l.countPing(c, crlfs/2) {
		l.stage(c, nil, pongs[:crlfs/2*2], false)
	}
}

// countPing counts n pings; when they are a flood it closes c and says false.
func (l *loop) countPing(c *connection, n int) bool {
	c.used = l.now
	if l.now.Sub(c.pinging) > keepAliveSpan {
		c.pinging, c.pings = l.now, 0
	}
	if c.pings += uint16(n); c.pings > keepAlives {
		l.n.closedPings.Add(1)
		l.close(c)
		return false
	}
	return true
}

var pongs = func() (b [parser.MaxKeepAlive + 2]byte) {
	for i := range b {
		b[i] = "\r\n"[i%2]
	}
	return b
}()

// linger ends c when the peer has had time to read what was sent last.
func (l *loop) linger(c *connection) {
	c.closing = l.now.Add(lingering)
	if !l.flush(c) {
		return
	}
	if l.farewell(c); c.gnet != nil && c.gnet.OutboundBuffered() == 0 {
		_ = unix.Shutdown(c.gnet.Fd(), unix.SHUT_WR)
	}
}
