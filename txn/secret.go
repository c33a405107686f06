package txn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"sipedge/parser"
)

// Keys are what one master secret is good for. Each purpose has a key of its own, derived by
// HKDF-SHA256 (RFC 5869) with the purpose as its info, so that no output of one can pass for another.
// What was issued under the previous master secret is still accepted; new things are issued under the
// current one. Safe for concurrent use: nothing in it changes.
type Keys struct {
	accepted []issuers // current first, then the previous one if there is one
	table    [2]uint64
	loop     uint64
}

// issuers are the keys under which something is issued that comes back later and is then believed.
type issuers struct {
	branch    cipher.Block // branch.go
	stateless cipher.Block // stateless_branch.go
	received  uint64       // the seed of a hash in there
	route     cipher.Block // route_token.go
	flow      cipher.Block // flow_token.go
}

// minSecret is the shortest master secret, bytes. HKDF stretches length, not entropy.
const minSecret = 16

// NewKeys derives the keys; it copies. previous is the master secret before the last change, or nil.
//
// The seeds of the transaction table come from the current secret alone: they are never seen
// outside, and a process must not change them while it has transactions.
func NewKeys(current, previous []byte) (*Keys, error) {
	k := new(Keys)
	for i, secret := range [][]byte{current, previous} {
		if i > 0 && len(secret) == 0 {
			continue
		}
		if len(secret) < minSecret {
			return nil, fmt.Errorf("txn: a master secret of %d bytes; give at least %d", len(secret), minSecret)
		}
		in, err := newIssuers(secret)
		if err != nil {
			return nil, err
		}
		k.accepted = append(k.accepted, in)
	}
	seeds, err := derive(current, "transaction table and loop hash", 24)
	if err != nil {
		return nil, err
	}
	k.table[0] = binary.LittleEndian.Uint64(seeds)
	k.table[1] = binary.LittleEndian.Uint64(seeds[8:])
	k.loop = binary.LittleEndian.Uint64(seeds[16:])
	return k, nil
}

func newIssuers(secret []byte) (in issuers, err error) {
	for _, p := range []struct {
		purpose string
		to      *cipher.Block
	}{
		{"branch", &in.branch},
		{"stateless branch", &in.stateless},
		{"route token", &in.route},
		{"flow token", &in.flow},
	} {
		key, err := derive(secret, p.purpose, 16)
		if err != nil {
			return in, err
		}
		if *p.to, err = aes.NewCipher(key); err != nil {
			return in, fmt.Errorf("txn: key for %s: %w", p.purpose, err)
		}
	}
	seed, err := derive(secret, "received branch", 8)
	if err != nil {
		return in, err
	}
	in.received = binary.LittleEndian.Uint64(seed)
	return in, nil
}

func derive(secret []byte, purpose string, n int) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "sipedge "+purpose, n)
	if err != nil {
		return nil, fmt.Errorf("txn: key for %s: %w", purpose, err)
	}
	return key, nil
}

// KeyLoop is Keys with the working memory of one loop, so that nothing on the packet path
// allocates: what goes through the cipher.Block interface would escape if it were a local variable. Owned by one loop.
type KeyLoop struct {
	Keys
	block   [aes.BlockSize]byte // in and out of the cipher, chained in mac
	token   [maxTokenBytes]byte // a token taken out of its characters, or before it is put into them
	refusal [8]byte             // local_tag.go
	buf     []byte              // fields in a row, before they are hashed; see scratch
}

// Local makes the working memory of one loop.
func (k *Keys) Local() *KeyLoop {
	return &KeyLoop{Keys: *k, buf: make([]byte, 0, maxScratch), refusal: refusalMark(k.loop)}
}

// maxScratch is what the fields of one message take in a row: the whole header section at most, since
// no byte of it is taken twice, the length in front of each, and room to overshoot. Pages that no
// message reaches stay untouched and cost nothing.
const maxScratch = parser.MaxHeaderSection + 2*(parser.MaxHeaderLines+16) + 64
