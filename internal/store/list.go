package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Sort is what a list is sorted by. Ties are broken by id.
type Sort int

const (
	SortCreated Sort = iota
	SortUpdated
	SortTitle
	SortPriority // by meaning: high is above medium is above low
	sorts
)

// ListQuery says which of an owner's tasks, and in which order.
type ListQuery struct {
	Completed  *bool    // nil: both
	Priorities []string // empty: all
	Search     string   // in title or description, whatever the case; empty: no search
	Sort       Sort
	Ascending  bool
	Limit      int32 // at least 1
	Offset     int32
	Cursor     string  // the NextCursor of the page before; Offset is 0 then
	Unless     []int64 // revisions that the caller has the answer for already
}

// TaskList is one page of an owner's tasks.
type TaskList struct {
	Tasks      []Task
	Total      int64  // tasks that pass the filters, on all pages together
	NextCursor string // empty on the last page

	// Revision changes whenever any of the owner's tasks does, so that two answers to one query are equal when their
	// revisions are.
	Revision    int64
	NotModified bool // Revision is one of ListQuery.Unless: Tasks, Total and NextCursor are not filled in
}

// The statements of a list are put together from these constants, once for every shape that a query can have, so that
// each shape has a plan of its own and an index can serve it. See listTasksSQL.
const (
	selectSummarySQL = `
select *
from task_summary
where user_id = $1`

	selectTasksSQL = `
select id, title, description, priority, completed, created_at, updated_at, rev
from task
where user_id = $1`

	countTasksSQL = `
select count(*)
from task
where user_id = $1`

	// Evaluated once and before any task is read.
	unlessFilter = "summary.rev <> all($2::bigint[])"

	pendingFilter    = "\n  and completed = false"
	completedFilter  = "\n  and completed = true"
	prioritiesFilter = "\n  and priority = any($?::text[])"
	searchFilter     = "\n  and (strpos(lower(title), lower($?)) > 0 or strpos(lower(description), lower($?)) > 0)"

	priorityRankExpression = `(case priority when 'high' then 3 when 'medium' then 2 else 1 end)`
)

// sortKeys is the key that each Sort orders by, and the type of its value in a cursor.
var sortKeys = [sorts]struct{ key, cast string }{
	SortCreated:  {"created_at", "timestamptz"},
	SortUpdated:  {"updated_at", "timestamptz"},
	SortTitle:    {"title", "text"},
	SortPriority: {priorityRankExpression, "integer"},
}

// shape is what the text of a list's statement depends on.
type shape struct {
	state      state
	priorities bool
	search     bool
	sort       Sort
	ascending  bool
	cursor     bool
}

type state int

const (
	anyState state = iota
	pending
	completed
	states
)

// statement is the text of a shape.
type statement struct{ text string }

// listTasksSQL holds the statement of every shape. Its parameters are the owner, the revisions for which the caller has
// the answer already, the filters in the order of the constants above, the cursor's key and id where there is one, the
// limit and the offset.
//
// Being one statement it sees one moment: revision, total and page belong together. PostgreSQL joins the page to the one
// row of the summary in a nested loop, which keeps the page's order; a test holds every plan to that.
var listTasksSQL = func() map[shape]statement {
	all := map[shape]statement{}
	for st := range states {
		for sort := range sorts {
			for bits := range 16 {
				s := shape{st, bits&1 != 0, bits&2 != 0, sort, bits&4 != 0, bits&8 != 0}
				all[s] = s.statement()
			}
		}
	}
	return all
}()

