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
	"docket/internal/server"
)

// call is a request of an operation, made from the document: its path, and the first example of its body.
type call struct {
	method, target, body string
	headers              []string
}

// call gives a request that succeeds, of an owner about a task.
func callOf(t testing.TB, op *contract.Operation, o *owner, taskID string) call {
	t.Helper()
	c := call{method: op.Method, target: strings.NewReplacer("{user_id}", url.PathEscape(o.id), "{task_id}", taskID).Replace(op.Path)}
	if strings.Contains(c.target, "{") {
		t.Fatalf("%s: say here what belongs into %s", op.OperationID, c.target)
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

func (s *service) call(t testing.TB, c call, headers ...string) *answer {
	t.Helper()
	return s.send(t, c.method, c.target, c.body, append(slices.Clone(c.headers), headers...)...)
}

// world is a service for each way in which a request can go.
type world struct {
	well      *service
	broken    *service // its table is gone
	cut       *service // its database is away
	impatient *service // it waits a moment for a body
}

// causes says how to get each status out of an operation. The request is about a new task of ada's in the service
// that is well, and good but for what is done to it here.
var causes = map[int]func(testing.TB, world, *contract.Operation, call) *answer{
	http.StatusOK:        succeed,
	http.StatusCreated:   succeed,
	http.StatusNoContent: succeed,
	http.StatusNotModified: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, "If-None-Match: *")
	},
	http.StatusBadRequest: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		c.target += "?nonsense=1"
		return w.well.call(t, c)
	},
	http.StatusUnauthorized: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, "Authorization:")
	},
	http.StatusForbidden: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, "Authorization: Bearer "+w.well.bob.token)
	},
	http.StatusNotFound: func(t testing.TB, w world, op *contract.Operation, _ call) *answer {
		return w.well.call(t, callOf(t, op, w.well.ada, uuid.NewString()))
	},
	http.StatusNotAcceptable: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, "Accept: text/html")
	},
	http.StatusRequestTimeout: func(t testing.TB, w world, op *contract.Operation, _ call) *answer {
		c := callOf(t, op, w.impatient.ada, uuid.NewString())
		return w.impatient.raw(t, c.method+" "+c.target+" HTTP/1.1\nHost: docket\nContent-Type: application/json\n"+
			"Content-Length: 20\n"+strings.Join(c.headers, "\n"), `{"title":`)
	},
	http.StatusPreconditionFailed: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, `If-Match: "stale"`)
	},
	http.StatusRequestEntityTooLarge: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		c.body += strings.Repeat(" ", 64<<10)
		return w.well.call(t, c)
	},
	http.StatusUnsupportedMediaType: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		return w.well.call(t, c, "Content-Type: text/plain")
	},
	http.StatusUnprocessableEntity: func(t testing.TB, w world, _ *contract.Operation, c call) *answer {
		c.body = `{"completed": "yes"}`
		return w.well.call(t, c)
	},
	http.StatusInternalServerError: func(t testing.TB, w world, op *contract.Operation, _ call) *answer {
		return w.broken.call(t, callOf(t, op, w.broken.ada, uuid.NewString()))
	},
	http.StatusServiceUnavailable: func(t testing.TB, w world, op *contract.Operation, _ call) *answer {
		return w.cut.call(t, callOf(t, op, w.cut.ada, uuid.NewString()))
	},
}

func succeed(t testing.TB, w world, _ *contract.Operation, c call) *answer { return w.well.call(t, c) }

