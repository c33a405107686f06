package config

import (
	"net/netip"
	"time"

	"sipedge/transport"
)

// Policy is what a policy file says: who the neighbours are and what becomes of a request. It is complete (defaults are
// filled in), checked, and frozen like Config. The zero Policy is that of no file: nothing but the static order.
//
// The tag "yaml" is the name of a field in the file, "doc" what the schema says of it. A field with the name "-" is
// filled in by the loader. Lists that the file writes as NAME: {...} keep the order of the file.
type Policy struct {
	Domains   []HostPort `yaml:"domains" doc:"Hosts that are ours, as HOST or HOST:PORT, besides those of --domain." most:"1024"`
	Numbers   Numbers    `yaml:"numbers" doc:"How telephone numbers are read."`
	Regions   []Region   `yaml:"regions,named" doc:"Named sets of telephone numbers. A number is in the one region that has the longest pattern for it." most:"4096"`
	Schedules []Schedule `yaml:"schedules,named" doc:"Named times of the week, with holidays." most:"256"`
	Peers     []Peer     `yaml:"peers,named" doc:"Neighbours known by address or TLS identity." most:"4096"`
	Gateways  []Group    `yaml:"gateways,named" doc:"Groups of next hops with selection, failover, probes and limits." most:"1024"`
	Emergency *Emergency `yaml:"emergency" doc:"Emergency calls: routed before everything else and exempt from every limit."`
	Routes    []Route    `yaml:"routes" doc:"What becomes of a request that is not part of a dialog. The first route that matches decides; with none, the flags do." most:"4096"`
	Overload  Overload   `yaml:"overload" doc:"What one source may send, and what is turned away when there is too much of everything."`
}

// Ref names an entry of another list of the policy.
type Ref struct {
	Name  string
	Index int // in that list
}

// Numbers is how telephone numbers are read where their source does not say.
type Numbers struct {
	Country *Country `yaml:"country" doc:"Country of callers that are no peers with a country of their own. Without one, only numbers with a + are E.164."`
}

// Country is how people of a country dial, for making E.164 numbers out of what they dial:
// +X stays; International X becomes +X; National X becomes +CodeX; a number with neither, of MinDigits to MaxDigits
// digits, becomes +CodeX; anything else (emergency and short numbers, extensions) stays as it is.
type Country struct {
	ISO                  string // "DE"; empty: the file gave a calling code alone
	Code                 string // "49"
	National             string // "0"; empty: there is none
	International        string // "00"
	MinDigits, MaxDigits int    // of a whole national number that is dialled without National; 0: nobody does that
}

// NumberPattern is a set of telephone numbers. Low and High have the same number of digits, and both begin with + or
// neither does. A number is in it when its first len(Low) characters are within Low and High (as text, which for digits
// is the same as by value) and, with Exact, when it ends there.
type NumberPattern struct {
	Low, High string
	Exact     bool
}

// Region is a named set of numbers.
type Region struct {
	Name     string          `yaml:"-"`
	Patterns []NumberPattern `yaml:"-"` // the value itself is the list
}

// Schedule is a part of the week in one time zone, without holidays. Open tells whether a time is in it.
type Schedule struct {
	Name     string         `yaml:"-"`
	Zone     *time.Location `yaml:"zone" doc:"Time zone, as in Europe/Berlin. Default: UTC."`
	Hours    []WeekHours    `yaml:"hours" doc:"Open hours, as in Mon-Fri 08:00-18:00; an end before the begin is on the next day. Without any: always open." most:"64"`
	Holidays []Dates        `yaml:"holidays" doc:"Closed days: 2026-04-03, 12-25 (each year), or 12-24..12-26." most:"1024"`
}

// WeekHours is a time span on some days of the week. To may be up to 48 hours: it then ends on the next day.
type WeekHours struct {
	Days     [7]bool // by time.Weekday: that span begins on
	From, To int     // minutes after midnight by the wall clock; To is outside
}

// Dates is a span of days, both ends included. Year 0 on both ends: each year.
type Dates struct{ First, Last Date }

