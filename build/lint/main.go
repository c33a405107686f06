// Command lint holds the arrows between the rooms: which may import which, and which may touch
// sockets, files and clocks. It looks at every file of every package, whatever its build tags, but
// not at tests, which may need a peer.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const module = "sipedge"

// reach is how much of the world outside a room may see.
type reach int

const (
	core  reach = iota // nothing: bytes, addresses and the time come in as arguments
	files              // files, but no sockets and no clock
	world
)

// room is a folder with everything below it that has no entry of its own.
type room struct {
	imports []string // rooms that it may import besides itself
	reach   reach
}

// everything lets a room import every other.
var everything = []string{"*"}

var rooms = map[string]room{
	"parser":             {nil, core},
	"transport":          {nil, world},
	"transport/steer":    {nil, world},
	"transport/batch":    {[]string{"transport", "transport/steer"}, world},
	"transport/gnetudp":  {[]string{"transport", "transport/steer"}, world},
	"transport/tlslayer": {nil, world},
	"transport/wslayer":  {[]string{"parser"}, core},
	"transport/stream":   {[]string{"parser", "transport", "transport/tlslayer", "transport/wslayer"}, world},
	"txn":                {[]string{"parser", "transport"}, core},
	"location":           {[]string{"parser", "transport"}, core},
	"router":             {[]string{"parser", "transport", "txn", "location", "router/resolve", "router/overload", "router/dialog"}, core},
	"router/resolve":     {[]string{"transport"}, world},
	"router/overload":    {[]string{"parser", "transport"}, core},
	"router/dialog":      {[]string{"parser", "transport", "txn"}, core},
	"router/gateway":     {[]string{"transport"}, world},
	"router/policy":      {[]string{"parser", "transport", "txn", "config", "router", "router/gateway"}, core},
	"config":             {[]string{"parser", "transport", "transport/wslayer"}, files},
	"admin":              {[]string{"parser", "transport", "transport/stream", "txn", "location", "router", "router/dialog", "router/resolve", "router/gateway", "config"}, world},
	"cmd":                {[]string{"parser", "transport", "transport/batch", "transport/gnetudp", "transport/stream", "transport/tlslayer", "txn", "location", "router", "router/resolve", "router/dialog", "router/gateway", "router/overload", "router/policy", "config", "admin"}, world},
	"bench":              {everything, world},
	"fuzz":               {everything, world},
	"build":              {nil, world},
	"docs":               {nil, core}, // a test alone
}

// clocks is what packages have for those who may know what time it is.
var clocks = map[string]map[string]bool{
	"time": {
		"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
		"NewTimer": true, "NewTicker": true, "Tick": true,
	},
	module + "/transport": {"Now": true},
}

// pkg is the part of `go list -json` that counts here.
type pkg struct {
	ImportPath, Dir                   string
	GoFiles, CgoFiles, IgnoredGoFiles []string
}

func main() {
	problems, err := run()
	for _, p := range problems {
		fmt.Println(p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
	}
	if err != nil || len(problems) > 0 {
		os.Exit(1)
	}
}

func run() (problems []string, err error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,CgoFiles,IgnoredGoFiles", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return problems, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		found, err := checkPackage(&p)
		if err != nil {
			return nil, err
		}
		problems = append(problems, found...)
	}
}

func checkPackage(p *pkg) (problems []string, err error) {
	name, r, ok := roomOf(p.ImportPath)
	if !ok {
		return []string{p.ImportPath + ": this room has no entry in build/lint; say what it may import"}, nil
	}
	for _, list := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles} {
		for _, file := range list {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			problems = append(problems, checkFile(fset, f, name, r)...)
		}
	}
	return problems, nil
}

func checkFile(fset *token.FileSet, f *ast.File, name string, r room) (problems []string) {
	report := func(pos token.Pos, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(pos), fmt.Sprintf(format, args...)))
	}
	names := map[string]map[string]bool{} // name of the import in this file -> its clocks
	for _, imp := range f.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			report(imp.Pos(), "import %s", imp.Path.Value)
			continue
		}
		if clock := clocks[path]; clock != nil {
			local := path[strings.LastIndexByte(path, '/')+1:]
			if imp.Name != nil {
				local = imp.Name.Name
			}
			names[local] = clock
			if local == "." && r.reach != world {
				report(imp.Pos(), "a dot import of %s hides its clock", path)
			}
		}
		if why := refuse(name, r, path); why != "" {
			report(imp.Pos(), "%s imports %s: %s", name, path, why)
		}
	}
	if r.reach == world {
		return problems
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name][sel.Sel.Name] {
			report(sel.Pos(), "%s uses %s.%s: the time is an argument here", name, x.Name, sel.Sel.Name)
		}
		return true
	})
	return problems
}

// refuse says why room name may not import path, or nothing.
func refuse(name string, r room, path string) string {
	if path == module || strings.HasPrefix(path, module+"/") {
		target, _, ok := roomOf(path)
		if !ok {
			return "no such room"
		}
		if target == name {
			return ""
		}
		for _, may := range r.imports {
			if may == target || may == "*" {
				return ""
			}
		}
		return "the arrow does not point this way"
	}
	under := func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
	switch {
	case r.reach == world, path == "net/netip", path == "golang.org/x/sys/cpu":
		return ""
	case under("net"), path == "syscall", under("golang.org/x/sys"), under("github.com/panjf2000/gnet"):
		return "sockets and system calls belong to transport backends, cmd, admin and bench"
	case r.reach == core && (path == "os" || under("os") || path == "log" || under("go.uber.org/zap")):
		return "a core room touches neither files nor logs"
	}
	return ""
}

// roomOf finds the entry for a package: its own, or that of the nearest folder above.
func roomOf(importPath string) (name string, r room, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
	for {
		if r, ok := rooms[name]; ok {
			return name, r, true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return name, room{}, false
		}
		name = name[:i]
	}
}
