// Package parsertest makes SIP messages as they are seen at the edge of a carrier, for tests and benchmarks.
//
// Enters: a seed.
// Leaves: messages, all different, the same for the same seed.
// Never:  is imported by the server.
package parsertest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Message is one message of a mix.
type Message struct {
	Kind string // "invite_sdp", "180", ...
	Data []byte
}

// Mix makes n different messages: calls with and without session descriptions, registrations, subscriptions and probes, requests and
// responses as often as a proxy sees them. Order, spelling and length of the headers vary: a parser that always
// reads the same message teaches it to the branch predictor and looks faster than it is. The mean is about 770 bytes.
func Mix(n int, seed uint64) []Message {
	g := &maker{r: rand.New(rand.NewPCG(seed, 0x5195ed9e))}
	out := make([]Message, n)
	for i := range out {
		k := kinds[g.weighted()]
		out[i] = Message{Kind: k.name, Data: g.message(k)}
	}
	return out
}

// Kinds are the names of the kinds of messages, in a fixed order.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// OfKind makes n different messages of one kind.
func OfKind(kind string, n int, seed uint64) [][]byte {
	g := &maker{r: rand.New(rand.NewPCG(seed, 0x5195ed9e))}
	for _, k := range kinds {
		if k.name == kind {
			out := make([][]byte, n)
			for i := range out {
				out[i] = g.message(k)
			}
			return out
		}
	}
	panic("parsertest: no kind " + kind)
}

// kind is a shape of message. A status makes it a response to method.
type kind struct {
	name   string
	method string
	status int
	weight int
	sdp    bool
	toTag  bool
}

var kinds = []kind{
	{"invite_sdp", "INVITE", 0, 16, true, false},
	{"reinvite_sdp", "INVITE", 0, 4, true, true},
	{"100", "INVITE", 100, 8, false, false},
	{"180", "INVITE", 180, 9, false, true},
	{"183_sdp", "INVITE", 183, 6, true, true},
	{"200_sdp", "INVITE", 200, 12, true, true},
	{"486", "INVITE", 486, 3, false, true},
	{"487", "INVITE", 487, 2, false, true},
	{"ack", "ACK", 0, 10, false, true},
	{"bye", "BYE", 0, 9, false, true},
	{"200_bye", "BYE", 200, 8, false, true},
	{"cancel", "CANCEL", 0, 2, false, false},
	{"register", "REGISTER", 0, 8, false, false},
	{"401", "REGISTER", 401, 3, false, true},
	{"200_register", "REGISTER", 200, 5, false, true},
	{"options", "OPTIONS", 0, 4, false, false},
	{"200_options", "OPTIONS", 200, 4, false, true},
	{"subscribe", "SUBSCRIBE", 0, 2, false, false},
	{"notify", "NOTIFY", 0, 2, false, true},
	{"message", "MESSAGE", 0, 1, false, false},
	{"prack", "PRACK", 0, 2, false, true},
	{"update_sdp", "UPDATE", 0, 2, true, true},
	{"refer", "REFER", 0, 1, false, true},
}

var reasons = map[int]string{
	100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 401: "Unauthorized", 486: "Busy Here", 487: "Request Terminated",
}

var compact = map[string]string{
	"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Length": "l", "Content-Type": "c", "Supported": "k",
	"Subject": "s", "Event": "o", "Session-Expires": "x", "Refer-To": "r", "Referred-By": "b", "Allow-Events": "u",
}

type maker struct{ r *rand.Rand }

func (g *maker) weighted() int {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	x := g.r.IntN(total)
	for i, k := range kinds {
		if x -= k.weight; x < 0 {
			return i
		}
	}
	return 0
}

func (g *maker) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *maker) pick(of ...string) string { return of[g.r.IntN(len(of))] }

