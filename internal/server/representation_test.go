package server

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
)

var update = flag.Bool("update", false, "write testdata/representation for a version that has none yet")

// TestAChangedBodyHasANewRepresentationVersion fails when a member is added to, taken from or changed in the body of a
// response with an ETag. Without a new version, a client that has the old body would be told that it is current.
//
// testdata/representation has a file for each version. An existing file is never overwritten.
func TestAChangedBodyHasANewRepresentationVersion(t *testing.T) {
	t.Parallel()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	version, err := tagVersionOf(doc)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "representation", string(version)+".txt")
	want, err := os.ReadFile(file)
	bodies := taggedBodies(doc) + "\n"
	switch {
	case errors.Is(err, fs.ErrNotExist) && *update:
		if err := os.WriteFile(file, []byte(bodies), 0o644); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		t.Errorf("%v: commit what go test ./internal/server -run %s -update writes", err, t.Name())
	case string(want) != bodies:
		t.Errorf("The bodies with an ETag are not those of representation version %s in %s: raise x-representation-version "+
			"of the header ETag in openapi.yaml. The bodies are now\n%s", version, file, bodies)
	}
}

// taggedBodies describes the bodies of all responses with an ETag: the names, types, formats and nullability of their
// members, a line each.
func taggedBodies(doc *openapi3.T) string {
	lines := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, response := range op.Responses.Map() {
				media := response.Value.Content["application/json"]
				if response.Value.Headers["ETag"] != nil && media != nil {
					describe(lines, schemaName(media.Schema), true, media.Schema.Value)
				}
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(lines)), "\n")
}

func schemaName(ref *openapi3.SchemaRef) string { return ref.Ref[strings.LastIndex(ref.Ref, "/")+1:] }

func describe(lines map[string]bool, path string, required bool, s *openapi3.Schema, within ...*openapi3.Schema) {
	line := fmt.Sprintf("%s: type=%s format=%s required=%t nullable=%t", path, strings.Join(s.Type.Slice(), ","), s.Format, required, s.Nullable)
	lines[line] = true
	if slices.Contains(within, s) {
		return
	}
	within = append(slices.Clone(within), s)
	for name, property := range s.Properties {
		describe(lines, path+"."+name, slices.Contains(s.Required, name), property.Value, within...)
	}
	if s.Items != nil {
		describe(lines, path+"[]", true, s.Items.Value, within...)
	}
	for _, part := range slices.Concat(s.AllOf, s.OneOf, s.AnyOf) {
		describe(lines, path+"|", true, part.Value, within...)
	}
}

func TestANewMemberChangesTheDescriptionOfBodies(t *testing.T) {
	t.Parallel()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	before := taggedBodies(doc)
	task := doc.Components.Schemas["Task"].Value
	changes := []func(){
		func() { task.Properties["deadline"] = openapi3.NewStringSchema().NewRef() },
		func() { task.Properties["deadline"].Value.Nullable = true },
		func() { task.Properties["deadline"].Value.Format = "date" },
		func() { task.Required = append(task.Required, "deadline") },
		func() { task.Properties["deadline"] = openapi3.NewInt64Schema().NewRef() },
		func() { delete(task.Properties, "deadline") },
	}
	for i, change := range changes {
		change()
		after := taggedBodies(doc)
		if after == before {
			t.Errorf("change %d makes no difference", i)
		}
		before = after
	}
	task.Properties["title"].Value.Description = "another text"
	if taggedBodies(doc) != before {
		t.Error("another description makes a difference")
	}
}
