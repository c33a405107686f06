package tunnel

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"sipedge/transport/tlslayer/tlstest"
)

func TestThereAndBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	ca, err := tlstest.NewAuthority(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue("localhost", tlstest.Names{DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, line)
			c.Close()
		}
	}()
	in, err := Unwrap(echo.Addr().String(), &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := Wrap("localhost:"+strconv.Itoa(in.Addr().Port), &tls.Config{RootCAs: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for i := range 3 {
		c, err := net.Dial("tcp", out.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("line %d\n", i)
		fmt.Fprint(c, want)
		if got, err := bufio.NewReader(c).ReadString('\n'); got != want {
			t.Errorf("%q came back, %v; sent %q", got, err, want)
		}
		c.Close()
	}
}
