package txn

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sipedge/parser"
	"sipedge/transport"
)

func TestBranchComesBack(t *testing.T) {
	l := testKeys(t, secretOne)
	for _, id := range []BranchID{
		{},
		{Ref{1, 2}, 3, 4},
		{Ref{0xffffffff, 0xfffffffe}, 255, loopMask},
		{Ref{1 << 31, 1 << 30}, 31, 0x123456789abc},
	} {
		b := l.AppendBranch([]byte("branch="), id)
		b, ours := bytes.CutPrefix(b, []byte("branch="))
		if !ours {
			t.Fatal("it does not append")
		}
		if got, kind, ok := l.ReadBranch(b); got != id || kind != BranchTransaction || !ok {
			t.Errorf("%v comes back as %v, %c, %v", id, got, kind, ok)
		}
		if loop, ok := l.LoopOf(b); !ok || loop != id.Loop {
			t.Errorf("loop hash %x comes back as %x", id.Loop, loop)
		}
		if len(b) != 40 || !bytes.HasPrefix(b, []byte("z9hG4bK")) || !parser.IsToken(b) {
			t.Errorf("%q is no branch for a Via", b)
		}
		if id != (BranchID{}) {
			if other := l.AppendBranch(nil, BranchID{}); bytes.Equal(other, b) {
				t.Errorf("%v has the branch of the zero one", id)
			}
		}
	}
}

// TestBranchLayout takes a branch apart by the standard library alone: that a site's nodes and
// versions understand each other hangs on it.
func TestBranchLayout(t *testing.T) {
	l := testKeys(t, secretOne)
	b := l.AppendBranch(nil, BranchID{Ref{0x01020304, 0x05060708}, 9, 0x0a0b0c0d0e0f})
	raw, err := base64.RawURLEncoding.DecodeString(string(b[8:]))
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, branchVersion, 10, 11, 12, 13, 14, 15}; !bytes.Equal(raw[:16], want) {
		t.Errorf("%x, want %x", raw[:16], want)
	}
	key, err := hkdf.Key(sha256.New, []byte(secretOne), nil, "sipedge branch", 16)
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	mac := make([]byte, 16)
	cipher.Encrypt(mac, raw[:16])
	if !bytes.Equal(raw[16:], mac[:8]) {
		t.Errorf("MAC %x, want %x", raw[16:], mac[:8])
	}
}

// forgeries calls try with every string that differs from b in one bit, one character or the length.
func forgeries(b []byte, try func(forged []byte)) {
	for i := range b {
		for c := range 256 {
			if forged := bytes.Clone(b); byte(c) != b[i] {
				forged[i] = byte(c)
				try(forged)
			}
		}
		try(bytes.Clone(b[:i]))
		try(append(bytes.Clone(b[:i]), b[i+1:]...))
	}
	for _, more := range []string{"A", "AA", "AAAA", "=", "\x00", "\r\n", " "} {
		try(append(bytes.Clone(b), more...))
	}
}

// TestOtherVersions: a branch or token of a layout to come is not taken for one of today's, whatever its MAC.
func TestOtherVersions(t *testing.T) {
	l := testKeys(t, secretOne)
	raw := make([]byte, tokenBytes)
	for version := range 256 {
		raw[9] = byte(version)
		l.accepted[0].branch.Encrypt(l.block[:], raw[:branchMAC])
		copy(raw[branchMAC:], l.block[:])
		b := appendToken([]byte("z9hG4bKt"), raw)
		if _, _, ok := l.ReadBranch(b); ok != (version == branchVersion) {
			t.Errorf("version %d of a branch: %v", version, ok)
		}
		b = appendToken([]byte("z9hG4bKs"), append([]byte{byte(version)}, make([]byte, statelessBytes-1)...))
		if _, ok := l.LoopOf(b); ok != (version == branchVersion) {
			t.Errorf("version %d of a stateless branch: %v", version, ok)
		}
	}
	// The bare form of a route token is not the long form of a zero reference.
	token := l.AppendRouteToken(nil, []byte("call"), []byte("tag"), RouteRef{})
	long := append([]byte{routeRef}, strings.Repeat("A", routeRefBytes/3*4)...)
	if _, ok := l.VerifyRouteToken(append(long, token[1:]...), []byte("call"), []byte("tag"), nil); ok {
		t.Error("a route token has two spellings")
	}
}

