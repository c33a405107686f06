// Package txn runs the four transaction machines of RFC 3261 section 17 and keeps their contexts.
//
// Enters: keys and locators of messages, timer expiries, transport errors, the current Instant.
// Leaves: actions to carry out, claimed contexts, due timers.
// Never:  opens a socket, starts a goroutine on the packet path, reads a clock.
package txn

import "sipedge/transport"

// Ref names a ResponseContext: slot and generation. A Ref whose generation has passed is Gone.
// The zero Ref names nothing.
type Ref struct{ Slot, Gen uint32 }

// ResponseContext is a server transaction and all its branches (RFC 3261 section 16.2), the unit
// that a loop claims. It holds no pointers and lives in a slab; one is 176 bytes, a branch 152.
//
// claim and link are shared between loops and only touched atomically. hash, check and slot are
// constant from Created to End. Everything else belongs to whoever holds the claim.
type ResponseContext struct {
	claim uint64 // claim.go
	link  uint32 // table.go
	slot  uint32 // own index; constant
	hash  uint64 // table.go: which bucket; constant while the context lives
	check uint64 // table.go: second half of the key; constant while the context lives

	armed transport.Instant // wheel.go: instant of the wheel entry that counts; 0: none

	Server   Machine           // the server transaction
	Upstream transport.Flow    // where its responses go
	Request  Bytes             // the received request, as long as a branch may still need it
	Response Bytes             // last response sent upstream, for retransmission
	Targets  Bytes             // what is left of the target set, see router/target.go
	first    uint32            // branches.go: 1 + index of the first branch; 0: none
	Wait     transport.Instant // deadline of a suspended decision or of a ring step; 0: none

	inbox    uint32 // inbox.go: 1 + index of the first event taken over but not yet handed out; 0: none
	Decision uint32 // counts suspensions: an answer to an earlier one is late
	Status   uint16 // of the last response sent upstream; 0: none
	Peer     uint16 // whose calls this one counts among, see router/dialogs.go; 0: nobody's
	Flags    Flags
	Branches uint8 // branches created so far; counted by AddBranch
	Pending  uint8 // branches without a final response
	Breadth  uint8 // Max-Breadth left to give out (RFC 5393 section 5.3.3)
	Method   uint8 // parser.Method of the request
}

// Flags are facts about a ResponseContext, named by the router.
type Flags uint8

// ClientTransaction is one branch: the client transaction of RFC 3261 section 17.1 towards one target,
// with the client transaction of its CANCEL, which shares its branch parameter (section 9.1).
type ClientTransaction struct {
	Main     Machine
	Cancel   Machine           // zero State: no CANCEL was sent
	TimerC   transport.Instant // RFC 3261 section 16.6 step 11; before the first response: the time for it; 0: not armed
	Flow     transport.Flow
	Edits    Bytes  // what makes the forwarded request out of ResponseContext.Request
	Response Bytes  // final response held back for the best-response choice
	next     uint32 // branches.go: 1 + index of the next branch of the context; 0: none
	Dialog   Ref    // what is kept about the dialog that this branch may make; zero: nothing. Of a request of our own: its ID
	Status   uint16 // final status, 0 until there is one
	Rule     uint16 // router.RuleID of its target
	Gateway  uint16 // number of the gateway that its target stands for; 0: none
	Index    uint8  // number of the branch in its context, part of the branch parameter
	Flags    BranchFlags
	Breadth  uint8 // its share of Max-Breadth (RFC 5393 section 5.3.3)
}

// BranchFlags are facts about a branch, named by the router.
type BranchFlags uint8

// Bytes names retained bytes in the byte store; the zero Bytes names nothing.
type Bytes struct {
	ref uint32 // bytes.go
	Len uint32
}
