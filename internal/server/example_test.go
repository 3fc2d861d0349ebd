package server_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"docket/contract"
)

func TestEveryRequestExampleOfTheDocumentIsAccepted(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if op.RequestBody == nil {
			continue
		}
		for kind, media := range op.RequestBody.Value.Content {
			if len(media.Examples) == 0 {
				t.Errorf("%s has no example of %s", op.OperationID, kind)
			}
			for name, example := range media.Examples {
				t.Run(op.OperationID+" "+kind+" "+name, func(t *testing.T) {
					t.Parallel()
					made := s.ada.tagged(t, recurring)
					c := callOf(t, op, s.ada, made.ID)
					c.body = string(must(json.Marshal(example.Value.Value)))
					a := s.call(t, c, "Content-Type: "+kind)
					if a.status >= 300 {
						t.Fatalf("%s is refused:\n%s", c.body, a)
					}
					task := contract.ParseJSON(a.body).(map[string]any)
					if op.OperationID == "renameTag" {
						if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now.Tags != tagsOf("household") {
							t.Errorf("the task has the tags %s", now.Tags)
						}
						return
					}
					if name == "tags" {
						if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now.Tags != tagsOf(made.ID, "urgent") {
							t.Errorf("the task has the tags %s", now.Tags)
						}
						return
					}
					if op.OperationID == "skipOccurrence" {
						if task["occurrence_date"] != "2026-03-23" {
							t.Errorf("it is at the occurrence of %v", task["occurrence_date"])
						}
						return
					}
					for field, want := range contract.ParseJSON(c.body).(map[string]any) {
						if got := task[field]; !reflect.DeepEqual(got, want) {
							t.Errorf("%s is %v, and the example says %v", field, got, want)
						}
					}
				})
			}
		}
	}
}

// Only ids and times may differ.
func TestSuccessExamplesMatchTheService(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.Version = "0.1.0" })
	const report = `{"title": "Prepare the quarterly report", "description": "Figures from the finance team are due on Thursday.", "priority": "high", "tags": ["work", "report"], ` +
		`"due_date": "2026-03-16", "due_time": "09:30", "time_zone": "Europe/Berlin", "recurrence_rule": "FREQ=WEEKLY;BYDAY=MO"}`
	full := func(o *owner, t testing.TB) task { return o.create(t, report) }
	cases := map[string]func(testing.TB, *owner) *answer{
		"completeTask 200 changed": func(t testing.TB, o *owner) *answer {
			return o.send(t, "PATCH", "/"+full(o, t).ID+"/complete", `{"completed": true}`)
		},
		"completeTaskByPost 200 changed": func(t testing.TB, o *owner) *answer {
			return o.send(t, "POST", "/"+full(o, t).ID+"/complete", `{"completed": true}`)
		},
		"skipOccurrence 200 skipped": func(t testing.TB, o *owner) *answer {
			return o.send(t, "POST", "/"+full(o, t).ID+"/skip", `{"occurrence_date": "2026-03-16"}`)
		},
		"listOccurrences 200 weekly": func(t testing.TB, o *owner) *answer {
			return o.send(t, "GET", "/"+full(o, t).ID+"/occurrences?limit=2", "")
		},
		"createTask 201 created": func(t testing.TB, o *owner) *answer { return o.send(t, "POST", "", report) },
		"getHealth 200 healthy":  func(t testing.TB, _ *owner) *answer { return s.send(t, "GET", "/health", "") },
		"getReadiness 200 ready": func(t testing.TB, _ *owner) *answer { return s.send(t, "GET", "/health/ready", "") },
		"getTask 200 task":       func(t testing.TB, o *owner) *answer { return o.send(t, "GET", "/"+full(o, t).ID, "") },
		"getStats 200 counts": func(t testing.TB, o *owner) *answer {
			full(o, t)
			o.create(t, `{"title": "Done", "priority": "high", "completed": true}`)
			o.create(t, `{"title": "Buy oat milk"}`)
			o.create(t, `{"title": "Feed the cat"}`)
			return o.stats(t)
		},
		"listTags 200 page": func(t testing.TB, o *owner) *answer {
			full(o, t)
			o.create(t, `{"title": "Done", "completed": true, "tags": ["work"]}`)
			return o.listTags(t, "")
		},
		"renameTag 200 changed": func(t testing.TB, o *owner) *answer {
			full(o, t)
			return o.tag(t, "PATCH", "work", `{"name": "job"}`)
		},
		"deleteTag 200 changed": func(t testing.TB, o *owner) *answer {
			full(o, t)
			return o.tag(t, "DELETE", "work", "")
		},
		"listTasks 200 empty": func(t testing.TB, o *owner) *answer { return o.send(t, "GET", "", "") },
		"listTasks 200 page": func(t testing.TB, o *owner) *answer {
			for range 5 {
				o.create(t, `{"title": "Older"}`)
			}
			o.create(t, `{"title": "Buy oat milk"}`)
			full(o, t)
			return o.send(t, "GET", "?limit=2", "")
		},
	}
	for _, name := range []string{"replaceTaskFields", "updateTask"} {
		method := map[string]string{"replaceTaskFields": "PUT", "updateTask": "PATCH"}[name]
		cases[name+" 200 changed"] = func(t testing.TB, o *owner) *answer {
			return o.send(t, method, "/"+full(o, t).ID, `{"completed": true}`)
		}
	}
	for _, op := range contract.Current().Operations {
		for status, response := range op.Responses.Map() {
			media := response.Value.Content["application/json"]
			if media == nil {
				continue
			}
			for example, ref := range media.Examples {
				name := op.OperationID + " " + status + " " + example
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					provoke := cases[name]
					if provoke == nil {
						t.Fatal("no case produces this answer")
					}
					if a := provoke(t, s.named(s.newUser(t))); !contract.MatchesExample(a.body, ref.Value.Value) {
						t.Errorf("the service answers\n%s\nand the document has\n%v", a, ref.Value.Value)
					}
				})
			}
		}
	}
}

func TestATooLongUserIDIsAMismatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, op := range contract.Current().Operations {
		if op.Secured {
			c := callOf(t, op, s.named(strings.Repeat("a", 256)), uuid.NewString())
			if p := s.call(t, c, "Authorization: Bearer "+s.ada.token).want(http.StatusForbidden).problem(); p.Code != "user_mismatch" {
				t.Errorf("%s: %+v", op.OperationID, p)
			}
		}
	}
}
