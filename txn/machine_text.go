package txn

import "strings"

var (
	kindNames   = [numKinds]string{"INVITE server", "non-INVITE server", "INVITE client", "non-INVITE client"}
	stateNames  = [numStates]string{"None", "Calling", "Trying", "Proceeding", "Accepted", "Completed", "Confirmed", "Terminated"}
	inputNames  = [numInputs]string{"RecvRequest", "RecvACK", "Send1xx", "Send2xx", "Send3to6xx", "Recv1xx", "Recv2xx", "Recv3to6xx", "Cancelled", "FireRetransmit", "FireDeadline", "TransportError"}
	actionNames = [8]string{"Send", "SendTrying", "Resend", "SendACK", "Inform", "InformTimeout", "InformTransportError", "Terminate"}
)

func (k Kind) String() string  { return kindNames[k] }
func (s State) String() string { return stateNames[s] }
func (i Input) String() string { return inputNames[i] }

// String lists the actions in the order in which they are carried out; "-" for none.
func (a Action) String() string {
	if a == 0 {
		return "-"
	}
	var names []string
	for i, name := range actionNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
