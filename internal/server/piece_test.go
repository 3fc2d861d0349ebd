package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// aLargePage gives ada 600 tasks of 6 KB each, as JSON has them, and gives the head of a request for all of them.
func (s *service) aLargePage(t testing.TB) (head string) {
	t.Helper()
	s.exec(t, `
		insert into task (id, user_id, title, description)
		select gen_random_uuid(), $1, 'task ' || n, repeat('<', 1000) from generate_series(1, 600) n`, s.ada.id)
	return crlf("GET " + s.ada.tasks() + "?limit=1000 HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token)
}

func TestALargePageComesInPiecesAndIsWhole(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.aLargePage(t)
	page := s.ada.send(t, "GET", "?limit=1000", "")
	all := page.list()
	if len(page.body) < 3<<20 || page.reads("Content-Length") != "" || len(all.Tasks) != 600 || all.Total != 600 {
		t.Errorf("%d bytes with %d of %d tasks", len(page.body), len(all.Tasks), all.Total)
	}
	seen := map[string]bool{}
	for _, task := range all.Tasks {
		if seen[task.Title] = true; *task.Description != strings.Repeat("<", 1000) {
			t.Errorf("task %s is %+v", task.ID, task)
		}
	}
	if len(seen) != 600 {
		t.Errorf("%d different tasks", len(seen))
	}
	s.ada.send(t, "GET", "?limit=1000", "", "If-None-Match: "+page.reads("ETag")).want(http.StatusNotModified)
	if head := s.ada.send(t, "HEAD", "?limit=1000", "").want(http.StatusOK); head.body != "" || head.reads("ETag") != page.reads("ETag") {
		t.Errorf("HEAD: %s", head)
	}
}

// A client that leaves in the middle takes its place along, and is nobody's fault.
func TestAClientThatLeavesALargePageGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	head := s.aLargePage(t)
	for range 3 {
		c := s.dial(t, head)
		_ = must(io.ReadFull(c.answers, make([]byte, 1000)))
		if n := s.docket.InFlight(); n != 1 {
			t.Errorf("%d requests are in flight", n)
		}
		c.Close()
		eventually(t, "the place is free", func() bool { return s.docket.InFlight() == 0 })
	}
	if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged: %s", log)
	}
}
