package router_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sipedge/transport"
)

// protocols are the transports by the names that ladders give them.
var protocols = map[string]transport.Protocol{
	"udp": transport.UDP, "tcp": transport.TCP, "tls": transport.TLS, "ws": transport.WS, "wss": transport.WSS,
}

// Ports of an edge's listeners that have no other, and of actors that nobody gave one.
var usualPort = map[transport.Protocol]uint16{
	transport.UDP: 5060, transport.TCP: 5060, transport.TLS: 5061, transport.WS: 80, transport.WSS: 443,
}

func protocolName(p transport.Protocol) string {
	for name, q := range protocols {
		if p == q {
			return name
		}
	}
	return "?"
}

// conn is a connection of the simulated network: what a stream engine knows of it, and who is at its ends.
type conn struct {
	number int // of the actor's connections, from 1
	proto  transport.Protocol
	a, b   end // a has made it
	state  connState
}

type connState uint8

const (
	open   connState = iota
	broken           // the far end is gone, which shows when something is sent
	closed
)

// end is an edge, with the slot of the connection, or an actor.
type end struct {
	edge     *edge
	slot     int
	listener int
	actor    *actor
	addr     netip.AddrPort
}

func (e *edge) nameOr(name string) string {
	if e == nil {
		return name
	}
	return e.name
}

// end is the actor's end.
func (c *conn) end(a *actor) *end {
	if c.a.actor == a {
		return &c.a
	}
	return &c.b
}

// near and far are the ends as e sees them.
func (c *conn) near(e *edge) *end {
	if c.a.edge == e {
		return &c.a
	}
	return &c.b
}

func (c *conn) far(e *edge) *end {
	if c.a.edge == e {
		return &c.b
	}
	return &c.a
}

// generation is that of all connections. One that is closed keeps its slot.
const generation = 0x1e57

// flow is the connection as e sees it.
func (c *conn) flow(e *edge) transport.Flow {
	near, far := c.near(e), c.far(e)
	return transport.Flow{Remote: transport.AddrFrom(far.addr), Local: transport.AddrFrom(near.addr).IP, Conn: uint32(near.slot),
		Gen: generation, Listener: uint16(near.listener), Loop: uint8(near.slot % len(e.loops)), Proto: c.proto}
}

// nextPort gives connections ports of their own.
func (n *network) nextPort() uint16 {
	n.ports++
	return 40000 + uint16(n.ports)
}

// connect makes a connection between two ends, of which some are edges.
func (n *network) connect(proto transport.Protocol, from, to end) *conn {
	c := &conn{proto: proto, a: from, b: to}
	for _, x := range []*end{&c.a, &c.b} {
		if x.edge != nil {
			x.slot = len(x.edge.conns)
			x.edge.conns = append(x.edge.conns, c)
		} else {
			x.actor.conns = append(x.actor.conns, c)
			c.number = len(x.actor.conns)
		}
	}
	return c
}

// connect makes a connection from the actor to the edge.
func (a *actor) connect(e *edge) (*conn, error) {
	i, ok := e.listenerFor(a.proto, a.seen.Addr().Is4())
	if !ok {
		return nil, fmt.Errorf("%s does not listen on %s", e.name, protocolName(a.proto))
	}
	return a.n.connect(a.proto, end{actor: a, addr: netip.AddrPortFrom(a.seen.Addr(), a.n.nextPort())},
		end{edge: e, listener: i, addr: e.listeners()[i].addr}), nil
}

// hop is the way to the actor for who knows where it listens.
func (a *actor) hop() *transport.Hop {
	at := a.addr
	if a.proto == transport.UDP {
		at = a.seen
	}
	return &transport.Hop{Addr: transport.AddrFrom(at), Proto: a.proto}
}

// takes tells whether something listens for the transport where the actor is.
func (a *actor) takes(p transport.Protocol) bool { return a.proto == p || slices.Contains(a.also, p) }

// latest is the actor's latest connection that is open, nil if there is none.
func (a *actor) latest() *conn {
	for _, c := range slices.Backward(a.conns) {
		if c.state == open {
			return c
		}
	}
	return nil
}

