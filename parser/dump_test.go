package parser

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew; the difference is to be reviewed like code")

// golden compares got with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// dump writes all that Parse found in b, and all that the iterators find, as text.
func dump(b []byte, m *Message) string {
	var w bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	q := func(s Span) string { return fmt.Sprintf("%q", s.In(b)) }
	say("verdict: %v", m.Err)
	if m.Err.Class() == ClassUnreadable {
		return w.String()
	}
	if m.Request {
		say("request: method %s (%q) uri %s version %s", q(m.MethodName), m.Method.String(), q(m.RequestURI), q(m.Version))
		say("request-uri: %s", dumpURI(b, &m.URI))
	} else {
		say("response: version %s status %d reason %s", q(m.Version), m.Status, q(m.Reason))
	}
	for i := range m.HeaderCount() {
		h := m.HeaderAt(i)
		say("header %d: %q %s = %s", i, h.ID.String(), q(h.Name), q(h.Value))
	}
	for v, first := m.Values(b, HeaderVia), true; ; first = false {
		s, line, ok := v.Next()
		if !ok {
			if v.Err.Code != ErrNone {
				say("via list: %v", v.Err)
			}
			break
		}
		var via Via
		err := ParseVia(b, s, &via)
		say("via: line %d %s", line, dumpVia(b, &via, err))
		if first && err.Code == ErrNone {
			via.Line, via.LastValue = m.Via.Line, m.Via.LastValue
			if via != m.Via {
				say("but the topmost Via was read as %s", dumpVia(b, &m.Via, Error{}))
			}
		}
	}
	for _, id := range []HeaderID{HeaderFrom, HeaderTo, HeaderRoute, HeaderRecordRoute, HeaderContact} {
		for v, first := m.Values(b, id), true; ; first = false {
			s, line, ok := v.Next()
			if !ok {
				if v.Err.Code != ErrNone {
					say("%s list: %v", id, v.Err)
				}
				break
			}
			var a Address
			err := ParseAddress(b, s, &a)
			say("%s: line %d %s", strings.ToLower(id.String()), line, dumpAddress(b, &a, err))
			hot := map[HeaderID]*Address{HeaderFrom: &m.From, HeaderTo: &m.To, HeaderRoute: &m.Route, HeaderContact: &m.Contact}[id]
			if first && hot != nil && err.Code == ErrNone {
				a.Line = hot.Line
				if a != *hot {
					say("but Parse read it as %s", dumpAddress(b, hot, Error{}))
				}
			}
		}
	}
	if m.Has(HeaderCallID) {
		say("call-id: %s", q(m.CallID))
	}
	if m.Has(HeaderCSeq) {
		say("cseq: %d %s (%q)", m.CSeq.Number, q(m.CSeq.MethodName), m.CSeq.Method.String())
	}
	if m.Has(HeaderMaxForwards) {
		say("max-forwards: %d", m.MaxForwards)
	}
	if m.Has(HeaderContentLength) {
		say("content-length: %d", m.ContentLength)
	}
	say("body: %d bytes from %d; %d octets behind it", m.BodyLen, m.BodyOff, len(b)-int(m.Len))
	return w.String()
}

func dumpURI(b []byte, u *URI) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s %q", [...]string{"none", "sip", "sips", "tel", "urn", "other"}[u.SchemeIs], u.Whole.In(b))
	part := func(name string, s Span) {
		if s.Off != 0 {
			fmt.Fprintf(&w, " %s %q", name, s.In(b))
		}
	}
	part("user", u.User)
	part("password", u.Password)
	part("host", u.Host)
	part("port", u.PortSpan)
	if u.Port != 0 {
		fmt.Fprintf(&w, " = %d", u.Port)
	}
	part("params", u.Params)
	for p := URIParamsOf(b, u.Params); ; {
		n, v, has, ok := p.Next()
		if !ok {
			if p.Err.Code != ErrNone {
				fmt.Fprintf(&w, " %v", p.Err)
			}
			break
		}
		fmt.Fprintf(&w, " [%s", n.In(b))
		if has {
			fmt.Fprintf(&w, " = %s", v.In(b))
		}
		w.WriteString("]")
	}
	part("transport", u.Transport)
	part("maddr", u.Maddr)
	part("user-param", u.UserParam)
	if u.HasLR {
		w.WriteString(" lr")
	}
	part("headers", u.Headers)
	return w.String()
}

func dumpParams(b []byte, s Span) string {
	var w strings.Builder
	for p := ParamsOf(b, s); ; {
		n, v, has, ok := p.Next()
		if !ok {
			if p.Err.Code != ErrNone {
				fmt.Fprintf(&w, " %v", p.Err)
			}
			return w.String()
		}
		fmt.Fprintf(&w, " [%s", n.In(b))
		if has {
			fmt.Fprintf(&w, " = %s", v.In(b))
		}
		w.WriteString("]")
	}
}

func dumpVia(b []byte, v *Via, err Error) string {
	if err.Code != ErrNone {
		return err.String()
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%q transport %q host %q port %d", v.Value.In(b), v.Transport.In(b), v.Host.In(b), v.Port)
	if v.HasBranch {
		fmt.Fprintf(&w, " branch %q cookie %v", v.Branch.In(b), v.Cookie)
	}
	if !v.Received.Empty() {
		fmt.Fprintf(&w, " received %q", v.Received.In(b))
	}
	if v.HasRPort {
		fmt.Fprintf(&w, " rport %q", v.RPort.In(b))
	}
	if !v.Maddr.Empty() {
		fmt.Fprintf(&w, " maddr %q", v.Maddr.In(b))
	}
	if v.HasTTL {
		fmt.Fprintf(&w, " ttl %d", v.TTL)
	}
	return w.String()
}

func dumpAddress(b []byte, a *Address, err Error) string {
	if err.Code != ErrNone {
		return err.String()
	}
	if a.Star {
		return "*"
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%q", a.Value.In(b))
	if !a.Display.Empty() {
		fmt.Fprintf(&w, " display %q", a.Display.In(b))
	}
	if a.Angle {
		w.WriteString(" angle")
	}
	fmt.Fprintf(&w, " uri %s", dumpURI(b, &a.URI))
	if !a.Params.Empty() {
		fmt.Fprintf(&w, " params%s", dumpParams(b, a.Params))
	}
	if !a.Tag.Empty() {
		fmt.Fprintf(&w, " tag %q", a.Tag.In(b))
	}
	return w.String()
}