// TestStatelessFieldsDoNotRunTogether moves the border between sent-by and branch over the same bytes, and
// then over zero bytes, which look like the padding of the last block.
func TestStatelessFieldsDoNotRunTogether(t *testing.T) {
	l := testKeys(t, secretOne)
	for _, b := range [][]byte{[]byte(strings.Repeat("z9hg4bk", 10)), make([]byte, 70)} {
		seen := map[string]string{}
		for n := range uint16(30) {
			for total := n; total < n+35; total++ {
				via := parser.Via{Host: parser.Span{Off: 0, Len: n}, Branch: parser.Span{Off: n, Len: total - n}, Cookie: true}
				m := parser.Message{Via: via}
				branch := string(l.AppendStatelessBranch(nil, &m, b, 1, &alice))
				if other, dup := seen[branch]; dup {
					t.Fatalf("sent-by of %d and branch of %d bytes look like %s", n, total-n, other)
				}
				seen[branch] = fmt.Sprintf("%d and %d", n, total-n)
				if _, ok := l.CheckStatelessBranch([]byte(branch), &m, b, &via, &alice); !ok {
					t.Fatalf("sent-by of %d and branch of %d bytes: not known again", n, total-n)
				}
			}
		}
	}
}

func TestBranchForgery(t *testing.T) {
	l := testKeys(t, secretOne, secretTwo)
	tried := 0
	forgeries(l.AppendBranch(nil, BranchID{Ref{1, 2}, 3, 4}), func(b []byte) {
		tried++
		if id, _, ok := l.ReadBranch(b); ok || id != (BranchID{}) {
			t.Errorf("%q was believed: %v", b, id)
		}
	})
	if tried < 40*256 {
		t.Errorf("only %d forgeries", tried)
	}
}

func TestForeignBranches(t *testing.T) {
	l := testKeys(t, secretOne)
	for _, b := range []string{"", "z9hG4bK", "z9hG4bKt", "z9hG4bK776asdhds", "776asdhds", "z9hG4bK" + strings.Repeat("t", 33), "Z9HG4BKt" + strings.Repeat("A", 32), "\x00"} {
		if id, kind, ok := l.ReadBranch([]byte(b)); ok {
			t.Errorf("%q: %v %c", b, id, kind)
		}
		if _, ok := l.LoopOf([]byte(b)); ok {
			t.Errorf("%q has a loop hash", b)
		}
		if _, ok := l.CheckStatelessBranch([]byte(b), new(parser.Message), nil, new(parser.Via), &alice); ok {
			t.Errorf("%q is a stateless branch", b)
		}
	}
}

