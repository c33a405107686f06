//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"fmt"
	"sync/atomic"
)

// log is gnet's logger, one for the whole process, since that is how gnet keeps it. It stays
// silent and remembers the last error: gnet tells the reason of its end nowhere else.
var log quietLog

type quietLog struct{ text atomic.Pointer[string] }

func (q *quietLog) last() string {
	if s := q.text.Load(); s != nil {
		return *s
	}
	return "no reason given"
}

func (q *quietLog) Errorf(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	q.text.Store(&s)
}
func (q *quietLog) Fatalf(format string, args ...any) { q.Errorf(format, args...) }
func (*quietLog) Warnf(string, ...any)                {}
func (*quietLog) Infof(string, ...any)                {}
func (*quietLog) Debugf(string, ...any)               {}