// Date is one day.
type Date struct {
	Year  int // 0: each year
	Month time.Month
	Day   int
}

// Peer is a neighbour. A request is from the peer whose TLS identity its connection has proven, else from the one with
// the longest prefix around its source address.
type Peer struct {
	Name      string         `yaml:"-"`
	Line      int            `yaml:"-"`
	Addresses []netip.Prefix `yaml:"addresses" doc:"Source addresses, as addresses or CIDR prefixes." most:"4096"`
	TLS       []string       `yaml:"tls" doc:"Domain names that its TLS client certificate proves (RFC 5922)." most:"64"`
	Country   *Country       `yaml:"country" doc:"Country whose way of dialling it uses: ISO code, calling code, or all of it."`
	Limits    Limits         `yaml:"limits" doc:"What it may send."`
	Allow     Allow          `yaml:"allow" doc:"Where its requests may go; anything else is answered 403. Default: anywhere that a route takes it."`
	Headers   HeaderEdits    `yaml:"headers" doc:"Changes to header fields of requests from it."`
}

// Limits are caps. 0: none.
type Limits struct {
	Calls             int    `yaml:"calls" doc:"Calls at once." range:"0..10000000"`
	CallsPerSecond    int    `yaml:"calls-per-second" doc:"New calls in a second." range:"0..1000000"`
	RequestsPerSecond int    `yaml:"requests-per-second" doc:"Requests of any method that belong to no dialog, in a second." range:"0..10000000"`
	Answer            Answer `yaml:"answer" doc:"Answer to what is too much. Default: 503 with Retry-After 10."`
}

// Allow is what a peer may ask for: a Request-URI with one of the domains and, if it has a telephone number, one of the
// numbers. An empty list allows all.
type Allow struct {
	Domains []TextPattern   `yaml:"domains" doc:"Hosts in the Request-URI; *.example.com for all below it." most:"1024"`
	Numbers []NumberPattern `yaml:"numbers" doc:"Telephone numbers in the Request-URI, in E.164 where the country is known." most:"4096"`
	Regions []Ref           `yaml:"regions" doc:"Regions of such numbers." most:"1024" ref:"regions"`
}

// HeaderEdits are changes to the header fields of a request that goes on.
type HeaderEdits struct {
	Remove []string `yaml:"remove" doc:"Names of header fields to take out." most:"64"`
	Add    Headers  `yaml:"add" doc:"Header fields to add, as NAME: VALUE." most:"64"`
}

// Headers are header fields in the order of the file.
type Headers []Header

// Header is one header field.
type Header struct{ Name, Value string }

// Answer is a final response of ours. Code 0 in an optional place: the default there.
type Answer struct {
	Code       int           `yaml:"code" doc:"Status, 400 to 699." range:"400..699"`
	Reason     string        `yaml:"reason" doc:"Reason phrase. Default: that of the status."`
	RetryAfter time.Duration `yaml:"retry-after" doc:"When to try again, whole seconds. Default: not said." range:"1s..24h"`
}

// Select is how a group chooses among the members of the best priority that are up and have room.
type Select string

const (
	SelectPriority   Select = "priority"    // in the order of the file
	SelectRoundRobin Select = "round-robin" // strictly in turn
	SelectWeight     Select = "weight"      // at random by weight, as RFC 2782
	SelectHash       Select = "hash"        // consistent hash of HashBy
	SelectLeastCalls Select = "least-calls" // fewest calls at once, by weight
)

// HashBy is what SelectHash looks at.
type HashBy string

const (
	HashCallID HashBy = "call-id"
	HashFrom   HashBy = "from" // the URI of From without parameters
	HashTo     HashBy = "to"   // the URI of To without parameters
)

// Overflow is what a group does with a call that a member's caps have no room for.
type Overflow string

const (
	OverflowNext   Overflow = "next"   // try the member that comes next
	OverflowReject Overflow = "reject" // answer Unavailable
)

