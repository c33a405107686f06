package transport_test

import (
	"testing"
	"time"

	"sipedge/transport"
)

// hold is Streams that hold whoever posts until told to go on.
type hold struct{ posted, goOn chan struct{} }

func (h hold) Post(transport.Flow, []byte) transport.Status {
	h.posted <- struct{}{}
	<-h.goOn
	return transport.Queued
}

// What a UDP loop has sent before it posts on a stream leaves before: the answer to what was posted must not overtake it.
func TestJoinKeepsOrder(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		streams := hold{make(chan struct{}), make(chan struct{})}
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{receive: func(h *handler, from transport.Flow, _ []byte, _ transport.Instant) {
				l := transport.Join(h.l, streams)
				send := func(to transport.Flow, s string) {
					if status := l.Send(to, append(l.Buffer(), s...)); status != transport.Queued {
						t.Errorf("Send of %s says %d", s, status)
					}
				}
				send(from, "100")
				send(transport.Flow{Proto: transport.TCP}, "INVITE")
				send(from, "200")
			}}
		})
		p := newPeer(t, "127.0.0.1")
		p.send(r.Addrs()[0], []byte("INVITE"))
		<-streams.posted
		p.SetReadDeadline(time.Now().Add(patience))
		if got, _ := p.receive(); string(got) != "100" {
			t.Errorf("got %q", got)
		}
		close(streams.goOn)
		if got, _ := p.receive(); string(got) != "200" {
			t.Errorf("got %q", got)
		}
	})
}
