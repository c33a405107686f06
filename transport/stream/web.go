//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sipedge/transport"
	"sipedge/transport/wslayer"
)

func isWeb(p transport.Protocol) bool { return p == transport.WS || p == transport.WSS }

// webFrames delivers every whole message in intake.data, which came in WebSocket frames. There the frames are what tells where a
// message ends (RFC 7118 section 5).
func (l *loop) webFrames(c *connection) {
	in := &l.intake
	for in.at < len(in.data) && c.gnet != nil && c.state&ending == 0 {
		n, event, payload := c.web.Next(in.data[in.at:])
		in.at += n
		switch event {
		case wslayer.More:
			if n == 0 {
				return
			}
		case wslayer.Open:
			c.state |= proven
			c.used, c.began = l.now, 0
			l.stage(c, nil, payload, false)
		case wslayer.Message:
			l.deliver(c, payload)
		case wslayer.Answer:
			if l.countPing(c, 1) {
				l.stage(c, nil, payload, false)
			}
		case wslayer.Close:
			if len(payload) > 0 {
				l.stage(c, nil, payload, false)
			}
			c.state |= ending
		}
	}
}
