package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// countryForm is a Country written out.
type countryForm struct {
	Code          string `yaml:"code" doc:"Calling code, as in +49."`
	National      string `yaml:"national" doc:"What is dialled before a national number, as in 0. Default: nothing."`
	International string `yaml:"international" doc:"What is dialled before an international number, as in 00."`
	Digits        string `yaml:"digits" doc:"Digits of a national number that is dialled with nothing before it, as in 10 or 8-11. Default: nobody dials so."`
}

// decode reads an ISO code (DE), a calling code (+49) or the parts.
func (c *Country) decode(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		d.text(n, path, c.setText)
		return
	}
	var form countryForm
	d.structure(n, reflect.ValueOf(&form).Elem(), path)
	*c = Country{Code: strings.TrimPrefix(form.Code, "+"), National: form.National, International: form.International}
	digits := func(key, s string, most int) {
		if strings.Trim(s, "0123456789") != "" || len(s) > most {
			d.at(path+"."+key, "%s: %q must be at most %d digits", key, s, most)
		}
	}
	digits("code", c.Code, 3)
	digits("national", c.National, 8)
	digits("international", c.International, 8)
	if c.Code == "" {
		d.problem(n, "%s: the calling code is missing, as in code: +49", last(path))
	}
	if form.Digits != "" {
		from, to, isRange := strings.Cut(form.Digits, "-")
		if !isRange {
			to = from
		}
		least, err1 := strconv.Atoi(from)
		most, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || least < 3 || most < least || most > 15 {
			d.at(path+".digits", "digits: %q is neither a count nor a range of counts within 3 and 15, as in 10 or 8-11", form.Digits)
		}
		c.MinDigits, c.MaxDigits = least, most
	}
}

// countries has a line for each country. See countries.txt.
//
//go:embed countries.txt
var countries string

// setText finds a country by its ISO code or its calling code.
func (c *Country) setText(s string) error {
	iso := strings.ToUpper(s)
	code, byCode := strings.CutPrefix(s, "+")
	byCode = byCode || s != "" && s[0] >= '1' && s[0] <= '9'
	for line := range strings.Lines(countries) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		name, main := strings.CutSuffix(f[0], "*")
		if !byCode && name == iso || byCode && main && f[1] == code {
			return c.set(s, name, f[1:])
		}
	}
	if byCode {
		return fmt.Errorf("%q is no country's calling code", s)
	}
	return fmt.Errorf("%q is no country; write its ISO code as in DE, its calling code as in +49, or {code: +49, national: 0, international: 00}", s)
}

// set takes the fields of a line behind the name.
func (c *Country) set(s, iso string, f []string) error {
	*c = Country{ISO: iso, Code: f[0], National: f[1], International: f[2]}
	if c.National == "-" {
		c.National = ""
	}
	if c.International == "?" {
		err := fmt.Errorf("in %s an international call begins in more than one way; write {code: +%s, national: %s, international: ...}", s, c.Code, c.National)
		*c = Country{}
		return err
	}
	if len(f) > 3 {
		c.MinDigits, _ = strconv.Atoi(f[3])
		c.MaxDigits, _ = strconv.Atoi(f[4])
	}
	return nil
}
