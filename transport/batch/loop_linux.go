package batch

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// loop is one event loop: a goroutine, its sockets and everything they use. It implements
// transport.Loop. Owned by its goroutine, but for Wake and stats.
//
// A turn of the loop:
//
//  1. settle: Handler.Expire, flush what was queued, Handler.SendFailed, Handler.Quiesce
//  2. poll: sleep until there is something to do, or only look when there is already
//  3. service: one batch of each ready socket goes to Handler.Receive
type loop struct {
	id      int
	engine  *Engine
	handler transport.Handler
	wakefd  int // an eventfd
	alarmfd int // a timerfd, see alarm
	socks   []socket

	now      transport.Instant // read once per batch
	deadline transport.Instant // of the Handler, 0: none
	ready    uint64            // sockets with datagrams, by listener
	failed   uint64            // sockets with something in their error queue
	polled   bool              // now is fresh
	skipped  int               // rounds since the kernel was asked
	quiet    bool              // the last raw wait ended without any event
	alarm    transport.Instant // what alarmfd is set to
	handled  int               // packets since the last settle
	expired  bool              // this settle has called Expire

	in       intake
	out      outgoing
	refusals transport.Undelivered
	bulk     bulk
	polls    []unix.PollFd // the sockets, by listener, then wakefd, then alarmfd
	limit    unix.Timespec // of the wait under way

	// What tests replace.
	rawWait  int // ms
	sendmmsg func(fd int, hdrs *mmsghdr, n int) (int, syscall.Errno)

	stats stats

	_ [128]byte // what follows is written by other threads
	// woken is set by Wake until the loop has seen it, so that a burst of Wakes is one write.
	woken atomic.Bool
	// wakers counts the Wakes under way; closedWakers is added when the eventfd is about to
	// close, so that a late Wake never writes into a file that got its number.
	wakers atomic.Int64
	_      [128]byte
}

const closedWakers = -1 << 32

// socket is one listener as one loop has it.
type socket struct {
	fd       int
	listener uint16
	v6       bool
	wildcard bool // datagrams tell their destination address, and answers leave from it
	queue    *sendQueue
	backlog  backlog
	noBulk   bool // the kernel or the device does not cut up datagrams
}

func newLoop(e *Engine, id int) (*loop, error) {
	l := &loop{id: id, engine: e, wakefd: -1, alarmfd: -1, rawWait: int(rawWait / time.Millisecond), sendmmsg: sendmmsg}
	l.in.init()
	l.out.arena = make([]byte, arenaBytes)
	var err error
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		l.close()
		return nil, fmt.Errorf("batch: loop %d: eventfd: %w", id, err)
	}
	if l.alarmfd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		l.close()
		return nil, fmt.Errorf("batch: loop %d: timerfd: %w", id, err)
	}
	return l, nil
}

func (l *loop) addSocket(fd, listener int, addr netip.AddrPort) {
	s := socket{
		fd:       fd,
		listener: uint16(listener),
		v6:       addr.Addr().Is6(),
		wildcard: addr.Addr().IsUnspecified(),
	}
	s.queue = newSendQueue(s.v6, s.wildcard)
	l.socks = append(l.socks, s)
}

// watch says what ends a sleep. All of it is level-triggered: what a bounded batch leaves is reported again.
//
// Why ppoll and not epoll: epoll stays in the wait queue of its sockets while the loop is awake, so that each datagram sent, when the
// kernel frees it, calls epoll to say that there is room again: under a spin lock, for nothing. ppoll is in the
// queues only as long as it sleeps, and there are few sockets to look at (transport.MaxListeners at most).
func (l *loop) watch() {
	for i := range l.socks {
		l.polls = append(l.polls, unix.PollFd{Fd: int32(l.socks[i].fd), Events: unix.POLLIN})
	}
	l.polls = append(l.polls, unix.PollFd{Fd: int32(l.wakefd), Events: unix.POLLIN}, unix.PollFd{Fd: int32(l.alarmfd), Events: unix.POLLIN})
}

// run is the goroutine of the loop.
func (l *loop) run() {
	// Locked, so that the thread can be pinned and is not shared with other goroutines, which
	// would otherwise have their turn here whenever the loop is preempted.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.now = transport.Now()
	for !l.engine.stopping.Load() {
		l.turns()
	}
	l.handler.Idle()
}

