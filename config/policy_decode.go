package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sipedge/transport"
)

// decoder makes values out of the nodes of a YAML document. It goes on after a mistake, so that all of them are told at
// once, and remembers where things stood, so that what goes across the file can be told with its place.
type decoder struct {
	file     string
	lines    []string
	problems PolicyErrors
	where    map[string]*yaml.Node // by path, as in routes[3].match.method
	refs     []pendingRef
	left     int // nodes that may still be read: aliases of aliases multiply
}

// pendingRef is a name to be looked up when everything is read.
type pendingRef struct {
	ref  *Ref
	list string
	path string
}

// A value type of its own decodes itself in one of these forms.
type (
	// textValue is written as one scalar.
	textValue interface{ setText(s string) error }
	// nodeValue is written in more than one form.
	nodeValue interface {
		decode(d *decoder, n *yaml.Node, path string)
	}
	// wordValue is one of a few words.
	wordValue interface{ words() []string }
	// defaulter fills in defaults before what the file says.
	defaulter interface{ setDefaults() }
	// shortForm names the field that a scalar in the place of the whole sets.
	shortForm interface{ shortField() string }
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	refType      = reflect.TypeFor[Ref]()
	protocolType = reflect.TypeFor[transport.Protocol]()
	zoneType     = reflect.TypeFor[*time.Location]()
)

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	p := PolicyProblem{File: d.file, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
		if p.Line > 0 && p.Line <= len(d.lines) {
			p.Source = d.lines[p.Line-1]
		}
	}
	d.problems = append(d.problems, p)
}

// at tells a problem of what stands at path, or of the nearest thing around it.
func (d *decoder) at(path, format string, args ...any) {
	d.problem(d.node(path), format, args...)
}

func (d *decoder) node(path string) *yaml.Node {
	for {
		if n := d.where[path]; n != nil {
			return n
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.where[""]
		}
		path = path[:i]
	}
}

func (d *decoder) line(path string) int {
	if n := d.node(path); n != nil {
		return n.Line
	}
	return 0
}

// value decodes n into v, which is addressable. tag is that of the field that holds it.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if d.left--; d.left < 0 {
		if d.left == -1 {
			d.problem(n, "the file is too large when its aliases are filled in (more than %d values)", maxPolicyNodes)
		}
		return
	}
	if d.where[path] == nil {
		d.where[path] = n
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		d.problem(n, "%s has no value", last(path))
		return
	}
	t := v.Type()
	switch x := v.Addr().Interface().(type) {
	case nodeValue:
		x.decode(d, n, path)
		return
	case textValue:
		d.text(n, path, x.setText)
		return
	}
	switch {
	case t == refType:
		d.text(n, path, func(s string) error {
			v.Set(reflect.ValueOf(Ref{Name: s}))
			d.refs = append(d.refs, pendingRef{v.Addr().Interface().(*Ref), tag.Get("ref"), path})
			return nil
		})
	case t == durationType:
		d.text(n, path, func(s string) error { return setRangedDuration(v, s, tag.Get("range")) })
	case t == prefixType:
		d.text(n, path, func(s string) error {
			p, err := parsePrefix(s)
			v.Set(reflect.ValueOf(p))
			return err
		})
	case t == protocolType:
		d.text(n, path, func(s string) error {
			p, err := parseProtocol(s)
			v.Set(reflect.ValueOf(p))
			return err
		})
	case t == zoneType:
		d.text(n, path, func(s string) error {
			zone, err := parseZone(s)
			v.Set(reflect.ValueOf(zone))
			return err
		})
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		setDefaults(v.Elem())
		d.value(n, v.Elem(), path, tag)
	case t.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case t.Kind() == reflect.Slice:
		d.list(n, v, path, tag)
	case t.Kind() == reflect.String:
		d.text(n, path, func(s string) error {
			if err := checkText(s); err != nil {
				return err
			}
			if w, ok := v.Addr().Interface().(wordValue); ok {
				if err := checkWord(s, w.words()); err != nil {
					return err
				}
			}
			v.SetString(s)
			return nil
		})
	case t.Kind() == reflect.Bool:
		d.text(n, path, func(s string) error {
			switch strings.ToLower(s) {
			case "true", "on", "yes":
				v.SetBool(true)
			case "false", "off", "no":
				v.SetBool(false)
			default:
				return fmt.Errorf("%q is neither true nor false", s)
			}
			return nil
		})
	case t.Kind() == reflect.Int:
		d.text(n, path, func(s string) error { return setRangedInt(v, s, tag.Get("range")) })
	default:
		panic("config: no way to read " + t.String())
	}
}

// text hands the text of a scalar to set.
func (d *decoder) text(n *yaml.Node, path string, set func(s string) error) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "%s is %s; it must be a single value", last(path), kindName(n))
		return
	}
	if err := set(n.Value); err == nil {
		return
	} else if strings.HasSuffix(path, "]") { // the value itself says enough
		d.problem(n, "%v", err)
	} else {
		d.problem(n, "%s: %v", last(path), err)
	}
}

