package txn

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sipedge/parser"
)

// testKeys makes the keys of one loop; a token issued by testKeys(x, y) is accepted by testKeys(z, x).
func testKeys(t testing.TB, secrets ...string) *KeyLoop {
	t.Helper()
	var previous []byte
	if len(secrets) > 1 {
		previous = []byte(secrets[1])
	}
	k, err := NewKeys([]byte(secrets[0]), previous)
	if err != nil {
		t.Fatal(err)
	}
	return k.Local()
}

const (
	secretOne   = "the first master secret"
	secretTwo   = "the second master secret"
	secretThree = "the third master secret"
)

// received is a parsed message beside its bytes.
type received struct {
	m parser.Message
	b []byte
}

func parse(t testing.TB, lines ...string) *received {
	t.Helper()
	r := &received{b: []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")}
	if err := parser.Parse(r.b, &r.m); err.Code != parser.ErrNone {
		t.Fatalf("%v in %q", err, r.b)
	}
	return r
}

// A request as a client of RFC 3261 sends it, and what each test changes in it.
type fields struct{ method, uri, via, from, to, callID, cseq, more string }

var invite = fields{
	method: "INVITE", uri: "sip:bob@biloxi.com",
	via:  "SIP/2.0/UDP pc33.atlanta.com:5062;branch=z9hG4bK776asdhds",
	from: "Alice <sip:alice@atlanta.com>;tag=1928301774", to: "Bob <sip:bob@biloxi.com>",
	callID: "a84b4c76e66710@pc33.atlanta.com", cseq: "314159",
}

// inviteOld is the same from a client of RFC 2543: no branch.
var inviteOld = invite.with(func(f *fields) { f.via = "SIP/2.0/UDP pc33.atlanta.com:5062" })

func (f fields) with(change func(*fields)) fields { change(&f); return f }

func (f fields) parse(t testing.TB) *received {
	t.Helper()
	lines := []string{
		f.method + " " + f.uri + " SIP/2.0", "Via: " + f.via, "Max-Forwards: 70", "From: " + f.from, "To: " + f.to,
		"Call-ID: " + f.callID, "CSeq: " + f.cseq + " " + f.method, "Content-Length: 0",
	}
	if f.more != "" {
		lines = append(lines, f.more)
	}
	return parse(t, lines...)
}

func (f fields) key(t testing.TB, l *KeyLoop) Key {
	t.Helper()
	r := f.parse(t)
	return l.ServerKey(&r.m, r.b)
}

// change is one difference between two requests, and whether they are still one transaction.
type change struct {
	name string
	same bool
	do   func(*fields)
}

func checkKeys(t *testing.T, base fields, changes []change) {
	t.Helper()
	l := testKeys(t, secretOne)
	want := base.key(t, l)
	for _, c := range changes {
		got := base.with(c.do).key(t, l)
		if same := got == want; same != c.same {
			t.Errorf("%s: same transaction is %v, want %v", c.name, same, c.same)
		}
		if !c.same && (got.Hash == want.Hash || got.Check == want.Check) {
			t.Errorf("%s: half of the key does not differ", c.name)
		}
	}
}

func TestServerKeyWithCookie(t *testing.T) {
	checkKeys(t, invite, []change{
		{"retransmission", true, func(f *fields) {}},
		{"ACK, whose To has the response's tag", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=314159" }},
		{"CANCEL", true, func(f *fields) { f.method = "CANCEL" }},
		{"case of the host", true, func(f *fields) { f.via = strings.Replace(f.via, "pc33.atlanta.com", "PC33.Atlanta.COM", 1) }},
		{"LWS around the colon of sent-by", true, func(f *fields) { f.via = strings.Replace(f.via, ":5062", " : 5062", 1) }},
		{"other Via parameters", true, func(f *fields) { f.via += ";rport;received=192.0.2.1" }},
		{"protocol of the Via", true, func(f *fields) { f.via = strings.Replace(f.via, "UDP", "TCP", 1) }},
		{"anything beyond Via and method", true, func(f *fields) {
			f.uri, f.from, f.to, f.callID, f.cseq = "sip:x@y", "<sip:z@y>;tag=3", "<sip:t@y>;tag=5", "1", "1"
		}},
		{"other method", false, func(f *fields) { f.method = "BYE" }},
		{"unknown method", false, func(f *fields) { f.method = "FOO" }},
		{"branch", false, func(f *fields) { f.via += "x" }},
		{"case of the branch", false, func(f *fields) { f.via = strings.Replace(f.via, "asd", "aSd", 1) }},
		{"host", false, func(f *fields) { f.via = strings.Replace(f.via, "pc33", "pc34", 1) }},
		{"port", false, func(f *fields) { f.via = strings.Replace(f.via, "5062", "5063", 1) }},
		{"no port", false, func(f *fields) { f.via = strings.Replace(f.via, ":5062", "", 1) }},
		{"no cookie", false, func(f *fields) { f.via = strings.Replace(f.via, "z9hG4bK", "", 1) }},
		{"no branch", false, func(f *fields) { f.via = inviteOld.via }},
	})
}

func TestServerKeyDefaultPortIsNotFilledIn(t *testing.T) {
	checkKeys(t, invite.with(func(f *fields) { f.via = "SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK1" }), []change{
		{"5060", false, func(f *fields) { f.via = "SIP/2.0/UDP pc33.atlanta.com:5060;branch=z9hG4bK1" }},
		{"spelt with zeros", false, func(f *fields) { f.via = "SIP/2.0/UDP pc33.atlanta.com:05060;branch=z9hG4bK1" }},
	})
}

// TestServerKeyFieldsDoNotRunTogether: what moves from one field to its neighbour makes another key.
func TestServerKeyFieldsDoNotRunTogether(t *testing.T) {
	l := testKeys(t, secretOne)
	seen := map[Key]string{}
	for _, via := range []string{
		"SIP/2.0/UDP a.b:1;branch=z9hG4bK1", "SIP/2.0/UDP a.bz:1;branch=z9hG4bK1", "SIP/2.0/UDP a.b:1;branch=z9hG4bK11",
		"SIP/2.0/UDP a.b;branch=z9hG4bK1", "SIP/2.0/UDP a.b:12;branch=z9hG4bK1", "SIP/2.0/UDP a:1;branch=z9hG4bK1",
	} {
		for _, method := range []string{"INVITE", "BYE", "FOO", "1FOO", "11FOO"} {
			k := invite.with(func(f *fields) { f.via, f.method = via, method }).key(t, l)
			if other, dup := seen[k]; dup {
				t.Errorf("%s %s has the key of %s", method, via, other)
			}
			seen[k] = method + " " + via
		}
	}
}

// TestServerKeyBorders moves the borders between sent-by, branch and method over the same bytes.
func TestServerKeyBorders(t *testing.T) {
	l := testKeys(t, secretOne)
	b := []byte(strings.Repeat("z9hg4bk", 10))
	seen := map[Key]string{}
	for host := range uint16(20) {
		for branch := range uint16(20) {
			m := parser.Message{
				Method: parser.MethodOther, MethodName: parser.Span{Off: host + branch + 8, Len: 50 - host - branch - 8},
				Via: parser.Via{Host: parser.Span{Off: 0, Len: host}, Branch: parser.Span{Off: host, Len: branch + 8}, Cookie: true},
			}
			k, what := l.ServerKey(&m, b), fmt.Sprintf("%d, %d", host, branch)
			if other, dup := seen[k]; dup {
				t.Errorf("%s has the key of %s", what, other)
			}
			seen[k] = what
		}
	}
}

// TestServerKeyCookieAlone: RFC 4475 section 3.2.1, a cookie with nothing behind it, in every request of that client.
func TestServerKeyCookieAlone(t *testing.T) {
	bare := invite.with(func(f *fields) { f.via = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" })
	checkKeys(t, bare, []change{
		{"retransmission", true, func(f *fields) {}},
		{"ACK", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }},
		{"another call", false, func(f *fields) { f.callID = "another" }},
	})
	l := testKeys(t, secretOne)
	r := bare.with(func(f *fields) { f.method = "ACK"; f.to += ";tag=1" }).parse(t)
	if k, ok := l.InDialogAckKey(&r.m, r.b); !ok || k != bare.with(func(f *fields) { f.to += ";tag=1" }).key(t, l) {
		t.Error("the ACK of a re-INVITE does not find it")
	}
	checkStateless(t, bare, []change{
		{"retransmission", true, func(f *fields) {}},
		{"another call: the loop hash tells them apart", false, func(f *fields) { f.callID = "another" }},
	})
}

func TestServerKeyUnknownMethods(t *testing.T) {
	checkKeys(t, invite.with(func(f *fields) { f.method = "FOO" }), []change{
		{"same", true, func(f *fields) {}},
		{"another unknown method", false, func(f *fields) { f.method = "BAR" }},
		{"another case: methods are case-sensitive", false, func(f *fields) { f.method = "Foo" }},
		{"ACK is that of an INVITE", false, func(f *fields) { f.method = "ACK" }},
		{"CANCEL is that of an INVITE", false, func(f *fields) { f.method = "CANCEL" }},
	})
}

func TestServerKeyOldInvite(t *testing.T) {
	checkKeys(t, inviteOld, []change{
		{"retransmission", true, func(f *fields) {}},
		{"ACK, whose To has the response's tag", true, func(f *fields) { f.method = "ACK"; f.to += ";tag=314159" }},
		{"CANCEL", true, func(f *fields) { f.method = "CANCEL" }},
		{"case and white space of the Via", true, func(f *fields) { f.via = "sip / 2.0 / udp  PC33.atlanta.com : 5062" }},
		{"display names", true, func(f *fields) { f.from = "<sip:alice@atlanta.com>;tag=1928301774"; f.to = "<sip:bob@biloxi.com>" }},
		{"a number with zeros", true, func(f *fields) { f.cseq = "0314159" }},
		{"other method", false, func(f *fields) { f.method = "OPTIONS" }},
		{"unknown method", false, func(f *fields) { f.method = "FOO" }},
		{"Request-URI", false, func(f *fields) { f.uri = "sip:bob@biloxi.com:5060" }},
		{"To tag", false, func(f *fields) { f.to += ";tag=1" }},
		{"CANCEL with another To tag", false, func(f *fields) { f.method = "CANCEL"; f.to += ";tag=1" }},
		{"From tag", false, func(f *fields) { f.from += "1" }},
		{"Call-ID", false, func(f *fields) { f.callID += "1" }},
		{"case of the Call-ID", false, func(f *fields) { f.callID = strings.ToUpper(f.callID) }},
		{"CSeq", false, func(f *fields) { f.cseq = "314160" }},
		{"Via host", false, func(f *fields) { f.via = "SIP/2.0/UDP pc34.atlanta.com:5062" }},
		{"Via port", false, func(f *fields) { f.via = "SIP/2.0/UDP pc33.atlanta.com" }},
		{"Via protocol", false, func(f *fields) { f.via = "SIP/2.0/TCP pc33.atlanta.com:5062" }},
		{"a branch without cookie", false, func(f *fields) { f.via += ";branch=1" }},
		{"ACK of another INVITE", false, func(f *fields) { f.method = "ACK"; f.cseq = "314160" }},
	})
}

func TestServerKeyOldOthers(t *testing.T) {
	bye := inviteOld.with(func(f *fields) { f.method = "BYE"; f.to += ";tag=8" })
	checkKeys(t, bye, []change{
		{"retransmission", true, func(f *fields) {}},
		{"To tag", false, func(f *fields) { f.to = strings.Replace(f.to, "tag=8", "tag=9", 1) }},
		{"method", false, func(f *fields) { f.method = "INFO" }},
		{"CANCEL is that of an INVITE", false, func(f *fields) { f.method = "CANCEL" }},
		{"ACK is that of an INVITE", false, func(f *fields) { f.method = "ACK" }},
	})
	checkKeys(t, bye.with(func(f *fields) { f.method = "FOO" }), []change{
		{"unknown methods differ", false, func(f *fields) { f.method = "BAR" }},
	})
}

func TestInDialogAckKey(t *testing.T) {
	l := testKeys(t, secretOne)
	second := func(f fields) (Key, bool) {
		r := f.parse(t)
		return l.InDialogAckKey(&r.m, r.b)
	}
	reInvite := inviteOld.with(func(f *fields) { f.to += ";tag=8" })
	ack := reInvite.with(func(f *fields) { f.method = "ACK" })
	if k, ok := second(ack); !ok || k != reInvite.key(t, l) {
		t.Error("the ACK of a re-INVITE does not find it")
	}
	if k, _ := second(ack.with(func(f *fields) { f.to += "1" })); k == reInvite.key(t, l) {
		t.Error("an ACK with another To tag finds the re-INVITE")
	}
	if ack.key(t, l) != inviteOld.key(t, l) {
		t.Error("the first key of an ACK is not that of an INVITE outside a dialog")
	}
	for name, f := range map[string]fields{
		"no To tag":     inviteOld.with(func(f *fields) { f.method = "ACK" }),
		"with a cookie": invite.with(func(f *fields) { f.method = "ACK"; f.to += ";tag=8" }),
		"INVITE":        reInvite,
		"CANCEL":        reInvite.with(func(f *fields) { f.method = "CANCEL" }),
		"BYE":           reInvite.with(func(f *fields) { f.method = "BYE" }),
	} {
		if k, ok := second(f); ok || k != (Key{}) {
			t.Errorf("%s: there is a second key", name)
		}
	}
}

// TestKeysUseWhatIsThere: a Message is used again and again, and what an earlier request had must
// not speak for one that lacks it.
func TestKeysUseWhatIsThere(t *testing.T) {
	l := testKeys(t, secretOne)
	var m parser.Message
	poor := []byte("INVITE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n")
	hash := func() (Key, uint64, string) {
		parser.Parse(poor, &m)
		loop := l.LoopHash(&m, poor, nil)
		return l.ServerKey(&m, poor), loop, string(l.AppendStatelessBranch(nil, &m, poor, loop, &alice))
	}
	k1, l1, s1 := hash()
	rich := inviteOld.with(func(f *fields) { f.to += ";tag=8"; f.more = "Route: <sip:a;lr>\r\nRoute: <sip:b;lr>" }).parse(t)
	parser.Parse(rich.b, &m)
	k2, l2, s2 := hash()
	if k1 != k2 || l1 != l2 || s1 != s2 {
		t.Error("an earlier message shows")
	}
}

func TestServerKeysDependOnTheSecret(t *testing.T) {
	if invite.key(t, testKeys(t, secretOne)) == invite.key(t, testKeys(t, secretTwo)) {
		t.Error("the seeds do not come from the secret")
	}
	if invite.key(t, testKeys(t, secretOne)) != invite.key(t, testKeys(t, secretOne, secretTwo)) {
		t.Error("the previous secret changes the seeds")
	}
}

func TestNewKeysRefusesShortSecrets(t *testing.T) {
	for _, s := range [][2]string{{"", ""}, {"fifteen bytes..", ""}, {secretOne, "short"}} {
		if _, err := NewKeys([]byte(s[0]), []byte(s[1])); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
	if _, err := NewKeys([]byte("sixteen bytes..."), nil); err != nil {
		t.Error(err)
	}
}

func TestLower8(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			in := []byte("0[`{a@Z-")
			in[at] = byte(c)
			got := appendLower(nil, in)
			want := bytes.Clone(in)
			for i, c := range want {
				if 'A' <= c && c <= 'Z' {
					want[i] += 'a' - 'A'
				}
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%q becomes %q, want %q", in, got, want)
			}
		}
	}
	long := strings.Repeat("Abc.", 100)
	for n := range len(long) {
		if got := appendLower([]byte("X"), []byte(long[:n])); string(got) != "X"+strings.ToLower(long[:n]) {
			t.Fatalf("%d bytes: %q", n, got)
		}
	}
}

func TestAllocsKeys(t *testing.T) {
	l := testKeys(t, secretOne, secretTwo)
	dst := make([]byte, 0, 256)
	for _, f := range []fields{invite, inviteOld, inviteOld.with(func(f *fields) { f.method = "ACK"; f.to += ";tag=8" })} {
		r := f.parse(t)
		ref := RouteRef{Listener: 3}
		if n := testing.AllocsPerRun(100, func() {
			k := l.ServerKey(&r.m, r.b)
			k2, _ := l.InDialogAckKey(&r.m, r.b)
			sinkKey.Hash ^= k.Hash ^ k2.Hash
			loop := l.LoopHash(&r.m, r.b, nil)
			b := l.AppendBranch(dst, BranchID{Ref{1, 2}, 3, loop})
			_, _, ok := l.ReadBranch(b)
			b[20] ^= 1
			_, _, forged := l.ReadBranch(b)
			b = l.AppendStatelessBranch(dst, &r.m, r.b, loop, &alice)
			l.LoopOf(b)
			l.AppendLocalTag(dst[len(b):len(b)], &r.m, r.b)
			l.CheckStatelessBranch(b, &r.m, r.b, &r.m.Via, &alice)
			b = l.AppendRouteToken(dst, r.m.CallID.In(r.b), r.m.From.Tag.In(r.b), ref)
			got, ok2 := l.VerifyRouteToken(b, r.m.CallID.In(r.b), r.m.To.Tag.In(r.b), r.m.From.Tag.In(r.b))
			b = l.AppendRouteToken(dst, r.m.CallID.In(r.b), r.m.From.Tag.In(r.b), RouteRef{Flow: flow6})
			with, ok3 := l.VerifyRouteToken(b, r.m.CallID.In(r.b), r.m.To.Tag.In(r.b), r.m.From.Tag.In(r.b))
			back, ok4 := l.ReadFlowToken(l.AppendFlowToken(dst, &flow6))
			if !ok3 || !ok4 || with.Flow != flow6 || back != flow6 {
				t.Fatal("wrong flows")
			}
			if !ok || forged || !ok2 || got != ref {
				t.Fatal("wrong answers")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", f.method, n)
		}
	}
}

// TestScratchHoldsAnyMessage: the longest fields that a message can have fit without a new allocation.
func TestScratchHoldsAnyMessage(t *testing.T) {
	l := testKeys(t, secretOne)
	long := strings.Repeat("x", 20000)
	for _, f := range []fields{
		inviteOld.with(func(f *fields) { f.via += ";a=" + long; f.callID = long; f.uri += long[:4000] }),
		invite.with(func(f *fields) { f.via += long + long + long }),
		invite.with(func(f *fields) {
			f.more = strings.Repeat("Route: <sip:a.very.long.name.of.a.proxy.example.com;lr>,<sip:b;lr>, <sip:"+long[:40]+">\r\n", 490) + "X: y"
		}),
	} {
		r := f.parse(t)
		if n := testing.AllocsPerRun(10, func() {
			k := l.ServerKey(&r.m, r.b)
			sinkKey.Hash ^= k.Hash ^ l.LoopHash(&r.m, r.b, nil)
			l.AppendStatelessBranch(l.token[:0], &r.m, r.b, 1, &alice)
		}); n > 1 { // one: the branch has no room in l.token
			t.Errorf("%v allocations for a message of %d bytes", n, len(r.b))
		}
	}
}

var sinkKey Key
