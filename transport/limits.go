package transport

const (
	// MaxDatagram is the largest UDP payload there is: the 16-bit length field of UDP.
	MaxDatagram = 65535
	// MaxLoops bounds the event loops; a loop number is a byte in a Flow.
	MaxLoops = 64
	// MaxListeners bounds --listen; more would be a mistake in a script.
	MaxListeners = 64
)
