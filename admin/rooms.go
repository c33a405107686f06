package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"sipedge/router"
	"sipedge/txn"
)

// Router shows what the router did with messages, over all loops.
func Router(c *router.Core) prometheus.Collector {
	return newTable(routerMetrics, nil, func(show func(*router.Counters, ...string)) {
		n := c.Counters()
		show(&n)
	})
}

type routerCounters = router.Counters

var routerMetrics = []metric[routerCounters]{
	{"requests_in_total", "Readable requests received.", counter, func(n *routerCounters) uint64 { return n.RequestsIn }},
	{"responses_in_total", "Readable responses received.", counter, func(n *routerCounters) uint64 { return n.ResponsesIn }},
	{"requests_out_total", "Requests sent, retransmissions included.", counter, func(n *routerCounters) uint64 { return n.RequestsOut }},
	{"responses_out_total", "Responses sent, retransmissions included.", counter, func(n *routerCounters) uint64 { return n.ResponsesOut }},
	{"absorbed_total", "Retransmitted requests that an existing transaction took.", counter, func(n *routerCounters) uint64 { return n.Absorbed }},
	{"resent_total", "Messages sent again, by a timer or for a retransmission.", counter, func(n *routerCounters) uint64 { return n.Resent }},
	{"keepalives_total", "Datagrams that only keep a NAT binding open.", counter, func(n *routerCounters) uint64 { return n.KeepAlives }},
	{"malformed_total", "Messages not readable as SIP, or answered 400 or 505.", counter, func(n *routerCounters) uint64 { return n.Malformed }},
	{"stray_total", "Responses and ACKs that belong to nothing of ours, forged ones included.", counter, func(n *routerCounters) uint64 { return n.Stray }},
	{"rejected_total", "Requests answered with a final response of our own.", counter, func(n *routerCounters) uint64 { return n.Rejected }},
	{"rejected_loop_total", "Of rejected: 482 Loop Detected.", counter, func(n *routerCounters) uint64 { return n.Looped }},
	{"rejected_hops_total", "Of rejected: 483 Too Many Hops.", counter, func(n *routerCounters) uint64 { return n.TooManyHops }},
	{"rejected_forbidden_total", "Of rejected: 403 Forbidden.", counter, func(n *routerCounters) uint64 { return n.Refused }},
	{"rejected_unavailable_total", "Of rejected: 503 Service Unavailable.", counter, func(n *routerCounters) uint64 { return n.Unavailable }},
	{"store_full_total", "New transactions refused because a table or store was full.", counter, func(n *routerCounters) uint64 { return n.StoreFull }},
	{"branch_timeouts_total", "Branches that ended by Timer B, C or F.", counter, func(n *routerCounters) uint64 { return n.Timeouts }},
	{"branch_transport_errors_total", "Branches that ended because the transport failed.", counter, func(n *routerCounters) uint64 { return n.TransportErrors }},
	{"send_failed_total", "Messages that the transport did not take.", counter, func(n *routerCounters) uint64 { return n.SendFailed }},
	{"panics_total", "Panics that ended a transaction.", counter, func(n *routerCounters) uint64 { return n.Panics }},
	{"decisions_suspended_total", "Routing decisions that had to wait.", counter, func(n *routerCounters) uint64 { return n.Suspended }},
	{"decisions_late_total", "Answers to decisions that nobody waited for any more.", counter, func(n *routerCounters) uint64 { return n.LateAnswers }},
	{"transactions_begun_total", "Server transactions created.", counter, func(n *routerCounters) uint64 { return n.Begun }},
	{"transactions_answered_total", "Server transactions that had a final response, or ended without.", counter, func(n *routerCounters) uint64 { return n.Answered }},
	{"transactions_ended_total", "Server transactions whose memory was given back.", counter, func(n *routerCounters) uint64 { return n.Ended }},
}

// Store shows how full the transaction store is.
func Store(s *txn.Store) prometheus.Collector {
	return newTable(storeMetrics, nil, func(show func(*txn.Stats, ...string)) {
		n := s.Stats()
		show(&n)
	})
}

type storeStats = txn.Stats

var storeMetrics = []metric[storeStats]{
	{"store_contexts", "Transactions kept, finished ones included.", gauge, func(s *storeStats) uint64 { return s.Live }},
	{"store_contexts_created_total", "Contexts created.", counter, func(s *storeStats) uint64 { return s.Created }},
	{"store_contexts_ended_total", "Contexts ended.", counter, func(s *storeStats) uint64 { return s.Ended }},
	{"store_contexts_poisoned_total", "Contexts ended by a panic; their slots are never used again.", counter, func(s *storeStats) uint64 { return s.Poisoned }},
	{"store_contexts_full_total", "Contexts not created for want of room.", counter, func(s *storeStats) uint64 { return s.Full }},
	{"store_branches", "Branches kept.", gauge, func(s *storeStats) uint64 { return s.Branches }},
	{"store_branches_full_total", "Branches not made for want of room.", counter, func(s *storeStats) uint64 { return s.FullBranches }},
	{"store_spans", "Byte strings kept, such as requests and last responses.", gauge, func(s *storeStats) uint64 { return s.Spans }},
	{"store_span_bytes", "Memory that the byte strings fill.", gauge, func(s *storeStats) uint64 { return s.SpanBytes }},
	{"store_spans_full_total", "Byte strings not kept for want of room.", counter, func(s *storeStats) uint64 { return s.BytesFull }},
	{"store_events_posted_total", "Events queued for the loop that held the context.", counter, func(s *storeStats) uint64 { return s.Posted }},
	{"store_events_handled_total", "Of posted: handled by that loop.", counter, func(s *storeStats) uint64 { return s.Handled }},
	{"store_events_ended_total", "Of posted: ended with their context.", counter, func(s *storeStats) uint64 { return s.EndedEvents }},
	{"store_events_dropped_total", "Retransmittable events refused by a full queue.", counter, func(s *storeStats) uint64 { return s.PostDropped }},
	{"store_events_refused_total", "Other events refused by a full queue.", counter, func(s *storeStats) uint64 { return s.PostRefused }},
	{"store_timers", "Entries on the timer wheels.", gauge, func(s *storeStats) uint64 { return s.Timers }},
	{"store_emergencies_total", "Chunks of memory that a loop had to make itself.", counter, func(s *storeStats) uint64 { return s.Emergencies }},
	{"store_reserved_bytes", "Memory of all slabs, used or free, without the table and the wheels.", gauge, func(s *storeStats) uint64 { return s.ReservedBytes }},
}
