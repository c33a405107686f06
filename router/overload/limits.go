package overload

import "time"

const (
	defaultDelay      = 20 * time.Millisecond
	defaultRetryAfter = 5 * time.Second

	// fillTarget is the share of a receive buffer that may be taken. The rest is for what comes before the controller has
	// noticed, and while something else has the core.
	fillTarget = 0.25

	// storeFrom is how full the transaction store may be before calls are turned away, a growing share of them until it is full; and
	// storeOther the same for other requests. Transactions stay for 32 s after their call, so the store follows slowly.
	storeFrom  = 0.90
	storeOther = 0.95

	// StepEvery is how often a Controller looks at its loop. The queue of a loop that gets four times what it can do grows by
	// 15 ms meanwhile.
	StepEvery = 5 * time.Millisecond

	// maxStep is the longest time that one step stands for; a loop that slept longer has no overload.
	maxStep = 50 * time.Millisecond

	// What the simulation in control_test.go has shown to settle within 100 ms and to stay calm, for one loop with and without others
	// on its core, at up to ten times what it can do.
	proportional = 0.2  // of the limit, for a strain that grew by 1
	integral     = 2.0  // of the limit in a second, for a strain that is off by 1
	brakeStrain  = 1.75 // beyond, less than the limit is let in
	maxStrain    = 3.0  // and nothing here: what is far behind has to be caught up with first

	recovery  = 8.0  // of the limit in a second, upwards, when the queue ran dry
	dryStrain = 0.25 // which it does below

	// maxRates bounds the rates of a policy, and maxPatterns the scanners, with all their text.
	maxRates       = 256
	maxPatterns    = 1024
	maxPatternText = 16 << 10

	// sources are told apart at once; 1 MB. Sources within their rate for a moment are forgotten, so these are those that sent
	// something within the last burst divided by rate, a second or two.
	sources = 1 << 17

	// smoothing of what is offered and, four times as long, of what was let in.
	smoothing = 20 * time.Millisecond

	// The limit goes when calmSteps in a row found half the queue that is wanted and more than freeFactor times the work that is
	// offered allowed: the crowd has gone for half a second.
	calmStrain = 0.5
	freeFactor = 1.3
	calmSteps  = 100
)
