package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"docket/internal/api"
	"docket/internal/rfc3339"
	"docket/internal/store"
)

// FuzzAnswersAreEncodedLikeTheGeneratedOnes compares the hand-written encoder with encoding/json behind the generated
// answers, byte for byte, headers included.
func FuzzAnswersAreEncodedLikeTheGeneratedOnes(f *testing.F) {
	f.Add("Buy oat milk", "", true, false, int64(0), int64(7))
	f.Add("<script>&\u2028\u2029\x7f é 👩‍🚀 \"\\/\n\t\x00", "e\u0301", false, true, int64(1_772_000_000_123_456), int64(1<<53))
	f.Add("\xff\xfe broken \xed\xa0\x80", "~", true, true, int64(-62_135_596_800_000_000), int64(-1))
	f.Fuzz(func(t *testing.T, title, description string, completed, more bool, micro, total int64) {
		// Years of more than four digits cannot come from the contract's timestamps, and JSON has no word for them.
		at := time.UnixMicro(micro % 253_402_300_799_000_000)
		one := store.Task{
			ID: title + "'s id", UserID: description + "'s owner", Title: title, Description: &description,
			Priority: []string{"low", "medium", "high"}[uint64(total)%3], Completed: completed,
			CreatedAt: at, UpdatedAt: at.Add(-time.Second), Revision: total,
		}
		list := store.TaskList{Tasks: []store.Task{one}, Total: total}
		body := api.TaskList{Tasks: []api.Task{task(one)}, Total: total, Limit: 100, Offset: 3}
		if more {
			one.Description = nil
			list.Tasks, list.NextCursor = append(list.Tasks, one), "next "+title
			body.Tasks, body.NextCursor = append(body.Tasks, task(one)), &list.NextCursor
		} else if completed {
			list.Tasks, body.Tasks = nil, []api.Task{}
		}
		want, got := httptest.NewRecorder(), httptest.NewRecorder()
		generated := api.ListTasks200JSONResponse{Body: body, Headers: api.ListTasks200ResponseHeaders{ETag: `"1.2"`}}
		if err := generated.VisitListTasksResponse(want); err != nil {
			return // encoding/json refuses the time
		}
		if err := (listAnswer{list: list, limit: 100, offset: 3, etag: `"1.2"`}).VisitListTasksResponse(got); err != nil {
			t.Fatal(err)
		}
		got.Header().Del("Vary") // which a room of the road sets for all others
		same(t, got, want)

		// One task.
		want, got = httptest.NewRecorder(), httptest.NewRecorder()
		created := api.CreateTask201JSONResponse{
			Body: task(one), Headers: api.CreateTask201ResponseHeaders{ETag: taskTag(one), Location: "/api/a/tasks/b"},
		}
		answer := taskAnswer{task: one, status: 201, location: "/api/a/tasks/b", replayed: more}
		if more {
			created.Headers.IdempotentReplayed = new("true")
		}
		if err := errors.Join(created.VisitCreateTaskResponse(want), answer.VisitCreateTaskResponse(got)); err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
		read := api.GetTask200JSONResponse{Body: task(one), Headers: api.GetTask200ResponseHeaders{ETag: taskTag(one)}}
		changed := api.ChangedTaskJSONResponse{Body: task(one), Headers: api.ChangedTaskResponseHeaders{ETag: taskTag(one)}}
		answer = taskAnswer{task: one, status: 200}
		for _, visit := range [][2]func(http.ResponseWriter) error{
			{read.VisitGetTaskResponse, answer.VisitGetTaskResponse},
			{api.ReplaceTaskFields200JSONResponse{ChangedTaskJSONResponse: changed}.VisitReplaceTaskFieldsResponse, answer.VisitReplaceTaskFieldsResponse},
			{api.UpdateTask200JSONResponse{ChangedTaskJSONResponse: changed}.VisitUpdateTaskResponse, answer.VisitUpdateTaskResponse},
			{api.CompleteTask200JSONResponse{ChangedTaskJSONResponse: changed}.VisitCompleteTaskResponse, answer.VisitCompleteTaskResponse},
		} {
			want, got = httptest.NewRecorder(), httptest.NewRecorder()
			if err := errors.Join(visit[0](want), visit[1](got)); err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		}
	})
}

