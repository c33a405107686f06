package resolve

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"sipedge/transport"
)

// job asks for one place to be looked up.
type job struct {
	key   string
	hash  uint64
	route route
	done  func() // nil: a refresh
	end   time.Time
}

// host is the name in a key.
func (j *job) host() string { return j.key[keyFields:] }

// flight is one look-up, and all who wait for it.
type flight struct {
	job
	known   *place // what was known when it began
	waiting []func()
}

// desk takes in jobs, sees to it that each name is looked up once at a time, and calls back who waits. Its maps and lists belong
// to one goroutine; loops reach it by a channel that has room for all who are let in.
type desk struct {
	r       *Resolver
	pending atomic.Int64 // jobs let in and not concluded; never more than there is room for in jobs
	jobs    chan job
	work    chan *flight
	landed  chan *flight
	closing chan struct{}
	closed  atomic.Bool
	all     sync.WaitGroup

	flights map[string]*flight
	// urgent are flights for places that are known and in use; they go before names that nobody called yet, which a stranger
	// may have made up.
	urgent, others []*flight
}

// let takes a job in if there is room. It never blocks.
func (d *desk) let(j job) bool {
	if d.pending.Add(1) > int64(cap(d.jobs)) || d.closed.Load() {
		d.pending.Add(-1)
		d.r.n.dropped.Add(1)
		return false
	}
	d.jobs <- j // has room: there are never more jobs in it than are pending
	return true
}

// run is the desk's goroutine.
func (d *desk) run() {
	defer d.all.Done()
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	closing := d.closing
	for {
		var work chan *flight
		next := d.next()
		if next != nil {
			work = d.work
			alarm.Reset(time.Until(d.earliest()))
		}
		select {
		case j := <-d.jobs:
			d.take(j)
		case work <- next:
			d.pop(next)
		case f := <-d.landed:
			d.conclude(f)
		case <-alarm.C:
			d.expire()
		case <-closing:
			closing = nil
		}
		if closing == nil && d.shut() {
			close(d.work)
			return
		}
	}
}

// shut tells everybody whom no worker has taken up that there will be no answer; true: nobody waits any more.
func (d *desk) shut() bool {
	for {
		for _, list := range []*[]*flight{&d.urgent, &d.others} {
			for _, f := range *list {
				d.conclude(f)
			}
			*list = nil
		}
		if d.pending.Load() == 0 {
			return true
		}
		select {
		case j := <-d.jobs:
			d.take(j)
		case f := <-d.landed:
			d.conclude(f)
		case <-time.After(time.Millisecond): // somebody was let in, and then saw that we are closed
		}
	}
}

func (d *desk) take(j job) {
	now := d.r.cfg.Now()
	if f := d.flights[j.key]; f != nil {
		if j.done == nil {
			d.pending.Add(-1)
		} else {
			f.waiting = append(f.waiting, j.done)
		}
		return
	}
	known := d.r.cache.find(j.hash, []byte(j.key))
	if known != nil && j.done != nil {
		if s, _ := known.state(now); s != Miss { // another flight has brought it while j was on its way
			d.pending.Add(-1)
			j.done()
			return
		}
	}
	if j.done == nil && (known == nil || now < known.due) { // forgotten, or looked up meanwhile
		d.pending.Add(-1)
		return
	}
	f := &flight{job: j, known: known}
	if j.done != nil {
		f.waiting = append(f.waiting, j.done)
	}
	d.flights[j.key] = f
	d.r.n.inFlight.Add(1)
	if known != nil && known.status == Hit {
		d.r.n.refreshes.Add(1)
		d.urgent = append(d.urgent, f)
	} else {
		d.others = append(d.others, f)
	}
}

func (d *desk) next() *flight {
	if len(d.urgent) > 0 {
		return d.urgent[0]
	}
	if len(d.others) > 0 {
		return d.others[0]
	}
	return nil
}

func (d *desk) pop(f *flight) {
	if len(d.urgent) > 0 && d.urgent[0] == f {
		d.urgent = d.urgent[1:]
	} else {
		d.others = d.others[1:]
	}
}

// earliest is the end of the flight that has waited longest; each list is in the order of its ends.
func (d *desk) earliest() (end time.Time) {
	for _, list := range [][]*flight{d.urgent, d.others} {
		if len(list) > 0 && (end.IsZero() || list[0].end.Before(end)) {
			end = list[0].end
		}
	}
	return end
}

// expire gives up flights for which no worker was free in time.
func (d *desk) expire() {
	now := time.Now()
	for _, list := range []*[]*flight{&d.urgent, &d.others} {
		for len(*list) > 0 && !now.Before((*list)[0].end) {
			f := (*list)[0]
			*list = (*list)[1:]
			d.r.n.expired.Add(1)
			d.conclude(f)
		}
	}
}

// conclude ends a flight and calls back.
func (d *desk) conclude(f *flight) {
	delete(d.flights, f.key)
	d.r.n.inFlight.Add(-1)
	if f.done == nil {
		d.pending.Add(-1) // the refresh itself
	}
	for _, done := range f.waiting {
		d.pending.Add(-1)
		done()
	}
}

