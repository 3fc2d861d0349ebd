package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"docket/internal/due"
	"docket/internal/postgres"
	"docket/internal/recurrence"
)

// recur changes how a task recurs, after its due date and its mode were set. was is the mode before. cleared is whether the
// request clears the due date, which clears the rule too, whatever the request says of it.
func (t *Task) recur(s Schedule, was recurrence.Mode, cleared bool, newSeries string) []due.Fault {
	text, member := s.Rule.value, "recurrence_rule"
	if s.Pattern.set {
		member = "recurrence_pattern"
	}
	fault := func(f due.Fault) []due.Fault { return []due.Fault{f} }
	switch {
	case cleared:
	case s.Rule.set && s.Pattern.set:
		return fault(due.Fault{Member: "recurrence_rule", Code: due.CodeConflict, Detail: "must not be sent together with recurrence_pattern"})
	case s.Pattern.set:
		rule, ok := recurrence.Pattern(s.Pattern.value)
		if !ok {
			return fault(due.Fault{Member: member, Code: due.CodeInvalidFormat, Detail: "is not known"})
		}
		if rule != "" {
			text = &rule
		}
	case !s.Rule.set && (!s.Mode.set || t.RecurrenceRule == nil):
		return nil
	case !s.Rule.set:
		text = t.RecurrenceRule // its form depends on the mode
	}
	if text == nil || cleared {
		t.startSeries(nil, Occurrence{})
		return nil
	}
	rule, wrong := recurrence.Parse(*text)
	if wrong != nil {
		return fault(due.Fault{
			Member: member, Code: wrong.Code, Detail: "is not valid: " + strings.TrimSuffix(wrong.Detail, "."),
			Min: wrong.Min, Max: wrong.Max, Allowed: wrong.Allowed,
		})
	}
	if t.DueDate == nil {
		return fault(due.Fault{Member: "due_date", Code: due.CodeRequired, Detail: "is needed with " + member})
	}
	mode := recurrence.Mode(t.RecurrenceMode)
	if t.RecurrenceRule != nil {
		stored, err := t.rule()
		if err == nil && (rule.Equal(stored) || rule.Equal(stored.Plain())) {
			// The series stays. Only the form of the ends of months depends on the mode.
			switch {
			case mode == was:
			case was == recurrence.AfterCompletion:
				t.RecurrenceRule = new(stored.Starting(*t.OccurrenceDate, mode).String())
			case mode == recurrence.AfterCompletion && !s.Rule.set:
				t.RecurrenceRule = new(stored.Plain().String())
			case mode == recurrence.AfterCompletion:
				t.RecurrenceRule = new(rule.String())
			}
			return nil
		}
	}
	rule = rule.Starting(*t.DueDate, mode)
	if !rule.Recurs(*t.DueDate) {
		return fault(due.Fault{Member: member, Code: due.CodeOutOfRange, Detail: "must have an occurrence within ten years of the due_date"})
	}
	t.startSeries(new(rule.String()), Occurrence{&newSeries, t.DueDate})
	return nil
}

// startSeries gives a task another rule, or none. A task that is completed still has the occurrence that followed it, so that
// reopening takes that away.
func (t *Task) startSeries(rule *string, first Occurrence) {
	t.RecurrenceRule, t.Occurrence = rule, first
	if !t.Completed {
		t.NextTaskID = nil
	}
}

// rule returns the rule of a task that has one.
func (t Task) rule() (recurrence.Rule, error) {
	rule, wrong := recurrence.Parse(*t.RecurrenceRule)
	if wrong != nil {
		return rule, fmt.Errorf("the task %s has the rule %q: %w", t.ID, *t.RecurrenceRule, wrong)
	}
	return rule, nil
}

