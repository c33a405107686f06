package dialog

import (
	"sync/atomic"

	"sipedge/txn"
)

// Stats are the counters of a Table since its start.
type Stats struct {
	Live      int    // entries now
	Begun     uint64 // INVITEs that got an entry
	Confirmed uint64 // of them, answered with a 2xx
	Ended     uint64
	Expired   uint64 // of them, by time
	Full      uint64 // INVITEs that found no room
	Refused   uint64 // INVITEs that Config.Begun was against
	Forgotten uint64 // texts that found no room: the call counts, but cannot be ended from here
	Busy      uint64 // events given up because the entry stayed claimed
}

type counters struct {
	begun, confirmed, ended, expired, full, refused, forgotten, busy atomic.Uint64
}

// Stats copies the counters. Safe from any goroutine.
func (t *Table) Stats() Stats {
	s := &t.stats
	return Stats{
		Live: t.Live(), Begun: s.begun.Load(), Confirmed: s.confirmed.Load(), Ended: s.ended.Load(), Expired: s.expired.Load(),
		Full: s.full.Load(), Refused: s.refused.Load(), Forgotten: s.forgotten.Load(), Busy: s.busy.Load(),
	}
}

// Call is what is known of one call. Its texts are copies.
type Call struct {
	Owner
	Confirmed bool
	CSeq      [2]uint32 // highest seen from the caller and from the callee
	Text      [numParts]string
}

// Look copies what is known of a call, for tests and for people. Owned by l's loop.
func (t *Table) Look(l *txn.Local, ref txn.Ref) (c Call, ok bool) {
	e, w := t.claim(ref)
	if e == nil {
		return c, false
	}
	c = Call{Owner: e.Owner, Confirmed: w&stateMask == confirmed, CSeq: e.cseq}
	text := l.Bytes(e.text)
	for i := range e.parts {
		c.Text[i] = string(e.parts[i].in(text))
	}
	t.release(l, e, ref, w)
	return c, true
}
