package router

import (
	"fmt"
	"testing"
)

// TestHeaderEditsRefused: what the proxy's own work depends on is not for a policy, by no name that it has; nor is text that would
// become more than one header field.
func TestHeaderEditsRefused(t *testing.T) {
	c := &Core{}
	for _, name := range []string{"Via", "v", "FROM", "f", "To", "t", "Call-ID", "i", "CSeq", "Max-Forwards", "Route", "Record-Route", "Path", "Content-Length", "l", "Max-Breadth", "", "a b", "a\r\nb"} {
		if _, err := c.HeaderEdits(HeaderEdits{Remove: []string{name}}); err == nil {
			t.Errorf("%q may be removed", name)
		}
		if _, err := c.HeaderEdits(HeaderEdits{Add: []string{name + ": x"}}); err == nil {
			t.Errorf("%q may be added", name)
		}
	}
	for _, line := range []string{"X-A", "X-A: b\r\nVia: c", "X-A: b\nc", "X-A: \x00", ": b"} {
		if _, err := c.HeaderEdits(HeaderEdits{Add: []string{line}}); err == nil {
			t.Errorf("%q is a header field", line)
		}
	}
}

// TestHeaderEditsNumbers: the same edits have the same number, others another, and their count is bounded.
func TestHeaderEditsNumbers(t *testing.T) {
	c := &Core{}
	id := func(e HeaderEdits) HeaderEditsID {
		t.Helper()
		n, err := c.HeaderEdits(e)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if id(HeaderEdits{}) != 0 {
		t.Error("no edits have a number")
	}
	a := id(HeaderEdits{Remove: []string{"Subject", "X-B", "x-a"}, Add: []string{"X-C: d"}})
	if a == 0 || a != id(HeaderEdits{Remove: []string{"x-A", "s", "x-b", "x-b"}, Add: []string{"X-C: d"}}) {
		t.Error("the same edits have two numbers")
	}
	if a == id(HeaderEdits{Remove: []string{"Subject", "X-B", "X-A"}, Add: []string{"X-C: e"}}) || a == id(HeaderEdits{Remove: []string{"Subject", "X-B"}, Add: []string{"X-C: d"}}) {
		t.Error("two edits have the same number")
	}
	for i := range maxHeaderEdits {
		if _, err := c.HeaderEdits(HeaderEdits{Add: []string{fmt.Sprintf("X-%d: y", i)}}); err != nil {
			if i < maxHeaderEdits-4 || err != ErrHeaderEdits {
				t.Errorf("%d: %v", i, err)
			}
			break
		} else if i == maxHeaderEdits-1 {
			t.Error("no bound")
		}
	}
	if a != id(HeaderEdits{Remove: []string{"Subject", "X-B", "X-A"}, Add: []string{"X-C: d"}}) {
		t.Error("a full table has forgotten")
	}
}
