package router

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"sipedge/transport"
)

func TestRule(t *testing.T) {
	core := newBed(t, Stateful, RecordAuto).worker.core
	has := func(id RuleID) (statuses []int) {
		for s := 0; s < 1000; s++ {
			if core.rules.at(id).has(uint16(s)) {
				statuses = append(statuses, s)
			}
		}
		return statuses
	}
	if d := core.rules.at(0); fmt.Sprint(has(0)) != "[503]" || !d.silence || d.timeout != 0 || d.recurse {
		t.Errorf("the default rule is %+v with %v, not that of RFC 3263 section 4.3", d, has(0))
	}
	id := func(r Rule) RuleID {
		t.Helper()
		id, err := core.Rule(r)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	a := id(Rule{Statuses: []int{500, 502, 408}, Timeout: 2 * time.Second})
	if got := fmt.Sprint(has(a)); got != "[408 500 502]" {
		t.Errorf("the rule has %s", got)
	}
	if b := id(Rule{Statuses: []int{408, 502, 500, 500}, Timeout: 2 * time.Second}); b != a {
		t.Errorf("the same rule has numbers %d and %d", a, b)
	}
	if b := id(Rule{Statuses: []int{408, 502, 500}}); b == a {
		t.Errorf("another rule has the same number %d", a)
	}
	if d := id(Rule{Statuses: []int{503}, Silence: true}); d != 0 {
		t.Errorf("the default rule written down is number %d", d)
	}
	class := has(id(Rule{Statuses: []int{5}}))
	if len(class) != 100 || class[0] != 500 || class[99] != 599 {
		t.Errorf("class 5 is %v", class)
	}
	if !core.rules.at(id(Rule{Counted: true})).record {
		t.Error("a counted dialog whose later requests would not come by")
	}
	for _, r := range []Rule{
		{Statuses: []int{200}}, {Statuses: []int{600}}, {Statuses: []int{6}}, {Statuses: []int{2}}, {Statuses: []int{0}},
		{Timeout: -1}, {Overflow: 200}, {Overflow: 700}, {Then: 999},
	} {
		if id, err := core.Rule(r); err == nil {
			t.Errorf("%+v is rule %d", r, id)
		}
	}
	for i := range maxRules + 1 {
		_, err := core.Rule(Rule{Timeout: time.Duration(i+1) * time.Hour})
		if err != nil {
			if !errors.Is(err, ErrRules) {
				t.Error(err)
			}
			if n := len(*core.rules.list.Load()); n != maxRules {
				t.Errorf("full with %d rules", n)
			}
			return
		}
	}
	t.Error("there is room for more than maxRules rules")
}

// TestTargetSetKept has every field of every target come back from the byte store's form.
func TestTargetSetKept(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 200 {
		var a, b TargetSet
		for range r.Intn(maxEntries + 1) {
			x := target{
				rule: RuleID(r.Uint32()), gateway: uint16(r.Uint32()), group: byte(r.Uint32()), kind: targetKind(r.Uint32()),
				state: targetState(r.Uint32()), of: byte(r.Uint32()), breadth: byte(r.Uint32()), hasHop: r.Intn(2) == 0, asked: r.Intn(2) == 0, resolved: r.Intn(2) == 0,
				hop: transport.Hop{
					Addr: transport.Addr{Scope: r.Uint32(), Port: uint16(r.Uint32())}, Name: r.Uint32(),
					Proto: transport.Protocol(r.Uint32()), Loop: byte(r.Uint32()), Conn: r.Uint32(), Gen: r.Uint32(),
				},
			}
			r.Read(x.hop.IP[:])
			a.append(x, bytes.Repeat([]byte{byte(a.n)}, r.Intn(40)), bytes.Repeat([]byte{byte(a.n) + 1}, r.Intn(40)))
		}
		b.unmarshal(a.marshal(nil))
		if a.n != b.n {
			t.Fatalf("%d targets came back as %d", a.n, b.n)
		}
		for i := range a.n {
			x, y := a.list[i], b.list[i]
			if !bytes.Equal(a.uri(&x), b.uri(&y)) || !bytes.Equal(a.next(&x), b.next(&y)) {
				t.Fatal("other texts")
			}
			y.off, y.nextOff = x.off, x.nextOff
			if x != y {
				t.Fatalf("%+v came back as %+v", x, y)
			}
		}
	}
}

func TestTargetSetBounds(t *testing.T) {
	var s TargetSet
	if s.Alternative([]byte("sip:b@192.0.2.1"), nil) {
		t.Error("an alternative to nothing")
	}
	uri := func(i int) []byte { return fmt.Appendf(nil, "sip:%d@192.0.2.1", i) }
	for i := range MaxTargets {
		if !s.Add(0, uri(i), nil) {
			t.Fatalf("no room for target %d", i)
		}
	}
	if s.Add(0, uri(MaxTargets), nil) {
		t.Error("room for more than MaxTargets")
	}
	if !s.Add(0, uri(0), nil) || s.Len() != MaxTargets {
		t.Error("a target that is there already was not taken as such")
	}
	if !s.Alternative(uri(500), nil) || s.Len() != MaxTargets {
		t.Error("an alternative went to another target than the one named before it")
	}
	for i := MaxTargets; i < maxEntries; i++ {
		if i == MaxTargets {
			s.twice = false
		}
		if !s.Alternative(uri(i), nil) {
			t.Fatalf("no room for entry %d", i)
		}
	}
	if s.Alternative(uri(maxEntries), nil) {
		t.Error("room for more than maxEntries")
	}
	if n := s.end(MaxTargets - 1); n != maxEntries {
		t.Errorf("the last chain ends at %d", n)
	}
	s.Reset()
	if !s.Add(0, bytes.Repeat([]byte{'x'}, maxTargetText), nil) || s.AddNext(0, uri(1), uri(2)) || s.Add(0, uri(1), nil) {
		t.Error("the texts are not bounded by maxTargetText")
	}
}
