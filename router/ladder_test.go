package router_test

import (
	"flag"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A ladder is a whole call on a simulated clock and network, as text one can read aloud:
//
//	# RFC 3261 section 16.7 step 10: the first 2xx cancels the other branch
//	targets b1 + b2
//
//	0ms     alice > edge   INVITE sip:bob@example.com
//	0ms     edge  > alice  100 Trying
//	0ms     edge  > b1     INVITE sip:b1@192.0.2.1:5060
//	                       Max-Forwards: 69
//	0ms     edge  > b2     INVITE sip:b2@192.0.2.2:5060
//	...
//	60s     end
//
// Lines sent by an actor are inputs: the actor makes the message as a real user agent would (see
// actor_ladder_test.go) and it travels over the simulated network to the real router. Lines sent by an
// edge are expectations: everything that the edge sends must be listed, in order, at the exact virtual
// millisecond, and nothing else may come until the line "end", where no transaction, branch, byte or
// timer may be left. `go test ./router -run TestLadders -update` rewrites the edge's lines.
//
// # Settings
//
// They stand before the first timed line. Each is about the edge called "edge"; "edge2 mode stateless" sets it for
// a second proxy, which is there if any line names it.
//
//	mode stateful|stateless            record-route auto|always|never
//	domain HOST[:PORT]...              what is ours; default example.com
//	next-hop NAME|HOST:PORT|none       default bob
//	advertise HOST[:PORT]              open-relay            force-rport
//	T1|T2|T4|C DURATION                decision-timeout DURATION
//	max-transactions N                 max-bytes N           loops N
//	targets b1 + b2, b3                Decide answers at once, for requests to the first domain that are in no dialog of ours: b1 and
//	                                   b2 together, then b3; also URIs, "via NAME" (a hop; the Request-URI stays), "next URI" (the URI
//	                                   says where, the Request-URI stays), a status, "default". "b1 | b2": b2 in the place of b1 when
//	                                   that fails over. "b1 by RULE": with a rule; "b1 as 7": it stands for gateway 7
//	again b1 + b2, b3                  the same for tel URIs, and for the user "again" of any domain
//	rule NAME WORDS...                 statuses that fail over, silence, timeout D, overflow STATUS, recurse, then RULE
//	full 7...                          gateway 7 has no room
//	dialogs [most N] [duration D]      calls of rules with the word "counted" are watched
//	dns [NAME b1 b2...]                names can be looked up; this one is known already (NAME none: not to exist)
//	decide later                       Decide suspends; a line "rules > edge  b1 + b2, b3" or "rules > edge  404" answers
//	decide panics                      Decide panics if the user part of the Request-URI is "crash"
//	actor NAME ADDRESS:PORT            an address of one's own choice; well-known names have one (see network_ladder_test.go)
//	NAME behind ADDRESS:PORT           packets of NAME come from there (a NAT)
//	NAME speaks rfc2543|no-rport       rfc2543: no branch with the cookie
//	NAME over tcp|tls|ws|wss           how NAME speaks; otherwise over UDP (see stream_ladder_test.go)
//	NAME also tcp                      can be reached by that too
//	NAME proves NAME                   what NAME's certificate shows, on TLS connections from NAME
//	NAME refuses [DURATION]            connections to NAME, so much after the attempt
//	listen tcp tls:5071 ws:ADDR:PORT   further listeners; the usual port, and edge's address, where none is given
//	listen-only tcp...                 the same, and no UDP listener
//	mtu-switch                         via-maddr
//
// # Messages
//
//	METHOD URI        a request outside a dialog: a new call, or the next attempt of the same call
//	METHOD            a request inside the dialog; CANCEL, and ACK for a failure, by the rules of their INVITE
//	CODE Reason       a response to the last such request received
//
// On an edge's line the URI of a request is the Request-URI, and it is always there.
//
// Notes in brackets at the end of a line, separated by commas:
//
//	(BYE)             a response: which method it answers, unless that is INVITE
//	(again)           the same bytes once more; on an edge's line: it is byte for byte what was sent there before, else it must not be
//	(fork)            the last such request once more as another branch of a proxy upstream sends it: only its topmost Via is new
//	(relay)           what a proxy would send on: the last such message received, with a Via more, or for a response one less
//	(call 2)          which call, by Call-ID, unless 1
//	(to b1)           which dialog of the call, by the far end; otherwise the latest
//	(request 1)       which of several requests with one Call-ID a response answers, in the order received; otherwise the latest
//	(in dialog)       a request with a URI, inside the dialog all the same
//	(lost)            never arrives
//	(twice)           arrives twice
//	(late 30ms)       arrives so much later
//	(loop 1)          arrives at that loop; otherwise at loop 0
//	(meanwhile)       arrives at another loop while the one before it is still inside Send, holding the context's claim
//	(connection 2)    by which of the actor's connections, in the order they were made by either side; otherwise an input comes by the
//	                  connection of the request that it answers, else the latest one, else a new one; and an edge's line is by the first
//	(Timer A)         on an edge's line: for the reader
//
// Other lines:
//
//	10ms  bob > edge       ICMP              the last datagram that the edge sent to bob comes back as unreachable
//	10ms  bob > edge       junk TEXT         these bytes, with Go escapes
//	10ms  bob > edge       connects          a new connection
//	10ms  bob > edge       closes            his latest connection, or (connection 1), ends, and the edge's transport knows
//	10ms  bob > edge       breaks            the same, and the edge's transport learns of it when it sends something
//	10ms  rules > edge     b1 + b2, b3       the answer of a suspended decision
//	10ms  operator > edge  drain
//	10ms  operator > edge  fills 7            gateway 7 has no room, until "empties 7"
//	10ms  dns > edge       NAME = b1, b2      the answer of DNS; also "none" and "failed"
//	10ms  operator > edge  probe 7 gw 2s      a probe of the edge's own, with its number and timeout; also a URI
//	10ms  operator > edge  sends 7 BYE URI    another request of its own
//	10ms  network > edge   blocks bob     from now on the edge's Send to bob finds no room, until "frees bob"
//	10ms  check                              the lines below it are counters of the router or the store, "gateway 7 Started", "gateway 7 asked" and
//	                                         the like, "blocked b1", the milliseconds for which it is, "probe 7", its result, "calls",
//	                                         those that are watched, or "calls 7", the places that they take at gateway 7
//
// # Headers
//
// Lines that begin with a blank belong to the message above them. Under an input they change it, under an expectation
// they are claims about it; {bob} stands for bob's address and port, {bob route} for the route set that bob learned,
// {bob toproute} for its first value, {bob routeuri} for
// the URI in that, {bob badroute} for the route set with one character of a token changed, {bob tag} for his tag, {bob source} for the address that his latest connection comes from, {bob path} for
// the Path of the last REGISTER that he received, and {bob badpath} for that with one character changed, {bob via} for the topmost Via of the
// last request he received, {callid} for the Call-ID,
// {fill 100} for so many letters;
// {bob route 2} is that of call 2.
//
//	Name: value       input: replaces (a second such line adds). edge: all values of the header are exactly this
//	Name#2: value     edge: its second value is this
//	Name ~ text       edge: some value of it has this text in it; also Name#2 ~ text
//	!Name             input: without it. edge: it is not there; also !Name ~ text
//	+Name: value      input: one more, at the end
//	^Name: value      input: one more, at the top
//	Start: line       input: the whole start line
//	Body: text        input: with Go escapes; "sdp" and "none" are understood
//
// Every message of the edge is checked for more than the line says: see check_ladder_test.go.

var update = flag.Bool("update", false, "rewrite the edge's lines of the ladders")

func TestLadders(t *testing.T) {
	for name, path := range ladders(t) {
		t.Run(name, func(t *testing.T) {
			l, text := openLadder(t, path)
			n := newNetwork(l, *update, startRouter)
			defer n.close()
			err := n.run()
			if *update {
				if now := l.String(); now != text {
					if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err != nil {
				t.Fatalf("%s:%v", path, err)
			}
		})
	}
}

// TestLaddersOnThreeLoops plays each ladder once more with every packet coming to another loop than the one before: nobody
// outside may notice.
func TestLaddersOnThreeLoops(t *testing.T) {
	for name, path := range ladders(t) {
		l, _ := openLadder(t, path)
		if slices.ContainsFunc(l.settings, func(s setting) bool { return s.words[0] == "loops" || s.words[0] == "max-transactions" }) {
			continue // it is about a certain number of loops, or of transactions of one loop
		}
		t.Run(name, func(t *testing.T) {
			l.spreadOver(3)
			n := newNetwork(l, false, startRouter)
			n.spread = true
			defer n.close()
			if err := n.run(); err != nil {
				t.Fatalf("%s:%v", path, err)
			}
		})
	}
}

// ladders is the name and path of each ladder there is, in order.
func ladders(t *testing.T) iter.Seq2[string, string] {
	root := filepath.Join("testdata", "ladders")
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txt") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no ladders under", root)
	}
	return func(yield func(name, path string) bool) {
		for _, path := range files {
			name, _ := filepath.Rel(root, strings.TrimSuffix(path, ".txt"))
			if !yield(filepath.ToSlash(name), path) {
				return
			}
		}
	}
}

func openLadder(t *testing.T, path string) (*ladder, string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := readLadder(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return l, string(text)
}
