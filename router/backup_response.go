package router

import (
	"hash/maphash"

	"sipedge/parser"
	"sipedge/router/resolve"
	"sipedge/transport"
)

// A response that found neither its connection nor the address it came from goes where DNS says that its client, or who stands
// in for it, is: RFC 3263 section 5. "If, however, the sent-by field contained a domain name and a port number, the server queries
// for A or AAAA records with that name. It tries to send the response to each element on the resulting list of IP addresses [...]
// If, however, the sent-by field contained a domain name and no port, the server queries for SRV records at that domain name".
//
// Nothing is kept of the attempts: the list has the same order each time for the same response, so that the one that failed says
// which comes next.

// lostResponse is a response that waits for a name.
type lostResponse struct {
	to transport.Flow // where it could not be sent
	b  []byte
}

// backup sends b, which could not be sent by to, to the next place of sent-by's list. It reports whether there is one. asked:
// DNS has been asked already. b may be in the loop's buffer.
func (w *Worker) backup(to *transport.Flow, b []byte, asked bool) bool {
	if w.cfg.Resolver.Lookup == nil || parser.Parse(b, &w.other).Code.Class() == parser.ClassUnreadable {
		return false
	}
	v := &w.other.Via
	if _, literal := parseIP(v.Host.In(b)); literal {
		return false
	}
	q := &w.finder.query
	*q = resolve.ServerQuery(v.Host.In(b), v.Port, to.Proto, w.core.reach)
	q.Hash = maphash.Bytes(w.core.seed, v.Branch.In(b)) | 1
	hops, status := w.cfg.Resolver.Lookup(q, w.finder.hops[:0], w.now)
	if status == resolve.Miss && !asked {
		answer := &Answer{Loop: w.id, lost: &lostResponse{*to, append([]byte(nil), b...)}}
		core := w.core
		return w.cfg.Resolver.Start(*q, func() { core.Answer(answer) })
	}
	next := 0
	for i := range hops {
		if hops[i].Addr == to.Remote {
			next = i + 1
		}
	}
	for ; next < len(hops); next++ {
		f, why := w.core.egress(to, &hops[next])
		if why.status != 0 || f.Proto != to.Proto {
			continue
		}
		if w.loop.Send(f, append(w.loop.Buffer(), b...)) == transport.Queued {
			return true
		}
	}
	return false
}
