package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"docket/contract"
)

// For every request, the service responds as the document says, which is checked for every answer, and it stores
// nothing unless the answer is a 2xx.

func TestMalformedJSONIsRefusedWithThePosition(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for body, detail := range map[string]string{
		`{`:                                   "ends early, at byte 1",
		`{"title"`:                            "ends early, at byte 8",
		`{"title":`:                           "ends early, at byte 9",
		`{"title": "A`:                        "ends early, at byte 12",
		`{"title": "A"`:                       "ends early, at byte 13",
		`{"title": "A\`:                       "not valid JSON",
		`{"title": "A",}`:                     "at byte 13",
		`{"title": 'A'}`:                      "at byte 10",
		`{title: "A"}`:                        "at byte 2",
		`{"title" "A"}`:                       "at byte 9",
		`{"title": "A" "priority": "low"}`:    "at byte 14",
		`{"title": NaN}`:                      "at byte 10",
		`{"title": Infinity}`:                 "at byte 10",
		`{"title": undefined}`:                "at byte 10",
		`{"title": +1}`:                       "at byte 10",
		`{"title": 01}`:                       "at byte 11",
		`{"title": .5}`:                       "at byte 10",
		`{"title": 1.}`:                       "not valid JSON",
		`{"title": 0x41}`:                     "at byte 11",
		`{"title": tru}`:                      "not valid JSON",
		`{"title": "A"} // comment`:           "at byte 15",
		`{/* comment */"title": "A"}`:         "at byte 1",
		`{"title": "A"}{}`:                    "has something after its JSON value",
		`{"title": "A"} {"title": "B"}`:       "has something after its JSON value",
		`{"title": "A"}]`:                     "not valid JSON",
		`{"title": "A"},`:                     "not valid JSON",
		"{\"title\": \"A\"}\x00":              "not valid JSON",
		"{\"title\": \"A\nB\"}":               "at byte 12",
		"{\"title\": \"A\tB\"}":               "at byte 12",
		"{\"title\": \"A\x00B\"}":             "at byte 12",
		`{"title": "\x41"}`:                   "at byte 11",
		`{"title": "\u12"}`:                   "at byte 11",
		`{"title": "\ud83c"}`:                 "at byte 11",
		`{"title": "\udf89"}`:                 "at byte 11",
		`{"title": "\udf89\ud83c"}`:           "at byte 11",
		`{"title": "\ud83cA"}`:                "at byte 11",
		`{"\ud83c": "A"}`:                     "at byte 2",
		"{\"title\": \"\xff\"}":               "at byte 11",
		"{\"title\": \"\xc3\"}":               "at byte 11",
		"{\"title\": \"\xc0\xaf\"}":           "at byte 11",
		"{\"title\": \"\xed\xa0\x80\"}":       "at byte 11",
		"{\"title\": \"\xf5\x80\x80\x80\"}":   "at byte 11",
		"{\"ti\xfftle\": \"A\"}":              "at byte 4",
		`{"title": "A", "title": "B"}`:        `the name "title" twice`,
		`{"title": "A", "titl\u0065": "B"}`:   `the name "title" twice`,
		`{"a": {"b": 1, "b": 2}}`:             `the name "b" twice`,
		"\ufeff" + `{"title": "A"}`:           "byte order mark",
		"":                                    "is empty",
		" \n\t":                               "ends early",
		"A":                                   "not valid JSON",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00":    "not valid JSON",
		"{\x00\"\x00t\x00":                    "not valid JSON",
		strings.Repeat("[", 10_000):           "deeper than 32 levels",
		strings.Repeat(`{"a":`, 10_000) + "1": "deeper than 32 levels",
		`{"title":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}": "deeper than 32 levels",
	} {
		for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
			p := s.ada.send(t, request[0], request[1], body, "Content-Type: application/json").want(http.StatusBadRequest).problem()
			if p.Code != "malformed_json" || !strings.Contains(p.Detail, detail) || len(p.Errors) != 1 || p.Errors[0].Pointer != "#" {
				t.Errorf("%s %.60q: %+v", request[0], body, p)
			}
		}
	}
	if s.stored(t) != rows {
		t.Error("something was stored")
	}
}

func TestValuesOfTheWrongTypeAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for _, body := range []string{"null", "true", "[]", `["title"]`, `"title"`, "0", "1e400", "-1e400", "1e-400", "9223372036854775808", strings.Repeat("9", 5000)} {
		for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
			p := s.ada.send(t, request[0], request[1], body).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0] != (fault{Pointer: "#", Code: "invalid_type", Detail: "The body must be an object."}) {
				t.Errorf("%s %.60q: %+v", request[0], body, p)
			}
		}
	}
	for field, values := range map[string][]string{
		"title":       {"1", "1e400", "true", "null", "[]", "{}", `["A"]`, `{"$ne": ""}`, `""`},
		"description": {"1", "1e400", "true", "[]", "{}", `["A"]`},
		"priority":    {"1", "1e400", "true", "null", "[]", "{}", `""`, `"High"`, `"HIGH"`, `"urgent"`, `"low "`, `"lo\u0000w"`, `["low"]`},
		"completed":   {"1", "0", "1e400", "null", "[]", "{}", `"true"`, `""`},
	} {
		for _, value := range values {
			body := `{"title": "A", "` + field + `": ` + value + `}`
			if field == "title" {
				body = `{"title": ` + value + `}`
			}
			for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
				p := s.ada.send(t, request[0], request[1], body).want(http.StatusUnprocessableEntity).problem()
				if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/"+field {
					t.Errorf("%s %s: %+v", request[0], body, p)
				}
			}
		}
	}
	if s.stored(t) != rows {
		t.Error("something was stored")
	}
}

func TestProblemsDoNotRepeatValues(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, a := range []*answer{
		s.ada.send(t, "POST", "", `{"title": "A", "priority": "hush-hush"}`).want(http.StatusUnprocessableEntity),
		s.ada.send(t, "POST", "", `{"title": "A", "description": ["hush-hush"]}`).want(http.StatusUnprocessableEntity),
		s.ada.send(t, "POST", "", `{"title": "hush-hush`+strings.Repeat("!", 200)+`"}`).want(http.StatusUnprocessableEntity),
		s.ada.send(t, "POST", "", `{"title": "hush-hush" "`).want(http.StatusBadRequest),
		s.ada.send(t, "GET", "?status=hush-hush", "").want(http.StatusBadRequest),
		s.ada.send(t, "GET", "?cursor=hush-hush", "").want(http.StatusBadRequest),
		s.ada.send(t, "GET", "?search=hush-hush%00", "").want(http.StatusBadRequest),
	} {
		if strings.Contains(a.String(), "hush-hush") {
			t.Errorf("the answer repeats the value:\n%s", a)
		}
	}
}

func TestUnusualTextIsStoredExactly(t *testing.T) {
	t.Parallel()
	s := start(t)
	for body, want := range map[string]string{
		`{"title": "\ud83c\udf89"}`:                   "🎉",
		`{"title": "\u00e9\/\"\\\b\f\n\r\tx"}`:        "é/\"\\\b\f\n\r\tx",
		`{"title": "<script>alert(1)</script>&amp;"}`: "<script>alert(1)</script>&amp;",
		`{"title": "\ufffd\ufffe\uffff"}`:             "\ufffd\ufffe\uffff",
		`{"title": "\u202eabc"}`:                      "\u202eabc",
		`{"title": "'; drop table task; --"}`:         "'; drop table task; --",
		"\n\t {\"title\"\r\n:\"A\" } \n":              "A",
		`{"t\u0069tle": "A"}`:                         "A",
		`{"title": "e\u0301"}`:                        "e\u0301", // not made into é
	} {
		if made := s.ada.create(t, body); made.Title != want || s.ada.send(t, "GET", "/"+made.ID, "").task().Title != want {
			t.Errorf("%s is kept as %q", body, made.Title)
		}
	}
}

// sized returns the body of a new task that has that many bytes.
func sized(bytes int) string {
	const most = `{"title": "A", "description": "B"}`
	return most[:len(most)-1] + strings.Repeat(" ", bytes-len(most)) + "}"
}

func TestBodyHasAtMost64KiB(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, chunked := range []bool{false, true} {
		send := func(method, path, body string) *answer {
			r := must(http.NewRequestWithContext(t.Context(), method, s.url+s.ada.tasks()+path, strings.NewReader(body)))
			r.Header.Set("Authorization", "Bearer "+s.ada.token)
			r.Header.Set("Content-Type", "application/json")
			if chunked {
				r.ContentLength = -1
			}
			return s.do(t, r)
		}
		for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
			if a := send(request[0], request[1], sized(64<<10)); a.status != http.StatusCreated && a.status != http.StatusOK {
				t.Errorf("64 KiB: %s", a)
			}
			for _, size := range []int{64<<10 + 1, 1 << 20} {
				if a := send(request[0], request[1], sized(size)); a.status != http.StatusRequestEntityTooLarge {
					t.Errorf("%d bytes: %s", size, a)
				}
			}
		}
		send("PATCH", "/"+made.ID+"/complete", "{"+strings.Repeat(" ", 64<<10-2)+"}").want(http.StatusOK)
		send("PATCH", "/"+made.ID+"/complete", "{"+strings.Repeat(" ", 64<<10-1)+"}").want(http.StatusRequestEntityTooLarge)
	}
	// A body whose Content-Length is too large is not read.
	a := s.raw(t, "POST "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+
		"\nContent-Type: application/json\nContent-Length: 9223372036854775807", `{"title": "A"}`)
	if a.want(http.StatusRequestEntityTooLarge); !a.last {
		t.Errorf("the rest of the body would be read as a request: %s", a)
	}
}

