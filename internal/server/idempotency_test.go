package server_test

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestARepeatedCreateCreatesOneTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	const body = `{"title": " A ", "description": null, "priority": "medium"}`
	first := s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(http.StatusCreated)
	if first.get("Idempotent-Replayed") != "" {
		t.Errorf("the first answer is %s", first)
	}
	again := func(body string) {
		t.Helper()
		a := s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(http.StatusCreated)
		if a.body != first.body || a.get("Location") != first.get("Location") || a.get("ETag") != first.get("ETag") || a.get("Idempotent-Replayed") != "true" {
			t.Errorf("first %s, then %s", first, a)
		}
	}
	again(body)
	again(`{"priority":"medium","title":"A","completed":false}`) // the same task in another notation
	// The first answer is sent again, even if the task has changed since.
	s.ada.send(t, "PATCH", "/"+first.task().ID, `{"title": "B"}`).want(http.StatusOK)
	again(body)
	s.ada.send(t, "DELETE", "/"+first.task().ID, "").want(http.StatusNoContent)
	again(body)
	if l := s.ada.send(t, "GET", "", "").list(); l.Total != 0 {
		t.Errorf("%d tasks", l.Total)
	}
}

func TestAKeyIdentifiesOneTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated)
	for _, other := range []string{`{"title": "B"}`, `{"title": "A", "description": ""}`, `{"title": "A", "priority": "high"}`, `{"title": "A", "completed": true}`} {
		if p := s.ada.send(t, "POST", "", other, "Idempotency-Key: k").want(http.StatusUnprocessableEntity).problem(); p.Code != "idempotency_key_reused" {
			t.Errorf("%s: %+v", other, p)
		}
	}
	if l := s.ada.send(t, "GET", "", "").list(); l.Total != 1 {
		t.Errorf("%d tasks", l.Total)
	}
	// Keys are compared exactly, and each owner has its own.
	for _, key := range []string{"K", "k2", "-", strings.Repeat("~", 255)} {
		s.ada.send(t, "POST", "", `{"title": "B"}`, "Idempotency-Key: "+key).want(http.StatusCreated)
	}
	a := s.bob.send(t, "POST", "", `{"title": "B"}`, "Idempotency-Key: k").want(http.StatusCreated)
	if a.task().UserID != s.bob.id || a.get("Idempotent-Replayed") != "" {
		t.Errorf("bob gets %s", a)
	}
}

func TestARefusedCreateDoesNotUseUpItsKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, raiseSQL)
	for body, status := range map[string]int{`{"title": ""}`: 422, `{`: 400, `{"title": "raise XX000"}`: 500, `{"title": "raise 53300"}`: 503, `{"title": "hang up"}`: 503} {
		s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(status)
	}
	if a := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated); a.get("Idempotent-Replayed") != "" {
		t.Errorf("the answer is %s", a)
	}
}

func TestKeyIsKeptForADay(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated).task()
	s.exec(t, "update idempotency_key set created_at = created_at - interval '23 hours 55 minutes'")
	if again := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated).task(); again != first {
		t.Errorf("within the day %+v", again)
	}
	s.exec(t, "update idempotency_key set created_at = created_at - interval '10 minutes'")
	if later := s.ada.send(t, "POST", "", `{"title": "B"}`, "Idempotency-Key: k").want(http.StatusCreated); later.task().ID == first.ID || later.get("Idempotent-Replayed") != "" {
		t.Errorf("after the day %s", later)
	}
}

func TestMalformedKeysAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for key, want := range map[string]fault{
		"a b":                    {Code: "invalid_format", Detail: "The header Idempotency-Key must be 1 to 255 visible ASCII characters."},
		strings.Repeat("x", 256): {Code: "too_long", Detail: "The header Idempotency-Key must be at most 255 characters long."},
		"é":                      {Code: "invalid_format", Detail: "The header Idempotency-Key must be 1 to 255 visible ASCII characters."},
		"a\tb":                   {Code: "invalid_format", Detail: "The header Idempotency-Key must be 1 to 255 visible ASCII characters."},
	} {
		p := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: "+key).want(http.StatusBadRequest).problem()
		want.Header = "Idempotency-Key"
		if len(p.Errors) != 1 || p.Errors[0] != want {
			t.Errorf("%q: %+v", key, p)
		}
	}
	for _, lines := range []string{"Idempotency-Key:", "Idempotency-Key: a\nIdempotency-Key: b", "Idempotency-Key: a\nIdempotency-Key: a"} {
		p := s.raw(t, "POST "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+
			"\nContent-Type: application/json\nContent-Length: 14\n"+lines, `{"title": "A"}`).want(http.StatusBadRequest).problem()
		if len(p.Errors) != 1 || p.Errors[0].Header != "Idempotency-Key" {
			t.Errorf("%q: %+v", lines, p)
		}
	}
	if rows := s.stored(t); rows != "" {
		t.Errorf("stored is %s", rows)
	}
}

// All get the same 201, byte for byte, and all but one have Idempotent-Replayed.
func TestConcurrentCreatesWithOneKeyGetOneAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	var mu sync.Mutex
	var all sync.WaitGroup
	answers := map[string]int{}
	for range 50 {
		all.Go(func() {
			a := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k")
			mu.Lock()
			defer mu.Unlock()
			answers[strings.Join([]string{strconv.Itoa(a.status), a.get("Idempotent-Replayed"), a.get("ETag"), a.get("Location"), a.body}, "\n")]++
		})
	}
	all.Wait()
	made := s.ada.send(t, "GET", "", "").list()
	if made.Total != 1 {
		t.Fatalf("%d tasks", made.Total)
	}
	now := s.ada.send(t, "GET", "/"+made.Tasks[0].ID, "")
	rest := strings.Join([]string{now.get("ETag"), s.ada.tasks() + "/" + made.Tasks[0].ID, now.body}, "\n")
	if want := map[string]int{"201\n\n" + rest: 1, "201\ntrue\n" + rest: 49}; !maps.Equal(answers, want) {
		t.Errorf("the answers are %v, want %v", answers, want)
	}
}

// The tag is stale when the task has changed.
func TestAReplayHasTheTagOfTheFirstAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	create := func() *answer {
		return s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated)
	}
	first := create()
	path := "/" + first.task().ID
	if now := s.ada.send(t, "GET", path, ""); now.body != first.body || now.get("ETag") != first.get("ETag") {
		t.Errorf("created %s, read %s", first, now)
	}
	s.ada.send(t, "PATCH", path, `{"title": "B"}`, "If-Match: "+create().get("ETag")).want(http.StatusOK)
	list := s.ada.send(t, "GET", "", "")
	s.ada.send(t, "PATCH", path, `{"title": "C"}`, "If-Match: "+create().get("ETag")).want(http.StatusPreconditionFailed)
	s.ada.send(t, "GET", "", "", "If-None-Match: "+list.get("ETag")).want(http.StatusNotModified) // replays change nothing
}

func TestKeysAreDeletedWithTheirOwner(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated)
	s.exec(t, `delete from "user" where id = $1`, s.ada.id)
	for _, body := range []string{`{"title": "A"}`, `{"title": "B"}`} {
		s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(http.StatusUnauthorized)
	}
	// A user who is created again with the same id has no keys.
	s.exec(t, `insert into "user" (id, name, email, "emailVerified") values ($1, $1, $1, true)`, s.ada.id)
	a := s.ada.send(t, "POST", "", `{"title": "B"}`, "Idempotency-Key: k").want(http.StatusCreated)
	if a.get("Idempotent-Replayed") != "" || a.task().ID == first.task().ID {
		t.Errorf("the answer is %s", a)
	}
}
