package policy

import (
	"fmt"

	"sipedge/router"
)

// Step is where a decision ended, and so why it is as it is.
type Step uint8

const (
	notOver Step = iota
	NotAsked
	Emergency
	TooManyRequests
	TooManyCalls
	TooManyNewCalls
	NotAllowed
	ForUs
	NoRoute
	HasRoute
	Routed
	NoneUp
	Full
	NoNumberLeft
	TooLong
)

var steps = [...]string{
	NotAsked:        "belongs to a dialog of ours, or there is no policy: the static order decides",
	Emergency:       "is an emergency call",
	TooManyRequests: "is more requests per second than the peer may send",
	TooManyCalls:    "is one call more than the peer may have",
	TooManyNewCalls: "is more calls per second than the peer may begin",
	NotAllowed:      "asks for what the peer may not ask for",
	ForUs:           "asks whether the proxy is there: it answers by itself",
	NoRoute:         "matches no route: the static order decides",
	HasRoute:        "has a Route of its own to follow: the static order decides",
	Routed:          "is taken by the route",
	NoneUp:          "finds no gateway that is up and has room",
	Full:            "finds no room at its gateway",
	NoNumberLeft:    "has a number of which the route leaves nothing",
	TooLong:         "has a Request-URI that is too long to be changed",
}

func (s Step) String() string { return steps[s] }

// Explanation is why a request was decided as it was. Texts are empty where there is nothing to say.
type Explanation struct {
	Step    Step
	Peer    string
	Route   string
	Gateway string
	Number  string // of the Request-URI, as it was dialled
	E164    string
	Region  string
	Verdict router.Verdict
}

func (e Explanation) String() string {
	s := "the request " + e.Step.String()
	for _, f := range [...][2]string{{"route", e.Route}, {"peer", e.Peer}, {"gateway", e.Gateway}, {"number", e.Number}, {"E.164", e.E164}, {"region", e.Region}} {
		if f[1] != "" {
			s += fmt.Sprintf("; %s %s", f[0], f[1])
		}
	}
	return s
}

// Explain decides as Decide does, by the same code, and says why. What is counted is counted. Not for the packet path; safe from any goroutine.
func (d *Decider) Explain(q *router.Query, to *router.TargetSet) Explanation {
	var x decision
	text := scratch{text: make([]byte, 0, maxText)}
	if cap(q.Lines) == 0 {
		q.Lines = make([]byte, 0, maxLines)
	}
	e := Explanation{Verdict: d.decide(q, to, &x, &text), Step: x.step}
	if x.s == nil {
		return e
	}
	if x.peer > 0 {
		e.Peer = x.s.peers.list[x.peer-1].name
	}
	a := (*action)(nil)
	switch x.step {
	case Emergency:
		a = &x.s.emergency.action
	case Routed, NoneUp, Full, NoNumberLeft, TooLong:
		if a = &x.s.routes.list[x.route].action; !x.exempt {
			e.Route = x.s.routes.list[x.route].name
		} else {
			a = &x.s.emergency.action
		}
	}
	if a != nil && a.kind == toGateway {
		e.Gateway = x.s.gateways[a.group].name
	}
	if n := x.number(ofURI); n != nil {
		e.Number, e.E164 = string(n.dialled.text()), string(n.e164.text())
		if r := x.regionOf(n); r >= 0 {
			e.Region = x.s.regionNames[r]
		}
	}
	return e
}
