package problem_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"docket/internal/problem"
)

func TestTheAPIPageListsEveryCodeOfAFault(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, f := range problem.FaultCodes {
		fmt.Fprintf(&want, "| `%s` | %s |\n", f[0], f[1])
	}
	if _, table, found := strings.Cut(string(page), "| Code | Meaning |\n| --- | --- |\n"); !found || table != want.String() {
		t.Errorf("docs/api.md must end with\n%s", &want)
	}
}

func TestTheAPIPageListsEveryProblemType(t *testing.T) {
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
	for _, p := range problem.Types {
		want = append(want, fmt.Sprintf("| %d | `%s` | %s |", p.Status, p.Code, p.Advice))
	}
	if got := strings.Join(want, "\n"); got != table {
		t.Errorf("docs/api.md must list\n%s", got)
	}
}
