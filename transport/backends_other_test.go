//go:build !linux

package transport_test

import (
	"go.uber.org/goleak"

	"sipedge/transport"
	"sipedge/transport/gnetudp"
)

const steers = false

var backends = []backend{
	{"gnetudp", func(c transport.Config) (transport.Engine, error) { return gnetudp.Open(c) }, false},
}

// The goroutine pool that gnet keeps for the life of the process.
var leaksOfLibraries = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
}
