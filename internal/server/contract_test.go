package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"docket/contract"
	"docket/internal/problem"
)

// call is a request to an operation, built from the document.
type call struct {
	method, target, body string
	headers              []string
}

// recurring is a task with the occurrence that the example of skipOccurrence skips.
const recurring = `{"title": "Feed the cat", "description": "The grey one", "due_date": "2026-03-16", "recurrence_rule": "FREQ=WEEKLY"}`

// callOf returns a request by an owner for one of its tasks that succeeds, or for the tag that tagged gives the task. Its body is the first example in the
// document.
func callOf(t testing.TB, op *contract.Operation, o *owner, taskID string) call {
	t.Helper()
	c := call{method: op.Method, target: strings.NewReplacer("{user_id}", url.PathEscape(o.id), "{task_id}", taskID, "{name}", taskID).Replace(op.Path)}
	if strings.Contains(c.target, "{") {
		t.Fatalf("%s: the path %s has a parameter that is not filled in here", op.OperationID, c.target)
	}
	if op.Secured {
		c.headers = []string{"Authorization: Bearer " + o.token}
	}
	if op.RequestBody != nil {
		examples := op.RequestBody.Value.Content["application/json"].Examples
		name := slices.Min(slices.Collect(maps.Keys(examples)))
		c.body = string(must(json.Marshal(examples[name].Value.Value)))
	}
	return c
}

// tagged creates a task that has its id as a tag.
func (o *owner) tagged(t testing.TB, body string) task {
	t.Helper()
	made := o.create(t, body)
	return o.send(t, "PATCH", "/"+made.ID, `{"add_tags": ["`+made.ID+`"]}`).want(http.StatusOK).task()
}

func (s *service) call(t testing.TB, c call, headers ...string) *answer {
	t.Helper()
	return s.send(t, c.method, c.target, c.body, append(slices.Clone(c.headers), headers...)...)
}

// environment has a service in each of the states that the causes need.
type environment struct {
	healthy  *service
	broken   *service // without its table
	offline  *service // without its database
	stalling *service // which never receives a request's body
	limited  *service // in which an owner may send one request a minute
}

// causes has, for each status, a function that sends a request with that outcome. The given call is a valid request for
// a new task of ada's in the healthy service.
var causes = map[int]func(testing.TB, environment, *contract.Operation, call) *answer{
	http.StatusOK:        succeed,
	http.StatusCreated:   succeed,
	http.StatusNoContent: succeed,
	http.StatusNotModified: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, "If-None-Match: *")
	},
	http.StatusBadRequest: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		c.target += "?nonsense=1"
		return w.healthy.call(t, c)
	},
	http.StatusUnauthorized: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, "Authorization:")
	},
	http.StatusForbidden: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, "Authorization: Bearer "+w.healthy.bob.token)
	},
	http.StatusNotFound: func(t testing.TB, w environment, op *contract.Operation, _ call) *answer {
		return w.healthy.call(t, callOf(t, op, w.healthy.ada, uuid.NewString()))
	},
	http.StatusNotAcceptable: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, "Accept: text/html")
	},
	http.StatusRequestTimeout: func(t testing.TB, w environment, op *contract.Operation, _ call) *answer {
		c := callOf(t, op, w.stalling.ada, uuid.NewString())
		return w.stalling.raw(t, c.method+" "+c.target+" HTTP/1.1\nHost: docket\nContent-Type: application/json\n"+
			"Content-Length: 20\n"+strings.Join(c.headers, "\n"), `{"title":`)
	},
	http.StatusConflict: func(t testing.TB, _ environment, op *contract.Operation, _ call) *answer {
		full := start(t, func(o *options) { o.MaxTasks = 1 })
		full.ada.create(t, `{"title": "The only one"}`)
		return full.call(t, callOf(t, op, full.ada, uuid.NewString()))
	},
	http.StatusPreconditionFailed: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, `If-Match: "stale"`)
	},
	http.StatusRequestEntityTooLarge: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		c.body += strings.Repeat(" ", 64<<10)
		return w.healthy.call(t, c)
	},
	http.StatusUnsupportedMediaType: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		return w.healthy.call(t, c, "Content-Type: text/plain")
	},
	http.StatusUnprocessableEntity: func(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
		c.body = `{"completed": "yes"}`
		return w.healthy.call(t, c)
	},
	http.StatusTooManyRequests: func(t testing.TB, w environment, op *contract.Operation, _ call) *answer {
		c := callOf(t, op, w.limited.named(w.limited.newUser(t)), uuid.NewString())
		w.limited.call(t, c)
		return w.limited.call(t, c, "Origin: "+frontend)
	},
	http.StatusInternalServerError: func(t testing.TB, w environment, op *contract.Operation, _ call) *answer {
		return w.broken.call(t, callOf(t, op, w.broken.ada, uuid.NewString()))
	},
	http.StatusServiceUnavailable: func(t testing.TB, w environment, op *contract.Operation, _ call) *answer {
		return w.offline.call(t, callOf(t, op, w.offline.ada, uuid.NewString()))
	},
}

