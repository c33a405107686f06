package tlslayer

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch reloads whenever a file changes, until ctx is over. Files that cannot be used are warned about, once, and those of before stay in
// force. It blocks: it has a goroutine of its own.
func (c *Config) Watch(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	var events chan fsnotify.Event
	var faults chan error
	if err != nil {
		c.warn(fmt.Sprintf("tls: changed certificates are only found every %v: %v", recheck, err))
	} else {
		defer w.Close()
		events, faults = w.Events, w.Errors
	}
	c.follow(w)
	var said string
	quiet := time.NewTimer(settle)
	quiet.Stop()
	slow := time.NewTicker(recheck)
	defer slow.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet.Reset(settle)
			continue
		case <-faults: // an overflow, say: something has changed
			quiet.Reset(settle)
			continue
		case <-quiet.C:
		case <-slow.C:
		}
		err := c.Reload()
		switch {
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			c.warn("tls: the certificates of before stay in force: " + said)
		}
		c.follow(w) // a directory may have been replaced
	}
}

// follow watches the directories of the files. Not the files: they are replaced by renaming others onto them, and in clusters by a symbolic link
// to a directory beside them.
func (c *Config) follow(w *fsnotify.Watcher) {
	if w == nil {
		return
	}
	names := []string{c.files.ClientCA, c.files.Roots}
	for _, p := range c.files.Pairs {
		names = append(names, p.Cert, p.Key)
	}
	for _, name := range names {
		if name != "" {
			w.Add(filepath.Dir(name)) // what cannot be watched is found by the ticker; to add one again changes nothing
		}
	}
}
