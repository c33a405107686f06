package router

import (
	"bytes"

	"sipedge/parser"
	"sipedge/transport"
)

// A response on a stream goes back on the connection of its request. "If that connection is no longer open, the server SHOULD
// open a connection to the IP address in the 'received' parameter, if present, using the port in the 'sent-by' value, or the
// default port for that transport, if no port is specified." RFC 3261 section 18.2.2. Once: what becomes of the response then
// is left to RFC 3263 section 5 where sent-by is a name (see backup_response.go), and to the retransmissions of its client.

// isResponse tells a rendered response from a request.
func isResponse(b []byte) bool { return bytes.HasPrefix(b, responseStart) }

var responseStart = []byte("SIP/2.0 ")

// resendLost sends b, a response that could not be sent by to, the other way. It reports whether there is one. b
// is in the loop's buffer, or belongs to the transport, as borrowed says.
func (w *Worker) resendLost(to *transport.Flow, b []byte, borrowed bool) bool {
	other, ok := w.otherWay(to, b)
	if !ok {
		return to.Gen == 0 && w.backup(to, b, false)
	}
	if borrowed {
		b = append(w.loop.Buffer(), b...)
	}
	return w.loop.Send(other, b) == transport.Queued
}

// otherWay is where 18.2.2 has b go when its connection is gone. The address is that of the flow, which is what received
// has, or sent-by where they are the same.
func (w *Worker) otherWay(to *transport.Flow, b []byte) (f transport.Flow, ok bool) {
	if to.Proto != transport.TCP && to.Proto != transport.TLS {
		return f, false // nobody can connect to a WebSocket client
	}
	if parser.Parse(b, &w.other).Code.Class() == parser.ClassUnreadable {
		return f, false
	}
	f = *to
	f.Remote.Port = portOr(w.other.Via.Port, to.Proto)
	f.Loop, f.Conn, f.Gen = 0, 0, 0
	// Without a Gen it was the second attempt, or one of a stateless proxy that did not find the connection.
	return f, to.Gen != 0 || f.Remote.Port != to.Remote.Port
}
