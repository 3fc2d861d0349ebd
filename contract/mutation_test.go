package contract_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of the tests: each makes document and service differ, in a copy of the sources, and wants the parts of
// `make check` to fail and to say where. That is, while the generated code is stale, and after it was generated again.
func TestDifferencesOfDocumentAndServiceFailTheCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file  string
		edit  edit
		tests string // of internal/server
		says  string
	}{
		"a response deleted from the document": {
			"openapi.yaml",
			edit{in: "      operationId: deleteTask\n", old: "        '412':\n          $ref: '#/components/responses/PreconditionFailed'\n"},
			"^TestStaleChangeIsRefused$", "deleteTask: status 412 is not in the document",
		},
		"a response added to the document": {
			"openapi.yaml",
			edit{in: "      operationId: getHealth\n", old: "        '406':\n", new: "        '410':\n          $ref: '#/components/responses/NotFound'\n        '406':\n"},
			"^TestEveryDocumentedStatusOfEveryOperationHappens$", "the document has this status, and no test says how it comes about",
		},
		"a parameter renamed in the document": {
			"openapi.yaml",
			edit{in: "    SortByParameter:\n", old: "      name: sort_by\n", new: "      name: sortBy\n"},
			"^TestEverySortOrdersBothWaysAndBreaksTiesByID$", `"parameter":"sort_by"`,
		},
		"a field added to an answer in Go": {
			"internal/server/encode.go",
			edit{in: "func appendTask(", old: "`,\"title\":`", new: "`,\"due_date\":null,\"title\":`"},
			"^TestFiltersCombine$", `/tasks/0: property "due_date" is unsupported`,
		},
		"a field added to the generated answer": {
			"internal/api/api.gen.go",
			edit{in: "type Health struct {\n", old: "\tVersion ", new: "\tRevision int64 `json:\"revision\"`\n\tVersion "},
			"^TestSuccessesOfTheDocumentAreReal$", `/: property "revision" is unsupported`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := sources(t)
			file := filepath.Join(dir, test.file)
			write(t, file, apply(t, read(t, file), test.edit))

			const client = "clients/typescript/node_modules"
			if test.file != "internal/server/encode.go" { // there it is the server's own
				fails(t, dir, "internal/api/api.gen.go is stale", "make", "-s", "-o", client, "generate-check")
			}
			if test.file == "openapi.yaml" {
				if out, err := in(t, dir, "make", "-s", "-o", client, "generate"); err != nil {
					t.Fatalf("make generate: %v\n%s", err, out)
				}
			}
			fails(t, dir, test.says, "go", "test", "-run", test.tests, "./internal/server")
		})
	}
}

// sources is a copy of what git sees, with what npm installed for the client.
func sources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list, err := in(t, root, "git", "ls-files", "-coz", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(list, "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // the empty name after the last, or one that was deleted and not yet committed
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(text))
	}
	const installed = "clients/typescript/node_modules"
	there, err := filepath.Abs(filepath.Join(root, installed))
	if _, statErr := os.Stat(there); err != nil || statErr != nil {
		t.Fatalf("the client's generator is not installed: run make %s", installed)
	}
	if err := os.Symlink(there, filepath.Join(dir, installed)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// in runs a command in a folder and gives what it prints.
func in(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "DOCKET_CONTRACT_LOG=") // what is exercised here is another service
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// fails wants a command to fail and to say something.
func fails(t *testing.T, dir, says, name string, args ...string) {
	t.Helper()
	out, err := in(t, dir, name, args...)
	if err == nil || !strings.Contains(out, says) {
		t.Errorf("%s %s: %v, and wanted is %q in\n%s", name, strings.Join(args, " "), err, says, out)
	}
}
