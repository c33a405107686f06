//go:build linux

package load

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of what a call keeps of a proxy's headers. A message with more is counted as wrong.
const (
	keptVias   = 640
	keptRoutes = 512
)

// call is both ends of one call. Owned by the generator's goroutine.
type call struct {
	gen, slot            uint32
	uac, uas             state
	style                uint8
	uacSocket, uasSocket uint8
	deep                 bool // compare byte for byte
	acked                bool
	cancelled            bool

	token           [16]byte
	fromTag, toTag  [10]byte
	caller, callee  [8]byte
	started, giveUp int64 // nanoseconds since the run began; giveUp 0: never
	uacDue, uacGap  int64 // when the caller does something by itself, and the gap before that
	uasDue, uasGap  int64
	nextLook        int64 // the earliest wheel entry known to be in the wheel
	source          sockaddr
	next            sockaddr // where in-dialog requests go
	viasLen         uint16
	recordLen       uint16
	routeLen        uint16
	vias            [keptVias]byte   // Via lines of the INVITE, for responses that leave later
	record, route   [keptRoutes]byte // Record-Route lines of the INVITE; Route lines of our requests
}

// state of either end.
type state uint8

const (
	idle state = iota
	// caller
	calling    // INVITE or OPTIONS sent, nothing heard
	proceeding // a provisional response came
	talking    // 200 came, ACK sent
	leaving    // BYE sent
	cancelling // CANCEL sent
	// called party
	ringing   // 180 sent
	answered  // 200 sent, no ACK yet
	confirmed // ACK came
	rejected  // 487 sent, no ACK yet
	ended     // BYE answered
)

// Gate lets a Ring load be watched while its calls are pending.
type Gate struct {
	Pending func()      // called once, when all calls ring
	release atomic.Bool // set by Release
}

// Release lets the ringing calls finish. Safe from any goroutine.
func (gate *Gate) Release() { gate.release.Store(true) }

type generator struct {
	Config
	uac, uas    []*socket
	targets     []string
	proxy       sockaddr
	styles      []*style
	startInvite template
	startDialog [2]template // ACK, BYE
	startOther  [2]template // CANCEL and ACK for 487; OPTIONS

	calls   []call
	free    []uint32
	alive   int
	salt    uint64
	wheel   wheel
	epoch   time.Time
	now     int64
	v       view
	vias    []byte // Via lines of the request being answered
	scratch []byte
	random  *rand.Rand

	inviteRinging int // Ring: calls that have heard 180
	gate          *Gate
	opened        bool // the gate was opened: pending calls are being finished
	finishAt      int64
	finishNext    int
	starting      bool // units are still being started
	sustained     uint64

	res    Result
	setup  histogram
	refuse [700]uint64
	wrong  [numReasons]uint64
}

// Run places the load that cfg describes and returns when the last unit has ended or run out of
// patience. gate is for Ring and may be nil: the calls then finish at once.
func Run(cfg Config, gate *Gate) (*Result, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	g := &generator{Config: cfg, gate: gate, styles: makeStyles(), random: rand.New(rand.NewPCG(cfg.Seed, 2)), scratch: make([]byte, 0, maxDatagram)}
	g.salt = uint64(time.Now().UnixNano()) * mulA // Call-IDs of two runs must not meet in the proxy
	defer func() {
		for _, s := range append(g.uac, g.uas...) {
			s.close()
		}
	}()
	var err error
	if g.uac, err = openSockets(cfg.UAC, cfg.UACSockets); err != nil {
		return nil, fmt.Errorf("load: caller's socket: %w", err)
	}
	if g.uas, err = openSockets(cfg.UAS, cfg.UASSockets); err != nil {
		return nil, fmt.Errorf("load: called party's socket: %w", err)
	}
	for _, s := range append(append([]*socket(nil), g.uac...), g.uas...) {
		s.gso = cfg.Segment
	}
	g.proxy.set(cfg.Proxy)
	for _, s := range g.uas {
		target := cfg.Target
		switch target {
		case "":
			target = cfg.Proxy.String()
		case "uas":
			target = s.host
		}
		g.targets = append(g.targets, target)
	}
	g.startInvite = compile("INVITE sip:+49{N}@{H} SIP/2.0")
	g.startDialog = [2]template{compile("ACK sip:+49{N}@{U} SIP/2.0"), compile("BYE sip:+49{N}@{U} SIP/2.0")}
	g.startOther = [2]template{compile("CANCEL sip:+49{N}@{H} SIP/2.0"), compile("OPTIONS sip:+49{N}@{H} SIP/2.0")}
	g.calls = make([]call, cfg.MaxCalls)
	g.free = make([]uint32, cfg.MaxCalls)
	for i := range g.free {
		g.free[i] = uint32(cfg.MaxCalls - 1 - i)
	}
	// Nothing is allocated from here on that would need collecting, and a pause of ours would
	// be counted as the proxy's.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.epoch = time.Now()
	g.res.Began = g.epoch
	if cfg.Each {
		g.res.Each = make([]Each, 0, int(cfg.Rate*cfg.Duration.Seconds()*1.2)+1024)
	}
	g.run()
	g.finish()
	return &g.res, nil
}

