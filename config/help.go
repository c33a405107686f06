package config

import (
	"fmt"
	"strings"
)

// Usage is the text about all settings for --help.
func Usage() string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "%s:\n", g.title)
		for i := range g.settings {
			g.settings[i].appendUsage(&b)
		}
		b.WriteByte('\n')
	}
	b.WriteString(`Every flag is also an environment variable: SIPEDGE_ and its name in capitals with _ for -, as in
SIPEDGE_NEXT_HOP. A flag goes before its variable. A variable of a repeatable flag takes several
values with commas between them. Durations have a unit (500ms, 5s, 3m), sizes may (4MiB), and so may
counts (8M).
`)
	return b.String()
}

func (s *setting) appendUsage(b *strings.Builder) {
	fmt.Fprintf(b, "  --%s", s.name)
	if s.arg != "" {
		fmt.Fprintf(b, " %s", s.arg)
	}
	b.WriteByte('\n')
	text := s.usage
	if s.repeat {
		text += " Repeatable."
	}
	if s.def != nil {
		text += " Default: " + s.def() + "."
	} else if !strings.Contains(text, "Default:") && !s.repeat {
		text += " Default: none."
	}
	wrap(b, text, 8, 100)
	if s.arg != "" {
		fmt.Fprintf(b, "        Example: --%s %s\n", s.name, s.example)
	}
}

// wrap writes text in lines of at most width columns, each indented.
func wrap(b *strings.Builder, text string, indent, width int) {
	line := strings.Repeat(" ", indent)
	used := 0 // words in line
	for word := range strings.FieldsSeq(text) {
		if used > 0 && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line, used = strings.Repeat(" ", indent), 0
		}
		if used > 0 {
			line += " "
		}
		line += word
		used++
	}
	b.WriteString(line + "\n")
}
