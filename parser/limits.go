package parser

// The bounds of this package. Each is a verdict when it is passed, never a silent cut.
const (
	// MaxHeaderSection is the largest header section in bytes, start line and the empty line
	// included. Offsets in it are 16 bits, which keeps Message small enough to stay in the first level
	// cache, and no datagram is larger anyway.
	MaxHeaderSection = 65535

	// MaxHeaderLines is how many header lines are indexed. 70 hops (the usual Max-Forwards) with a Via,
	// a Record-Route and a Route line each are 210; the rest is room for extensions.
	MaxHeaderLines = 512

	// MaxLineEnds is how many lines a header section may have when the lines of folded headers are counted one by one: twice
	// MaxHeaderLines. It bounds what the scan notes, and is far more than peers that fold each parameter need.
	MaxLineEnds = 2 * MaxHeaderLines

	// MaxStreamMessage is the default bound of a whole message on a stream, in bytes. It is checked
	// against Content-Length before a byte of the body is waited for.
	MaxStreamMessage = 1 << 20

	// MaxKeepAlive is how many bytes of CRLF in a row a stream may send before a start line. RFC 5626
	// pings with 4; more than this in one piece is a peer that only keeps us busy.
	MaxKeepAlive = 1024

	// MaxEdits bounds the edits of one rendering: the Via, the Request-URI, Max-Forwards and
	// Record-Route need fewer than ten; the rest lets a request shed its own Route lines.
	MaxEdits = 128

	// MaxURI is the longest URI that is taken apart, in bytes. What goes through by its bytes alone may be longer. Request-URIs and Routes of
	// real networks stay below 1 KB; RFC 3261 section 21.4.12 has 414 for more than a server is willing to interpret.
	MaxURI = 8192

	// maxCompared bounds the parameters, and the headers, up to which two URIs are compared each with each.
	maxCompared = 64

	// maxDigits is the longest run of digits that is read as one number; leading zeros are allowed
	// (RFC 4475 section 3.1.1.1 has CSeq 0009), and a longer run is a wrong number, not a wrapped one.
	maxDigits = 20
)
