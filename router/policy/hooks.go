package policy

import (
	"context"

	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
)

// Admit is router.Config.Admit: whether one more call may go to a gateway. Only an INVITE is a call. A counted one takes a
// place, which Ended gives back.
func (d *Decider) Admit(a router.Attempt) bool {
	n := gateway.Number(a.Gateway)
	switch {
	case parser.Method(a.Method) != parser.MethodInvite:
		return true
	case a.Counted:
		return d.pool.Admit(n, a.Now, a.Exempt) == gateway.Admitted
	}
	return d.pool.Pass(n, a.Now, a.Exempt) == gateway.Admitted
}

// Outcome is router.Config.Outcome: what a gateway has done with a request.
func (d *Decider) Outcome(o router.Outcome) {
	n := gateway.Number(o.Gateway)
	switch o.Event {
	case router.Answered:
		d.pool.Outcome(n, int(o.Status), o.Now)
	case router.Unsent:
		if o.Counted {
			d.Ended(o.Gateway)
		}
	case router.Silent, router.Failed:
		d.pool.Outcome(n, 0, o.Now)
	}
}

// Begun takes a place for a call of the peer with that number, false when there is none left. Decide has looked at it
// before; in the meantime another loop may have taken the last one. Ended gives it back.
func (d *Decider) Begun(n uint16, now transport.Instant) bool {
	return n == 0 || d.pool.Admit(gateway.Number(n), now, false) == gateway.Admitted
}

// Ended gives back the place of a call that was admitted, or was not sent in the end.
func (d *Decider) Ended(n uint16) {
	if n != 0 {
		d.pool.Release(gateway.Number(n))
	}
}

// sosAlone is what an emergency is where the policy says nothing of it.
var sosAlone = emergency{urn: true}

// Emergency tells whether a request for that Request-URI is an emergency call.
func (d *Decider) Emergency(uri []byte) bool {
	s := d.current.Load()
	if len(uri) > parser.MaxURI {
		return false
	}
	e := &sosAlone
	if s != nil && s.emergency != nil {
		e = s.emergency
	}
	var u parser.URI
	if parser.ParseURI(uri, parser.Span{Len: uint16(len(uri))}, &u).Code != 0 {
		return false
	}
	var n number
	n.read(uri, &u, nil)
	return e.has(uri, &u, n.dialled.text())
}

// RunProbes has core ask the gateways whether they are there, as the policy in force says, until ctx ends. It is for one
// goroutine.
func (d *Decider) RunProbes(ctx context.Context, core *router.Core, now func() transport.Instant) {
	d.pool.RunProbes(ctx, now, func(p gateway.Probing) bool {
		return core.Probe(router.Probe{ID: uint64(p.Number)<<32 | uint64(p.ID), URI: p.URI, From: p.From, Hop: p.Hop, Timeout: p.Timeout})
	})
}

// Probed is router.Config.Probed: the result of such a question.
func (d *Decider) Probed(id uint64, status uint16, now transport.Instant) {
	d.pool.Probed(gateway.Number(id>>32), uint32(id), int(status), now)
}
