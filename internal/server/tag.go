package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"docket/internal/api"
	"docket/internal/problem"
	"docket/internal/store"
)

// ListTags implements GET /api/{user_id}/tags.
func (s *Server) ListTags(ctx context.Context, r api.ListTagsRequestObject) (api.ListTagsResponseObject, error) {
	q := store.TagQuery{Limit: deref(r.Params.Limit, 100), Cursor: deref(r.Params.Cursor, "")}
	suffix := listSuffix("tags", strconv.Itoa(int(q.Limit)), q.Cursor)
	known := s.tags.parse(r.Params.IfNoneMatch, suffix, true)
	q.Unless = known.revisions
	list, err := s.owner(ctx).ListTags(ctx, q)
	if err != nil {
		return nil, err
	}
	tag := s.tags.tag(list.Revision, suffix)
	if list.NotModified || known.any {
		return notModified(ctx, tag), nil
	}
	page := &api.TagList{Tags: make([]api.Tag, len(list.Tags)), Limit: q.Limit}
	for i, t := range list.Tags {
		page.Tags[i] = api.Tag{Name: t.Name, Tasks: t.Tasks, Pending: t.Pending}
	}
	if list.NextCursor != "" {
		page.NextCursor = &list.NextCursor
	}
	return respond(ctx, http.StatusOK, tag, page), nil
}

// RenameTag implements PATCH /api/{user_id}/tags/{name}.
func (s *Server) RenameTag(ctx context.Context, r api.RenameTagRequestObject) (api.RenameTagResponseObject, error) {
	changed, err := s.owner(ctx).RenameTag(ctx, r.Name, r.Body.Name)
	if err != nil {
		return nil, err
	}
	return respond(ctx, http.StatusOK, "", &api.TagChange{Changed: changed}), nil
}

// DeleteTag implements DELETE /api/{user_id}/tags/{name}.
func (s *Server) DeleteTag(ctx context.Context, r api.DeleteTagRequestObject) (api.DeleteTagResponseObject, error) {
	changed, err := s.owner(ctx).DeleteTag(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return respond(ctx, http.StatusOK, "", &api.TagChange{Changed: changed}), nil
}

// tagFilter returns the tags of a list's parameters tag and tags, another spelling of it.
func tagFilter(p api.ListTasksParams) (names []string, faults []api.Fault) {
	names = store.UniqueTags(p.Tag)
	if p.Tags == nil {
		return names, nil
	}
	said := store.UniqueTags(slices.DeleteFunc(strings.Split(*p.Tags, ","), func(name string) bool { return strings.TrimSpace(name) == "" }))
	switch {
	case len(said) == 0:
		faults = append(faults, problem.Parameter("tags", problem.FaultBlank, "must name a tag"))
	case len(said) > store.MaxTags:
		fault := problem.Parameter("tags", problem.FaultTooLong, "must name at most "+strconv.Itoa(store.MaxTags)+" tags")
		fault.Max = new(int64(store.MaxTags))
		faults = append(faults, fault)
	case names != nil && !slices.Equal(folded(names), folded(said)):
		faults = append(faults, problem.Parameter("tags", problem.FaultConflict, "differs from tag"))
	}
	return said, faults
}

// folded returns tags in the form in which they are compared, sorted.
func folded(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = store.FoldTag(name)
	}
	slices.Sort(all)
	return all
}

// tagFaults returns what is wrong with the changes of a task's tags that the document cannot say.
func tagFaults(b *api.TaskChanges) (faults []api.Fault) {
	if b.Tags == nil {
		return nil
	}
	for _, member := range []struct {
		name string
		tags []string
	}{{"add_tags", b.AddTags}, {"remove_tags", b.RemoveTags}} {
		if member.tags != nil {
			faults = append(faults, problem.Body("#/"+member.name, problem.FaultConflict, "must not come together with tags"))
		}
	}
	return faults
}

// optionalTags converts the tags that a client may omit. An empty list takes all away.
func optionalTags(names []string) store.Optional[[]string] {
	if names == nil {
		return store.Optional[[]string]{}
	}
	return store.Set(append([]string{}, store.UniqueTags(names)...))
}

func validationFailed(faults []api.Fault) *problem.Problem {
	return &problem.Problem{Type: problem.ValidationFailed, Detail: problem.Summary(faults), Faults: faults}
}

// tooManyTags is the fault of a change that would leave a task with too many tags.
var tooManyTags = func() api.Fault {
	f := problem.Body("#/add_tags", problem.FaultTooLong, "would give the task more than "+strconv.Itoa(store.MaxTags)+" tags")
	f.Max = new(int64(store.MaxTags))
	return f
}()

// The operations that may return a response of type response.

func (r response) VisitListTagsResponse(w http.ResponseWriter) error  { return r.write(w) }
func (r response) VisitRenameTagResponse(w http.ResponseWriter) error { return r.write(w) }
func (r response) VisitDeleteTagResponse(w http.ResponseWriter) error { return r.write(w) }
