package txn

import "sipedge/transport"

// Machine is one of the four transaction machines of RFC 3261 section 17, as RFC 6026 changed them.
// It is pure: time and events come in, an Action comes out, and nothing else happens. It is 24 bytes,
// holds no pointer and lives inside a ResponseContext or a ClientTransaction; whoever holds their
// claim owns it. The zero Machine has State None and ignores everything.
//
// A machine never has more than two timers at once: one that sends again (A, E, G, and the 100 of
// RFC 4320) and one that ends a state (B, D, F, H, I, J, K, L, M). They are two fields here and not
// entries of a wheel: the wheel only has to wake the context at or before Next.
type Machine struct {
	Retransmit transport.Instant // timer A, E, G, or the 100 of RFC 4320; 0: not armed
	Deadline   transport.Instant // the timer that ends this state; 0: not armed
	Interval   uint32            // microseconds that Retransmit was last armed with
	State      State
	Kind       Kind
	Reliable   bool // the transport retransmits by itself
	_          byte
}

// Kind is which of the four machines it is.
type Kind uint8

const (
	InviteServer    Kind = iota // invite_server.go
	NonInviteServer             // non_invite_server.go
	InviteClient                // invite_client.go
	NonInviteClient             // non_invite_client.go
	numKinds
)

// State is a state of any of the machines, with the names of the RFC's figures.
type State uint8

const (
	None State = iota // never started
	Calling
	Trying
	Proceeding
	Accepted // RFC 6026
	Completed
	Confirmed
	Terminated // ended; every further input is ignored
	numStates
)

// Input is what happened to a machine. Recv is from the network, Send is from the router (the
// transaction user), Fire is a timer.
type Input uint8

const (
	RecvRequest    Input = iota // the same request again (RFC 3261 section 17.2.3)
	RecvACK                     // an ACK that matched this server transaction
	Send1xx                     // 101 to 199; a 100 to INVITE as well
	Send2xx                     //
	Send3to6xx                  //
	Recv1xx                     // 100 to 199
	Recv2xx                     //
	Recv3to6xx                  //
	Cancelled                   // a CANCEL was sent for this INVITE (RFC 3261 section 9.1)
	FireRetransmit              // Retransmit has come; Expire makes this input
	FireDeadline                // Deadline has come; Expire makes this input
	TransportError              // what this machine sent could not be delivered
	numInputs
)

// Action is what is left for the caller to do, as bits. The caller carries them out from the lowest
// bit to the highest, that is in the order below: bytes leave before the router hears of anything, and
// the end comes last.
type Action uint8

const (
	Send                 Action = 1 << iota // transmit what the router handed in: the request (Start) or the response (Send...)
	SendTrying                              // make a 100 (Trying) from the request, keep it as the last response, transmit it
	Resend                                  // transmit the last response, or the request, once more
	SendACK                                 // transmit an ACK for the response just received (section 17.1.1.3)
	Inform                                  // the message just received is news for the router
	InformTimeout                           // no final response (B, F, RFC 3261 9.1), or no ACK (H), in time
	InformTransportError                    // the router may try another target, or take note
	Terminate                               // State is Terminated: nothing of the transaction is needed any more
)

// A step is one cell of a table. The zero step means: ignore the event, stay.
type step struct {
	do     Action
	timers timers
	to     State
}

// table is one machine, drawn as the RFC draws it: states, events, and what to do over where to go.
type table [numStates][numInputs]step

var tables = [numKinds]*table{
	InviteServer:    &inviteServer,
	NonInviteServer: &nonInviteServer,
	InviteClient:    &inviteClient,
	NonInviteClient: &nonInviteClient,
}

// Start begins a transaction and returns what to do first: a server transaction informs the router of
// the request, and for INVITE a 100 is due ("MUST generate a 100 (Trying) response unless it knows
// that the TU will generate a provisional or final response within 200 ms", section 17.2.1: a router that
// answers at once need not send it). A client transaction sends its request.
func (m *Machine) Start(kind Kind, reliable bool, now transport.Instant, t *Timers) Action {
	*m = Machine{Kind: kind, Reliable: reliable}
	s := &starts[kind]
	m.State = s.to
	m.set(s.timers, now, t)
	return s.do
}

// starts is the arrow that enters each figure from above.
var starts = [numKinds]step{
	InviteServer:    {Inform | SendTrying, keep, Proceeding},
	NonInviteServer: {Inform, armTrying, Trying},
	InviteClient:    {Send, armA | armB, Calling},
	NonInviteClient: {Send, armE | armF, Trying},
}

// Step takes one event at now, moves the machine and its timers, and returns what is left to do.
// An event that the state does not know is ignored: the Action is 0.
//
// A timer that runs zero seconds (D, I, J, K over a reliable transport) fires within the same Step.
func (m *Machine) Step(in Input, now transport.Instant, t *Timers) Action {
	s := &tables[m.Kind][m.State][in]
	if s.to == None {
		return 0
	}
	m.State = s.to
	do := s.do
	if s.timers != keep && m.set(s.timers, now, t) {
		do |= m.Step(FireDeadline, now, t)
	}
	return do
}

// Expire fires what is due at now and returns what is left to do; 0 when nothing was due. When both
// timers have come, the deadline alone fires: sending again what is given up helps nobody.
func (m *Machine) Expire(now transport.Instant, t *Timers) Action {
	switch {
	case m.Deadline != 0 && m.Deadline <= now:
		m.Deadline = 0
		return m.Step(FireDeadline, now, t)
	case m.Retransmit != 0 && m.Retransmit <= now:
		m.Retransmit = 0
		return m.Step(FireRetransmit, now, t)
	}
	return 0
}

// Next returns the earliest armed timer, 0 when none is.
func (m *Machine) Next() transport.Instant {
	if m.Retransmit != 0 && (m.Retransmit < m.Deadline || m.Deadline == 0) {
		return m.Retransmit
	}
	return m.Deadline
}
