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

// An owner's revision is the newest of its tasks and of its tombstones: two look-ups in an index.
const revisionExpression = `greatest(
  coalesce((
    select max(rev)
    from task
    where user_id = $1
  ), 0),
  coalesce((
    select max(rev)
    from task_tombstone
    where user_id = $1
  ), 0)
)`

const revisionSQL = "\nselect " + revisionExpression

// The statements of a list are put together from these constants, once for every shape that a query can have, so that
// each shape has a plan of its own and the partial index can serve it. See listTasksSQL.
const (
	countTasksSQL = `
select count(*), ` + revisionExpression + `
from task
where user_id = $1`

	selectTasksSQL = `
select ` + taskColumns + `
from task
where user_id = $1`

	pendingFilter    = "\n  and completed = false"
	completedFilter  = "\n  and completed = true"
	prioritiesFilter = "\n  and priority = any($?::text[])"
	searchFilter     = "\n  and (strpos(lower(title), lower($?)) > 0 or strpos(lower(description), lower($?)) > 0)"

	// Evaluated once and before anything is read.
	unlessFilter = "\n  and " + revisionExpression + " <> all($?::bigint[])"

	priorityRankExpression = `(case priority when 'high' then 3 when 'medium' then 2 else 1 end)`
)

// sortKeys is the key that each Sort orders by, and the type of its value in a cursor.
var sortKeys = [sorts]struct{ key, cast string }{
	SortCreated:  {"created_at", "timestamptz"},
	SortUpdated:  {"updated_at", "timestamptz"},
	SortTitle:    {"title", "text"},
	SortPriority: {priorityRankExpression, "integer"},
}

// shape is what the text of a list's statements depends on.
type shape struct {
	state      state
	priorities bool
	search     bool
	sort       Sort
	ascending  bool
	cursor     bool
	unless     bool
}

type state int

const (
	anyState state = iota
	pending
	completed
	states
)

type statements struct{ count, page string }

// listTasksSQL holds the statements of every shape. Their parameters are the owner, the filters in the order of the
// constants above, and for a page also the cursor's key and id where there is one, the limit and the offset.
var listTasksSQL = func() map[shape]statements {
	all := map[shape]statements{}
	for st := range states {
		for sort := range sorts {
			for bits := range 32 {
				s := shape{st, bits&1 != 0, bits&2 != 0, sort, bits&4 != 0, bits&8 != 0, bits&16 != 0}
				all[s] = s.statements()
			}
		}
	}
	return all
}()

func (s shape) statements() statements {
	next := 2
	number := func(sql string) string {
		sql = strings.ReplaceAll(sql, "$?", "$"+strconv.Itoa(next))
		next++
		return sql
	}
	var filters string
	switch s.state {
	case pending:
		filters += pendingFilter
	case completed:
		filters += completedFilter
	}
	if s.priorities {
		filters += number(prioritiesFilter)
	}
	if s.search {
		filters += number(searchFilter)
	}
	if s.unless {
		filters += number(unlessFilter)
	}
	key := sortKeys[s.sort]
	direction, comparison := " desc", " < "
	if s.ascending {
		direction, comparison = " asc", " > "
	}
	after := ""
	if s.cursor {
		after = "\n  and (" + key.key + ", id)" + comparison + "(" + number("$?::"+key.cast) + ", " + number("$?::text") + ")"
	}
	return statements{
		count: countTasksSQL + filters,
		page: selectTasksSQL + filters + after +
			"\norder by " + key.key + direction + ", id" + direction +
			"\nlimit " + number("$?") + "\noffset " + number("$?"),
	}
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
	var filters []any
	if s.priorities = len(q.Priorities) > 0; s.priorities {
		filters = append(filters, q.Priorities)
	}
	if s.search = q.Search != ""; s.search {
		filters = append(filters, q.Search)
	}
	if s.unless = len(q.Unless) > 0; s.unless {
		filters = append(filters, q.Unless)
	}
	args := filters[:len(filters):len(filters)]
	if s.cursor {
		after, err := o.parseCursor(q)
		if err != nil {
			return TaskList{}, err
		}
		args = append(args, after.key, after.id)
	}
	args = append(args, q.Limit+1, q.Offset) // one more than the page shows whether another follows

	// Each statement sees the database at a moment of its own. The answer counts when the revision was the same before
	// and after; otherwise somebody is writing right now, and the last attempt's answer goes out under the older
	// revision, for which nobody can be told later that nothing changed.
	var list TaskList
	for range attempts {
		var after int64
		sql := listTasksSQL[s]
		err := o.send(ctx, reads, func(b *pgx.Batch) {
			o.queue(b, sql.count, filters...).QueryRow(func(row pgx.Row) error { return row.Scan(&list.Total, &list.Revision) })
			o.queue(b, sql.page, args...).Query(func(rows pgx.Rows) (err error) {
				list.Tasks, err = pgx.AppendRows(make([]Task, 0, min(q.Limit+1, 101)), rows, scanTask)
				return err
			})
			o.queue(b, revisionSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&after) })
		})
		if err != nil {
			return TaskList{}, err
		}
		if list.Revision == after {
			break
		}
	}
	if list.NotModified = slices.Contains(q.Unless, list.Revision); list.NotModified {
		return TaskList{Revision: list.Revision, NotModified: true}, nil
	}
	if len(list.Tasks) > int(q.Limit) {
		list.Tasks = list.Tasks[:q.Limit]
		list.NextCursor = o.cursorAfter(q, list.Tasks[q.Limit-1])
	}
	return list, nil
}