// TestRotation: what was issued before the last change of the master secret is accepted, what was issued
// before the one before is not, and another site's never.
func TestRotation(t *testing.T) {
	r := invite.parse(t)
	callID, tag := r.m.CallID.In(r.b), r.m.From.Tag.In(r.b)
	first := testKeys(t, secretOne)
	issued := []struct {
		name   string
		accept func(l *KeyLoop) bool
	}{}
	add := func(name string, token []byte, accept func(l *KeyLoop, token []byte) bool) {
		issued = append(issued, struct {
			name   string
			accept func(l *KeyLoop) bool
		}{name, func(l *KeyLoop) bool { return accept(l, token) }})
	}
	add("branch", first.AppendBranch(nil, BranchID{Ref{1, 2}, 3, 4}), func(l *KeyLoop, token []byte) bool {
		id, _, ok := l.ReadBranch(token)
		return ok && id == BranchID{Ref{1, 2}, 3, 4}
	})
	add("stateless branch", first.AppendStatelessBranch(nil, &r.m, r.b, 5, &alice), func(l *KeyLoop, token []byte) bool {
		_, ok := l.CheckStatelessBranch(token, &r.m, r.b, &r.m.Via, &alice)
		return ok
	})
	add("route token", first.AppendRouteToken(nil, callID, tag, RouteRef{Flags: 1}), func(l *KeyLoop, token []byte) bool {
		ref, ok := l.VerifyRouteToken(token, callID, tag, nil)
		return ok && ref == RouteRef{Flags: 1}
	})
	add("route token, seen by the callee", first.AppendRouteToken(nil, callID, tag, RouteRef{}), func(l *KeyLoop, token []byte) bool {
		_, ok := l.VerifyRouteToken(token, callID, []byte("callee"), tag)
		return ok
	})
	for _, i := range issued {
		for _, at := range []struct {
			when string
			l    *KeyLoop
			want bool
		}{
			{"at once", testKeys(t, secretOne), true},
			{"after one change", testKeys(t, secretTwo, secretOne), true},
			{"after two changes", testKeys(t, secretThree, secretTwo), false},
			{"elsewhere", testKeys(t, secretThree), false},
		} {
			if got := i.accept(at.l); got != at.want {
				t.Errorf("%s %s: accepted is %v", i.name, at.when, got)
			}
		}
	}
	if a, b := testKeys(t, secretTwo, secretOne).AppendBranch(nil, BranchID{}), testKeys(t, secretTwo).AppendBranch(nil, BranchID{}); !bytes.Equal(a, b) {
		t.Error("new branches are not issued under the current secret")
	}
}

func stateless(t testing.TB, l *KeyLoop, f fields) string {
	t.Helper()
	r := f.parse(t)
	return string(l.AppendStatelessBranch(nil, &r.m, r.b, l.LoopHash(&r.m, r.b, nil), &alice))
}

func checkStateless(t *testing.T, base fields, changes []change) {
	t.Helper()
	l := testKeys(t, secretOne)
	want := stateless(t, l, base)
	for _, c := range changes {
		if same := stateless(t, l, base.with(c.do)) == want; same != c.same {
			t.Errorf("%s: same branch is %v, want %v", c.name, same, c.same)
		}
	}
	if len(want) != 32 || !parser.IsToken([]byte(want)) {
		t.Errorf("%q is no branch for a Via", want)
	}
}

func TestStatelessBranch(t *testing.T) {
	checkStateless(t, invite, []change{
		{"retransmission", true, func(f *fields) {}},
		{"ACK", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }},
		{"CANCEL", true, func(f *fields) { f.method = "CANCEL" }},
		{"case of sent-by", true, func(f *fields) { f.via = strings.Replace(f.via, "pc33", "PC33", 1) }},
		{"received and rport", true, func(f *fields) { f.via += ";received=192.0.2.1;rport=9" }},
		{"branch", false, func(f *fields) { f.via += "1" }},
		{"case of the branch", false, func(f *fields) { f.via = strings.Replace(f.via, "asd", "aSd", 1) }},
		{"sent-by host", false, func(f *fields) { f.via = strings.Replace(f.via, "pc33", "pc34", 1) }},
		{"sent-by port", false, func(f *fields) { f.via = strings.Replace(f.via, "5062", "5063", 1) }},
		{"a spiral: other Request-URI", false, func(f *fields) { f.uri = "sip:bob@192.0.2.4" }},
		{"a spiral: other Route", false, func(f *fields) { f.more = "Route: <sip:a;lr>" }},
	})
}