func TestBodyMustBeJSONInUTF8(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, good := range []string{
		"application/json", "application/json; charset=utf-8", `application/json;charset="UTF-8"`, "Application/JSON", "application/json ; charset=UTF-8",
	} {
		s.ada.send(t, "POST", "", `{"title": "A"}`, "Content-Type: "+good).want(http.StatusCreated)
		s.ada.send(t, "PUT", "/"+made.ID, `{"title": "A"}`, "Content-Type: "+good).want(http.StatusOK)
		s.ada.send(t, "PATCH", "/"+made.ID, `{"title": "A"}`, "Content-Type: "+good).want(http.StatusOK)
		s.ada.send(t, "PATCH", "/"+made.ID, `{"title": "A"}`, "Content-Type: "+strings.Replace(strings.ToLower(good), "json", "merge-patch+json", 1)).want(http.StatusOK)
	}
	for _, bad := range []string{
		"", "text/plain", "text/json", "application/*", "*/*", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/problem+json",
		"application/json-patch+json", "application/jsonp", "application/json, application/json", "application/json; charset=utf-16", "application/json; charset=iso-8859-1",
		"application/json; charset", "application/json; =", "json", "application", "application/", ";", "\xff",
	} {
		for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}, {"PATCH", "/" + made.ID + "/complete"}} {
			p := s.ada.send(t, request[0], request[1], `{"completed": true, "title": "B"}`, "Content-Type: "+bad).want(http.StatusUnsupportedMediaType).problem()
			if len(p.Errors) != 1 || p.Errors[0].Header != "Content-Type" {
				t.Errorf("%q: %+v", bad, p)
			}
		}
	}
	s.ada.send(t, "PUT", "/"+made.ID, `{"title": "B"}`, "Content-Type: application/merge-patch+json").want(http.StatusUnsupportedMediaType)
	s.ada.send(t, "POST", "", `{"title": "B"}`, "Content-Type: application/merge-patch+json").want(http.StatusUnsupportedMediaType)
	for _, coding := range []string{"gzip", "br", "deflate", "gzip, identity", "x"} {
		p := s.ada.send(t, "POST", "", `{"title": "B"}`, "Content-Encoding: "+coding).want(http.StatusUnsupportedMediaType).problem()
		if len(p.Errors) != 1 || p.Errors[0].Header != "Content-Encoding" {
			t.Errorf("%s: %+v", coding, p)
		}
	}
	s.ada.send(t, "POST", "", `{"title": "C"}`, "Content-Encoding: identity").want(http.StatusCreated)
	s.raw(t, "POST "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+
		"\nContent-Type: application/json\nContent-Type: application/json\nContent-Length: 14", `{"title": "B"}`).want(http.StatusUnsupportedMediaType)
	if strings.Contains(s.stored(t), `"B"`) {
		t.Error("a refused body was stored")
	}
}

func TestATruncatedBodyIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	head := "POST " + s.ada.tasks() + " HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token + "\nContent-Type: application/json\n"
	for _, test := range [][2]string{
		{"Content-Length: 100", `{"title": "A"}`},
		{"Transfer-Encoding: chunked", "e\r\n{\"title\": \"A\"}\r\n"},
		{"Transfer-Encoding: chunked", "zz\r\n"},
		{"Transfer-Encoding: chunked", "-1\r\n"},
		{"Transfer-Encoding: chunked", "ffffffffffffffffff\r\n"},
		{"Transfer-Encoding: chunked", "3\r\n{\"title\": \"A\"}\r\n0\r\n\r\n"},
		{"Transfer-Encoding: chunked", "e;" + strings.Repeat("x", 10_000) + "\r\n{\"title\": \"A\"}\r\n0\r\n\r\n"},
		{"Transfer-Encoding: chunked", "e\r\n{\"title\": \"A\"}\r\n0\r\nBad trailer\r\n\r\n"},
	} {
		h := crlf(head + test[0])
		c := s.dial(t, h+test[1])
		c.closeWrite()
		if p := c.answer(t, h).want(http.StatusBadRequest).problem(); p.Code != "malformed_json" {
			t.Errorf("%q: %+v", test, p)
		}
	}
	if rows := s.stored(t); rows != "" {
		t.Errorf("stored is %s", rows)
	}
}

func TestAnUnexpectedBodyIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if op.RequestBody != nil {
			continue
		}
		made := s.ada.tagged(t, `{"title": "A"}`)
		for _, body := range []string{"{}", " ", "null", `{"title": "B"}`} {
			for _, length := range []int64{int64(len(body)), -1} {
				c := callOf(t, op, s.ada, made.ID)
				r := must(http.NewRequestWithContext(t.Context(), c.method, s.url+c.target, strings.NewReader(body)))
				r.ContentLength = length
				r.Header.Set("Authorization", "Bearer "+s.ada.token)
				if p := s.do(t, r).want(http.StatusBadRequest).problem(); p.Code != "unexpected_body" {
					t.Errorf("%s: %+v", op.OperationID, p)
				}
			}
		}
		// A chunked body without content counts as no body.
		c := callOf(t, op, s.ada, made.ID)
		a := s.raw(t, c.method+" "+c.target+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+"\nTransfer-Encoding: chunked", "0\r\n\r\n")
		if a.status >= 400 {
			t.Errorf("%s: %s", op.OperationID, a)
		}
	}
}

func TestAcceptIsHonoured(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, good := range []string{
		"", "*/*", "application/*", "application/json", "APPLICATION/JSON", "text/html, application/json;q=0.1", "text/html,*/*;q=0.8", "application/json;q=0.001",
		"text/*;q=0, */*", "application/json; charset=utf-8", "application/json, text/plain, */*", "*/*;q=0, application/json", "image/webp,application/*;q=0.9,text/html;q=0",
	} {
		s.ada.send(t, "GET", "", "", "Accept: "+good).want(http.StatusOK)
	}
	for _, bad := range []string{
		"text/html", "application/xml", "text/*", "application/json;q=0", "application/json;q=0.000, */*", "application/*;q=0, */*", "*/*;q=0", "application/problem+json", "json",
	} {
		s.ada.send(t, "GET", "", "", "Accept: "+bad).want(http.StatusNotAcceptable)
	}
	a := s.raw(t, "GET "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+"\nAccept: text/html\nAccept: application/json", "")
	a.want(http.StatusOK)
	s.raw(t, "GET "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+"\nAccept:", "").want(http.StatusOK)
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, path := range []string{
		"/api", "/api/", "/api/" + s.ada.id, "/api/" + s.ada.id + "/", "/tasks", "/v1/tasks", "/health//", "/health/live", "/healthz", "/ready", "/metrics", "/debug/pprof/",
		"/favicon.ico", "/robots.txt", "/.env", "/docs/", "/docs/../openapi.go", "/docs/a/b", "/problems", "/problems/",
		"/openapi", "/openapi.yaml/", "/HEALTH", "/Api/" + s.ada.id + "/tasks", "/api/" + s.ada.id + "/TASKS",
		s.ada.tasks() + "//", s.ada.tasks() + "/" + made.ID + "//", s.ada.tasks() + "/" + made.ID + "/complete//", s.ada.tasks() + "/" + made.ID + "/nonsense",
		s.ada.tasks() + "//" + made.ID, "/api//tasks", "//api/" + s.ada.id + "/tasks", "//x", "/./health", "/api/../health", "/health/../health", "/%2Fhealth",
		strings.Replace(s.ada.tasks(), "/tasks", "%2Ftasks", 1),
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			a := s.send(t, method, path, "", "Authorization: Bearer "+s.ada.token).want(http.StatusNotFound)
			if p := a.problem(); p.Code != "route_not_found" || a.get("Location") != "" {
				t.Errorf("%s %s: %s", method, path, a)
			}
		}
		s.send(t, "HEAD", path, "").want(http.StatusNotFound)
	}
	for _, page := range []string{"/docs/nothing.js", "/docs/%2e%2e", "/docs/..%2Fserver.go", "/docs/.", "/docs/swagger-ui.css.gz%00", "/problems/nonsense", "/problems/%FF"} {
		s.send(t, "GET", page, "").want(http.StatusNotFound)
		s.send(t, "HEAD", page, "").want(http.StatusNotFound)
	}
}

