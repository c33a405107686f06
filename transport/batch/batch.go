// Package batch is the UDP backend for Linux: batches of datagrams by recvmmsg and sendmmsg.
//
// Enters: a transport.Config; datagrams and ICMP errors of the kernel, messages of the Handlers.
// Leaves: borrowed datagrams with their Flow to the Handler of the loop, messages to the network.
// Never:  looks inside SIP, allocates or blocks between packet in and packet out.
package batch

import "runtime"

// Procs is the GOMAXPROCS to set for that many loops: a P for each loop, since a loop keeps its
// P even while it sleeps in the kernel, and at least two more for everything else (collector,
// admin, workers), one per CPU when there are more. The runtime would otherwise serve all
// other goroutines from the moments when a loop is preempted. Setting it also stops the
// runtime from following later changes of the CPU limit by itself.
func Procs(loops int) int { return loops + max(2, runtime.NumCPU()) }
