package config

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// PolicySchema is the JSON Schema of a policy file, for editors: they complete keys and show what each means. It knows
// less than sipedge check does: nothing of what goes across the file.
func PolicySchema() []byte {
	b := schemaBuilder{structs: map[string]reflect.Type{}}
	r := jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true, // nothing is required by the schema: what is depends on the rest
		FieldNameTag:               "yaml",
		Mapper:                     b.value,
		LookupComment: func(t reflect.Type, field string) string {
			if field == "" { // of the type itself, which may be no struct
				return ""
			}
			f, _ := t.FieldByName(field)
			return f.Tag.Get("doc")
		},
	}
	s := r.Reflect(&Policy{})
	s.Title = "sipedge policy"
	s.Description = "What a policy file of sipedge may say. sipedge check FILE tells what it means."
	b.refine(s, reflect.TypeFor[Policy]())
	for name, def := range s.Definitions {
		if t := b.structs[name]; t != nil {
			b.refine(def, t)
			s.Definitions[name] = short(def, t)
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("config: the schema cannot be written: " + err.Error())
	}
	return append(text, '\n')
}

type schemaBuilder struct {
	structs map[string]reflect.Type // by their name in the schema
}

func word(pattern string, examples ...any) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern, Examples: examples}
}

// numeric is for what looks like a number to YAML but is text to us: +49, 112.
func numeric(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{s, {Type: "number"}}}
}

const namePattern = `^[A-Za-z][A-Za-z0-9_-]{0,63}$`

// value is the schema of a type that is written in a form of its own; nil for structs and plain types.
func (b schemaBuilder) value(t reflect.Type) *jsonschema.Schema {
	if w, ok := reflect.Zero(t).Interface().(wordValue); ok && t.Kind() == reflect.String {
		s := &jsonschema.Schema{Type: "string"}
		for _, x := range w.words() {
			s.Enum = append(s.Enum, x)
		}
		return s
	}
	const number = `^=?\+?[0-9*#]+(\.\.\+?[0-9*#]+)?$`
	status := &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "integer", Minimum: "200", Maximum: "699"}, word(`^([2-6]xx|[2-6][0-9][0-9]|timeout)$`)}}
	switch t {
	case durationType:
		return word(`^([0-9.]+(ms|s|m|h))+$`, "500ms", "2s")
	case prefixType:
		return word(`^[0-9A-Fa-f:.]+(/[0-9]+)?$`, "192.0.2.0/24", "2001:db8::1")
	case refType:
		return word(namePattern)
	case protocolType:
		s := &jsonschema.Schema{Type: "string"}
		for _, p := range protocols {
			s.Enum = append(s.Enum, p)
		}
		return s
	case zoneType, zoneType.Elem():
		return word("", "Europe/Berlin", "UTC")
	case reflect.TypeFor[HostPort]():
		return word("", "example.com", "example.com:5080")
	case reflect.TypeFor[TargetURI]():
		return word(`^[Ss][Ii][Pp][Ss]?:`, "sip:192.0.2.10:5060", "sip:gw.example.com;transport=tcp", "sips:gw.example.com")
	case reflect.TypeFor[NumberPattern]():
		return numeric(word(number, "+49", "+4930..+4939", "=112"))
	case reflect.TypeFor[TextPattern]():
		return numeric(word("", "*.example.com", "sales-*"))
	case reflect.TypeFor[WeekHours]():
		return word("", "Mon-Fri 08:00-18:00", "Sat,Sun")
	case reflect.TypeFor[Dates]():
		return word(`^([0-9]{4}-)?[0-9]{2}-[0-9]{2}(\.\.([0-9]{4}-)?[0-9]{2}-[0-9]{2})?$`, "2026-04-03", "12-24..12-26")
	case reflect.TypeFor[Failover]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "array", Items: status}, status}}
	case reflect.TypeFor[Headers]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{Type: "string"}}
	case reflect.TypeFor[Region]():
		one := numeric(word(number, "+49", "+4930..+4939"))
		return &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{{Type: "array", Items: one}}, one.OneOf...)}
	case reflect.TypeFor[Country]():
		parts := &jsonschema.Schema{Type: "object", AdditionalProperties: jsonschema.FalseSchema, Properties: jsonschema.NewProperties()}
		form := reflect.TypeFor[countryForm]()
		for i := range form.NumField() {
			f := form.Field(i)
			s := numeric(&jsonschema.Schema{Type: "string"})
			s.Description = f.Tag.Get("doc")
			parts.Properties.Set(keyOf(f), s)
		}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{word(`^([A-Za-z]{2}|\+[0-9]{1,3})$`, "DE", "+49"), {Type: "integer"}, parts}}
	}
	if t.Kind() == reflect.Struct {
		b.structs[t.Name()] = t
	}
	return nil
}

// refine says of the fields of a struct what their tags say.
func (b schemaBuilder) refine(s *jsonschema.Schema, t reflect.Type) {
	for _, key := range keysOf(t) {
		f, _ := fieldByKey(t, key)
		p, ok := s.Properties.Get(key)
		if !ok {
			panic("config: the schema has no " + t.Name() + "." + key)
		}
		if f.Tag.Get("form") == "number" {
			if p.Items != nil {
				p.Items = numeric(p.Items)
			} else {
				*p = jsonschema.Schema{Description: p.Description, OneOf: numeric(&jsonschema.Schema{Type: "string"}).OneOf}
			}
		}
		if least, most := splitRange(f.Tag.Get("range")); least != "" && f.Type.Kind() == reflect.Int {
			p.Minimum, p.Maximum = json.Number(least), json.Number(most)
		}
		if f.Type.Kind() != reflect.Slice || p.Type != "array" {
			continue
		}
		most, _ := strconv.ParseUint(f.Tag.Get("most"), 10, 32)
		if strings.HasSuffix(f.Tag.Get("yaml"), ",named") {
			p.Type, p.AdditionalProperties, p.Items = "object", p.Items, nil
			p.PropertyNames, p.MaxProperties = &jsonschema.Schema{Pattern: namePattern}, &most
			continue
		}
		list := &jsonschema.Schema{Type: "array", Items: p.Items, MaxItems: &most}
		*p = jsonschema.Schema{Description: p.Description, AnyOf: []*jsonschema.Schema{list, p.Items}}
	}
}

// short adds the form of a single value to a struct that has one.
func short(s *jsonschema.Schema, t reflect.Type) *jsonschema.Schema {
	x, ok := reflect.New(t).Interface().(shortForm)
	if !ok {
		return s
	}
	p, _ := s.Properties.Get(x.shortField())
	plain := *p
	plain.Description = ""
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, &plain}}
}
