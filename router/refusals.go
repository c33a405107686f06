package router

import (
	"time"

	"sipedge/parser"
	"sipedge/transport"
)

// refusals collects them for a moment, by where they go and how long they are, since many datagrams of one size to one
// place cost the kernel a quarter of what each alone costs. A trunk that sends too much gets them so.
// Their order among other messages means nothing: each is all that its transaction ever gets.
type refusals struct {
	bulk   transport.Bulk    // of the loop, or nil: then they leave one by one
	due    transport.Instant // when those that wait have to leave; 0: none wait
	turn   int               // the group to give up when all are taken
	groups [refusalGroups]refusalGroup
}

type refusalGroup struct {
	to   transport.Flow
	size int
	buf  []byte
}

const (
	// refusalGroups is for a few upstream neighbours with two or three sizes each.
	refusalGroups = 8
	// refusalDelay is how long a refusal may wait for others: what it is about waits twenty times as long.
	refusalDelay = time.Millisecond
	// refusalBytes holds 32 to 42 of them.
	refusalBytes = 16 << 10
	// sizeStep is what refusals are padded to, so that there are few sizes.
	sizeStep = 128
)

func (r *refusals) init(l transport.Loop) {
	if r.bulk = transport.BulkOf(l); r.bulk == nil {
		return
	}
	for i := range r.groups {
		r.groups[i].buf = make([]byte, 0, refusalBytes)
	}
}

// refuse answers a request that is turned away for there being too much.
func (w *Worker) refuse(from *transport.Flow, m *parser.Message, b []byte) {
	f := fault{statusUnavailable, causeOverload}
	r := &w.shed.refusals
	if r.bulk == nil || from.Proto != transport.UDP {
		w.reject(from, m, b, f)
		return
	}
	w.n.Rejected++
	w.n.Unavailable++
	w.n.ResponsesOut++
	to := w.upstreamFlow(from, m, b)
	out := w.appendResponse(w.loop.Buffer(), m, b, &from.Remote, f.status, f.why)
	g := r.group(&to, len(out))
	if g == nil {
		g = &r.groups[r.turn]
		r.turn = (r.turn + 1) % refusalGroups
		w.flushGroup(g)
		g.to, g.size = to, len(out)
	}
	if len(g.buf)+len(out) > cap(g.buf) {
		to, size := g.to, g.size
		w.flushGroup(g)
		if g.to, g.size = to, size; len(out) > cap(g.buf) {
			w.send(&to, append(w.loop.Buffer(), out...))
			return
		}
	}
	if r.due == 0 {
		r.due = w.now.Add(refusalDelay)
	}
	g.buf = append(g.buf, out...)
}

// group finds the group of refusals of that size to that place, or makes a free one it.
func (r *refusals) group(to *transport.Flow, size int) (free *refusalGroup) {
	for i := range r.groups {
		g := &r.groups[i]
		switch {
		case len(g.buf) == 0:
			free = g
		case g.size == size && g.to == *to:
			return g
		}
	}
	if free != nil {
		free.to, free.size = *to, size
	}
	return free
}

// flushRefusals gives all that was collected to the transport.
func (w *Worker) flushRefusals() {
	r := &w.shed.refusals
	r.due = 0
	for i := range r.groups {
		w.flushGroup(&r.groups[i])
	}
}

func (w *Worker) flushGroup(g *refusalGroup) {
	if len(g.buf) == 0 {
		return
	}
	if w.shed.bulk.SendBulk(g.to, g.buf, g.size) != transport.Queued {
		w.n.SendFailed++
	}
	g.buf = g.buf[:0]
}
