package tlslayer

import "net"

// Feed takes in ciphertext that came from the peer. It copies b. The loop calls Read until ErrMore after it.
func (c *Conn) Feed(b []byte) error {
	locked := c.w.lock()
	defer c.w.unlock(locked)
	err := c.w.feed(b)
	switch {
	case !locked || c.w.waits == nil || c.w.left > 0:
	case c.w.front() > 0:
		c.w.waits.fed.Signal()
	default:
		c.w.settle() // nobody has proved anything yet: not a byte more than they sent
	}
	return err
}

// End says that the peer has closed its side of the connection below: nothing more will be fed. A Read past what was fed gives
// io.EOF or, when the peer did not close TLS first, ErrTruncated. SIP frames its messages itself, so a truncated connection
// loses at most the message that was cut.
func (c *Conn) End() {
	locked := c.w.lock()
	defer c.w.unlock(locked)
	c.w.ended = true
	if c.w.waits != nil {
		c.w.waits.fed.Signal()
	}
}

// Read decrypts into dst. It never waits: ErrMore says that what was fed is used up. io.EOF is the peer's close_notify. After any other
// error the connection is of no more use; Out may hold an alert for the peer, and may hold something after any Read.
func (c *Conn) Read(dst []byte) (int, error) {
	switch {
	case !c.w.open.Load():
		return 0, ErrMore
	case c.w.closed:
		return 0, net.ErrClosed
	case !c.more && c.w.front() == 0 && !c.w.ended:
		c.w.settle()
		return 0, ErrMore
	}
	if !c.more {
		c.w.load()
	}
	n, err := c.tls.Read(dst)
	c.more = n > 0 && n == len(dst)
	switch err {
	case nil:
		return n, nil
	case errDry:
		c.w.settle()
		return n, ErrMore
	}
	c.w.drop()
	return n, err
}

// Append encrypts plaintext and appends the ciphertext to dst, behind what Out would have appended. It borrows plaintext.
func (c *Conn) Append(dst, plaintext []byte) ([]byte, error) {
	if !c.w.open.Load() {
		return dst, ErrHandshake
	}
	waiting := c.w.out
	c.w.out = append(dst, waiting...)
	_, err := c.tls.Write(plaintext)
	dst, c.w.out = c.w.out, nil
	return dst, err
}

// Out appends to dst the ciphertext that has to be sent, and forgets it.
func (c *Conn) Out(dst []byte) []byte {
	locked := c.w.lock()
	defer c.w.unlock(locked)
	dst = append(dst, c.w.out...)
	c.w.out = nil
	return dst
}

// Shut ends the connection from our side: Out has the close_notify then, if the handshake was over, and a Handshake under way
// fails. Nothing can be read or appended after it.
func (c *Conn) Shut() {
	if !c.w.open.Load() {
		c.w.Close()
		return
	}
	if !c.w.closed {
		c.tls.CloseWrite()
		c.w.Close()
	}
}

// Partial tells whether the beginning of a record waits for its end. It belongs to the loop, after Handshake and a Read that said
// ErrMore.
func (c *Conn) Partial() bool { return c.w.open.Load() && len(c.w.waiting()) > 0 }
