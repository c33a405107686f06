package router

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sipedge/parser"
	"sipedge/router/resolve"
	"sipedge/transport"
	"sipedge/txn"
)

// An OwnRequest is a request that the proxy makes by itself: a probe, later the BYE of a call that it ends. It has no server
// transaction; the client transaction is RFC 3261 section 17.1.2.
type OwnRequest struct {
	// ID comes back with the result.
	ID uint64
	// Text is the whole request but for its Via, which is put in front of the headers: with start line, To, From and its tag,
	// Call-ID, CSeq, Max-Forwards, Route values if there are any, Content-Length and body. Neither INVITE nor ACK. Taken.
	Text []byte
	// Hop is where it goes. With Proto 0 it is found by RFC 3263 from Next, a sip or sips URI: that of the first Route or, without
	// one, the Request-URI.
	Hop  transport.Hop
	Next string
	// Timeout is how long to wait for the final response; 0, or more than Timer F: until Timer F.
	Timeout time.Duration
}

// own is an OwnRequest on its way to the loop that makes its transaction.
type own struct {
	OwnRequest
	method  parser.Method
	headers int  // where they begin in Text
	asked   bool // DNS has been asked
}

// A Probe asks a neighbour whether it is there, by an OPTIONS (RFC 3261 section 11).
type Probe struct {
	ID      uint64        // comes back to Config.Probed
	URI     string        // the Request-URI and To
	From    string        // the URI in From; "": the user "probe" at an address of ours
	Hop     transport.Hop // as OwnRequest.Hop; with Proto 0 the URI says where
	Timeout time.Duration // as OwnRequest.Timeout
}

// Probe sends p and has Config.Probed called with the result. False: nothing was sent, since the URI is not one or too much waits
// already, and Probed will not be called. Safe from any goroutine; never blocks.
func (c *Core) Probe(p Probe) bool {
	from := p.From
	if from == "" {
		from = "sip:probe@" + c.host(&p.Hop)
	}
	if strings.ContainsAny(p.URI+from, "\r\n<> ") {
		return false
	}
	// "the Max-Forwards [...] SHOULD be 70"; "An Accept header field SHOULD be included to indicate the type of message body the UAC
	// wishes to receive in the response." RFC 3261 sections 8.1.1.6 and 11.1
	text := fmt.Appendf(nil, "OPTIONS %s SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\n"+
		"Accept: application/sdp\r\nContent-Length: 0\r\n\r\n", p.URI, from, token(8), p.URI, token(16))
	return c.Request(OwnRequest{ID: p.ID, Text: text, Hop: p.Hop, Next: p.URI, Timeout: p.Timeout})
}

// anyVia makes a request readable that has no Via yet.
const anyVia = "Via: SIP/2.0/UDP invalid.;branch=z9hG4bK0\r\n"

// host is the host of ours that hop sees, as a URI has it.
func (c *Core) host(hop *transport.Hop) string {
	i := 0
	if hop.Proto != 0 {
		i, _ = c.listenerFor(hop.Proto, hop.Is4())
	}
	l := c.cfg.Listeners[i]
	switch a := netip.AddrFrom16(c.listeners[i].source).Unmap(); {
	case l.AdvertiseHost != "":
		return l.AdvertiseHost
	case a.IsUnspecified():
		return "invalid." // as in RFC 3323 section 4.1.1.3's "anonymous.invalid"
	case a.Is4():
		return a.String()
	default:
		return "[" + a.WithZone("").String() + "]"
	}
}

// token is n random bytes in hexadecimal.
func token(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see its documentation
	return hex.EncodeToString(b)
}

// Request sends r and has the result told: that of an OPTIONS to Config.Probed, any other to Config.OwnAnswered. False: nothing was
// sent, since r.Text is not readable or too much waits already. It takes r.Text. Safe from any goroutine; never blocks.
func (c *Core) Request(r OwnRequest) bool {
	x := &own{OwnRequest: r, headers: bytes.Index(r.Text, []byte("\r\n")) + 2}
	m := new(parser.Message)
	if x.headers < 2 || len(r.Text) > txn.MaxKept || parser.Parse(slices.Insert(slices.Clone(r.Text), x.headers, []byte(anyVia)...), m).Code != 0 || !m.Request ||
		m.Method == parser.MethodInvite || m.Method == parser.MethodAck {
		return false
	}
	x.method = m.Method
	n := 0
	for i := range c.workers {
		if c.workers[i].Load() != nil {
			n++
		}
	}
	if n == 0 {
		return false
	}
	at := int(c.turn.Add(1) % uint64(n))
	for i := range c.workers {
		if c.workers[i].Load() == nil {
			continue
		}
		if at--; at < 0 {
			return c.Answer(&Answer{Loop: i, own: x})
		}
	}
	return false
}

