package txn

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// mac runs AES-CBC-MAC over data into l.block, which holds the value so far, all zero at the beginning.
// The last block is padded with zeros.
//
// CBC-MAC is a pseudorandom function as long as no input is a prefix of another (Bellare, Kilian and
// Rogaway, "The Security of the Cipher Block Chaining Message Authentication Code"). So every caller
// puts all lengths that decide how many blocks follow in front of what they describe, and uses a key
// of its own.
func (l *KeyLoop) mac(key cipher.Block, data []byte) {
	x := l.block[:]
	for len(data) >= aes.BlockSize {
		lo := binary.LittleEndian.Uint64(x) ^ binary.LittleEndian.Uint64(data)
		hi := binary.LittleEndian.Uint64(x[8:]) ^ binary.LittleEndian.Uint64(data[8:])
		binary.LittleEndian.PutUint64(x, lo)
		binary.LittleEndian.PutUint64(x[8:], hi)
		key.Encrypt(x, x)
		data = data[aes.BlockSize:]
	}
	if len(data) > 0 {
		for i, c := range data {
			x[i] ^= c
		}
		key.Encrypt(x, x)
	}
}