func succeed(t testing.TB, w environment, _ *contract.Operation, c call) *answer {
	return w.healthy.call(t, c)
}

// Every answer in every test is compared with the document. These requests have the origin of a frontend, so that the
// answers must have the CORS headers as well.
func TestEveryDocumentedStatusOfEveryOperationHappens(t *testing.T) {
	t.Parallel()
	w := environment{
		healthy: start(t, func(o *options) { o.RateLimit = 1_000_000 }), // so that its answers have the header fields
		broken:  start(t), offline: start(t, withoutDatabase), stalling: start(t, stalled),
		limited: start(t, func(o *options) { o.RateLimit = 1 }),
	}
	now := time.Now()
	w.limited.docket.SetClock(func() time.Time { return now })
	for _, table := range []string{"task", "task_summary", "task_tag", "tombstone"} {
		w.broken.exec(t, "create policy broken on "+table+" as restrictive to docket_app using (1 / 0 > 0)")
	}
	for _, op := range contract.Current().Operations {
		for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
			t.Run(op.OperationID+" "+status, func(t *testing.T) {
				t.Parallel()
				code, err := strconv.Atoi(status)
				if err != nil || causes[code] == nil {
					t.Fatal("the document has this status, but causes has no entry for it")
				}
				c := callOf(t, op, w.healthy.ada, w.healthy.ada.tagged(t, recurring).ID)
				c.headers = append(c.headers, "Origin: "+frontend)
				causes[code](t, w, op, c).want(code)
			})
		}
	}
}

func TestEveryCauseIsDocumented(t *testing.T) {
	t.Parallel()
	for status := range causes {
		documented := false
		for _, op := range contract.Current().Operations {
			documented = documented || op.Responses.Status(status) != nil
		}
		if !documented {
			t.Errorf("no operation has the status %d in the document", status)
		}
	}
}

// For every operation in the document: an owner neither reads nor changes what belongs to another one.
func TestStrangerSeesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if !op.Secured {
			continue
		}
		t.Run(op.OperationID, func(t *testing.T) {
			t.Parallel()
			owner, other := s.named(s.newUser(t)), s.named(s.newUser(t))
			owned := owner.tagged(t, `{"title": "Precious", "description": "Mine alone", "due_date": "2026-03-16", "recurrence_rule": "FREQ=WEEKLY"}`)
			rows := s.storedOf(t, owner)

			c := callOf(t, op, owner, owned.ID)
			anonymous := s.call(t, c, "Authorization:").want(http.StatusUnauthorized)
			if got := anonymous.get("WWW-Authenticate"); got != `Bearer realm="docket"` {
				t.Errorf("WWW-Authenticate is %s", got)
			}
			refused := s.call(t, c, "Authorization: Bearer "+other.token).want(http.StatusForbidden)
			if detail := refused.problem().Detail; !strings.HasPrefix(detail, "User ID mismatch") {
				t.Errorf("detail %q", detail)
			}
			for _, a := range []*answer{anonymous, refused} {
				for _, id := range []string{owner.id, other.id, owned.ID, owned.Title} {
					if strings.Contains(a.String(), id) {
						t.Errorf("the answer holds %s:\n%s", id, a)
					}
				}
			}
			accessAs(t, s, op, other, owned.ID)
			if now := s.storedOf(t, owner); now != rows {
				t.Errorf("stored was %s, and is now %s", rows, now)
			}
		})
	}
}

