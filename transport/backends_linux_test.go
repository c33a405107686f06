package transport_test

import (
	"go.uber.org/goleak"

	"sipedge/transport"
	"sipedge/transport/batch"
)

const steers = true

var backends = []backend{
	{"batch", func(c transport.Config) (transport.Engine, error) { return batch.Open(c) }, true},
}

var leaksOfLibraries = []goleak.Option{}
