package main

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// logLines at most wait for whoever takes the log: ten seconds of the most that sampling lets through of one message.
	logLines = 1024
	// logFlush is how long the end of the process waits for them.
	logFlush = time.Second
)

var errLogStuck = errors.New("the log takes no more lines")

// logQueue writes lines on a goroutine of its own, so that a full disk, or a pipe that nobody reads, stops nobody who has
// something to say. What finds no place in the queue, or cannot be written, is lost and counted. Safe for concurrent use.
type logQueue struct {
	w     io.Writer
	queue chan logEntry
	log   atomic.Pointer[zap.Logger] // is told what was lost
	lost  atomic.Uint64
}

// logEntry is a line, or a question whether all before it is written.
type logEntry struct {
	line    []byte
	written chan<- struct{}
}

func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{w: w, queue: make(chan logEntry, logLines)}
	go q.run()
	return q
}

// run never ends: a write that hangs cannot be taken back.
func (q *logQueue) run() {
	told := uint64(0)
	for e := range q.queue {
		if e.written != nil {
			close(e.written)
			continue
		}
		if _, err := q.w.Write(e.line); err != nil {
			q.lost.Add(1)
			continue
		}
		// Lines go through again, and this one finds a place.
		if lost := q.lost.Load(); lost > told && len(q.queue) < logLines/2 {
			if log := q.log.Load(); log != nil {
				log.Warn("log lines were lost; sipedge_log_lines_lost_total counts them", zap.Uint64("lines", lost-told))
			}
			told = lost
		}
	}
}

// Write copies line and never blocks or fails.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.queue <- logEntry{line: bytes.Clone(line)}:
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

// Sync waits until all lines of before are written, but not for long.
func (q *logQueue) Sync() error {
	over := time.After(logFlush)
	written := make(chan struct{})
	select {
	case q.queue <- logEntry{written: written}:
	case <-over:
		return errLogStuck
	}
	select {
	case <-written:
		return nil
	case <-over:
		return errLogStuck
	}
}

// tell makes log the one that gets told about lost lines.
func (q *logQueue) tell(log *zap.Logger) { q.log.Store(log) }
