package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/internal/due"
	"docket/internal/postgres"
)

// TaskQuery selects tasks of an owner and their order.
type TaskQuery struct {
	Completed  *bool     // nil: both
	Priorities []string  // empty: all
	Search     string    // in title or description, see foldedSQL; empty: no search
	DueAfter   *DueBound // due then or later; nil: no bound
	DueBefore  *DueBound // due earlier; nil: no bound
	Due        *bool     // has a due date; nil: both
	Tags       []string  // whatever the case; empty: all
	AllTags    bool      // tasks that have all of Tags, instead of any
	Sort       Sort      // empty: SortCreated
	Ascending  bool
	Limit      int32 // at least 1
	Offset     int32
	Cursor     string  // the NextCursor of the page before; Offset is 0 then
	Unless     []int64 // revisions for which the caller already has the page
}

// DueBound is a bound of due dates. Without an instant it is a day and compares the days of all tasks. With one, it
// compares that with the instants of tasks that have a time, and the day with those that are due a whole day.
type DueBound struct {
	Date due.Date
	At   *time.Time
}

// argument returns the bound as a parameter: the day, and the instant if there is one. A day compares nothing else.
func (b *DueBound) argument() any {
	switch {
	case b == nil:
		return nil
	case b.At == nil:
		return []string{b.Date.String()}
	}
	at := b.At.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond) // the first that PostgreSQL can store
	return []string{b.Date.String(), at.Format(time.RFC3339Nano)}
}

// dueSQL compares a task with the bound $?.
func dueSQL(comparison string) string {
	return `case
    when due_time is null or ($?)[2] is null then due_date ` + comparison + ` ($?)[1]::date
    else due_at ` + comparison + ` ($?)[2]::timestamptz
  end`
}

// Sort is the name of a sort order. Ties are broken by id.
type Sort string

// The sorts.
const (
	SortCreated  Sort = "created"
	SortUpdated  Sort = "updated"
	SortTitle    Sort = "title"
	SortPriority Sort = "priority" // by meaning: low, medium, high
	SortDue      Sort = "due"      // by day, then by time with whole days last
)

// TaskList is one page of an owner's tasks.
type TaskList struct {
	Tasks      []Task
	Total      int64  // number of tasks that match the filters, on all pages
	NextCursor string // empty on the last page

	// Revision changes whenever one of the owner's tasks changes, so that two results of one query are equal if their
	// revisions are.
	Revision    int64
	NotModified bool // Revision is one of TaskQuery.Unless: Tasks, Total and NextCursor are not filled in
}

// filter is a condition that few lists have. All filters share a statement, in which a filter whose parameter is null
// has no effect.
type filter struct {
	name    string              // used in TaskQuery.Key
	typ     string              // of the parameter
	sql     string              // $? is the parameter
	value   func(TaskQuery) any // nil if the query does not filter; equal for equivalent queries
	counted bool                // depends only on the column priority, so that the summary has the total
}

// taskFilters are all filters except Completed, which has statements of its own.
var taskFilters = []filter{
	{
		name: "priority", typ: "text[]", counted: true,
		sql:   "priority = any($?)",
		value: func(q TaskQuery) any { return anyOf(q.Priorities) },
	},
	{
		name: "search", typ: "text",
		sql:   "strpos(search_text, (" + foldedSQL + ")) > 0",
		value: func(q TaskQuery) any { return given(q.Search) },
	},
	{name: "due_after", typ: "text[]", sql: dueSQL(">="), value: func(q TaskQuery) any { return q.DueAfter.argument() }},
	{name: "due_before", typ: "text[]", sql: dueSQL("<"), value: func(q TaskQuery) any { return q.DueBefore.argument() }},
	{
		name: "due", typ: "boolean",
		sql: "(due_date is not null) = $?",
		value: func(q TaskQuery) any {
			if q.Due == nil {
				return nil
			}
			return *q.Due
		},
	},
	{
		name: "tag", typ: "text[]",
		sql: `id in (
    select task_id
    from task_tag
    where user_id = $1
      and folded = any($?)
  )`,
		value: func(q TaskQuery) any {
			if q.AllTags && len(UniqueTags(q.Tags)) > 1 {
				return nil
			}
			return foldedTags(q.Tags)
		},
	},
	{
		name: "all tags", typ: "text[]",
		sql: `id in (
    select task_id
    from task_tag
    where user_id = $1
      and folded = any($?)
    group by task_id
    having count(*) = cardinality($?)
  )`,
		value: func(q TaskQuery) any {
			if !q.AllTags || len(UniqueTags(q.Tags)) < 2 {
				return nil
			}
			return foldedTags(q.Tags)
		},
	},
}