// Each operation gives each status that the document has for it. What the answers look like is checked where every
// answer is, and here they go to a browser: each must carry the CORS headers.
func TestEveryDocumentedStatusOfEveryOperationHappens(t *testing.T) {
	t.Parallel()
	w := world{
		well: start(t), broken: start(t), cut: start(t, withoutDatabase),
		impatient: start(t, func(o *options) { o.ReadTimeout = 100 * time.Millisecond }),
	}
	w.broken.exec(t, "alter table task rename to away")
	for _, op := range contract.Current().Operations {
		for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
			t.Run(op.OperationID+" "+status, func(t *testing.T) {
				t.Parallel()
				code, err := strconv.Atoi(status)
				if err != nil || causes[code] == nil {
					t.Fatal("the document has this status, and no test says how it comes about")
				}
				c := callOf(t, op, w.well.ada, w.well.ada.create(t, `{"title": "Feed the cat"}`).ID)
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

// The stranger walks the document: whatever it offers with a token, nobody gets at what is another's.
func TestStrangerSeesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if !op.Secured {
			continue
		}
		t.Run(op.OperationID, func(t *testing.T) {
			t.Parallel()
			victim, thief := s.named(s.newUser(t)), s.named(s.newUser(t))
			precious := victim.create(t, `{"title": "Precious", "description": "Mine alone"}`)
			rows := s.storedOf(t, victim)

			c := callOf(t, op, victim, precious.ID)
			nobody := s.call(t, c, "Authorization:").want(http.StatusUnauthorized)
			if got := nobody.reads("WWW-Authenticate"); got != `Bearer realm="docket"` {
				t.Errorf("WWW-Authenticate is %s", got)
			}
			refused := s.call(t, c, "Authorization: Bearer "+thief.token).want(http.StatusForbidden)
			if detail := refused.problem().Detail; !strings.HasPrefix(detail, "User ID mismatch") {
				t.Errorf("detail %q", detail)
			}
			for _, a := range []*answer{nobody, refused} {
				for _, id := range []string{victim.id, thief.id, precious.ID, precious.Title} {
					if strings.Contains(a.String(), id) {
						t.Errorf("the answer holds %s:\n%s", id, a)
					}
				}
			}
			steal(t, s, op, thief, precious.ID)
			if now := s.storedOf(t, victim); now != rows {
				t.Errorf("stored was %s, and is now %s", rows, now)
			}
		})
	}
}

// steal sends the operation to the thief's own path, naming another's task where the path names one.
func steal(t testing.TB, s *service, op *contract.Operation, thief *owner, taskID string) {
	t.Helper()
	c := callOf(t, op, thief, taskID)
	switch {
	case strings.Contains(op.Path, "{task_id}"):
		others := s.call(t, c).want(http.StatusNotFound)
		nobodys := s.call(t, callOf(t, op, thief, uuid.NewString())).want(http.StatusNotFound)
		if others.problem().Detail != "Task not found or does not belong to this user" {
			t.Errorf("detail %q", others.problem().Detail)
		}
		if a, b := anonymous(others), anonymous(nobodys); a != b {
			t.Errorf("another's task can be told from none:\n%s\n%s", a, b)
		}
	case op.OperationID == "listTasks":
		if l := s.call(t, c).list(); l.Total != 0 || len(l.Tasks) != 0 {
			t.Errorf("the thief lists %+v", l)
		}
	case op.OperationID == "createTask":
		if made := s.call(t, c).want(http.StatusCreated).task(); made.UserID != thief.id {
			t.Errorf("the task belongs to %s", made.UserID)
		}
	default:
		t.Error("the operation has no case: say here what a stranger must not see")
	}
}

// anonymous is an answer without what differs from one to the next.
func anonymous(a *answer) string {
	h := a.header.Clone()
	h.Del("Date")
	return strings.ReplaceAll((&answer{status: a.status, header: h, body: a.body}).String(), a.reads("X-Request-Id"), "…")
}

func (s *service) newUser(t testing.TB) string {
	t.Helper()
	id := s.stranger().id
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

func TestEveryProblemOfTheDocumentIsInTheTable(t *testing.T) {
	t.Parallel()
	known := server.Problems()
	for name, response := range contract.Current().Components.Responses {
		for _, media := range response.Value.Content {
			for example, ref := range media.Examples {
				var p problem
				if check(t, json.Unmarshal(must(json.Marshal(ref.Value.Value)), &p)); p.Code == "" {
					continue // of a success
				}
				if k, ok := known[p.Code]; !ok || k.Status != p.Status || k.Title != p.Title || p.Type != "/problems/"+p.Code {
					t.Errorf("%s %s: %+v, and the table has %+v", name, example, p, k)
				}
			}
		}
	}
}
