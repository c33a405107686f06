package transport

// Streams sends messages on connections. Package stream implements it; loops of other engines use it for what does not
// leave by UDP. Safe from any goroutine; never blocks.
type Streams interface {
	// Post copies b, a whole message, onto the bounded queue of the loop that owns the connection. A Flow with Gen 0 names
	// no connection: one with that Remote, protocol and name is used, or made. Failures that show later come to
	// SendFailed of a Handler of the streams, with all of b.
	Post(to Flow, b []byte) Status
}

// Datagrams sends datagrams from outside of the loops that own the sockets. The UDP engines implement it; stream loops use
// it for what leaves by UDP. Safe from any goroutine; never blocks.
type Datagrams interface {
	// SendDatagram sends b by the listener of the flow. It borrows b. why is 0 when the kernel took it or its buffer was
	// full (which is a lost datagram).
	SendDatagram(to Flow, b []byte) (why Failure)
}

// Join makes of a UDP engine's loop one that can send on streams too. What the loop has queued leaves before a message is posted:
// the answer to that comes back by another loop, which does not wait for this one's batch to end, and would overtake the 100
// that came before it.
func Join(l Loop, s Streams) Loop {
	f, _ := l.(flusher)
	return joined{l, s, f}
}

// flusher is a Loop that gathers what it sends.
type flusher interface{ Flush() }

type joined struct {
	Loop
	streams Streams
	flusher // nil: it sends at once
}

func (j joined) Send(to Flow, b []byte) Status {
	if to.Proto == UDP {
		return j.Loop.Send(to, b)
	}
	if j.flusher != nil {
		j.Flush()
	}
	return j.streams.Post(to, b)
}
