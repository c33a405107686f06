package transport

const (
	// undeliveredKept datagrams that the kernel refused are remembered; a Handler is told of
	// them after every batch, so more at once means that all of a batch fails.
	undeliveredKept = 32
	// undeliveredBytes of each are kept: the topmost Via, which names the transaction, lies inside even behind the
	// longest Request-URI that is forwarded (parser.MaxURI, 8 KiB).
	undeliveredBytes = 9 << 10
)

// Undelivered keeps what a backend could not send until the Handler can be told: the failure
// shows inside a call of the Handler, which is no place to call it again. Owned by one loop.
type Undelivered struct {
	first   int // the oldest one
	n       int
	flows   [undeliveredKept]Flow
	reasons [undeliveredKept]Failure
	sizes   [undeliveredKept]int
	bytes   [undeliveredKept][undeliveredBytes]byte
	current [undeliveredBytes]byte
}

// Any tells whether there is something to report.
func (u *Undelivered) Any() bool { return u.n > 0 }

// Add copies the start of b. When too much is waiting it is forgotten: the transaction's own
// timer then ends it.
func (u *Undelivered) Add(to Flow, b []byte, why Failure) {
	if u.n == undeliveredKept {
		return
	}
	i := (u.first + u.n) % undeliveredKept
	u.flows[i] = to
	u.reasons[i] = why
	u.sizes[i] = copy(u.bytes[i][:], b)
	u.n++
}

// Report tells h of everything added so far, oldest first. What is added meanwhile waits for the
// next Report.
func (u *Undelivered) Report(h Handler, now Instant) {
	for range u.n {
		// Taken off before the call, so that a panic in it does not bring the same one back, and
		// copied, since what the call adds may take its place.
		i := u.first
		u.first = (u.first + 1) % undeliveredKept
		u.n--
		n := copy(u.current[:], u.bytes[i][:u.sizes[i]])
		h.SendFailed(u.flows[i], u.current[:n], u.reasons[i], now)
	}
}
