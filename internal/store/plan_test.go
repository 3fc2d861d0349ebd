package store

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/postgres"
)

// manyTasksSQL creates 100,000 tasks: 20,000 of the owner big and 20 of each of 4,000 others. They are stored with the
// owners mixed, as if created over a long time. Two of three have a due date, and all have two tags.
const manyTasksSQL = `
insert into "user" (id, name, email, "emailVerified")
select u, u, u, true from (select 'big' as u union all select 'small-' || i from generate_series(0, 3999) i) users;

set session_replication_role = replica; -- without triggers: the seconds go to the plans
insert into task (id, user_id, title, description, priority, completed, created_at, updated_at, rev, tags,
	due_date, due_order)
select gen_random_uuid(), case when i % 5 = 0 then 'big' else 'small-' || (i % 4000 + i / 25000 * 7) % 4000 end,
	'title ' || md5(i::text), repeat('words ', 10), (array['low', 'medium', 'high'])[1 + i % 7 % 3], i % 3 = 0,
	timestamptz '2026-01-01 00:00Z' + i * interval '1 minute', timestamptz '2026-06-01 00:00Z' + i * 7919 % 100000 * interval '1 second', i, array['tag ' || i % 50, 'other ' || i % 49],
	case when i % 3 > 0 then date '2026-01-01' + i % 1000 end, case when i % 3 > 0 then date '2026-01-01' + i % 1000 + time '23:59:59' end
from generate_series(1, 100000) i;
insert into tombstone (user_id, resource, id, rev)
select user_id, 'task', gen_random_uuid(), 100000 + row_number() over () from task where rev % 4 = 0;
set session_replication_role = default;
select task_summary_rebuild(), task_tag_rebuild();
analyze task, task_summary, task_tag, tombstone`

func TestEveryStatementIsServedByAnIndexOfItsOwner(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	execute(t, conn, manyTasksSQL, pgx.QueryExecModeSimpleProtocol)
	lists := map[taskShape]*plan{}
	for shape, list := range listTasksSQL {
		lists[shape] = explain(t, conn, list.String())
	}
	t.Run("no list reads rows of other owners", func(t *testing.T) {
		for shape, list := range lists {
			for _, n := range list.all() {
				if strings.Contains(n.Node, "Scan") && n.Relation != "" && n.Node != "Bitmap Heap Scan" && !strings.Contains(n.IndexCond, "user_id") {
					t.Errorf("%+v: %s", shape, list)
				}
			}
		}
	})
	// Executed for each task, the subquery of a filter by tags would take the square of their number.
	t.Run("the tasks with a tag are found once for a list", func(t *testing.T) {
		for shape, list := range lists {
			found := 0
			for _, n := range list.all() {
				all, hashed := strings.Count(n.Filter, "SubPlan"), strings.Count(n.Filter, "hashed SubPlan")
				if found += all; all != hashed {
					t.Errorf("%+v: %s", shape, list)
				}
			}
			if shape.filtered && found == 0 {
				t.Errorf("%+v has no subquery: %s", shape, list)
			}
		}
	})
	// Only the subquery of the page has an order by. The join with the summary must keep that order.
	t.Run("a page keeps its order", func(t *testing.T) {
		for shape, list := range lists {
			join := list.join()
			if join == nil || join.Join != "Left" || join.Plans[0].Index != "task_summary_pkey" || join.Plans[1].Node != "Limit" {
				t.Errorf("%+v: %s", shape, list)
			}
		}
	})
	// With a filter too: few lists find as little as they would need for a sort of all of the owner's tasks to be better.
	t.Run("every order is that of its index", func(t *testing.T) {
		for shape, list := range lists {
			if shape.filtered && shape.state != anyState {
				continue
			}
			page := &list.join().Plans[1]
			name, condition := page.index()
			if !strings.HasPrefix(name, indexOf(shape)) || page.has("Sort") || page.has("Bitmap") || shape.cursor && !strings.Contains(condition, "ROW(") {
				t.Errorf("%+v: %s", shape, list)
			}
		}
	})
	t.Run("a list that is no scan reads the rows of its state alone", func(t *testing.T) {
		for shape, list := range lists {
			q := TaskQuery{Sort: shape.sort, Ascending: shape.ascending, Limit: 1}
			if shape.state != anyState {
				q.Completed = new(shape.state == completed)
			}
			if shape.filtered || q.scans() {
				continue
			}
			name, _ := list.join().Plans[1].index()
			alone := strings.HasPrefix(name, "idx_task_completed") || name == "idx_task_user_pending_priority" && shape.state == pending
			if shape.state != anyState && !alone {
				t.Errorf("%+v: %s", shape, list)
			}
		}
	})
	t.Run("pending tasks by priority are read from the index that has no others", func(t *testing.T) {
		list := lists[taskShape{state: pending, sort: SortPriority}]
		if name, condition := list.join().Plans[1].index(); name != "idx_task_user_pending_priority" || !strings.Contains(condition, "user_id") || list.has("Sort") {
			t.Error(list)
		}
	})
	t.Run("one task is found by its owner and its id", func(t *testing.T) {
		for _, s := range []postgres.Statement{getTaskSQL, updateTaskSQL, completeTaskSQL, updateOrGetTaskSQL, deleteTaskSQL} {
			oneTaskByIndex(t, explain(t, conn, s.String()))
		}
	})
	t.Run("an occurrence is found by its owner, and its id or its day", func(t *testing.T) {
		for _, s := range []postgres.Statement{lockOwnerSQL, createOccurrenceSQL, takeOccurrenceSQL, writeTaskSQL} {
			oneTaskByIndex(t, explain(t, conn, s.String()))
		}
	})
	t.Run("tags are found by their owner", func(t *testing.T) {
		for _, s := range []postgres.Statement{listTagsSQL, renameTagSQL, deleteTagSQL} {
			p := explain(t, conn, s.String())
			for _, n := range p.all() {
				if strings.Contains(n.Node, "Scan") && n.Relation != "" && n.Node != "Bitmap Heap Scan" && !strings.Contains(n.IndexCond, "user_id") {
					t.Errorf("%s: %s", s, p)
				}
			}
		}
	})
	t.Run("the counts are one row", func(t *testing.T) {
		p := explain(t, conn, getStatsSQL.String())
		if name, condition := p.index(); name != "task_summary_pkey" || !strings.Contains(condition, "user_id") || p.has("Seq Scan") {
			t.Error(p)
		}
	})
	t.Run("a user's tasks are found for deletion by their owner", func(t *testing.T) {
		p := explain(t, conn, "delete from only task where $1 operator(pg_catalog.=) user_id") // the statement of the foreign key
		if _, condition := p.index(); !strings.Contains(condition, "user_id") || p.has("Seq Scan") {
			t.Error(p)
		}
	})
}

