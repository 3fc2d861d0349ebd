package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"docket/internal/api"
	"docket/internal/store"
)

// ListTasks implements GET /api/{user_id}/tasks.
func (s *Server) ListTasks(ctx context.Context, r api.ListTasksRequestObject) (api.ListTasksResponseObject, error) {
	q, err := listQuery(r.Params)
	if err != nil {
		return nil, err
	}
	suffix := listSuffix(r.Params)
	header := deref(r.Params.IfNoneMatch, "")
	known, zipped := parseTags(header, suffix, true), parseTags(header, suffix+zippedSuffix, true)
	q.Unless = append(known.revisions, zipped.revisions...)
	list, err := s.store.For(ownerOf(ctx)).ListTasks(ctx, q)
	if err != nil {
		return nil, err
	}
	tag := listTag(list.Revision, suffix)
	if list.NotModified || known.any {
		if slices.Contains(zipped.revisions, list.Revision) {
			tag = zippedTag(tag)
		}
		return listNotModified{tag}, nil
	}
	return listAnswer{list: list, limit: q.Limit, offset: q.Offset, etag: tag}, nil
}

// CreateTask implements POST /api/{user_id}/tasks.
func (s *Server) CreateTask(ctx context.Context, r api.CreateTaskRequestObject) (api.CreateTaskResponseObject, error) {
	n := store.NewTask{
		Title:       strings.TrimSpace(r.Body.Title),
		Description: r.Body.Description,
		Priority:    string(deref(r.Body.Priority, api.Medium)),
		Completed:   deref(r.Body.Completed, false),
	}
	a := taskAnswer{status: http.StatusCreated}
	var err error
	if owner := s.store.For(ownerOf(ctx)); r.Params.IdempotencyKey == nil {
		a.task, err = owner.CreateTask(ctx, n)
	} else {
		a.task, a.replayed, err = owner.CreateTaskOnce(ctx, *r.Params.IdempotencyKey, n)
	}
	if err != nil {
		return nil, err
	}
	a.location = "/api/" + url.PathEscape(a.task.UserID) + "/tasks/" + url.PathEscape(a.task.ID)
	return a, nil
}

// GetTask implements GET /api/{user_id}/tasks/{task_id}.
func (s *Server) GetTask(ctx context.Context, r api.GetTaskRequestObject) (api.GetTaskResponseObject, error) {
	t, err := s.store.For(ownerOf(ctx)).GetTask(ctx, r.TaskID)
	if err != nil {
		return nil, err
	}
	known := parseTags(deref(r.Params.IfNoneMatch, ""), "", true)
	if known.any || slices.Contains(known.revisions, t.Revision) {
		return api.GetTask304Response{Headers: api.NotModifiedResponseHeaders{ETag: taskTag(t)}}, nil
	}
	return taskAnswer{task: t, status: http.StatusOK}, nil
}

// ReplaceTaskFields implements PUT /api/{user_id}/tasks/{task_id}.
func (s *Server) ReplaceTaskFields(ctx context.Context, r api.ReplaceTaskFieldsRequestObject) (api.ReplaceTaskFieldsResponseObject, error) {
	t, err := s.ifMatch(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, changes(r.Body))
	if err != nil {
		return nil, err
	}
	return taskAnswer{task: t, status: http.StatusOK}, nil
}

// UpdateTask implements PATCH /api/{user_id}/tasks/{task_id}.
func (s *Server) UpdateTask(ctx context.Context, r api.UpdateTaskRequestObject) (api.UpdateTaskResponseObject, error) {
	body := r.JSONBody
	if body == nil {
		body = r.ApplicationMergePatchPlusJSONBody
	}
	t, err := s.ifMatch(ctx, r.Params.IfMatch).UpdateTask(ctx, r.TaskID, changes(body))
	if err != nil {
		return nil, err
	}
	return taskAnswer{task: t, status: http.StatusOK}, nil
}

// CompleteTask implements PATCH /api/{user_id}/tasks/{task_id}/complete.
func (s *Server) CompleteTask(ctx context.Context, r api.CompleteTaskRequestObject) (api.CompleteTaskResponseObject, error) {
	var completed *bool // toggle
	if r.Body != nil {
		completed = r.Body.Completed
	}
	t, err := s.ifMatch(ctx, r.Params.IfMatch).CompleteTask(ctx, r.TaskID, completed)
	if err != nil {
		return nil, err
	}
	return taskAnswer{task: t, status: http.StatusOK}, nil
}

// DeleteTask implements DELETE /api/{user_id}/tasks/{task_id}.
func (s *Server) DeleteTask(ctx context.Context, r api.DeleteTaskRequestObject) (api.DeleteTaskResponseObject, error) {
	if _, err := s.ifMatch(ctx, r.Params.IfMatch).DeleteTask(ctx, r.TaskID); err != nil {
		return nil, err
	}
	return api.DeleteTask204Response{}, nil
}

// ifMatch is the door to the owner's rows under the condition of an If-Match header, where there is one. `*` asks for
// a task that is there, as every change does.
func (s *Server) ifMatch(ctx context.Context, header *string) store.Owner {
	owner := s.store.For(ownerOf(ctx))
	if header == nil || *header == "*" {
		return owner
	}
	return owner.IfMatch(parseTags(*header, "", false).revisions...)
}

func changes(body *api.TaskChanges) store.TaskChanges {
	c := store.TaskChanges{
		Priority:       (*string)(body.Priority),
		Completed:      body.Completed,
		SetDescription: body.Description.IsSpecified(),
	}
	if body.Title != nil {
		c.Title = ptr(strings.TrimSpace(*body.Title))
	}
	if description, err := body.Description.Get(); err == nil {
		c.Description = &description
	}
	return c
}

// listQuery gives the parameters the meaning that the document says in words.
func listQuery(p api.ListTasksParams) (store.ListQuery, error) {
	q := store.ListQuery{
		Completed: p.Completed,
		Search:    deref(p.Search, ""),
		Ascending: deref(p.Order, api.Desc) == api.Asc,
		Limit:     deref(p.Limit, 100),
		Offset:    deref(p.Offset, 0),
		Cursor:    deref(p.Cursor, ""),
	}
	faults := noFaults
	if status := deref(p.Status, api.All); status != api.All {
		completed := status == api.Completed
		if p.Completed != nil && *p.Completed != completed {
			faults = append(faults, fault("completed", "contradicts status"))
		}
		q.Completed = &completed
	}
	q.Priorities = priorities(p)
	sort := deref(p.Sort, api.SortCreated)
	if p.SortBy != nil {
		by := api.Sort(strings.TrimSuffix(string(*p.SortBy), "_at"))
		if p.Sort != nil && by != sort {
			faults = append(faults, fault("sort_by", "differs from sort"))
		}
		sort = by
	}
	q.Sort = sorts[sort]
	if q.Cursor != "" && p.Offset != nil {
		faults = append(faults, fault("offset", "must not come together with cursor"))
	}
	if len(faults) > 0 {
		return q, invalidParameters(faults...)
	}
	return q, nil
}

var sorts = map[api.Sort]store.Sort{
	api.SortCreated:  store.SortCreated,
	api.SortUpdated:  store.SortUpdated,
	api.SortTitle:    store.SortTitle,
	api.SortPriority: store.SortPriority,
}

// priorities gives the priorities asked for, whatever their order and however often each: one query, one cursor.
func priorities(p api.ListTasksParams) []string {
	if len(p.Priority) == 0 {
		return nil
	}
	words := make([]string, len(p.Priority))
	for i, priority := range p.Priority {
		words[i] = string(priority)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

func ptr[T any](v T) *T { return &v }

func deref[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
