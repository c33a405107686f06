package parser

import (
	"encoding/csv"
	"os"
	"strings"
	"testing"
)

// registry reads one of the tables of testdata/iana, its first line left out.
func registry(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open("testdata/iana/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatal(err, len(rows))
	}
	return rows[1:]
}

func TestMethodRegistry(t *testing.T) {
	rows := registry(t, "methods.csv")
	if len(rows) != int(numMethods)-1 {
		t.Errorf("%d methods registered, %d known", len(rows), numMethods-1)
	}
	for _, row := range rows {
		name := row[0]
		if m := LookupMethod([]byte(name)); m == MethodOther || m.String() != name {
			t.Errorf("%s is %d %q", name, m, m.String())
		}
		// the method of a CSeq is case-sensitive, and so is that of the request line
		for _, other := range []string{strings.ToLower(name), name + "X", name[1:], "X" + name[1:]} {
			if m := LookupMethod([]byte(other)); m != MethodOther {
				t.Errorf("%s is taken for %s", other, m)
			}
		}
	}
	if MethodOther.String() != "" || Method(200).String() != "" {
		t.Error("name of no method")
	}
}

func TestHeaderRegistry(t *testing.T) {
	seen := map[HeaderID]bool{}
	compactForms := map[byte]HeaderID{}
	for _, row := range registry(t, "headers.csv") {
		name, compact, known := row[0], row[1], row[2] == "known"
		id := LookupHeader([]byte(name))
		if known != (id != HeaderOther) || known && id.String() != name {
			t.Errorf("%s is %d %q", name, id, id.String())
		}
		if !known {
			continue
		}
		seen[id] = true
		for _, other := range []string{strings.ToLower(name), strings.ToUpper(name)} {
			if LookupHeader([]byte(other)) != id {
				t.Errorf("%s is not %s", other, name)
			}
		}
		for i := range name {
			b := []byte(name)
			b[i] ^= 1
			if LookupHeader(b) == id {
				t.Errorf("%s is taken for %s", b, name)
			}
		}
		if compact != "" {
			compactForms[compact[0]] = id
		}
	}
	for id := HeaderOther + 1; id < numHeaderIDs; id++ {
		if !seen[id] {
			t.Errorf("%s is not registered", id)
		}
	}
	for c := range 256 {
		want := compactForms[lower(byte(c))]
		if got := LookupHeader([]byte{byte(c)}); got != want {
			t.Errorf("%q is %q, want %q", byte(c), got, want)
		}
	}
	for _, name := range []string{"", " Via", "Via ", "V\x0da", "Call\rID", "Call-ID:", strings.Repeat("x", 100)} {
		if id := LookupHeader([]byte(name)); id != HeaderOther {
			t.Errorf("%q is taken for %s", name, id)
		}
	}
	if numHeaderIDs > 64 {
		t.Error("a set of headers has to fit a word")
	}
}

// A name in a message is found as LookupHeader finds it alone.
func TestHeaderInMessage(t *testing.T) {
	for _, row := range registry(t, "headers.csv") {
		for _, name := range []string{row[0], row[1], strings.ToUpper(row[0])} {
			if name == "" {
				continue
			}
			b := []byte("INVITE sip:a@b SIP/2.0\r\n" + name + ":\r\n\r\n")
			var m Message
			Parse(b, &m)
			if m.HeaderCount() != 1 || m.HeaderAt(0).ID != LookupHeader([]byte(name)) {
				t.Errorf("%s is %q", name, m.HeaderAt(0).ID)
			}
		}
	}
}