func TestStatelessBranchOld(t *testing.T) {
	checkStateless(t, inviteOld, []change{
		{"retransmission", true, func(f *fields) {}},
		{"ACK, whose To has the response's tag", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }},
		{"CANCEL", true, func(f *fields) { f.method = "CANCEL" }},
		{"Via", false, func(f *fields) { f.via += ";branch=1" }},
		{"Request-URI", false, func(f *fields) { f.uri = "sip:bob@192.0.2.4" }},
		{"From tag", false, func(f *fields) { f.from += "1" }},
		{"Call-ID", false, func(f *fields) { f.callID += "1" }},
		{"CSeq", false, func(f *fields) { f.cseq = "314160" }},
		{"Route", false, func(f *fields) { f.more = "Route: <sip:a;lr>" }},
	})
	checkStateless(t, inviteOld.with(func(f *fields) { f.method = "BYE"; f.to += ";tag=1" }), []change{
		{"retransmission", true, func(f *fields) {}},
		{"To tag", false, func(f *fields) { f.to += "1" }},
	})
	// Every field by itself, the loop hash held still.
	l := testKeys(t, secretOne)
	seen := map[string]int{}
	for i, f := range []fields{
		inviteOld, inviteOld.with(func(f *fields) { f.via += ";x" }), inviteOld.with(func(f *fields) { f.uri += "x" }),
		inviteOld.with(func(f *fields) { f.from += "x" }), inviteOld.with(func(f *fields) { f.callID += "x" }),
		inviteOld.with(func(f *fields) { f.cseq += "0" }), inviteOld.with(func(f *fields) { f.method = "BYE"; f.to += ";tag=x" }),
	} {
		r := f.parse(t)
		b := string(l.AppendStatelessBranch(nil, &r.m, r.b, 1, &alice))
		if j, dup := seen[b]; dup {
			t.Errorf("requests %d and %d have one branch", i, j)
		}
		seen[b] = i
	}
}

// response is what comes back for a request that was forwarded with our branch on top: the Via
// below ours has what this proxy added to it.
func response(t testing.TB, f fields, branch, via string) *received {
	t.Helper()
	return parse(t, "SIP/2.0 200 OK", "Via: SIP/2.0/UDP edge.example.com;branch="+branch, "Via: "+via,
		"From: "+f.from, "To: "+f.to+";tag=9", "Call-ID: "+f.callID, "CSeq: "+f.cseq+" "+f.method, "Content-Length: 0")
}

func secondVia(t testing.TB, r *received) *parser.Via {
	t.Helper()
	values := r.m.Values(r.b, parser.HeaderVia)
	values.Next()
	span, _, ok := values.Next()
	var v parser.Via
	if err := parser.ParseVia(r.b, span, &v); !ok || err.Code != parser.ErrNone {
		t.Fatalf("no second Via: %v", err)
	}
	return &v
}

func TestStatelessBranchFromResponse(t *testing.T) {
	l := testKeys(t, secretOne)
	branch := stateless(t, l, invite)
	for _, c := range []struct {
		name, branch, via string
		want              bool
	}{
		{"as sent", branch, invite.via, true},
		{"with received and rport", branch, invite.via + ";received=192.0.2.1;rport=5062", true},
		{"other branch", branch, invite.via + "1", false},
		{"no branch", branch, inviteOld.via, false},
		{"other host", branch, strings.Replace(invite.via, "pc33", "pc34", 1), false},
		{"other port", branch, strings.Replace(invite.via, "5062", "5063", 1), false},
		{"no port", branch, strings.Replace(invite.via, ":5062", "", 1), false},
	} {
		r := response(t, invite, c.branch, c.via)
		if kind, ok := l.CheckStatelessBranch(r.m.Via.Branch.In(r.b), &r.m, r.b, secondVia(t, r), &alice); ok != c.want || kind != BranchStateless {
			t.Errorf("%s: %c, %v", c.name, kind, ok)
		}
	}
	r := invite.parse(t)
	forgeries([]byte(branch), func(forged []byte) {
		if _, ok := l.CheckStatelessBranch(forged, &r.m, r.b, &r.m.Via, &alice); ok {
			t.Errorf("%q was believed", forged)
		}
	})
}