func TestAWrongMethodIsAnsweredWithTheAllowedOnes(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for path, allowed := range map[string]string{
		s.ada.tasks():                               "GET, HEAD, POST",
		s.ada.tasks() + "/" + made.ID:               "DELETE, GET, HEAD, PATCH, PUT",
		s.ada.tasks() + "/" + made.ID + "/complete": "PATCH, POST",
		"/health":        "GET, HEAD",
		"/health/ready":  "GET, HEAD",
		"/docs":          "GET, HEAD",
		"/openapi.yaml":  "GET, HEAD",
		"/openapi.json":  "GET, HEAD",
		"/problems/x":    "GET, HEAD",
		"/docs/anything": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X"} {
			if strings.Contains(", "+allowed+", ", ", "+method+", ") {
				continue
			}
			a := s.send(t, method, path, "", "Authorization: Bearer "+s.ada.token).want(http.StatusMethodNotAllowed)
			if a.get("Allow") != allowed {
				t.Errorf("%s %s: Allow is %s", method, path, a.get("Allow"))
			}
			if method != "HEAD" && !strings.Contains(a.problem().Detail, allowed) {
				t.Errorf("%s %s: %s", method, path, a)
			}
		}
	}
	if s.stored(t) != rows {
		t.Error("something was changed")
	}
}

// HEAD is GET without the body (RFC 9110, section 9.3.2).
func TestHEADIsGETWithoutABody(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, target := range []string{
		s.ada.tasks(), s.ada.tasks() + "?limit=0", s.ada.tasks() + "/" + made.ID, s.ada.tasks() + "/" + uuid.NewString(), s.bob.tasks(), "/health", "/health/ready", "/docs", "/openapi.json",
	} {
		get := s.send(t, "GET", target, "", "Authorization: Bearer "+s.ada.token)
		head := s.send(t, "HEAD", target, "", "Authorization: Bearer "+s.ada.token).want(get.status)
		if head.body != "" || head.get("Content-Type") != get.get("Content-Type") || head.get("ETag") != get.get("ETag") {
			t.Errorf("GET gives\n%s\nHEAD\n%s", get, head)
		}
	}
}

