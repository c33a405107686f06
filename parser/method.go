package parser

// Method is a request method. Those that the IANA registry "SIP Methods" lists have a number;
// any other token is MethodOther and goes through by its name.
type Method uint8

const (
	MethodOther Method = iota
	MethodInvite
	MethodAck
	MethodBye
	MethodCancel
	MethodRegister
	MethodOptions
	MethodInfo
	MethodPrack
	MethodUpdate
	MethodSubscribe
	MethodNotify
	MethodPublish
	MethodMessage
	MethodRefer
	numMethods
)

var methodNames = [numMethods]string{
	"", "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "PRACK", "UPDATE",
	"SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER",
}

// String is the name on the wire; empty for MethodOther.
func (m Method) String() string {
	if m < numMethods {
		return methodNames[m]
	}
	return ""
}

// LookupMethod finds the number of a method's name. RFC 3261 section 20.16: "The method part of CSeq is case-sensitive."
func LookupMethod(name []byte) Method {
	switch len(name) {
	case 3:
		switch string(name) {
		case "ACK":
			return MethodAck
		case "BYE":
			return MethodBye
		}
	case 4:
		if string(name) == "INFO" {
			return MethodInfo
		}
	case 5:
		switch string(name) {
		case "PRACK":
			return MethodPrack
		case "REFER":
			return MethodRefer
		}
	case 6:
		switch string(name) {
		case "INVITE":
			return MethodInvite
		case "CANCEL":
			return MethodCancel
		case "NOTIFY":
			return MethodNotify
		case "UPDATE":
			return MethodUpdate
		}
	case 7:
		switch string(name) {
		case "OPTIONS":
			return MethodOptions
		case "PUBLISH":
			return MethodPublish
		case "MESSAGE":
			return MethodMessage
		}
	case 8:
		if string(name) == "REGISTER" {
			return MethodRegister
		}
	case 9:
		if string(name) == "SUBSCRIBE" {
			return MethodSubscribe
		}
	}
	return MethodOther
}
