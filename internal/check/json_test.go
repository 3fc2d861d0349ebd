package check

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"docket/internal/problem"
)

func TestJSONIsParsedIntoPlainValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`null`: nil, `true`: true, ` "a\u00e9" `: "aé", `1.5`: 1.5, `-0`: 0.0, `1e-400`: 0.0,
		`[]`: []any{}, `{}`: map[string]any{}, `[1, [true, null], {"a": {"b": "c"}}]`: []any{1.0, []any{true, nil}, map[string]any{"a": map[string]any{"b": "c"}}},
	} {
		if got, err := parseJSON([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
	}
	for _, text := range []string{"1e400", "-1e400", strings.Repeat("9", 5000)} { // larger than any limit, and no infinity
		got, err := parseJSON([]byte(text))
		number, ok := got.(float64)
		if err != nil || !ok || number*number < 1e300 || number-number != 0 {
			t.Errorf("%.10s: %v, %v", text, got, err)
		}
	}
}

func TestJSONIsParsedStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``: "ends early, at byte 0", `{"a":`: "ends early, at byte 5", `{"a": 1} 2`: "something after its JSON value", `{"a": 1}}`: "not valid JSON",
		`{"a": 1, "a": 2}`: `the name "a" twice`, `{"a": {"b": 1, "\u0062": 2}}`: `the name "b" twice`, `[{"a": 1}, {"a": 1, "a": 1}]`: `the name "a" twice`,
		"\"\xff\"": "at byte 1", `"\ud800"`: "at byte 1", "\xef\xbb\xbf{}": "byte order mark", `{'a': 1}`: "at byte 1",
		strings.Repeat("[", 33) + strings.Repeat("]", 33):           "deeper than 32 levels",
		strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33): "deeper than 32 levels",
		strings.Repeat("[", 20_000):                                 "deeper than 32 levels",
		`[1, [` + strings.Repeat(`{"a":[`, 20):                      "deeper than 32 levels",
	} {
		_, err := parseJSON([]byte(text))
		var p *problem.Problem
		if !errors.As(err, &p) || p.Type != problem.MalformedJSON || !strings.Contains(p.Detail, want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32)} {
		if _, err := parseJSON([]byte(text)); err != nil {
			t.Errorf("32 levels: %v", err)
		}
	}
}
