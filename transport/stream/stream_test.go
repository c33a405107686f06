package stream

import (
	"strings"
	"testing"
)

func TestEcho(t *testing.T) {
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0"} {
			r := start(t, tcp(addr), func() *handler { return &handler{receive: echo} })
			p := dial(t, strings.Replace(r.addr(), "0.0.0.0", "127.0.0.1", 1))
			messages := []string{message("one", 0), message("two", 100), message("three", 3000)}
			write(p, messages...)
			p.read(strings.Join(messages, ""))
			r.stop()
		}
	})
}
