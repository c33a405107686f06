package admin

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"sipedge/transport"
)

// metric is one line of a table: a figure of a T and the name that operators know it by. Names stay.
type metric[T any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*T) uint64
}

// table collects the metrics of one or many Ts; each calls show for each T, with its label values.
type table[T any] struct {
	metrics []metric[T]
	descs   []*prometheus.Desc
	each    func(show func(t *T, labels ...string))
}

func newTable[T any](metrics []metric[T], labels []string, each func(show func(t *T, labels ...string))) prometheus.Collector {
	t := &table[T]{metrics: metrics, each: each}
	for _, m := range metrics {
		t.descs = append(t.descs, prometheus.NewDesc("sipedge_"+m.name, m.help, labels, nil))
	}
	return t
}

func (t *table[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range t.descs {
		ch <- d
	}
}

func (t *table[T]) Collect(ch chan<- prometheus.Metric) {
	t.each(func(v *T, labels ...string) {
		for i, m := range t.metrics {
			ch <- prometheus.MustNewConstMetric(t.descs[i], m.kind, float64(m.value(v)), labels...)
		}
	})
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// LoopSource is an engine with event loops; every engine is one.
type LoopSource interface {
	Loops() int
	Stats(loop int) transport.LoopStats
}

// Loops shows what each event loop receives and sends, so that one can see how evenly they share. The loops of the second
// engine are numbered after those of the first.
func Loops(engines ...LoopSource) prometheus.Collector {
	return newTable(loopMetrics, []string{"loop"}, func(show func(*transport.LoopStats, ...string)) {
		n := 0
		for _, e := range engines {
			for i := range e.Loops() {
				s := e.Stats(i)
				show(&s, strconv.Itoa(n))
				n++
			}
		}
	})
}

type loopStats = transport.LoopStats

var loopMetrics = []metric[loopStats]{
	{"loop_packets_in_total", "Datagrams, or messages on connections, received.", counter, func(s *loopStats) uint64 { return s.PacketsIn }},
	{"loop_packets_out_total", "Datagrams, or messages on connections, sent.", counter, func(s *loopStats) uint64 { return s.PacketsOut }},
	{"loop_bytes_in_total", "Bytes received, without IP and UDP headers.", counter, func(s *loopStats) uint64 { return s.BytesIn }},
	{"loop_bytes_out_total", "Bytes sent, without IP and UDP headers.", counter, func(s *loopStats) uint64 { return s.BytesOut }},
	{"loop_batches_total", "Receive calls that brought something.", counter, func(s *loopStats) uint64 { return s.Batches }},
	{"loop_waits_total", "Times the loop slept.", counter, func(s *loopStats) uint64 { return s.Waits }},
	{"loop_send_errors_total", "Datagrams and messages that could not be sent.", counter, func(s *loopStats) uint64 { return s.SendErrors }},
	{"loop_send_dropped_total", "Datagrams and messages given up because a buffer stayed full.", counter, func(s *loopStats) uint64 { return s.SendDropped }},
	{"loop_icmp_errors_total", "ICMP errors received for datagrams sent.", counter, func(s *loopStats) uint64 { return s.ICMPErrors }},
	{"loop_panics_total", "Panics while handling a packet; the packet was lost.", counter, func(s *loopStats) uint64 { return s.Panics }},
	{"loop_receive_dropped_total", "Datagrams lost because a receive buffer was full, as far as seen.", counter, func(s *loopStats) uint64 { return s.ReceiveDropped }},
}

// Build shows which program this is, as a constant 1 with labels.
func Build(version, goVersion string) prometheus.Collector {
	g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sipedge_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": goVersion},
	}, func() float64 { return 1 })
	return g
}