// TestStatelessOldBranch: a response to an RFC 2543 request proves itself by what it brings back.
func TestStatelessOldBranch(t *testing.T) {
	l := testKeys(t, secretOne)
	branch := stateless(t, l, inviteOld)
	for _, c := range []struct {
		name string
		do   func(f *fields)
		want bool
	}{
		{"as sent", func(*fields) {}, true},
		{"other Call-ID", func(f *fields) { f.callID += "1" }, false},
		{"other From tag", func(f *fields) { f.from += "1" }, false},
		{"other CSeq", func(f *fields) { f.cseq = "314160" }, false},
	} {
		r := response(t, inviteOld.with(c.do), branch, inviteOld.via+";received=192.0.2.1")
		if kind, ok := l.CheckStatelessBranch([]byte(branch), &r.m, r.b, secondVia(t, r), &alice); kind != BranchStatelessOld || ok != c.want {
			t.Errorf("%s: %c, %v", c.name, kind, ok)
		}
		if _, ok := l.CheckStatelessBranch([]byte(branch), &r.m, r.b, secondVia(t, r), &mallory); ok {
			t.Errorf("%s: it may go elsewhere", c.name)
		}
	}
	if _, kind, ok := l.ReadBranch([]byte(branch)); kind != BranchStatelessOld || ok {
		t.Errorf("%c, %v", kind, ok)
	}
	// One kind does not pass for another.
	r := response(t, inviteOld, branch, inviteOld.via)
	swapped := strings.Replace(branch, "z9hG4bKo", "z9hG4bKs", 1)
	if _, ok := l.CheckStatelessBranch([]byte(swapped), &r.m, r.b, secondVia(t, r), &alice); ok {
		t.Error("one kind passes for the other")
	}
}

// TestStatelessBranchIsForOnePlace: whoever has seen a branch cannot have responses sent anywhere else by it.
func TestStatelessBranchIsForOnePlace(t *testing.T) {
	l := testKeys(t, secretOne)
	branch := stateless(t, l, invite)
	r := response(t, invite, branch, invite.via+";received=203.0.113.9;rport=53")
	if _, ok := l.CheckStatelessBranch([]byte(branch), &r.m, r.b, secondVia(t, r), &mallory); ok {
		t.Error("a response may go where the request did not come from")
	}
}

// Where responses go.
var (
	alice   = transport.AddrFrom(netip.MustParseAddrPort("192.0.2.1:5062"))
	mallory = transport.AddrFrom(netip.MustParseAddrPort("203.0.113.9:53"))
)

func TestLoopHash(t *testing.T) {
	l := testKeys(t, secretOne)
	routed := invite.with(func(f *fields) { f.more = "Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>" })
	hash := func(f fields) uint64 {
		r := f.parse(t)
		h := l.LoopHash(&r.m, r.b, nil)
		if h>>48 != 0 {
			t.Errorf("%x has more than 48 bits", h)
		}
		for _, b := range [][]byte{l.AppendBranch(nil, BranchID{Loop: h}), l.AppendStatelessBranch(nil, &r.m, r.b, h, &alice)} {
			if got, ok := l.LoopOf(b); !ok || got != h {
				t.Errorf("%q: loop hash %x, %v, want %x", b, got, ok, h)
			}
		}
		return h
	}
	want := hash(routed)
	for _, c := range []change{
		{"the same again", true, func(f *fields) {}},
		{"ACK", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }},
		{"CANCEL", true, func(f *fields) { f.method = "CANCEL" }},
		{"any method", true, func(f *fields) { f.method = "FOO" }},
		{"To", true, func(f *fields) { f.to = "<sip:x@y>;tag=7" }},
		{"topmost Via", true, func(f *fields) { f.via = inviteOld.via }},
		{"headers between", true, func(f *fields) { f.more = "Route: <sip:p1;lr>\r\nX: y\r\nRoute: <sip:p2;lr>" }},
		{"Request-URI", false, func(f *fields) { f.uri += "x" }},
		{"first Route", false, func(f *fields) { f.more = "Route: <sip:p3;lr>\r\nRoute: <sip:p2;lr>" }},
		{"last Route", false, func(f *fields) { f.more = "Route: <sip:p1;lr>\r\nRoute: <sip:p3;lr>" }},
		{"order of the Routes", false, func(f *fields) { f.more = "Route: <sip:p2;lr>\r\nRoute: <sip:p1;lr>" }},
		{"fewer Routes", false, func(f *fields) { f.more = "Route: <sip:p2;lr>" }},
		{"no Route", false, func(f *fields) { f.more = "" }},
		{"Call-ID", false, func(f *fields) { f.callID += "x" }},
		{"CSeq", false, func(f *fields) { f.cseq += "0" }},
		{"From tag", false, func(f *fields) { f.from += "x" }},
	} {
		if same := hash(routed.with(c.do)) == want; same != c.same {
			t.Errorf("%s: same loop hash is %v, want %v", c.name, same, c.same)
		}
	}
	r := routed.parse(t)
	if other := testKeys(t, secretTwo).LoopHash(&r.m, r.b, nil); other == want {
		t.Error("the loop hash does not depend on the secret")
	}
	// With a source, that and the URIs of From and To count, the tag of To still does not.
	by := func(source string, do func(*fields)) uint64 {
		r := routed.with(do).parse(t)
		return l.LoopHash(&r.m, r.b, []byte(source))
	}
	same := by("a", func(*fields) {})
	for _, c := range []struct {
		name   string
		source string
		same   bool
		do     func(*fields)
	}{
		{"the same again", "a", true, func(*fields) {}},
		{"ACK", "a", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }},
		{"another source", "b", false, func(*fields) {}},
		{"another To", "a", false, func(f *fields) { f.to = "<sip:x@y>" }},
		{"another From", "a", false, func(f *fields) { f.from = "<sip:x@y>;tag=1928301774" }},
	} {
		if got := by(c.source, c.do) == same; got != c.same {
			t.Errorf("with a source, %s: same loop hash is %v, want %v", c.name, got, c.same)
		}
	}
}

