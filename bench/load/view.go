//go:build linux

package load

import "bytes"

// Bounds of a view: more of either is counted as wrong, never cut off silently.
const (
	maxVias   = 8
	maxRoutes = 8
)

// view is a received message cut into the parts this generator looks at. It borrows the datagram.
type view struct {
	start   []byte // first line
	status  int    // 0 for a request
	method  byte   // first letter of the CSeq method
	vias    [maxVias][]byte
	nVias   int
	rr      [maxRoutes][]byte
	nRR     int
	routes  [maxRoutes][]byte
	nRoutes int
	from    []byte
	to      []byte
	callID  []byte
	cseq    []byte
	contact []byte
	hops    []byte // Max-Forwards
	body    []byte
	length  int // Content-Length, -1 when there is none
}

// Methods by the first letter of their CSeq, which are distinct among those that are sent here.
const (
	mInvite  = 'I'
	mACK     = 'A'
	mBYE     = 'B'
	mCancel  = 'C'
	mOptions = 'O'
)

// read cuts b up. It returns a reason when b is not a message that a peer of ours could have sent.
func (v *view) read(b []byte) reason {
	v.nVias, v.nRR, v.nRoutes, v.length, v.status = 0, 0, 0, -1, 0
	v.from, v.to, v.callID, v.cseq, v.contact, v.hops = nil, nil, nil, nil, nil, nil
	end := bytes.IndexByte(b, '\n')
	if end < 12 {
		return unreadable
	}
	v.start = b[:end-1]
	if string(b[:8]) == "SIP/2.0 " {
		v.status = decimal(b[8:11])
		if v.status < 100 || v.status > 699 {
			return unreadable
		}
	}
	for i := end + 1; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 1 || b[i+n-1] != '\r' {
			return unreadable
		}
		line := b[i : i+n-1]
		i += n + 1
		if len(line) == 0 {
			v.body = b[i:]
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 {
			return unreadable
		}
		value := trim(line[colon+1:])
		name := trimRight(line[:colon])
		switch name[0] | 0x20 {
		case 'v':
			if isName(name, "via", 'v') && !add(&v.vias, &v.nVias, value) {
				return tooManyVias
			}
		case 'r':
			if isName(name, "record-route", 0) {
				if !add(&v.rr, &v.nRR, value) {
					return tooManyRoutes
				}
			} else if isName(name, "route", 0) && !add(&v.routes, &v.nRoutes, value) {
				return tooManyRoutes
			}
		case 'f':
			if isName(name, "from", 'f') && !once(&v.from, value) {
				return duplicateHeader
			}
		case 't':
			if isName(name, "to", 't') && !once(&v.to, value) {
				return duplicateHeader
			}
		case 'i':
			if len(name) == 1 && !once(&v.callID, value) {
				return duplicateHeader
			}
		case 'm':
			if isName(name, "max-forwards", 0) {
				if !once(&v.hops, value) {
					return duplicateHeader
				}
			} else if len(name) == 1 {
				v.contact = value
			}
		case 'c', 'l':
			switch {
			case isName(name, "call-id", 0):
				if !once(&v.callID, value) {
					return duplicateHeader
				}
			case isName(name, "cseq", 0):
				if !once(&v.cseq, value) {
					return duplicateHeader
				}
			case isName(name, "contact", 0):
				v.contact = value
			case isName(name, "content-length", 'l'):
				v.length = decimal(value)
			}
		}
	}
	if v.nVias == 0 || v.from == nil || v.to == nil || v.callID == nil || v.cseq == nil {
		return missingHeader
	}
	if space := bytes.IndexByte(v.cseq, ' '); space > 0 && space+1 < len(v.cseq) {
		v.method = v.cseq[space+1]
	} else {
		return unreadable
	}
	return fine
}

// add cuts a line into its comma-separated values; a comma between angle brackets or quotes is
// no separator, and nobody in this bench writes one.
func add(to *[maxVias][]byte, n *int, value []byte) bool {
	for {
		if *n == len(to) {
			return false
		}
		comma := bytes.IndexByte(value, ',')
		if comma < 0 {
			to[*n] = value
			*n++
			return true
		}
		to[*n] = trimRight(value[:comma])
		*n++
		value = trim(value[comma+1:])
	}
}

func once(to *[]byte, value []byte) bool {
	if *to != nil {
		return false
	}
	*to = value
	return true
}

// isName reports whether name is long, given in lower case, or the compact form c.
func isName(name []byte, long string, c byte) bool {
	if len(name) == 1 {
		return c != 0 && name[0]|0x20 == c
	}
	if len(name) != len(long) {
		return false
	}
	for i := range name {
		ch := name[i]
		if 'A' <= ch && ch <= 'Z' {
			ch |= 0x20
		}
		if ch != long[i] {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return trimRight(b)
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// decimal reads a short number; -1 when b is none.
func decimal(b []byte) int {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// param returns the value of a parameter of a Via or a URI, and whether it is there at all.
// The name is compared exactly: both ends of this bench write lower case.
func param(b []byte, name string) ([]byte, bool) {
	for {
		semi := bytes.IndexByte(b, ';')
		if semi < 0 {
			return nil, false
		}
		b = b[semi+1:]
		end := bytes.IndexByte(b, ';')
		if end < 0 {
			end = len(b)
		}
		p := b[:end]
		if len(p) >= len(name) && string(p[:len(name)]) == name {
			if len(p) == len(name) {
				return p[len(p):], true
			}
			if p[len(name)] == '=' {
				return p[len(name)+1:], true
			}
		}
	}
}
