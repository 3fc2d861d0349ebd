package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
)

// manyTasksSQL is a table of 100,000 tasks: a fifth of them are big's, among those of 4,000 others with 20 each. They
// are written as they would have been over time: everybody's in turns.
const manyTasksSQL = `
insert into "user" (id, name, email, "emailVerified")
select u, u, u, true from (select 'big' as u union all select 'small-' || i from generate_series(0, 3999) i) users;

set session_replication_role = replica; -- without triggers: the seconds go to the plans
insert into task (id, user_id, title, description, priority, completed, created_at, updated_at, rev)
select gen_random_uuid(), case when i % 5 = 0 then 'big' else 'small-' || (i % 4000 + i / 25000 * 7) % 4000 end,
	'title ' || md5(i::text), repeat('words ', 10), (array['low', 'medium', 'high'])[1 + i % 7 % 3], i % 3 = 0,
	timestamptz '2026-01-01 00:00Z' + i * interval '1 minute', timestamptz '2026-06-01 00:00Z' + i * 7919 % 100000 * interval '1 second', i
from generate_series(1, 100000) i;
insert into task_tombstone (user_id, id, rev)
select user_id, gen_random_uuid(), 100000 + row_number() over () from task where rev % 4 = 0;
set session_replication_role = default;
select task_summary_rebuild();
analyze task, task_summary, task_tombstone`

// planned is how PostgreSQL carries one statement out: one of a list, or the one that has a name.
type planned struct {
	name    string
	shape   shape
	owner   string
	generic bool // planned once for every owner, or else for this one
	plan    *plan
}

func (p planned) String() string {
	mode := "custom plan"
	if p.generic {
		mode = "generic plan"
	}
	what := cmp.Or(p.name, fmt.Sprintf("list %+v", p.shape))
	text, _ := json.MarshalIndent(p.plan, "", " ")
	return fmt.Sprintf("%s for %s, %s:\n%s", what, p.owner, mode, text)
}

// page is the part of a list's plan that reads its page.
func (p planned) page() *plan {
	for _, n := range p.plan.all() {
		if n.Node == "Nested Loop" {
			return &n.Plans[1]
		}
	}
	return new(plan)
}

type plan struct {
	Node         string `json:"Node Type"`
	Join         string `json:"Join Type,omitempty"`
	Relation     string `json:"Relation Name,omitempty"`
	Index        string `json:"Index Name,omitempty"`
	IndexCond    string `json:"Index Cond,omitempty"`
	Relationship string `json:"Parent Relationship,omitempty"`
	Plans        []plan `json:",omitempty"`
}

// all are a plan's nodes.
func (p *plan) all() (all []*plan) {
	all = append(all, p)
	for i := range p.Plans {
		all = append(all, p.Plans[i].all()...)
	}
	return all
}

// nodes are a plan's nodes, without those of its sub-selects.
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

// index is the first index that a plan uses, with its condition.
func (p *plan) index() (name, condition string) {
	for _, n := range p.nodes() {
		if n.Index != "" {
			return n.Index, n.IndexCond
		}
	}
	return "", ""
}

func TestEveryStatementIsServedByAnIndexOfItsOwner(t *testing.T) {
	t.Parallel()
	plans, others, cascade := explainAll(t, dbtest.New(t))

	t.Run("no list reads what is others'", func(t *testing.T) {
		for _, p := range plans {
			for _, n := range p.plan.all() {
				if strings.Contains(n.Node, "Scan") && n.Node != "Bitmap Heap Scan" && !strings.Contains(n.IndexCond, "user_id") {
					t.Error(p)
				}
			}
		}
	})
	// The statement says the page's order within its own part alone. What joins it to the summary must keep it.
	t.Run("a page stays in its order", func(t *testing.T) {
		for _, p := range plans {
			nodes := p.plan.nodes()
			if nodes[0].Node == "Result" { // the policy's condition
				nodes = nodes[1:]
			}
			join := nodes[0]
			if join.Node != "Nested Loop" || join.Join != "Left" || join.Plans[0].Index != "task_summary_pkey" || join.Plans[1].Node != "Limit" {
				t.Error(p)
			}
		}
	})
	t.Run("every order is read from its index", func(t *testing.T) {
		n := 0
		for _, p := range plans {
			if !walks(p) {
				continue
			}
			n++
			page := p.page()
			name, condition := page.index()
			index, cursor := ordered(p.shape)
			if name != index || page.has("Sort") || page.has("Bitmap") || p.shape.cursor && !strings.Contains(condition, cursor) {
				t.Error(p)
			}
		}
		if n != 3*len(listTasksSQL)/4 {
			t.Errorf("%d plans", n)
		}
	})
	t.Run("a user's tasks are found for deletion by their owner", func(t *testing.T) {
		for _, p := range cascade {
			if _, condition := p.plan.index(); !strings.Contains(condition, "user_id") || p.plan.has("Seq Scan") {
				t.Error(p)
			}
		}
		if len(cascade) == 0 {
			t.Error("no plans")
		}
	})
	t.Run("one task is found by its owner and its id", func(t *testing.T) {
		for _, p := range others {
			name, condition := p.plan.index()
			if name != "idx_task_owner_id" || !strings.Contains(condition, "user_id") || !strings.Contains(condition, "(id)") || p.plan.has("Seq Scan") {
				t.Error(p)
			}
		}
		if len(others) == 0 {
			t.Error("no plans")
		}
	})
}