// foldedSQL folds the text that is searched for as migration 005 folds the column search_text, with the collation of that
// column, which any row of the owner's has. It is evaluated once for a statement.
const foldedSQL = `
  select replace(replace(translate(lower(upper(normalize(none || $?, nfkc))), 'ς', 'σ'), 'ß', 'ss'), '` + "i\u0307" + `', 'i')
  from (
    select left(search_text, 0) as none
    from task
    where user_id = $1
    limit 1
  ) as collated
`

// anyOf returns a set of texts as an argument, independent of their order and repetition. An empty set does not filter.
func anyOf(texts []string) any {
	if len(texts) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(texts)))
}

// given returns a value as an argument. The zero value does not filter.
func given[T comparable](value T) any {
	var zero T
	if value == zero {
		return nil
	}
	return value
}

// sort is a sort order of lists.
type sort struct {
	name  Sort
	key   string             // an SQL expression
	typ   string             // of the key
	value func(Task) *string // the key of a task as PostgreSQL reads it; nil is null

	// If the key can be null: the SQL constants below and above all keys with which keySQL replaces null.
	lowest, highest string

	states []state // there is also an index with this order that has only the tasks of the state
}

var taskSorts = []sort{
	{name: SortCreated, key: "created_at", typ: "timestamptz", value: func(t Task) *string { return timeKey(t.CreatedAt) }, states: []state{pending, completed}},
	{name: SortUpdated, key: "updated_at", typ: "timestamptz", value: func(t Task) *string { return timeKey(t.UpdatedAt) }},
	{name: SortTitle, key: "title", typ: "text", value: func(t Task) *string { return &t.Title }},
	{
		name: SortPriority, key: "(case priority when 'high' then 3 when 'medium' then 2 else 1 end)", typ: "integer",
		value: func(t Task) *string {
			return new(map[string]string{"high": "3", "medium": "2", "low": "1"}[t.Priority])
		},
		states: []state{pending},
	},
	{
		name: SortDue, key: "due_order", typ: "timestamp", value: dueKey,
		lowest: "timestamp '-infinity'", highest: "timestamp 'infinity'",
	},
}

// dueKey returns the column due_order, which a trigger keeps.
func dueKey(t Task) *string {
	switch {
	case t.DueDate == nil:
		return nil
	case t.DueTime == nil:
		return new(t.DueDate.String() + " 23:59:59")
	}
	return new(t.DueDate.String() + " " + t.DueTime.String())
}

func timeKey(t time.Time) *string { return new(t.UTC().Format(time.RFC3339Nano)) }

// keySQL returns the SQL expression of the key, which sorts null last in both directions. Each direction has an index
// on its expression. It does not use coalesce: under row-level security that would not be an index condition, because
// PostgreSQL does not consider it leakproof.
func (s sort) keySQL(key string, ascending bool) string {
	null := s.lowest
	if ascending {
		null = s.highest
	}
	if null == "" {
		return key
	}
	return "(case when " + key + " is null then " + null + " else " + key + " end)"
}

// taskShape is everything that the text of a list's statement depends on.
type taskShape struct {
	state     state
	sort      Sort
	ascending bool
	cursor    bool
	filtered  bool // by any of taskFilters
}

type state string

const (
	anyState  state = ""
	pending   state = "\n  and completed = false"
	completed state = "\n  and completed = true"
)

