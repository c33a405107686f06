package txn

// inviteClient is RFC 3261 figure 5 as RFC 6026 section 8.4 replaced it, and the end that section 9.1 of
// RFC 3261 gives a cancelled INVITE. A missing cell means: ignore the event, stay.
//
// In Proceeding nothing is sent, so a transport error there belongs to an INVITE that has been answered
// since, and is ignored, as in the figure. The time without a final response is bounded by timer C,
// which is the router's (ClientTransaction.TimerC).
var inviteClient = table{
	Calling: {
		Recv1xx:        {Inform, stopA | stopB, Proceeding},
		Recv2xx:        {Inform, stopA | armM, Accepted},
		Recv3to6xx:     {SendACK | Inform, stopA | armD, Completed},
		FireRetransmit: {Resend, armA, Calling},                        // timer A
		FireDeadline:   {InformTimeout | Terminate, stopA, Terminated}, // timer B
		TransportError: {InformTransportError | Terminate, stopA | stopB, Terminated},
	},
	// "If there is no final response for the original request in 64*T1 seconds [...], the client SHOULD
	// then consider the original transaction cancelled and SHOULD destroy the client transaction handling
	// the original request." RFC 3261 section 9.1
	Proceeding: {
		Recv1xx:      {Inform, keep, Proceeding},
		Recv2xx:      {Inform, armM, Accepted},
		Recv3to6xx:   {SendACK | Inform, armD, Completed},
		Cancelled:    {0, armB, Proceeding},
		FireDeadline: {InformTimeout | Terminate, keep, Terminated}, // of section 9.1
	},
	// "Any 2xx responses that match this client transaction and that are received while in the
	// "Accepted" state MUST be passed up to the TU." RFC 6026 section 8.4
	Accepted: {
		Recv2xx:      {Inform, keep, Accepted},
		FireDeadline: {Terminate, keep, Terminated}, // timer M
	},
	Completed: {
		Recv3to6xx:     {SendACK, keep, Completed},
		FireDeadline:   {Terminate, keep, Terminated}, // timer D
		TransportError: {InformTransportError | Terminate, stopDeadline, Terminated},
	},
}
