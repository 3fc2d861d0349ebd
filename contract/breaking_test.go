// Package contract_test tests that openapi.yaml does not break clients of the last release unless the changelog says
// so.
package contract_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root     = ".." // of the repository
	document = root + "/openapi.yaml"
)

// severities changes the severity of checks of oasdiff, with the reason for each. docs/compatibility.md describes the
// resulting rules.
var severities = map[string]string{
	"response-non-success-status-removed":        "err",  // clients may handle this status
	"response-optional-property-removed":         "err",  // clients may show it if it is present
	"optional-response-header-removed":           "err",  // likewise
	"response-property-became-optional":          "err",  // a generated type may not allow undefined
	"response-property-enum-value-removed":       "err",  // a client may wait for this value
	"response-property-enum-value-added":         "err",  // a switch over all values may have no default
	"request-parameter-default-value-changed":    "err",  // the same request gets another meaning
	"request-property-default-value-changed":     "err",  // likewise
	"response-media-type-name-specialized":       "err",  // clients compare it
	"api-operation-id-removed":                   "err",  // the name of a function in generated clients
	"api-schema-removed":                         "err",  // the name of a type in generated clients
	"api-security-component-removed":             "err",  // clients no longer know how to send the token
	"api-version-decreased":                      "err",  // versions must increase
	"api-major-version-not-bumped":               "err",  // oasdiff compares the minor version below 1.0.0
	"api-version-not-bumped":                     "none", // the release sets the version
	"response-property-pattern-changed":          "err",  // a client may parse it
	"request-parameter-pattern-changed":          "err",  // oasdiff does not know whether the new pattern is narrower
	"request-property-pattern-changed":           "err",  // likewise
	"request-parameter-removed":                  "err",  // unknown parameters are refused
	"request-property-removed":                   "err",  // unknown properties are refused
	"request-optional-property-became-read-only": "err",  // requests with it would be refused
	"request-required-property-became-read-only": "err",  // likewise
}

// change is a breaking change in the output of oasdiff.
type change struct {
	ID          string `json:"id"`
	Text        string `json:"text"`
	Operation   string `json:"operation"`
	OperationID string `json:"operationId"`
	Path        string `json:"path"`
	Section     string `json:"section"`
}

func (c change) String() string {
	location := cmp.Or(strings.TrimSpace(c.Operation+" "+c.Path), c.Section)
	return fmt.Sprintf("%s: %s (%s)", location, c.Text, c.key())
}

// key identifies the change in the changelog: `operationId` `check-id`, where * stands for no operation.
func (c change) key() string { return "`" + cmp.Or(c.OperationID, "*") + "` `" + c.ID + "`" }

// toolDir contains the oasdiff that all tests use.
var toolDir string

func TestMain(m *testing.M) {
	var err error
	if toolDir, err = os.MkdirTemp("", "docket-contract-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(toolDir)
	os.Exit(code)
}

// oasdiff builds oasdiff and returns the path of the binary.
var oasdiff = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(toolDir, "oasdiff")
	build := exec.Command("go", "build", "-modfile", "tools/go.mod", "-o", bin, "github.com/oasdiff/oasdiff")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// breaking returns the changes between two documents that break clients of the first.
func breaking(t *testing.T, base, revision string) (changes []change) {
	t.Helper()
	bin, err := oasdiff()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(severities)) {
		fmt.Fprintln(&b, id, severities[id])
	}
	file := filepath.Join(t.TempDir(), "severities")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, "breaking", "--format", "json", "--fail-on", "WARN", "--severity-levels", file,
		"--deprecation-days-stable", "180", "--allow-external-refs=false", base, revision).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != 1 {
		t.Fatalf("oasdiff: %v\n%s", err, exit.Stderr)
	}
	if jsonErr := json.Unmarshal(out, &changes); jsonErr != nil {
		t.Fatalf("oasdiff: %v, %v\n%s", err, jsonErr, out)
	}
	if (err != nil) != (len(changes) > 0) {
		t.Fatalf("oasdiff: %v with %d changes", err, len(changes))
	}
	return changes
}