// Flows as tokens carry them: a connection of an IPv4 client, and a UDP client at a link-local address.
var (
	flow4 = transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort("198.51.100.7:50123")), Local: netip.MustParseAddr("203.0.113.1").As16(),
		Conn: 7, Gen: 0x89abcdef, Listener: 2, Loop: 5, Proto: transport.TLS}
	flow6 = transport.Flow{Remote: transport.Addr{IP: netip.MustParseAddr("fe80::1").As16(), Scope: 0x010203, Port: 5060},
		Local: netip.MustParseAddr("fe80::2").As16(), Listener: 1, Proto: transport.UDP}
)

func TestFlowToken(t *testing.T) {
	l, other := testKeys(t, secretOne), testKeys(t, secretTwo, secretOne)
	everywhere := flow4
	everywhere.Local = [16]byte{}
	seen := map[string]bool{}
	for _, f := range []transport.Flow{flow4, flow6, everywhere} {
		token := l.AppendFlowToken(nil, &f)
		if !parser.IsToken(token) || !IsFlowToken(token) || RouteTokenHasFlow(token) || len(token) != 49 && len(token) != 85 || seen[string(token)] {
			t.Errorf("%v: token %q", f, token)
		}
		seen[string(token)] = true
		if got, ok := l.ReadFlowToken(token); !ok || got != f {
			t.Errorf("%v came back as %v, %v", f, got, ok)
		}
		if got, ok := other.ReadFlowToken(token); !ok || got != f {
			t.Errorf("under the previous secret %v came back as %v, %v", f, got, ok)
		}
		if _, ok := testKeys(t, secretTwo).ReadFlowToken(token); ok {
			t.Error("the token of another site was believed")
		}
		if _, ok := l.VerifyRouteToken(token, nil, nil, nil); ok {
			t.Error("a flow token passed for a route token")
		}
		forgeries(token, func(forged []byte) {
			if _, ok := l.ReadFlowToken(forged); ok {
				t.Errorf("%q was believed", forged)
			}
		})
	}
	if _, ok := l.ReadFlowToken(l.AppendRouteToken(nil, nil, nil, RouteRef{Flow: flow4})); ok {
		t.Error("a route token passed for a flow token")
	}
}