// walks tells whether a page is to be read in its order, up to its limit: not where PostgreSQL knows that the owner has
// few tasks, which are sorted sooner, and not where a filter that no index knows may leave nothing of them.
func walks(p planned) bool {
	return !p.shape.priorities && !p.shape.search && (p.owner == "big" || p.generic)
}

// ordered is the index that has a list's order, and the condition that enters it at the cursor.
func ordered(s shape) (index, cursor string) {
	switch {
	case s.sort == SortCreated && s.state != anyState:
		return "idx_task_completed", "ROW(created_at, "
	case s.sort == SortPriority && s.state == pending:
		return "idx_task_user_pending_priority", "ROW(CASE "
	}
	return map[Sort]string{
			SortCreated: "idx_task_created_at", SortUpdated: "idx_task_updated_at", SortTitle: "idx_task_title", SortPriority: "idx_task_priority",
		}[s.sort], map[Sort]string{
			SortCreated: "ROW(created_at, ", SortUpdated: "ROW(updated_at, ", SortTitle: "ROW((title)", SortPriority: "ROW(CASE ",
		}[s.sort]
}

// taskStatements are those that a single task is read or changed with, and their parameters after the owner.
var taskStatements = map[string]struct{ sql, values string }{
	"getTaskSQL":      {getTaskSQL, "'8'"},
	"updateTaskSQL":   {updateTaskSQL, "'8', '{1}', 'title', true, null, null, false"},
	"completeTaskSQL": {completeTaskSQL, "'8', null, null"},
	"deleteTaskSQL":   {deleteTaskSQL, "'8', '{1}'"},
}

func explainAll(t *testing.T, address string) (lists, others, cascade []planned) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	run := func(sql string) []*pgconn.Result { // several statements at once
		t.Helper()
		results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return results
	}
	explain := func(p planned, sql, values string) (both []planned) {
		t.Helper()
		explain := "explain (format json) execute statement(" + values + ");"
		results := run("prepare statement as " + sql + ";" +
			"set local plan_cache_mode = force_custom_plan;" + explain +
			"set local plan_cache_mode = force_generic_plan;" + explain +
			"deallocate statement")
		for i, generic := range map[int]bool{2: false, 4: true} {
			var out []struct{ Plan plan }
			if err := json.Unmarshal(results[i].Rows[0][0], &out); err != nil {
				t.Fatal(err)
			}
			p.generic, p.plan = generic, &out[0].Plan
			both = append(both, p)
		}
		return both
	}
	run(manyTasksSQL)
	for _, owner := range []string{"big", "small-17"} {
		run("begin")
		if _, err := conn.Exec(t.Context(), enterSQL, owner, "0"); err != nil { // as the service does, behind the wall
			t.Fatal(err)
		}
		for name, s := range taskStatements {
			others = append(others, explain(planned{name: name, owner: owner}, s.sql, "'"+owner+"', "+s.values)...)
		}
		for s, sql := range listTasksSQL {
			p := planned{shape: s, owner: owner}
			lists = append(lists, explain(p, sql.text, arguments(p))...)
		}
		run("rollback")
	}
	// As PostgreSQL sends it when a user is deleted: as the table's owner.
	const cascadeSQL = "delete from only task where $1 operator(pg_catalog.=) user_id"
	return lists, others, explain(planned{name: "cascade", owner: "small-17"}, cascadeSQL, "'small-17'")
}

// arguments are a statement's parameters as literals.
func arguments(p planned) string {
	values := []string{"'" + p.owner + "'", "'{1,2}'"}
	if p.shape.priorities {
		values = append(values, "'{high,low}'")
	}
	if p.shape.search {
		values = append(values, "'abc'")
	}
	if p.shape.cursor {
		keys := map[Sort]string{
			SortCreated: "'2026-02-01 00:00Z'", SortUpdated: "'2026-06-01 12:00Z'", SortTitle: "'title 8'", SortPriority: "2",
		}
		values = append(values, keys[p.shape.sort], "'8'")
	}
	return strings.Join(append(values, "101", "0"), ", ")
}