var (
	releasedPattern = regexp.MustCompile(`^openapi-(\d+)\.(\d+)\.(\d+)\.yaml$`)
	declaredPattern = regexp.MustCompile("^- (`[A-Za-z*]+` `[a-z0-9-]+`): \\S")
)

// lastReleased returns the path of the document of the latest release.
func lastReleased(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root, "docs/released")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var newest []int
	var name string
	for _, file := range files {
		match := releasedPattern.FindStringSubmatch(file.Name())
		if match == nil {
			t.Fatalf("docs/released/%s is not named openapi-<version>.yaml", file.Name())
		}
		var version []int
		for _, part := range match[1:] {
			n, err := strconv.Atoi(part)
			if err != nil {
				t.Fatal(err)
			}
			version = append(version, n)
		}
		if slices.Compare(version, newest) > 0 {
			newest, name = version, file.Name()
		}
	}
	if name == "" {
		t.Fatal("docs/released is empty")
	}
	return filepath.Join(dir, name)
}

// changelogFaults compares the breaking changes with the section "Breaking" under "Unreleased" in a changelog. It
// returns a message for each change that is not declared there, and for each declaration without a change.
func changelogFaults(changes []change, changelog string) (faults []string) {
	_, unreleased, _ := strings.Cut(changelog, "\n## [Unreleased]\n")
	unreleased, _, _ = strings.Cut(unreleased, "\n## ")
	_, section, _ := strings.Cut(unreleased, "\n### Breaking\n")
	section, _, _ = strings.Cut(section, "\n### ")
	declared := map[string]bool{} // true if there is such a change
	for line := range strings.Lines(section) {
		if match := declaredPattern.FindStringSubmatch(line); match != nil {
			declared[match[1]] = false
		}
	}
	for _, c := range changes {
		found := false
		for _, key := range []string{c.key(), "`*` `" + c.ID + "`"} {
			if _, ok := declared[key]; ok {
				declared[key], found = true, true
			}
		}
		if !found {
			faults = append(faults, fmt.Sprintf("breaks clients: %s\neither revert it or declare it in CHANGELOG.md under Unreleased, ### Breaking:\n- %s: what clients have to do", c, c.key()))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(declared)) {
		if !declared[key] {
			faults = append(faults, "CHANGELOG.md declares "+key+", but the document has no such change")
		}
	}
	return faults
}

func TestEveryBreakingChangeIsDeclaredInTheChangelog(t *testing.T) {
	t.Parallel()
	changelog := read(t, root+"/CHANGELOG.md")
	for _, fault := range changelogFaults(breaking(t, lastReleased(t), document), changelog) {
		t.Error(fault)
	}
}

func TestReleasedDocumentHasTheVersionInItsName(t *testing.T) {
	t.Parallel()
	last := lastReleased(t)
	version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(last), "openapi-"), ".yaml")
	if !strings.Contains(read(t, last), "\n  version: "+version+"\n") {
		t.Errorf("%s does not have the version %s", last, version)
	}
}

