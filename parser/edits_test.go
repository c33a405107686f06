package parser

import (
	"testing"
)

func TestEditsOrder(t *testing.T) {
	const src = "0123456789"
	f := func(want string, do func(e *Edits)) {
		t.Helper()
		var e, back Edits
		do(&e)
		if got := string(e.AppendTo([]byte(">"), []byte(src), len(src))); got != ">"+want {
			t.Errorf("%s, want %s", got[1:], want)
		}
		if got := e.Size(len(src)); got != len(want) {
			t.Errorf("size %d of %q", got, want)
		}
		m := e.Marshal(nil)
		if got := string(AppendEdited([]byte(">"), []byte(src), len(src), m)); got != ">"+want {
			t.Errorf("marshalled: %s, want %s", got[1:], want)
		}
		if !back.Unmarshal(m) || string(back.AppendTo(nil, []byte(src), len(src))) != want {
			t.Error("unmarshalled it is not the same")
		}
	}
	text := func(e *Edits, s string) *Edits {
		e.Begin()
		e.Text = append(e.Text, s...)
		return e
	}
	f(src, func(e *Edits) {})
	f("a0123456789b", func(e *Edits) { text(e, "a").Insert(0); text(e, "b").Insert(10) })
	f("a0123456789b", func(e *Edits) { text(e, "b").Insert(10); text(e, "a").Insert(0) })
	f("01abc23456789", func(e *Edits) { text(e, "a").Insert(2); text(e, "b").Insert(2); text(e, "c").Insert(2) })
	f("01ab56789", func(e *Edits) { text(e, "a").Replace(2, 3); text(e, "b").Insert(2) })
	f("01ab56789", func(e *Edits) { text(e, "a").Insert(2); text(e, "b").Replace(2, 3) })
	f("0189", func(e *Edits) { e.Cut(2, 4); e.Cut(4, 4) })
	f("0189", func(e *Edits) { e.Cut(2, 6); e.Cut(3, 1) })
	f("01x89", func(e *Edits) { e.Cut(2, 6); text(e, "x").Insert(3) })
	f("", func(e *Edits) { e.Cut(0, 10) })
	f("0123456789x", func(e *Edits) { text(e, "x").Insert(99) })
	f("01234", func(e *Edits) { e.Cut(5, 99) })
	f("0ac3456789", func(e *Edits) { // text that was begun and given up goes nowhere
		text(e, "a").Replace(1, 1)
		text(e, "b")
		text(e, "c").Replace(2, 1)
	})
}

func TestEditsRetext(t *testing.T) {
	var e Edits
	e.Cut(1, 1)
	for _, s := range []string{"old", "other"} {
		e.Begin()
		e.Text = append(e.Text, s...)
		e.Insert(2)
	}
	if got := string(e.TextOf(1)); got != "old" {
		t.Errorf("the text of edit 1 is %q", got)
	}
	e.Begin()
	e.Text = append(e.Text, "a longer one, "...)
	e.Text = append(e.Text, e.TextOf(1)[1:]...)
	e.Retext(1)
	var back Edits
	if !back.Unmarshal(e.Marshal(nil)) {
		t.Error("what Marshal wrote is not taken back")
	}
	for _, e := range []*Edits{&e, &back} {
		if got := string(e.AppendTo(nil, []byte("0123"), 4)); got != "0a longer one, ldother23" || e.Size(4) != len(got) {
			t.Errorf("%q, size %d", got, e.Size(4))
		}
	}
}

// What lies behind the message never leaves: RFC 3261 section 18.3.
func TestEditsEnd(t *testing.T) {
	var e Edits
	e.Begin()
	e.Text = append(e.Text, "x"...)
	e.Insert(2)
	if got := string(e.AppendTo(nil, []byte("abcdef"), 4)); got != "abxcd" {
		t.Error(got)
	}
	if got := string(AppendEdited(nil, []byte("abcdef"), 4, e.Marshal(nil))); got != "abxcd" {
		t.Error(got)
	}
	if got := string(e.AppendRange(nil, []byte("abcdef"), 1, 4)); got != "bxcd" {
		t.Error(got)
	}
	if got := string(e.AppendRange(nil, []byte("abcdef"), 9, 99)); got != "x" {
		t.Error(got)
	}
}

func TestEditsBound(t *testing.T) {
	var e Edits
	for i := range MaxEdits {
		e.Cut(MaxEdits-i, 1)
	}
	if e.Err() || e.Len() != MaxEdits {
		t.Fatal(e.Len(), e.Err())
	}
	m := e.Marshal(nil)
	e.Cut(0, 1)
	if !e.Err() || e.Len() != MaxEdits {
		t.Error("one too many is not told")
	}
	if e.Reset(); e.Err() || e.Len() != 0 || len(e.Text) != 0 {
		t.Error("something is left")
	}
	if !e.Unmarshal(m) || e.Len() != MaxEdits {
		t.Error("the full list does not come back")
	}
	for n := range m {
		if e.Unmarshal(m[:n]) || e.Len() != 0 {
			t.Fatalf("%d of %d bytes are taken for a list", n, len(m))
		}
	}
	if e.Unmarshal(append(m, 0)) || e.Unmarshal(nil) || e.Unmarshal([]byte{200, 1}) {
		t.Error("taken for a list")
	}
}
