package config

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Secret is the master secret that every key is derived from.
type Secret struct {
	Current  []byte
	Previous []byte // nil: none. What was made with it is still accepted
	// Warning is set when the secret will not outlive the process: then what others hold of ours
	// (Record-Route, Via branches) is worth nothing after a restart.
	Warning string
}

// LoadSecret reads --secret-file; without one it reads the secret of the data directory, which
// it makes first if there is none. When that cannot be written the secret is random.
//
// A secret file holds one line of at least minSecret characters, the current secret, and may hold a
// second one, the previous secret. Empty lines and lines that begin with # do not count.
func (c *Config) LoadSecret() (Secret, error) {
	if c.SecretFile != "" {
		s, err := readSecret(c.SecretFile)
		if err != nil {
			return Secret{}, fmt.Errorf("--secret-file %q: %w (make one: umask 077; openssl rand -hex 32 > FILE)", c.SecretFile, err)
		}
		return s, nil
	}
	path := filepath.Join(c.DataDir, "secret")
	s, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := hex.AppendEncode(nil, randomBytes())
		if err := writeOnce(path, append(bytes.Clone(fresh), '\n')); err != nil && !errors.Is(err, fs.ErrExist) {
			return Secret{Current: fresh, Warning: fmt.Sprintf("the secret cannot be kept in the data directory (%v): it is random, and calls that are up do not outlive a restart", err)}, nil
		}
		s, err = readSecret(path) // perhaps another process was the first
	}
	if err != nil {
		return Secret{}, fmt.Errorf("the secret in --data-dir, %s: %w", path, err)
	}
	return s, nil
}

func randomBytes() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails: the program ends instead
	return b
}

func readSecret(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Secret{}, err
	}
	if !st.Mode().IsRegular() {
		return Secret{}, errors.New("it is not a regular file")
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		return Secret{}, fmt.Errorf("its mode is %#o, so others can read it; run: chmod 600 %s", perm, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return Secret{}, err
	}
	if len(b) > maxSecretFile {
		return Secret{}, fmt.Errorf("it has more than %d bytes", maxSecretFile)
	}
	return parseSecret(b)
}

// parseSecret never says what stands in the file.
func parseSecret(b []byte) (Secret, error) {
	var s Secret
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
		case len(line) < minSecret:
			return Secret{}, fmt.Errorf("line %d has %d characters; a secret has at least %d", n, len(line), minSecret)
		case s.Current == nil:
			s.Current = bytes.Clone(line)
		case s.Previous == nil:
			s.Previous = bytes.Clone(line)
		default:
			return Secret{}, fmt.Errorf("line %d is a third secret; only the current and the previous one count", n)
		}
	}
	switch {
	case s.Current == nil:
		return Secret{}, errors.New("it is empty")
	case bytes.Equal(s.Current, s.Previous):
		return Secret{}, errors.New("the current and the previous secret are the same")
	}
	return s, nil
}

// writeOnce makes the file with all of b or not at all, and fails with fs.ErrExist when it is there.
func writeOnce(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	// A link, not a rename: it does not replace the secret that another process made meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
