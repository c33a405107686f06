//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sipedge/transport"
)

// plainRing is what ring has to be like.
type plainRing struct {
	list  [][]byte
	most  int
	bytes int
	limit int
}

func (r *plainRing) put(b []byte) bool {
	if len(r.list) == r.most || r.bytes+len(b) > r.limit {
		return false
	}
	r.list, r.bytes = append(r.list, bytes.Clone(b)), r.bytes+len(b)
	return true
}

func TestRingLikePlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := 1 << rapid.IntRange(1, 4).Draw(t, "messages")
		limit := rapid.IntRange(1, 100).Draw(t, "bytes")
		r, plain := newRing(messages, limit), &plainRing{most: messages, limit: limit}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				b := bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "what"))}, rapid.IntRange(0, 40).Draw(t, "size"))
				to := transport.Flow{Conn: uint32(len(b))}
				if got, want := r.put(&to, b), plain.put(b); got != want {
					t.Fatalf("put of %d bytes says %v, want %v", len(b), got, want)
				}
				clear(b) // it was copied
				continue
			}
			p := r.next()
			if (p == nil) != (len(plain.list) == 0) {
				t.Fatalf("next is %v, want one of %d", p, len(plain.list))
			}
			if p == nil {
				continue
			}
			if want := plain.list[0]; !bytes.Equal(p.b, want) || int(p.to.Conn) != len(want) {
				t.Fatalf("next is %x for %d, want %x", p.b, p.to.Conn, want)
			}
			plain.bytes -= len(plain.list[0])
			plain.list = plain.list[1:]
			r.done()
		}
	})
}

// Many write at once, one reads: nothing is lost, doubled or torn, and each writer's messages stay in order.
func TestRingConcurrent(t *testing.T) {
	r := newRing(64, 1<<20)
	const writers, each = 8, 3000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			b := make([]byte, 64)
			for i := 0; i < each; {
				n := 8 + (i*7+w)%56
				binary.BigEndian.PutUint32(b, uint32(w))
				binary.BigEndian.PutUint32(b[4:], uint32(i))
				for j := 8; j < n; j++ {
					b[j] = byte(i)
				}
				if r.put(&transport.Flow{Gen: uint32(w), Conn: uint32(n)}, b[:n]) {
					i++
				} else {
					runtime.Gosched()
				}
			}
		})
	}
	var next [writers]uint32
	for got := 0; got < writers*each; {
		p := r.next()
		if p == nil {
			runtime.Gosched()
			continue
		}
		w, i := binary.BigEndian.Uint32(p.b), binary.BigEndian.Uint32(p.b[4:])
		if w != p.to.Gen || len(p.b) != int(p.to.Conn) || next[w] != i || bytes.Count(p.b[8:], []byte{byte(i)}) != len(p.b)-8 {
			t.Fatalf("writer %d message %d (want %d): %x", w, i, next[w], p.b)
		}
		next[w]++
		got++
		r.done()
	}
	all.Wait()
	if r.bytes.Load() != 0 || r.next() != nil {
		t.Errorf("%d bytes are left", r.bytes.Load())
	}
}

// Buffers come back with all their room and are counted while they are lent.
func TestBuffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p buffers
		var lent [][]byte
		var want [][]byte
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch i := rapid.IntRange(-1, len(lent)-1).Draw(t, "which"); {
			case i < 0:
				b := make([]byte, rapid.IntRange(1, 9000).Draw(t, "size"))
				lent, want = append(lent, p.grow(nil, b)), append(want, b)
			case rapid.Bool().Draw(t, "grow"):
				more := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 5000).Draw(t, "more"))
				lent[i], want[i] = p.grow(lent[i], more), append(want[i], more...)
			default:
				p.put(lent[i])
				lent[i], want[i] = lent[len(lent)-1], want[len(want)-1]
				lent, want = lent[:len(lent)-1], want[:len(want)-1]
			}
			caps := 0
			for i := range lent {
				if caps += cap(lent[i]); !bytes.Equal(lent[i], want[i]) {
					t.Fatalf("buffer %d has other bytes", i)
				}
			}
			if caps != p.lent || p.kept > buffersKept {
				t.Fatalf("%d lent, want %d; %d kept", p.lent, caps, p.kept)
			}
		}
	})
}
