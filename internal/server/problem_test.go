package server_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"docket/contract"
	"docket/internal/devauth"
)

// raiseSQL makes the database fail as a test requires: a task titled "raise 40001" raises that SQLSTATE, and one titled
// "hang up" ends the connection in the middle of the statement.
const raiseSQL = `
create function raise_by_title() returns trigger language plpgsql security definer as $$
begin
  if new.title like 'raise %' then
    raise exception 'the secret of the schema' using errcode = substr(new.title, 7);
  elsif new.title = 'hang up' then
    perform pg_terminate_backend(pg_backend_pid());
  end if;
  return new;
end;
$$;
create trigger raise_by_title before insert on task for each row execute function raise_by_title()`

// occurrences has a function for each problem in the document's examples that causes it.
var occurrences = map[string]func(testing.TB, environment) *answer{
	"BadRequest parameter": func(t testing.TB, w environment) *answer { return w.healthy.ada.send(t, "GET", "?statu=pending", "") },
	"BadRequest json": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", `{"title": "No end"`)
	},
	"BadRequest noChange": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "PATCH", "/"+w.healthy.ada.create(t, `{"title": "Stay"}`).ID, `{}`)
	},
	"Unauthorized missing": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "GET", "", "", "Authorization:")
	},
	"Unauthorized expired": func(t testing.TB, w environment) *answer {
		old := w.healthy.issuer.Token(w.healthy.ada.id, devauth.Object{"exp": time.Now().Add(-time.Hour).Unix()})
		return w.healthy.ada.send(t, "GET", "", "", "Authorization: Bearer "+old)
	},
	"Forbidden mismatch": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "GET", "", "", "Authorization: Bearer "+w.healthy.bob.token)
	},
	"TagNotFound tag": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.tag(t, "DELETE", "no task's", "")
	},
	"NotFound task": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "GET", "/"+uuid.NewString(), "")
	},
	"TooManyTasks full": func(t testing.TB, _ environment) *answer {
		s := start(t, func(o *options) { o.MaxTasks = 100_000 })
		s.ada.create(t, `{"title": "The last one"}`)
		s.exec(t, "update task_summary set pending_low = 100000 where user_id = $1", s.ada.id)
		return s.ada.send(t, "POST", "", `{"title": "One too many"}`)
	},
	"NotAcceptable accept": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "GET", "", "", "Accept: text/html")
	},
	"RequestTimeout slow": func(t testing.TB, w environment) *answer {
		return causes[http.StatusRequestTimeout](t, w, contract.Current().Named("createTask"), call{})
	},
	"PreconditionFailed stale": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "DELETE", "/"+w.healthy.ada.create(t, `{"title": "Stay"}`).ID, "", `If-Match: "1.0"`)
	},
	"PayloadTooLarge body": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", strings.Repeat(" ", 65537))
	},
	"UnsupportedMediaType text": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", `{"title": "No"}`, "Content-Type: text/plain")
	},
	"UnprocessableContent fields": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", `{"title": " ", "priority": "urgent"}`)
	},
	"UnprocessableContent keyReused": func(t testing.TB, w environment) *answer {
		w.healthy.ada.send(t, "POST", "", `{"title": "One"}`, "Idempotency-Key: examples").want(http.StatusCreated)
		return w.healthy.ada.send(t, "POST", "", `{"title": "Two"}`, "Idempotency-Key: examples")
	},
	"TooManyRequests limited": func(t testing.TB, _ environment) *answer {
		s := start(t, func(o *options) { o.RateLimit = 60 })
		now := time.Now()
		s.docket.SetClock(func() time.Time { return now })
		for range 60 {
			s.ada.send(t, "GET", "/none", "").want(http.StatusNotFound)
		}
		return s.ada.send(t, "GET", "/none", "")
	},
	"InternalError fault": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", `{"title": "raise XX000"}`)
	},
	"Unavailable database": func(t testing.TB, w environment) *answer { return w.offline.ada.send(t, "GET", "", "") },
	"Unavailable outcomeUnknown": func(t testing.TB, w environment) *answer {
		return w.healthy.ada.send(t, "POST", "", `{"title": "hang up"}`)
	},
}

