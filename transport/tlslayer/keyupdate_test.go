package tlslayer

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"sipedge/transport/tlslayer/tlstest"
)

// half is one direction of a TLS 1.3 connection with TLS_AES_128_GCM_SHA256, made from its traffic secret as RFC 8446 section 7.3 says:
// crypto/tls has no call to update keys, so the test does it by hand.
type half struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newHalf(t *testing.T, secret []byte) *half {
	t.Helper()
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	h := &half{secret: secret, iv: expand(t, secret, "iv", 12)}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	return h
}

// expand is HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label+"\x00"...)
	b, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (h *half) next(t *testing.T) *half { return newHalf(t, expand(t, h.secret, "traffic upd", 32)) }

func (h *half) nonce() []byte {
	n := bytes.Clone(h.iv)
	for i := range 8 {
		n[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	return n
}

func (h *half) seal(kind byte, plain []byte) []byte {
	inner := append(bytes.Clone(plain), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+h.aead.Overhead()))
	return h.aead.Seal(head, h.nonce(), inner, bytes.Clone(head))
}

func (h *half) open(t *testing.T, record []byte) (kind byte, plain []byte) {
	t.Helper()
	inner, err := h.aead.Open(nil, h.nonce(), record[5:], record[:5])
	if err != nil {
		t.Fatal(err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	return inner[len(inner)-1], inner[:len(inner)-1]
}

const typeHandshake, typeData = 22, 23

// A key update that asks for ours (RFC 8446 section 4.6.3), cut at each byte, then data under the new keys in both directions.
func TestKeyUpdate(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	for _, step := range []int{1 << 20, 1} {
		var log bytes.Buffer
		s := newSide(t, 1<<20, c.Server)
		client := tls.Client(s.link, &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", KeyLogWriter: &log})
		done := make(chan error, 1)
		go func() { done <- client.Handshake() }()
		if err := s.shake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if id := client.ConnectionState().CipherSuite; id != tls.TLS_AES_128_GCM_SHA256 {
			t.Fatalf("%s was agreed on; this test can only TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(id))
		}
		secrets := map[string][]byte{}
		for line := range strings.Lines(log.String()) {
			f := strings.Fields(line)
			secrets[f[0]], _ = hex.DecodeString(f[2])
		}
		up, down := newHalf(t, secrets["CLIENT_TRAFFIC_SECRET_0"]), newHalf(t, secrets["SERVER_TRAFFIC_SECRET_0"])
		// The tickets that are on their way use up numbers.
		s.link.mu.Lock()
		for b := s.link.toPeer; len(b) > 0; down.seq++ {
			b = b[5+int(binary.BigEndian.Uint16(b[3:])):]
		}
		s.link.mu.Unlock()

		const requested, notRequested = 1, 0
		in := up.seal(typeData, message(100))
		in = append(in, up.seal(typeHandshake, []byte{24, 0, 0, 1, requested})...)
		up = up.next(t)
		in = append(in, up.seal(typeData, message(200))...)
		var got, out []byte
		for len(in) > 0 {
			n := min(step, len(in))
			if err := s.Feed(in[:n]); err != nil {
				t.Fatal(err)
			}
			in = in[n:]
			got = append(got, s.drain(t)...)
		}
		if string(got) != string(message(100))+string(message(200)) {
			t.Errorf("read %q", got)
		}
		// Whether it is taken by Out or not, what the layer itself has to say goes before what is appended.
		if step == 1 {
			out = s.Out(out)
		}
		out, err := s.Append(out, message(300))
		if err != nil {
			t.Fatal(err)
		}
		n := headerLen + int(binary.BigEndian.Uint16(out[3:]))
		kind, plain := down.open(t, out[:n])
		if kind != typeHandshake || !bytes.Equal(plain, []byte{24, 0, 0, 1, notRequested}) {
			t.Errorf("answered by %d %x", kind, plain)
		}
		down = down.next(t)
		if kind, plain := down.open(t, out[n:]); kind != typeData || !bytes.Equal(plain, message(300)) {
			t.Errorf("sent %d %q", kind, plain)
		}
		s.holdsNothing()
	}
}

// In a version of Go whose tls.Conn has other fields, everything works as before, only with more memory.
func TestWithoutRelease(t *testing.T) {
	if rawInputAt == 0 || inputAt == 0 || handAt == 0 || peerAt == 0 {
		t.Error("this version of Go has other fields in tls.Conn: idle connections take more memory; see release.go")
	}
	raw, input, hand, peer := rawInputAt, inputAt, handAt, peerAt
	defer func() { rawInputAt, inputAt, handAt, peerAt = raw, input, hand, peer }()
	rawInputAt, inputAt, handAt, peerAt = 0, 0, 0, 0
	if got := fieldAt[[]byte]("rawInput"); got != 0 {
		t.Error("a field of another type was found")
	}
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	each(t, func(t *testing.T, version uint16, piece int) {
		s := newSide(t, piece, c.Server)
		done := peerOf(tls.Client(s.link, &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", MaxVersion: version}), echoes)
		if err := s.shake(); err != nil {
			t.Fatal(err)
		}
		serveEcho(t, s)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
