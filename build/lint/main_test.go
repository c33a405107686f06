package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckPackage(t *testing.T) {
	f := func(importPath, source string, words ...string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte("package x\n"+source), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := checkPackage(&pkg{ImportPath: importPath, Dir: dir, IgnoredGoFiles: []string{"x.go"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(words) {
			t.Fatalf("%s: %q: problems %q, want %d", importPath, source, got, len(words))
		}
		for i, w := range words {
			if !strings.Contains(got[i], w) {
				t.Errorf("%s: %q lacks %q", importPath, got[i], w)
			}
		}
	}
	f("sipedge/parser", `import _ "bytes"`)
	f("sipedge/parser", `import _ "sipedge/transport"`, "the arrow")
	f("sipedge/txn", `import (_ "sipedge/parser"; _ "sipedge/transport")`)
	f("sipedge/txn", `import _ "sipedge/router"`, "the arrow")
	f("sipedge/txn", `import _ "sipedge/transport/batch"`, "the arrow")
	f("sipedge/router/rules", `import _ "sipedge/router"`)
	f("sipedge/router", `import _ "sipedge/bench/load"`, "the arrow")
	f("sipedge/cmd/sipedge", `import _ "sipedge/fuzz"`, "the arrow")
	f("sipedge/bench/peers", `import _ "sipedge/router"`)
	f("sipedge/router", `import (_ "net/netip"; _ "net")`, "sockets")
	f("sipedge/router", `import _ "golang.org/x/sys/unix"`, "sockets")
	f("sipedge/parser", `import _ "golang.org/x/sys/cpu"`)
	f("sipedge/txn", `import _ "os"`, "neither files")
	f("sipedge/config", `import (_ "os"; _ "net/http")`, "sockets")
	f("sipedge/transport/batch", `import (_ "syscall"; "time"); var _ = time.Now`)
	f("sipedge/txn", `import "time"; var _ = time.Second`)
	f("sipedge/txn", `import "time"; func f() { time.Sleep(1) }`, "time.Sleep")
	f("sipedge/router", `import clock "time"; var _ = clock.Now()`, "clock.Now")
	f("sipedge/router", `import "sipedge/transport"; var _ = transport.Now()`, "transport.Now")
	f("sipedge/transport", `import "time"; var _ = time.Now()`)
	f("sipedge/router", `import . "time"; var _ = Now()`, "dot import")
	f("sipedge/router", "// time.Now() in words\n"+`var _ = "time.Now()"`)
	f("sipedge/helpers", ``, "no entry")
}
