package server

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/internal/api"
	"docket/internal/due"
	"docket/internal/store"
)

// A response equals that of the generated code for the same values, byte for byte, and also has a Content-Length.
func TestResponsesEqualThoseOfTheGeneratedCode(t *testing.T) {
	t.Parallel()
	description := "<b>\u2028 \xff"
	at := time.UnixMicro(1_772_000_000_123_456)
	stored := store.Task{
		ID: "an id", UserID: "ada & co", CreatedAt: at, UpdatedAt: at.Add(1),
		TaskFields: store.TaskFields{Title: `"A"`, Description: &description, Priority: "high", Completed: true},
	}
	task := taskOf("2", stored)
	next := "next"
	list := store.TaskList{Tasks: []store.Task{stored, {}}, Total: 7, NextCursor: next}
	const tag, location = `"1.2"`, "/api/ada/tasks/b"
	changed := api.ChangedTaskJSONResponse{Body: task, Headers: api.ChangedTaskResponseHeaders{ETag: tag}}
	of := func(status int, body any) response {
		return response{request: httptest.NewRequest(http.MethodGet, "/", nil), status: status, etag: tag, body: body}
	}
	created := of(201, &task)
	created.location = location
	replayed := created
	replayed.replayed = true
	for _, test := range []struct {
		name            string
		generated, ours func(http.ResponseWriter) error
	}{
		{
			"a list", api.ListTasks200JSONResponse{
				Body:    api.TaskList{Tasks: []api.Task{task, taskOf("2", store.Task{})}, Total: 7, Limit: 2, Offset: 3, NextCursor: &next},
				Headers: api.ListTasks200ResponseHeaders{ETag: tag},
			}.VisitListTasksResponse, of(200, taskList("2", store.TaskQuery{Limit: 2, Offset: 3}, list)).VisitListTasksResponse,
		},
		{
			"an empty list", api.ListTasks200JSONResponse{
				Body: api.TaskList{Tasks: []api.Task{}, Limit: 100}, Headers: api.ListTasks200ResponseHeaders{ETag: tag},
			}.VisitListTasksResponse, of(200, taskList("2", store.TaskQuery{Limit: 100}, store.TaskList{})).VisitListTasksResponse,
		},
		{
			"a list that did not change", api.ListTasks304Response{Headers: api.NotModifiedResponseHeaders{ETag: tag}}.VisitListTasksResponse,
			of(304, nil).VisitListTasksResponse,
		},
		{
			"a created task", api.CreateTask201JSONResponse{
				Body: task, Headers: api.CreateTask201ResponseHeaders{ETag: tag, Location: location},
			}.VisitCreateTaskResponse, created.VisitCreateTaskResponse,
		},
		{
			"a replay", api.CreateTask201JSONResponse{
				Body: task, Headers: api.CreateTask201ResponseHeaders{ETag: tag, Location: location, IdempotentReplayed: new("true")},
			}.VisitCreateTaskResponse, replayed.VisitCreateTaskResponse,
		},
		{
			"a task", api.GetTask200JSONResponse{Body: task, Headers: api.GetTask200ResponseHeaders{ETag: tag}}.VisitGetTaskResponse,
			of(200, &task).VisitGetTaskResponse,
		},
		{
			"a task that did not change", api.GetTask304Response{Headers: api.NotModifiedResponseHeaders{ETag: tag}}.VisitGetTaskResponse,
			of(304, nil).VisitGetTaskResponse,
		},
		{"PUT", api.ReplaceTaskFields200JSONResponse{ChangedTaskJSONResponse: changed}.VisitReplaceTaskFieldsResponse, of(200, &task).VisitReplaceTaskFieldsResponse},
		{"PATCH", api.UpdateTask200JSONResponse{ChangedTaskJSONResponse: changed}.VisitUpdateTaskResponse, of(200, &task).VisitUpdateTaskResponse},
		{"complete", api.CompleteTask200JSONResponse{ChangedTaskJSONResponse: changed}.VisitCompleteTaskResponse, of(200, &task).VisitCompleteTaskResponse},
	} {
		want, got := httptest.NewRecorder(), httptest.NewRecorder()
		if err := errors.Join(test.generated(want), test.ours(got)); err != nil {
			t.Fatal(err)
		}
		if got.Body.String() != want.Body.String() || got.Code != want.Code {
			t.Errorf("%s: got  %d %s\nwant %d %s", test.name, got.Code, got.Body, want.Code, want.Body)
		}
		if length := got.Header().Get("Content-Length"); got.Code != 304 && length != strconv.Itoa(got.Body.Len()) {
			t.Errorf("%s: Content-Length is %s of %d bytes", test.name, length, got.Body.Len())
		}
		got.Header().Del("Content-Length")
		if !reflect.DeepEqual(got.Header(), want.Header()) {
			t.Errorf("%s: got %v, want %v", test.name, got.Header(), want.Header())
		}
	}
}