// Group is a gateway group. Members are tried by ascending priority, among equals as Select says, until one of them
// answers with something that Failover does not have.
type Group struct {
	Name        string        `yaml:"-"`
	Line        int           `yaml:"-"`
	Members     []Member      `yaml:"members" doc:"The gateways." most:"64"`
	Select      Select        `yaml:"select" doc:"How to choose among the members of the same priority that are up and have room. Default: priority, in the order of the file."`
	HashBy      HashBy        `yaml:"hash-by" doc:"What select: hash looks at. Default: call-id."`
	Timeout     time.Duration `yaml:"timeout" doc:"How long a member may be silent (not even a 100 Trying) before the next one is tried. Default: the 32 s of RFC 3261 (64 times T1)." range:"100ms..32s"`
	Failover    Failover      `yaml:"failover" doc:"Final responses that make the next member be tried, as 503 or 5xx, and timeout for silence. A member that cannot be reached is always followed by the next. Default: 500, 502, 503, 504, timeout."`
	Tries       int           `yaml:"tries" doc:"Members tried for one request, at most. Default: all, up to 16." range:"1..16"`
	Overflow    Overflow      `yaml:"overflow" doc:"When the member chosen has no room left under its limits: next tries the member that comes next, reject answers at once. Default: next."`
	Unavailable Answer        `yaml:"unavailable" doc:"Answer when no member is up or has room. Default: 503 with Retry-After 10."`
	RequestURI  RequestURI    `yaml:"request-uri" doc:"keep leaves the Request-URI's host as it is, gateway puts the member's host and port there. Default: keep."`
	DownAfter   int           `yaml:"down-after" doc:"Requests in a row that end in silence, a transport error or 503 and take a member out for down-for; then one request at a time is let through to try again. Default: 0, never." range:"0..100"`
	DownFor     time.Duration `yaml:"down-for" doc:"How long such a member is out before it is tried again. Default: 30s." range:"1s..1h"`
	Probe       *Probe        `yaml:"probe" doc:"Ask each member regularly whether it is there. Default: no probes; a member is then down when down-after or people say so."`
}

// RequestURI is what becomes of the host in the Request-URI.
type RequestURI string

const (
	KeepHost    RequestURI = "keep"
	GatewayHost RequestURI = "gateway"
)

// Failover is a set of final responses, and silence.
type Failover struct {
	Statuses []StatusRange
	Timeout  bool // silence for Group.Timeout, or a 408 made here
}

