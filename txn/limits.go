package txn

import "time"

const (
	// DefaultMaxTransactions bounds the live contexts of a process: 40,000 calls a second with the
	// 32 s of timers L, M and J keep about 4 million, and twice that is room for a bad minute.
	DefaultMaxTransactions = 8_000_000
	// maxTransactions keeps slot numbers, with the slack for slots in retirement, well inside 31 bits.
	maxTransactions = 1 << 29
	// maxLoops is the most Locals a Store serves; the transport has no more loops.
	maxLoops = 64

	// maxBranches is the most branches one context ever has. A target set holds 32; redirects may
	// add more; the number is a byte in the branch parameter.
	maxBranches = 255

	// droppableInbox is how many events may be accepted for one holder before one that its sender
	// sends again anyway is refused: a holder takes microseconds, so more than this is a flood.
	droppableInbox = 16
	// maxInbox is the bound for everything else: 32 branches with a final response, a timer, a
	// CANCEL and a failure each are 128, and the rest is for peers that repeat themselves. It also
	// bounds how long a loop stays with one context, to a few milliseconds.
	maxInbox = 512
	// maxInboxNodes bounds the waiting events of all contexts together (80 bytes each,
	// and their bytes). The claim word has room for 2 million.
	maxInboxNodes = 1 << 18

	// MaxKept is the longest byte string that Keep takes: a stream message of any length (parser.MaxStreamMessage).
	MaxKept = 1 << 20
	// bytesPerTransaction is the default share of retained bytes per transaction, chunks of all
	// classes together: a last response of about 500 bytes, and room for those still ringing.
	bytesPerTransaction = 1024

	// wheelSlots times wheelTick is how far ahead the wheel reaches. 34.4 s is a little over the 32 s
	// of timers B, F, H, J, L and M, so in steady state a finished transaction has one entry, once.
	wheelSlots = 1 << 15
	wheelTick  = time.Duration(1) << wheelShift
	wheelShift = 20 // one tick is 1.048576 ms; a power of two needs no division

	// entriesPerTransaction bounds wheel entries against MaxTransactions. A live context has one that
	// counts; earlier deadlines leave stale ones behind for at most the reach of the wheel.
	entriesPerTransaction = 4

	// chunkSlots is the number of contexts, branches, inbox nodes or wheel entries in a chunk. 2,048
	// contexts are 360 KB: an idle process stays small, and at 80,000 contexts a second the grower
	// makes 40 chunks a second, each in well under a millisecond.
	chunkShift = 11
	chunkSlots = 1 << chunkShift

	// aheadShare: beyond a few chunks the grower keeps a 64th of what is in use free; with 4 million
	// contexts that is most of a second at 80,000 new ones a second, and 5 bytes on each.
	aheadShare = 64

	// reclaimBudget is how many magazines one Quiesce moves to the other loops at most.
	reclaimBudget = 8
	// keptMagazines is how many full magazines of a kind a loop keeps to itself.
	keptMagazines = 2
	// publishEvery is after how many batches a busy loop publishes its counters.
	publishEvery = 64
)
