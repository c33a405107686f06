package admin

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"sipedge/router"
	"sipedge/router/dialog"
	"sipedge/router/resolve"
	"sipedge/transport/stream"
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
	{"scanners_total", "Requests of scanners, dropped without an answer.", counter, func(n *routerCounters) uint64 { return n.Scanners }},
	{"limited_total", "Requests over the rate of their source, dropped or answered 503.", counter, func(n *routerCounters) uint64 { return n.Limited }},
	{"shed_total", "Requests turned away because there was too much of everything.", counter, func(n *routerCounters) uint64 { return n.Shed }},
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

// Load shows how each loop fares, so that one sees when there is too much before calls are turned away.
func Load(c *router.Core) prometheus.Collector {
	return newTable(loadMetrics, []string{"loop"}, func(show func(*router.Load, ...string)) {
		for i := 0; ; i++ {
			l, ok := c.Load(i)
			if !ok {
				return
			}
			show(&l, strconv.Itoa(i))
		}
	})
}

var loadMetrics = []metric[router.Load]{
	{"overload_delay_microseconds", "How long packets wait for their turn, bursts left out.", gauge, func(l *router.Load) uint64 { return l.DelayMicroseconds }},
	{"overload_receive_buffer_permille", "Share of the fullest receive buffer that is taken.", gauge, func(l *router.Load) uint64 { return l.FillPermille }},
	{"overload_turned_away_permille", "Share of new calls that is answered 503.", gauge, func(l *router.Load) uint64 { return l.SharePermille }},
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

// Streams shows what became of connections.
func Streams(e *stream.Engine) prometheus.Collector {
	return newTable(streamMetrics, nil, func(show func(*stream.Counters, ...string)) {
		n := e.Counters()
		show(&n)
	})
}

type streamCounters = stream.Counters

var streamMetrics = []metric[streamCounters]{
	{"connections", "Connections open.", gauge, func(n *streamCounters) uint64 { return n.Open }},
	{"connections_accepted_total", "Connections that peers made.", counter, func(n *streamCounters) uint64 { return n.Accepted }},
	{"connections_dialed_total", "Connections that we made.", counter, func(n *streamCounters) uint64 { return n.Dialed }},
	{"connections_dial_failures_total", "Connections that we could not make: refused, timed out, or the certificate proves another name.", counter, func(n *streamCounters) uint64 { return n.DialFailures }},
	{"connections_refused_total", "Connections closed at once because of --max-connections.", counter, func(n *streamCounters) uint64 { return n.RefusedTotal }},
	{"connections_refused_address_total", "Connections closed at once because of --max-connections-per-address.", counter, func(n *streamCounters) uint64 { return n.RefusedAddress }},
	{"tls_handshakes_total", "TLS handshakes that succeeded.", counter, func(n *streamCounters) uint64 { return n.Handshakes }},
	{"tls_handshake_failures_total", "TLS handshakes that failed.", counter, func(n *streamCounters) uint64 { return n.HandshakeFails }},
	{"connections_closed_idle_total", "Connections closed because nothing was said for --stream-idle.", counter, func(n *streamCounters) uint64 { return n.ClosedIdle }},
	{"connections_closed_half_open_total", "Connections closed because no first message, or no handshake, came in time.", counter, func(n *streamCounters) uint64 { return n.ClosedHalfOpen }},
	{"connections_closed_slow_total", "Connections closed because a message that was begun did not end in time.", counter, func(n *streamCounters) uint64 { return n.ClosedSlow }},
	{"connections_closed_overflow_total", "Connections closed because the peer did not read.", counter, func(n *streamCounters) uint64 { return n.ClosedOverflow }},
	{"connections_closed_broken_total", "Connections closed because where the next message starts was not known.", counter, func(n *streamCounters) uint64 { return n.ClosedBroken }},
	{"connections_closed_pings_total", "Connections closed for a flood of keep-alives.", counter, func(n *streamCounters) uint64 { return n.ClosedPings }},
	{"stream_stale_total", "Messages for connections that were gone.", counter, func(n *streamCounters) uint64 { return n.Stale }},
	{"stream_unwritten_total", "Messages that waited in a connection when it closed.", counter, func(n *streamCounters) uint64 { return n.Unwritten }},
	{"stream_ring_full_total", "Messages that a loop's queue had no room for.", counter, func(n *streamCounters) uint64 { return n.RingFull }},
	{"stream_failures_lost_total", "Failed messages that nobody could be told of.", counter, func(n *streamCounters) uint64 { return n.FailuresLost }},
	{"stream_restarts_total", "Restarts of the stream engine after it had ended by itself.", counter, func(n *streamCounters) uint64 { return n.Restarts }},
}

// Resolver shows how next hops are found in DNS.
func Resolver(r *resolve.Resolver) prometheus.Collector {
	return newTable(resolverMetrics, nil, func(show func(*resolve.Counters, ...string)) {
		n := r.Counters()
		show(&n)
	})
}

type resolverCounters = resolve.Counters

var resolverMetrics = []metric[resolverCounters]{
	{"dns_hits_total", "Look-ups answered from the cache.", counter, func(n *resolverCounters) uint64 { return n.Hits }},
	{"dns_misses_total", "Look-ups that had to wait for DNS.", counter, func(n *resolverCounters) uint64 { return n.Misses }},
	{"dns_stale_total", "Look-ups answered from the cache with what is older than it should be.", counter, func(n *resolverCounters) uint64 { return n.Stale }},
	{"dns_negative_total", "Look-ups of names that do not exist.", counter, func(n *resolverCounters) uint64 { return n.Negative }},
	{"dns_failed_total", "Look-ups that nobody could answer.", counter, func(n *resolverCounters) uint64 { return n.Failed }},
	{"dns_unsupported_total", "Look-ups of places that no listener could send to.", counter, func(n *resolverCounters) uint64 { return n.Unsupported }},
	{"dns_flights_total", "Places that were looked for in DNS.", counter, func(n *resolverCounters) uint64 { return n.Lookups }},
	{"dns_refreshes_total", "Of flights: for a place that was known.", counter, func(n *resolverCounters) uint64 { return n.Refreshes }},
	{"dns_questions_total", "Questions sent to DNS servers, repetitions included.", counter, func(n *resolverCounters) uint64 { return n.Questions }},
	{"dns_timeouts_total", "Questions that a server did not answer in time.", counter, func(n *resolverCounters) uint64 { return n.Timeouts }},
	{"dns_server_failures_total", "Answers that are none: SERVFAIL, REFUSED, ICMP errors and the like.", counter, func(n *resolverCounters) uint64 { return n.ServerFailures }},
	{"dns_truncated_total", "Answers fetched again by TCP.", counter, func(n *resolverCounters) uint64 { return n.Truncated }},
	{"dns_mismatched_total", "Packets that answer no question of ours.", counter, func(n *resolverCounters) uint64 { return n.Mismatched }},
	{"dns_dropped_total", "Flights refused because too many waited.", counter, func(n *resolverCounters) uint64 { return n.Dropped }},
	{"dns_expired_total", "Flights that no worker was free for in time.", counter, func(n *resolverCounters) uint64 { return n.Expired }},
	{"dns_evictions_total", "Places forgotten for want of room.", counter, func(n *resolverCounters) uint64 { return n.Evictions }},
	{"dns_downgrades_total", "Domains that ceased to offer TLS.", counter, func(n *resolverCounters) uint64 { return n.Downgrades }},
	{"dns_names_full_total", "Look-ups that failed because no further TLS name can be numbered.", counter, func(n *resolverCounters) uint64 { return n.NamesFull }},
	{"dns_panics_total", "Panics while looking for a place.", counter, func(n *resolverCounters) uint64 { return n.Panics }},
	{"dns_in_flight", "Look-ups under way or waiting.", gauge, func(n *resolverCounters) uint64 { return n.InFlight }},
	{"dns_cache_entries", "Places in the cache.", gauge, func(n *resolverCounters) uint64 { return n.Entries }},
}

// Calls shows the calls that count against limits.
func Calls(t *dialog.Table) prometheus.Collector {
	return newTable(callMetrics, nil, func(show func(*dialog.Stats, ...string)) {
		n := t.Stats()
		show(&n)
	})
}

type callStats = dialog.Stats

var callMetrics = []metric[callStats]{
	{"counted_calls", "Calls that count against a limit.", gauge, func(n *callStats) uint64 { return uint64(n.Live) }},
	{"counted_calls_begun_total", "INVITEs that were counted.", counter, func(n *callStats) uint64 { return n.Begun }},
	{"counted_calls_confirmed_total", "Of begun: answered with a 2xx.", counter, func(n *callStats) uint64 { return n.Confirmed }},
	{"counted_calls_ended_total", "Of begun: ended.", counter, func(n *callStats) uint64 { return n.Ended }},
	{"counted_calls_expired_total", "Of ended: by --max-call-duration, without a BYE.", counter, func(n *callStats) uint64 { return n.Expired }},
	{"counted_calls_full_total", "INVITEs refused because too many calls were counted.", counter, func(n *callStats) uint64 { return n.Full }},
	{"counted_calls_refused_total", "INVITEs refused because their peer had as many calls as it may have.", counter, func(n *callStats) uint64 { return n.Refused }},
	{"counted_calls_forgotten_total", "Calls of which too little could be kept to end them from here.", counter, func(n *callStats) uint64 { return n.Forgotten }},
	{"counted_calls_busy_total", "Events of counted calls that were given up.", counter, func(n *callStats) uint64 { return n.Busy }},
}