func TestOnlyBreakingChangesAreReported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edits []edit
		want  []string // keys; none if the change is compatible
	}{
		"a response removed": {
			[]edit{{in: "      operationId: deleteTask\n", old: "        '412':\n          $ref: '#/components/responses/PreconditionFailed'\n"}},
			[]string{"`deleteTask` `response-non-success-status-removed`"},
		},
		"a success status removed": {
			[]edit{{in: "      operationId: createTask\n", old: "        '201':", new: "        '200':"}},
			[]string{"`createTask` `response-success-status-removed`"},
		},
		"an operation removed": {
			[]edit{{in: "paths:\n", old: "  /health/ready:\n", new: "  /ready:\n"}},
			[]string{"`getReadiness` `api-path-removed-without-deprecation`"},
		},
		"an optional request property made required": {
			[]edit{{in: "    NewTask:\n", old: "      required: [title]\n", new: "      required: [title, priority]\n"}},
			[]string{"`createTask` `request-property-became-required`"},
		},
		"a request property renamed": {
			[]edit{{in: "    NewTask:\n", old: "        completed:\n", new: "        done:\n"}},
			[]string{"`createTask` `request-property-removed`"},
		},
		"a value of a request property removed": {
			[]edit{{in: "    NewTask:\n", old: "          enum: [low, medium, high]\n", new: "          enum: [low, high]\n"}},
			[]string{"`createTask` `request-property-enum-value-removed`"},
		},
		"a parameter renamed": {
			[]edit{{in: "    SortByParameter:\n", old: "      name: sort_by\n", new: "      name: sortBy\n"}},
			[]string{"`listTasks` `request-parameter-removed`"},
		},
		"a limit of a parameter reduced": {
			[]edit{{in: "    Limit:\n", old: "        maximum: 1000\n", new: "        maximum: 100\n"}},
			[]string{"`listTasks` `request-parameter-max-decreased`"},
		},
		"a response property made optional": {
			[]edit{{in: "    TaskList:\n", old: "      required: [tasks, total, ", new: "      required: [tasks, "}},
			[]string{"`listTasks` `response-property-became-optional`"},
		},
		"a response property removed": {
			[]edit{{in: "    TaskList:\n", old: ", next_cursor]", new: "]"}, {in: "    TaskList:\n", old: "        next_cursor:\n", new: "        next:\n"}},
			[]string{"`listTasks` `response-required-property-removed`"},
		},
		"a value of a response property replaced": {
			[]edit{{in: "    Readiness:\n", old: "enum: [ready]", new: "enum: [fine]"}},
			[]string{"`getReadiness` `response-property-enum-value-added`", "`getReadiness` `response-property-enum-value-removed`"},
		},
		"a response header removed": {
			[]edit{{in: "      operationId: createTask\n", old: "            Location:\n              $ref: '#/components/headers/Location'\n"}},
			[]string{"`createTask` `required-response-header-removed`"},
		},
		"an operationId changed": {
			[]edit{{in: "  /health:\n", old: "      operationId: getHealth\n", new: "      operationId: health\n"}},
			[]string{"`getHealth` `api-operation-id-removed`"},
		},
		"a token made required": {
			[]edit{{in: "      operationId: getHealth\n", old: "      security: []\n"}},
			[]string{"`getHealth` `api-security-anonymous-access-removed`"},
		},

		"no change":                          {},
		"a summary changed":                  {edits: []edit{{in: "      operationId: listTasks\n", old: "      summary: List tasks\n", new: "      summary: List\n"}}},
		"a response property added":          {edits: []edit{{in: "    Health:\n", old: "      properties:\n", new: "      properties:\n        uptime: {type: integer, format: int32}\n"}}},
		"an optional request property added": {edits: []edit{{in: "    NewTask:\n", old: "      properties:\n", new: "      properties:\n        note: {type: string}\n"}}},
		"an optional parameter added":        {edits: []edit{{in: "      operationId: listTasks\n", old: "      parameters:\n", new: "      parameters:\n        - {name: tag, in: query, schema: {type: string}}\n"}}},
		"an error status added":              {edits: []edit{{in: "      operationId: getTask\n", old: "      responses:\n", new: "      responses:\n        '429':\n          $ref: '#/components/responses/Unavailable'\n"}}},
		"a response header added":            {edits: []edit{{in: "    NotFound:\n", old: "      headers:\n", new: "      headers:\n        Retry-After:\n          $ref: '#/components/headers/Retry-After'\n"}}},
		"a limit of a parameter raised":      {edits: []edit{{in: "    Limit:\n", old: "        maximum: 1000\n", new: "        maximum: 2000\n"}}},
		"a sort order added":                 {edits: []edit{{in: "    Sort:\n", old: "[created, ", new: "[due, created, "}}},
		"extensions changed": {edits: []edit{
			{in: "      operationId: listTasks\n", old: "      x-policy: {timeout: 10s, ", new: "      x-policy: {timeout: 20s, "},
			{in: "    TaskList:\n", old: "      type: object\n", new: "      type: object\n      x-representation-version: 9\n"},
		}},
		"an operation added": {edits: []edit{{in: "paths:\n", old: "  /health/ready:\n", new: "  /health/live:\n    get: {operationId: getLiveness, security: [], responses: {'204': {description: Alive.}}}\n  /health/ready:\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, c := range breaking(t, document, edited(t, test.edits...)) {
				if !slices.Contains(got, c.key()) {
					got = append(got, c.key())
				}
			}
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", got, test.want)
			}
		})
	}
}