// worker looks up one place after the other.
func (d *desk) worker() {
	defer d.all.Done()
	for f := range d.work {
		d.r.fly(f)
		d.landed <- f
	}
}

// fly looks f up and puts the result into the cache.
func (r *Resolver) fly(f *flight) {
	defer func() {
		if what := recover(); what != nil {
			r.n.panics.Add(1)
			r.cfg.Warn(fmt.Sprintf("dns: panic while looking up %q: %v\n%s", f.host(), what, debug.Stack()))
			r.keep(f, finding{status: Failed, ttl: noTTL})
		}
	}()
	if !time.Now().Before(f.end) {
		r.n.expired.Add(1)
		return
	}
	r.n.lookups.Add(1)
	servers, hosts := r.files.current(r.cfg.Now())
	l := look{
		ask: func(qs []question) []*dns.Msg {
			// Two thirds of what time is left: a server that drops questions of one type must not leave nothing for the rest.
			left := time.Until(f.end)
			return r.client.ask(servers, qs, time.Now().Add(left*2/3))
		},
		hosts:   hosts,
		answers: map[question]*answer{},
		extra:   map[question][]dns.RR{},
		left:    maxQuestions,
	}
	r.keep(f, l.locate(f.route, f.host()))
}

// keep puts what was found into the cache, unless what is known is better.
func (r *Resolver) keep(f *flight, found finding) {
	now := r.cfg.Now()
	old := f.known
	if old != nil && (old.status != Hit || now >= old.gone) {
		old = nil
	}
	// "The bid down attack can also be mitigated through caching. A client which frequently contacts the same domain SHOULD cache
	// whether or not its NAPTR records contain SIPS in the services field. If such records were present, but in later queries
	// cease to appear, it is a sign of a potential attack. In this case, the client SHOULD generate some kind of alert or alarm,
	// and MAY reject the request." RFC 3263 section 7
	if old != nil && old.sips && !found.sips && found.status != Failed && !found.hosts {
		if found.naptr {
			r.n.downgrades.Add(1)
			r.cfg.Warn(fmt.Sprintf("dns: the NAPTR records of %s no longer offer SIPS", f.host()))
		} else {
			found.status = Failed // no answer is no reason to do without TLS
		}
	}
	if found.status == Failed && old != nil {
		// What was true is the best guess while DNS does not answer: the idea of RFC 8767.
		old.again.Store(int64(now.Add(recheck)))
		old.failing.Store(true)
		return
	}
	p := &place{key: f.key, hash: f.hash, route: f.route, fetched: now, status: found.status, sips: found.sips, targets: found.targets, ips: found.ips}
	for _, t := range p.targets {
		if t.proto == transport.TLS && p.name == 0 {
			// The certificate must prove the domain that was asked for, not what DNS made of it (RFC 5922 section 7.3).
			var err error
			if p.name, err = r.cfg.Names.Number(f.host()); err != nil {
				r.n.namesFull.Add(1)
				p.status, p.targets, p.ips = Failed, nil, nil
				break
			}
		}
	}
	ttl := time.Duration(found.ttl) * time.Second
	switch p.status {
	case Hit:
		ttl = min(max(ttl, r.cfg.MinTTL), r.cfg.MaxTTL)
		if found.hosts {
			ttl = hostsTTL
		}
		if found.weak {
			ttl = min(ttl, recheck)
		}
		p.due = now.Add(ttl - ttl/10)
		p.expires = now.Add(ttl)
		p.gone = p.expires.Add(r.cfg.MaxStale)
		p.twins = hasTwins(p)
	case Negative:
		if found.ttl == noTTL {
			// Deviation: "Negative responses without SOA records SHOULD NOT be cached as there is no way to prevent the negative responses
			// looping forever between a pair of servers" (RFC 2308 section 5). We answer no one, and who asked must find the answer.
			ttl = 0
		}
		ttl = min(max(ttl, r.cfg.MinTTL), r.cfg.MaxNegative)
		p.due, p.expires, p.gone = now.Add(ttl), now.Add(ttl), now.Add(ttl)
	default:
		p.due, p.expires, p.gone = now.Add(failureTTL), now.Add(failureTTL), now.Add(failureTTL)
	}
	r.cache.put(p, now)
}

// hasTwins tells whether two targets of a place lead to one address, port and transport.
func hasTwins(p *place) bool {
	type end struct {
		ip    [16]byte
		port  uint16
		proto transport.Protocol
	}
	seen := map[end]bool{}
	for _, t := range p.targets {
		for _, ip := range p.ips[t.first : int(t.first)+int(t.n6)+int(t.n4)] {
			e := end{ip, t.port, t.proto}
			if seen[e] {
				return true
			}
			seen[e] = true
		}
	}
	return false
}

func newDesk(r *Resolver) *desk {
	return &desk{
		r:       r,
		jobs:    make(chan job, r.cfg.Queue),
		work:    make(chan *flight),
		landed:  make(chan *flight),
		closing: make(chan struct{}),
		flights: map[string]*flight{},
	}
}