// turns goes round until the engine stops or a Handler panics. What the panic left over (the
// rest of a batch, other ready sockets) is in l, and the next call goes on with it.
func (l *loop) turns() {
	defer l.recovered()
	l.deliver()
	for {
		l.settle()
		if l.engine.stopping.Load() {
			return
		}
		l.poll()
		l.service()
	}
}

// recovered is the panic barrier: one deferred call for all the turns, so it costs a packet nothing.
func (l *loop) recovered() {
	what := recover()
	if what == nil {
		return
	}
	l.stats.panics.Add(1)
	packet := append([]byte(nil), l.in.current...)
	l.in.current = nil
	if l.engine.cfg.Panicked != nil {
		l.engine.cfg.Panicked(l.id, what, debug.Stack(), packet)
	}
}

// poll finds out which sockets are ready, and sleeps if there is nothing to do before that.
func (l *loop) poll() {
	busy := l.ready|l.failed != 0 || l.refusals.Any()
	if busy && l.skipped < roundsPerPoll {
		l.skipped++
		l.answerWake()
		return
	}
	l.skipped = 0
	timeout := 0
	if !busy {
		timeout = l.timeout()
	}
	var n int
	if timeout == 0 {
		n = l.wait(0)
	} else {
		l.handler.Idle()
		n = l.sleep(timeout)
		l.handler.Busy()
		l.stats.waits.Add(1)
	}
	l.now = transport.Now()
	l.polled = true
	for i := 0; n > 0 && i < len(l.socks); i++ {
		events := l.polls[i].Revents
		if events == 0 {
			continue
		}
		n--
		if events&unix.POLLERR != 0 {
			l.failed |= 1 << uint(i)
		}
		if events&unix.POLLOUT != 0 {
			l.writable(i)
		}
		// Receiving also clears an error of the socket that has left nothing in the error queue.
		if events&^unix.POLLOUT != 0 {
			l.ready |= 1 << uint(i)
		}
	}
	if n > 0 && l.polls[len(l.socks)].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(l.wakefd, count[:]) // it ended the sleep; woken says the rest
	}
	l.answerWake()
}

func (l *loop) answerWake() {
	if !l.woken.Load() {
		return
	}
	l.woken.Store(false) // before the call: a Wake during it is a new one
	l.handler.Woken(l.now)
}

// timeout is what a wait may take, in milliseconds, rounded up so that a deadline has come
// when it ends; -1 without a deadline.
func (l *loop) timeout() int {
	if l.deadline == 0 {
		return -1
	}
	wait := l.deadline.Sub(l.now)
	if wait <= 0 {
		return 0
	}
	const longest = time.Hour // far below what the 32-bit argument takes
	return int((min(wait, longest) + time.Millisecond - 1) / time.Millisecond)
}

// sleep waits up to timeout ms (-1: for ever). It waits raw first, which is what a loop with
// some traffic does all the time, and in an ordinary system call when that brought nothing.
func (l *loop) sleep(timeout int) int {
	if l.quiet {
		l.quiet = false
		fds := l.polls[:len(l.polls)-1] // without the alarm, which has gone off
		n, err := unix.Poll(fds, timeout)
		if err != nil {
			if err != unix.EINTR {
				l.engine.fail(fmt.Errorf("batch: loop %d: poll: %w", l.id, err))
			}
			return 0
		}
		return n
	}
	bounded := timeout < 0 || timeout > l.rawWait
	if bounded {
		timeout = l.rawWait
	}
	wait := -1
	if !l.setAlarm(l.now.Add(time.Duration(timeout) * time.Millisecond)) {
		wait = timeout
	}
	n := l.wait(wait)
	rang := n > 0 && l.polls[len(l.polls)-1].Revents != 0
	if rang {
		n--
		l.alarm = 0 // to be set again before the next wait, which also ends its being readable
	}
	l.quiet = bounded && n == 0 && (rang || wait >= 0)
	return n
}

// setAlarm sees to it that alarmfd ends a wait at or before until. It reports false if it cannot.
//
// Why not ppoll's own timeout: that programs the machine's timer anew for each wait and takes it back when a
// packet ends the wait, and in a virtual machine each of the two leaves the guest. The next deadline of a
// proxy is the same for many waits in a row, so the alarm is set once for all of them: some
// hundred times a second instead of tens of thousands.
func (l *loop) setAlarm(until transport.Instant) bool {
	if l.alarm > l.now && l.alarm <= until {
		return true
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(until.Sub(transport.Now()), time.Microsecond)))}
	if err := unix.TimerfdSettime(l.alarmfd, 0, &at, nil); err != nil {
		return false
	}
	l.alarm = until
	return true
}

