package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sipedge/router/gateway"
	"sipedge/transport"
)

// A member is taken out and put back, and what is shown follows.
func TestGateways(t *testing.T) {
	pool := gateway.NewPool()
	groups, err := pool.Prepare([]gateway.GroupSpec{{Name: "carriers", Members: []gateway.MemberSpec{{Name: "a", Calls: 7}, {Name: "192.0.2.1:5060"}}}}, transport.Now())
	if err != nil {
		t.Fatal(err)
	}
	pool.Activate(groups, transport.Now())
	s, err := New(func(m string) { t.Error(m) }, GatewayMetrics(pool))
	if err != nil {
		t.Fatal(err)
	}
	s.Gateways(pool)
	c, _ := start(t, s)

	post := func(path, body string) (int, string) {
		t.Helper()
		resp, err := c.Post("http://admin"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var p problem
		json.NewDecoder(resp.Body).Decode(&p)
		return resp.StatusCode, p.Error
	}
	shown := func(member string) (g gatewayState) {
		t.Helper()
		_, text := get(t, c, "/gateways")
		var list []gatewayState
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 2 {
			t.Fatalf("%v: %s", err, text)
		}
		for _, g := range list {
			if g.Member == member {
				return g
			}
		}
		t.Fatalf("%s lacks %s", text, member)
		return g
	}
	if g := shown("a"); g.Group != "carriers" || g.State != "up" || g.Health != "up" || g.MaxCalls != 7 || g.Calls != 0 || time.Since(g.Since) > time.Minute || time.Since(g.Since) < -time.Minute {
		t.Errorf("%+v", g)
	}
	for _, state := range []string{"drain", "down", "up"} {
		if status, text := post("/gateways/carriers/192.0.2.1:5060", fmt.Sprintf(`{"state": %q}`, state)); status != http.StatusNoContent {
			t.Errorf("%s: %d %s", state, status, text)
		}
		if g := shown("192.0.2.1:5060"); g.State != state || g.Reason != "set by hand" {
			t.Errorf("%s: %+v", state, g)
		}
		up := 0
		if state == "up" {
			up = 1
		}
		_, text := get(t, c, "/metrics")
		if want := fmt.Sprintf("sipedge_gateway_up{group=\"carriers\",member=\"192.0.2.1:5060\"} %d\n", up); !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
		if g := shown("a"); g.State != "up" {
			t.Errorf("the other one is %+v", g)
		}
	}
	for path, bodies := range map[string][]string{
		"/gateways/carriers/a": {"", "{}", `{"state": "off"}`, `{"state": 1}`, `{"state": "up", "x": 1}`, strings.Repeat(" ", 2*maxBody) + `{"state": "up"}`},
		"/gateways/carriers/b": {`{"state": "up"}`}, "/gateways/others/a": {`{"state": "up"}`},
	} {
		want := http.StatusBadRequest
		if path != "/gateways/carriers/a" {
			want = http.StatusNotFound
		}
		for _, body := range bodies {
			if status, text := post(path, body); status != want || text == "" {
				t.Errorf("%s %.40q: %d %q", path, body, status, text)
			}
		}
	}
}
