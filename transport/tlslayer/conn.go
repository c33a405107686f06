package tlslayer

import "net"

// Feed takes in ciphertext that came from the peer. It copies b. The loop calls Read until ErrMore after it.
func (c *Conn) Feed(b []byte) error {
	locked := c.lock()
	defer c.unlock(locked)
	err := c.feed(b)
	if locked && c.waits != nil && c.front() > 0 {
		c.waits.fed.Signal()
	}
	return err
}

// End says that the peer has closed its side of the connection below: nothing more will be fed. A Read past what was fed gives
// io.EOF or, when the peer did not close TLS first, ErrTruncated. SIP frames its messages itself, so a truncated connection
// loses at most the message that was cut.
func (c *Conn) End() {
	locked := c.lock()
	defer c.unlock(locked)
	c.ended = true
	if c.waits != nil {
		c.waits.fed.Signal()
	}
}

// Read decrypts into dst. It never waits: ErrMore says that what was fed is used up. io.EOF is the peer's close_notify. After any other
// error the connection is of no more use; Out may hold an alert for the peer, and may hold something after any Read.
func (c *Conn) Read(dst []byte) (int, error) {
	switch {
	case !c.open.Load():
		return 0, ErrMore
	case c.closed:
		return 0, net.ErrClosed
	case !c.more && c.front() == 0 && !c.ended:
		c.settle()
		return 0, ErrMore
	}
	if !c.more {
		c.load()
	}
	n, err := c.tls.Read(dst)
	c.more = n > 0 && n == len(dst)
	switch err {
	case nil:
		return n, nil
	case errDry:
		c.settle()
		return n, ErrMore
	}
	c.drop()
	return n, err
}

// Append encrypts plaintext and appends the ciphertext to dst, behind what Out would have appended. It borrows plaintext.
func (c *Conn) Append(dst, plaintext []byte) ([]byte, error) {
	if !c.open.Load() {
		return dst, ErrHandshake
	}
	waiting := c.out
	c.out = append(dst, waiting...)
	_, err := c.tls.Write(plaintext)
	dst, c.out = c.out, nil
	return dst, err
}

// Out appends to dst the ciphertext that has to be sent, and forgets it.
func (c *Conn) Out(dst []byte) []byte {
	locked := c.lock()
	defer c.unlock(locked)
	dst = append(dst, c.out...)
	c.out = nil
	return dst
}

// Shut ends the connection from our side: Out has the close_notify then, if the handshake was over, and a Handshake under way
// fails. Nothing can be read or appended after it.
func (c *Conn) Shut() {
	if !c.open.Load() {
		c.Close()
		return
	}
	if !c.closed {
		c.tls.CloseWrite()
		c.Close()
	}
}