func TestRouteToken(t *testing.T) {
	l := testKeys(t, secretOne)
	callID, caller, callee := []byte("a84b4c76e66710@pc33"), []byte("1928301774"), []byte("a6c85cf")
	for _, ref := range []RouteRef{{}, {Dialog: Ref{1, 2}}, {Listener: 0xffff}, {Proto: 3}, {Flags: 0x81}, {Ref{0xffffffff, 0xffffffff}, 1, 2, 3, transport.Flow{}},
		{Listener: flow4.Listener, Proto: flow4.Proto, Flow: flow4}, {Ref{3, 4}, flow6.Listener, flow6.Proto, 9, flow6}} {
		token := l.AppendRouteToken(nil, callID, caller, ref)
		length := 33
		switch ref.Flow {
		case flow4:
			length = 61
		case flow6:
			length = 97
		default:
			if ref == (RouteRef{}) {
				length = 17
			}
		}
		if !parser.IsToken(token) || len(token) != length || RouteTokenHasFlow(token) != (ref.Flow.Proto != 0) {
			t.Errorf("%v: token %q", ref, token)
		}
		for _, c := range []struct {
			name             string
			callID, from, to []byte
			want             bool
		}{
			{"from the caller", callID, caller, callee, true},
			{"from the callee", callID, callee, caller, true},
			{"first request", callID, caller, nil, true},
			{"other tags", callID, callee, callee, false},
			{"no tags", callID, nil, nil, false},
			{"other call", append([]byte("x"), callID...), caller, callee, false},
			{"shorter Call-ID", callID[1:], caller, callee, false},
			{"longer tag", callID, append([]byte("0"), caller...), callee, false},
			{"tag with a zero byte more", callID, append(bytes.Clone(caller), 0), callee, false},
			{"Call-ID with a zero byte more", append(bytes.Clone(callID), 0), caller, callee, false},
			{"no Call-ID", nil, caller, callee, false},
		} {
			got, ok := l.VerifyRouteToken(token, c.callID, c.from, c.to)
			if ok != c.want || ok && got != ref || !ok && got != (RouteRef{}) {
				t.Errorf("%v: %s: %v, %v", ref, c.name, got, ok)
			}
		}
		forgeries(token, func(forged []byte) {
			if _, ok := l.VerifyRouteToken(forged, callID, caller, callee); ok {
				t.Errorf("%q was believed", forged)
			}
		})
	}
}

// TestRouteTokenFieldsDoNotRunTogether moves bytes between Call-ID and tag, across block borders.
func TestRouteTokenFieldsDoNotRunTogether(t *testing.T) {
	l := testKeys(t, secretOne)
	both := strings.Repeat("0123456789", 6)
	seen := map[string]int{}
	for n := range len(both) + 1 {
		token := string(l.AppendRouteToken(nil, []byte(both[:n]), []byte(both[n:]), RouteRef{}))
		if m, dup := seen[token]; dup {
			t.Errorf("Call-ID of %d and of %d bytes have one token", n, m)
		}
		seen[token] = n
	}
	// Trailing zero bytes look like padding.
	for n := range 40 {
		tag := make([]byte, n+1)
		token := string(l.AppendRouteToken(nil, []byte(both), tag, RouteRef{}))
		if m, dup := seen[token]; dup {
			t.Errorf("tag of %d zero bytes has the token of %d", n+1, m)
		}
		seen[token] = n
	}
}

// TestPurposesDoNotMix: no two keys are alike, so what one purpose issues is noise to another.
func TestPurposesDoNotMix(t *testing.T) {
	l := testKeys(t, secretOne, secretTwo)
	seen := map[string]string{}
	for i, in := range l.accepted {
		for name, c := range map[string]interface{ Encrypt(dst, src []byte) }{"branch": in.branch, "stateless": in.stateless, "route": in.route, "flow": in.flow} {
			out := make([]byte, 16)
			c.Encrypt(out, make([]byte, 16))
			name = fmt.Sprint(name, i)
			if other, dup := seen[string(out)]; dup {
				t.Errorf("%s has the key of %s", name, other)
			}
			seen[string(out)] = name
		}
	}
	if l.table[0] == l.table[1] || l.table[0] == l.loop || l.table[1] == l.loop {
		t.Error("two seeds are alike")
	}
}

