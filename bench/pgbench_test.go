package main

import (
	"slices"
	"strings"
	"testing"

	"docket/bench/baseline"
)

func TestWhatPgbenchPrintsIsRead(t *testing.T) {
	t.Parallel()
	const out = `pgbench (15.18)
transaction type: list.pgbench
number of transactions actually processed: 15319
number of failed transactions: 0 (0.000%)
latency average = 1.044 ms
initial connection time = 31.052 ms
tps = 15319.503519 (without initial connection time)
`
	got, err := parsePgbench(out)
	if want := (pgbenchResult{15319, 15319.503519}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"failed transactions": strings.Replace(out, "failed transactions: 0", "failed transactions: 3", 1),
		"no transaction":      strings.Replace(out, "processed: 15319", "processed: 0", 1),
	} {
		if _, err := parsePgbench(text); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestAScriptHasTheStatementsWithTheirParametersInPlace(t *testing.T) {
	t.Parallel()
	w := world{plan: plan{actors: 10, perOwner: 100}, contents: contents{groups: []group{{80, 100}}, numbered: 60}}
	text, definitions := w.script("get", baseline.Batch{
		{SQL: "\nselect set_config('x', $1, true), $2::text", Args: []baseline.Arg{{Role: baseline.Owner}, {Text: "5000"}}},
		{SQL: "select $10, $1, $2, $9", Args: []baseline.Arg{{Role: baseline.ID}, {Null: true}}},
	})
	want := `\set n random(60, 69)
\set owner 1000000000000000000 + :n
\set id 2000000000000000000 + random(0, 99) * 80 + :n
\set fresh random(4000000000000000000, 9223372036854775807)
\startpipeline
select set_config('x', :owner, true), :s0p1::text;
select $10, :id, null, $9;
\endpipeline
`
	if text != want {
		t.Errorf("got\n%s", text)
	}
	if !slices.Equal(definitions, []string{"-D", "s0p1=5000", "-D", "title=" + title}) {
		t.Errorf("constants are %q", definitions)
	}
	if text, _ := w.script("create", nil); !strings.Contains(text, "\\set n :n + 10\n") {
		t.Errorf("creates are not in the way of lists:\n%s", text)
	}
}