func TestChangelogDeclaresEachChangeInALine(t *testing.T) {
	t.Parallel()
	removed := change{ID: "request-parameter-removed", Text: "deleted `sort_by`", Operation: "GET", OperationID: "listTasks", Path: "/api/{user_id}/tasks"}
	const top, line = "# Changelog\n\n## [Unreleased]\n\n", "- `listTasks` `request-parameter-removed`: send `sort` instead of `sort_by`.\n"
	for name, test := range map[string]struct {
		changelog string
		changes   []change
		want      int
	}{
		"declared":                       {top + "### Breaking\n\n" + line, []change{removed}, 0},
		"declared for all operations":    {top + "### Breaking\n\n- `*` `request-parameter-removed`: gone.\n", []change{removed, removed}, 0},
		"not declared":                   {top + "### Added\n\n- Text.\n", []change{removed}, 1},
		"declared in another section":    {top + "### Changed\n\n" + line, []change{removed}, 1},
		"declared after the section":     {top + "### Breaking\n\n- Text.\n\n### Changed\n\n" + line, []change{removed}, 1},
		"declared for an older release":  {top + "## [0.1.0]\n\n### Breaking\n\n" + line, []change{removed}, 1},
		"declared for another operation": {top + "### Breaking\n\n- `getTask` `request-parameter-removed`: gone.\n", []change{removed}, 2},
		"declared without a description": {top + "### Breaking\n\n- `listTasks` `request-parameter-removed`:\n", []change{removed}, 1},
		"declared without a change":      {top + "### Breaking\n\n" + line, nil, 1},
		"a change of behaviour alone":    {top + "### Breaking\n\n- Titles are trimmed.\n", nil, 0},
		"no declaration and no change":   {top, nil, 0},
	} {
		if faults := changelogFaults(test.changes, test.changelog); len(faults) != test.want {
			t.Errorf("%s: got %q, want %d", name, faults, test.want)
		}
	}
	if fault := changelogFaults([]change{removed}, top)[0]; !strings.Contains(fault, "GET /api/{user_id}/tasks") || !strings.Contains(fault, line[:42]) {
		t.Errorf("the message is %q", fault)
	}
}

// edit replaces the first occurrence of a text after the line in.
type edit struct{ in, old, new string }

// edited writes a copy of the document with some edits and returns its path.
func edited(t *testing.T, edits ...edit) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "openapi.yaml")
	write(t, file, apply(t, read(t, document), edits...))
	return file
}

func apply(t *testing.T, text string, edits ...edit) string {
	t.Helper()
	for _, e := range edits {
		if strings.Count(text, "\n"+e.in) != 1 {
			t.Fatalf("%q does not occur exactly once", e.in)
		}
		from := strings.Index(text, "\n"+e.in)
		at := strings.Index(text[from:], e.old)
		if at < 0 {
			t.Fatalf("there is no %q after %q", e.old, e.in)
		}
		text = text[:from+at] + e.new + text[from+at+len(e.old):]
	}
	return text
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
