package contract_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDifferencesBetweenDocumentAndServiceFailTheCheck introduces differences in a copy of the sources. Each must make
// `make generate-check` fail and, after the code has been generated again, the named test.
func TestDifferencesBetweenDocumentAndServiceFailTheCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file string
		edit edit
		test string // in internal/server
		want string // part of its output
	}{
		"a response removed from the document": {
			"openapi.yaml",
			edit{in: "      operationId: deleteTask\n", old: "        '412':\n          $ref: '#/components/responses/PreconditionFailed'\n"},
			"^TestStaleChangeIsRefused$", "deleteTask: status 412 is not in the document",
		},
		"a response added to the document": {
			"openapi.yaml",
			edit{in: "      operationId: getHealth\n", old: "        '406':\n", new: "        '410':\n          $ref: '#/components/responses/NotFound'\n        '406':\n"},
			"^TestEveryDocumentedStatusOfEveryOperationHappens$", "the document has this status, but causes has no entry for it",
		},
		"a parameter renamed in the document": {
			"openapi.yaml",
			edit{in: "    SortByParameter:\n", old: "      name: sort_by\n", new: "      name: sortBy\n"},
			"^TestEverySortOrdersBothWaysAndBreaksTiesByID$", `"parameter":"sort_by"`,
		},
		"a field added to a generated type": {
			"internal/api/api.gen.go",
			edit{in: "type Health struct {\n", old: "\tVersion ", new: "\tRevision int64 `json:\"revision\"`\n\tVersion "},
			"^TestSuccessExamplesMatchTheService$", `/: property "revision" is unsupported`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := copySources(t)
			file := filepath.Join(dir, test.file)
			write(t, file, apply(t, read(t, file), test.edit))

			const installed = "clients/typescript/node_modules"
			wantFailure(t, dir, "internal/api/api.gen.go is stale", "make", "-s", "-o", installed, "generate-check")
			if test.file == "openapi.yaml" {
				if out, err := run(t, dir, "make", "-s", "-o", installed, "generate"); err != nil {
					t.Fatalf("make generate: %v\n%s", err, out)
				}
			}
			wantFailure(t, dir, test.want, "go", "test", "-run", test.test, "./internal/server")
		})
	}
}

// copySources copies the files that git does not ignore, and links the npm packages of the TypeScript client. It
// returns the directory of the copy.
func copySources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list, err := run(t, root, "git", "ls-files", "-coz", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(text))
	}
	const installed = "clients/typescript/node_modules"
	target, err := filepath.Abs(filepath.Join(root, installed))
	if _, statErr := os.Stat(target); err != nil || statErr != nil {
		t.Fatalf("the npm packages of the client are not installed: run make %s", installed)
	}
	if err := os.Symlink(target, filepath.Join(dir, installed)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command in a directory and returns its output.
func run(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "DOCKET_CONTRACT_LOG=") // the modified service must not be logged
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wantFailure checks that a command fails with a text in its output.
func wantFailure(t *testing.T, dir, want, name string, args ...string) {
	t.Helper()
	out, err := run(t, dir, name, args...)
	if err == nil || !strings.Contains(out, want) {
		t.Errorf("%s %s: got the error %v, want a failure with %q in the output\n%s", name, strings.Join(args, " "), err, want, out)
	}
}
