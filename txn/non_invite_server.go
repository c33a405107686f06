package txn

// nonInviteServer is RFC 3261 figure 8 with the rules of RFC 4320 section 4.1 in place of its 1xx
// arrows. A missing cell means: ignore the event, stay.
//
//   - "An SIP element MUST NOT send any provisional response with a Status-Code other than 100 to a
//     non-INVITE request." So Send1xx has no cell: a 1xx that came from downstream ends here.
//   - A 100 must not leave earlier over UDP, and must leave "if it has not otherwise responded after
//     the amount of time it takes a client transaction's Timer E to be reset to T2": the machine asks
//     for it by SendTrying when that time (Timers.TimerTrying) has come. The router never sends it on its own.
//   - "A transaction-stateful SIP element MUST NOT send a response with Status-Code of 408 to a
//     non-INVITE request" (section 4.2): the machine does not see status codes; a router whose best
//     response would be a 408 of its own ends the transaction without a response.
//   - A late response finds Completed, Terminated or no transaction, and has no cell.
//
// After a transport error the transaction stays as it is: RFC 6026 section 8.8 put "MUST remain in
// the current state" into section 17.2.4, which is about both server transactions.
var nonInviteServer = table{
	Trying: {
		Send2xx:        {Send, stopTrying | armJ, Completed},
		Send3to6xx:     {Send, stopTrying | armJ, Completed},
		FireRetransmit: {SendTrying, keep, Proceeding}, // RFC 4320
	},
	Proceeding: {
		RecvRequest:    {Resend, keep, Proceeding},
		Send2xx:        {Send, armJ, Completed},
		Send3to6xx:     {Send, armJ, Completed},
		TransportError: {InformTransportError, keep, Proceeding},
	},
	Completed: {
		RecvRequest:    {Resend, keep, Completed},
		FireDeadline:   {Terminate, keep, Terminated}, // timer J
		TransportError: {InformTransportError, keep, Completed},
	},
}
