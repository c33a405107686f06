package policy

import (
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
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
	case router.Silent, router.Failed:
		d.pool.Outcome(n, 0, o.Now)
	}
}

// Ended gives back the place of a call that was admitted, or was not sent in the end.
func (d *Decider) Ended(n uint16) {
	if n != 0 {
		d.pool.Release(gateway.Number(n))
	}
}

// Emergency tells whether a request for that Request-URI is an emergency call.
func (d *Decider) Emergency(uri []byte) bool {
	s := d.current.Load()
	if s == nil || s.emergency == nil || len(uri) > parser.MaxURI {
		return false
	}
	var u parser.URI
	if parser.ParseURI(uri, parser.Span{Len: uint16(len(uri))}, &u).Code != 0 {
		return false
	}
	var n number
	n.read(uri, &u, nil)
	return s.emergency.has(uri, &u, n.dialled.text())
}
