package txn

import (
	"sync/atomic"

	"sipedge/transport"
)

// An event for a context that another loop holds is copied into the context's inbox, a list of nodes
// from a slab, newest first, whose head is in the claim word (claim.go has the transitions). Any loop
// posts; only the holder takes, always the whole list.

// EventKind says what an Event is.
type EventKind uint8

const (
	EventRequest    EventKind = iota + 1 // a request that matched: a retransmission, an ACK, a CANCEL
	EventResponse                        // a response to one of the branches
	EventExpired                         // a wheel entry fired; At is its instant, see Fired
	EventSendFailed                      // something sent could not be delivered
	EventAnswer                          // the answer to a suspended decision
)

// Event is something that happened to a context. In an Event given to Post, Data is borrowed and
// copied; in one that Release gave, Data is lent.
type Event struct {
	Data      []byte         // the message, or what the answer consists of
	From      transport.Flow // where it came from
	At        transport.Instant
	Seq       uint32 // EventAnswer: which Decision it answers
	Kind      EventKind
	Why       uint8 // EventSendFailed: a transport.Failure
	Branch    uint8 // EventResponse, EventSendFailed: Index of the branch
	Droppable bool  // whoever sent it sends it again: refused when the inbox is crowded
}

// node is an Event in an inbox. Constant from the CAS that posts it, but for next, which the holder
// may write after it took the list.
type node struct {
	at     transport.Instant
	from   transport.Flow
	data   Bytes
	seq    uint32
	next   uint32 // 1 + slot of the next node; 0: none
	kind   EventKind
	why    uint8
	branch uint8
}

// Post hands e to the context c, which a look-up of this loop just found Busy, in the same batch.
//
//	Busy     e is queued, its bytes copied: the holder will be given it
//	Claimed  the holder let go meanwhile: nothing is queued, the caller holds the claim and handles e
//	Gone     c has ended meanwhile: nobody will see e
//	Full     e was refused: Droppable and the holder crowded, or at a hard bound
//
// EventExpired is never refused: where another event would be, its entry fires once more a tick later.
func (l *Local) Post(c *ResponseContext, e *Event) Outcome {
	var slot uint32
	var n *node
	for {
		w := atomic.LoadUint64(&c.claim)
		switch {
		case w&liveBit == 0:
			l.unpost(slot, n)
			return Gone
		case w&claimedBit == 0:
			if !atomic.CompareAndSwapUint64(&c.claim, w, w|claimedBit) {
				continue
			}
			l.unpost(slot, n)
			return Claimed
		}
		accepted := w >> acceptedShift & acceptedMask
		if (e.Droppable && accepted >= droppableInbox) || accepted >= maxInbox {
			l.unpost(slot, n)
			return l.refuse(c, w, e)
		}
		if n == nil {
			if slot, n = l.newNode(e); n == nil {
				return l.refuse(c, w, e)
			}
		}
		n.next = uint32(w & headMask)
		if atomic.CompareAndSwapUint64(&c.claim, w, (w&^headMask|uint64(slot+1))+1<<acceptedShift) {
			l.count[countPosted]++
			return Busy
		}
	}
}

// refuse counts an event that found no room, or has the wheel bring a timer again.
func (l *Local) refuse(c *ResponseContext, w uint64, e *Event) Outcome {
	if e.Kind == EventExpired && l.wheel.insert(e.At, Ref{c.slot, uint32(w >> genShift)}) {
		return Busy
	}
	if e.Droppable {
		l.count[countPostDropped]++
	} else {
		l.count[countPostRefused]++
	}
	return Full
}

func (l *Local) newNode(e *Event) (uint32, *node) {
	slot, ok := l.alloc(kindNode)
	if !ok {
		return 0, nil
	}
	data, ok := l.Keep(e.Data)
	if !ok {
		l.putBack(kindNode, slot)
		return 0, nil
	}
	n := l.store.nodes.at(slot)
	*n = node{at: e.At, from: e.From, data: data, seq: e.Seq, kind: e.Kind, why: e.Why, branch: e.Branch}
	return slot, n
}

// unpost gives back a node that was not published.
func (l *Local) unpost(slot uint32, n *node) {
	if n != nil {
		l.Drop(&n.data)
		l.putBack(kindNode, slot)
	}
}

// inOrder turns a list that take brought, newest first, round. The nodes are the holder's own now.
func (l *Local) inOrder(head uint32) (oldest uint32) {
	for head != 0 {
		n := l.store.nodes.at(head - 1)
		head, n.next, oldest = n.next, oldest, head
	}
	return oldest
}

// nextEvent takes the first event off c.inbox into the loop's own Event. Node and bytes are retired
// at once: they stay readable until this loop's next Quiesce.
func (l *Local) nextEvent(c *ResponseContext) *Event {
	slot := c.inbox - 1
	n := l.store.nodes.at(slot)
	c.inbox = n.next
	l.event = Event{
		Data: l.Bytes(n.data), From: n.from, At: n.at, Seq: n.seq,
		Kind: n.kind, Why: n.why, Branch: n.branch,
	}
	if n.data.ref != 0 {
		l.dropSpan(n.data.ref)
	}
	l.retire(kindNode, slot)
	l.count[countHandled]++
	return &l.event
}

// dropEvents ends the events of a list.
func (l *Local) dropEvents(head uint32) {
	for head != 0 {
		n := l.store.nodes.at(head - 1)
		slot := head - 1
		head = n.next
		if n.data.ref != 0 {
			l.dropSpan(n.data.ref)
		}
		l.retire(kindNode, slot)
		l.count[countEndedEvents]++
	}
}