func openSockets(at netip.AddrPort, n int) ([]*socket, error) {
	var all []*socket
	for i := range n {
		ap := at
		if at.Port() != 0 {
			ap = netip.AddrPortFrom(at.Addr(), at.Port()+uint16(i))
		}
		s, err := openSocket(ap)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// startsPerTurn bounds how many units start before the sockets are looked at again.
const startsPerTurn = 16

func (g *generator) run() {
	var fds []unix.PollFd
	for _, s := range append(append([]*socket(nil), g.uac...), g.uas...) {
		fds = append(fds, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	gap := 1e9 / g.Rate
	due := float64(0) // when the next unit starts
	last := int64(g.Duration)
	var begun, firstStart, lastStart, busy int64
	g.starting = true
	units := 0
	for {
		begun = g.clock()
		worked := false
		for n := 0; g.starting && n < startsPerTurn && float64(g.now) >= due; n++ {
			if units == 0 {
				firstStart = g.now
			}
			g.res.LagMax = max(g.res.LagMax, (float64(g.now)-due)/1e6)
			g.start()
			lastStart = g.now
			units++
			worked = true
			if g.Poisson {
				due += gap * g.random.ExpFloat64()
			} else {
				due += gap
			}
			if (g.Units > 0 && units >= g.Units) || (g.Mode != Ring && due > float64(last)) {
				g.starting = false
			}
		}
		for i, s := range g.uac {
			worked = g.receive(s, i, true) || worked
		}
		for i, s := range g.uas {
			worked = g.receive(s, i, false) || worked
		}
		g.wheel.run(g.now, g.look)
		if g.Mode == Ring {
			g.finishPending(g.starting)
		}
		for _, s := range g.uac {
			s.flush()
		}
		for _, s := range g.uas {
			s.flush()
		}
		if !g.starting && g.alive == 0 {
			break
		}
		if worked {
			busy += g.clock() - begun
			continue
		}
		if !g.Spin {
			until := (g.wheel.tick + 1) * tickNanos
			if g.starting {
				until = min(until, int64(due))
			}
			if ns := until - g.now; ns > 0 {
				wait(fds, ns)
			}
		}
	}
	end := g.clock()
	g.res.Seconds = float64(lastStart-firstStart) / 1e9
	g.res.Busy = float64(busy) / float64(max(end, 1))
	if g.res.Seconds > 0 {
		g.res.Achieved = float64(g.res.Completed) / g.res.Seconds
	}
	if s := float64(lastStart-int64(g.Warm)) / 1e9; s > 0 {
		g.res.Sustained = float64(g.sustained) / s
	}
}

func (g *generator) clock() int64 {
	g.now = int64(time.Since(g.epoch))
	return g.now
}

// receive handles one batch from s and reports whether there was any.
func (g *generator) receive(s *socket, number int, caller bool) bool {
	n := s.receive()
	if n == 0 {
		return false
	}
	g.clock()
	for i := range n {
		b := s.inBuf[i][:s.in[i].n]
		if why := g.v.read(b); why != fine {
			g.wrongMessage(why, caller, b)
			continue
		}
		c := g.find()
		if c == nil {
			g.wrongMessage(unknownCall, caller, b)
			continue
		}
		if c.uac == idle {
			g.res.Stray++
			continue
		}
		switch {
		case caller && g.v.status != 0:
			g.response(c, s, &s.inFrom[i], b)
		case !caller && g.v.status == 0:
			g.request(c, s, number, &s.inFrom[i], b)
		case caller:
			g.wrongMessage(unexpectedRequest, caller, b)
		default:
			g.wrongMessage(unexpectedResponse, caller, b)
		}
	}
	return true
}

// find returns the call that the view's Call-ID names, as an idle one if it has ended: in this
// run or, as a proxy may go on repeating what nobody answered, in an earlier one with another salt.
// It returns nil for a Call-ID that no run made.
func (g *generator) find() *call {
	if len(g.v.callID) < 16 {
		return nil
	}
	x, ok := getHex(g.v.callID)
	if !ok {
		return nil
	}
	x = unscramble(x) ^ g.salt
	slot, gen := uint32(x), uint32(x>>32)
	if int(slot) >= len(g.calls) || gen != g.calls[slot].gen {
		return &gone
	}
	return &g.calls[slot]
}

// gone stands for every call that has no slot any more.
var gone call

// start begins the next unit.
func (g *generator) start() {
	if len(g.free) == 0 {
		g.res.NotStarted++
		return
	}
	slot := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	g.alive++
	c := &g.calls[slot]
	c.gen++
	c.slot = slot
	x := scramble((uint64(c.gen)<<32 | uint64(slot)) ^ g.salt)
	putHex(c.token[:], x)
	y := scramble(x + 1)
	putHex(c.fromTag[:], y)
	putHex(c.toTag[:], scramble(y))
	putDecimal(c.caller[:], y)
	putDecimal(c.callee[:], y>>20)
	n := g.res.Started
	g.res.Started++
	c.style = uint8(x >> 60 & 7)
	c.uacSocket, c.uasSocket = uint8(n%uint64(len(g.uac))), uint8(n%uint64(len(g.uas)))
	c.deep = g.DeepEvery > 0 && n%uint64(g.DeepEvery) == 0
	c.acked, c.cancelled = false, false
	c.uac, c.uas = calling, idle
	c.started = g.now
	c.giveUp = g.now + int64(g.RingTime+g.HoldTime+g.Patience)
	c.uasDue, c.uasGap = 0, 0
	c.viasLen, c.recordLen, c.routeLen = 0, 0, 0
	c.uacGap = int64(g.T1)
	c.uacDue = g.now + c.uacGap
	g.sendFirst(c)
	c.nextLook = 0
	g.lookAt(c, c.uacDue)
}

// lookAt makes sure that c is looked at by then.
func (g *generator) lookAt(c *call, at int64) {
	at = min(at, g.now+(wheelSize-2)*tickNanos)
	if c.nextLook != 0 && c.nextLook <= at {
		return
	}
	c.nextLook = at
	g.wheel.add(at, entry{c.slot, c.gen})
}

// look does what is due for a call.
func (g *generator) look(e entry) {
	c := &g.calls[e.slot]
	if c.gen != e.gen || c.uac == idle {
		return
	}
	if c.nextLook > g.now+tickNanos {
		return // a later entry that still stands will come back to it
	}
	c.nextLook = 0
	if c.giveUp != 0 && g.now >= c.giveUp {
		g.res.TimedOut++
		g.fail(c)
		return
	}
	if c.uacDue != 0 && g.now >= c.uacDue {
		g.callerDue(c)
	}
	if c.uac != idle && c.uasDue != 0 && g.now >= c.uasDue {
		g.calledDue(c)
	}
	if c.uac == idle {
		return
	}
	at := c.giveUp
	if c.uacDue != 0 && (at == 0 || c.uacDue < at) {
		at = c.uacDue
	}
	if c.uasDue != 0 && (at == 0 || c.uasDue < at) {
		at = c.uasDue
	}
	if at != 0 {
		g.lookAt(c, at)
	}
}

func (g *generator) end(c *call) {
	c.uac, c.uas = idle, idle
	g.alive--
	g.free = append(g.free, c.slot)
}

func (g *generator) complete(c *call) {
	g.res.Completed++
	if g.starting && g.now >= int64(g.Warm) {
		g.sustained++
	}
	if g.Mode != Options && !c.acked {
		g.res.AcksMissing++
	}
	g.end(c)
}

func (g *generator) fail(c *call) {
	g.res.Failed++
	if g.Each {
		g.res.Each = append(g.res.Each, Each{c.started / 1000, -1})
	}
	g.end(c)
}

// finishPending lets ringing calls finish, at the configured rate, once the gate is open.
func (g *generator) finishPending(starting bool) {
	if g.opened {
		for ; g.finishNext < len(g.calls) && g.finishAt <= g.now; g.finishNext++ {
			c := &g.calls[g.finishNext]
			if c.uac == idle {
				continue
			}
			g.finishAt += int64(1e9 / g.Rate)
			c.giveUp = g.now + int64(g.HoldTime+g.Patience)
			if g.Ending == Cancel {
				g.sendCancel(c)
			} else {
				g.answer(c)
			}
			g.lookAt(c, g.now+int64(g.T1))
		}
		return
	}
	if starting || g.inviteRinging < g.alive {
		return
	}
	if g.gate != nil && g.gate.Pending != nil {
		g.gate.Pending()
		g.gate.Pending = nil
	}
	if g.gate == nil || g.gate.release.Load() {
		g.opened = true
		g.finishAt = g.clock()
	}
}

func (g *generator) wrongMessage(why reason, caller bool, b []byte) {
	const samples = 8 // enough to see a pattern
	g.wrong[why]++
	g.res.Wrong++
	if g.wrong[why] <= 2 && len(g.res.Samples) < samples {
		at := "called party"
		if caller {
			at = "caller"
		}
		g.res.Samples = append(g.res.Samples, Sample{reasons[why], at, string(b)})
	}
}

func (g *generator) finish() {
	r := &g.res
	r.Mode, r.Rate = g.Mode, g.Rate
	r.SetupP50, r.SetupP99, r.SetupP999, r.SetupMax = g.setup.at(0.5), g.setup.at(0.99), g.setup.at(0.999), float64(g.setup.max)/1000
	r.Lost = r.Retransmissions.Request + r.Retransmissions.Final + r.AcksMissing
	for _, s := range append(append([]*socket(nil), g.uac...), g.uas...) {
		r.Sent += s.sent
		r.Received += s.received
		r.NotSent += s.refused
		r.Dropped += s.drops()
	}
	r.WrongBy, r.Refused = map[string]uint64{}, map[string]uint64{}
	for i, n := range g.wrong {
		if n > 0 {
			r.WrongBy[reasons[i]] = n
		}
	}
	for i, n := range g.refuse {
		if n > 0 {
			r.Refused[strconv.Itoa(i)] = n
		}
	}
}
