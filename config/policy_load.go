package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// LoadPolicy reads a policy file. With cfg, what the flags and the file say is checked against each other. The warnings
// are about what works but is most likely not meant. The error is PolicyErrors, everything that is wrong at once, or
// says why the file cannot be read.
func LoadPolicy(file string, cfg *Config) (p *Policy, warnings []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile+1))
	if err != nil {
		return nil, nil, err
	}
	return ParsePolicy(file, text, cfg)
}

// ParsePolicy is LoadPolicy of a text; name stands for the file in messages.
func ParsePolicy(name string, text []byte, cfg *Config) (p *Policy, warnings []string, err error) {
	d := &decoder{file: name, where: map[string]*yaml.Node{}, left: maxPolicyNodes}
	p = DefaultPolicy()
	if root := d.parse(text); root != nil {
		d.value(root, reflect.ValueOf(p).Elem(), "", "")
		d.resolve(p)
		c := checker{decoder: d, p: p, cfg: cfg}
		c.check()
		warnings = c.warnings
	}
	if len(d.problems) == 0 {
		return p, warnings, nil
	}
	d.problems.sort()
	if more := len(d.problems) - maxProblems; more > 0 {
		d.problems = append(d.problems[:maxProblems:maxProblems], PolicyProblem{File: name, Message: fmt.Sprintf("and %d more problems", more)})
	}
	return nil, nil, d.problems
}

// parse makes the one document of a policy file out of its text; nil for an empty one and after a problem.
func (d *decoder) parse(text []byte) *yaml.Node {
	if len(text) > maxPolicyFile {
		d.problem(nil, "the file has more than %d bytes", maxPolicyFile)
		return nil
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSuffix(line, "\r")
		d.lines = append(d.lines, line)
		if !utf8.ValidString(line) {
			d.problem(&yaml.Node{Line: i + 1, Column: 1}, "the line is not UTF-8")
			return nil
		}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		d.problem(nil, "%v", err)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil && len(second.Content) > 0:
		d.problem(second.Content[0], "a second document begins here; a policy file has one")
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil
	}
	return doc.Content[0]
}

// syntax tells what the YAML reader could not read.
func (d *decoder) syntax(err error) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		d.problem(nil, "no YAML: %v", err)
		return
	}
	message := e.Message
	if e.ContextMsg != "" {
		message = e.ContextMsg + ": " + message
	}
	if strings.Contains(message, "found character that cannot start any token") && e.Mark.Line <= len(d.lines) && strings.Contains(d.lines[max(0, e.Mark.Line-1)], "\t") {
		message += " (YAML is indented by spaces, not by tabs)"
	}
	d.problem(&yaml.Node{Line: min(max(e.Mark.Line, 1), len(d.lines)), Column: max(e.Mark.Column, 1)}, "no YAML: %s", message)
}

// resolve looks up every name that was read.
func (d *decoder) resolve(p *Policy) {
	index := map[string]map[string]int{"regions": {}, "schedules": {}, "peers": {}, "gateways": {}}
	for i := range p.Regions {
		index["regions"][p.Regions[i].Name] = i
	}
	for i := range p.Schedules {
		index["schedules"][p.Schedules[i].Name] = i
	}
	for i := range p.Peers {
		index["peers"][p.Peers[i].Name] = i
	}
	for i := range p.Gateways {
		index["gateways"][p.Gateways[i].Name] = i
	}
	for _, r := range d.refs {
		if r.list == "peers" && (r.ref.Name == "any" || r.ref.Name == "none") {
			continue // the route's match has them
		}
		i, ok := index[r.list][r.ref.Name]
		if !ok {
			d.unknownName(r, index[r.list])
		}
		r.ref.Index = i
	}
}

func (d *decoder) unknownName(r pendingRef, names map[string]int) {
	one := map[string]string{"regions": "region", "schedules": "schedule", "peers": "peer", "gateways": "gateway group"}[r.list]
	words := make([]string, 0, len(names))
	for n := range names {
		words = append(words, n)
	}
	slices.Sort(words)
	switch w := nearest(r.ref.Name, words); {
	case w != "":
		d.at(r.path, "there is no %s %q; did you mean %q?", one, r.ref.Name, w)
	case len(words) == 0:
		d.at(r.path, "there is no %s %q; the file has no %q", one, r.ref.Name, r.list)
	default:
		d.at(r.path, "there is no %s %q under %q", one, r.ref.Name, r.list)
	}
}
