package main

import (
	"crypto/sha256"
	"io"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sipedge/config"
)

// newLog writes to w, which must be safe for concurrent use, as the configuration says. Of equal messages in a second it
// keeps the first hundred and then every hundredth, so that a flood of anything cannot fill a disk.
func newLog(cfg *config.Config, w io.Writer) *zap.Logger {
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey = "time"
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(ec)
	if cfg.LogFormat == config.LogText {
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		ec.ConsoleSeparator = " "
		encoder = zapcore.NewConsoleEncoder(ec)
	}
	var level zapcore.Level
	switch cfg.LogLevel {
	case config.LogDebug:
		level = zapcore.DebugLevel
	case config.LogInfo:
		level = zapcore.InfoLevel
	case config.LogWarn:
		level = zapcore.WarnLevel
	case config.LogError:
		level = zapcore.ErrorLevel
	}
	core := zapcore.NewCore(encoder, zapcore.AddSync(w), level)
	return zap.New(zapcore.NewSamplerWithOptions(core, time.Second, 100, 100))
}

const (
	// panicQueue reports at most wait to be written; the counters know of the others.
	panicQueue = 16
	// panicKinds different panics at most are written in the life of a process.
	panicKinds = 32
	// panicPacket is how much of the packet is shown: enough to make a test of it.
	panicPacket = 4096
)

// panicLog writes each kind of panic once, off the loops. Kinds differ by their stack.
type panicLog struct {
	log    *zap.Logger
	queue  chan panicReport
	done   chan struct{}
	closed sync.Once
}

type panicReport struct {
	loop   int
	what   any
	stack  []byte
	packet []byte
}

func newPanicLog(log *zap.Logger) *panicLog {
	p := &panicLog{log: log, queue: make(chan panicReport, panicQueue), done: make(chan struct{})}
	go p.run()
	return p
}

// report takes stack and packet. It never blocks; a loop calls it.
func (p *panicLog) report(loop int, what any, stack []byte, packet []byte) {
	select {
	case p.queue <- panicReport{loop, what, stack, packet}:
	default:
	}
}

func (p *panicLog) run() {
	defer close(p.done)
	seen := map[[sha256.Size]byte]bool{}
	for r := range p.queue {
		kind := sha256.Sum256([]byte(stackKind(r.stack)))
		if seen[kind] || len(seen) == panicKinds {
			continue
		}
		seen[kind] = true
		packet := r.packet[:min(len(r.packet), panicPacket)]
		p.log.Error("panic while handling a packet; this is a defect, please report it. Each kind is shown once, the counter sipedge_loop_panics_total has them all",
			zap.Int("loop", r.loop), zap.Any("panic", r.what), zap.ByteString("stack", r.stack), zap.ByteString("packet", packet))
	}
}

// stackKind is the stack without what differs from time to time: goroutine numbers, arguments, offsets.
func stackKind(stack []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(stack)) {
		if file, ok := strings.CutPrefix(line, "\t"); ok {
			place, _, _ := strings.Cut(file, " ")
			b.WriteString(place)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// close writes what waits. No report may come any more.
func (p *panicLog) close() {
	p.closed.Do(func() { close(p.queue) })
	<-p.done
}
