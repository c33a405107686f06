//go:build linux

package load

import (
	"bytes"
	"fmt"
	"strings"
)

// A template is a message cut at the places where calls differ: literal bytes, then a field.
type template []piece

type piece struct {
	literal []byte
	field   byte // what follows the literal; 0: nothing
}

// Fields of templates, as they are written between braces.
const (
	fToken   = 'T' // 16 hex digits: which call this is
	fCaller  = 'C' // caller's user part, 8 digits
	fCallee  = 'N' // called number, 8 digits after a prefix
	fFromTag = 'F'
	fToTag   = 'G'
	fUAC     = 'P' // host:port of the caller's socket
	fUAS     = 'U' // host:port of the called party's socket
	fTarget  = 'H' // host part of the Request-URI
	fRoute   = 'R' // Route header lines, possibly none
	fVias    = 'V' // Via header lines of the request, as received
	fTo      = 'O' // value of To in the message being answered, whoever put the tag in
	fRecord  = 'Q' // Record-Route header lines of the INVITE, as received
)

func compile(s string) template {
	var t template
	for {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			return append(t, piece{literal: []byte(s)})
		}
		t = append(t, piece{literal: []byte(s[:open]), field: s[open+1]})
		s = s[open+3:]
	}
}

// style is one way to write the messages of a call: header order, lengths, names and extras of
// one make of phone or gateway.
type style struct {
	branch string // what stands before token and letter
	body   []byte // SDP offer
	answer []byte // SDP answer

	from, to, toTagged, callID     template // header values
	invite, ack, bye               template // requests of the caller
	cancel, ackFailure, options    template
	trying, ringing, ok            template // responses of the called party to the INVITE
	okBye, okCancel, okOptions, tm template // tm: 487
}

// Styles are enough that no two neighbouring calls look alike and a branch predictor gains
// little from the last message. The mean INVITE is about 690 bytes.
func makeStyles() []*style {
	displays := []string{`"Alice Liddell" `, "", `Reception `, `"+49 30 901820" `, `"M. K. Müller-Lüdenscheidt" `, "", `"trunk-7" `, `Conference `}
	domains := []string{"example.com", "198.51.100.17", "pbx.example.net", "ims.mnc001.mcc262.3gppnetwork.example", "example.org", "gw12.carrier.example", "203.0.113.5", "a.example"}
	agents := []string{"Grandstream GXP2170 1.0.11.39", "FPBX-16.0.40(18.9)", "Cisco-SIPGateway/IOS-15.4", "Yealink SIP-T46S 66.86", "baresip v1.0.0 (x86_64/linux)", "Sonus SBC", "Zoiper rv2.10", "snomD785/10.1"}
	extras := []string{
		"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\nSupported: replaces, timer\r\n",
		"P-Asserted-Identity: <sip:{C}@example.net>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, REFER\r\n",
		"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nSupported: timer, 100rel\r\n",
		"Privacy: none\r\nP-Preferred-Identity: <tel:+493012345>\r\nSupported: path\r\n",
		"Accept: application/sdp, application/dtmf-relay\r\nExpires: 180\r\n",
		"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\nSubject: quarterly review\r\nAllow-Events: talk, hold, conference\r\n",
		"P-Charging-Vector: icid-value=\"{T}\";icid-generated-at=192.0.2.11\r\nSupported: 100rel, precondition\r\n",
		"X-Carrier-Route: {F}-lcr-4\r\nAllow: INVITE,ACK,BYE,CANCEL\r\n",
	}
	branches := []string{"z9hG4bK", "z9hG4bK-524287-1---", "z9hG4bKnashds8", "z9hG4bK+5f0c", "z9hG4bK.", "z9hG4bK1d32hash2.", "z9hG4bK-", "z9hG4bKPj"}
	callIDs := []string{"{T}", "{T}@198.51.100.17", "{T}-{F}@pbx.example.net", "{T}", "{T}@a84b4c76e66710.example.com", "{T}_{C}", "{T}", "{T}@gw"}
	codecs := []string{"8 101", "8 0 18 101", "0 8", "9 8 0 101", "18", "8 0 3 97 101", "96 97 98 8 0 101", "8"}
	styles := make([]*style, len(displays))
	for i := range styles {
		s := &style{branch: branches[i]}
		s.body = sdp(fmt.Sprintf("user%d", i), "192.0.2.10", 20000+2*i, codecs[i])
		s.answer = sdp("-", "192.0.2.200", 40000+2*i, codecs[i])
		from := fmt.Sprintf("%s<sip:{C}@%s>;tag={F}", displays[i], domains[i])
		to := "<sip:+49{N}@{H}>"
		if i%3 == 1 {
			to = `"Bob" ` + to
		}
		s.from, s.to, s.toTagged, s.callID = compile(from), compile(to), compile(to+";tag={G}"), compile(callIDs[i])
		via := func(letter string) string {
			if i%2 == 0 {
				return "Via: SIP/2.0/UDP {P};branch=" + s.branch + "{T}" + letter + ";rport\r\n"
			}
			return "Via: SIP/2.0/UDP {P};rport;branch=" + s.branch + "{T}" + letter + "\r\n"
		}
		who := func(to string) []string {
			return []string{"From: " + from + "\r\n", "To: " + to + "\r\n", "Call-ID: " + callIDs[i] + "\r\n"}
		}
		contact := "Contact: <sip:{C}@{P}>\r\n"
		agent := "User-Agent: " + agents[i] + "\r\n"
		hops := "Max-Forwards: 70\r\n"
		payload := fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(s.body), s.body)
		empty := "Content-Length: 0\r\n\r\n"
		cseq := func(n int, m string) string { return fmt.Sprintf("CSeq: %d %s\r\n", n, m) }

		w := who(to)
		head := [][]string{
			{hops, w[0], w[1], w[2], cseq(1, "INVITE"), contact, extras[i], agent},
			{w[0], w[1], w[2], cseq(1, "INVITE"), hops, agent, extras[i], contact},
			{contact, hops, w[1], w[0], w[2], cseq(1, "INVITE"), extras[i], agent},
			{w[2], cseq(1, "INVITE"), w[0], w[1], extras[i], contact, hops, agent},
		}[i%4]
		s.invite = compile("INVITE sip:+49{N}@{H} SIP/2.0\r\n" + via("i") + strings.Join(head, "") + payload)
		s.options = compile("OPTIONS sip:+49{N}@{H} SIP/2.0\r\n" + via("o") + hops + strings.Join(w, "") + cseq(1, "OPTIONS") + contact + agent + empty)
		s.cancel = compile("CANCEL sip:+49{N}@{H} SIP/2.0\r\n" + via("i") + hops + strings.Join(w, "") + cseq(1, "CANCEL") + empty)
		t := strings.Join(who(to+";tag={G}"), "")
		// "The To header field in the ACK MUST equal the To header field in the response being acknowledged", RFC 3261
		// section 17.1.1.3: a failure may be the proxy's own.
		s.ackFailure = compile("ACK sip:+49{N}@{H} SIP/2.0\r\n" + via("i") + hops + strings.Join(who("{O}"), "") + cseq(1, "ACK") + empty)
		s.ack = compile("ACK sip:+49{N}@{U} SIP/2.0\r\n" + via("a") + "{R}" + hops + t + cseq(1, "ACK") + empty)
		s.bye = compile("BYE sip:+49{N}@{U} SIP/2.0\r\n" + via("b") + "{R}" + hops + t + cseq(2, "BYE") + agent + empty)

		back := "Contact: <sip:+49{N}@{U}>\r\n"
		s.trying = compile("SIP/2.0 100 Trying\r\n{V}" + strings.Join(w, "") + cseq(1, "INVITE") + empty)
		s.ringing = compile("SIP/2.0 180 Ringing\r\n{V}{Q}" + t + cseq(1, "INVITE") + back + empty)
		s.ok = compile("SIP/2.0 200 OK\r\n{V}{Q}" + t + cseq(1, "INVITE") + back + "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n" +
			fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(s.answer), s.answer))
		s.okBye = compile("SIP/2.0 200 OK\r\n{V}" + t + cseq(2, "BYE") + empty)
		s.okCancel = compile("SIP/2.0 200 OK\r\n{V}" + t + cseq(1, "CANCEL") + empty)
		s.okOptions = compile("SIP/2.0 200 OK\r\n{V}" + t + cseq(1, "OPTIONS") + back + "Accept: application/sdp\r\n" + empty)
		s.tm = compile("SIP/2.0 487 Request Terminated\r\n{V}" + t + cseq(1, "INVITE") + empty)
		styles[i] = s
	}
	return styles
}