// The service's answers match the examples of the document word for word.
func TestEveryProblemOfTheDocumentOccurs(t *testing.T) {
	t.Parallel()
	w := environment{healthy: start(t), offline: start(t, withoutDatabase), stalling: start(t, stalled)}
	w.healthy.exec(t, raiseSQL)
	cases := 0
	for name, response := range contract.Current().Components.Responses {
		media := response.Value.Content["application/problem+json"]
		if media == nil {
			continue
		}
		for example, ref := range media.Examples {
			cases++
			t.Run(name+" "+example, func(t *testing.T) {
				t.Parallel()
				provoke := occurrences[name+" "+example]
				if provoke == nil {
					t.Fatal("occurrences has no entry for this problem")
				}
				var want problemDocument
				check(t, json.Unmarshal(must(json.Marshal(ref.Value.Value)), &want))
				got := provoke(t, w).problem()
				got.Instance, got.RequestID = want.Instance, want.RequestID
				if !reflect.DeepEqual(got, want) {
					t.Errorf("the service answers\n%+v\nand the document has\n%+v", got, want)
				}
			})
		}
	}
	if cases != len(occurrences) {
		t.Errorf("%d cases for the %d problems of the document", len(occurrences), cases)
	}
}

func TestDetailsOfDatabaseErrorsAreInTheLogOnly(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, raiseSQL)
	for state, want := range map[string]struct {
		status int
		code   string
	}{
		"22021": {422, "validation_failed"}, // character_not_in_repertoire
		"22001": {422, "validation_failed"}, // string_data_right_truncation
		"23514": {422, "validation_failed"}, // check_violation
		"40001": {503, "unavailable"},       // serialization_failure
		"40P01": {503, "unavailable"},       // deadlock_detected
		"53300": {503, "unavailable"},       // too_many_connections
		"55P03": {503, "unavailable"},       // lock_not_available
		"57014": {503, "unavailable"},       // query_canceled
		"23502": {500, "internal_error"},    // not_null_violation
		"42883": {503, "unavailable"},       // undefined_function
		"XX000": {500, "internal_error"},    // internal_error
		"P0001": {500, "internal_error"},    // raise_exception
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			a := s.ada.send(t, "POST", "", `{"title": "raise `+state+`"}`).want(want.status)
			if a.problem().Code != want.code || strings.Contains(a.String(), "secret of the schema") || strings.Contains(a.body, state) {
				t.Errorf("the answer is %s", a)
			}
			if want.status >= 500 {
				eventually(t, "the cause is in the log under the request id", func() bool {
					for line := range strings.Lines(s.log.String()) {
						if strings.Contains(line, a.get("X-Request-Id")) && strings.Contains(line, "the secret of the schema") {
							return true
						}
					}
					return false
				})
			}
		})
	}
}

// fault D3
func TestARequestThatTakesTheDatabaseTooLongSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, `
		insert into task (id, user_id, title, description, rev)
		select 'task ' || i, $1, 'title ' || i, repeat('Überprüfung ', 80), i from generate_series(1, 2000) i`, s.ada.id)
	s.exec(t, "create function slow(text) returns boolean language plpgsql as 'begin perform pg_sleep(60); return true; end'")
	s.exec(t, "create policy slow on task as restrictive for select to docket_app using (slow(title))")
	p := s.ada.send(t, "GET", "?search=nowhere", "").want(http.StatusServiceUnavailable).problem()
	if p.Code != "unavailable" || !strings.Contains(p.Detail, "took too long") {
		t.Errorf("%+v", p)
	}
}

func TestADeletedOwnerCannotWrite(t *testing.T) {
	t.Parallel()
	s := start(t)
	kept := s.ada.create(t, `{"title": "Deleted with its owner"}`)
	s.exec(t, `delete from "user" where id = $1`, s.ada.id)
	a := s.ada.send(t, "POST", "", `{"title": "Too late"}`).want(http.StatusUnauthorized)
	if d := a.problem().Detail; !strings.HasPrefix(d, "Missing or invalid authorization token") || !strings.Contains(d, "no longer exists") {
		t.Errorf("detail %q", d)
	}
	s.ada.send(t, "PATCH", "/"+kept.ID, `{"title": "Too late"}`).want(http.StatusNotFound)
	if l := s.ada.send(t, "GET", "", "").list(); l.Total != 0 || len(l.Tasks) != 0 {
		t.Errorf("a deleted owner lists %+v", l)
	}
}

