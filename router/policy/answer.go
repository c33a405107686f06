package policy

import (
	"fmt"
	"strconv"
	"time"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
)

// answer is config.Answer made ready.
type answer struct {
	code   int
	reason string
	lines  string
}

func newAnswer(a *config.Answer) answer {
	n := answer{code: a.Code, reason: a.Reason}
	if n.reason == "" {
		n.reason = phrases[a.Code]
	}
	if a.RetryAfter > 0 {
		n.lines = fmt.Sprintf("Retry-After: %d\r\n", int(a.RetryAfter/time.Second))
	}
	return n
}

func (a *answer) reject(q *router.Query) router.Verdict {
	q.Status, q.Reason = a.code, a.reason
	q.Lines = append(q.Lines, a.lines...)
	return router.Reject
}

// redirect is config.Redirect made ready.
type redirect struct {
	answer
	to []contact
}

// contact is a URI in two parts, between which the user of the Request-URI belongs, if the URI has none of its own.
type contact struct {
	head, tail string
	user       bool
}

func newRedirect(r *config.Redirect) (redirect, error) {
	n := redirect{answer: answer{code: r.Code, reason: phrases[r.Code]}}
	for i, uri := range r.To {
		var u parser.URI
		b := []byte(uri)
		if parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u).Code != 0 {
			return n, fmt.Errorf("redirect to %q, which is no URI", uri)
		}
		q := ""
		if len(r.To) > 1 {
			// "The "q" parameter indicates a relative preference for the particular Contact header field value", RFC 3261 section
			// 10.2.1.2; sixteen fit into steps of 0.05.
			q = ";q=" + strconv.FormatFloat(1-float64(i)*0.05, 'f', 2, 64)
		}
		c := contact{head: "Contact: <" + uri, tail: ">" + q + "\r\n"}
		if (u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS) && !u.HasUser {
			c = contact{head: "Contact: <" + uri[:u.Host.Off], tail: uri[u.Host.Off:] + ">" + q + "\r\n", user: true}
		}
		n.to = append(n.to, c)
	}
	return n, nil
}

// answer appends the Contacts; what does not fit is left out.
func (r *redirect) redirect(q *router.Query, user []byte) router.Verdict {
	for i := range r.to {
		c := &r.to[i]
		if len(q.Lines)+len(c.head)+len(user)+1+len(c.tail) > cap(q.Lines) {
			break
		}
		q.Lines = append(q.Lines, c.head...)
		if c.user && len(user) > 0 {
			q.Lines = append(q.Lines, user...)
			q.Lines = append(q.Lines, '@')
		}
		q.Lines = append(q.Lines, c.tail...)
	}
	return r.reject(q)
}

// phrases are those of the registry "Response Codes" of IANA's Session Initiation Protocol parameters.
var phrases = map[int]string{
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
	413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
	417: "Unknown Resource-Priority", 420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small",
	423: "Interval Too Brief", 424: "Bad Location Information", 425: "Bad Alert Message", 428: "Use Identity Header",
	429: "Provide Referrer Identity", 430: "Flow Failed", 433: "Anonymity Disallowed", 436: "Bad Identity Info",
	437: "Unsupported Credential", 438: "Invalid Identity Header", 439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded",
	469: "Bad Info Package", 470: "Consent Needed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
	482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
	500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
	505: "Version Not Supported", 513: "Message Too Large", 555: "Push Notification Service Not Supported", 580: "Precondition Failure",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
}
