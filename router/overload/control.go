package overload

import (
	"math"

	"sipedge/transport"
)

// Class is what a request is worth when not everything can be served. RFC 7339 section 5.10.1 leaves the order to local policy.
type Class uint8

const (
	// Kept is never turned away by a Controller: what is proven to belong to a dialog, and what is exempt, as emergency calls.
	// To end a call, or to finish one that has begun, is worth more than to begin another.
	Kept Class = iota
	// Other are requests outside of dialogs that begin no call: REGISTER, OPTIONS, MESSAGE, SUBSCRIBE.
	Other
	// Call are INVITEs that begin a call. They go first: each brings six more messages, and its caller hears of it.
	Call

	numClasses
)

// cost is the work that a request brings, in units of one request with its response: an INVITE is followed by 100, 180, 200,
// ACK, BYE and its 200.
var cost = [numClasses]float64{Other: 1, Call: 4}

// Controller keeps one loop within its capacity. It turns away as large a share of new requests as keeps a standing queue
// in front of the loop: the queue never runs dry, so nothing of the capacity is lost, and it never fills its buffer, so
// nothing is lost that has been begun. Owned by one loop. The zero Controller is ready.
//
// What is controlled is a rate, the work let in per second, and the share turned away follows from it and from what
// is offered: so a crowd that doubles changes the share at once, and not only when the queue has grown.
type Controller struct {
	from   transport.Instant // the step before
	limit  float64           // work let in per second; 0: no limit
	before float64           // strain at the step before
	calm   int               // steps in a row in which the limit did not matter

	offered, admitted [numClasses]uint32  // requests since the step before
	rate              [numClasses]float64 // requests offered per second, smoothed
	served            float64             // work let in per second, smoothed

	active bool
	refuse [numClasses]uint64 // requests whose draw is below are turned away
}

// Active tells whether anything may be turned away.
func (c *Controller) Active() bool { return c.active }

// Count notes a new request that was let in without asking, since the controller is not active.
func (c *Controller) Count(class Class) {
	c.offered[class]++
	c.admitted[class]++
}

// Admit decides about a new request. draw is a uniform random number that belongs to the request's transaction, so that
// its copies have the same fate.
func (c *Controller) Admit(class Class, draw uint64) bool {
	c.offered[class]++
	if draw < c.refuse[class] {
		return false
	}
	c.admitted[class]++
	return true
}

// Share is the share of a class that is being turned away, 0 to 1.
func (c *Controller) Share(class Class) float64 { return float64(c.refuse[class]) / (1 << 63) / 2 }

// Step takes in how far behind the loop is and how full the transaction store, 0 to 1. It is to be called every few
// milliseconds; calls that come sooner do nothing.
func (c *Controller) Step(now transport.Instant, cfg *Config, b transport.Backlog, store float64) {
	dt := now.Sub(c.from)
	if dt < StepEvery {
		return
	}
	c.from = now
	if cfg.Off {
		c.limit, c.active, c.refuse = 0, false, [numClasses]uint64{}
		return
	}
	c.step(min(dt, maxStep).Seconds(), strain(cfg, b))
	c.active = c.limit != 0
	if store > storeFrom {
		c.active = true
		c.refuse[Call] = max(c.refuse[Call], threshold((store-storeFrom)/(1-storeFrom)))
		c.refuse[Other] = max(c.refuse[Other], threshold((store-storeOther)/(1-storeOther)))
	}
}

// strain is the backlog in units of what is wanted.
func strain(cfg *Config, b transport.Backlog) float64 {
	return max(float64(b.Delay)/float64(cfg.delay()), b.Fill/fillTarget)
}

// step is one step of s seconds.
func (c *Controller) step(s, strain float64) {
	work := c.measure(s)
	strain = min(strain, maxStrain)
	switch {
	case c.limit == 0 && strain < 1:
		c.before = strain
		c.refuse = [numClasses]uint64{}
		return
	case c.limit == 0:
		// What the loop has coped with so far is a start, low rather than high: of a sudden crowd it takes in much before its
		// work comes back as responses, ACKs and BYEs.
		c.limit = max(min(c.served, work), work/8, 1)
		c.calm = 0
	default:
		c.limit = max(c.limit*math.Exp(-proportional*(strain-c.before)-drift(strain)*s), 1)
	}
	c.before = strain
	c.share(strain)
	if strain > calmStrain || c.limit < freeFactor*work {
		c.calm = 0
	} else if c.calm++; c.calm >= calmSteps {
		c.limit = 0
		c.refuse = [numClasses]uint64{}
	}
}

// drift is how fast the limit goes down, as a share of it in a second.
func drift(strain float64) float64 {
	switch {
	case strain < dryStrain:
		// Capacity goes unused.
		return -integral - recovery*(1-strain/dryStrain)
	case strain > brakeStrain:
		// Less than the limit is let in already, so what the strain does is not its fault: the loop may have been away.
		return integral * (strain - 1) * min(2*slack(strain), 1)
	}
	return integral * (strain - 1)
}

// slack is the share of the limit that counts at a strain.
func slack(strain float64) float64 {
	return min((maxStrain-strain)/(maxStrain-brakeStrain), 1)
}

// measure takes the counts of the last s seconds in and returns the work offered per second.
func (c *Controller) measure(s float64) (work float64) {
	fast, slow := 1-math.Exp(-s/smoothing.Seconds()), 1-math.Exp(-s/(4*smoothing).Seconds())
	admitted := 0.0
	for i := range c.rate {
		c.rate[i] += (float64(c.offered[i])/s - c.rate[i]) * fast
		work += c.rate[i] * cost[i]
		admitted += float64(c.admitted[i]) / s * cost[i]
		c.offered[i], c.admitted[i] = 0, 0
	}
	c.served += (admitted - c.served) * slow
	return work
}

// share makes the shares to turn away from the limit and what is offered: of calls first, and of other requests only when
// there is no call left to turn away.
func (c *Controller) share(strain float64) {
	left := c.limit * slack(strain)
	for i := Other; i < numClasses; i++ {
		offered, p := c.rate[i]*cost[i], 0.0
		switch {
		case left <= 0:
			p = 1 // whatever comes
		case offered > left:
			p = 1 - left/offered
		}
		c.refuse[i] = threshold(p)
		left = max(left-offered, 0)
	}
}

// threshold is the bound that a uniform draw is below with probability p.
func threshold(p float64) uint64 {
	switch {
	case p <= 0:
		return 0
	case p >= 1:
		return math.MaxUint64
	}
	return uint64(p * (1 << 63) * 2)
}
