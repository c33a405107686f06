package txn

// nonInviteClient is RFC 3261 figure 6. A missing cell means: ignore the event, stay.
//
// A 1xx does not touch timer E; only when it fires in Proceeding is it "reset with a value of T2
// seconds" (section 17.1.2.2). What comes after the final response is a retransmission and absorbed.
var nonInviteClient = table{
	Trying: {
		Recv1xx:        {Inform, keep, Proceeding},
		Recv2xx:        {Inform, stopE | armK, Completed},
		Recv3to6xx:     {Inform, stopE | armK, Completed},
		FireRetransmit: {Resend, armE, Trying},                         // timer E
		FireDeadline:   {InformTimeout | Terminate, stopE, Terminated}, // timer F
		TransportError: {InformTransportError | Terminate, stopE | stopDeadline, Terminated},
	},
	Proceeding: {
		Recv1xx:        {Inform, keep, Proceeding},
		Recv2xx:        {Inform, stopE | armK, Completed},
		Recv3to6xx:     {Inform, stopE | armK, Completed},
		FireRetransmit: {Resend, armET2, Proceeding},                   // timer E
		FireDeadline:   {InformTimeout | Terminate, stopE, Terminated}, // timer F
		TransportError: {InformTransportError | Terminate, stopE | stopDeadline, Terminated},
	},
	Completed: {
		FireDeadline: {Terminate, keep, Terminated}, // timer K
	},
}
