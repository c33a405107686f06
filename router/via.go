package router

import (
	"strconv"

	"sipedge/parser"
	"sipedge/transport"
)

// viaStart is the beginning of a Via line of ours, by transport: RFC 3261 section 20.42, and for WebSocket RFC 7118 section 5.1.
var viaStart = [...]string{
	transport.UDP: "Via: SIP/2.0/UDP ",
	transport.TCP: "Via: SIP/2.0/TCP ",
	transport.TLS: "Via: SIP/2.0/TLS ",
	transport.WS:  "Via: SIP/2.0/WS ",
	transport.WSS: "Via: SIP/2.0/WSS ",
}

const viaBranch = ";branch="

// appendVia appends our Via line for a request that leaves by f, up to the value of its branch parameter.
func (c *Core) appendVia(dst []byte, f *transport.Flow) []byte {
	dst = append(dst, viaStart[f.Proto]...)
	dst = c.appendSentBy(dst, f)
	return append(dst, viaBranch...)
}

// viaProtocol is the transport that a Via value names, 0 for one that is not served here.
func viaProtocol(b []byte, v *parser.Via) transport.Protocol {
	t := v.Transport.In(b)
	for p := transport.UDP; p <= transport.WSS; p++ {
		if start := viaStart[p]; parser.EqualFoldString(t, start[len("Via: SIP/2.0/"):len(start)-1]) {
			return p
		}
	}
	return 0
}

// upstreamFlow is where the responses to a request go: RFC 3261 section 18.2.2 and RFC 3581
// section 4. "If the 'sent-protocol' is a reliable transport protocol such as TCP or SCTP, or TLS over those, the response MUST
// be sent using the existing connection to the source of the original request that created the transaction"; what if it
// is gone, is in lost_response.go. Over UDP:
//
//   - "if the Via header field value contains a 'maddr' parameter, the response MUST be forwarded to the
//     address listed there"; see Config.ViaMaddr
//   - with "rport" and no maddr, to the source address and port
//   - else to the source address and the port of sent-by, 5060 when it has none
//
// They leave from the address and port that the request came to.
func (w *Worker) upstreamFlow(from *transport.Flow, m *parser.Message, b []byte) transport.Flow {
	f := *from
	v := &m.Via
	if w.cfg.ForceRport || f.Proto.Reliable() {
		return f
	}
	if !v.Maddr.Empty() {
		if ip, ok := w.maddr(v, b, &from.Remote.IP); ok {
			f.Remote.IP, f.Remote.Scope = ip, 0
			f.Remote.Port = orDefault(v.Port)
			return f
		}
	}
	if !v.HasRPort {
		f.Remote.Port = orDefault(v.Port)
	}
	return f
}

// maddr is the address in the maddr parameter of v, if it is to be followed for a request that came from source.
func (w *Worker) maddr(v *parser.Via, b []byte, source *[16]byte) (ip [16]byte, ok bool) {
	ip, ok = parseIP(v.Maddr.In(b))
	return ip, ok && (w.cfg.ViaMaddr || ip == *source || isMulticast(&ip))
}

// isMulticast tells 224.0.0.0/4 and ff00::/8.
func isMulticast(ip *[16]byte) bool {
	return ip[0] == 0xff || [12]byte(ip[:12]) == [12]byte{10: 0xff, 11: 0xff} && ip[12]>>4 == 0xe
}

// patchVia adds to w.edits what the server transport adds to the topmost Via of a request that
// came from source, and returns it through the edits:
//
// "If the host portion of the 'sent-by' parameter contains a domain name, or if it contains an IP address
// that differs from the packet source address, the server MUST add a 'received' parameter to that Via
// header field value." RFC 3261 section 18.2.1
//
// "it MUST set the value of the parameter [rport] to the source port of the request. [...] the server
// MUST insert a 'received' parameter [...] even if it is identical to the value of the 'sent-by'
// component." RFC 3581 section 4
//
// A nil source means that all this has been done.
//
// A received or rport value that the sender wrote itself is replaced: it decides where
// responses go.
func (w *Worker) patchVia(m *parser.Message, b []byte, source *transport.Addr) {
	if source == nil {
		return
	}
	v, e := &m.Via, &w.edits
	rport := v.HasRPort || w.cfg.ForceRport || w.tagPort
	received := rport
	if !received {
		ip, literal := parseIP(v.Host.In(b))
		received = !literal || ip != source.IP || !v.Received.Empty()
	}
	if rport && v.HasRPort {
		e.Begin()
		e.Text = append(e.Text, '=')
		e.Text = strconv.AppendUint(e.Text, uint64(source.Port), 10)
		at := v.RPortName.End()
		e.Replace(at, tailOf(at, v.RPort))
	}
	if received && !v.Received.Empty() {
		e.Begin()
		e.Text = appendBareIP(e.Text, &source.IP)
		e.Replace(int(v.Received.Off), int(v.Received.Len))
		received = false
	}
	if !received && (!rport || v.HasRPort) {
		return
	}
	e.Begin()
	if received {
		e.Text = append(e.Text, ";received="...)
		e.Text = appendBareIP(e.Text, &source.IP)
	}
	if rport && !v.HasRPort {
		e.Text = append(e.Text, ";rport="...)
		e.Text = strconv.AppendUint(e.Text, uint64(source.Port), 10)
	}
	e.Insert(v.Value.End())
}

// tailOf is the length from at to the end of s, 0 for an empty s.
func tailOf(at int, s parser.Span) int {
	if s.Empty() {
		return 0
	}
	return s.End() - at
}

// appendBareIP appends an address as the received parameter has it: IPv6 without brackets
// (RFC 3261 section 25.1: via-received = IPv4address / IPv6address).
func appendBareIP(dst []byte, ip *[16]byte) []byte {
	n := len(dst)
	dst = appendHost(dst, ip)
	if dst[n] == '[' {
		copy(dst[n:], dst[n+1:len(dst)-1])
		dst = dst[:len(dst)-2]
	}
	return dst
}

// cutTopVia removes our own Via value from a response: "The proxy removes the topmost Via header
// field value from the response." RFC 3261 section 16.7 step 3. more tells whether another one is left;
// "If no Via header field values remain in the response, the response was meant for this element and
// MUST NOT be forwarded."
func (w *Worker) cutTopVia(m *parser.Message, b []byte) (more bool) {
	v := &m.Via
	if v.LastValue {
		line := m.LineSpan(int(v.Line))
		w.edits.Cut(int(line.Off), int(line.Len))
		return m.Lines(parser.HeaderVia) > 1
	}
	end := v.Value.End()
	for end < len(b) && b[end] != ',' { // LWS in front of the comma
		end++
	}
	end++
	for end < len(b) && (b[end] == ' ' || b[end] == '\t') {
		end++
	}
	w.edits.Cut(int(v.Value.Off), end-int(v.Value.Off))
	return true
}
