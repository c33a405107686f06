package policy

import "time"

// Tick finds out which schedules are open at wall, the time of day, and returns when to call it next: what a schedule says
// changes at whole minutes only. A worker calls it; requests read the result. Time zones, holidays and the like cost nothing there.
func (d *Decider) Tick(wall time.Time) (next time.Time) {
	if s := d.current.Load(); s != nil {
		s.tick(wall)
	}
	return wall.Truncate(time.Minute).Add(time.Minute)
}

func (s *snapshot) tick(wall time.Time) {
	open := newSet(len(s.schedules))
	for i := range s.schedules {
		if s.schedules[i].Open(wall) {
			open.add(i)
		}
	}
	s.open.Store(&open)
}
