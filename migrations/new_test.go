package migrations_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"

	"docket/migrations"
)

const separator = "\n---- create above / drop below ----\n"

func TestFilesAreNumberedWithoutGaps(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.sql")
	if err != nil {
		t.Fatal(err)
	}
	inOrder, err := migrate.FindMigrations(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 || strings.Join(inOrder, " ") != strings.Join(files, " ") {
		t.Errorf("files %v, of them migrations: %v", files, inOrder)
	}
	if len(files) != int(migrations.Newest()) {
		t.Errorf("%d files, but the newest version is %d", len(files), migrations.Newest())
	}
}

func TestFilesArePlainSQLWithBothHalves(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("{{")) {
			t.Errorf("%s: tern would expand {{ as a template", file)
		}
		if bytes.ContainsRune(content, '\r') {
			t.Errorf("%s has a carriage return: tern then does not recognise its separators", file)
		}
		up, down, found := strings.Cut(string(content), separator)
		if !found || strings.Contains(down, separator) || !hasSQL(up) || !hasSQL(down) {
			t.Errorf("%s: want SQL before and after exactly one line %q", file, strings.TrimSpace(separator))
		}
	}
}

// hasSQL reports whether a text has more than comments and blank lines.
func hasSQL(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			return true
		}
	}
	return false
}

func TestNewWritesTheNextNumber(t *testing.T) {
	t.Parallel()
	dir := withMigrations(t)
	for i, name := range []string{"due_date", "x", strings.Repeat("a", 60)} {
		path, err := migrations.New(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := migrate.FindMigrations(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != int(migrations.Newest())+i+1 || filepath.Join(dir, found[len(found)-1]) != path {
			t.Errorf("new file %s; migrations then: %v", path, found)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(content), separator) != 1 {
			t.Errorf("%s has not both halves:\n%s", path, content)
		}
	}
}

func TestNewRefusesNamesThatAreNotLowerCaseWords(t *testing.T) {
	t.Parallel()
	dir := withMigrations(t)
	for _, name := range []string{
		"", "Due", "due-date", "due date", "1st", "_due", "due.sql", "../due", "a/b", "dué", "due\n", "due\x00", strings.Repeat("a", 61),
	} {
		if path, err := migrations.New(dir, name); err == nil {
			t.Errorf("%q was accepted: %s", name, path)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != int(migrations.Newest()) {
		t.Errorf("%d files after refusals only, want %d (%v)", len(files), migrations.Newest(), err)
	}
}

func TestNewRefusesAFolderWithoutMigrations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, folder := range []string{dir, filepath.Join(dir, "missing")} {
		if path, err := migrations.New(folder, "due_date"); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("refusals left %v, %v", files, err)
	}
}

// withMigrations returns a folder that contains copies of the migrations and nothing else.
func withMigrations(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sqlState returns PostgreSQL's code of an error, or "".
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
