package router

import (
	"bytes"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// maxDatagramRequest: "If a request is within 200 bytes of the path MTU, or if it is larger than 1300 bytes and the path MTU is
// unknown, the request MUST be sent using an RFC 2914 congestion controlled transport protocol, such as TCP." RFC 3261
// section 18.1.1. We do not know path MTUs.
const maxDatagramRequest = 1300

// avoidFragments takes a request that is too large for UDP to TCP, if it is to leave by to over UDP. w.edits has all that
// makes the request. Only the Via says so: a Record-Route that named TCP would keep later requests, which are smaller, on
// it ("the recommendation to put a transport protocol parameter on Record-Route URI does not apply when the proxy has changed
// the transport protocol due to the size of UDP requests", RFC 5658 section 6.2).
//
// Deviation: what has no transaction here stays on UDP. Nobody could take it back to UDP if the other side knows no TCP, and
// a CANCEL, which is always small, would not go the way of its INVITE.
func (w *Worker) avoidFragments(m *parser.Message, from *transport.Flow, to transport.Flow) transport.Flow {
	if w.branch.Ref == (txn.Ref{}) || w.forwarded&branchByFlow != 0 ||
		int(m.Len)+len(w.edits.Text) <= maxDatagramRequest || w.edits.Size(int(m.Len)) <= maxDatagramRequest {
		return to
	}
	over, f := w.core.egress(from, &transport.Hop{Addr: to.Remote, Proto: transport.TCP})
	if f.status != 0 || !w.changeVia(&over) {
		return to
	}
	w.forwarded |= branchOverTCP
	return over
}

// changeVia makes of the Via that w.edits inserts one for a request that leaves by to: "If this causes a change in the
// transport protocol from the one indicated in the top Via, the value in the top Via MUST be changed." RFC 3261 section 18.1.1
func (w *Worker) changeVia(to *transport.Flow) bool {
	e := &w.edits
	for i := range e.Len() {
		text := e.TextOf(i)
		if !bytes.HasPrefix(text, viaPrefix) {
			continue
		}
		at := bytes.Index(text, viaBranchBytes)
		if at < 0 {
			return false
		}
		e.Begin()
		e.Text = w.core.appendVia(e.Text, to)
		e.Text = append(e.Text, text[at+len(viaBranch):]...)
		e.Retext(i)
		return true
	}
	return false
}

var (
	viaPrefix      = []byte("Via: SIP/2.0/")
	viaBranchBytes = []byte(viaBranch)
)

// backToUDP is for a branch whose request went over TCP for its size, and to whose next hop no connection could be made: "if the
// attempt to establish the connection generates either an ICMP Protocol Not Supported, or results in a TCP reset, the
// element SHOULD retry the request, using UDP." RFC 3261 section 18.1.1. Nobody has seen the request yet, so the transaction
// begins once more, under the same branch. It reports whether it did.
func (w *Worker) backToUDP(c *txn.ResponseContext, br *txn.ClientTransaction) bool {
	if br.Flags&branchOverTCP == 0 || br.Main.State != txn.Trying && br.Main.State != txn.Calling || c.Request.Len == 0 || br.Edits.Len == 0 {
		return false
	}
	br.Flags &^= branchOverTCP
	to, f := w.core.egress(&c.Upstream, &transport.Hop{Addr: br.Flow.Remote, Proto: transport.UDP})
	if f.status != 0 || !w.edits.Unmarshal(w.local.Bytes(br.Edits)) || !w.changeVia(&to) {
		return false
	}
	w.scratch = w.edits.Marshal(w.scratch[:0])
	edits, ok := w.local.Keep(w.scratch)
	if !ok {
		w.n.StoreFull++
		return false
	}
	w.local.Drop(&br.Edits)
	br.Edits = edits
	br.Flow = to
	w.n.RequestsOut++
	if !w.send(&to, w.edits.AppendTo(w.loop.Buffer(), w.local.Bytes(c.Request), int(c.Request.Len))) {
		return false
	}
	br.Main.Start(br.Main.Kind, false, w.now, w.timers)
	return true
}
