package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oapi-codegen/nullable"

	"docket/internal/api"
	"docket/internal/due"
	"docket/internal/problem"
	"docket/internal/rfc3339"
	"docket/internal/store"
)

// ListTasks implements GET /api/{user_id}/tasks.
func (s *Server) ListTasks(ctx context.Context, r api.ListTasksRequestObject) (api.ListTasksResponseObject, error) {
	q, err := taskQueryOf(r.Params)
	if err != nil {
		return nil, err
	}
	suffix := listSuffix(q.Key(), strconv.Itoa(int(q.Limit)), strconv.Itoa(int(q.Offset)), q.Cursor)
	known := s.tags.parse(r.Params.IfNoneMatch, suffix, true)
	q.Unless = known.revisions
	list, err := s.owner(ctx).ListTasks(ctx, q)
	if err != nil {
		return nil, err
	}
	tag := s.tags.tag(list.Revision, suffix)
	if list.NotModified || known.any {
		return notModified(ctx, tag), nil
	}
	return respond(ctx, http.StatusOK, tag, taskList(s.tags, q, list)), nil
}

// CreateTask implements POST /api/{user_id}/tasks.
func (s *Server) CreateTask(ctx context.Context, r api.CreateTaskRequestObject) (_ api.CreateTaskResponseObject, err error) {
	var t store.Task
	var replayed bool
	owner := s.owner(ctx).MaxTasks(s.config.MaxTasks)
	n, err := newTask(r.Body)
	if err != nil {
		return nil, err
	}
	if key := r.Params.IdempotencyKey; key == nil {
		t, err = owner.CreateTask(ctx, n)
	} else {
		t, replayed, err = owner.CreateTaskOnce(ctx, *key, n)
	}
	if errors.Is(err, store.ErrTooManyTasks) {
		return nil, tooManyTasks(s.config.MaxTasks)
	}
	if err != nil {
		return nil, err
	}
	created := s.task(ctx, http.StatusCreated, t)
	created.location = s.config.BasePath + "/api/" + url.PathEscape(t.UserID) + "/tasks/" + url.PathEscape(t.ID)
	created.replayed = replayed
	return created, nil
}

