package server

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// tagVersion is the version of the representations, a part of every entity tag: it goes up when the body of an unchanged
// resource changes, so that no tag of an older release matches. A tag is strong and is made of the version and a revision,
// never of the body.
type tagVersion string

// tagVersionOf reads the version from the document: x-representation-version of the header ETag.
func tagVersionOf(doc *openapi3.T) (tagVersion, error) {
	if header := doc.Components.Headers["ETag"]; header != nil && header.Value != nil {
		if version, ok := header.Value.Extensions["x-representation-version"].(float64); ok {
			return tagVersion(strconv.FormatFloat(version, 'f', -1, 64)), nil
		}
	}
	return "", fmt.Errorf("the document's header ETag has no x-representation-version")
}

// tag returns the entity tag of a revision. The suffix distinguishes lists of one revision; a single resource has none.
func (v tagVersion) tag(revision int64, suffix string) string {
	return `"` + string(v) + "." + strconv.FormatInt(revision, 10) + suffix + `"`
}

// listSuffix binds a list's tag to its query, for a client that asks with the tag of another list. The parts are all that
// the body depends on beside the revision.
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

// parse reads a header that was checked; nil is one that was not sent. Tags of another version or suffix match nothing.
// A weak tag (W/) counts where the comparison is weak: in If-None-Match, not in If-Match (RFC 9110, section 8.8.3.2).
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
		if begins && ends && err == nil && strconv.FormatInt(revision, 10) == text { // exactly as given: no 007, no +7
			t.revisions = append(t.revisions, revision)
		}
	}
	return t
}