// list decodes a sequence, or a single value as a list of one. With the option "named" it is a mapping from names.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	most, _ := strconv.Atoi(tag.Get("most"))
	_, option, _ := strings.Cut(tag.Get("yaml"), ",")
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // given and empty is not absent
	one := func(n *yaml.Node, path, name string) {
		if v.Len() == most {
			d.problem(n, "more than %d entries in %s", most, last(path))
			return
		}
		if v.Len() > most {
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		setDefaults(e)
		if option == "named" {
			e.FieldByName("Name").SetString(name)
		}
		if line := e.Kind() == reflect.Struct && e.FieldByName("Line").IsValid(); line {
			e.FieldByName("Line").SetInt(int64(n.Line))
		}
		v.Set(reflect.Append(v, e)) // within the capacity, so that pendingRef's pointers stay good
		d.value(n, v.Index(v.Len()-1), path, tag)
	}
	if option == "named" {
		if n.Kind != yaml.MappingNode {
			d.problem(n, "%s is %s; it must be NAME: and what belongs to it, for each", last(path), kindName(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, min(len(n.Content)/2, most)))
		d.eachKey(n, path, func(key, value *yaml.Node) {
			if err := checkName(key.Value); err != nil {
				d.problem(key, "%v", err)
				return
			}
			if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
				d.problem(key, "%s has no value", key.Value)
				return
			}
			name := path + "." + key.Value
			d.where[name] = key
			one(value, name, key.Value)
		})
		return
	}
	if n.Kind != yaml.SequenceNode {
		v.Set(reflect.MakeSlice(v.Type(), 0, 1))
		one(n, path+"[0]", "")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, min(len(n.Content), most)))
	for i, e := range n.Content {
		one(e, fmt.Sprintf("%s[%d]", path, i), "")
	}
}

// eachKey walks a mapping and refuses keys that come twice.
func (d *decoder) eachKey(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch line, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.problem(key, "a key must be a word")
			continue
		case key.Tag == "!!merge":
			d.problem(key, "<< is not supported; write the values out, or give the whole of it an anchor (&name) and use it with *name")
			continue
		case twice:
			d.problem(key, "%q is given twice; the first one is in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(key, value)
	}
}

// structure decodes a mapping into a struct.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if s, ok := v.Addr().Interface().(shortForm); ok && n.Kind != yaml.MappingNode {
		f, _ := fieldOf(v, s.shortField())
		field, _ := fieldByKey(v.Type(), s.shortField())
		d.value(n, f, path, field.Tag)
		return
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s is %s; it must have keys: %s", last(path), kindName(n), oneOf(keysOf(v.Type())))
		return
	}
	d.eachKey(n, path, func(key, value *yaml.Node) {
		f, ok := fieldOf(v, key.Value)
		if !ok {
			d.unknownKey(key, v.Type(), path)
			return
		}
		field, _ := fieldByKey(v.Type(), key.Value)
		at := join1(path, key.Value)
		d.where[at] = value
		if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
			d.problem(key, "%s has no value", key.Value)
			return
		}
		d.value(value, f, at, field.Tag)
	})
}

func (d *decoder) unknownKey(key *yaml.Node, t reflect.Type, path string) {
	keys := keysOf(t)
	if w := nearest(key.Value, keys); w != "" {
		d.problem(key, "%q is no key here; did you mean %q?", key.Value, w)
		return
	}
	// Perhaps it stands one step too far to the left.
	for _, k := range keys {
		f, _ := fieldByKey(t, k)
		inner := f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			if _, ok := fieldByKey(inner, key.Value); ok {
				d.problem(key, "%q is no key here; it belongs under %q", key.Value, k)
				return
			}
		}
	}
	what := "here"
	if path != "" {
		what = "of " + last(path)
	}
	d.problem(key, "%q is no key here; the keys %s are %s", key.Value, what, oneOf(keys))
}

// setDefaults fills in the defaults of v and of the structs in it.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if f := v.Field(i); v.Type().Field(i).IsExported() {
			setDefaults(f)
		}
	}
	if x, ok := v.Addr().Interface().(defaulter); ok {
		x.setDefaults()
	}
}

// keyOf is the key of a field in the file; "" for one that is not there.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// keysOf lists the keys of a struct in their order, those of embedded structs included.
func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			keys = append(keys, keysOf(f.Type)...)
		} else if k := keyOf(f); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

func fieldByKey(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			if inner, ok := fieldByKey(f.Type, key); ok {
				inner.Index = append([]int{i}, inner.Index...)
				return inner, true
			}
		} else if key != "" && keyOf(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	f, ok := fieldByKey(v.Type(), key)
	if !ok {
		return reflect.Value{}, false
	}
	return v.FieldByIndex(f.Index), true
}

func join1(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// last is how a message names what stands at path: its last key.
func last(path string) string {
	if path == "" {
		return "the file"
	}
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		path = path[i+1:]
	}
	if i := strings.IndexByte(path, '['); i >= 0 {
		return "an entry of " + path[:i]
	}
	return path
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.ScalarNode:
		return fmt.Sprintf("the single value %q", n.Value)
	}
	return "something else"
}