func (s shape) statement() statement {
	next := 3
	number := func(sql string) string {
		sql = strings.ReplaceAll(sql, "$?", "$"+strconv.Itoa(next))
		next++
		return sql
	}
	filters := [states]string{pending: pendingFilter, completed: completedFilter}[s.state]
	if s.priorities {
		filters += number(prioritiesFilter)
	}
	if s.search {
		filters += number(searchFilter)
	}

	// The total is a sum of the summary's columns. What a search finds has to be counted.
	var columns []string
	for _, priority := range []string{"low", "medium", "high"} {
		sum := [states]string{"pending_? + completed_?", "pending_?", "completed_?"}[s.state]
		if s.priorities {
			sum = "case when '?' = any($3::text[]) then " + sum + " else 0 end"
		}
		columns = append(columns, strings.ReplaceAll(sum, "?", priority))
	}
	total := strings.Join(columns, " + ")
	if s.search {
		total = "case when " + unlessFilter + " then (" + countTasksSQL + filters + "\n) else 0 end"
	}

	key := sortKeys[s.sort]
	direction, comparison := " desc", " < "
	if s.ascending {
		direction, comparison = " asc", " > "
	}
	if s.cursor {
		filters += "\n  and (" + key.key + ", id)" + comparison + "(" + number("$?::"+key.cast) + ", " + number("$?::text") + ")"
	}
	return statement{"\nselect summary.rev, (" + total + ")::bigint as total, page.*" +
		"\nfrom (" + selectSummarySQL + "\n) as summary" +
		"\nleft join lateral (" + selectTasksSQL + filters + "\n  and " + unlessFilter +
		"\norder by " + key.key + direction + ", id" + direction +
		"\nlimit " + number("$?") + "\noffset " + number("$?") + "\n) as page on true"}
}

// ListTasks gives one page of the owner's tasks and the exact total. ErrBadCursor when the cursor is not of this owner
// and this query.
func (o Owner) ListTasks(ctx context.Context, q ListQuery) (TaskList, error) {
	s := shape{sort: q.Sort, ascending: q.Ascending, cursor: q.Cursor != ""}
	switch {
	case q.Completed == nil:
	case *q.Completed:
		s.state = completed
	default:
		s.state = pending
	}
	args := make([]any, 0, 8)
	args = append(args, q.Unless)
	if q.Unless == nil {
		args[0] = []int64{} // null would be no revision, and no other one either
	}
	if s.priorities = len(q.Priorities) > 0; s.priorities {
		args = append(args, q.Priorities)
	}
	if s.search = q.Search != ""; s.search {
		args = append(args, q.Search)
	}
	if s.cursor {
		after, err := o.parseCursor(q)
		if err != nil {
			return TaskList{}, err
		}
		args = append(args, after.key, after.id)
	}
	args = append(args, q.Limit+1, q.Offset) // one more than the page shows whether another follows

	room := min(q.Limit+1, 101)
	if len(q.Unless) > 0 {
		room = 1 // most often nothing has changed
	}
	var list TaskList
	rows := func(rows pgx.Rows) (err error) {
		list = TaskList{} // of an attempt that failed
		list.Tasks, err = pgx.AppendRows(make([]Task, 0, room), rows, func(row pgx.CollectableRow) (Task, error) {
			return o.scanListed(row, &list)
		})
		return err
	}
	var err error
	if q.small() {
		err = o.read(ctx, rows, listTasksSQL[s].text, args...)
	} else {
		err = o.send(ctx, reads, func(b *pgx.Batch) { o.queue(b, listTasksSQL[s].text, args...).Query(rows) })
	}
	switch {
	case err != nil:
		return TaskList{}, err
	case slices.Contains(q.Unless, list.Revision):
		return TaskList{Revision: list.Revision, NotModified: true}, nil
	case len(list.Tasks) == 1 && list.Tasks[0].ID == "":
		list.Tasks = list.Tasks[:0] // the summary alone
	case len(list.Tasks) > int(q.Limit):
		list.Tasks = list.Tasks[:q.Limit]
		list.NextCursor = o.cursorAfter(q, list.Tasks[q.Limit-1])
	}
	return list, nil
}

// small reports whether the page takes the same however many tasks the owner has: an index has its order, and no row is
// read that it does not give.
func (q ListQuery) small() bool {
	return q.Priorities == nil && q.Search == "" && q.Cursor == "" && (q.Completed == nil || q.Sort == SortCreated) &&
		q.Offset <= 100-q.Limit // and not a sum: an offset may be as large as its type
}
