package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// The table of countries is what libphonenumber knows; -update makes it anew. The library itself would cost every process
// 2.5 MB and its start 10 ms or more.
func TestCountries(t *testing.T) {
	all, err := phonenumbers.MetadataCollection()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range all.GetMetadata() {
		iso, code := m.GetId(), int(m.GetCountryCode())
		if len(iso) != 2 { // services that belong to no country
			continue
		}
		main := ""
		if phonenumbers.GetRegionCodeForCountryCode(code) == iso {
			main = "*"
		}
		international := m.GetInternationalPrefix()
		if p := m.GetPreferredInternationalPrefix(); p != "" {
			international = strings.ReplaceAll(p, "~", "") // the tilde is a wait for a tone
		}
		if strings.Trim(international, "0123456789") != "" {
			international = "?"
		}
		national := cmp.Or(m.GetNationalPrefix(), "-")
		line := fmt.Sprintf("%s%s %d %s %s", iso, main, code, national, international)
		// Without a national prefix, or with one that is the calling code itself (North America), a whole national number
		// may be dialled with nothing before it.
		if n := m.GetGeneralDesc().GetPossibleLength(); len(n) > 0 && (national == "-" || national == fmt.Sprint(code)) {
			line += fmt.Sprintf(" %d %d", n[0], n[len(n)-1])
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	const head = `# How people dial, by country, from the metadata of libphonenumber (Apache-2.0); go test ./config -run TestCountries -update
# ISO code (* the main one of its calling code), calling code, before a national number (- nothing), before an international one
# (? more than one way), fewest and most digits of a national number that may be dialled with nothing before it
`
	golden(t, "countries.txt", head+strings.Join(lines, "\n")+"\n")
	for _, line := range lines {
		f := strings.Fields(line)
		var c Country
		if err := c.setText(strings.ToLower(f[0][:2])); (err != nil) != (f[3] == "?") || err == nil && (c.ISO != f[0][:2] || c.Code != f[1] || len(f) > 4 && c.MinDigits < 1) {
			t.Errorf("%s: %+v, %v", line, c, err)
		}
		// Every calling code leads to some country of it.
		if err := c.setText("+" + f[1]); err != nil && !strings.Contains(err.Error(), "more than one way") || err == nil && c.Code != f[1] {
			t.Errorf("+%s: %+v, %v", f[1], c, err)
		}
	}
}
