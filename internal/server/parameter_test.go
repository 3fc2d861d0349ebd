package server

import (
	"strings"
	"testing"

	"docket/internal/api"
)

// parameters are those of the contract, by place and name.
func parameters(t testing.TB) map[string]*parameter {
	t.Helper()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*parameter{}
	for _, ref := range doc.Components.Parameters {
		p, err := compileParameter(ref.Value)
		if err != nil {
			t.Fatal(err)
		}
		all[p.in+" "+p.name] = p
	}
	return all
}

func TestMostParametersHaveAQuickCheck(t *testing.T) {
	t.Parallel()
	all := parameters(t)
	for _, name := range []string{"path user_id", "path task_id", "header If-Match", "header If-None-Match", "query limit", "query offset", "query sort"} {
		if p := all[name]; p == nil || p.quick == nil {
			t.Errorf("%s has none", name)
		}
	}
}

// FuzzParameterIsCheckedLikeTheLibraryDoes holds the quick checks to what the library says.
func FuzzParameterIsCheckedLikeTheLibraryDoes(f *testing.F) {
	for _, text := range []string{
		"", "0", "1", "-1", "+1", "01", "1.0", "1e3", "1000", "1001", "2147483647", "2147483648", "9223372036854775808", "true", "title", "Title",
		"created_at", "asc", "*", `"1.2"`, `W/"1.2", "x"`, `"1.2`, "\x00", "\xff", "é", "e\u0301", "\u2028", strings.Repeat("é", 255), strings.Repeat("a", 256),
		"8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", "a\n", "\n", " ",
	} {
		f.Add(text)
	}
	all := parameters(f)
	f.Fuzz(func(t *testing.T, text string) {
		for name, p := range all {
			if p.quick == nil {
				continue
			}
			slow := *p
			slow.quick = nil
			if got, want := p.quick(text), slow.check([]string{text}) == ""; got != want {
				t.Errorf("%s: the quick check of %q says %t, the library %t", name, text, got, want)
			}
		}
	})
}
