package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"docket/internal/postgres"
)

// MaxTags is the most tags that a task may have.
const MaxTags = 20

// FoldTag returns a tag in the form in which tags are compared: Unicode's simple case folding. Each letter becomes the
// least of those that differ by case only, or the small one of ASCII. The function fold_tag of the database does the same.
func FoldTag(name string) string { return strings.Map(foldRune, name) }

func foldRune(r rune) rune {
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

// UniqueTags returns tags without white space at their ends, and without those that differ from an earlier one by case only.
// It returns nil if there are none.
func UniqueTags(names []string) (unique []string) {
	var seen []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if folded := FoldTag(name); !slices.Contains(seen, folded) {
			seen, unique = append(seen, folded), append(unique, name)
		}
	}
	return unique
}

// changeTags returns tags without those that are removed, whatever the case, and then with those that are added. The
// function change_tags of the database does the same.
func changeTags(tags, added, removed []string) []string {
	var gone []string
	for _, name := range removed {
		gone = append(gone, FoldTag(name))
	}
	kept := []string{}
	for _, name := range tags {
		if !slices.Contains(gone, FoldTag(name)) {
			kept = append(kept, name)
		}
	}
	return append([]string{}, UniqueTags(append(kept, added...))...)
}

// foldedTags returns a set of tags as an argument, independent of their order, case and repetition.
func foldedTags(names []string) any {
	folded := make([]string, len(names))
	for i, name := range names {
		folded[i] = FoldTag(name)
	}
	return anyOf(folded)
}

const tagResource = "tag"

// Tag is a tag of an owner's tasks.
type Tag struct {
	Name    string // its commonest spelling
	Tasks   int64
	Pending int64 // those of its tasks that are not completed
}

// TagQuery selects a page of an owner's tags.
type TagQuery struct {
	Limit  int32   // at least 1
	Cursor string  // the NextCursor of the page before
	Unless []int64 // revisions for which the caller already has the page
}

// TagList is one page of an owner's tags, in the order of their folded names.
type TagList struct {
	Tags       []Tag
	NextCursor string // empty on the last page

	// Revision changes whenever one of the owner's tasks changes.
	Revision    int64
	NotModified bool // Revision is one of TagQuery.Unless: Tags and NextCursor are not filled in
}

// Of the spellings of one tag that occur equally often, mode takes the first in its order.
var listTagsSQL = postgres.SQL(`
select summary.rev, page.*
from (
  select rev
  from task_summary
  where user_id = $1
) as summary
left join lateral (
  select
    tag.folded,
    mode() within group (order by tag.name) as name,
    count(*) as tasks,
    count(*) filter (where tagged.completed = false) as pending
  from (
    select folded, name, task_id
    from task_tag
    where user_id = $1
      and folded > $4::text
  ) as tag
  join (
    select id, completed
    from task
    where user_id = $1
  ) as tagged on tagged.id = tag.task_id
  where summary.rev <> all($2::bigint[])
  group by tag.folded
  order by tag.folded
  limit $3
) as page on true`).Named("listTags")

// tagsKey is the canonical form of the query that cursors of tags are bound to.
const tagsKey = "tags"

// ListTags returns one page of the owner's tags. It returns ErrBadCursor if the cursor is not of this owner's tags.
func (o Owner) ListTags(ctx context.Context, q TagQuery) (TagList, error) {
	list, err := scan(ctx, o, func(tx *Tx) Result[TagList] { return tx.ListTags(q) })
	if q.Cursor != "" && errors.Is(err, ErrInvalid) {
		return list, ErrBadCursor // not made by cursorAfter
	}
	return list, err
}

// ListTags queues what Owner.ListTags does.
func (tx *Tx) ListTags(q TagQuery) Result[TagList] {
	after := "" // before all
	if q.Cursor != "" {
		p, err := parseCursor(tx.pg.Owner(), tagsKey, q.Cursor)
		if err != nil || p.Key == nil {
			return failed[TagList](ErrBadCursor)
		}
		after = *p.Key
	}
	unless := append([]int64{}, q.Unless...) // with null, the comparison would be null
	var list TagList
	var folded []string
	tx.pg.Queue(listTagsSQL, func(rows postgres.Rows) error {
		for rows.Next() {
			if rows.Null(1) { // only the summary
				return rows.Scan(&list.Revision)
			}
			var name string
			var t Tag
			if err := rows.Scan(&list.Revision, &name, &t.Name, &t.Tasks, &t.Pending); err != nil {
				return err
			}
			folded, list.Tags = append(folded, name), append(list.Tags, t)
		}
		return nil
	}, unless, q.Limit+1, after)
	return func() (TagList, error) {
		if slices.Contains(q.Unless, list.Revision) {
			return TagList{Revision: list.Revision, NotModified: true}, nil
		}
		if len(list.Tags) > int(q.Limit) {
			list.Tags = list.Tags[:q.Limit]
			list.NextCursor = cursorAfter(tx.pg.Owner(), tagsKey, position{Key: &folded[q.Limit-1]})
		}
		return list, nil
	}
}

// tagsTimeout is how long the statements that change a tag of all tasks may take.
const tagsTimeout = 25 * time.Second

// changeTagSQL returns a statement that sets the tags of all of the owner's tasks that have the tag $2, and counts them.
func changeTagSQL(tags string) string {
	return `
with changed as (
  update task
  set tags = ` + tags + `
  where user_id = $1
    and id in (
      select task_id
      from task_tag
      where user_id = $1
        and folded = $2
    )
  returning id
)
select count(*)
from changed`
}

var (
	renameTagSQL = postgres.SQL(changeTagSQL("rename_tag(tags, $2::text, $3::text)")).Named("renameTag")
	deleteTagSQL = postgres.SQL(changeTagSQL("change_tags(tags, null, array[$2::text])")).Named("deleteTag")
)

// RenameTag gives a tag another name in all of the owner's tasks, and merges it with a tag that has that name. It returns
// how many tasks were changed, or ErrNotFound if none has the tag, whatever the case.
func (o Owner) RenameTag(ctx context.Context, name, renamed string) (int64, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[int64] { return tx.RenameTag(name, renamed) })
}

// RenameTag queues what Owner.RenameTag does.
func (tx *Tx) RenameTag(name, renamed string) Result[int64] {
	return tx.changeTag(renameTagSQL, name, strings.TrimSpace(renamed))
}

// DeleteTag takes a tag away from all of the owner's tasks. Its results are those of RenameTag.
func (o Owner) DeleteTag(ctx context.Context, name string) (int64, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[int64] { return tx.DeleteTag(name) })
}

// DeleteTag queues what Owner.DeleteTag does.
func (tx *Tx) DeleteTag(name string) Result[int64] { return tx.changeTag(deleteTagSQL, name) }

// changeTag queues a statement that changes all tasks with a tag. The first statement takes the owner's lock, so that the
// second one sees every change that was made before.
func (tx *Tx) changeTag(s postgres.Statement, name string, args ...any) Result[int64] {
	if !storable(name) {
		return failed[int64](NotFoundError{tagResource})
	}
	tx.pg.Limit(tagsTimeout)
	tx.purgeTombstones()
	var changed int64
	tx.pg.Queue(s, func(rows postgres.Rows) error {
		if !rows.Next() {
			return nil
		}
		return rows.Scan(&changed)
	}, append([]any{FoldTag(strings.TrimSpace(name))}, args...)...)
	return func() (int64, error) {
		if changed == 0 {
			return 0, NotFoundError{tagResource}
		}
		return changed, nil
	}
}
