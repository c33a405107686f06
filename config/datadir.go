package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const rootDataDir = "/var/lib/sipedge"

// defaultDataDir follows the XDG base directory specification for everyone but root.
func defaultDataDir(uid int, env map[string]string) (string, error) {
	if uid == 0 {
		return rootDataDir, nil
	}
	// "All paths set in these environment variables must be absolute. If an implementation encounters
	// a relative path ... it should consider the path invalid and ignore it."
	if dir := env["XDG_STATE_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "sipedge"), nil
	}
	if home := env["HOME"]; filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "sipedge"), nil
	}
	return "", errors.New("there is no default, because HOME and XDG_STATE_HOME are not set")
}

// MakeDataDir makes the data directory if it is missing and refuses one that others can look into.
func (c *Config) MakeDataDir() error {
	dir := c.DataDir
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return dataDirError(dir, err)
	}
	made := false
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		made = true
	case !errors.Is(err, fs.ErrExist):
		return dataDirError(dir, err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return dataDirError(dir, err)
	}
	if !st.IsDir() {
		return dataDirError(dir, errors.New("it is not a directory"))
	}
	if made && st.Mode().Perm() != 0o700 { // a strange umask
		return os.Chmod(dir, 0o700)
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		return dataDirError(dir, fmt.Errorf("its mode is %#o, so others can look into it; run: chmod 700 %s", perm, dir))
	}
	return nil
}

func dataDirError(dir string, err error) error {
	return fmt.Errorf("--data-dir %q: %w (example: --data-dir=%s)", dir, err, rootDataDir)
}
