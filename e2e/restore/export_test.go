//go:build unix

package restore_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"docket/internal/dbtest"
)

var csvPattern = regexp.MustCompile("(?ms)^```sh csv\n(.*?)^```$")

// TestTasksAreExportedAsCSV runs the command of docs/specification.md.
func TestTasksAreExportedAsCSV(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/specification.md")
	if err != nil {
		t.Fatal(err)
	}
	block := csvPattern.FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/specification.md has no command")
	}
	database, dir := dbtest.New(t), t.TempDir()
	dbtest.AddUser(t, database, "ada", "bob")
	script := strings.ReplaceAll(string(block[1]), "USER_ID", "ada")
	insert := `psql -q "$OLD" -c "insert into task (id, user_id, title, description, created_at) values
		('1', 'ada', 'Größe, \"genau\"', e'one\ntwo', '2026-01-01'), ('2', 'ada', 'Later', null, '2026-01-02'), ('3', 'bob', 'His', null, now())"`
	shell(t, dir, addresses{old: database}, insert+"\nDATABASE_URL=$OLD\n"+script)

	file, err := os.ReadFile(filepath.Join(dir, "tasks.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, row := range rows {
		got = append(got, row[:5]) // the times depend on the time zone of the session
	}
	want := [][]string{
		{"id", "title", "description", "priority", "completed"},
		{"1", `Größe, "genau"`, "one\ntwo", "medium", "f"},
		{"2", "Later", "", "medium", "f"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the file has %q, want %q", got, want)
	}
}
