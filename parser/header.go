package parser

import "encoding/binary"

// HeaderID is a header that some room asks for by name. All others are HeaderOther and pass through.
// There are at most 64, so that a set of them is one word.
type HeaderID uint8

const (
	HeaderOther HeaderID = iota
	HeaderVia
	HeaderFrom
	HeaderTo
	HeaderCallID
	HeaderCSeq
	HeaderMaxForwards
	HeaderRoute
	HeaderRecordRoute
	HeaderContact
	HeaderContentLength
	HeaderContentType
	HeaderExpires
	HeaderMinExpires
	HeaderRequire
	HeaderProxyRequire
	HeaderSupported
	HeaderUnsupported
	HeaderAllow
	HeaderPath
	HeaderServiceRoute
	HeaderAuthorization
	HeaderProxyAuthorization
	HeaderWWWAuthenticate
	HeaderProxyAuthenticate
	HeaderIdentity
	HeaderPAssertedIdentity
	HeaderPPreferredIdentity
	HeaderPrivacy
	HeaderMaxBreadth
	HeaderWarning
	HeaderRetryAfter
	HeaderTimestamp
	HeaderEvent
	HeaderReason
	HeaderDiversion
	HeaderHistoryInfo
	HeaderRAck
	HeaderRSeq
	HeaderSubject
	HeaderUserAgent
	HeaderServer
	HeaderDate
	HeaderSessionExpires
	HeaderMinSE
	HeaderReferTo
	HeaderReferredBy
	HeaderReplaces
	HeaderAccept
	HeaderContentEncoding
	HeaderContentLanguage
	HeaderContentDisposition
	HeaderAllowEvents
	HeaderAuthenticationInfo
	HeaderProxyAuthenticationInfo
	HeaderAcceptContact
	HeaderRejectContact
	HeaderRequestDisposition
	HeaderResourcePriority
	HeaderSubscriptionState
	HeaderSIPETag
	HeaderSIPIfMatch
	HeaderMIMEVersion
	HeaderUserToUser
	numHeaderIDs
)

// headerNames has the name of each header, and its compact form where one is registered.
var headerNames = [numHeaderIDs]struct {
	long    string
	compact byte
}{
	HeaderVia:                     {"Via", 'v'},
	HeaderFrom:                    {"From", 'f'},
	HeaderTo:                      {"To", 't'},
	HeaderCallID:                  {"Call-ID", 'i'},
	HeaderCSeq:                    {"CSeq", 0},
	HeaderMaxForwards:             {"Max-Forwards", 0},
	HeaderRoute:                   {"Route", 0},
	HeaderRecordRoute:             {"Record-Route", 0},
	HeaderContact:                 {"Contact", 'm'},
	HeaderContentLength:           {"Content-Length", 'l'},
	HeaderContentType:             {"Content-Type", 'c'},
	HeaderExpires:                 {"Expires", 0},
	HeaderMinExpires:              {"Min-Expires", 0},
	HeaderRequire:                 {"Require", 0},
	HeaderProxyRequire:            {"Proxy-Require", 0},
	HeaderSupported:               {"Supported", 'k'},
	HeaderUnsupported:             {"Unsupported", 0},
	HeaderAllow:                   {"Allow", 0},
	HeaderPath:                    {"Path", 0},
	HeaderServiceRoute:            {"Service-Route", 0},
	HeaderAuthorization:           {"Authorization", 0},
	HeaderProxyAuthorization:      {"Proxy-Authorization", 0},
	HeaderWWWAuthenticate:         {"WWW-Authenticate", 0},
	HeaderProxyAuthenticate:       {"Proxy-Authenticate", 0},
	HeaderIdentity:                {"Identity", 'y'},
	HeaderPAssertedIdentity:       {"P-Asserted-Identity", 0},
	HeaderPPreferredIdentity:      {"P-Preferred-Identity", 0},
	HeaderPrivacy:                 {"Privacy", 0},
	HeaderMaxBreadth:              {"Max-Breadth", 0},
	HeaderWarning:                 {"Warning", 0},
	HeaderRetryAfter:              {"Retry-After", 0},
	HeaderTimestamp:               {"Timestamp", 0},
	HeaderEvent:                   {"Event", 'o'},
	HeaderReason:                  {"Reason", 0},
	HeaderDiversion:               {"Diversion", 0},
	HeaderHistoryInfo:             {"History-Info", 0},
	HeaderRAck:                    {"RAck", 0},
	HeaderRSeq:                    {"RSeq", 0},
	HeaderSubject:                 {"Subject", 's'},
	HeaderUserAgent:               {"User-Agent", 0},
	HeaderServer:                  {"Server", 0},
	HeaderDate:                    {"Date", 0},
	HeaderSessionExpires:          {"Session-Expires", 'x'},
	HeaderMinSE:                   {"Min-SE", 0},
	HeaderReferTo:                 {"Refer-To", 'r'},
	HeaderReferredBy:              {"Referred-By", 'b'},
	HeaderReplaces:                {"Replaces", 0},
	HeaderAccept:                  {"Accept", 0},
	HeaderContentEncoding:         {"Content-Encoding", 'e'},
	HeaderContentLanguage:         {"Content-Language", 0},
	HeaderContentDisposition:      {"Content-Disposition", 0},
	HeaderAllowEvents:             {"Allow-Events", 'u'},
	HeaderAuthenticationInfo:      {"Authentication-Info", 0},
	HeaderProxyAuthenticationInfo: {"Proxy-Authentication-Info", 0},
	HeaderAcceptContact:           {"Accept-Contact", 'a'},
	HeaderRejectContact:           {"Reject-Contact", 'j'},
	HeaderRequestDisposition:      {"Request-Disposition", 'd'},
	HeaderResourcePriority:        {"Resource-Priority", 0},
	HeaderSubscriptionState:       {"Subscription-State", 0},
	HeaderSIPETag:                 {"SIP-ETag", 0},
	HeaderSIPIfMatch:              {"SIP-If-Match", 0},
	HeaderMIMEVersion:             {"MIME-Version", 0},
	HeaderUserToUser:              {"User-to-User", 0},
}

