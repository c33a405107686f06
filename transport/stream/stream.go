// Package stream carries SIP over connections, on gnet.
//
// Enters: Flows with rendered messages; bytes of peers, cut into messages by parser.Framer or WebSocket frames.
// Leaves: borrowed whole messages, each with the Flow of its connection, to a Handler per loop.
// Never:  waits for a peer: dials and handshakes run on workers, and what a peer does not read is bounded.
package stream
