package server_test

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	movingRequest = regexp.MustCompile("(?m)^\\| `([A-Z]+) (/\\S+)(?: (\\{.*?\\}))?` \\| (\\d{3}) \\| ")
	movingSQL     = regexp.MustCompile("(?s)```sql\n(.*?)```")
)

func TestRequestsOfOlderFrontendsHaveTheStatusOfThePage(t *testing.T) {
	t.Parallel()
	s := start(t)
	page := string(must(os.ReadFile("../../docs/moving.md")))
	sent := 0
	for _, row := range movingRequest.FindAllStringSubmatch(page, -1) {
		sent++
		path := strings.Replace(row[2], "{id}", s.ada.create(t, `{"title": "A"}`).ID, 1)
		a := s.ada.send(t, row[1], strings.TrimPrefix(path, "/tasks"), row[3])
		if strconv.Itoa(a.status) != row[4] {
			t.Errorf("the page says %s\n%s", row[0], a)
		}
	}
	if table, _, _ := strings.Cut(page, "### The words"); sent != strings.Count(table, "\n| `") || sent < 15 {
		t.Errorf("%d requests were sent, which are not all rows of the table", sent)
	}
	s.ada.send(t, "GET", "", "", "Authorization:").want(http.StatusUnauthorized)
	s.send(t, "GET", s.bob.tasks(), "", "Authorization: Bearer "+s.ada.token).want(http.StatusForbidden)
}

func TestTheDataOfAnOlderBackendIsCopiedAsThePageSays(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, `create table tasks (
		id serial primary key, user_id varchar, title varchar, description varchar, priority varchar, completed boolean, created_at timestamp, updated_at timestamp)`)
	s.exec(t, `insert into tasks (user_id, title, description, priority, completed, created_at, updated_at) values
		($1, E' Buy milk\n', null, 'HIGH', true, '2026-01-02 03:04:05.5', '2026-01-03'), ($1, repeat('é', 300), repeat('x', 2000), null, null, '2026-01-01', '2026-01-01'),
		($1, '  ', '', 'urgent', false, '2025-12-31', '2026-01-01'), ('nobody', 'Lost', null, 'low', false, now(), now()),
		($1, 'New', null, 'low', true, null, null)`, s.ada.id)
	blocks := movingSQL.FindAllStringSubmatch(string(must(os.ReadFile("../../docs/moving.md"))), -1)
	if len(blocks) != 1 {
		t.Fatalf("the page has %d blocks of SQL", len(blocks))
	}
	s.exec(t, blocks[0][1])
	list := s.ada.send(t, "GET", "", "").want(http.StatusOK).list()
	if list.Total != 4 || len(list.Tasks) != 4 {
		t.Fatalf("%+v", list)
	}
	without, milk, long, blank := list.Tasks[0], list.Tasks[1], list.Tasks[2], list.Tasks[3]
	if without.Title != "New" || without.CreatedAt != without.UpdatedAt {
		t.Errorf("a task without times is %+v", without)
	}
	if milk.Title != "Buy milk" || milk.Priority != "high" || !milk.Completed || milk.Description != nil || milk.CreatedAt != "2026-01-02T03:04:05.500000Z" {
		t.Errorf("%+v", milk)
	}
	if long.Title != strings.Repeat("é", 200) || len(*long.Description) != 1000 || long.Priority != "medium" || long.Completed {
		t.Errorf("%+v", long)
	}
	if blank.Title != "Untitled" || blank.Priority != "medium" {
		t.Errorf("%+v", blank)
	}
	if total := s.ada.send(t, "GET", "?status=pending", "").list().Total; total != 2 {
		t.Errorf("%d are pending", total)
	}
	s.ada.send(t, "PATCH", "/"+milk.ID, `{"title": "Buy oat milk"}`).want(http.StatusOK)
}
