package tlslayer

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"reflect"
	"unsafe"
)

// A tls.Conn keeps, for as long as it lives, what only its handshake or its largest record needed, and has no call to give it back:
//
//	rawInput          the record being read, at the size of the largest one: 35 KB after a full one
//	input             the plaintext of the last record, though all of it was given out
//	hand              handshake messages, 2 to 8 KB
//	peerCertificates  a client's chain, parsed anew for each connection (a server's chain is shared): 2.4 KB for a small certificate, 10 KB and more
//	                  for RSA with an intermediate
//
// So these fields are reached by their offsets, which are looked up by name and type: in a version of Go without them connections only get
// larger. rawInput serves twice: records are decrypted where they were fed, without a copy and without the reader that
// crypto/tls allocates for each.
var (
	rawInputAt = fieldAt[bytes.Buffer]("rawInput")
	inputAt    = fieldAt[bytes.Reader]("input")
	handAt     = fieldAt[bytes.Buffer]("hand")
	peerAt     = fieldAt[[]*x509.Certificate]("peerCertificates")
)

// fieldAt is the offset of a field of tls.Conn; 0, which is that of its first, conn, if there is none of that name and type.
func fieldAt[T any](name string) uintptr {
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[T]() {
		return 0
	}
	return f.Offset
}

// field is nil if there is no such field.
func field[T any](t *tls.Conn, at uintptr) *T {
	if at == 0 {
		return nil
	}
	return (*T)(unsafe.Add(unsafe.Pointer(t), at))
}

// kept is what of a tls.Conn its wire gives back whenever it is dry; nil where there is no such field.
type kept struct {
	raw   *bytes.Buffer
	input *bytes.Reader
}

// release gives back what t, whose handshake is over, needs no more.
func release(t *tls.Conn, client bool) kept {
	if hand := field[bytes.Buffer](t, handAt); hand != nil && hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
	// A client needs the chain again for the tickets that come later.
	if peer := field[[]*x509.Certificate](t, peerAt); peer != nil && !client {
		*peer = nil
	}
	k := kept{field[bytes.Buffer](t, rawInputAt), field[bytes.Reader](t, inputAt)}
	k.release()
	return k
}

func (k *kept) release() {
	if k.raw != nil && k.raw.Len() == 0 {
		*k.raw = bytes.Buffer{}
	}
	if k.input != nil && k.input.Len() == 0 {
		k.input.Reset(nil)
	}
}
