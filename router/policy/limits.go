package policy

const (
	// maxDigits is the longest telephone number that is looked at: E.164 has 15 digits, and what is dialled has prefixes
	// before them. What is longer is no number here and matches none.
	maxDigits = 32
	// minGlobal and maxGlobal bound the digits of a number that is made E.164 out of a dialled one. 15 is E.164's own bound; the
	// shortest numbers that exist have 7 with their country code. So "112", dialled where 1 is the national prefix, stays 112.
	minGlobal, maxGlobal = 7, 15
	// maxRoutes bounds the routes of a policy; the policy file has the same bound.
	maxRoutes = 4096
	// maxTries bounds the gateways for one request: each takes its response timeout.
	maxTries = 16
	// maxText is the room for one URI that is made here; what does not fit is answered 414.
	maxText = 2 << 10
	// maxLines is the room for the header lines of an answer made here.
	maxLines = 4 << 10
)
