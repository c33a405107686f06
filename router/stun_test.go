package router

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"sipedge/transport"
)

// TestSTUN holds the answers to RFC 5389 section 7.3 and RFC 5626 section 8. The first one was checked against the sample of
// RFC 5769 section 2.2, whose mapped address it is (192.0.2.1:32853), and 2.3 for IPv6.
func TestSTUN(t *testing.T) {
	const transaction = "b7e7a701bc34d686fa87dfae"
	for _, x := range []struct{ name, from, request, answer string }{
		{"binding request", "192.0.2.1:32853", "0001 0000 2112a442" + transaction,
			"0101 000c 2112a442" + transaction + "0020 0008 0001 a147 e112a643"},
		{"from IPv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853", "0001 0000 2112a442" + transaction,
			"0101 0018 2112a442" + transaction + "0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9"},
		{"attributes that need not be known", "192.0.2.1:32853", "0001 0010 2112a442" + transaction + "8022 0009 54657374 20766563 74000000",
			"0101 000c 2112a442" + transaction + "0020 0008 0001 a147 e112a643"},
		{"credentials, which are of no account", "192.0.2.1:32853", "0001 0008 2112a442" + transaction + "0006 0003 61626300",
			"0101 000c 2112a442" + transaction + "0020 0008 0001 a147 e112a643"},
		{"one that would have to be known", "192.0.2.1:32853", "0001 0004 2112a442" + transaction + "0003 0000",
			"0111 0010 2112a442" + transaction + "0009 0004 00000414 000a 0002 0003 0000"},
		{"two", "192.0.2.1:32853", "0001 0010 2112a442" + transaction + "0003 0000 8022 0000 7abc 0004 01020304",
			"0111 0010 2112a442" + transaction + "0009 0004 00000414 000a 0004 0003 7abc"},
		{"an indication", "192.0.2.1:32853", "0011 0000 2112a442" + transaction, ""},
		{"a response", "192.0.2.1:32853", "0101 0000 2112a442" + transaction, ""},
		{"another method", "192.0.2.1:32853", "0003 0000 2112a442" + transaction, ""},
		{"of RFC 3489, without a cookie", "192.0.2.1:32853", "0001 0000 2112a443" + transaction, ""},
		{"longer than it says", "192.0.2.1:32853", "0001 0000 2112a442" + transaction + "80220000", ""},
		{"shorter than it says", "192.0.2.1:32853", "0001 0004 2112a442" + transaction, ""},
		{"not of whole words", "192.0.2.1:32853", "0001 0002 2112a442" + transaction + "8022", ""},
		{"an attribute that ends outside", "192.0.2.1:32853", "0001 0004 2112a442" + transaction + "8022 0004", ""},
		{"cut off", "192.0.2.1:32853", "0001 0000 2112a442" + transaction[:20], ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBed(t, Stateful, RecordAuto)
			from := b.alice
			from.Remote = transport.AddrFrom(netip.MustParseAddrPort(x.from))
			request, err := hex.DecodeString(strings.ReplaceAll(x.request, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			n := b.receive(from, request)
			if x.answer == "" {
				if n != 0 {
					t.Fatalf("it was answered: %x", b.last())
				}
				return
			}
			if n != 1 || b.wire.flows[0] != from {
				t.Fatalf("%d answers, by %v", n, b.wire.flows[0])
			}
			if got := hex.EncodeToString(b.last()); got != strings.ReplaceAll(x.answer, " ", "") {
				t.Errorf("answer %s, want %s", got, x.answer)
			}
			if c := b.worker.n; c.KeepAlives != 1 || c.Malformed != 0 {
				t.Errorf("counted as %+v", c)
			}
		})
	}
}

// TestSTUNManyUnknown: an error names a bounded number of attributes.
func TestSTUNManyUnknown(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	request := []byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl")
	for i := range 300 {
		request = binary.BigEndian.AppendUint16(request, uint16(0x4000+i))
		request = append(request, 0, 0)
	}
	binary.BigEndian.PutUint16(request[2:], uint16(len(request)-stunHeader))
	if n := b.receive(b.alice, request); n != 1 {
		t.Fatal("no answer")
	}
	if got := b.last(); len(got) != stunHeader+8+4+2*maxUnknownAttributes || binary.BigEndian.Uint16(got) != stunBindingError {
		t.Errorf("%d bytes: %x", len(got), got)
	}
}
