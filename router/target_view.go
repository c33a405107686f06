package router

import "sipedge/transport"

// TargetView is what there is to see of a target, for explanations and tests.
type TargetView struct {
	URI         string // empty: the Request-URI as it was received
	Next        string // the next hop by name, see TargetSet.AddNext
	Hop         transport.Hop
	Rule        RuleID
	Gateway     uint16
	Group       uint8
	Alternative bool // to the target before it
}

// View shows target i, 0 <= i < Len().
func (s *TargetSet) View(i int) TargetView {
	t := &s.list[i]
	return TargetView{
		URI: string(s.uri(t)), Next: string(s.next(t)), Hop: t.hop, Rule: t.rule, Gateway: t.gateway, Group: t.group,
		Alternative: t.kind != member,
	}
}
