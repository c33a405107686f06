package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	secretA = "0123456789abcdef0123456789abcdef"
	secretB = "fedcba9876543210fedcba9876543210"
)

func TestParseSecret(t *testing.T) {
	f := func(text, current, previous, problem string) {
		t.Helper()
		s, err := parseSecret([]byte(text))
		if problem != "" {
			refused(t, err, problem)
			if strings.Contains(err.Error(), text) && text != "" {
				t.Errorf("the error tells the secret: %v", err)
			}
			return
		}
		if err != nil || string(s.Current) != current || string(s.Previous) != previous {
			t.Errorf("%q: %q, %q, %v", text, s.Current, s.Previous, err)
		}
	}
	f(secretA, secretA, "", "")
	f(secretA+"\n", secretA, "", "")
	f(secretA+"\r\n"+secretB+"\r\n", secretA, secretB, "")
	f("# since May\n\n  "+secretA+" \n# before\n"+secretB, secretA, secretB, "")
	f("", "", "", "empty")
	f("# nothing\n", "", "", "empty")
	f("short", "", "", "at least 32")
	f(secretA+"\nshort\n", "", "", "line 2")
	f(secretA+"\n"+secretA+"\n", "", "", "the same")
	f(secretA+"\n"+secretB+"\n"+strings.Repeat("x", 32), "", "", "third")
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	c := &Config{DataDir: dir, SecretFile: path}
	_, err := c.LoadSecret()
	refused(t, err, "--secret-file", path, "no such file")

	write(t, path, secretA+"\n"+secretB+"\n", 0o600)
	s, err := c.LoadSecret()
	if err != nil || string(s.Current) != secretA || string(s.Previous) != secretB || s.Warning != "" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
		write(t, path, secretA, mode)
		_, err = c.LoadSecret()
		refused(t, err, "--secret-file", "mode", "chmod 600")
	}
	write(t, path, strings.Repeat(secretA, 200), 0o600)
	_, err = c.LoadSecret()
	refused(t, err, "more than")
	c.SecretFile = dir
	_, err = c.LoadSecret()
	refused(t, err, "not a regular file")
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// The secret of the data directory is made once, however many start at the same time.
func TestSecretIsMadeOnce(t *testing.T) {
	c := &Config{DataDir: filepath.Join(t.TempDir(), "state")}
	if err := c.MakeDataDir(); err != nil {
		t.Fatal(err)
	}
	var got [8]Secret
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = c.LoadSecret(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range got {
		if len(s.Current) != 64 || s.Warning != "" || !bytes.Equal(s.Current, got[0].Current) {
			t.Errorf("%q %q, want %q", s.Current, s.Warning, got[0].Current)
		}
	}
	entries, _ := os.ReadDir(c.DataDir)
	if len(entries) != 1 || entries[0].Name() != "secret" {
		t.Errorf("the data directory holds %v", entries)
	}
	if st, _ := os.Stat(filepath.Join(c.DataDir, "secret")); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	other := &Config{DataDir: t.TempDir()}
	if s, _ := other.LoadSecret(); bytes.Equal(s.Current, got[0].Current) {
		t.Error("two directories have one secret")
	}
}

// A secret that is there and wrong is never replaced: the other nodes may have it right.
func TestBrokenSecretStays(t *testing.T) {
	c := &Config{DataDir: t.TempDir()}
	path := filepath.Join(c.DataDir, "secret")
	write(t, path, "cut sho", 0o600)
	_, err := c.LoadSecret()
	refused(t, err, path, "at least 32")
	if b, _ := os.ReadFile(path); string(b) != "cut sho" {
		t.Errorf("now it is %q", b)
	}
	write(t, path, secretA, 0o644)
	_, err = c.LoadSecret()
	refused(t, err, path, "chmod 600")
}

// A directory that cannot be written gives a random secret and says so. (Root may write anywhere, so
// the directory is one that is not there.)
func TestRandomSecret(t *testing.T) {
	c := &Config{DataDir: filepath.Join(t.TempDir(), "missing")}
	a, err := c.LoadSecret()
	if err != nil || len(a.Current) != 64 || !strings.Contains(a.Warning, "random") {
		t.Fatalf("%+v, %v", a, err)
	}
	if b, _ := c.LoadSecret(); bytes.Equal(a.Current, b.Current) {
		t.Error("the same twice")
	}
}

func TestMakeDataDir(t *testing.T) {
	root := t.TempDir()
	c := &Config{DataDir: filepath.Join(root, "a", "b")}
	for range 2 {
		if err := c.MakeDataDir(); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(c.DataDir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	for _, mode := range []os.FileMode{0o750, 0o705, 0o777, 0o701} {
		if err := os.Chmod(c.DataDir, mode); err != nil {
			t.Fatal(err)
		}
		refused(t, c.MakeDataDir(), "--data-dir", "chmod 700")
		if st, _ := os.Stat(c.DataDir); st.Mode().Perm() != mode {
			t.Error("it changed a directory that is not its own")
		}
	}
	file := filepath.Join(root, "file")
	write(t, file, "", 0o600)
	c.DataDir = file
	refused(t, c.MakeDataDir(), "--data-dir", "not a directory")
	c.DataDir = filepath.Join(file, "under")
	refused(t, c.MakeDataDir(), "--data-dir", "not a directory")
}
