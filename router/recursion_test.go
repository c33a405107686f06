package router

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sipedge/parser"
	"sipedge/txn"
)

// readInto takes b apart in w.kept and says what is wrong with it.
func readInto(b []byte, w *Worker) string {
	if e := parser.Parse(b, &w.kept); e.Code != 0 {
		return fmt.Sprint(e)
	}
	return ""
}

func TestQOf(t *testing.T) {
	for params, want := range map[string]uint16{
		"": 1000, ";x=1": 1000, ";q=1": 1000, ";q=1.0": 1000, ";q=1.000": 1000, ";q=0": 0, ";q=0.0": 0, ";q=0.5": 500, ";Q=0.7": 700,
		";q=0.05": 50, ";q=0.125;expires=3": 125, ";q=.5": 500, ";q=0.1259": 125, ";q=": 1000, ";q=x": 1000, ";q=7": 1000,
		";expires=60;q=0.3": 300,
	} {
		b := []byte(params)
		if got := qOf(b, whole(b)); got != want {
			t.Errorf("%q: q is %d thousandths, want %d", params, got, want)
		}
	}
}

// TestSIPSIsNotLeft has a SIPS request redirected to both kinds of URI, and a SIP request too.
func TestSIPSIsNotLeft(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	w := b.worker
	response := []byte("SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n" +
		"Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:plain@192.0.2.1>, <sips:secure@192.0.2.1>;q=0.5\r\nContent-Length: 0\r\n\r\n")
	for scheme, want := range map[string]string{"sip": "[sip:plain@192.0.2.1 sips:secure@192.0.2.1] true", "sips": "[sips:secure@192.0.2.1] false"} {
		request := bytes.ReplaceAll(newCall(1, "").invite, []byte("INVITE sip:"), []byte("INVITE "+scheme+":"))
		if e := readInto(request, w); e != "" {
			t.Fatal(e)
		}
		if f := w.preprocess(&w.kept, request, &b.alice); f.status != 0 {
			t.Fatal(f)
		}
		if e := readInto(response, w); e != "" {
			t.Fatal(e)
		}
		m := w.kept
		readInto(request, w)
		w.targets.Reset()
		list, all := w.contacts(&m, response, &w.kept, request)
		var uris []string
		for _, x := range list {
			uris = append(uris, string(x.uri.In(response)))
		}
		if got := fmt.Sprintf("[%s] %v", strings.Join(uris, " "), all); got != want {
			t.Errorf("%s: follows %s, want %s", scheme, got, want)
		}
	}
}

// TestContactsBounded: more Contacts than are followed leave the rest to upstream.
func TestContactsBounded(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	w := b.worker
	var contacts []string
	for i := range maxContacts + 3 {
		contacts = append(contacts, fmt.Sprintf("<sip:%d@192.0.2.1>", i))
	}
	response := []byte("SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n" +
		"Call-ID: 1\r\nCSeq: 1 INVITE\r\nContact: " + strings.Join(contacts, ",") + "\r\nContent-Length: 0\r\n\r\n")
	request := newCall(1, "").invite
	readInto(response, w)
	m := w.kept
	readInto(request, w)
	w.preprocess(&w.kept, request, &b.alice)
	list, all := w.contacts(&m, response, &w.kept, request)
	if len(list) != maxContacts || all {
		t.Errorf("%d of %d Contacts are followed, all: %v", len(list), len(contacts), all)
	}
	if i := w.addContacts(new(txn.ResponseContext), 0, 0, list, response, &w.kept, request); i != 0 || w.targets.n != maxContacts {
		t.Errorf("%d targets from place %d", w.targets.n, i)
	}
	rest := string(w.withoutTried(&m, response))
	for i, c := range contacts {
		if strings.Contains(rest, c) != (i >= maxContacts) {
			t.Errorf("Contact %d in what is left: %v", i, strings.Contains(rest, c))
		}
	}
}
