package txn

// inviteServer is RFC 3261 figure 7 as RFC 6026 section 8.6 replaced it.
// A missing cell means: ignore the event, stay.
//
// Two things the figure alone does not say:
//   - When timer H fires, the server transaction "MUST indicate to the TU that a transaction failure
//     has occurred" (RFC 3261 section 17.2.1; the new figure has "-" there, but no text of RFC 6026
//     takes that sentence back).
//   - After a transport error the transaction "MUST remain in the current state" (RFC 6026 section
//     8.8), so that retransmissions of the INVITE are still absorbed.
var inviteServer = table{
	Proceeding: {
		RecvRequest:    {Resend, keep, Proceeding},
		Send1xx:        {Send, keep, Proceeding},
		Send2xx:        {Send, armL, Accepted},
		Send3to6xx:     {Send, armG | armH, Completed},
		TransportError: {InformTransportError, keep, Proceeding},
	},
	// "Any retransmission of the 2xx response passed from the TU to the transaction while in the
	// "Accepted" state MUST be passed to the transport layer for transmission. Any ACKs received from
	// the network while in the "Accepted" state MUST be passed directly to the TU and not absorbed."
	// RFC 6026 section 7.1
	Accepted: {
		Send2xx:        {Send, keep, Accepted},
		RecvACK:        {Inform, keep, Accepted},
		FireDeadline:   {Terminate, keep, Terminated}, // timer L
		TransportError: {InformTransportError, keep, Accepted},
	},
	Completed: {
		RecvRequest:    {Resend, keep, Completed},
		RecvACK:        {0, stopG | armI, Confirmed},
		FireRetransmit: {Resend, armG, Completed},                      // timer G
		FireDeadline:   {InformTimeout | Terminate, stopG, Terminated}, // timer H
		TransportError: {InformTransportError, keep, Completed},
	},
	// Timer H ends with the arrival of the ACK: arming I takes its place.
	Confirmed: {
		FireDeadline: {Terminate, keep, Terminated}, // timer I
	},
}
