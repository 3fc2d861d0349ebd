package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"docket/internal/api"
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
	if key := r.Params.IdempotencyKey; key == nil {
		t, err = owner.CreateTask(ctx, newTask(r.Body))
	} else {
		t, replayed, err = owner.CreateTaskOnce(ctx, *key, newTask(r.Body))
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
	t, err := s.ownerIf(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, taskChanges(r.Body))
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
	t, err := s.ownerIf(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, taskChanges(body))
	if err != nil {
		return nil, err
	}
	return s.task(ctx, http.StatusOK, t), nil
}

// CompleteTask implements PATCH /api/{user_id}/tasks/{task_id}/complete.
func (s *Server) CompleteTask(ctx context.Context, r api.CompleteTaskRequestObject) (api.CompleteTaskResponseObject, error) {
	var completed *bool // toggle
	if r.Body != nil {
		completed = r.Body.Completed
	}
	t, err := s.ownerIf(ctx, r.Params.IfMatch).CompleteTask(ctx, r.TaskID, completed)
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

// newTask converts the task that a client creates.
func newTask(b *api.NewTask) store.NewTask {
	return store.NewTask{
		Title:       strings.TrimSpace(b.Title),
		Description: b.Description,
		Priority:    text(deref(b.Priority, "")),
		Completed:   deref(b.Completed, false),
	}
}

// taskChanges converts the changes that a client makes to a task.
func taskChanges(b *api.TaskChanges) store.TaskChanges {
	return store.TaskChanges{
		Title:       optional(b.Title, strings.TrimSpace),
		Description: optionalOrNull(b.Description),
		Priority:    optional(b.Priority, text),
		Completed:   optional(b.Completed, same),
	}
}

// taskOf converts a task to the form that clients read.
func taskOf(v tagVersion, t store.Task) api.Task {
	return api.Task{
		ID:          t.ID,
		UserID:      t.UserID,
		Title:       t.Title,
		Description: t.Description,
		Priority:    api.Priority(t.Priority),
		Completed:   t.Completed,
		CreatedAt:   rfc3339.Time(t.CreatedAt),
		UpdatedAt:   rfc3339.Time(t.UpdatedAt),
		Revision:    t.Revision,
		Etag:        v.tag(t.Revision, ""),
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
	var faults []api.Fault
	if status := deref(p.Status, api.All); status != api.All {
		completed := status == api.Completed
		if p.Completed != nil && *p.Completed != completed {
			faults = append(faults, problem.Parameter("completed", problem.FaultConflict, "contradicts status"))
		}
		q.Completed = &completed
	}
	sort := deref(p.Sort, api.SortCreated)
	if p.SortBy != nil {
		by := api.Sort(strings.TrimSuffix(string(*p.SortBy), "_at"))
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