// connTo is the connection by which the edge's stream engine sends to a flow: the one named, else one to that address, else a
// new one. Without one, why says what the engine says of it, and after how long.
func (e *edge) connTo(to transport.Flow) (c *conn, why transport.Failure, after time.Duration) {
	remote := to.Remote.AddrPort()
	if to.Gen != 0 {
		if to.Gen != generation || int(to.Conn) >= len(e.conns) || e.conns[to.Conn].state == closed {
			return nil, transport.Closed, 0
		}
		return e.conns[to.Conn], 0, 0
	}
	for _, c := range slices.Backward(e.conns) {
		if c.proto == to.Proto && c.far(e).addr == remote && c.state != closed {
			return c, 0, 0
		}
	}
	if c := e.aliases[remote]; c != nil && c.proto == to.Proto && c.state != closed {
		return c, 0, 0
	}
	if to.Proto >= transport.WS {
		return nil, transport.Closed, 0
	}
	from := end{edge: e, listener: int(to.Listener), addr: netip.AddrPortFrom(e.listeners()[to.Listener].addr.Addr(), e.n.nextPort())}
	for _, other := range e.n.inOrder() {
		for i, l := range other.listeners() {
			if l.proto == to.Proto && l.addr == remote {
				return e.n.connect(to.Proto, from, end{edge: other, listener: i, addr: remote}), 0, 0
			}
		}
	}
	a := e.n.actors[e.n.resolve(remote.String())]
	if a == nil || a.addr != remote {
		return nil, transport.NoConnection, 0
	}
	if a.refuses || !a.takes(to.Proto) {
		return nil, transport.NoConnection, a.refusesAfter
	}
	return e.n.connect(to.Proto, from, end{actor: a, addr: remote}), 0, 0
}

// peer is the number of the name that the far end of a connection has proven: any but 0 will do.
func (e *edge) peer(slot uint32, _ uint8, gen uint32) uint32 {
	if gen != generation || int(slot) >= len(e.conns) {
		return 0
	}
	if a := e.conns[slot].far(e).actor; a != nil && a.proves != "" {
		return 1
	}
	return 0
}

// alias is what a stream engine does with RFC 5923.
func (e *edge) alias(f transport.Flow, port uint16) {
	at := f.Remote.AddrPort()
	if at = netip.AddrPortFrom(at.Addr(), port); e.aliases[at] != nil && e.aliases[at].state == open && len(e.loops) == 1 && e.n.err == nil {
		e.n.err = fmt.Errorf("%s: the alias %s was told of twice", e.name, at)
	}
	e.aliases[at] = e.conns[f.Conn]
}

// refused notes that nobody will see b.
func (e *edge) refused(b []byte) {
	if m, err := readMessage(b); err == nil && m.request() {
		branch, _ := param(m.values("Via")[0], "branch")
		e.failed[branch] = true
	}
}

// flow is how the message of a line comes to the edge: a response on the connection of its request, a request on the connection
// that the line names, else the latest one, else a new one.
func (a *actor) flow(e *edge, l *line, m *message) (transport.Flow, error) {
	if a.proto == transport.UDP {
		return a.datagrams(e), nil
	}
	c := a.latest()
	if isStatus(l.text) && m != nil && m.conn != nil {
		c = m.conn
	}
	if k := l.notes.conn; k > 0 {
		if k > len(a.conns) {
			return transport.Flow{}, fmt.Errorf("%s has %d connections", a.name, len(a.conns))
		}
		c = a.conns[k-1]
	}
	if c == nil {
		var err error
		if c, err = a.connect(e); err != nil {
			return transport.Flow{}, err
		}
	}
	if c.state != open {
		return transport.Flow{}, fmt.Errorf("connection %d of %s is closed", c.number, a.name)
	}
	return c.flow(e), nil
}

// connection carries out what a line does to a connection: "connects" makes one, "closes" ends the latest one or that which is
// named, and the edge knows; "breaks" does so, and the edge learns of it when it sends something.
func (a *actor) connection(e *edge, l *line) error {
	if l.text == "connects" {
		_, err := a.connect(e)
		return err
	}
	c := a.latest()
	if k := l.notes.conn; k > 0 && k <= len(a.conns) {
		c = a.conns[k-1]
	}
	if c == nil || c.state != open {
		return fmt.Errorf("%s has no such connection", a.name)
	}
	if c.state = closed; l.text == "breaks" {
		c.state = broken
	}
	return nil
}

// sentBy is what the actor says of itself in a Via. A WebSocket client is a browser, which does not know its address (RFC
// 7118 section 8).
func (a *actor) sentBy() string {
	if a.proto >= transport.WS {
		return a.name + ".invalid"
	}
	return a.addr.String()
}

// transportParam is what the actor's Contact says of its transport.
func (a *actor) transportParam() string {
	switch a.proto {
	case transport.UDP:
		return ""
	case transport.WSS:
		return ";transport=ws"
	}
	return ";transport=" + protocolName(a.proto)
}

// reaches tells whether the actor's transport is the one that a URI of its route set asks for.
func (a *actor) reaches(uri string) bool {
	secure := strings.HasPrefix(uri, "sips:")
	asked := "udp"
	if secure {
		asked = "tls"
	}
	for _, p := range strings.Split(uri, ";")[1:] {
		if t, ok := strings.CutPrefix(p, "transport="); ok {
			asked = t
		}
	}
	if secure && asked == "tcp" {
		asked = "tls"
	}
	if a.proto == transport.WSS {
		return asked == "ws"
	}
	return asked == protocolName(a.proto)
}
