package tlslayer

import "time"

const (
	// MaxWaiting is how many bytes of ciphertext may wait on one connection: while the worker computes, a peer whose
	// handshake is done on its side may send a whole message of the largest size already, and more in the same segment.
	MaxWaiting = 1<<20 + 1<<17

	// maxRecord is the longest record with its header: 2^14 bytes of plaintext, and 2048 for what TLS 1.2 may add
	// (RFC 5246 section 6.2.3; TLS 1.3 allows 256).
	maxRecord  = headerLen + 1<<14 + 2048
	headerLen  = 5
	firstTaken = 4096 // capacity of a new buffer of the pool: most feeds are one segment or two

	// maxPooled is the largest buffer that goes back to the pool. gnet reads at most 64 KB at once, so that larger ones are rare.
	maxPooled = 1 << 17

	// shareOfCPUs: one in so many CPUs computes handshakes. They come in storms, after an outage above all, and the loops have to go on.
	shareOfCPUs = 2

	// sessions is how many servers' tickets are kept for resumption: the neighbours of an edge, about 2 KB each.
	sessions = 1024

	// maxFile bounds a certificate, key or CA file: the bundle of a whole system is 250 KB.
	maxFile = 8 << 20

	// settle is how long files have to be quiet before they are read: a certificate and its key are written one after the other.
	settle = 500 * time.Millisecond

	// recheck is how often files are read though nobody told of a change: network file systems do not tell.
	recheck = time.Minute

	// expiry is how long before its end a certificate is warned about.
	expiry = 7 * 24 * time.Hour
)
