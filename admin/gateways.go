package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sipedge/router/gateway"
	"sipedge/transport"
)

// gatewayState is one member of a gateway group as GET /gateways shows it.
type gatewayState struct {
	Group    string    `json:"group"`
	Member   string    `json:"member"`
	State    string    `json:"state"`            // what people want of it: up, drain or down
	Health   string    `json:"health"`           // what was seen of it
	Since    time.Time `json:"since"`            // of the last change of either
	Reason   string    `json:"reason,omitempty"` // of that change
	Calls    int64     `json:"calls"`            // live
	MaxCalls int64     `json:"max_calls,omitempty"`
}

// The words of an operator for what the gateways call their states.
var gatewayAdmin = map[string]gateway.Admin{"up": gateway.InService, "drain": gateway.Draining, "down": gateway.OutOfService}

func adminWord(a gateway.Admin) string {
	for w, b := range gatewayAdmin {
		if a == b {
			return w
		}
	}
	return a.String()
}

// Gateways shows the members of all gateway groups and lets people take them out and put them back:
//
//	GET  /gateways                  all of them
//	POST /gateways/GROUP/MEMBER     {"state": "up"}, "drain" (no new calls; those it has go on) or "down"
//
// Call it before Serve.
func (s *Service) Gateways(pool *gateway.Pool) {
	s.mux.HandleFunc("GET /gateways", func(w http.ResponseWriter, _ *http.Request) {
		list := []gatewayState{}
		now, wall := transport.Now(), time.Now()
		for _, m := range pool.Snapshot() {
			if m.Gone {
				continue
			}
			list = append(list, gatewayState{
				Group: m.Group, Member: m.Name, State: adminWord(m.Admin), Health: m.Health.String(),
				Since: wall.Add(-now.Sub(m.Since)).UTC().Round(time.Millisecond), Reason: m.Reason.String(), Calls: m.Calls, MaxCalls: m.MaxCalls,
			})
		}
		answerJSON(w, http.StatusOK, list)
	})
	s.mux.HandleFunc("POST /gateways/{group}/{member}", func(w http.ResponseWriter, r *http.Request) {
		var want struct {
			State string `json:"state"`
		}
		dec := json.NewDecoder(io.LimitReader(r.Body, maxBody))
		dec.DisallowUnknownFields()
		a, ok := gateway.Admin(0), false
		if err := dec.Decode(&want); err == nil {
			a, ok = gatewayAdmin[want.State]
		}
		if !ok {
			answerJSON(w, http.StatusBadRequest, problem{`the body must be {"state": "up"}, {"state": "drain"} or {"state": "down"}`})
			return
		}
		group, member := r.PathValue("group"), r.PathValue("member")
		n := pool.Find(group, member)
		if n == 0 || !pool.Set(n, a, transport.Now()) {
			answerJSON(w, http.StatusNotFound, problem{fmt.Sprintf("there is no member %s in a gateway group %s", member, group)})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// problem is what went wrong, for people.
type problem struct {
	Error string `json:"error"`
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v) // the client may have gone
}

// GatewayMetrics shows the same, and what was refused and answered, as metrics.
func GatewayMetrics(pool *gateway.Pool) prometheus.Collector {
	return newTable(gatewayMetrics, []string{"group", "member"}, func(show func(*gateway.Status, ...string)) {
		for _, m := range pool.Snapshot() {
			if !m.Gone {
				show(&m, m.Group, m.Name)
			}
		}
	})
}

type gatewayStatus = gateway.Status

var gatewayMetrics = []metric[gatewayStatus]{
	{"gateway_up", "1 when the member takes calls, 0 when it is down or was taken out.", gauge, func(m *gatewayStatus) uint64 {
		if m.Health == gateway.Up && m.Admin == gateway.InService {
			return 1
		}
		return 0
	}},
	{"gateway_calls", "Calls at once that count against its limits.", gauge, func(m *gatewayStatus) uint64 { return uint64(max(m.Calls, 0)) }},
	{"gateway_calls_limit", "Most calls at once; 0 for any number.", gauge, func(m *gatewayStatus) uint64 { return uint64(max(m.MaxCalls, 0)) }},
	{"gateway_admitted_total", "Calls let through by its limits.", counter, func(m *gatewayStatus) uint64 { return m.Admitted }},
	{"gateway_calls_full_total", "Calls refused because it had as many as it may have.", counter, func(m *gatewayStatus) uint64 { return m.CallsFull }},
	{"gateway_rate_full_total", "Calls refused because too many came within a second.", counter, func(m *gatewayStatus) uint64 { return m.RateFull }},
	{"gateway_silent_total", "Requests that it did not answer, or that did not reach it.", counter, func(m *gatewayStatus) uint64 { return m.Answers[0] }},
	{"gateway_2xx_total", "Requests that it answered 2xx.", counter, func(m *gatewayStatus) uint64 { return m.Answers[2] }},
	{"gateway_3xx_total", "Requests that it answered 3xx.", counter, func(m *gatewayStatus) uint64 { return m.Answers[3] }},
	{"gateway_4xx_total", "Requests that it answered 4xx.", counter, func(m *gatewayStatus) uint64 { return m.Answers[4] }},
	{"gateway_5xx_total", "Requests that it answered 5xx.", counter, func(m *gatewayStatus) uint64 { return m.Answers[5] }},
	{"gateway_6xx_total", "Requests that it answered 6xx.", counter, func(m *gatewayStatus) uint64 { return m.Answers[6] }},
}
