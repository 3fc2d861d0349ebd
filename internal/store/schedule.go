package store

import (
	"reflect"
	"time"

	"docket/internal/due"
	"docket/internal/recurrence"
)

// Schedule has the members of a request that set when a task is due and how it recurs. They depend on each other and on
// the task's fields; TaskFields.Schedule applies them to a new task.
type Schedule struct {
	Due     due.Change
	Rule    Optional[*string] // recurrence_rule
	Mode    Optional[string]  // recurrence_mode
	Pattern Optional[string]  // recurrence_pattern
}

func (s Schedule) sent() bool {
	return s.Due.Date.Sent || s.Due.Time.Sent || s.Due.Zone.Sent || s.Rule.set || s.Mode.set || s.Pattern.set
}

// Schedule sets when a new task is due and how it recurs. It returns FaultsError if that is not possible.
func (f *TaskFields) Schedule(s Schedule) error {
	t := Task{TaskFields: *f}
	if err := t.schedule(s, ""); err != nil {
		return err
	}
	*f = t.TaskFields
	return nil
}

// schedule changes when a task is due and how it recurs. If that starts a series, it has the id newSeries.
func (t *Task) schedule(s Schedule, newSeries string) error {
	d, faults := due.Due{Date: t.DueDate, Time: t.DueTime, Zone: t.TimeZone, At: t.DueAt}.Change(s.Due)
	if faults == nil {
		t.DueDate, t.DueTime, t.TimeZone, t.DueAt = d.Date, d.Time, d.Zone, d.At
	}
	was := recurrence.Mode(t.RecurrenceMode)
	if s.Mode.set {
		t.RecurrenceMode = s.Mode.value
	}
	cleared := s.Due.Date.Sent && s.Due.Date.Text == nil
	faults = append(faults, t.recur(s, was, cleared, newSeries)...)
	if faults != nil {
		return FaultsError{faults}
	}
	return nil
}

// set sets the fields that changes set, other than those of the schedule.
func (t *Task) set(c TaskChanges) {
	changes, task := reflect.ValueOf(c), reflect.ValueOf(t).Elem()
	for _, field := range changedColumns.fields {
		if o := changes.FieldByIndex(field.Index).Interface().(optional).arguments(); o[0] == true {
			task.FieldByName(field.Name).Set(reflect.ValueOf(o[1]))
		}
	}
	if c.AddTags != nil || c.RemoveTags != nil {
		t.Tags = changeTags(t.Tags, c.AddTags, c.RemoveTags)
	}
}

// planChanges decides how a task is changed.
func planChanges(t Task, c TaskChanges, newSeries string, now time.Time) (decision, error) {
	was := t
	t.set(c)
	if err := t.schedule(c.Schedule, newSeries); err != nil {
		return decision{}, err
	}
	p := decision{task: t}
	switch {
	case t.Completed && !was.Completed && t.RecurrenceRule != nil:
		next, err := t.following(c.Today, now)
		if err != nil {
			return decision{}, err
		}
		p.next = next
	case was.Completed && !t.Completed && was.NextTaskID != nil:
		p.reopens = true
	}
	return p, nil
}
