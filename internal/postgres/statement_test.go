package postgres

import (
	"slices"
	"testing"
)

func TestStatementsCannotBeDeclaredAfterOpen(t *testing.T) {
	t.Parallel()
	open(t, Config{URL: "postgres://docket@127.0.0.1:1/docket"})
	for name, declare := range map[string]func(){
		"SQL":         func() { SQL("select 1") },
		"OperatorSQL": func() { OperatorSQL("select 1") },
		"Named":       func() { Statement{"select 1"}.Named("one") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			declare()
		}()
	}
	if slices.Contains(Declared(), "select 1") {
		t.Error("the statement was declared")
	}
}
