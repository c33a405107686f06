package txn

// Tokens travel in Via branches and in URI parameters, so their characters must be both a token and a
// paramchar (RFC 3261 section 25.1): letters, digits, '-' and '_' are. They are base64url (RFC 4648
// section 5) without padding, of whole groups of three bytes, so that each token has one spelling.
const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// tokenBytes is what a branch has before it is put into characters, and maxTokenBytes the longest token there is.
const (
	tokenBytes    = 24
	maxTokenBytes = routeFlowHead + flowLong + flowMAC
)

// tokenValues has the value of each character, and badCharacter for what is none.
var tokenValues = func() (values [256]byte) {
	for i := range values {
		values[i] = badCharacter
	}
	for i, c := range []byte(tokenAlphabet) {
		values[c] = byte(i)
	}
	return values
}()

const badCharacter = 0x80

// appendToken appends src in characters. len(src) is a multiple of three.
func appendToken(dst, src []byte) []byte {
	for ; len(src) >= 3; src = src[3:] {
		v := uint(src[0])<<16 | uint(src[1])<<8 | uint(src[2])
		dst = append(dst,
			tokenAlphabet[v>>18&63], tokenAlphabet[v>>12&63], tokenAlphabet[v>>6&63], tokenAlphabet[v&63])
	}
	return dst
}

// readToken fills dst from exactly the characters of src; false if they are of another number or no
// token characters. len(dst) is a multiple of three. Unlike encoding/base64 it makes no error value:
// a flood of forged branches must not allocate either.
func readToken(dst, src []byte) bool {
	if len(src) != len(dst)/3*4 {
		return false
	}
	bad := byte(0)
	for ; len(src) >= 4 && len(dst) >= 3; src, dst = src[4:], dst[3:] {
		a, b, c, d := tokenValues[src[0]], tokenValues[src[1]], tokenValues[src[2]], tokenValues[src[3]]
		bad |= a | b | c | d
		v := uint(a)<<18 | uint(b)<<12 | uint(c)<<6 | uint(d)
		dst[0], dst[1], dst[2] = byte(v>>16), byte(v>>8), byte(v)
	}
	return bad&badCharacter == 0
}