// largest records the most bytes that were written at once.
type largest struct {
	*httptest.ResponseRecorder
	bytes int
}

func (l *largest) Write(b []byte) (int, error) {
	l.bytes = max(l.bytes, len(b))
	return l.ResponseRecorder.Write(b)
}

// largePage returns a page of a thousand tasks, of 7 KB each in JSON.
func largePage() response {
	text := strings.Repeat("\x01", 1000)
	list := store.TaskList{Tasks: make([]store.Task, 1000), Total: 1000, NextCursor: "next"}
	for i := range list.Tasks {
		list.Tasks[i] = store.Task{ID: strconv.Itoa(i), TaskFields: store.TaskFields{Title: text[:200], Description: &text, Priority: "low"}}
	}
	return response{request: httptest.NewRequest(http.MethodGet, "/", nil), status: 200, etag: `"1.2"`, body: taskList("2", store.TaskQuery{Limit: 1000}, list)}
}

func TestALargePageIsNeverCompletelyInMemory(t *testing.T) {
	t.Parallel()
	page := largePage()
	want, got := httptest.NewRecorder(), &largest{ResponseRecorder: httptest.NewRecorder()}
	if err := (api.ListTasks200JSONResponse{Body: *page.body.(*api.TaskList)}).VisitListTasksResponse(want); err != nil {
		t.Fatal(err)
	}
	if err := page.VisitListTasksResponse(got); err != nil {
		t.Fatal(err)
	}
	if got.Body.String() != want.Body.String() || got.Code != want.Code || got.Body.Len() < 5<<20 || got.Header().Get("Content-Length") != "" {
		t.Errorf("%d with %d bytes, want %d with %d", got.Code, got.Body.Len(), want.Code, want.Body.Len())
	}
	if got.bytes > chunkSize+10<<10 {
		t.Errorf("%d bytes were in memory at once", got.bytes)
	}
}

// breaking accepts some chunks and then fails.
type breaking struct {
	*httptest.ResponseRecorder
	chunks int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.chunks--; b.chunks < 0 {
		return 0, errors.New("the client is gone")
	}
	return b.ResponseRecorder.Write(p)
}

func TestAPageIsAbortedWhenAWriteFails(t *testing.T) {
	t.Parallel()
	for chunks := range 5 {
		func() {
			defer func() {
				if v := recover(); v != any(http.ErrAbortHandler) {
					t.Errorf("after %d chunks: the panic is %v", chunks, v)
				}
			}()
			_ = largePage().VisitListTasksResponse(&breaking{httptest.NewRecorder(), chunks})
		}()
	}
}

func TestAResponseThatCannotBeEncodedIsNotStarted(t *testing.T) {
	t.Parallel()
	body := struct{ F float64 }{math.NaN()}
	w := httptest.NewRecorder()
	w.Code = 0
	r := response{request: httptest.NewRequest(http.MethodGet, "/", nil), status: 200, body: &body}
	if err := r.write(w); err == nil || w.Code != 0 || w.Body.Len() > 0 {
		t.Errorf("%v, %d, %s", err, w.Code, w.Body)
	}
}

func BenchmarkList(b *testing.B) {
	text := "Figures from the finance team are due on Thursday."
	list := store.TaskList{Tasks: make([]store.Task, 20), Total: 100}
	for i := range list.Tasks {
		list.Tasks[i] = store.Task{
			ID: "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", UserID: "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu", CreatedAt: time.Now(), UpdatedAt: time.Now(),
			TaskFields: store.TaskFields{
				Title: "Prepare the quarterly report", Description: &text, Priority: "high", Tags: []string{"home", "garden"},
				DueDate: new(due.Date(20_700)), DueTime: new(due.Time(570)), TimeZone: new("Europe/Berlin"), DueAt: new(time.Now()),
				RecurrenceMode: "skip_missed",
			},
		}
	}
	w := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		w.Body.Reset()
		r := response{request: request, status: 200, etag: `"1.2"`, body: taskList("2", store.TaskQuery{Limit: 20}, list)}
		if err := r.VisitListTasksResponse(w); err != nil {
			b.Fatal(err)
		}
	}
}
