package batch

// Flush gives everything queued to the kernel now, and not when the batch ends. See transport.Join.
func (l *loop) Flush() { l.flush() }
