package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"docket/internal/rfc3339"
	"docket/internal/store"
)

// The answers that hold tasks. They write byte for byte what the generated ones do, without reflection: these are the
// answers that frontends ask for all the time, and encoding them was a tenth of their cost. See docs/adr/0014.

// taskAnswer is a success of every operation that answers with one task.
type taskAnswer struct {
	task     store.Task
	status   int
	location string // of a task that was made
	replayed bool   // it was made by an earlier request
}

// VisitCreateTaskResponse implements api.CreateTaskResponseObject.
func (a taskAnswer) VisitCreateTaskResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitGetTaskResponse implements api.GetTaskResponseObject.
func (a taskAnswer) VisitGetTaskResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitReplaceTaskFieldsResponse implements api.ReplaceTaskFieldsResponseObject.
func (a taskAnswer) VisitReplaceTaskFieldsResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitUpdateTaskResponse implements api.UpdateTaskResponseObject.
func (a taskAnswer) VisitUpdateTaskResponse(w http.ResponseWriter) error { return a.write(w) }

// VisitCompleteTaskResponse implements api.CompleteTaskResponseObject.
func (a taskAnswer) VisitCompleteTaskResponse(w http.ResponseWriter) error { return a.write(w) }

func (a taskAnswer) write(w http.ResponseWriter) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	*buffer = append(appendTask((*buffer)[:0], &a.task), '\n')
	h := w.Header()
	if a.location != "" {
		h["Location"] = []string{a.location}
	}
	if a.replayed {
		h["Idempotent-Replayed"] = []string{"true"}
	}
	return writeJSON(w, a.status, taskTag(a.task), *buffer)
}

// listAnswer is a 200 of listTasks.
type listAnswer struct {
	list          store.TaskList
	limit, offset int32
	etag          string
}

// buffers are for answers. One large answer must not hold its memory for ever.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

const largestKept = 64 << 10

// VisitListTasksResponse implements api.ListTasksResponseObject.
func (a listAnswer) VisitListTasksResponse(w http.ResponseWriter) error {
	buffer := buffers.Get().(*[]byte)
	p := pieces{to: w, etag: a.etag}
	w.Header()["Vary"] = varyOfLists
	if x, ok := w.(*exchange); ok {
		p.zip = acceptsGzip(x.request.Header["Accept-Encoding"])
	}
	b := a.appendBody((*buffer)[:0], &p)
	if p.sent {
		p.last(b)
		return nil
	}
	if cap(b) <= largestKept {
		defer buffers.Put(buffer)
		*buffer = b
	}
	return writeJSON(w, http.StatusOK, a.etag, b)
}

// listNotModified is a 304 of listTasks.
type listNotModified struct{ etag string }

// VisitListTasksResponse implements api.ListTasksResponseObject.
func (a listNotModified) VisitListTasksResponse(w http.ResponseWriter) error {
	h := w.Header()
	h["Etag"] = []string{a.etag}
	h["Vary"] = varyOfLists
	w.WriteHeader(http.StatusNotModified)
	return nil
}

// varyOfLists says what a list depends on beyond its address: it may come compressed.
var varyOfLists = []string{"Origin, Authorization, Accept-Encoding"}

// writeJSON writes a whole answer.
func writeJSON(w http.ResponseWriter, status int, etag string, body []byte) error {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Etag"] = []string{etag}
	if x, ok := w.(*exchange); ok {
		inOnePiece(x.request, len(body))
	}
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

func (a *listAnswer) appendBody(b []byte, p *pieces) []byte {
	b = append(b, `{"limit":`...)
	b = strconv.AppendInt(b, int64(a.limit), 10)
	b = append(b, `,"next_cursor":`...)
	if a.list.NextCursor == "" {
		b = append(b, "null"...)
	} else {
		b = appendText(b, a.list.NextCursor)
	}
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, int64(a.offset), 10)
	b = append(b, `,"tasks":[`...)
	for i := range a.list.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTask(b, &a.list.Tasks[i])
		if p.full(b) {
			b = p.send(b)
		}
	}
	b = append(b, `],"total":`...)
	b = strconv.AppendInt(b, a.list.Total, 10)
	return append(b, "}\n"...)
}

func appendTask(b []byte, t *store.Task) []byte {
	b = append(b, `{"completed":`...)
	b = strconv.AppendBool(b, t.Completed)
	b = append(b, `,"created_at":"`...)
	b = rfc3339.Append(b, rfc3339.Time(t.CreatedAt))
	b = append(b, `","description":`...)
	if t.Description == nil {
		b = append(b, "null"...)
	} else {
		b = appendText(b, *t.Description)
	}
	b = append(b, `,"id":`...)
	b = appendText(b, t.ID)
	b = append(b, `,"priority":`...)
	b = appendText(b, t.Priority)
	b = append(b, `,"title":`...)
	b = appendText(b, t.Title)
	b = append(b, `,"updated_at":"`...)
	b = rfc3339.Append(b, rfc3339.Time(t.UpdatedAt))
	b = append(b, `","user_id":`...)
	b = appendText(b, t.UserID)
	return append(b, '}')
}

// appendText leaves text that needs an escape, or is not UTF-8, to encoding/json.
func appendText(b []byte, s string) []byte {
	if !verbatim(s) {
		quoted, err := json.Marshal(s)
		if err != nil {
			panic(err) // a string: cannot fail
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// verbatim reports whether encoding/json writes the text as it stands, between quotes.
func verbatim(s string) bool {
	var all byte
	for i := range len(s) {
		if escaped[s[i]] {
			return false
		}
		all |= s[i]
	}
	return all < utf8.RuneSelf || utf8.ValidString(s) && !strings.Contains(s, "\u2028") && !strings.Contains(s, "\u2029")
}

// escaped are the ASCII characters that encoding/json does not write as they are.
var escaped = func() (set [256]bool) {
	for c := range byte(' ') {
		set[c] = true
	}
	for _, c := range []byte(`"\<>&`) {
		set[c] = true
	}
	return set
}()
