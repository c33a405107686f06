package transport_test

import (
	"go.uber.org/goleak"

	"sipedge/transport"
	"sipedge/transport/batch"
	"sipedge/transport/gnetudp"
)

const steers = true

var backends = []backend{
	{"batch", func(c transport.Config) (transport.Engine, error) { return batch.Open(c) }, true},
	{"gnetudp", func(c transport.Config) (transport.Engine, error) { return gnetudp.Open(c) }, false},
}

// The goroutine pool that gnet keeps for the life of the process.
var leaksOfLibraries = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
	goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
}
