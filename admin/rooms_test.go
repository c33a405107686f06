package admin

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sipedge/router"
	"sipedge/router/dialog"
	"sipedge/router/resolve"
	"sipedge/transport/stream"
	"sipedge/txn"
)

// Every figure of the rooms is shown, once.
func TestRoomMetrics(t *testing.T) {
	counters, stats := fill[router.Counters](5000), fill[txn.Stats](7000)
	streams, names := fill[stream.Counters](8000), fill[resolve.Counters](9000)
	load := fill[router.Load](4000)
	calls := dialog.Stats{Live: 6000, Begun: 6001, Confirmed: 6002, Ended: 6003, Expired: 6004, Full: 6005, Refused: 6006, Forgotten: 6007, Busy: 6008}
	s, err := New(func(m string) { t.Error(m) },
		newTable(routerMetrics, nil, func(show func(*router.Counters, ...string)) { show(&counters) }),
		newTable(storeMetrics, nil, func(show func(*txn.Stats, ...string)) { show(&stats) }),
		newTable(streamMetrics, nil, func(show func(*stream.Counters, ...string)) { show(&streams) }),
		newTable(resolverMetrics, nil, func(show func(*resolve.Counters, ...string)) { show(&names) }),
		newTable(loadMetrics, nil, func(show func(*router.Load, ...string)) { show(&load) }),
		newTable(callMetrics, nil, func(show func(*dialog.Stats, ...string)) { show(&calls) }))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, s)
	_, text := get(t, c, "/metrics")
	var ours strings.Builder // the runtime's own numbers may be any
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "sipedge_") {
			ours.WriteString(line)
		}
	}
	shown := func(typ reflect.Type, base int) {
		for i := range typ.NumField() {
			if n := strings.Count(ours.String(), fmt.Sprintf(" %d\n", base+i)); n != 1 {
				t.Errorf("%v.%s is shown %d times", typ, typ.Field(i).Name, n)
			}
		}
	}
	shown(reflect.TypeFor[router.Counters](), 5000)
	shown(reflect.TypeFor[router.Load](), 4000)
	shown(reflect.TypeFor[txn.Stats](), 7000)
	shown(reflect.TypeFor[dialog.Stats](), 6000)
	shown(reflect.TypeFor[stream.Counters](), 8000)
	shown(reflect.TypeFor[resolve.Counters](), 9000)
	for _, want := range []string{"# TYPE sipedge_requests_in_total counter\nsipedge_requests_in_total 5000\n", "# TYPE sipedge_store_contexts gauge\nsipedge_store_contexts 7000\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}