// listTasksSQL has a statement for every shape, so that each has a plan of its own that can use an index.
var listTasksSQL = func() map[taskShape]postgres.Statement {
	all := map[taskShape]postgres.Statement{}
	for _, sort := range taskSorts {
		for _, state := range []state{anyState, pending, completed} {
			for bits := range 8 {
				shape := taskShape{state, sort.name, bits&1 != 0, bits&2 != 0, bits&4 != 0}
				all[shape] = postgres.SQL(shape.sql(sort)).Named("listTasks")
			}
		}
	}
	return all
}()

// sql returns the statement of a shape. Its parameters are the owner, the revisions for which the caller already has
// the page, the limit and the offset, then the cursor's key and id if there is a cursor, and then those of taskFilters
// if there are filters.
//
// Revision, total and page come from one statement and thus from one snapshot. PostgreSQL joins the page to the one row
// of the summary in a nested loop, which keeps the page's order; a test checks every plan for that. The total is a sum
// of the summary's columns, unless there is a filter that the summary cannot count.
//
// All filters are in one case. PostgreSQL expects that half of the rows satisfy it, whatever is in it, and so reads a page
// in the order of its index. Of several conditions it would expect that they leave almost nothing, and would read and sort
// all of the owner's tasks for every page.
func (s taskShape) sql(by sort) string {
	const unless = "summary.rev <> all($2::bigint[])"
	direction, comparison := " desc", " < "
	if s.ascending {
		direction, comparison = " asc", " > "
	}
	key := by.keySQL(by.key, s.ascending)
	filters, after, next := string(s.state), "", 5
	if s.cursor {
		after = "\n  and (" + key + ", id)" + comparison + "(" + by.keySQL("$5::text::"+by.typ, s.ascending) + ", $6::text)"
		next = 7
	}
	counted, uncounted := "true", "true"
	if s.filtered {
		var conditions []string
		for i, f := range taskFilters {
			parameter := "$" + strconv.Itoa(next+i)
			absent := parameter + "::" + f.typ + " is null"
			condition := "(" + absent + " or " + strings.ReplaceAll(f.sql, "$?", parameter) + ")"
			conditions = append(conditions, condition)
			if f.counted {
				counted += " and " + condition
			} else {
				uncounted += " and " + absent
			}
		}
		filters += "\n  and case when " + strings.Join(conditions, "\n  and ") + "\n  then true end"
	}
	var sums []string
	for _, priority := range []string{"low", "medium", "high"} {
		sum := map[state]string{anyState: "pending_? + completed_?", pending: "pending_?", completed: "completed_?"}[s.state]
		if s.filtered {
			sum = "case when " + strings.ReplaceAll(counted, "priority", "'?'") + " then " + sum + " else 0 end"
		}
		sums = append(sums, strings.ReplaceAll(sum, "?", priority))
	}
	total := strings.Join(sums, " + ")
	if s.filtered {
		total = "case when " + uncounted + " then " + total + "\nwhen " + unless + ` then (
  select count(*)
  from task
  where user_id = $1` + filters + "\n) else 0 end"
	}
	return `
select summary.rev, (` + total + `)::bigint as total, page.*
from (
  select *
  from task_summary
  where user_id = $1
) as summary
left join lateral (
  select ` + taskColumns.list() + `
  from task
  where user_id = $1` + filters + after + `
  and ` + unless + `
  order by ` + key + direction + `, id` + direction + `
  limit $3
  offset $4
) as page on true`
}

// shape returns the shape and the sort of the query.
func (q TaskQuery) shape() (taskShape, sort, error) {
	name := q.sort()
	i := slices.IndexFunc(taskSorts, func(s sort) bool { return s.name == name })
	if i < 0 {
		return taskShape{}, sort{}, fmt.Errorf("%w: lists have no sort %q", ErrInvalid, q.Sort)
	}
	shape := taskShape{sort: name, ascending: q.Ascending, cursor: q.Cursor != ""}
	switch {
	case q.Completed == nil:
	case *q.Completed:
		shape.state = completed
	default:
		shape.state = pending
	}
	for _, f := range taskFilters {
		shape.filtered = shape.filtered || f.value(q) != nil
	}
	return shape, taskSorts[i], nil
}

func (q TaskQuery) sort() Sort {
	if q.Sort == "" {
		return SortCreated
	}
	return q.Sort
}

