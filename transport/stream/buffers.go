//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "math/bits"

// buffers lends memory for bytes that have to wait: unfinished and failed messages. It keeps what comes back, so that peers
// that send in small pieces cost no garbage. Owned by one loop.
type buffers struct {
	free [bufferClasses][][]byte
	kept int // bytes in free
	lent int // bytes lent
}

const (
	smallestBuffer = 11 // bits: 2 KiB
	bufferClasses  = 11 // to 2 MiB: the largest message and a read behind it
	buffersKept    = 4 << 20
)

// get lends an empty buffer with room for n bytes.
func (p *buffers) get(n int) (b []byte) {
	class := max(bits.Len(uint(max(n, 1)-1))-smallestBuffer, 0)
	if class >= bufferClasses {
		b = make([]byte, 0, n)
	} else if f := p.free[class]; len(f) > 0 {
		b = f[len(f)-1]
		p.free[class] = f[:len(f)-1]
		p.kept -= cap(b)
	} else {
		b = make([]byte, 0, 1<<(class+smallestBuffer))
	}
	p.lent += cap(b)
	return b
}

// put takes a buffer of get back.
func (p *buffers) put(b []byte) {
	c := cap(b)
	p.lent -= c
	class := bits.Len(uint(c)-1) - smallestBuffer
	if class < 0 || class >= bufferClasses || c != 1<<(class+smallestBuffer) || p.kept+c > buffersKept {
		return
	}
	p.kept += c
	p.free[class] = append(p.free[class], b[:0])
}

// grow appends more to b, a buffer of get or nil, in a larger one where b has no room. It takes b.
func (p *buffers) grow(b, more []byte) []byte {
	if need := len(b) + len(more); need > cap(b) {
		old := b
		b = append(p.get(need), old...)
		if old != nil {
			p.put(old)
		}
	}
	return append(b, more...)
}
