package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"docket/contract"
	"docket/internal/devauth"
)

// FuzzEveryAnswerIsDocumented sends arbitrary HTTP requests with a valid token. It fails on an answer that is not in
// the document, on a 5xx, and if a refused request has changed what is stored. In a target, $owner and $task stand for
// existing ids.
func FuzzEveryAnswerIsDocumented(f *testing.F) {
	for _, op := range contract.Current().Operations {
		target := strings.NewReplacer("{user_id}", "$owner", "{task_id}", "$task").Replace(op.Path)
		f.Add(op.Method, target, "", "")
		if op.RequestBody == nil {
			continue
		}
		for kind, media := range op.RequestBody.Value.Content {
			for _, example := range media.Examples {
				f.Add(op.Method, target, "Content-Type: "+kind, string(must(json.Marshal(example.Value.Value))))
			}
		}
	}
	const tasks, task = "/api/$owner/tasks", "/api/$owner/tasks/$task"
	for _, query := range []string{
		"status=pending&completed=false&priority=high&priority=low&search=a%25&sort=title&order=asc&limit=1&offset=1",
		"sort_by=priority&cursor=AAAA", "limit=010", "limit=1;offset=2", "search=%00", "search=%ff", "priority=high,low", "nonsense=1", "%zz", "=",
	} {
		f.Add("GET", tasks+"?"+query, "", "")
	}
	for _, header := range []string{
		`If-None-Match: *`, `If-None-Match: W/"1.0", "x"`, "Accept: text/html;q=0", "Origin: " + frontend, "X-Request-Id: mine", "Authorization: Basic x", "Expect: nothing",
	} {
		f.Add("GET", task, header, "")
	}
	f.Add("HEAD", tasks, "", "")
	f.Add("OPTIONS", task, "Origin: "+frontend+"\nAccess-Control-Request-Method: PATCH\nAccess-Control-Request-Headers: authorization", "")
	f.Add("POST", tasks, "Idempotency-Key: k", `{"title": "\ud83c\udf89", "priority": "low", "completed": true}`)
	f.Add("POST", tasks, "Content-Type: application/json; charset=utf-16", `{"title": "A", "title": "B"} {}`)
	f.Add("PATCH", task, "If-Match: \"1.0\"\nContent-Type: application/merge-patch+json", `{"description": null, "title": "\u0000"}`)
	f.Add("PUT", task, `If-Match: "2.1"`, `{"id": "$task", "etag": "\"2.1\"", "updated_at": [1e400], "revision": null, "title": "A"}`)
	f.Add("PATCH", task+"/complete", "", `{"completed": true, "etag": "W/\"x,y\""}`)
	f.Add("DELETE", task+"/", "If-Match: *", "{}")
	f.Add("TRACE", "/openapi.yaml", "", "")
	f.Add("GET", "//api/../docs/%2e%2e?a", "", "")

	// The log is disabled. It would grow for as long as this runs, and contains the caller's own request ids.
	s := start(f, func(o *options) { o.Log = slog.New(slog.DiscardHandler) })
	token := s.issuer.Token(s.ada.id, devauth.Object{"exp": time.Now().AddDate(0, 0, 1).Unix()})
	const id = "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60"
	f.Fuzz(func(t *testing.T, method, target, headers, body string) {
		r, err := http.NewRequestWithContext(t.Context(), method, s.url, strings.NewReader(body))
		u, invalid := url.ParseRequestURI(strings.NewReplacer("$owner", s.ada.id, "$task", id).Replace(target))
		if err != nil || invalid != nil || !strings.HasPrefix(u.Path, "/") || u.Host != "" || strings.Contains(u.RequestURI(), " ") {
			return // no client can send it
		}
		u.Scheme, u.Host = r.URL.Scheme, r.URL.Host
		r.URL = u
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		for line := range strings.SplitSeq(headers, "\n") {
			if name, value, _ := strings.Cut(line, ": "); headerPattern.MatchString(line) {
				r.Header.Set(name, value)
			}
		}
		s.exec(t, "delete from task where id <> $1", id)
		s.exec(t, "insert into task (id, user_id, title) values ($1, $2, 'A') on conflict do nothing", id, s.ada.id)
		rows := s.stored(t)
		a := s.do(t, r)
		if a.status >= 500 {
			t.Errorf("%s %q: a fault of the service's", contract.Describe(r), headers)
		}
		if a.status >= 400 && s.stored(t) != rows {
			t.Errorf("%s %q: %d, and something was stored: %s", contract.Describe(r), headers, a.status, s.stored(t))
		}
	})
}

// headerPattern is a header field that a client sends.
var headerPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+: [^\x00-\x08\x0a-\x1f\x7f]*$")