// Key returns the canonical form of the query's filters and order. Two queries have the same key if and only if they
// are equivalent. Cursors and entity tags are bound to it.
func (q TaskQuery) Key() string {
	key := []string{"sort=" + string(q.sort()), "ascending=" + strconv.FormatBool(q.Ascending)}
	if q.Completed != nil {
		key = append(key, "completed="+strconv.FormatBool(*q.Completed))
	}
	for _, f := range taskFilters {
		if value := f.value(q); value != nil {
			text, err := json.Marshal(value)
			if err != nil {
				panic(err) // a filter's type that JSON does not know
			}
			key = append(key, f.name+"="+string(text))
		}
	}
	return strings.Join(key, " ")
}

// ListTasks returns one page of the owner's tasks and the exact total. It returns ErrBadCursor if the cursor is not of
// this owner and this query.
func (o Owner) ListTasks(ctx context.Context, q TaskQuery) (TaskList, error) {
	queue := func(tx *Tx) Result[TaskList] { return tx.ListTasks(q) }
	var list TaskList
	var err error
	switch {
	case q.small():
		return read(ctx, o, queue)
	case q.scans():
		list, err = scan(ctx, o, queue)
	default:
		list, err = run(ctx, o, postgres.ReadOnly, queue)
	}
	if q.Cursor != "" && errors.Is(err, ErrInvalid) {
		return list, ErrBadCursor // not made by cursorAfter
	}
	return list, err
}

// small reports whether the page costs little, and the same however many tasks the owner has: there is an index in its
// order, and few rows are read.
func (q TaskQuery) small() bool {
	return q.Cursor == "" && !q.scans() && q.Offset <= 100-q.Limit // a sum could overflow
}

// mostSkipped is the largest number of rows that a page reads without returning them and is not a scan: as many as the largest
// page returns.
const mostSkipped = 1000

// scans reports whether the page costs more the more tasks the owner has: rows are read that are not returned, because no
// index has only those that match, or because the page skips them.
func (q TaskQuery) scans() bool {
	shape, by, err := q.shape()
	return err == nil && (shape.filtered || shape.state != anyState && !slices.Contains(by.states, shape.state) || q.Offset > mostSkipped)
}

// ListTasks queues what Owner.ListTasks does.
func (tx *Tx) ListTasks(q TaskQuery) Result[TaskList] {
	shape, by, err := q.shape()
	if err != nil {
		return failed[TaskList](err)
	}
	unless := q.Unless
	if unless == nil {
		unless = []int64{} // with null, the comparison would be null
	}
	args := []any{unless, q.Limit + 1, q.Offset} // one more row than the page shows whether there is a next page
	if shape.cursor {
		after, err := parseCursor(tx.pg.Owner(), q.Key(), q.Cursor)
		if err != nil {
			return failed[TaskList](err)
		}
		args = append(args, after.Key, after.ID)
	}
	if shape.filtered {
		for _, f := range taskFilters {
			args = append(args, f.value(q))
		}
	}
	capacity := min(q.Limit+1, 101)
	if len(q.Unless) > 0 {
		capacity = 1 // usually nothing has changed
	}
	var list TaskList
	tx.pg.Queue(listTasksSQL[shape], func(rows postgres.Rows) error {
		list.Tasks = make([]Task, 0, capacity)
		t := Task{UserID: tx.pg.Owner()}
		to := append([]any{&list.Revision, &list.Total}, taskColumns.pointers(&t)...)
		for rows.Next() {
			if rows.Null(2) { // only the summary
				return rows.Scan(to[:2]...)
			}
			if err := rows.Scan(to...); err != nil {
				return err
			}
			list.Tasks = append(list.Tasks, t)
		}
		return nil
	}, args...)
	return func() (TaskList, error) {
		if slices.Contains(q.Unless, list.Revision) {
			return TaskList{Revision: list.Revision, NotModified: true}, nil
		}
		if len(list.Tasks) > int(q.Limit) {
			list.Tasks = list.Tasks[:q.Limit]
			last := list.Tasks[q.Limit-1]
			list.NextCursor = cursorAfter(tx.pg.Owner(), q.Key(), position{by.value(last), last.ID})
		}
		return list, nil
	}
}