// same compares two answers. Only ours announces its length.
func same(t *testing.T, got, want *httptest.ResponseRecorder) {
	t.Helper()
	if got.Body.String() != want.Body.String() || got.Code != want.Code {
		t.Errorf("got  %d %s\nwant %d %s", got.Code, got.Body, want.Code, want.Body)
	}
	if length := got.Header().Get("Content-Length"); length != strconv.Itoa(got.Body.Len()) {
		t.Errorf("Content-Length: %s of %d bytes", length, got.Body.Len())
	}
	got.Header().Del("Content-Length")
	if !reflect.DeepEqual(got.Header(), want.Header()) {
		t.Errorf("got %v, want %v", got.Header(), want.Header())
	}
}

// task is a task as the contract has it.
func task(t store.Task) api.Task {
	return api.Task{
		ID: t.ID, UserID: t.UserID, Title: t.Title, Description: t.Description, Priority: api.Priority(t.Priority),
		Completed: t.Completed, CreatedAt: rfc3339.Time(t.CreatedAt), UpdatedAt: rfc3339.Time(t.UpdatedAt),
	}
}

func BenchmarkList(b *testing.B) {
	text := "Figures from the finance team are due on Thursday."
	list := store.TaskList{Tasks: make([]store.Task, 20), Total: 100}
	body := api.TaskList{Tasks: make([]api.Task, 20), Total: 100, Limit: 20}
	for i := range list.Tasks {
		list.Tasks[i] = store.Task{
			ID: "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", UserID: "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu", Title: "Prepare the quarterly report",
			Description: &text, Priority: "high", CreatedAt: time.Now(), UpdatedAt: time.Now(),
		}
		body.Tasks[i] = task(list.Tasks[i])
	}
	for name, answer := range map[string]api.ListTasksResponseObject{
		"generated":   api.ListTasks200JSONResponse{Body: body},
		"handwritten": listAnswer{list: list, limit: 20},
	} {
		b.Run(name, func(b *testing.B) {
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				w.Body.Reset()
				if err := answer.VisitListTasksResponse(w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largest is the most that was written at once.
type largest struct {
	*httptest.ResponseRecorder
	bytes int
}

func (l *largest) Write(b []byte) (int, error) {
	l.bytes = max(l.bytes, len(b))
	return l.ResponseRecorder.Write(b)
}

func TestALargeListIsTheGeneratedOneAndNeverWholeInMemory(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("\x01", 1000)
	list := store.TaskList{Tasks: make([]store.Task, 1000), Total: 1000, NextCursor: "next"}
	body := api.TaskList{Total: 1000, Limit: 1000, NextCursor: &list.NextCursor}
	for i := range list.Tasks {
		list.Tasks[i] = store.Task{ID: strconv.Itoa(i), Title: text[:200], Description: &text, Priority: "low"}
		body.Tasks = append(body.Tasks, task(list.Tasks[i]))
	}
	want, got := httptest.NewRecorder(), &largest{ResponseRecorder: httptest.NewRecorder()}
	if err := (api.ListTasks200JSONResponse{Body: body}).VisitListTasksResponse(want); err != nil {
		t.Fatal(err)
	}
	if err := (listAnswer{list: list, limit: 1000}).VisitListTasksResponse(got); err != nil {
		t.Fatal(err)
	}
	if got.Body.String() != want.Body.String() || got.Code != want.Code {
		t.Errorf("%d with %d bytes, want %d with %d", got.Code, got.Body.Len(), want.Code, want.Body.Len())
	}
	if got.bytes > piece+10<<10 {
		t.Errorf("%d bytes were in memory at once", got.bytes)
	}
}
