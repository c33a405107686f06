package router

import (
	"sipedge/parser"
	"sipedge/transport"
)

// alias tells the transport of a peer that lets its TLS connection be used for requests to it too: "If the client places an
// 'alias' header field parameter in the topmost Via header of the request, the client SHOULD keep the connection open", and the
// server makes an alias "from the topmost Via header field" (RFC 5923 sections 8.1 and 8.2), of which the port alone is new: the
// address is that of the connection. Each connection is told of once, as far as this worker remembers.
func (w *Worker) alias(from *transport.Flow, m *parser.Message, b []byte) {
	v := &m.Via
	if w.cfg.Peer(from.Conn, from.Loop, from.Gen) == 0 || !hasViaParam(b, v, "alias") {
		return
	}
	told := aliased{from.Conn, from.Gen, from.Loop, portOr(v.Port, from.Proto)}
	if at := &w.aliases[(from.Conn*7+uint32(from.Loop))%uint32(len(w.aliases))]; *at != told {
		*at = told
		w.cfg.Alias(*from, told.port)
	}
}

// aliased is a connection that the transport was told of.
type aliased struct {
	conn, gen uint32
	loop      uint8
	port      uint16
}

// hasViaParam tells whether v has a parameter that the parser does not know by itself.
func hasViaParam(b []byte, v *parser.Via, name string) bool {
	at := v.Host.End()
	for at < v.Value.End() && b[at] != ';' {
		at++
	}
	_, ok := parser.Param(b, parser.Span{Off: uint16(at), Len: uint16(v.Value.End() - at)}, name)
	return ok
}
