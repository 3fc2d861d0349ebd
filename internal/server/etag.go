package server

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// tagVersion is the version of the representations. It is part of every entity tag and is raised when the body of an
// unchanged resource changes, so that no tag of an older release matches. A tag is strong. It consists of the version
// and a revision, and does not depend on the body.
type tagVersion string

// tagVersionOf returns the version in the document: x-representation-version of the header ETag.
func tagVersionOf(doc *openapi3.T) (tagVersion, error) {
	if header := doc.Components.Headers["ETag"]; header != nil && header.Value != nil {
		if version, ok := header.Value.Extensions["x-representation-version"].(float64); ok {
			return tagVersion(strconv.FormatFloat(version, 'f', -1, 64)), nil
		}
	}
	return "", fmt.Errorf("the document's header ETag has no x-representation-version")
}

// tag returns the entity tag of a revision. The suffix distinguishes lists with the same revision; a single resource has none.
func (v tagVersion) tag(revision int64, suffix string) string {
	b := make([]byte, 0, 64) // usually enough, and then not allocated; a list has a tag for each task
	b = append(append(append(b, '"'), v...), '.')
	b = strconv.AppendInt(b, revision, 10)
	return string(append(append(b, suffix...), '"'))
}

// listSuffix returns the suffix that binds a list's tag to its query, so that the tag of another list does not match.
// The parts are everything besides the revision that the body depends on.
func listSuffix(parts ...string) string {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part + "\x00")) // cannot fail
	}
	return "." + strconv.FormatUint(h.Sum64(), 36)
}

// tags are the entity tags of an If-Match or If-None-Match header.
type tags struct {
	any       bool    // *
	revisions []int64 // of the tags that are of this version and suffix
}

// parse parses a header that has been checked; nil means that it was not sent. Tags of another version or suffix match
// nothing. A weak tag (W/) counts only if the comparison is weak, as in If-None-Match but not in If-Match (RFC 9110,
// section 8.8.3.2).
func (v tagVersion) parse(header *string, suffix string, weak bool) tags {
	t := tags{revisions: []int64{}}
	switch {
	case header == nil:
		return t
	case *header == "*":
		return tags{any: true}
	}
	for tag := range strings.SplitSeq(*header, ",") {
		tag = strings.Trim(tag, " \t")
		if strong, is := strings.CutPrefix(tag, "W/"); is && weak {
			tag = strong
		}
		text, begins := strings.CutPrefix(tag, `"`+string(v)+".")
		text, ends := strings.CutSuffix(text, suffix+`"`)
		revision, err := strconv.ParseInt(text, 10, 64)
		if begins && ends && err == nil && strconv.FormatInt(revision, 10) == text { // only the exact form that tag returns, not 007 or +7
			t.revisions = append(t.revisions, revision)
		}
	}
	return t
}
