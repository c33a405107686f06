package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sipedge/transport"
)

// Flags are the command line's values as they were given; Load checks them.
type Flags struct {
	raw map[string]*rawFlag
}

// rawFlag keeps what was given without a look at it, so that every problem can be told at once and
// not only the first.
type rawFlag struct {
	setting *setting
	values  []string
}

func (r *rawFlag) Set(v string) error {
	if !r.setting.repeat {
		r.values = r.values[:0] // the last one counts, so that a script can append to another's flags
	}
	r.values = append(r.values, v)
	return nil
}

func (r *rawFlag) String() string { return strings.Join(r.values, ",") }
func (r *rawFlag) Type() string   { return r.setting.arg }

// Register adds the flag of every setting to fs.
func Register(fs *pflag.FlagSet) *Flags {
	f := &Flags{raw: map[string]*rawFlag{}}
	for s := range settings {
		r := &rawFlag{setting: s}
		f.raw[s.name] = r
		flag := fs.VarPF(r, s.name, "", s.usage)
		if s.arg == "" {
			flag.NoOptDefVal = "on"
		}
	}
	return f
}

// settings walks the table.
func settings(yield func(*setting) bool) {
	for g := range groups {
		for s := range groups[g].settings {
			if !yield(&groups[g].settings[s]) {
				return
			}
		}
	}
}

// Problem is one value that was refused.
type Problem struct {
	Setting string // name of the flag, without dashes
	Env     string // the variable that it came from; empty: the flag
	Value   string
	Err     error
	Example string
}

func (p Problem) Error() string {
	if p.Env != "" {
		return fmt.Sprintf("--%s (from %s) %q: %v (example: %s=%s)", p.Setting, p.Env, p.Value, p.Err, p.Env, p.Example)
	}
	return fmt.Sprintf("--%s %q: %v (example: --%s=%s)", p.Setting, p.Value, p.Err, p.Setting, p.Example)
}

// draft is a Config in the making.
type draft struct {
	cfg       Config
	env       map[string]string
	advertise []advertise
	certs     []string          // --tls-cert
	keys      []string          // --tls-key
	from      map[string]string // setting name -> environment variable that its value came from
	problems  []error
}

func (d *draft) warn(format string, args ...any) {
	d.cfg.Warnings = append(d.cfg.Warnings, fmt.Sprintf(format, args...))
}

func (d *draft) problem(name, value string, err error) {
	var example string
	for s := range settings {
		if s.name == name {
			example = s.example
		}
	}
	d.problems = append(d.problems, Problem{name, d.from[name], value, err, example})
}

// Load makes a Config out of the flags, the environment (as os.Environ returns it) and the defaults,
// in this order of precedence. An empty variable counts as absent; a variable of a repeatable
// flag holds several values with commas or spaces between them. The error joins every Problem.
func (f *Flags) Load(environ []string) (*Config, error) {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	d := &draft{env: env, from: map[string]string{}}
	for s := range settings {
		values := f.raw[s.name].values
		if v := env[s.env()]; len(values) == 0 && v != "" {
			d.from[s.name] = s.env()
			values = []string{v}
			if s.repeat {
				values = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
			}
		}
		if len(values) == 0 && s.def != nil {
			values = []string{s.def()}
		}
		for _, v := range values {
			if err := s.setValue(d, v); err != nil {
				d.problem(s.name, v, err)
			}
		}
	}
	d.complete()
	if len(d.problems) > 0 {
		return nil, errors.Join(d.problems...)
	}
	return &d.cfg, nil
}

func (s *setting) setValue(d *draft, v string) error {
	if v == "" {
		return errors.New("the value is empty")
	}
	return s.set(d, v)
}

// complete fills in the defaults that depend on other settings, and checks what goes across settings.
func (d *draft) complete() {
	c := &d.cfg
	d.applyAdvertise()
	d.completeStreams()
	// UDP first: the engines number their listeners one after the other.
	slices.SortStableFunc(c.Listeners, func(a, b Listener) int { return int(min(a.Proto, transport.TCP)) - int(min(b.Proto, transport.TCP)) })
	if c.DataDir == "" && !d.has("data-dir") {
		var err error
		if c.DataDir, err = defaultDataDir(os.Geteuid(), d.env); err != nil {
			d.problem("data-dir", "", err)
		}
	}
	if c.Admin == (Admin{}) && c.DataDir != "" && !d.has("admin") {
		if err := d.setAdminSocket(filepath.Join(c.DataDir, "admin.sock")); err != nil {
			d.problem("data-dir", c.DataDir, fmt.Errorf("the admin socket does not fit in it: %w; give another --data-dir or --admin", err))
		}
	}
	if c.T2 < c.T1 && !d.has("t1") && !d.has("t2") {
		d.problem("t2", c.T2.String(), fmt.Errorf("it is less than --t1 (%v)", c.T1))
	}
	if c.TimerC <= timerCFloor && !d.has("timer-c") {
		d.warn("--timer-c %v: RFC 3261 section 16.6 wants more than %v; calls that ring longer are cancelled", c.TimerC, timerCFloor)
	}
	if c.OpenRelay && slices.ContainsFunc(c.Listeners, func(l Listener) bool { return !l.Addr.Addr().IsLoopback() }) {
		d.warn("--open-relay: anyone who can reach this machine can send requests through it to anywhere")
	}
	if t := c.NextHop; t != nil {
		if l := c.listenerAt(t); l != nil {
			d.problem("next-hop", t.Text, fmt.Errorf("it is our own listener %v; every request would come back", l))
		} else if err := c.reachable(t); err != nil {
			d.problem("next-hop", t.Text, err)
		}
	}
	d.loadPolicy()
	d.warnUnknown()
}

// loadPolicy reads --policy when everything that it is checked against is known.
func (d *draft) loadPolicy() {
	c := &d.cfg
	c.Policy = DefaultPolicy()
	if c.PolicyFile == "" {
		return
	}
	p, warnings, err := LoadPolicy(c.PolicyFile, c)
	var problems PolicyErrors
	switch {
	case errors.As(err, &problems): // they name the file and each place in it
		d.problems = append(d.problems, problems)
	case err != nil:
		d.problem("policy", c.PolicyFile, err)
	default:
		c.Policy = p
		c.Warnings = append(c.Warnings, warnings...)
	}
}

// has tells whether the setting was refused already; then what follows from it is no news.
func (d *draft) has(name string) bool {
	return slices.ContainsFunc(d.problems, func(err error) bool {
		var p Problem
		return errors.As(err, &p) && p.Setting == name
	})
}

// warnUnknown names the variables that look like ours and are not: mistyped, most likely.
func (d *draft) warnUnknown() {
	known := map[string]bool{}
	for s := range settings {
		known[s.env()] = true
	}
	for _, k := range slices.Sorted(maps.Keys(d.env)) {
		if strings.HasPrefix(k, "SIPEDGE_") && !known[k] {
			d.warn("the environment variable %s is no setting of sipedge and is ignored", k)
		}
	}
}

// FlagError says of an error of the flag parser how it would be right.
func FlagError(err error) error {
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		for s := range settings {
			if s.name == missing.GetSpecifiedName() {
				return Problem{Setting: s.name, Err: errors.New("the value is missing"), Example: s.example}
			}
		}
	}
	return err
}
