// Package docs has no code: its test holds the documents to the repository they speak of.
package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of CONFORMANCE.md that come from tests")

// repository is what names in the documents may stand for.
type repository struct {
	files   map[string]bool // paths from the root, folders included
	bases   map[string]bool // last parts of those
	ladders []string        // without ".txt", from the folder of the ladders
	tests   map[string]bool // functions of test files
}

const ladderRoot = "router/testdata/ladders/"

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)

func readRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{files: map[string]bool{}, bases: map[string]bool{}, tests: map[string]bool{}}
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == ".." {
			return err
		}
		name := filepath.ToSlash(p[len("../"):])
		if d.Name() == ".git" {
			return fs.SkipDir
		}
		r.files[name], r.bases[d.Name()] = true, true
		if ladder, ok := strings.CutSuffix(name, ".txt"); ok && strings.HasPrefix(name, ladderRoot) {
			r.ladders = append(r.ladders, ladder[len(ladderRoot):])
		}
		if strings.HasSuffix(name, "_test.go") {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllSubmatch(text, -1) {
				r.tests[string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	fence    = regexp.MustCompile("(?ms)^```.*?^```|^    .*?$")
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	testName = regexp.MustCompile(`^((?:Test|Fuzz|Benchmark)[A-Z0-9]\w*)(\.\.\.)?$`)
	fileName = regexp.MustCompile(`^[\w./-]+\.(?:go|s|md|txt|xml|sh|golden|csv)$`)
	pathName = regexp.MustCompile(`^[a-z0-9_]+(?:/[\w-]+)*/(?:[\w-]+|\*)$`)
)

// unknown says what is wrong with a name, "" for one that stands for something, or for nothing in the repository.
func (r *repository) unknown(name string) string {
	switch {
	case testName.MatchString(name):
		m := testName.FindStringSubmatch(name)
		if r.tests[m[1]] {
			return ""
		}
		for f := range r.tests {
			if m[2] != "" && strings.HasPrefix(f, m[1]) {
				return ""
			}
		}
		return "no such test function"
	case fileName.MatchString(name):
		if r.files[name] || !strings.Contains(name, "/") && r.bases[name] {
			return ""
		}
		return "no such file"
	case pathName.MatchString(name):
		if r.files[name] {
			return ""
		}
		for _, l := range r.ladders {
			if ok, _ := path.Match(name, l); ok {
				return ""
			}
		}
		return "no such ladder or folder"
	}
	return ""
}

// TestNames fails when a document names a file, a test function or a ladder that does not exist.
func TestNames(t *testing.T) {
	r := readRepository(t)
	for _, doc := range []string{"ARCHITECTURE.md", "CONFORMANCE.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		names := 0
		// Pictures and commands are not prose; they keep their lines, for the line numbers.
		prose := fence.ReplaceAllStringFunc(string(text), func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
		for i, line := range strings.Split(prose, "\n") {
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				names++
				if what := r.unknown(m[1]); what != "" {
					t.Errorf("%s:%d: %s: %s", doc, i+1, m[1], what)
				}
			}
		}
		if names < 50 {
			t.Errorf("%s: %d names found; the search does not see them any more", doc, names)
		}
	}
}

// TestNamesCatches: what the search is for, it finds.
func TestNamesCatches(t *testing.T) {
	r := readRepository(t)
	for _, good := range []string{"TestNames", "TestName...", "docs/docs_test.go", "docs_test.go", "basic/call", "basic/*", "transport/batch", "--mode stateless", "Machine"} {
		if what := r.unknown(good); what != "" {
			t.Errorf("%s: %s", good, what)
		}
	}
	for _, bad := range []string{"TestNothing", "TestNothing...", "router/nothing.go", "nothing.go", "basic/nothing", "nothing/*", "transport/nothing"} {
		if r.unknown(bad) == "" {
			t.Errorf("%s is taken for something", bad)
		}
	}
}

// TestEveryLadderHasAPlace: a ladder is the proof of some rule, so a table names it or its folder.
func TestEveryLadderHasAPlace(t *testing.T) {
	r := readRepository(t)
	text, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		if pathName.MatchString(m[1]) {
			names = append(names, m[1])
		}
	}
	for _, l := range r.ladders {
		named := false
		for _, n := range names {
			ok, _ := path.Match(n, l)
			named = named || ok
		}
		if !named {
			t.Errorf("%s: which rule does it show?", l)
		}
	}
}

// TestTortureTables holds the tables of RFC 4475 and RFC 5118 to the tests of the parser and the router.
func TestTortureTables(t *testing.T) {
	verdicts, outcomes := values(t, "../parser/torture_test.go"), map[string]string{}
	for _, e := range values(t, "../router/torture_test.go")["torture"] {
		kv := e.(*ast.KeyValueExpr)
		outcomes[literal(t, kv.Key)] = literal(t, kv.Value)
	}
	b, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, rows := range map[string]int{"rfc4475": 51, "rfc5118": 12} {
		table, n := tortureTable(t, verdicts[name], outcomes)
		if n != rows {
			t.Errorf("%s: %d messages, want %d", name, n, rows)
		}
		begin := strings.Index(text, "<!-- "+name+":")
		if begin < 0 {
			t.Fatalf("no place for the table of %s", name)
		}
		begin += strings.Index(text[begin:], "\n") + 1
		end := begin + strings.Index(text[begin:], "<!-- end -->")
		if text[begin:end] != table {
			if !*update {
				t.Errorf("the table of %s is not that of parser/torture_test.go and router/torture_test.go; go test ./docs -update writes it", name)
			}
			text = text[:begin] + table + text[end:]
		}
	}
	if *update && text != string(b) {
		if err := os.WriteFile("CONFORMANCE.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// values are the elements of the composite literals that the variables of a file begin with.
func values(t *testing.T, file string) map[string][]ast.Expr {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]ast.Expr{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if len(v.Values) != 1 {
				continue
			}
			if c, ok := v.Values[0].(*ast.CompositeLit); ok {
				found[v.Names[0].Name] = c.Elts
			}
		}
	}
	return found
}

// literal is the text of a literal or a name.
func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return e.Value
		}
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Fatalf("%T is neither a literal nor a name", e)
	return ""
}

// tortureTable makes a table of the parser's verdicts and the router's outcomes.
func tortureTable(t *testing.T, verdicts []ast.Expr, outcomes map[string]string) (table string, rows int) {
	t.Helper()
	var out strings.Builder
	out.WriteString("\n| message | section | verdict of the parser | the proxy | remark |\n|---|---|---|---|---|\n")
	for _, row := range verdicts {
		var cells []string
		for _, e := range row.(*ast.CompositeLit).Elts {
			cells = append(cells, literal(t, e))
		}
		if len(cells) < 4 {
			t.Fatalf("a row of %d cells", len(cells))
		}
		verdict, remark := cells[2], ""
		if len(cells) > 4 {
			remark = strings.ReplaceAll(cells[4], "|", "\\|")
		}
		if verdict == "ErrNone" {
			verdict = "fine"
		}
		does := outcomes[cells[0]]
		if does == "" {
			t.Errorf("%s: router/torture_test.go does not say what becomes of it", cells[0])
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", cells[0], cells[1], verdict, does, remark)
		rows++
	}
	out.WriteString("\n")
	return out.String(), rows
}
