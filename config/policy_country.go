package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
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

// setText finds a country by its ISO code or its calling code.
func (c *Country) setText(s string) error {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		return err
	}
	iso := strings.ToUpper(s)
	code, byCode := strings.CutPrefix(s, "+")
	if n, err := strconv.Atoi(code); err == nil && (byCode || s[0] != '0') {
		if iso = phonenumbers.GetRegionCodeForCountryCode(n); iso == "ZZ" || iso == "001" {
			return fmt.Errorf("%q is no country's calling code", s)
		}
	}
	for _, m := range all.GetMetadata() {
		if m.GetId() == iso && iso != "001" {
			return c.set(s, m)
		}
	}
	return fmt.Errorf("%q is no country; write its ISO code as in DE, its calling code as in +49, or {code: +49, national: 0, international: 00}", s)
}

func (c *Country) set(s string, m *phonenumbers.PhoneMetadata) error {
	*c = Country{ISO: m.GetId(), Code: strconv.Itoa(int(m.GetCountryCode())), National: m.GetNationalPrefix(), International: m.GetInternationalPrefix()}
	if p := m.GetPreferredInternationalPrefix(); p != "" {
		c.International = strings.ReplaceAll(p, "~", "") // the tilde is a wait for a tone
	}
	if strings.Trim(c.International, "0123456789") != "" {
		*c = Country{}
		return fmt.Errorf("in %s an international call begins in more than one way; write {code: +%d, national: %s, international: ...}", s, m.GetCountryCode(), m.GetNationalPrefix())
	}
	// Without a national prefix, or with one that is the calling code itself (North America), a whole national number
	// may be dialled with nothing before it.
	if lengths := m.GetGeneralDesc().GetPossibleLength(); len(lengths) > 0 && (c.National == "" || c.National == c.Code) {
		c.MinDigits, c.MaxDigits = int(lengths[0]), int(lengths[len(lengths)-1])
	}
	return nil
}