// ownRequest makes the transaction of a request of our own, or waits for its next hop's name.
func (w *Worker) ownRequest(a *Answer) {
	x := a.own
	hop, wait, f := w.ownHop(a)
	if wait {
		return
	}
	var to transport.Flow
	if f.status == 0 {
		to, f = w.core.egress(&noFlow, &hop)
	}
	if f.status != 0 {
		w.ownResult(x.method, x.ID, 0)
		return
	}
	w.own++
	c, outcome := w.local.MatchOrCreate(w.keys.OwnKey(uint32(w.id), w.own))
	if outcome != txn.Created {
		w.n.StoreFull++
		w.ownResult(x.method, x.ID, 0)
		return
	}
	w.claimed = c
	w.n.Begun++
	c.Flags |= flagOwn
	c.Method = uint8(x.method)
	c.Server = txn.Machine{Kind: txn.NonInviteServer, State: txn.Terminated}
	if !w.ownBranch(c, x, &to) {
		w.ownResult(x.method, x.ID, 0)
	}
	w.settle(c)
}

// noFlow is where requests of our own come from.
var noFlow = transport.Flow{Listener: 1<<16 - 1}

// ownBranch makes the only branch of c and sends x on it. When it cannot, the context is left to be ended.
func (w *Worker) ownBranch(c *txn.ResponseContext, x *own, to *transport.Flow) bool {
	b, e := x.Text, &w.edits
	e.Reset()
	e.Begin()
	e.Text = w.core.appendVia(e.Text, to)
	e.Text = w.keys.AppendBranch(e.Text, txn.BranchID{Ref: c.Ref(), Index: c.Branches})
	e.Text = append(e.Text, "\r\n"...)
	e.Insert(x.headers)
	br := w.local.AddBranch(c)
	if br == nil {
		w.n.StoreFull++
		return false
	}
	w.scratch = e.Marshal(w.scratch[:0])
	var ok1, ok2 bool
	c.Request, ok1 = w.local.Keep(b)
	br.Edits, ok2 = w.local.Keep(w.scratch)
	if !ok1 || !ok2 {
		w.n.StoreFull++
		w.local.DropBranch(c, br)
		return false
	}
	br.Flow = *to
	br.Dialog = txn.Ref{Slot: uint32(x.ID >> 32), Gen: uint32(x.ID)}
	w.n.RequestsOut++
	if !w.send(to, e.AppendTo(w.loop.Buffer(), b, len(b))) {
		w.local.DropBranch(c, br)
		return false
	}
	br.Main.Start(txn.NonInviteClient, to.Proto.Reliable(), w.now, w.timers)
	if x.Timeout > 0 && x.Timeout < w.timers.TimerB() {
		br.TimerC = w.now.Add(x.Timeout)
	}
	c.Pending++
	return true
}

// ownEnded takes in the end of a request of our own: its final status, 0 for none.
func (w *Worker) ownEnded(c *txn.ResponseContext, br *txn.ClientTransaction, status uint16) {
	br.Main = txn.Machine{Kind: br.Main.Kind, State: txn.Terminated}
	w.ownResult(parser.Method(c.Method), uint64(br.Dialog.Slot)<<32|uint64(br.Dialog.Gen), status)
}

func (w *Worker) ownResult(method parser.Method, id uint64, status uint16) {
	told := w.cfg.OwnAnswered
	if method == parser.MethodOptions {
		told = w.cfg.Probed
	}
	if told != nil {
		told(id, status, w.now)
	}
}

// ownHop is where a request of our own goes. wait says that its name is being looked up: the answer brings a back.
func (w *Worker) ownHop(a *Answer) (hop transport.Hop, wait bool, f fault) {
	x := a.own
	if x.Hop.Proto != 0 {
		return x.Hop, false, f
	}
	u, b := &w.finder.uri, []byte(x.Next)
	if len(b) > maxTargetText || parser.ParseURI(b, whole(b), u).Code != 0 || u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return hop, false, fault{status: statusServerError}
	}
	host := u.Host
	if !u.Maddr.Empty() {
		host = u.Maddr
	}
	if _, literal := parseIP(host.In(b)); literal || w.cfg.Resolver.Lookup == nil {
		hop, f = hopOf(b, u, false)
		return hop, false, f
	}
	q := resolve.Query{Host: host.In(b), Port: u.Port, Sips: u.SchemeIs == parser.SchemeSIPS, Reach: w.core.reach}
	if !u.Transport.Empty() {
		q.Transport = protocolOf(b, u, q.Sips)
	}
	w.finder.query = q
	hops, status := w.cfg.Resolver.Lookup(&w.finder.query, w.finder.hops[:0], w.now)
	switch {
	case len(hops) > 0:
		return hops[0], false, f
	case status != resolve.Miss || x.asked:
		return hop, false, fault{status: statusServerTimeout}
	}
	x.asked = true
	core := w.core
	if !w.cfg.Resolver.Start(q, func() { core.Answer(a) }) {
		return hop, false, fault{status: statusUnavailable}
	}
	return hop, true, f
}
