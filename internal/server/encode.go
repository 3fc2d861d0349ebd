package server

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"docket/internal/api"
	"docket/internal/rfc3339"
)

// listAnswer is a 200 of listTasks. It writes byte for byte what api.ListTasks200JSONResponse does, without reflection:
// the list is the answer that frontends poll, and encoding it was a tenth of its cost. See docs/adr/0014.
type listAnswer struct {
	body api.TaskList
	etag string
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// VisitListTasksResponse implements api.ListTasksResponseObject.
func (a listAnswer) VisitListTasksResponse(w http.ResponseWriter) error {
	buffer := buffers.Get().(*[]byte)
	b := appendList((*buffer)[:0], &a.body)
	if cap(b) <= largestKept {
		defer buffers.Put(buffer)
		*buffer = b
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	h.Set("ETag", a.etag)
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(b)
	return err
}

// largestKept keeps one large answer from holding its memory for ever.
const largestKept = 64 << 10

func appendList(b []byte, l *api.TaskList) []byte {
	b = append(b, `{"limit":`...)
	b = strconv.AppendInt(b, int64(l.Limit), 10)
	b = append(b, `,"next_cursor":`...)
	b = appendOptional(b, l.NextCursor)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, int64(l.Offset), 10)
	b = append(b, `,"tasks":[`...)
	for i := range l.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTask(b, &l.Tasks[i])
	}
	b = append(b, `],"total":`...)
	b = strconv.AppendInt(b, l.Total, 10)
	return append(b, "}\n"...)
}

func appendTask(b []byte, t *api.Task) []byte {
	b = append(b, `{"completed":`...)
	b = strconv.AppendBool(b, t.Completed)
	b = append(b, `,"created_at":"`...)
	b = rfc3339.Append(b, t.CreatedAt)
	b = append(b, `","description":`...)
	b = appendOptional(b, t.Description)
	b = append(b, `,"id":`...)
	b = appendText(b, t.ID)
	b = append(b, `,"priority":`...)
	b = appendText(b, string(t.Priority))
	b = append(b, `,"title":`...)
	b = appendText(b, t.Title)
	b = append(b, `,"updated_at":"`...)
	b = rfc3339.Append(b, t.UpdatedAt)
	b = append(b, `","user_id":`...)
	b = appendText(b, t.UserID)
	return append(b, '}')
}

func appendOptional(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return appendText(b, *s)
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