func TestARefusedTokenIsExplained(t *testing.T) {
	t.Parallel()
	s := start(t)
	expired := s.issuer.Token(s.ada.id, devauth.Object{"exp": time.Now().Add(-time.Hour).Unix()})
	const missing, invalid = "Missing or invalid authorization token", `Bearer realm="docket", error="invalid_token"`
	for _, test := range []struct {
		name, authorization, detail, challenge string
	}{
		{"none", "", missing, `Bearer realm="docket"`},
		{"another scheme", "Basic YWRhOnNlY3JldA==", missing, invalid},
		{"session token", "Bearer aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zZ", "GET /api/auth/token", invalid},
		{"garbage", "Bearer a.b.c", missing, invalid},
		{"another issuer", "Bearer " + newIssuer(t).Token(s.ada.id), missing, invalid},
		{"another audience", "Bearer " + s.issuer.Token(s.ada.id, devauth.Object{"aud": "https://other.example"}), missing, invalid},
		{"no expiry", "Bearer " + s.issuer.Token(s.ada.id, devauth.Object{"exp": nil}), missing, invalid},
		{"no subject", "Bearer " + s.issuer.Token("x", devauth.Object{"sub": nil}), missing, invalid},
		{"expired", "Bearer " + expired, "expired", invalid + `, error_description="The token expired"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := s.ada.send(t, "GET", "", "", "Authorization: "+test.authorization).want(http.StatusUnauthorized)
			if d := a.problem().Detail; !strings.Contains(d, test.detail) {
				t.Errorf("detail %q", d)
			}
			if c := a.get("WWW-Authenticate"); c != test.challenge {
				t.Errorf("challenge %q", c)
			}
		})
	}
}

// inWords returns a list as the service writes it: "a, b and c".
func inWords(items []string, last ...string) string {
	return strings.Join(items[:len(items)-1], ", ") + " " + cmp.Or(strings.Join(last, ""), "and") + " " + items[len(items)-1]
}

func texts(values []any) (all []string) {
	for _, v := range values {
		all = append(all, v.(string))
	}
	return all
}

// queryParameters returns the sorted names of the query parameters of listTasks.
func queryParameters() (names []string) {
	for _, p := range contract.Current().Parameters(contract.Current().Named("listTasks")) {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	unknown := " is not known; the fields are " + inWords(slices.Sorted(maps.Keys(settable(schemaOf(t, "NewTask"))))) + "."
	unknownQuery := "The parameter limits is not known; this operation has " + inWords(queryParameters()) + "."
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     []fault
	}{
		{"body", "POST", "", `{"title": "", "description": 7, "priority": "urgent", "completed": null, "due": "now", "owner/~": 1}`, nil, 422, []fault{
			{Pointer: "#/title", Code: "blank", Detail: "Title must not be blank."},
			{Pointer: "#/description", Code: "invalid_type", Detail: "Description must be a string or null."},
			{Pointer: "#/priority", Code: "not_one_of", Detail: "Priority must be one of low, medium or high."},
			{Pointer: "#/completed", Code: "invalid_type", Detail: "Completed must be true or false."},
			{Pointer: "#/due", Code: "unknown", Detail: "The field due" + unknown},
			{Pointer: "#/owner~1~0", Code: "unknown", Detail: "The field owner/~" + unknown},
		}},
		{"what is missing", "POST", "", `{"titel": "Misspelt"}`, nil, 422, []fault{
			{Pointer: "#/title", Code: "required", Detail: "Title is required."},
			{Pointer: "#/titel", Code: "unknown", Detail: "The field titel" + unknown},
		}},
		// A pointer is a URI fragment: RFC 6901, section 6.
		{"a name with escapes", "POST", "", `{"title": "A", "été %": 1}`, nil, 422, []fault{
			{Pointer: "#/%C3%A9t%C3%A9%20%25", Code: "unknown", Detail: "The field été %" + unknown},
		}},
		{"query", "GET", "?status=open&limit=0&limits=7&offset=-1&sort=size&order=up&completed=1&priority=urgent&search=", "", nil, 400, []fault{
			{Parameter: "status", Code: "not_one_of", Detail: "The parameter status must be one of pending, completed or all."},
			{Parameter: "limit", Code: "out_of_range", Detail: "The parameter limit must be from 1 to 1000."},
			{Parameter: "limits", Code: "unknown", Detail: unknownQuery},
			{Parameter: "offset", Code: "out_of_range", Detail: "The parameter offset must be from 0 to 2147483647."},
			{Parameter: "sort", Code: "not_one_of", Detail: "The parameter sort must be one of " + inWords(texts(schemaOf(t, "Sort").Enum), "or") + "."},
			{Parameter: "order", Code: "not_one_of", Detail: "The parameter order must be one of asc or desc."},
			{Parameter: "completed", Code: "not_one_of", Detail: "The parameter completed must be true or false."},
			{Parameter: "priority", Code: "not_one_of", Detail: "The parameter priority must be one of low, medium or high."},
			{Parameter: "search", Code: "blank", Detail: "The parameter search must not be empty."},
		}},
		{"contradictions", "GET", "?status=pending&completed=true&sort=title&sort_by=priority&cursor=AAAA&offset=3", "", nil, 400, []fault{
			{Parameter: "completed", Code: "conflict", Detail: "The parameter completed contradicts status."},
			{Parameter: "sort_by", Code: "conflict", Detail: "The parameter sort_by differs from sort."},
			{Parameter: "offset", Code: "conflict", Detail: "The parameter offset must not come together with cursor."},
		}},
		{"header and query", "GET", "?limit=x", "", []string{"If-None-Match: 17"}, 400, []fault{
			{Parameter: "limit", Code: "invalid_type", Detail: "The parameter limit must be an integer."},
			{Header: "If-None-Match", Code: "invalid_format", Detail: "The header If-None-Match must be * or a list of quoted entity tags."},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := s.ada.send(t, test.method, test.path, test.body, test.headers...).want(test.status).problem()
			wanted := map[fault]bool{}
			for _, f := range test.want {
				wanted[f] = true
				if !strings.Contains(p.Detail, f.Detail) {
					t.Errorf("the detail does not say %q: %s", f.Detail, p.Detail)
				}
			}
			for _, f := range p.Errors {
				if !wanted[f] {
					t.Errorf("unwanted: %+v", f)
				}
				delete(wanted, f)
			}
			for f := range wanted {
				t.Errorf("not named: %+v", f)
			}
		})
	}
}

func TestTheAnswerToManyFaultsIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t)
	var query, body strings.Builder
	for i := range 300 {
		name := strings.Repeat("x", 10) + string(rune('a'+i%26)) + strings.Repeat("y", i/26)
		query.WriteString("&" + name + "=1")
		body.WriteString(`, "` + name + `": 1`)
	}
	for _, a := range []*answer{
		s.ada.send(t, "GET", "?limit=0"+query.String(), "").want(http.StatusBadRequest),
		s.ada.send(t, "POST", "", `{"title": ""`+body.String()+"}").want(http.StatusUnprocessableEntity),
	} {
		if n := len(a.problem().Errors); n != 100 {
			t.Errorf("%d faults", n)
		}
	}
}

func TestFaultsAreReportedInAStableOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	const body = `{"f": 1, "e": 1, "d": 1, "title": 3, "c": 1, "priority": 4, "b": 1, "a": 1}`
	first := s.ada.send(t, "POST", "", body).want(http.StatusUnprocessableEntity).problem()
	for range 10 {
		if again := s.ada.send(t, "POST", "", body).problem(); again.Detail != first.Detail || !reflect.DeepEqual(again.Errors, first.Errors) {
			t.Fatalf("once %+v, then %+v", first, again)
		}
	}
}

// No more than 100 of them are described, and always the same ones.
func TestFaultsOfThousandsOfUnknownPropertiesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t)
	var body strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&body, `, "%x": 1`, i)
	}
	first := s.ada.send(t, "POST", "", `{"title": ""`+body.String()+"}").want(http.StatusUnprocessableEntity).problem()
	again := s.ada.send(t, "POST", "", `{"title": ""`+body.String()+"}").want(http.StatusUnprocessableEntity).problem()
	if len(first.Errors) != 100 || !reflect.DeepEqual(first.Errors, again.Errors) {
		t.Errorf("%d faults, and then %d", len(first.Errors), len(again.Errors))
	}
}

// This includes numbers that do not fit into 32 or 64 bits.
func TestANumberOutOfRangeIsAnsweredWithTheRange(t *testing.T) {
	t.Parallel()
	s := start(t)
	for query, want := range map[string]string{
		"limit=1001":         "The parameter limit must be from 1 to 1000.",
		"limit=3000000000":   "The parameter limit must be from 1 to 1000.",
		"offset=-1":          "The parameter offset must be from 0 to 2147483647.",
		"offset=2147483648":  "The parameter offset must be from 0 to 2147483647.",
		"offset=-2147483649": "The parameter offset must be from 0 to 2147483647.",
	} {
		p := s.ada.send(t, "GET", "?"+query, "").want(http.StatusBadRequest).problem()
		if len(p.Errors) != 1 || p.Errors[0].Detail != want {
			t.Errorf("%s: %+v", query, p)
		}
	}
}
