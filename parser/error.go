package parser

// Error is a verdict: what is wrong and where. The zero Error means that nothing is.
type Error struct {
	Code ErrorCode
	Off  uint32 // offset into the parsed bytes; where something is missing, the place where it was looked for
}

// ErrorCode says what is wrong.
type ErrorCode uint8

// Class says what can be done about it.
type Class uint8

const (
	// ClassFine means no fault.
	ClassFine Class = iota
	// ClassUnreadable means that the message cannot be answered: it is dropped.
	ClassUnreadable
	// ClassAnswerable means that the header section is indexed and enough is known for an answer. A
	// response or an ACK is never answered; it is dropped.
	ClassAnswerable
)

const (
	// ErrNone is no fault.
	ErrNone ErrorCode = iota

	// The unreadable ones.

	ErrEmpty             // no start line: nothing there, or only line ends
	ErrStartLine         // neither a request line nor a status line
	ErrStatus            // a status line whose code is not 100 to 699
	ErrResponseVersion   // a status line with another SIP-Version: nobody waits for an answer to a response
	ErrNoHeaderEnd       // no empty line ends the header section
	ErrHeaderSectionSize // header section larger than MaxHeaderSection
	ErrHeaderLines       // more than MaxHeaderLines lines
	ErrStartLineControl  // a bare CR, a bare LF or a NUL in the start line
	ErrCopiedControl     // the same in a header that an answer would have to copy
	ErrNoVia             // no Via: there is nowhere to send an answer
	ErrVia               // sent-protocol or sent-by of the topmost Via cannot be read: the same
	ErrKeepAliveFlood    // stream: more than MaxKeepAlive bytes of line ends in a row

	// The answerable ones.

	ErrVersion                // SIP-Version is not 2.0
	ErrRequestLine            // method and SIP-Version are there, but something else is wrong in the request line
	ErrRequestURI             // the Request-URI cannot be read
	ErrRequestURISize         // the Request-URI is longer than MaxURI
	ErrHeaderLine             // a header line without a name or without a colon
	ErrBareCR                 // CR without LF in a header section
	ErrBareLF                 // LF without CR in a header section
	ErrNUL                    // NUL in a header section, other than as a quoted-pair
	ErrViaParams              // a parameter of the topmost Via
	ErrNoFrom                 // mandatory header missing
	ErrNoTo                   // mandatory header missing
	ErrNoCallID               // mandatory header missing
	ErrNoCSeq                 // mandatory header missing
	ErrDuplicate              // a second line of a header that stands once
	ErrFrom                   // value cannot be read
	ErrTo                     // value cannot be read
	ErrCallID                 // empty
	ErrCSeq                   // value cannot be read
	ErrCSeqNumber             // number larger than 2^32 - 1
	ErrCSeqMethod             // method of the CSeq is not that of the request line
	ErrMaxForwards            // not a number from 0 to 255
	ErrRoute                  // the topmost Route cannot be read
	ErrContact                // the first Contact cannot be read
	ErrContentLength          // not a number
	ErrContentLengthRange     // a number that no message can have
	ErrDuplicateContentLength // two Content-Length lines: the framing is not known, even if they agree
	ErrNoContentLength        // stream: no Content-Length (RFC 3261 section 18.3)
	ErrBodyTruncated          // datagram: ends before the body does
	ErrMessageSize            // stream: larger than the bound
	ErrList                   // a malformed list of values
	ErrParam                  // a malformed parameter
	ErrAddress                // a malformed name-addr or addr-spec
	ErrURI                    // a malformed URI

	numErrorCodes
)

// Class tells apart what can be answered and what cannot.
func (c ErrorCode) Class() Class {
	switch {
	case c == ErrNone:
		return ClassFine
	case c < ErrVersion:
		return ClassUnreadable
	}
	return ClassAnswerable
}

// Class is that of the code.
func (e Error) Class() Class { return e.Code.Class() }

// Status is the status code that suits an answer (RFC 3261 section 21), 0 where there is none to give.
func (c ErrorCode) Status() uint16 {
	switch c.Class() {
	case ClassFine, ClassUnreadable:
		return 0
	}
	switch c {
	case ErrVersion:
		return 505 // "The server does not support ... the SIP protocol version", section 21.5.6
	case ErrRequestURISize:
		return 414 // Request-URI Too Long, section 21.4.12
	case ErrMessageSize, ErrContentLengthRange:
		return 513 // Message Too Large, section 21.5.7
	}
	return 400
}
