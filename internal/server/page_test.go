package server

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestAPIPageListsEveryKindOfProblem compares the table of docs/api.md with the service's own.
func TestAPIPageListsEveryKindOfProblem(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| --- | --- | --- |\n")
	if !found {
		t.Fatal("docs/api.md has no table of problems")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, k := range kinds {
		want = append(want, fmt.Sprintf("| %d | `%s` | %s |", k.status, k.code, k.advice))
	}
	if got := strings.Join(want, "\n"); got != table {
		t.Errorf("docs/api.md must list\n%s", got)
	}
}
