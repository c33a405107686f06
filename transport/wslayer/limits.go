package wslayer

const (
	// MaxUpgrade bounds the upgrade request in bytes. Browsers send 500 to 1,000 and whatever cookies the page's domain has, 4 KB each at most; web servers
	// refuse more than 8 KB of header too.
	MaxUpgrade = 8192

	// maxOverhead is how many bytes beyond the limit of a message its fragments may take with their headers and the control frames between
	// them, all of which wait in the caller's buffer: 8,000 fragments, or 500 pings.
	maxOverhead = 1 << 16

	// maxControl is the longest payload of a control frame. RFC 6455 section 5.5.
	maxControl = 125

	// mostLimit is the largest Rules.Limit that counts: lengths and the overhead fit in 32 bits.
	mostLimit = 1 << 30
)