// wait is ppoll behind the scheduler's back.
//
// Why raw: an ordinary system call tells the scheduler, which takes the P away when the call
// lasts; then waking up means finding a P, waking other threads to find work, and giving it all
// back: about three times the CPU of the whole wait at a few thousand wakes a second.
//
// The price: while the thread is in the kernel, the runtime takes it for running Go code. When
// it wants the world stopped or this stack scanned (garbage collection, profiles, traces,
// goroutine dumps) it marks the goroutine for preemption and sends the thread a SIGURG, again
// and again until it obeys. The signal ends ppoll with EINTR, but the goroutine only obeys
// at the stack check in the prologue of some function. So after every wait one such function
// must be called, or the collector waits for ever and everybody with it. That is safepoint; the
// functions of a turn have such prologues too, but which ones is up to the inliner. Calling
// ppoll again in place upon EINTR, as one usually does, hangs the process.
//
// A raw wait is bounded by rawWait as well, so that not even a lost signal (or GODEBUG
// asyncpreemptoff=1, which sends none) holds up the collector for longer; and so that an idle
// process sleeps undisturbed: the scheduler preempts whoever runs for 10 ms, which would end
// raw waits of an idle loop about fifty times a second.
func (l *loop) wait(timeout int) int {
	var limit *unix.Timespec
	if timeout >= 0 {
		l.limit = unix.NsecToTimespec(int64(timeout) * int64(time.Millisecond))
		limit = &l.limit
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.polls[0])), uintptr(len(l.polls)),
		uintptr(unsafe.Pointer(limit)), 0, 0, 0)
	safepoint()
	if errno != 0 {
		if errno != unix.EINTR {
			l.engine.fail(fmt.Errorf("batch: loop %d: ppoll: %w", l.id, errno))
		}
		return 0 // the turn goes on as after any sleep
	}
	return int(n)
}

// safepoint does nothing but have a stack check in its prologue; see wait. It must stay an
// ordinary call (noinline), and must itself call something: the assembler leaves out the stack
// check of small functions that call nothing.
//
//go:noinline
func safepoint() { afterSafepoint() }

//go:noinline
func afterSafepoint() {}

// service hands one batch of each ready socket to the Handler. After a batch full of packets
// it settles at once, so that timers and answers do not wait for the other sockets.
func (l *loop) service() {
	for i := range l.socks {
		bit := uint64(1) << uint(i)
		if l.failed&bit != 0 {
			l.failed &^= bit
			l.receiveErrors(i)
			l.deliver()
		}
		if l.ready&bit == 0 {
			continue
		}
		if l.handled >= receiveBatch {
			l.settle()
		}
		l.ready &^= bit
		l.receive(i)
		l.deliver()
	}
}

// settle ends a batch. After a panic it is called again, for what was not done yet.
func (l *loop) settle() {
	l.handled = 0
	if !l.expired {
		l.expired = true
		l.deadline = l.now.Add(panicPause) // stays only if Expire panics
		l.deadline = l.handler.Expire(l.now)
	}
	l.flush()
	if l.refusals.Any() {
		l.refusals.Report(l.handler, l.now)
		l.flush()
	}
	l.expired = false
	l.handler.Quiesce()
}

// Wake implements transport.Loop.
func (l *loop) Wake() {
	if !l.woken.Swap(true) { // else somebody else's write is on its way
		l.ring()
	}
}

// ring ends the sleep of the loop.
func (l *loop) ring() {
	if l.wakers.Add(1) > 0 {
		one := [8]byte{1}
		// It fails only when 2^64-2 wakes were not read, and then the loop has been told.
		_, _ = unix.Write(l.wakefd, one[:])
	}
	l.wakers.Add(-1)
}

// close gives the files back. The loop has ended, or never began.
func (l *loop) close() {
	if l.wakers.Add(closedWakers) != closedWakers {
		for l.wakers.Load() != closedWakers {
			runtime.Gosched() // a Wake is between its two additions
		}
	}
	for i := range l.socks {
		closeFD(&l.socks[i].fd)
	}
	closeFD(&l.wakefd)
	closeFD(&l.alarmfd)
}
