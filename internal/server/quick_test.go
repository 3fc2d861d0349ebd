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

// bodies are the request bodies of the contract, by operation and media type.
func bodies(t testing.TB) map[string]*body {
	t.Helper()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*body{}
	for path, item := range doc.Paths.Map() {
		for method, def := range item.Operations() {
			op, err := new(Server).compile(doc, method+" "+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if op.body != nil {
				all[def.OperationID] = op.body
			}
		}
	}
	return all
}

func TestEveryBodyHasAQuickCheck(t *testing.T) {
	t.Parallel()
	all := bodies(t)
	if len(all) == 0 {
		t.Fatal("no bodies")
	}
	for operation, body := range all {
		for media := range body.schemas {
			if body.quick[media] == nil {
				t.Errorf("%s, %s: has none", operation, media)
			}
		}
	}
}

// FuzzBodyIsCheckedLikeTheLibraryDoes holds the quick check to what the strict parser and the library say together. It
// may leave more to them than it must, but not what requests are like every day.
func FuzzBodyIsCheckedLikeTheLibraryDoes(f *testing.F) {
	for _, text := range []string{
		`{"title":"Buy oat milk"}`, ` { "title" : "a" , "description" : null , "priority" : "high" , "completed" : true } `, `{"completed":false}`,
		`{"title":"Ünïcödé 👩‍🚀 \u00e9 \ud83d\ude00 \n"}`, `{"title":""}`, `{"title":"  "}`, `{"title":"\u0000"}`, `{"title":"\ud800"}`, `{"title":"a","title":"b"}`,
		`{}`, `{"title":null}`, `{"completed":null}`, `{"title":1}`, `{"title":["a"]}`, `{"title":{"a":1}}`, `{"owner":"a"}`, `{"title":"a","x":1}`, `{"titl\u0065":"a"}`,
		`{"title":"a"}{}`, `{"title":"a"},`, `{"title":"a",}`, `{"title":"a"`, `["title"]`, `null`, `"title"`, ``, "\xef\xbb\xbf{}", "{\"title\":\"\xff\"}",
		`{"title":"` + strings.Repeat("é", 200) + `"}`, `{"title":"` + strings.Repeat("é", 201) + `"}`, `{"description":"` + strings.Repeat("x", 1001) + `"}`,
		`{"description":"` + strings.Repeat("x", 1000) + `"}`, `{"priority":"High"}`, `{"priority":"low"}`, `{"Title":"a"}`, `{"title":"a"}` + "\n\n",
	} {
		f.Add([]byte(text))
	}
	all := bodies(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		for operation, body := range all {
			for media, quick := range body.quick {
				got, want := quick.good(text), body.check(media, text) == nil
				if got && !want || want && !got && !strings.Contains(string(text), `\`) {
					t.Errorf("%s, %s: the quick check of %q says %t, the library %t", operation, media, text, got, want)
				}
			}
		}
	})
}

// Thousands of unknown parameters fit into an address. The answer lists a hundred, and no more are looked at.
func TestAFloodOfParametersCostsNoMoreThanItsAnswer(t *testing.T) { // not parallel: it counts allocations
	op := &operation{queries: map[string]*parameter{"limit": {}, "offset": {}}}
	cost := func(n int) float64 {
		query := strings.Repeat("a&", n)
		return testing.AllocsPerRun(10, func() {
			if faults := op.checkQuery(new(exchange), query); len(faults) != maxFaults {
				t.Errorf("%d faults", len(faults))
			}
		})
	}
	if few, many := cost(maxFaults), cost(8000); many > few+10 {
		t.Errorf("%v allocations, and %v of a flood", few, many)
	}
}
