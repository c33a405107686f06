package txn

// The branches of a context are a list in the branch slab, in the order they were added. They belong
// to whoever holds the claim of the context.

// AddBranch makes a branch of c, zeroed but for its Index, and counts it in c.Branches. Nil: no room,
// or c has had as many branches as an Index can number.
func (l *Local) AddBranch(c *ResponseContext) *ClientTransaction {
	if c.Branches == maxBranches {
		l.count[countFullBranches]++
		return nil
	}
	slot, ok := l.alloc(kindBranch)
	if !ok {
		l.count[countFullBranches]++
		return nil
	}
	b := l.store.branches.at(slot)
	*b = ClientTransaction{Index: c.Branches}
	c.Branches++
	link := &c.first
	for *link != 0 {
		link = &l.store.branches.at(*link - 1).next
	}
	*link = slot + 1
	l.count[countBranchAdded]++
	return b
}

// First is the first branch of c, nil if it has none. The caller holds the claim of c.
func (l *Local) First(c *ResponseContext) *ClientTransaction {
	if c.first == 0 {
		return nil
	}
	return l.store.branches.at(c.first - 1)
}

// Next is the branch after b, nil if there is none. Ask before b is dropped.
func (l *Local) Next(b *ClientTransaction) *ClientTransaction {
	if b.next == 0 {
		return nil
	}
	return l.store.branches.at(b.next - 1)
}

// Branch is the branch of c with this Index, nil if it was dropped or never was.
func (l *Local) Branch(c *ResponseContext, index uint8) *ClientTransaction {
	for at := c.first; at != 0; {
		b := l.store.branches.at(at - 1)
		if b.Index == index {
			return b
		}
		at = b.next
	}
	return nil
}

// DropBranch takes b out of c and gives it up with its bytes. b must be a branch of c.
func (l *Local) DropBranch(c *ResponseContext, b *ClientTransaction) {
	for link := &c.first; *link != 0; {
		at := *link
		found := l.store.branches.at(at - 1)
		if found == b {
			*link = b.next
			l.endBranch(b, at-1)
			return
		}
		link = &found.next
	}
	panic("txn: not a branch of this context")
}

// DropBranches gives up all branches of c and their bytes.
func (l *Local) DropBranches(c *ResponseContext) {
	// The bound matters to Poison alone, which cannot trust the list.
	for n := 0; c.first != 0 && n < maxBranches; n++ {
		at := c.first
		b := l.store.branches.at(at - 1)
		c.first = b.next
		l.endBranch(b, at-1)
	}
	c.first = 0
}

func (l *Local) endBranch(b *ClientTransaction, slot uint32) {
	l.Drop(&b.Edits)
	l.Drop(&b.Response)
	l.retire(kindBranch, slot)
	l.count[countBranchDropped]++
}
