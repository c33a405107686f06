// Package parser turns received bytes into a Message of offsets, and a Message with edits back into bytes.
//
// Enters: one datagram, or the bytes of a stream so far.
// Leaves: a Message of offsets into those bytes, or an Error; rendered bytes, appended.
// Never:  allocates, copies, writes to its input, judges policy.
package parser

// Span is a part of the header section: an offset and a length into the bytes that were parsed.
// The header section is at most MaxHeaderSection bytes, so 16 bits are enough.
type Span struct{ Off, Len uint16 }

// In returns the bytes of s. It borrows b; the result is capped, so that an append copies.
func (s Span) In(b []byte) []byte { i, j := int(s.Off), int(s.Off)+int(s.Len); return b[i:j:j] }

// End is the offset behind the last byte of s.
func (s Span) End() int { return int(s.Off) + int(s.Len) }

// Empty tells whether s has no bytes. A zero Span means "not there"; a part that is there and empty has its offset.
func (s Span) Empty() bool { return s.Len == 0 }

// Header is one header line, folded lines included.
type Header struct {
	Name  Span     // as received, without LWS before the colon
	Value Span     // without LWS at both ends; folds inside are kept
	ID    HeaderID // HeaderOther for a name that the parser does not know
}

// Message holds what Parse found: offsets into the parsed bytes, so it means something only
// beside the same bytes. It is large (about 16 KB, of which a usual message touches one): make one per loop and use it again; Parse resets
// counters only, and what a counter or a validity mark does not cover is left over from before.
type Message struct {
	// Start line. Request: Method, MethodName, RequestURI. Response: Status, Reason.
	Request    bool
	Method     Method // of the request line; for a response, of the CSeq
	Status     uint16 // 100 to 699; 0 for a request
	MethodName Span
	RequestURI Span
	Version    Span // "SIP/2.0" as received; any other is reported as ErrVersion
	Reason     Span
	URI        URI // the Request-URI taken apart; valid iff Request; zero if it could not be read

	// The headers that a proxy always needs. Each is valid iff Has reports its header.
	Via         Via     // the topmost value
	From, To    Address // with tag
	CallID      Span
	CSeq        CSeq
	MaxForwards uint8   // valid iff Has(HeaderMaxForwards)
	Route       Address // the topmost value
	Contact     Address // the first value; "*" sets Star
	// ContentLength is valid iff Has(HeaderContentLength).
	ContentLength uint32

	HeaderEnd uint16 // offset of the empty line that ends the headers (its CRLF starts here)
	BodyOff   uint32 // offset of the body
	BodyLen   uint32 // as framed: by Content-Length, or all the rest of a datagram without one
	Len       uint32 // of the whole message; octets behind it are not part of it (RFC 3261 section 18.3)

	// Err is the first fault that leaves the message readable: what Parse returned, or the zero Error.
	Err Error

	broken  bool // the end of the message is not known
	count   uint16
	seen    uint64     // bit id: there is a line with that id
	first   [64]uint16 // by id: index of its first line; valid iff seen
	lines   [64]uint16 // by id: how many lines have it; valid iff seen
	headers [MaxHeaderLines]Header
	ends    lineEnds
	nt      bitmap // bytes that no token has
}

// Via is one Via value taken apart (RFC 3261 section 20.42). Spans are empty where a part is absent.
type Via struct {
	Value     Span   // the whole value, without LWS at its ends and without the comma behind it
	Line      uint16 // index of its header line
	Transport Span   // "UDP", "TCP", ...
	Host      Span   // of sent-by; brackets of an IPv6 reference included
	Port      uint16 // of sent-by; 0 when absent
	Branch    Span   // value of the parameter
	Received  Span
	Maddr     Span
	RPort     Span // its value; empty with HasRPort set means a bare ";rport"
	HasRPort  bool
	HasBranch bool
	RPortName Span // where "rport" itself stands, so that a value can be put behind it
	TTL       uint8
	HasTTL    bool
	Cookie    bool // Branch begins with the magic cookie z9hG4bK
	LastValue bool // no comma behind this value in its line
}

// Address is a name-addr or addr-spec with the header's own parameters (RFC 3261 section 20.10).
type Address struct {
	Value   Span // the whole value, LWS at its ends and a comma behind it left out
	Line    uint16
	Display Span // display name as received, quotes included
	Addr    Span // the URI, without the angle brackets
	Params  Span // parameters of the header field, from the first ';' on
	Tag     Span
	URI     URI
	Angle   bool // the URI stood in angle brackets
	Star    bool // the value is "*" (Contact)
}

// CSeq is RFC 3261 section 20.16.
type CSeq struct {
	Number     uint32
	NumberSpan Span
	MethodName Span
	Method     Method
}

// URI is a URI taken apart (RFC 3261 section 19.1, RFC 3966 for tel). For a scheme other than sip,
// sips and tel only Scheme and Whole are filled.
type URI struct {
	Whole    Span
	SchemeIs Scheme
	User     Span // without password; for tel: the number as written
	Password Span
	Host     Span // brackets of an IPv6 reference included
	PortSpan Span
	Port     uint16 // 0 when absent
	Params   Span   // from the first ';' on, up to '?'
	Headers  Span   // behind '?'
	// The parameters that routing asks for; others by iterator.
	Transport Span
	Maddr     Span
	UserParam Span
	HasLR     bool
	HasUser   bool // an '@' was there
}

// Scheme is a URI scheme that routing tells apart.
type Scheme uint8

const (
	SchemeNone Scheme = iota
	SchemeSIP
	SchemeSIPS
	SchemeTel
	SchemeURN
	SchemeOther
)

// HeaderCount is the number of header lines.
func (m *Message) HeaderCount() int { return int(m.count) }

// HeaderAt returns header line i, 0 <= i < HeaderCount().
func (m *Message) HeaderAt(i int) *Header { return &m.headers[i] }

// Has tells whether a header with that id is there.
func (m *Message) Has(id HeaderID) bool { return m.seen>>(id&63)&1 != 0 }

// First returns the index of the first line with that id, or -1.
func (m *Message) First(id HeaderID) int {
	if !m.Has(id) {
		return -1
	}
	return int(m.first[id&63])
}

// Lines is the number of lines with that id.
func (m *Message) Lines(id HeaderID) int {
	if !m.Has(id) {
		return 0
	}
	return int(m.lines[id&63])
}

// LineSpan is header line i from its first byte up to the next line's first byte (or HeaderEnd),
// so that removing exactly these bytes removes the line.
func (m *Message) LineSpan(i int) Span {
	end := m.HeaderEnd
	if i+1 < int(m.count) {
		end = m.headers[i+1].Name.Off
	}
	off := m.headers[i].Name.Off
	return Span{off, end - off}
}
