package main

import (
	"os"
	"path/filepath"
	"testing"

	"docket/bench/figure"
)

func TestATargetIsMetWhenItsWorstMeasurementIs(t *testing.T) {
	t.Parallel()
	of := func(medians ...float64) (all []measured) {
		for _, m := range medians {
			all = append(all, measured{spread: figure.Spread{Median: m, Min: 0, Max: 99}})
		}
		return all
	}
	for _, test := range []struct {
		target target
		want   bool
	}{
		{target{limit: 1, measured: of(0.5, 1)}, true},
		{target{limit: 1, measured: of(0.5, 1.01)}, false},
		{target{limit: 0.9, large: true, measured: of(0.9, 2)}, true},
		{target{limit: 0.9, large: true, measured: of(0.89, 2)}, false},
		{target{limit: 1}, false}, // nothing was measured
	} {
		if got := test.target.met(); got != test.want {
			t.Errorf("%+v is met: %t", test.target, got)
		}
	}
	if n := missed([]target{{limit: 1, measured: of(2)}, {limit: 1, measured: of(1)}, {}}); n != 2 {
		t.Errorf("%d of 3 targets are missed, want 2", n)
	}
}

func TestATargetThatIsNotMetStandsOut(t *testing.T) {
	t.Parallel()
	got := targetTable([]target{
		{measure: "speed", limit: 0.95, large: true, measured: []measured{{"over 16", figure.Spread{Median: 0.5, Min: 0.4, Max: 0.6}}}},
		{measure: "size", limit: 64, unit: "MiB", measured: []measured{{"", figure.Spread{Median: 3, Min: 3, Max: 3}}}},
	})
	want := "| measure | must be | measured: median (least to most) | so |\n| --- | ---: | ---: | ---: |\n" +
		"| speed | at least 0.95 | over 16 0.50 (0.40 to 0.60) | **NOT met** |\n" +
		"| size | at most 64 MiB | 3.00 | met |\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestOnlyADocumentWithAPlaceForFiguresIsOpened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.md")
	for text, want := range map[string]bool{
		"prose\n" + beginMark + "old\n" + endMark + "more\n": true,
		"": false, beginMark: false, endMark + beginMark: false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openDocument(path); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAParameterIsKnownByWhatTwoRequestsHaveInIt(t *testing.T) {
	t.Parallel()
	by := []actor{{owner: "ada", tasks: []string{"a"}}, {owner: "bob", tasks: []string{"b"}}}
	for _, test := range []struct{ a, b, want string }{
		{"ada", "bob", "owner"},
		{"a", "b", "id"},
		{titleOf(by[0]), titleOf(by[1]), "title"},
		{"8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", "6d9f0c1e-5f2b-4c3a-9d8e-7b6a5c4d3e2f", "fresh"},
		{"5000", "5000", ""},
		{"ada", "ada", ""},
		{"1", "2", ""},
	} {
		if got := roleOf(test.a, test.b, by); string(got) != test.want {
			t.Errorf("%q and %q are taken for %q, want %q", test.a, test.b, got, test.want)
		}
	}
}

func TestTheFewerTasksAnOwnerHasTheMoreSuchOwnersThereAre(t *testing.T) {
	t.Parallel()
	w := world{plan: full}
	got := w.growthContents(1_000_000)
	want := []group{{100, 10}, {10, 1000}, {1, 100_000}, {8890, 100}}
	if len(got.groups) != len(want) || got.rows() != 1_000_000 || got.owners() != 9001 {
		t.Fatalf("got %+v with %d tasks", got, got.rows())
	}
	for i, g := range got.groups {
		if g != want[i] {
			t.Errorf("group %d is %+v, want %+v", i, g, want[i])
		}
	}
	if small := w.growthContents(100_000); len(small.groups) != 3 || small.rows() != 111_000 {
		t.Errorf("the smallest table is %+v", small)
	}
}