// GetTask implements GET /api/{user_id}/tasks/{task_id}.
func (s *Server) GetTask(ctx context.Context, r api.GetTaskRequestObject) (api.GetTaskResponseObject, error) {
	t, err := s.owner(ctx).GetTask(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	known := s.tags.parse(r.Params.IfNoneMatch, "", true)
	if known.any || slices.Contains(known.revisions, t.Revision) {
		return notModified(ctx, s.tags.tag(t.Revision, "")), nil
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// ReplaceTaskFields implements PUT /api/{user_id}/tasks/{task_id}.
func (s *Server) ReplaceTaskFields(ctx context.Context, r api.ReplaceTaskFieldsRequestObject) (api.ReplaceTaskFieldsResponseObject, error) {
	c, err := taskChanges(r.Body)
	if err != nil {
		return nil, err
	}
	t, err := s.ownerIf(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, c)
	if err != nil {
		return nil, err
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// UpdateTask implements PATCH /api/{user_id}/tasks/{task_id}.
func (s *Server) UpdateTask(ctx context.Context, r api.UpdateTaskRequestObject) (api.UpdateTaskResponseObject, error) {
	body := r.JSONBody
	if body == nil {
		body = r.ApplicationMergePatchPlusJSONBody
	}
	c, err := taskChanges(body)
	if err != nil {
		return nil, err
	}
	t, err := s.ownerIf(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, c)
	if err != nil {
		return nil, err
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// CompleteTask implements PATCH /api/{user_id}/tasks/{task_id}/complete.
func (s *Server) CompleteTask(ctx context.Context, r api.CompleteTaskRequestObject) (api.CompleteTaskResponseObject, error) {
	var completed *bool // toggle
	var today *due.Date
	if r.Body != nil {
		completed = r.Body.Completed
		var err error
		if today, err = todayOf(r.Body.Today, time.Now()); err != nil {
			return nil, err
		}
	}
	t, err := s.ownerIf(ctx, r.Params.IfMatch).CompleteTask(ctx, r.TaskID, completed, today)
	if err != nil {
		return nil, err
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// CompleteTaskByPost implements POST /api/{user_id}/tasks/{task_id}/complete, another spelling of CompleteTask.
func (s *Server) CompleteTaskByPost(ctx context.Context, r api.CompleteTaskByPostRequestObject) (api.CompleteTaskByPostResponseObject, error) {
	completed, err := s.CompleteTask(ctx, api.CompleteTaskRequestObject{
		UserID: r.UserID, TaskID: r.TaskID, Params: api.CompleteTaskParams(r.Params), Body: r.Body,
	})
	if err != nil {
		return nil, err
	}
	return completed.(response), nil
}

// DeleteTask implements DELETE /api/{user_id}/tasks/{task_id}.
func (s *Server) DeleteTask(ctx context.Context, r api.DeleteTaskRequestObject) (api.DeleteTaskResponseObject, error) {
	if _, err := s.ownerIf(ctx, r.Params.IfMatch).DeleteTask(ctx, r.TaskID); err != nil {
		return nil, err
	}
	return api.DeleteTask204Response{}, nil
}

// SkipOccurrence implements POST /api/{user_id}/tasks/{task_id}/skip.
func (s *Server) SkipOccurrence(ctx context.Context, r api.SkipOccurrenceRequestObject) (api.SkipOccurrenceResponseObject, error) {
	date, err := due.ParseDate(r.Body.OccurrenceDate)
	if err != nil {
		return nil, invalidBody(problem.Body("#/occurrence_date", problem.FaultInvalidFormat, mustBeDay))
	}
	t, err := s.ownerIf(ctx, r.Params.IfMatch).SkipOccurrence(ctx, r.TaskID, date)
	if err != nil {
		return nil, err
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// ListOccurrences implements GET /api/{user_id}/tasks/{task_id}/occurrences.
func (s *Server) ListOccurrences(ctx context.Context, r api.ListOccurrencesRequestObject) (api.ListOccurrencesResponseObject, error) {
	t, err := s.owner(ctx).GetTask(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	limit := int(deref(r.Params.Limit, 10))
	suffix := listSuffix("occurrences", strconv.Itoa(limit), runtime.Version()) // the time zones are those of this version of Go
	tag := s.tags.tag(t.Revision, suffix)
	known := s.tags.parse(r.Params.IfNoneMatch, suffix, true)
	if known.any || slices.Contains(known.revisions, t.Revision) {
		return notModified(ctx, tag), nil
	}
	body := api.OccurrenceList{Occurrences: []api.Occurrence{}}
	all, err := t.Upcoming(limit)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		body.Occurrences = append(body.Occurrences, api.Occurrence{OccurrenceDate: o.OccurrenceDate.String(), DueAt: timeOrNull(o.DueAt)})
	}
	return respond(ctx, http.StatusOK, tag, &body), nil
}

const mustBeDay = "must be a day that exists, such as 2026-03-09"

// todayOf converts the day that a client says it is, which is that of some place on Earth.
func todayOf(text *string, now time.Time) (*due.Date, error) {
	if text == nil {
		return nil, nil
	}
	date, err := due.ParseDate(*text)
	if err != nil {
		return nil, invalidBody(problem.Body("#/today", problem.FaultInvalidFormat, mustBeDay))
	}
	if utc := due.Of(now.UTC()); date < utc-1 || date > utc+1 {
		return nil, invalidBody(problem.Body("#/today", problem.FaultOutOfRange, "must be the present day, or a day before or after that of UTC"))
	}
	return &date, nil
}

// newTask converts the task that a client creates. It returns store.FaultsError if its fields do not go together.
func newTask(b *api.NewTask) (store.NewTask, error) {
	n := store.NewTask{
		Title:       strings.TrimSpace(b.Title),
		Description: b.Description,
		Priority:    text(deref(b.Priority, "")),
		Completed:   deref(b.Completed, false),
		Tags:        store.UniqueTags(b.Tags),
	}
	err := n.Schedule(store.Schedule{
		Due: due.Change{
			Date: member(b.DueDate), Time: member(b.DueTime), Zone: member(b.TimeZone),
		},
		Rule:    optionalOrNull(b.RecurrenceRule),
		Mode:    optional(b.RecurrenceMode, same),
		Pattern: optional(b.RecurrencePattern, text),
	})
	return n, err
}

// taskChanges converts the changes that a client makes to a task.
func taskChanges(b *api.TaskChanges) (store.TaskChanges, error) {
	if faults := tagFaults(b); faults != nil {
		return store.TaskChanges{}, validationFailed(faults)
	}
	today, err := todayOf(b.Today, time.Now())
	return store.TaskChanges{
		Title:       optional(b.Title, strings.TrimSpace),
		Description: optionalOrNull(b.Description),
		Priority:    optional(b.Priority, text),
		Completed:   optional(b.Completed, same),
		Tags:        optionalTags(b.Tags),
		AddTags:     store.UniqueTags(b.AddTags),
		RemoveTags:  store.UniqueTags(b.RemoveTags),
		Schedule: store.Schedule{
			Due:     due.Change{Date: member(b.DueDate), Time: member(b.DueTime), Zone: member(b.TimeZone)},
			Rule:    optionalOrNull(b.RecurrenceRule),
			Mode:    optional(b.RecurrenceMode, same),
			Pattern: optional(b.RecurrencePattern, text),
		},
		Today: today,
	}, err
}

// member converts a member of due dates that a client may omit or set to null.
func member(n nullable.Nullable[string]) due.Member {
	m := due.Member{Sent: n.IsSpecified()}
	if v, err := n.Get(); err == nil {
		m.Text = &v
	}
	return m
}

// stringOrNull returns the text of a value that may be missing.
func stringOrNull[T fmt.Stringer](v *T) *string {
	if v == nil {
		return nil
	}
	return new((*v).String())
}

func timeOrNull(t *time.Time) *rfc3339.Time {
	if t == nil {
		return nil
	}
	return new(rfc3339.Time(*t))
}

// taskOf converts a task to the form that clients read.
func taskOf(v tagVersion, t store.Task) api.Task {
	return api.Task{
		ID:             t.ID,
		UserID:         t.UserID,
		Title:          t.Title,
		Description:    t.Description,
		Priority:       api.Priority(t.Priority),
		Completed:      t.Completed,
		Tags:           t.Tags,
		DueDate:        stringOrNull(t.DueDate),
		DueTime:        stringOrNull(t.DueTime),
		TimeZone:       t.TimeZone,
		RecurrenceRule: t.RecurrenceRule,
		RecurrenceMode: t.RecurrenceMode,
		DueAt:          timeOrNull(t.DueAt),
		CompletedAt:    timeOrNull(t.CompletedAt),
		SeriesID:       t.SeriesID,
		OccurrenceDate: stringOrNull(t.OccurrenceDate),
		NextTaskID:     t.NextTaskID,
		CreatedAt:      rfc3339.Time(t.CreatedAt),
		UpdatedAt:      rfc3339.Time(t.UpdatedAt),
		Revision:       t.Revision,
		Etag:           v.tag(t.Revision, ""),
	}
}

func taskList(v tagVersion, q store.TaskQuery, list store.TaskList) *api.TaskList {
	l := &api.TaskList{Tasks: make([]api.Task, len(list.Tasks)), Total: list.Total, Limit: q.Limit, Offset: q.Offset}
	for i, t := range list.Tasks {
		l.Tasks[i] = taskOf(v, t)
	}
	if list.NextCursor != "" {
		l.NextCursor = &list.NextCursor
	}
	return l
}

// taskQueryOf converts the parameters of a list to a query, as the document describes them.
func taskQueryOf(p api.ListTasksParams) (store.TaskQuery, error) {
	q := store.TaskQuery{
		Completed: p.Completed,
		Search:    deref(p.Search, ""),
		Limit:     deref(p.Limit, 100),
		Offset:    deref(p.Offset, 0),
		Cursor:    deref(p.Cursor, ""),
	}
	for _, priority := range p.Priority {
		q.Priorities = append(q.Priorities, string(priority))
	}
	tags, faults := tagFilter(p)
	q.Tags, q.AllTags = tags, deref(p.TagMatch, api.AnyTag) == api.AllTags
	if status := deref(p.Status, api.All); status != api.All {
		completed := status == api.Completed
		if p.Completed != nil && *p.Completed != completed {
			faults = append(faults, problem.Parameter("completed", problem.FaultConflict, "contradicts status"))
		}
		q.Completed = &completed
	}
	q.DueAfter = dueBound("due_after", p.DueAfter, &faults)
	q.DueBefore = dueBound("due_before", p.DueBefore, &faults)
	if p.Due != nil {
		q.Due = new(*p.Due == api.DueAny)
		if p.DueAfter != nil || p.DueBefore != nil {
			faults = append(faults, problem.Parameter("due", problem.FaultConflict, "must not come together with due_after or due_before"))
		}
	}
	sort := cmp.Or(sortNames[deref(p.Sort, api.SortCreated)], deref(p.Sort, api.SortCreated))
	if p.SortBy != nil {
		by := api.Sort(strings.TrimSuffix(string(*p.SortBy), "_at"))
		by = cmp.Or(sortNames[by], by)
		if p.Sort != nil && by != sort {
			faults = append(faults, problem.Parameter("sort_by", problem.FaultConflict, "differs from sort"))
		}
		sort = by
	}
	q.Sort = store.Sort(sort)
	order := deref(p.Order, api.Desc)
	if p.SortOrder != nil {
		if p.Order != nil && *p.SortOrder != order {
			faults = append(faults, problem.Parameter("sort_order", problem.FaultConflict, "differs from order"))
		}
		order = *p.SortOrder
	}
	q.Ascending = order == api.Asc
	if q.Cursor != "" && p.Offset != nil {
		faults = append(faults, problem.Parameter("offset", problem.FaultConflict, "must not come together with cursor"))
	}
	if len(faults) > 0 {
		return q, problem.InvalidParameters(faults...)
	}
	return q, nil
}

// sortNames has the sorts with a second name.
var sortNames = map[api.Sort]api.Sort{api.SortDueDate: api.SortDue}

// dueBound converts a bound of due dates: a day, or a date-time with its offset from UTC.
func dueBound(name string, text *string, faults *[]api.Fault) *store.DueBound {
	if text == nil {
		return nil
	}
	if bound, err := due.ParseBound(*text); err == nil {
		return new(store.DueBound(bound))
	}
	*faults = append(*faults, problem.Parameter(name, problem.FaultInvalidFormat,
		"must be a day from 1970-01-01 on, or a date-time with its offset from UTC, such as 2026-03-09T08:00:00Z (a + in an address is written %2B)"))
	return nil
}

// task returns a response with one task.
func (s *Server) task(ctx context.Context, status int, t store.Task) response {
	body := taskOf(s.tags, t)
	return respond(ctx, status, body.Etag, &body)
}

// The operations that may return a response of type response.

func (r response) VisitListTasksResponse(w http.ResponseWriter) error          { return r.write(w) }
func (r response) VisitCreateTaskResponse(w http.ResponseWriter) error         { return r.write(w) }
func (r response) VisitGetTaskResponse(w http.ResponseWriter) error            { return r.write(w) }
func (r response) VisitReplaceTaskFieldsResponse(w http.ResponseWriter) error  { return r.write(w) }
func (r response) VisitUpdateTaskResponse(w http.ResponseWriter) error         { return r.write(w) }
func (r response) VisitCompleteTaskResponse(w http.ResponseWriter) error       { return r.write(w) }
func (r response) VisitCompleteTaskByPostResponse(w http.ResponseWriter) error { return r.write(w) }
func (r response) VisitSkipOccurrenceResponse(w http.ResponseWriter) error     { return r.write(w) }
func (r response) VisitListOccurrencesResponse(w http.ResponseWriter) error    { return r.write(w) }
