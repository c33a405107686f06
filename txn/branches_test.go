package txn

import "testing"

func TestBranches(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000})
	l := s.Local(0)
	c := held(t, s, 1)
	indexes := func() (list []uint8) {
		for b := l.First(c); b != nil; b = l.Next(b) {
			list = append(list, b.Index)
		}
		return list
	}
	for i := range maxBranches {
		b := l.AddBranch(c)
		if b == nil || int(b.Index) != i || b.Main.State != None || int(c.Branches) != i+1 {
			t.Fatalf("branch %d: %+v", i, b)
		}
		b.Edits, _ = l.Keep([]byte{byte(i)})
		b.Status = uint16(i)
	}
	if l.AddBranch(c) != nil {
		t.Error("a branch without a number")
	}
	for i := range maxBranches {
		if b := l.Branch(c, uint8(i)); b == nil || b.Status != uint16(i) || l.Bytes(b.Edits)[0] != byte(i) {
			t.Errorf("branch %d: %+v", i, b)
		}
	}
	for i := range maxBranches {
		if i != 0 && i != 100 && i != maxBranches-1 {
			l.DropBranch(c, l.Branch(c, uint8(i)))
		}
	}
	if got := indexes(); len(got) != 3 || got[0] != 0 || got[1] != 100 || got[2] != maxBranches-1 {
		t.Errorf("left: %v", got)
	}
	if l.Branch(c, 5) != nil {
		t.Error("a dropped branch is found")
	}
	l.DropBranches(c)
	l.DropBranches(c)
	if got := indexes(); got != nil || c.Branches != maxBranches {
		t.Errorf("left: %v, %d", got, c.Branches)
	}
	l.Idle()
	if st := s.Stats(); st.Branches != 0 || st.Spans != 0 || st.FullBranches != 1 {
		t.Errorf("%+v", st)
	}
}