func TestOwnerIDsAreOpaque(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, id := range []string{
		"a", "A", "1", "0", "tasks", "..", ".", "a/b", "/a", "a%2Fb", "%", "a b", "+", "a+b", "a?b", "a#b", "a&b=c", ":", "*", "é", "e\u0301", "🎉", "$1", "'", `"`, `\`, "{user_id}",
		"yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu", "YJ3KQ8VLW2RT6ZPNC9XBHS5MFGD1TAEU", strings.Repeat("x", 255), strings.Repeat("🎉", 255), " a ", "a\tb",
	} {
		o := s.named(id)
		s.exec(t, `insert into "user" (id, name, email, "emailVerified") values ($1, '', $1, true)`, id)
		// All special characters are escaped, including dots: a client would resolve . and ..
		path := "/api/"
		for _, b := range []byte(id) {
			path += fmt.Sprintf("%%%02X", b)
		}
		authorization := "Authorization: Bearer " + o.token
		made := s.send(t, "POST", path+"/tasks", `{"title": "A"}`, authorization).want(http.StatusCreated)
		if made.task().UserID != id {
			t.Errorf("%q owns a task of %q", id, made.task().UserID)
		}
		if id != "." && id != ".." {
			s.send(t, "GET", made.get("Location"), "", authorization).want(http.StatusOK)
		}
		if l := s.send(t, "GET", path+"/tasks", "", authorization).list(); l.Total != 1 || l.Tasks[0] != made.task() {
			t.Errorf("%q lists %+v", id, l)
		}
	}
}

func TestOwnerIDsAreComparedExactly(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, similar := range []string{
		strings.ToLower(s.ada.id), strings.ToUpper(s.ada.id), s.ada.id + "%20", "%20" + s.ada.id, s.ada.id + "%00", s.ada.id + "%2F", s.ada.id + ".", s.ada.id + s.ada.id, s.ada.id[1:],
		s.ada.id + "%E2%80%8B", strings.Repeat("x", 300), "me", "%00", "%FF", "*", "%25", "..%2F" + s.ada.id,
	} {
		for _, request := range [][2]string{{"GET", ""}, {"POST", `{"title": "A"}`}} {
			p := s.send(t, request[0], "/api/"+similar+"/tasks", request[1], "Authorization: Bearer "+s.ada.token).want(http.StatusForbidden).problem()
			if p.Code != "user_mismatch" {
				t.Errorf("%s: %+v", similar, p)
			}
		}
	}
	for _, id := range []string{"", strings.Repeat("x", 256), strings.Repeat("é", 256), "a\x00b"} {
		s.ada.send(t, "GET", "", "", "Authorization: Bearer "+s.named(id).token).want(http.StatusUnauthorized)
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	large := strings.Repeat("x", 16<<10)
	for _, header := range []string{"Cookie: a=" + large, "X-Anything: " + large, "Authorization: Bearer " + large, "Accept: " + large, strings.Repeat("x", 16<<10) + ": 1"} {
		s.send(t, "GET", "/health", "", header, "Origin: "+frontend).want(http.StatusRequestHeaderFieldsTooLarge)
	}
	s.send(t, "GET", "/health?"+large, "").want(http.StatusRequestHeaderFieldsTooLarge)
	s.send(t, "GET", "/"+large, "").want(http.StatusRequestHeaderFieldsTooLarge)
	s.send(t, "GET", "/health", "", "Cookie: a="+large[:15<<10]).want(http.StatusOK)
}

// net/http refuses what is not HTTP. The service itself answers all HTTP, however unusual.
func TestUnusualHTTPIsAnswered(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, head := range []string{
		"GET /%zz HTTP/1.1\nHost: docket", "GET " + s.ada.tasks() + "/%zz HTTP/1.1\nHost: docket", "GET  /health HTTP/1.1\nHost: docket", "GET /health HTTP/1.1", "nonsense",
		"GET /health HTTP/1.1\nHost: docket\nContent-Length: -1", "GET /health HTTP/1.1\nHost: docket\nContent-Length: 1\nContent-Length: 2", "GET /health HTTP/1.1\nHost: docket\nbad header: x",
		"GET /health HTTP/1.1\nHost: docket\nX: \x00",
	} {
		s.dial(t, crlf(head)).answer(t, "").want(http.StatusBadRequest)
	}
	for head, status := range map[string]int{
		"GET /health HTTP/1.0":                                                        200,
		"GET http://elsewhere/health HTTP/1.1\nHost: docket":                          200,
		"GET /health HTTP/1.1\nHost: elsewhere":                                       200,
		"GET /health? HTTP/1.1\nHost: docket":                                         200,
		"GET /health HTTP/1.1\nHost: docket\nX-Request-Id: \xff":                      200,
		"GET /health#fragment HTTP/1.1\nHost: docket":                                 404,
		"OPTIONS * HTTP/1.1\nHost: docket":                                            404,
		"CONNECT docket:80 HTTP/1.1\nHost: docket":                                    405,
		"GET * HTTP/1.1\nHost: docket":                                                404,
		"POST //x HTTP/1.1\nHost: docket":                                             404,
		"POST /x/../health HTTP/1.1\nHost: docket":                                    404,
		"GET " + s.ada.tasks() + "?%zz HTTP/1.1\nHost: docket":                        401,
		"TRACE /health HTTP/1.1\nHost: docket":                                        405,
		"GET /health HTTP/1.1\nHost: docket\nUpgrade: websocket\nConnection: Upgrade": 200,
	} {
		s.raw(t, head, "").want(status)
	}
}

func TestARefusedBodyIsNotReadAsARequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	smuggled := crlf("GET /health HTTP/1.1\nHost: docket\nX-Request-Id: smuggled")
	for _, extra := range []string{"", "\nAuthorization: Bearer x", "\nAuthorization: Bearer " + s.bob.token, "\nAuthorization: Bearer " + s.ada.token + "\nAccept: text/html"} {
		head := crlf(fmt.Sprintf("POST %s HTTP/1.1\nHost: docket\nContent-Type: application/json\nContent-Length: %d%s", s.ada.tasks(), len(smuggled), extra))
		c := s.dial(t, head+smuggled)
		c.closeWrite()
		if a := c.answer(t, head); a.status < 400 {
			t.Errorf("%q gets %s", extra, a)
		}
		rest, err := io.ReadAll(c.answers)
		check(t, err)
		if len(rest) > 0 {
			t.Errorf("%q then gets %s", extra, rest)
		}
	}
}

// A parameter that is added to the document brings its own test, if the document says what it may be.
func TestAnInvalidParameterOfEveryOperationIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if !op.Secured {
			continue
		}
		made := s.ada.tagged(t, recurring)
		for _, p := range contract.Current().Parameters(op) {
			schema := p.Schema.Value
			for _, value := range []string{"*", "17", "a,b", "x" + strings.Repeat("y", 2048)} {
				isNumber := schema.Type.Is("integer") && value == "17"
				if schema.VisitJSON(value) == nil || isNumber || schema.Type.Is("array") || p.Name == "user_id" {
					continue
				}
				c := callOf(t, op, s.ada, made.ID)
				status := http.StatusBadRequest
				switch p.In {
				case "query":
					c.target += "?" + p.Name + "=" + url.QueryEscape(value)
				case "header":
					c.headers = append(c.headers, p.Name+": "+value)
				default:
					c.target = strings.Replace(c.target, made.ID, url.PathEscape(value), 1)
					status = http.StatusNotFound
				}
				s.call(t, c).want(status)
			}
		}
	}
}
