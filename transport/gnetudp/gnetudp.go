// Package gnetudp is the UDP backend that runs wherever gnet does: gnet's loops, gnet's sockets.
//
// Enters: a transport.Config; datagrams that gnet reads, messages of the Handlers.
// Leaves: borrowed datagrams with their Flow to the Handler of the loop, messages to the network.
// Never:  reports ICMP errors (gnet cannot read them), looks inside SIP, shares its engine with streams.
//
// A transaction whose destination is dead ends by its own timers here; package batch ends it
// at once. Datagrams cost some heap allocations each, all inside gnet and the system-call package.
package gnetudp
