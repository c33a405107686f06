// Package load places SIP calls over UDP at a given rate, as caller and called party in one process.
//
// Enters: a Config: the proxy under test, calls per second, what a call does.
// Leaves: a Result: calls completed and failed, messages lost, late and wrong, set-up latency.
// Never:  shares code with the server, so that a mistake there cannot hide behind the same mistake here.
//
// The schedule is open-loop: a call starts when its time has come, however slow the answers to
// the earlier ones are. One goroutine does everything and allocates nothing while it runs, since
// one core has to drive more calls than any proxy on the other core can carry.
package load
