package router

import (
	"sipedge/parser"
	"sipedge/router/resolve"
	"sipedge/transport"
	"sipedge/txn"
)

// Resolver is how the names of next hops are found: the methods of a resolve.Resolver. Without Lookup there is none.
type Resolver struct {
	Lookup func(q *resolve.Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, resolve.Status)
	Start  func(q resolve.Query, done func()) bool
	Block  func(hop *transport.Hop, until transport.Instant)
}

func (w *Worker) named(t *target, b []byte) bool { return false }

func (w *Worker) find(c *txn.ResponseContext, m *parser.Message, b []byte, i int) (found bool, f fault) {
	return true, f
}

func (w *Worker) wait(c *txn.ResponseContext) {}

func (w *Worker) unresolved(c *txn.ResponseContext) {}

func (w *Worker) remember(t *target) {}
