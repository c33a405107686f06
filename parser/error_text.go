package parser

import "strconv"

// String is the fault in words, for logs and tests; the hot path does not call it.
func (c ErrorCode) String() string {
	if int(c) < len(errorText) && errorText[c] != "" {
		return errorText[c]
	}
	return "fault " + strconv.Itoa(int(c))
}

// String is the fault and its place in words.
func (e Error) String() string {
	if e.Code == ErrNone {
		return errorText[ErrNone]
	}
	return e.Code.String() + " at offset " + strconv.FormatUint(uint64(e.Off), 10)
}

var errorText = [numErrorCodes]string{
	ErrNone:                   "fine",
	ErrEmpty:                  "no start line",
	ErrStartLine:              "start line is not SIP",
	ErrStatus:                 "status code out of range",
	ErrResponseVersion:        "response with an unknown SIP version",
	ErrNoHeaderEnd:            "header section has no end",
	ErrHeaderSectionSize:      "header section too large",
	ErrHeaderLines:            "too many header lines",
	ErrStartLineControl:       "bare CR, bare LF or NUL in the start line",
	ErrCopiedControl:          "bare CR, bare LF or NUL in a header that a response copies",
	ErrNoVia:                  "no Via",
	ErrVia:                    "malformed Via",
	ErrKeepAliveFlood:         "too many line ends before a message",
	ErrVersion:                "unknown SIP version",
	ErrRequestLine:            "malformed request line",
	ErrRequestURI:             "malformed Request-URI",
	ErrRequestURISize:         "Request-URI too long",
	ErrHeaderLine:             "header line without name or colon",
	ErrBareCR:                 "bare CR in a header",
	ErrBareLF:                 "bare LF in a header",
	ErrNUL:                    "NUL in a header",
	ErrViaParams:              "malformed Via parameter",
	ErrNoFrom:                 "no From",
	ErrNoTo:                   "no To",
	ErrNoCallID:               "no Call-ID",
	ErrNoCSeq:                 "no CSeq",
	ErrDuplicate:              "header that stands once stands twice",
	ErrFrom:                   "malformed From",
	ErrTo:                     "malformed To",
	ErrCallID:                 "empty Call-ID",
	ErrCSeq:                   "malformed CSeq",
	ErrCSeqNumber:             "CSeq number out of range",
	ErrCSeqMethod:             "CSeq method is not the request's",
	ErrMaxForwards:            "malformed Max-Forwards",
	ErrRoute:                  "malformed Route",
	ErrContact:                "malformed Contact",
	ErrContentLength:          "malformed Content-Length",
	ErrContentLengthRange:     "Content-Length out of range",
	ErrDuplicateContentLength: "two Content-Length headers",
	ErrNoContentLength:        "no Content-Length on a stream",
	ErrBodyTruncated:          "body shorter than Content-Length",
	ErrMessageSize:            "message too large",
	ErrList:                   "malformed list",
	ErrParam:                  "malformed parameter",
	ErrAddress:                "malformed address",
	ErrURI:                    "malformed URI",
}
