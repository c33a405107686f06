package tlslayer

// Partial tells whether the beginning of a record waits for its end. It belongs to the loop, after Handshake and a Read that said ErrMore.
func (c *Conn) Partial() bool { return c.open.Load() && len(c.waiting()) > 0 }
