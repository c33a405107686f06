// Package overload decides what a proxy turns away when there is too much: of everything, or from one source.
//
// Enters: how far behind a loop is, source addresses, header values, the current Instant.
// Leaves: verdicts: let it in, answer 503, be silent; the oc parameters of RFC 7339 and 7415.
// Never:  parses a message, sends anything, reads a clock, allocates or locks on a loop.
package overload
