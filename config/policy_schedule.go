package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Open tells whether t is within the schedule.
func (s *Schedule) Open(t time.Time) bool {
	t = t.In(s.Zone)
	if len(s.Hours) == 0 {
		return !s.holiday(t)
	}
	minute := t.Hour()*60 + t.Minute()
	yesterday := t.AddDate(0, 0, -1)
	for i := range s.Hours {
		h := &s.Hours[i]
		if h.Days[t.Weekday()] && minute >= h.From && minute < h.To && !s.holiday(t) {
			return true
		}
		// A span belongs to the day that it begins on.
		if h.Days[yesterday.Weekday()] && minute+24*60 < h.To && !s.holiday(yesterday) {
			return true
		}
	}
	return false
}

func (s *Schedule) holiday(t time.Time) bool {
	year, month, day := t.Date()
	for _, d := range s.Holidays {
		if d.has(Date{year, month, day}) {
			return true
		}
	}
	return false
}

func (d Dates) has(day Date) bool {
	if d.First.Year != 0 {
		return !day.before(d.First) && !d.Last.before(day)
	}
	day.Year = 0
	if d.Last.before(d.First) { // over the end of the year
		return !day.before(d.First) || !d.Last.before(day)
	}
	return !day.before(d.First) && !d.Last.before(day)
}

func (a Date) before(b Date) bool {
	if a.Year != b.Year {
		return a.Year < b.Year
	}
	if a.Month != b.Month {
		return a.Month < b.Month
	}
	return a.Day < b.Day
}

func (a Date) String() string {
	if a.Year == 0 {
		return fmt.Sprintf("%02d-%02d", a.Month, a.Day)
	}
	return fmt.Sprintf("%04d-%02d-%02d", a.Year, a.Month, a.Day)
}

func (d Dates) String() string {
	if d.First == d.Last {
		return d.First.String()
	}
	return d.First.String() + ".." + d.Last.String()
}

// setText reads 2026-04-03, 12-25 or a span of either.
func (d *Dates) setText(s string) error {
	first, last, isSpan := strings.Cut(s, "..")
	if !isSpan {
		last = first
	}
	var err1, err2 error
	d.First, err1 = parseDate(first)
	d.Last, err2 = parseDate(last)
	switch {
	case err1 != nil || err2 != nil:
		return fmt.Errorf("%q is no day, as in 2026-04-03 or 12-25 (each year), and no span of days, as in 12-24..12-26", s)
	case (d.First.Year == 0) != (d.Last.Year == 0):
		return fmt.Errorf("%q: both ends have a year or neither", s)
	case d.First.Year != 0 && d.Last.before(d.First):
		return fmt.Errorf("%q ends before it begins", s)
	}
	return nil
}

func parseDate(s string) (Date, error) {
	layout, year := "2006-01-02", s
	if len(s) == len("12-25") {
		year = "2024-" + s // a leap year: 02-29 is a day of some years
	}
	t, err := time.Parse(layout, year)
	if err != nil {
		return Date{}, err
	}
	d := Date{t.Year(), t.Month(), t.Day()}
	if year != s {
		d.Year = 0
	}
	return d, nil
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // by time.Weekday

// setText reads [DAYS ]FROM-TO: Mon-Fri 08:00-18:00, Mon,Wed 20:00-02:00, 09:00-17:00 (every day), Sat (all of it).
func (h *WeekHours) setText(s string) error {
	wrong := fmt.Errorf("%q is no time of the week, as in Mon-Fri 08:00-18:00, Sat,Sun or 09:00-17:00", s)
	*h = WeekHours{To: 24 * 60}
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > 2 {
		return wrong
	}
	if hours := words[len(words)-1]; hours[0] >= '0' && hours[0] <= '9' {
		from, to, ok := strings.Cut(hours, "-")
		var ok1, ok2 bool
		h.From, ok1 = parseMinute(from)
		h.To, ok2 = parseMinute(to)
		if !ok || !ok1 || !ok2 || h.From == 24*60 {
			return wrong
		}
		if h.From == h.To {
			return fmt.Errorf("%q begins and ends at once; all day is 00:00-24:00", s)
		}
		if h.To < h.From {
			h.To += 24 * 60
		}
		words = words[:len(words)-1]
	}
	if len(words) == 0 {
		h.Days = [7]bool{true, true, true, true, true, true, true}
		return nil
	}
	if len(words) == 2 {
		return wrong
	}
	for part := range strings.SplitSeq(words[0], ",") {
		from, to, isSpan := strings.Cut(part, "-")
		if !isSpan {
			to = from
		}
		a, b := weekday(from), weekday(to)
		if a < 0 || b < 0 {
			return wrong
		}
		for ; a != b; a = (a + 1) % 7 {
			h.Days[a] = true
		}
		h.Days[b] = true
	}
	return nil
}

// parseMinute reads HH:MM up to 24:00.
func parseMinute(s string) (int, bool) {
	hours, minutes, ok := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hours, 10, 8)
	m, err2 := strconv.ParseUint(minutes, 10, 8)
	if !ok || err1 != nil || err2 != nil || len(minutes) != 2 || m > 59 || h > 24 || h == 24 && m > 0 {
		return 0, false
	}
	return int(h*60 + m), true
}

// weekday is -1 for a word that is none; whole names are known by their first three letters.
func weekday(s string) int {
	for i, w := range weekdays {
		if name := strings.ToLower(time.Weekday(i).String()); strings.EqualFold(s, w) || strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

func (h WeekHours) String() string {
	var spans []string
	for i := 1; i <= 7; i++ { // a week begins on Monday (ISO 8601)
		if !h.Days[i%7] {
			continue
		}
		j := i
		for j < 7 && h.Days[(j+1)%7] {
			j++
		}
		span := time.Weekday(i % 7).String()[:3]
		if j > i {
			span += "-" + time.Weekday(j % 7).String()[:3]
		}
		spans = append(spans, span)
		i = j
	}
	days := strings.Join(spans, ",")
	if days == "Mon-Sun" {
		days = "every day"
	}
	to := h.To
	if to > 24*60 {
		to -= 24 * 60
	}
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d", days, h.From/60, h.From%60, to/60, to%60)
}
