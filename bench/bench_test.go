package main

import (
	"slices"
	"testing"
	"time"

	"docket/bench/baseline"
	"docket/internal/dbtest/pgproxy"
)

func TestFilesOfProcAreParsed(t *testing.T) {
	t.Parallel()
	if got, err := parseSchedstat("3989395 854910 1002\n"); err != nil || got != 3989395 {
		t.Errorf("schedstat: %d, %v", got, err)
	}
	got, err := parseStat("31 (a) b (c)) S 7 31 0 0 -1 4194304 314 9 0 0 4 5 60 70 20 0 6 0 129122\n")
	if want := (stat{parent: 7, endedChildren: 1300 * time.Millisecond}); err != nil || got != want {
		t.Errorf("stat: %+v, %v, want %+v", got, err, want)
	}
	if got, err := parsePeak("Name:\tx\nVmPeak:\t  123 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"); err != nil || got != 2<<20 {
		t.Errorf("status: %v, %v", got, err)
	}
	_, err1 := parseSchedstat("")
	_, err2 := parseStat("31 (short) S 7")
	_, err3 := parsePeak("Name:\tx\n")
	if err1 == nil || err2 == nil || err3 == nil {
		t.Errorf("incomplete files are accepted: %v, %v, %v", err1, err2, err3)
	}
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	sorted := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for p, want := range map[float64]int{0: 1, 50: 5, 99: 10, 100: 10} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("percentile %v is %d, want %d", p, got, want)
		}
	}
	if got := percentile([]int(nil), 50); got != 0 {
		t.Errorf("percentile without values is %d", got)
	}
	if got, want := spreadOf([]float64{4, 1, 5, 2, 3}), (spread{3, 2, 4}); got != want {
		t.Errorf("spread is %v, want %v", got, want)
	}
	if got, want := ratio([]float64{1, 4, 9, 16, 25}, []float64{1, 2, 3, 4, 5}), (spread{3, 2, 4}); got != want {
		t.Errorf("ratio is %v, want %v", got, want)
	}
}

func TestNumbersAreWrittenInAFittingUnit(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		micros(0): "–", micros(1.25): "1.2 µs", micros(123.4): "123 µs", micros(1234): "1,234 µs", micros(12_345): "12.3 ms",
		count(0): "0", count(999): "999", count(1_234_567): "1,234,567", mebibytes(3 << 19): "1.5 MiB",
		spread{1, 1, 1}.String(): "1.00", spread{2, 1, 3}.String(): "2.00 (1.00 to 3.00)",
		table([][]string{{"a", "b"}, {"c", "d"}}): "| a | b |\n| --- | ---: |\n| c | d |\n",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestGoalIsMetIfItsWorstValueMeetsIt(t *testing.T) {
	t.Parallel()
	of := func(medians ...float64) (all []goalValue) {
		for _, m := range medians {
			all = append(all, goalValue{spread: spread{m, 0, 99}})
		}
		return all
	}
	for _, test := range []struct {
		goal goal
		want bool
	}{
		{goal{limit: 1, values: of(0.5, 1)}, true},
		{goal{limit: 1, values: of(0.5, 1.01)}, false},
		{goal{limit: 0.9, atLeast: true, values: of(0.9, 2)}, true},
		{goal{limit: 0.9, atLeast: true, values: of(0.89, 2)}, false},
		{goal{limit: 1}, false}, // nothing was measured
	} {
		if got := test.goal.passed(); got != test.want {
			t.Errorf("%+v passes: %t", test.goal, got)
		}
	}
	got := goalTable([]goal{
		{"speed", 0.95, true, []goalValue{{"here", spread{0.5, 0.4, 0.6}}}},
		{"size", 64, false, []goalValue{{"there", spread{3, 3, 3}}}},
	})
	want := "| goal | limit | measured: median (quartiles) | result |\n| --- | ---: | ---: | ---: |\n" +
		"| speed | at least 0.95 | here: 0.50 (0.40 to 0.60) | **FAIL** |\n" +
		"| size | at most 64.00 | there: 3.00 | PASS |\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestSourceOfAParameterIsFoundByComparingTwoRequests(t *testing.T) {
	t.Parallel()
	users := []user{{owner: "ada", tasks: []string{"a"}}, {owner: "bob", tasks: []string{"b"}}}
	statement := func(values ...string) pgproxy.Statement {
		s := pgproxy.Statement{SQL: "select", Formats: make([]int16, len(values))}
		for _, v := range values {
			s.Params = append(s.Params, []byte(v))
		}
		return s
	}
	sent := [2][]pgproxy.Statement{
		{statement("ada", "a", titleOf(users[0]), "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", "5000")},
		{statement("bob", "b", titleOf(users[1]), "6d9f0c1e-5f2b-4c3a-9d8e-7b6a5c4d3e2f", "5000")},
	}
	got, err := statementsOf(users, sent)
	want := []baseline.Role{baseline.Owner, baseline.ID, baseline.Title, baseline.NewID, baseline.Constant}
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Roles, want) {
		t.Errorf("got %+v, %v, want %q", got, err, want)
	}
	for name, second := range map[string][]pgproxy.Statement{
		"no second statement": nil,
		"another number":      {statement("bob", "b", titleOf(users[1]), "6d9f0c1e-5f2b-4c3a-9d8e-7b6a5c4d3e2f", "5001")},
	} {
		if _, err := statementsOf(users, [2][]pgproxy.Statement{sent[0], second}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTablesOfGrowthHaveOwnersOfEverySize(t *testing.T) {
	t.Parallel()
	d := full.growth.dataset(1_000_000, 100)
	if want := (dataset{{100, 10}, {10, 1000}, {1, 100_000}, {8890, 100}}); !slices.Equal(d, want) {
		t.Errorf("got %v, want %v", d, want)
	}
	if d.tasks() != 1_000_000 || d.owners() != 9001 {
		t.Errorf("%d tasks of %d owners", d.tasks(), d.owners())
	}
}