func sdp(user, host string, port int, codecs string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "v=0\r\no=%s 53655765 2353687637 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n", user, host, host, port, codecs)
	if strings.Contains(codecs, "101") {
		b.WriteString("a=rtpmap:101 telephone-event/8000\r\n")
	}
	b.WriteString("a=sendrecv\r\n")
	return b.Bytes()
}

// render appends the message that t makes of call c.
func (g *generator) render(dst []byte, t template, c *call) []byte {
	for i := range t {
		p := &t[i]
		dst = append(dst, p.literal...)
		switch p.field {
		case fToken:
			dst = append(dst, c.token[:]...)
		case fCaller:
			dst = append(dst, c.caller[:]...)
		case fCallee:
			dst = append(dst, c.callee[:]...)
		case fFromTag:
			dst = append(dst, c.fromTag[:]...)
		case fToTag:
			dst = append(dst, c.toTag[:]...)
		case fUAC:
			dst = append(dst, g.uac[c.uacSocket].host...)
		case fUAS:
			dst = append(dst, g.uas[c.uasSocket].host...)
		case fTarget:
			dst = append(dst, g.targets[c.uasSocket]...)
		case fRoute:
			dst = append(dst, c.route[:c.routeLen]...)
		case fVias:
			dst = append(dst, g.vias...)
		case fTo:
			dst = append(dst, g.v.to...)
		case fRecord:
			dst = append(dst, c.record[:c.recordLen]...)
		}
	}
	return dst
}

// The token is the call's slot and generation, scrambled by a bijection so that Call-IDs and
// branches spread as those of strangers do, and hash tables get no help from counters.
const (
	mulA = 0xbf58476d1ce4e5b9
	mulB = 0x94d049bb133111eb
)

var invA, invB = inverse(mulA), inverse(mulB)

// inverse of an odd number modulo 2^64, by Newton's iteration: each round doubles the correct bits.
func inverse(a uint64) uint64 {
	x := a
	for range 6 {
		x *= 2 - a*x
	}
	return x
}

func scramble(x uint64) uint64 {
	x ^= x >> 32
	x *= mulA
	x ^= x >> 29
	x *= mulB
	return x ^ x>>32
}

func unscramble(x uint64) uint64 {
	x ^= x >> 32
	x *= invB
	x ^= x>>29 ^ x>>58
	x *= invA
	return x ^ x>>32
}

const hexDigits = "0123456789abcdef"

func putHex(dst []byte, x uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexDigits[x&15]
		x >>= 4
	}
}

func putDecimal(dst []byte, x uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + x%10)
		x /= 10
	}
}

// getHex reads 16 hex digits.
func getHex(b []byte) (x uint64, ok bool) {
	for _, c := range b[:16] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		x = x<<4 | uint64(c)
	}
	return x, true
}