// TestMACIsCBCMAC compares with a plain computation, for every length.
func TestMACIsCBCMAC(t *testing.T) {
	l := testKeys(t, secretOne)
	key := l.accepted[0].route
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for n := range len(data) {
		want := make([]byte, 16)
		for i := 0; i < n; i += 16 {
			for j := i; j < min(i+16, n); j++ {
				want[j-i] ^= data[j]
			}
			key.Encrypt(want, want)
		}
		l.block = [16]byte{}
		l.mac(key, data[:n])
		if !bytes.Equal(l.block[:], want) {
			t.Errorf("%d bytes: %x, want %x", n, l.block, want)
		}
	}
}

func TestTokenText(t *testing.T) {
	for n := 0; n <= tokenBytes; n += 3 {
		src := make([]byte, n)
		for i := range src {
			src[i] = byte(i*37 + n)
		}
		text := appendToken(nil, src)
		if want := base64.RawURLEncoding.EncodeToString(src); string(text) != want {
			t.Errorf("%x: %q, want %q", src, text, want)
		}
		back := make([]byte, n)
		if !readToken(back, text) || !bytes.Equal(back, src) {
			t.Errorf("%q comes back as %x, want %x", text, back, src)
		}
	}
	dst := make([]byte, 3)
	for c := range 256 {
		for at := range 4 {
			src := []byte("AAAA")
			src[at] = byte(c)
			if ok := readToken(dst, src); ok != strings.Contains(tokenAlphabet, string(rune(c))) {
				t.Errorf("%q: %v", src, ok)
			}
		}
	}
	for _, length := range []string{"", "A", "AAA", "AAAAA", "AAAAAAAA"} {
		if readToken(dst, []byte(length)) {
			t.Errorf("%q was taken for three bytes", length)
		}
	}
}

func BenchmarkServerKey(b *testing.B) {
	l := testKeys(b, secretOne)
	for _, c := range []struct {
		name string
		f    fields
	}{{"cookie", invite}, {"rfc2543", inviteOld}} {
		b.Run(c.name, func(b *testing.B) {
			r := c.f.parse(b)
			b.ReportAllocs()
			for b.Loop() {
				k := l.ServerKey(&r.m, r.b)
				sinkKey.Hash ^= k.Hash
			}
		})
	}
}

func BenchmarkBranch(b *testing.B) {
	l := testKeys(b, secretOne, secretTwo)
	dst := make([]byte, 0, 64)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.AppendBranch(dst, BranchID{Ref{1, 2}, 3, 4})
		}
	})
	branch := l.AppendBranch(nil, BranchID{Ref{1, 2}, 3, 4})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.ReadBranch(branch)
		}
	})
	branch[30] ^= 1
	b.Run("read_forged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.ReadBranch(branch)
		}
	})
}

func BenchmarkStatelessBranch(b *testing.B) {
	l := testKeys(b, secretOne)
	dst := make([]byte, 0, 64)
	r := invite.parse(b)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.AppendStatelessBranch(dst, &r.m, r.b, 5, &alice)
		}
	})
	branch := l.AppendStatelessBranch(nil, &r.m, r.b, 5, &alice)
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.CheckStatelessBranch(branch, &r.m, r.b, &r.m.Via, &alice)
		}
	})
}

func BenchmarkLoopHash(b *testing.B) {
	l := testKeys(b, secretOne)
	r := invite.with(func(f *fields) { f.more = "Route: <sip:p1.example.com;lr>" }).parse(b)
	b.ReportAllocs()
	for b.Loop() {
		sinkKey.Hash ^= l.LoopHash(&r.m, r.b, nil)
	}
}

func BenchmarkRouteToken(b *testing.B) {
	l := testKeys(b, secretOne)
	callID, tag := []byte("a84b4c76e66710@pc33.atlanta.com"), []byte("1928301774")
	dst := make([]byte, 0, 64)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.AppendRouteToken(dst, callID, tag, RouteRef{})
		}
	})
	token := l.AppendRouteToken(nil, callID, tag, RouteRef{})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.VerifyRouteToken(token, callID, tag, tag)
		}
	})
}
