package server

import (
	"hash/fnv"
	"strconv"
	"strings"

	"docket/internal/api"
	"docket/internal/store"
)

// representation is the version of what tasks and lists look like. It goes up when the body of an unchanged task
// changes, so that no tag of an older release matches.
const representation = "1"

// taskTag is a task's entity tag: strong, and taken from the task's revision, not from its body.
func taskTag(t store.Task) string {
	return `"` + representation + "." + strconv.FormatInt(t.Revision, 10) + `"`
}

// listSuffix binds a list's tag to its query, for a client that asks with the tag of another list.
func listSuffix(p api.ListTasksParams) string {
	h := fnv.New64a()
	for _, part := range []string{
		string(deref(p.Status, "")), boolText(p.Completed), strings.Join(priorities(p), ","), deref(p.Search, ""),
		string(deref(p.Sort, "")), string(deref(p.SortBy, "")), string(deref(p.Order, "")),
		strconv.Itoa(int(deref(p.Limit, -1))), strconv.Itoa(int(deref(p.Offset, -1))), deref(p.Cursor, ""),
	} {
		_, _ = h.Write([]byte(part + "\x00")) // cannot fail
	}
	return "." + strconv.FormatUint(h.Sum64(), 36)
}

func boolText(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

func listTag(revision int64, suffix string) string {
	return `"` + representation + "." + strconv.FormatInt(revision, 10) + suffix + `"`
}

// zippedSuffix ends the suffix of a list's tag when it was sent compressed: that is another representation, and a strong
// tag is of one alone (RFC 9110, section 8.8.3.3).
const zippedSuffix = ".gz"

func zippedTag(tag string) string { return strings.TrimSuffix(tag, `"`) + zippedSuffix + `"` }

// tags is an If-Match or If-None-Match header.
type tags struct {
	any       bool    // *
	revisions []int64 // of the tags that are ours
}

// parseTags reads the header, which validation found well-formed. Tags that end in another suffix are somebody else's
// and match nothing. A weak tag (W/) counts only where the comparison is weak: in If-None-Match and not in If-Match
// (RFC 9110, section 8.8.3.2).
func parseTags(header, suffix string, weak bool) tags {
	if header == "*" {
		return tags{any: true}
	}
	t := tags{revisions: []int64{}}
	for _, tag := range strings.Split(header, ",") {
		tag = strings.Trim(tag, " \t")
		if strong, is := strings.CutPrefix(tag, "W/"); is && weak {
			tag = strong
		}
		text, ours := strings.CutPrefix(tag, `"`+representation+".")
		text, ends := strings.CutSuffix(text, suffix+`"`)
		revision, err := strconv.ParseInt(text, 10, 64)
		if ours && ends && err == nil && strconv.FormatInt(revision, 10) == text { // to the letter: no 007, no +7
			t.revisions = append(t.revisions, revision)
		}
	}
	return t
}