// accessAs sends the operation to an owner's own path, with the id of another owner's task where the path has one.
func accessAs(t testing.TB, s *service, op *contract.Operation, other *owner, taskID string) {
	t.Helper()
	c := callOf(t, op, other, taskID)
	switch {
	case strings.Contains(op.Path, "{task_id}"):
		existing := s.call(t, c).want(http.StatusNotFound)
		missing := s.call(t, callOf(t, op, other, uuid.NewString())).want(http.StatusNotFound)
		if existing.problem().Detail != "Task not found or does not belong to this user" {
			t.Errorf("detail %q", existing.problem().Detail)
		}
		if a, b := withoutID(existing), withoutID(missing); a != b {
			t.Errorf("another owner's task is distinguishable from one that does not exist:\n%s\n%s", a, b)
		}
	case op.OperationID == "listTasks":
		if l := s.call(t, c).list(); l.Total != 0 || len(l.Tasks) != 0 {
			t.Errorf("the other owner lists %+v", l)
		}
	case op.OperationID == "getStats":
		s.call(t, c).wantStats(nil)
	case op.OperationID == "listTags":
		if a := s.call(t, c).want(http.StatusOK); strings.Contains(a.body, taskID) {
			t.Errorf("the other owner lists %s", a)
		}
	case strings.Contains(op.Path, "{name}"):
		existing := s.call(t, c).want(http.StatusNotFound)
		missing := s.call(t, callOf(t, op, other, uuid.NewString())).want(http.StatusNotFound)
		if a, b := withoutID(existing), withoutID(missing); a != b || existing.problem().Code != "tag_not_found" {
			t.Errorf("another owner's tag is distinguishable from one that does not exist:\n%s\n%s", a, b)
		}
	case op.OperationID == "createTask":
		if made := s.call(t, c).want(http.StatusCreated).task(); made.UserID != other.id {
			t.Errorf("the task belongs to %s", made.UserID)
		}
	default:
		t.Error("the operation has no case: add one that checks what another owner must not see")
	}
}

// withoutID returns an answer as text, without the date and the request id, which differ between equal answers.
func withoutID(a *answer) string {
	h := a.header.Clone()
	h.Del("Date")
	return strings.ReplaceAll((&answer{status: a.status, header: h, body: a.body}).String(), a.get("X-Request-Id"), "…")
}

func (s *service) newUser(t testing.TB) string {
	t.Helper()
	id := s.newOwner().id
	s.exec(t, `insert into "user" (id, name, email, "emailVerified") values ($1, $1, $1, true)`, id)
	return id
}

func (s *service) storedOf(t testing.TB, o *owner) string {
	t.Helper()
	var rows string
	check(t, s.database.QueryRow(t.Context(),
		"select coalesce(jsonb_agg(to_jsonb(task) order by id)::text, '') from task where user_id = $1", o.id).Scan(&rows))
	return rows
}

func TestEveryProblemOfTheDocumentHasAType(t *testing.T) {
	t.Parallel()
	types := map[string]*problem.Type{}
	for _, typ := range problem.Types {
		types[typ.Code] = typ
	}
	for name, response := range contract.Current().Components.Responses {
		for _, media := range response.Value.Content {
			for example, ref := range media.Examples {
				var p problemDocument
				if check(t, json.Unmarshal(must(json.Marshal(ref.Value.Value)), &p)); p.Code == "" {
					continue // an example of a success
				}
				if typ := types[p.Code]; typ == nil || typ.Status != p.Status || typ.Title != p.Title || p.Type != "/problems/"+p.Code {
					t.Errorf("%s %s: %+v, and the type is %+v", name, example, p, typ)
				}
			}
		}
	}
}
