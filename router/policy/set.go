package policy

import "sipedge/config"

// set is a set of small numbers.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 != 0 }

func (s set) addAll(values []uint32) {
	for _, v := range values {
		s.add(int(v))
	}
}

// setOf is the set of the indices of refs, nil when there are none.
func setOf(refs []config.Ref) set {
	if len(refs) == 0 {
		return nil
	}
	most := 0
	for _, r := range refs {
		most = max(most, r.Index)
	}
	s := newSet(most + 1)
	for _, r := range refs {
		s.add(r.Index)
	}
	return s
}