const (
	hexDigits = "0123456789abcdef"
	alphanum  = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func (g *maker) random(alphabet string, least, most int) string {
	b := make([]byte, least+g.r.IntN(most-least+1))
	for i := range b {
		b[i] = alphabet[g.r.IntN(len(alphabet))]
	}
	return string(b)
}

func (g *maker) number() string { return g.random("0123456789", 7, 11) }

func (g *maker) user() string {
	if g.chance(60) {
		return g.pick("", "+", "+49", "+1", "00") + g.number()
	}
	return g.pick("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "reception", "sales.desk", "j.doe", "m_smith", "pbx-7") + g.random("0123456789", 0, 3)
}

func (g *maker) name() string {
	return g.pick("sip", "sbc1", "edge-2", "pbx", "proxy", "voip", "ims", "gw07", "registrar") + "." +
		g.pick("atlanta", "biloxi", "chicago", "carrier-one", "telco", "example", "voice.provider", "customer42") + "." + g.pick("com", "net", "org", "example", "co.uk")
}

func (g *maker) ip() string {
	if g.chance(4) {
		return "[2001:db8:" + g.random(hexDigits, 1, 4) + "::" + g.random(hexDigits, 1, 4) + "]"
	}
	return fmt.Sprintf("%s%d.%d", g.pick("10.0.", "192.168.", "203.0.", "198.51."), g.r.IntN(256), g.r.IntN(256))
}

func (g *maker) host() string {
	if g.chance(55) {
		return g.ip()
	}
	return g.name()
}

func (g *maker) port(percent int) string {
	if !g.chance(percent) {
		return ""
	}
	return ":" + g.pick("5060", "5060", "5061", "5080", "15060", fmt.Sprint(1024+g.r.IntN(60000)))
}

func (g *maker) uri() string {
	s := g.pick("sip:", "sip:", "sip:", "sip:", "sip:", "sip:", "sip:", "sips:") + g.user() + "@" + g.host() + g.port(25)
	if g.chance(15) {
		s += ";user=phone"
	}
	return s
}

func (g *maker) contactURI() string {
	s := "sip:"
	if !g.chance(10) {
		s += g.user() + "@"
	}
	s += g.ip() + g.port(85)
	if g.chance(35) {
		s += ";transport=" + g.pick("udp", "tcp", "tls", "UDP")
	}
	if g.chance(12) {
		s += ";ob"
	}
	if g.chance(6) {
		s += ";rinstance=" + g.random(hexDigits, 16, 16)
	}
	return s
}

func (g *maker) address(tag bool) string {
	var s string
	uri := g.uri()
	switch n := g.r.IntN(10); {
	case n < 4:
		s = "<" + uri + ">"
	case n < 7:
		s = `"` + g.pick("Alice", "Bob Builder", "Anonymous", "Reception Desk 2", "+4930123456", "J\\\"R\\\" Ewing", "Müller, Jörg") + `" <` + uri + ">"
	case n < 9:
		s = g.pick("Alice", "Bob Builder", "Carol", "Operator") + " <" + uri + ">"
	default:
		s = strings.TrimSuffix(uri, ";user=phone")
	}
	if tag {
		s += ";tag=" + g.pick(g.random(alphanum, 6, 12), g.random(hexDigits, 8, 32), "as"+g.random(hexDigits, 8, 8))
	}
	return s
}

func (g *maker) via(first bool) string {
	s := "SIP/2.0/" + g.pick("UDP", "UDP", "UDP", "UDP", "TCP", "TLS") + " " + g.host() + g.port(80)
	branch := ";branch=z9hG4bK" + g.pick("-", "", "PJ", "nashds") + g.random(alphanum, 8, 32)
	rport, received := "", ""
	if g.chance(65) {
		rport = ";rport"
		if !first || g.chance(30) {
			rport += fmt.Sprint("=", 1024+g.r.IntN(60000))
			received = fmt.Sprintf(";received=%d.%d.%d.%d", 1+g.r.IntN(220), g.r.IntN(256), g.r.IntN(256), g.r.IntN(256))
		}
	}
	if g.chance(50) {
		return s + branch + rport + received
	}
	return s + rport + received + branch
}

func (g *maker) sdp() string {
	ip := g.ip()
	family := "IP4 "
	if ip[0] == '[' {
		ip, family = ip[1:len(ip)-1], "IP6 "
	}
	id := g.random("123456789", 9, 10)
	s := "v=0\r\no=" + g.pick("-", "root", "alice", "FreeSWITCH") + " " + id + " " + id + " IN " + family + ip + "\r\ns=" + g.pick("-", "session", "call", "SIP Media") +
		"\r\nc=IN " + family + ip + "\r\nt=0 0\r\n"
	codecs := []string{"0 PCMU/8000", "8 PCMA/8000", "9 G722/8000", "18 G729/8000", "96 opus/48000/2", "97 AMR-WB/16000"}
	g.r.Shuffle(len(codecs), func(i, j int) { codecs[i], codecs[j] = codecs[j], codecs[i] })
	codecs = append(codecs[:1+g.r.IntN(4)], "101 telephone-event/8000")
	s += fmt.Sprintf("m=audio %d RTP/AVP", 10000+2*g.r.IntN(20000))
	for _, c := range codecs {
		s += " " + c[:strings.IndexByte(c, ' ')]
	}
	s += "\r\n"
	for _, c := range codecs {
		s += "a=rtpmap:" + c + "\r\n"
	}
	return s + "a=fmtp:101 0-16\r\n" + g.pick("a=sendrecv\r\n", "a=rtcp:"+g.random("123456789", 5, 5)+"\r\na=sendrecv\r\n", "a=ptime:20\r\na=maxptime:150\r\n", "a=ptime:20\r\na=sendrecv\r\n")
}

// message puts one together: a start line, the headers that the kind has to have and some of those it may have, in an order of its own.
func (g *maker) message(k kind) []byte {
	var headers []string
	short := g.chance(8)
	spelling := g.r.IntN(25)
	add := func(name, value string) {
		if c, ok := compact[name]; ok && short {
			name = c
		}
		switch spelling {
		case 0:
			name = strings.ToUpper(name)
		case 1:
			name = strings.ToLower(name)
		}
		colon := ": "
		if spelling == 2 {
			colon = g.pick(":", " : ", ":  ")
		}
		headers = append(headers, name+colon+value)
	}
	response := k.status != 0

	// Via and routes keep their order among themselves; groups are moved as a whole.
	var groups [][]string
	group := func() {
		groups = append(groups, headers)
		headers = nil
	}
	add("Via", g.via(true))
	for hops := g.r.IntN(4) - g.r.IntN(2); hops > 0; hops-- {
		if g.chance(20) {
			headers[len(headers)-1] += ", " + g.via(false)
		} else {
			add("Via", g.via(false))
		}
	}
	group()
	if (k.toTag || k.method == "ACK") && !response && g.chance(70) || k.method == "REGISTER" && g.chance(20) {
		for n := 1 + g.r.IntN(2); n > 0; n-- {
			add("Route", "<sip:"+g.host()+g.port(60)+g.pick(";lr", ";lr", ";lr=on", ";transport=udp;lr")+g.pick("", ";ftag="+g.random(hexDigits, 8, 8))+">")
		}
		group()
	}
	if k.method == "INVITE" && k.status != 100 && g.chance(60) {
		for n := 1 + g.r.IntN(2); n > 0; n-- {
			add("Record-Route", "<sip:"+g.host()+g.port(60)+";lr"+g.pick("", ";ftag="+g.random(hexDigits, 8, 8))+">")
		}
		group()
	}
	single := func(name, value string) {
		add(name, value)
		group()
	}
	maybe := func(percent int, name, value string) {
		if g.chance(percent) {
			single(name, value)
		}
	}
	single("From", g.address(true))
	single("To", g.address(k.toTag))
	single("Call-ID", g.pick(g.random(hexDigits, 32, 32), g.random(alphanum, 10, 24)+"@"+g.host(), g.random(hexDigits, 8, 8)+"-"+g.random(hexDigits, 12, 12)+"@"+g.ip()))
	single("CSeq", fmt.Sprint(1+g.r.IntN(1<<g.r.IntN(31)))+" "+k.method)
	if !response {
		single("Max-Forwards", g.pick("70", "70", "70", "69", "68", "67", "16"))
	}
	switch {
	case k.method == "REGISTER" && k.status != 401:
		c := "<" + g.contactURI() + ">"
		if g.chance(50) {
			c += ";expires=" + g.pick("60", "300", "600", "3600")
		}
		if g.chance(25) {
			c += `;+sip.instance="<urn:uuid:` + g.random(hexDigits, 8, 8) + "-0000-1000-8000-" + g.random(hexDigits, 12, 12) + `>";reg-id=1`
		}
		single("Contact", c)
		maybe(60, "Expires", g.pick("60", "300", "3600"))
	case k.method == "INVITE" && (k.status == 0 || k.status >= 180 && k.status < 300), k.method == "SUBSCRIBE", k.method == "NOTIFY", k.method == "REFER", k.method == "UPDATE":
		single("Contact", g.pick("", "", "", `"`+g.user()+`" `)+"<"+g.contactURI()+">")
	}
	if k.method == "REGISTER" && !response && g.chance(65) {
		single("Authorization", `Digest username="`+g.user()+`", realm="`+g.name()+`", nonce="`+g.random(alphanum, 24, 44)+`", uri="sip:`+g.name()+
			`", response="`+g.random(hexDigits, 32, 32)+`", algorithm=MD5`+g.pick("", `, cnonce="`+g.random(hexDigits, 8, 16)+`", qop=auth, nc=00000001`))
	}
	if k.status == 401 {
		single("WWW-Authenticate", `Digest realm="`+g.name()+`", nonce="`+g.random(alphanum, 24, 44)+`", algorithm=MD5, qop="auth"`)
	}
	switch k.method {
	case "SUBSCRIBE":
		single("Event", g.pick("presence", "message-summary", "dialog", "reg"))
		single("Expires", g.pick("300", "3600"))
	case "NOTIFY":
		single("Event", g.pick("presence", "message-summary", "refer"))
		single("Subscription-State", "active;expires="+g.random("123456789", 2, 4))
	case "PRACK":
		single("RAck", g.random("123456789", 1, 6)+" "+g.random("123456789", 1, 4)+" INVITE")
	case "REFER":
		single("Refer-To", "<"+g.uri()+">")
		single("Referred-By", "<"+g.uri()+">")
	}
	agent := g.pick("Asterisk PBX 18.9.0", "FPBX-16.0.40(18.20.2)", "Grandstream GXP2170 1.0.11.64", "Yealink SIP-T46S 66.85.0.5", "PolycomVVX-VVX_411-UA/5.9.5.0614", "Z 5.5.13 v2.10.18", "Cisco-SIPGateway/IOS-15.4", "FreeSWITCH-mod_sofia/1.10.9")
	if response {
		maybe(55, "Server", agent)
	} else {
		maybe(75, "User-Agent", agent)
	}
	if k.method == "INVITE" && k.status != 100 || k.method == "OPTIONS" || k.method == "REGISTER" {
		maybe(60, "Allow", g.pick("INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE", "INVITE,ACK,BYE,CANCEL,OPTIONS,PRACK,UPDATE,INFO", "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE"))
		maybe(60, "Supported", g.pick("replaces, timer", "timer, path, replaces", "100rel,timer,precondition", "outbound, path, gruu"))
	}
	if k.method == "INVITE" && k.status != 100 {
		maybe(30, "Session-Expires", g.pick("1800", "1800;refresher=uac", "600;refresher=uas"))
		maybe(20, "Min-SE", "90")
		maybe(35, "P-Asserted-Identity", g.pick("", `"`+g.user()+`" `)+"<"+g.uri()+">")
		maybe(10, "Privacy", g.pick("none", "id"))
		maybe(6, "Diversion", "<"+g.uri()+">;reason=unconditional;counter=1")
	}
	if k.method == "BYE" && !response || k.status >= 400 {
		maybe(35, "Reason", g.pick(`Q.850;cause=16;text="Normal call clearing"`, `SIP;cause=200;text="Call completed elsewhere"`))
	}
	maybe(35, "Date", "Tue, 14 Jul 2026 0"+g.random("0123456789", 1, 1)+":4"+g.random("0123456789", 1, 1)+":07 GMT")
	maybe(10, "Accept", "application/sdp, application/dtmf-relay")
	maybe(20, "X-Call-Ref", g.random(alphanum, 10, 30))
	maybe(6, "P-Charging-Vector", "icid-value="+g.random(hexDigits, 24, 32)+";icid-generated-at="+g.ip())
	maybe(3, "Subject", g.pick("Project X", "lunch", "callback"))

	body := ""
	switch {
	case k.sdp:
		body = g.sdp()
		single("Content-Type", "application/sdp")
	case k.method == "MESSAGE" && !response:
		body = "Please call back: " + g.number()
		single("Content-Type", "text/plain")
	case k.method == "NOTIFY" && !response && g.chance(50):
		body = "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n"
		single("Content-Type", "application/simple-message-summary")
	}
	if body != "" || !g.chance(4) {
		single("Content-Length", fmt.Sprint(len(body)))
	}

	// Most senders put Via first and Content-Length last; the rest has its own order with each.
	order := groups
	if g.chance(30) {
		g.r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	} else {
		middle := order[1 : len(order)-1]
		for swaps := g.r.IntN(2 * len(middle)); swaps > 0; swaps-- {
			i, j := g.r.IntN(len(middle)), g.r.IntN(len(middle))
			middle[i], middle[j] = middle[j], middle[i]
		}
	}
	var b strings.Builder
	if response {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", k.status, reasons[k.status])
	} else {
		uri := g.uri()
		switch {
		case k.method == "REGISTER":
			uri = "sip:" + g.name()
		case k.toTag:
			uri = g.contactURI()
		}
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", k.method, uri)
	}
	for _, lines := range order {
		for _, h := range lines {
			if g.chance(1) && g.chance(40) {
				if i := strings.LastIndexAny(h, ";,"); i > strings.LastIndexByte(h, '>') && !strings.Contains(h, `"`) {
					h = h[:i+1] + "\r\n " + h[i+1:]
				}
			}
			b.WriteString(h)
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\r\n")
	b.WriteString(body)
	return []byte(b.String())
}