// String is the long form of the name; empty for HeaderOther.
func (id HeaderID) String() string {
	if id < numHeaderIDs {
		return headerNames[id].long
	}
	return ""
}

// LookupHeader finds the id of a header name, in long or compact form, in any case.
func LookupHeader(name []byte) HeaderID {
	// The look-up reads the eight bytes in front of the name's end, so it wants eight in front of a
	// short name, and eight from its start.
	var padded [8 + maxKnownName + 8]byte
	if len(name) > maxKnownName {
		return HeaderOther
	}
	copy(padded[8:], name)
	for _, c := range name {
		if !isToken(c) {
			return HeaderOther
		}
	}
	return lookupHeader(padded[:], 8, len(name))
}

// headerKey is one name. A name is told by its length and its last eight bytes: for a name of up to eight that is
// the whole comparison. The first eight are compared too, and in names beyond 16 the rest.
type headerKey struct {
	tail, head, headMask uint64
	length               uint8
	id                   HeaderID
}

const (
	lower8       = 0x2020202020202020
	maxKnownName = 32
	// headerMultiplier was searched for: with it no two known names share a slot.
	headerMultiplier = 0xdc7633f4c85de6a1
)

// headerSlots maps a hash to 1 + an index into headerKeys' used part; 0 is a key that no name equals.
var headerSlots, headerKeys = makeHeaderTable()

func makeHeaderTable() (slots [256]uint8, keys [128]headerKey) {
	n := 1
	add := func(name string, id HeaderID) {
		var padded [8 + maxKnownName + 8]byte
		copy(padded[8:], name)
		tail := nameTail(padded[:], 8, len(name))
		k := headerKey{tail: tail, length: uint8(len(name)), id: id}
		if len(name) > 8 {
			k.head, k.headMask = binary.LittleEndian.Uint64(padded[8:])|lower8, ^uint64(0)
		}
		slot := headerSlot(tail, name[0], len(name))
		if slots[slot] != 0 {
			panic("parser: two header names share a slot")
		}
		slots[slot], keys[n] = uint8(n), k
		n++
	}
	for id, h := range headerNames {
		if h.long != "" {
			add(h.long, HeaderID(id))
		}
		if h.compact != 0 {
			add(string(rune(h.compact)), HeaderID(id))
		}
	}
	return
}

func headerSlot(tail uint64, first byte, n int) uint8 {
	return uint8((tail ^ uint64(n) ^ uint64(first|0x20)<<8) * headerMultiplier >> 56)
}

// nameTail is the last eight bytes of the name b[p:p+n] in lower case, or all of a shorter one.
func nameTail(b []byte, p, n int) uint64 {
	return (binary.LittleEndian.Uint64(b[p+n-8:]) | lower8) >> (uint(8-min(n, 8)) * 8 & 63)
}

// lookupHeader finds the id of the name b[p:p+n], which has only token characters: among them OR 0x20
// makes no letter and no '-' of anything else. There are eight bytes in front of p+n and eight from p on.
func lookupHeader(b []byte, p, n int) HeaderID {
	tail := nameTail(b, p, n)
	k := &headerKeys[headerSlots[headerSlot(tail, b[p], n)]&127]
	head := binary.LittleEndian.Uint64(b[p:]) | lower8
	if k.tail^tail|uint64(int(k.length)^n)|(k.head^head)&k.headMask != 0 {
		return HeaderOther
	}
	if n > 16 && !equalFold(b[p:p+n], headerNames[k.id].long) {
		return HeaderOther
	}
	return k.id
}
