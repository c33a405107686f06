package router

import "sipedge/parser"

// The statuses that this proxy gives by itself, with RFC 3261 section 21's phrases.
const (
	statusTrying             = 100
	statusOK                 = 200
	statusBadRequest         = 400
	statusForbidden          = 403
	statusNotFound           = 404
	statusMethodNotAllowed   = 405
	statusRequestTimeout     = 408
	statusUnsupportedScheme  = 416
	statusBadExtension       = 420
	statusFlowFailed         = 430
	statusBreadthExceeded    = 440
	statusTemporarily        = 480
	statusLoopDetected       = 482
	statusTooManyHops        = 483
	statusRequestTerminated  = 487
	statusServerError        = 500
	statusUnavailable        = 503
	statusServerTimeout      = 504
	statusVersionUnsupported = 505
)

// reason is the reason phrase of a status, as IANA lists it. Statuses of other origin get the phrase of
// their class.
func reason(status int) string {
	switch status {
	case statusTrying:
		return "Trying"
	case statusOK:
		return "OK"
	case statusBadRequest:
		return "Bad Request"
	case statusForbidden:
		return "Forbidden"
	case statusNotFound:
		return "Not Found"
	case statusMethodNotAllowed:
		return "Method Not Allowed"
	case statusRequestTimeout:
		return "Request Timeout"
	case 413:
		return "Request Entity Too Large"
	case 414:
		return "Request-URI Too Long"
	case statusUnsupportedScheme:
		return "Unsupported URI Scheme"
	case statusBadExtension:
		return "Bad Extension"
	case statusBreadthExceeded:
		return "Max-Breadth Exceeded"
	case statusFlowFailed:
		return "Flow Failed"
	case statusTemporarily:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case statusLoopDetected:
		return "Loop Detected"
	case statusTooManyHops:
		return "Too Many Hops"
	case statusRequestTerminated:
		return "Request Terminated"
	case statusServerError:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case statusUnavailable:
		return "Service Unavailable"
	case statusServerTimeout:
		return "Server Time-out"
	case statusVersionUnsupported:
		return "Version Not Supported"
	case 513:
		return "Message Too Large"
	case 603:
		return "Decline"
	}
	switch {
	case status < 300:
		return "OK"
	case status < 400:
		return "Redirected"
	case status < 500:
		return "Request Failed"
	case status < 600:
		return "Server Failure"
	}
	return "Global Failure"
}

// fault is why a request is answered by us instead of being forwarded. The zero fault is none.
type fault struct {
	status int
	why    cause
}

// said is what a decision wants in the answer that it gives.
type said struct {
	reason string
	lines  []byte
}

// cause adds to a status what its response says besides.
type cause uint8

const (
	noCause           cause = iota
	causeName               // Warning: the next hop is a name
	causeTransport          // Warning: the next hop wants a transport that we do not speak
	causeFamily             // Warning: no listener of the next hop's address family
	causeConnection         // Warning: the next hop has to connect to us, and has not
	causeNotSIPS            // Warning 380: SIPS cannot be kept to (RFC 5630 section 5.3)
	causeSIPSRequired       // Warning 381: the target wants TLS, which cannot be had (RFC 5630 section 5.3)
	causeBusy               // Retry-After
	causeExtensions         // Unsupported, from Proxy-Require
	causeRequire            // Unsupported, from Require
	causeMethod             // Allow
	causeFull               // Retry-After: no room at any gateway
	causeUnknown            // Warning: the name of the next hop cannot be found
	causeSaid               // what a decision has said: Worker.said
	causeOverload           // Retry-After, its value as in Worker.shed
)

// appendCause appends the header lines that belong to why.
func (w *Worker) appendCause(dst []byte, why cause, m *parser.Message, b []byte) []byte {
	switch why {
	case causeName:
		return w.appendWarning(dst, "the next hop is a name, and names are not looked up here")
	case causeTransport:
		return w.appendWarning(dst, "the next hop asks for a transport that is not served here")
	case causeFamily:
		return w.appendWarning(dst, "no listener has the address family of the next hop")
	case causeConnection:
		return w.appendWarning(dst, "the next hop is reached by a connection of its own making only, and there is none")
	case causeNotSIPS:
		return w.appendWarningCode(dst, "380", "SIPS Not Allowed")
	case causeSIPSRequired:
		return w.appendWarningCode(dst, "381", "SIPS Required")
	case causeUnknown:
		return w.appendWarning(dst, "the name of the next hop cannot be found")
	case causeBusy, causeFull:
		return append(dst, "Retry-After: "+retryAfter+"\r\n"...)
	case causeSaid:
		return append(dst, w.said.lines...)
	case causeOverload:
		return w.appendRefusal(dst)
	case causeExtensions:
		// "The response MUST include an Unsupported (Section 20.40) header field listing those option-tags the element did
		// not understand." RFC 3261 section 16.3 step 5; we understand none that concern a proxy.
		return appendUnsupported(dst, m, b, parser.HeaderProxyRequire)
	case causeRequire:
		return appendUnsupported(dst, m, b, parser.HeaderRequire)
	case causeMethod:
		// Not in a 200 to OPTIONS: "If the response is generated by a proxy, the Allow header field SHOULD be
		// omitted as it is ambiguous since a proxy is method agnostic." RFC 3261 section 11.2
		return append(dst, "Allow: OPTIONS\r\n"...)
	}
	return dst
}

// appendUnsupported appends an Unsupported with the option-tags of header id.
func appendUnsupported(dst []byte, m *parser.Message, b []byte, id parser.HeaderID) []byte {
	dst = append(dst, "Unsupported: "...)
	vs := m.Values(b, id)
	for n := 0; ; n++ {
		v, _, ok := vs.Next()
		if !ok {
			return append(dst, "\r\n"...)
		}
		if n > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, v.In(b)...)
	}
}

// appendWarning appends a Warning of the miscellaneous kind (RFC 3261 section 20.43).
func (w *Worker) appendWarning(dst []byte, text string) []byte {
	return w.appendWarningCode(dst, "399", text)
}

func (w *Worker) appendWarningCode(dst []byte, code, text string) []byte {
	dst = append(dst, "Warning: "...)
	dst = append(dst, code...)
	dst = append(dst, ' ')
	if s := w.core.listeners[0].sentBy; s != nil {
		dst = append(dst, s...)
	} else {
		dst = append(dst, "sipedge"...)
	}
	dst = append(dst, " \""...)
	dst = append(dst, text...)
	return append(dst, "\"\r\n"...)
}