// Has tells whether a final response is in f.
func (f *Failover) Has(status int) bool {
	for _, r := range f.Statuses {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return false
}

// StatusRange is a span of statuses, both ends included.
type StatusRange struct{ First, Last int }

// Member is one gateway of a group.
type Member struct {
	Name           string    `yaml:"name" doc:"Name in metrics and for the admin interface. Default: host and port of the URI."`
	Line           int       `yaml:"-"`
	URI            TargetURI `yaml:"uri" doc:"Where it is: sip:HOST[:PORT][;transport=udp|tcp|tls] or sips:HOST[:PORT]. A name is looked up by RFC 3263."`
	Priority       int       `yaml:"priority" doc:"Lower is tried first. Default: 1." range:"0..65535"`
	Weight         int       `yaml:"weight" doc:"Share among members of the same priority, for select: weight and least-calls. Default: 1." range:"1..65535"`
	Calls          int       `yaml:"calls" doc:"Calls at once. Default: no limit." range:"0..10000000"`
	CallsPerSecond int       `yaml:"calls-per-second" doc:"New calls in a second. Default: no limit." range:"0..1000000"`
}

// TargetURI is where to send: the parts of a sip or sips URI without user that RFC 3263 needs.
type TargetURI struct {
	Text      string             // as written
	Host      string             // as HostPort.Host
	Port      uint16             // 0: absent
	Transport transport.Protocol // 0: absent
	Sips      bool
}

// Probe is how the members of a group are watched.
type Probe struct {
	Every   time.Duration `yaml:"every" doc:"Time between two probes of a member. Default: 10s." range:"100ms..1h"`
	Timeout time.Duration `yaml:"timeout" doc:"How long to wait for the answer. Default: the smaller of every and 2s." range:"50ms..32s"`
	Down    int           `yaml:"down" doc:"Failed probes in a row that take a member out. Default: 2." range:"1..100"`
	Up      int           `yaml:"up" doc:"Answered probes in a row that take it back. Default: 1." range:"1..100"`
	From    string        `yaml:"from" doc:"URI in From. Default: sip:probe@ and our address."`
	To      string        `yaml:"to" doc:"User part of the Request-URI. Default: none."`
	Expect  Failover      `yaml:"expect" doc:"Answers that mean it is there. Default: any but 408, 500, 502, 503 and 504, since a 405 comes from something alive."`
}

// Emergency is about calls to emergency numbers and urn:service:sos. They are looked for before peers' limits, overload
// and routes.
type Emergency struct {
	Numbers []string `yaml:"numbers" doc:"Numbers as they are dialled, as in 112; matched as a whole." most:"64" form:"number"`
	URN     bool     `yaml:"urn" doc:"Requests for urn:service:sos and what is below it count too. Default: true."`
	Action  `yaml:",inline"`
}

// Route is what becomes of the requests that match.
type Route struct {
	Name   string `yaml:"name" doc:"Name in metrics and explanations. Default: route and its place in the list."`
	Line   int    `yaml:"-"`
	Match  Match  `yaml:"match" doc:"Everything that is said here must be so; of a list, one. Without it the route takes every request."`
	Action `yaml:",inline"`
}

// Match is what a route asks of a request. An absent part (nil, empty) is always true.
type Match struct {
	Methods    []string             `yaml:"method" doc:"Methods, as in INVITE." most:"64"`
	URI        URIMatch             `yaml:"uri" doc:"The Request-URI."`
	From       URIMatch             `yaml:"from" doc:"The URI in From."`
	To         URIMatch             `yaml:"to" doc:"The URI in To."`
	Peers      []Ref                `yaml:"peer" doc:"Peers that it comes from; any for all of them, none for sources that are no peer." most:"1024" ref:"peers"`
	AnyPeer    bool                 `yaml:"-"` // one of Peers, or any of them
	NoPeer     bool                 `yaml:"-"` // or none
	Sources    []netip.Prefix       `yaml:"source" doc:"Source addresses, as addresses or CIDR prefixes." most:"1024"`
	Transports []transport.Protocol `yaml:"transport" doc:"Transports that it comes by: udp, tcp, tls, ws, wss." most:"5"`
	Schedules  []Ref                `yaml:"schedule" doc:"Schedules, one of which must be open now." most:"64" ref:"schedules"`
	Outside    []Ref                `yaml:"outside" doc:"Schedules, all of which must be closed now." most:"64" ref:"schedules"`
}

// URIMatch is what a route asks of a URI.
type URIMatch struct {
	Schemes []string        `yaml:"scheme" doc:"Schemes: sip, sips, tel, urn and others." most:"16"`
	Hosts   []TextPattern   `yaml:"host" doc:"Hosts; *.example.com for all below it." most:"1024"`
	Ours    *bool           `yaml:"ours" doc:"Whether the host is a domain of ours."`
	Users   []TextPattern   `yaml:"user" doc:"User parts, case-sensitive; a * at the begin or the end stands for anything." most:"1024"`
	Numbers []NumberPattern `yaml:"number" doc:"Telephone numbers: +49 is a prefix, +4930..+4939 a range of prefixes, =112 one whole number." most:"4096"`
	Regions []Ref           `yaml:"region" doc:"Regions of the telephone number." most:"1024" ref:"regions"`
}

// PatternKind is where the * of a TextPattern is.
type PatternKind uint8

const (
	PatternExact  PatternKind = iota
	PatternPrefix             // Text*
	PatternSuffix             // *Text
)

// TextPattern is a text or a text with a * at one end. For hosts, Text is in the form of HostPort.Host and a suffix begins
// with a dot.
type TextPattern struct {
	Text string
	Kind PatternKind
}

// Action is what happens to a request: exactly one of Gateway, NextHop, Relay, Redirect, Reject and RedirectServer is set;
// the rest says how.
type Action struct {
	Gateway        *Ref       `yaml:"gateway" doc:"Send it to a gateway group." ref:"gateways"`
	NextHop        *TargetURI `yaml:"next-hop" doc:"Send it to one place, as sip:HOST[:PORT][;transport=udp|tcp|tls] or sips:HOST[:PORT]."`
	Relay          bool       `yaml:"relay" doc:"Send it where its Request-URI says (RFC 3263). Never takes a Request-URI that is ours."`
	Redirect       *Redirect  `yaml:"redirect" doc:"Answer with another place to ask."`
	Reject         *Answer    `yaml:"reject" doc:"Answer with a failure."`
	RedirectServer *TargetURI `yaml:"redirect-server" doc:"Ask this server and go where its 3xx says; other final responses go back to the caller."`

	Number          NumberEdit  `yaml:"number" doc:"Changes to the telephone number in the Request-URI."`
	Headers         HeaderEdits `yaml:"headers" doc:"Changes to header fields, after those of the peer."`
	FollowRedirects bool        `yaml:"follow-redirects" doc:"Follow 3xx responses here instead of passing them on: by q, each URI once. Default: false."`
	Mode            Mode        `yaml:"mode" doc:"stateful or stateless. Stateless only where nothing needs a transaction. Default: that of --mode."`
	RecordRoute     bool        `yaml:"record-route" doc:"Stay on the path of the dialog. Default: --record-route."`
}

// Redirect is an answer of class 3xx.
type Redirect struct {
	To   []string `yaml:"to" doc:"URIs for Contact, best first; the user of the Request-URI is put into a sip or sips URI without one." most:"16"`
	Code int      `yaml:"code" doc:"300, 301, 302, 305 or 380. Default: 302." range:"300..380"`
}

// NumberEdit is done in this order: Normalise, Strip, Prepend. It touches a Request-URI with a telephone number only.
type NumberEdit struct {
	Normalise bool   `yaml:"normalise" doc:"Make it E.164 (+49...) by the country of the peer, or that of numbers."`
	Strip     int    `yaml:"strip" doc:"Characters to take from its begin, + included." range:"0..32"`
	Prepend   string `yaml:"prepend" doc:"What to put before it: digits, with + only at the begin." form:"number"`
}

// Overload is how much is too much.
type Overload struct {
	Rates      []Rate        `yaml:"rates" doc:"What one source may send. The first entry with its address counts; loopback is free unless an entry names it." most:"256"`
	Scanners   []string      `yaml:"scanners" doc:"Requests whose User-Agent contains one of these texts are dropped without an answer; case does not count. Default: the well-known ones; [] for none." most:"1024"`
	Delay      time.Duration `yaml:"delay" doc:"New calls are turned away when packets have waited longer than this for their turn. Default: 20ms." range:"1ms..10s"`
	RetryAfter time.Duration `yaml:"retry-after" doc:"Retry-After of those answers, whole seconds. Default: 5s." range:"1s..24h"`
}

// Rate is how many requests that belong to no dialog each source in Addresses may send.
type Rate struct {
	Addresses []netip.Prefix `yaml:"addresses" doc:"Sources, as addresses or CIDR prefixes." most:"4096"`
	IPv4Bits  int            `yaml:"-"` // what of a source counts as one; 0..32
	IPv6Bits  int            `yaml:"-"` // 0..128
	Each      Each           `yaml:"each" doc:"What counts as one source: address (an IPv4 address or an IPv6 /64), prefix (IPv4 /24, IPv6 /48) or all together. Default: address."`
	PerSecond int            `yaml:"requests-per-second" doc:"Requests in a second." range:"1..10000000"`
	Burst     int            `yaml:"burst" doc:"Requests at once after silence. Default: twice requests-per-second." range:"1..10000000"`
	Over      Over           `yaml:"over" doc:"What becomes of more: drop without an answer, or reject with 503. Default: drop."`
}

// Each is what counts as one source.
type Each string

const (
	EachAddress Each = "address"
	EachPrefix  Each = "prefix"
	EachAll     Each = "all"
)

// Over is what becomes of a request over a Rate.
type Over string

const (
	OverDrop   Over = "drop"
	OverReject Over = "reject"
)