// following returns the occurrence that follows if t is completed now, or nil if the series ends. today is where the owner
// is, unless the task has a time zone; nil is the day of UTC.
func (t Task) following(today *due.Date, now time.Time) (*Task, error) {
	rule, err := t.rule()
	if err != nil {
		return nil, err
	}
	day := due.Of(now.UTC())
	switch {
	case t.TimeZone != nil:
		zone, err := due.LoadZone(*t.TimeZone)
		if err != nil {
			return nil, err
		}
		day = due.Of(now.In(zone))
	case today != nil:
		day = *today
	}
	date, rest, ok := rule.Complete(*t.OccurrenceDate, day, recurrence.Mode(t.RecurrenceMode))
	if !ok {
		return nil, nil
	}
	next := t
	next.ID, next.NextTaskID, next.Completed = uuid.NewString(), nil, false
	if ok, err = next.move(date, rest); err != nil || !ok {
		return nil, err
	}
	return &next, nil
}

// move moves an occurrence to another day of its rule, whose rest is what remains of it from that day on. It reports whether
// the occurrence can be due then: not if that is after the year 9999 in UTC, which RFC 3339 cannot say.
func (t *Task) move(date due.Date, rest recurrence.Rule) (ok bool, err error) {
	t.DueDate, t.OccurrenceDate, t.RecurrenceRule = &date, &date, new(rest.String())
	if t.DueTime == nil {
		return true, nil
	}
	zone, err := due.LoadZone(*t.TimeZone)
	if err != nil {
		return false, err
	}
	t.DueAt = new(due.Instant(date, *t.DueTime, zone).UTC())
	return t.DueAt.Year() <= 9999, nil
}

// Upcoming returns the occurrences that follow t if each is completed on its day, at most limit.
func (t Task) Upcoming(limit int) (all []Task, err error) {
	if t.RecurrenceRule == nil {
		return nil, nil
	}
	rule, err := t.rule()
	for len(all) < limit {
		date, rest, ok := rule.Skip(*t.OccurrenceDate)
		if !ok {
			break
		}
		if ok, err = t.move(date, rest); err != nil || !ok {
			break
		}
		rule, all = rest, append(all, t)
	}
	return all, err
}

// SkipOccurrence moves an occurrence to the next day of its rule, under its id. It does nothing if the task's occurrence is
// a later one already. It returns FaultsError if the task has no such occurrence, is completed, or has no day to move to,
// and what UpdateTask returns.
func (o Owner) SkipOccurrence(ctx context.Context, id string, occurrence due.Date) (Task, error) {
	p := planned{postgres.ReadOnly, postgres.NotIdempotent, func(t Task) (decision, error) { return planSkip(t, occurrence) }}
	if o.match == nil {
		p.effect = postgres.Idempotent
	}
	t, err := o.decide(ctx, p, func(tx *Tx) Result[attempt] { return tx.current(id) })
	if errors.Is(err, errOccurrenceExists) {
		return t, conflictingOccurrence("is followed by an occurrence that exists already")
	}
	return t, err
}

func conflictingOccurrence(detail string) error {
	return FaultsError{[]due.Fault{{Member: "occurrence_date", Code: due.CodeConflict, Detail: detail}}}
}

// planSkip decides how an occurrence is skipped.
func planSkip(t Task, occurrence due.Date) (decision, error) {
	conflict := func(detail string) (decision, error) { return decision{}, conflictingOccurrence(detail) }
	switch {
	case t.RecurrenceRule == nil:
		return conflict("must be that of a task that recurs")
	case *t.OccurrenceDate > occurrence:
		return decision{nothing: true}, nil // a retry
	case *t.OccurrenceDate < occurrence:
		return conflict("must be that of the task")
	case t.Completed:
		return conflict("must be that of a task that is not completed")
	}
	rule, err := t.rule()
	if err != nil {
		return decision{}, err
	}
	date, rest, ok := rule.Skip(occurrence)
	if ok {
		if ok, err = t.move(date, rest); err != nil {
			return decision{}, err
		}
	}
	if !ok {
		return conflict("is the last one of the series")
	}
	return decision{task: t}, nil
}