// oneTaskByIndex fails the test unless a plan, with its subqueries, finds each task by all columns of an index in which the
// task is the only one.
func oneTaskByIndex(t *testing.T, p *plan) {
	t.Helper()
	columns := map[string][]string{
		"idx_task_user_id":    {"user_id", "id"},
		"idx_task_rev":        {"user_id", "rev"},
		"idx_task_occurrence": {"user_id", "series_id", "occurrence_date"},
	}
	scans := 0
	for _, n := range p.all() {
		if n.Relation == "" || !strings.Contains(n.Node, "Scan") {
			continue
		}
		scans++
		missing := func(column string) bool { return !regexp.MustCompile(`\b` + column + `\b`).MatchString(n.IndexCond) }
		if columns[n.Index] == nil || slices.ContainsFunc(columns[n.Index], missing) {
			t.Errorf("%s in %s", n.Index, p)
		}
	}
	if scans == 0 {
		t.Errorf("no table is read: %s", p)
	}
}

// indexOf returns the name of the index that has the order of a list, or its prefix if each direction has an index of
// its own.
func indexOf(s taskShape) string {
	switch {
	case s.sort == SortCreated && s.state != anyState:
		return "idx_task_completed"
	case s.sort == SortPriority && s.state == pending:
		return "idx_task_user_pending_priority"
	case s.sort == SortCreated, s.sort == SortUpdated:
		return "idx_task_" + string(s.sort) + "_at"
	}
	return "idx_task_" + string(s.sort)
}

// explain returns the plan that the service uses: one for all owners and parameters, under row-level security.
func explain(t *testing.T, conn *pgx.Conn, sql string) *plan {
	t.Helper()
	execute(t, conn, "begin")
	defer execute(t, conn, "rollback")
	execute(t, conn, assumeRoleSQL, "big")
	execute(t, conn, "set local plan_cache_mode = force_generic_plan")
	parameters := regexp.MustCompile(`\$\d+`).FindAllString(sql, -1)
	slices.Sort(parameters)
	nulls := strings.Repeat(", null", len(slices.Compact(parameters)))[2:]
	execute(t, conn, "prepare statement as "+sql, pgx.QueryExecModeSimpleProtocol)
	defer execute(t, conn, "deallocate statement")
	var out []struct{ Plan plan }
	text := value[string](t, conn, "explain (format json) execute statement("+nulls+")", pgx.QueryExecModeSimpleProtocol)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return &out[0].Plan
}

type plan struct {
	Node         string `json:"Node Type"`
	Join         string `json:"Join Type,omitempty"`
	Relation     string `json:"Relation Name,omitempty"`
	Index        string `json:"Index Name,omitempty"`
	IndexCond    string `json:"Index Cond,omitempty"`
	Filter       string `json:",omitempty"`
	Relationship string `json:"Parent Relationship,omitempty"`
	Plans        []plan `json:",omitempty"`
}

func (p *plan) String() string {
	text, err := json.MarshalIndent(p, "", " ")
	return fmt.Sprint(string(text), err)
}

// join returns the node that joins a list's page with the summary, or nil if there is none.
func (p *plan) join() *plan {
	for _, n := range p.nodes() {
		if n.Node == "Nested Loop" {
			return n
		}
	}
	return nil
}

// all returns the plan's nodes.
func (p *plan) all() (all []*plan) {
	all = append(all, p)
	for i := range p.Plans {
		all = append(all, p.Plans[i].all()...)
	}
	return all
}

// nodes returns the plan's nodes without those of subqueries.
func (p *plan) nodes() (all []*plan) {
	all = append(all, p)
	for i := range p.Plans {
		if child := &p.Plans[i]; child.Relationship != "InitPlan" && child.Relationship != "SubPlan" {
			all = append(all, child.nodes()...)
		}
	}
	return all
}

func (p *plan) has(node string) bool {
	return slices.ContainsFunc(p.nodes(), func(n *plan) bool { return strings.Contains(n.Node, node) })
}

// index returns the name and condition of the first index that a plan uses.
func (p *plan) index() (name, condition string) {
	for _, n := range p.nodes() {
		if n.Index != "" {
			return n.Index, n.IndexCond
		}
	}
	return "", ""
}
