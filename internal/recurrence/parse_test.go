package recurrence

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseReturnsTheCanonicalForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"FREQ=DAILY":                            "FREQ=DAILY",
		"freq=Weekly;byday=mo":                  "FREQ=WEEKLY;BYDAY=MO",
		"BYDAY=FR,MO,FR;INTERVAL=2;FREQ=WEEKLY": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR",
		"FREQ=DAILY;INTERVAL=001;WKST=MO":       "FREQ=DAILY;INTERVAL=1;WKST=MO", // what was given stays
		"FREQ=MONTHLY;BYDAY=+1SU,-1SU,SU,2MO":   "FREQ=MONTHLY;BYDAY=2MO,-1SU,SU,1SU",
		"FREQ=MONTHLY;BYMONTHDAY=+15,-1,01,15":  "FREQ=MONTHLY;BYMONTHDAY=-1,1,15",
		"UNTIL=20261231;WKST=SU;BYSETPOS=1,-1;BYMONTH=12,2;BYMONTHDAY=31;BYDAY=-5SU;INTERVAL=999;FREQ=YEARLY": "FREQ=YEARLY;" +
			"INTERVAL=999;BYDAY=-5SU;BYMONTHDAY=31;BYMONTH=2,12;BYSETPOS=-1,1;WKST=SU;UNTIL=20261231",
		"FREQ=YEARLY;BYDAY=53MO;COUNT=9999":        "FREQ=YEARLY;BYDAY=53MO;COUNT=9999",
		"FREQ=YEARLY;BYDAY=-5MO;BYMONTH=1":         "FREQ=YEARLY;BYDAY=-5MO;BYMONTH=1",
		"FREQ=YEARLY;BYMONTH=3;BYSETPOS=366":       "FREQ=YEARLY;BYMONTH=3;BYSETPOS=366",
		"FREQ=DAILY;BYMONTHDAY=-31;UNTIL=19700101": "FREQ=DAILY;BYMONTHDAY=-31;UNTIL=19700101",
		"FREQ=DAILY;UNTIL=99991231":                "FREQ=DAILY;UNTIL=99991231",
	} {
		got, err := Parse(text)
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestParseNamesThePart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            " invalid_format",
		"FREQ=DAILY;":                 " invalid_format",
		";FREQ=DAILY":                 " invalid_format",
		"=DAILY":                      " invalid_format",
		"INTERVAL=2":                  "FREQ invalid_format",
		"BYDAY=1MO":                   "FREQ invalid_format",
		"FREQ":                        "FREQ not_one_of",
		"FREQ=":                       "FREQ not_one_of",
		"FREQ=HOURLY":                 "FREQ not_one_of",
		"FREQ=SECONDLY":               "FREQ not_one_of",
		"FREQ=DAILY=":                 "FREQ not_one_of",
		"FREQ=DAILY ":                 "FREQ not_one_of",
		"FREQ=DA\u0131LY":             "FREQ not_one_of", // ı, whose upper case is I
		" FREQ=DAILY":                 " FREQ invalid_format",
		"FREQ=DAILY; INTERVAL=2":      " INTERVAL invalid_format",
		"RRULE:FREQ=DAILY":            "RRULE:FREQ invalid_format",
		"FREQ=DAILY\nINTERVAL=2":      "FREQ not_one_of",
		"FREQ=DAILY;FREQ=DAILY":       "FREQ conflict",
		"FREQ=DAILY;COUNT=2;count=2":  "COUNT conflict",
		"FREQ=DAILY;BYHOUR=1":         "BYHOUR invalid_format",
		"FREQ=YEARLY;BYWEEKNO=1":      "BYWEEKNO invalid_format",
		"FREQ=YEARLY;BYYEARDAY=1":     "BYYEARDAY invalid_format",
		"FREQ=YEARLY;BYEASTER=0":      "BYEASTER invalid_format",
		"FREQ=DAILY;DTSTART=20260309": "DTSTART invalid_format",
		"FREQ=DAILY;INTERVAL=0":       "INTERVAL out_of_range",
		"FREQ=DAILY;INTERVAL=1000":    "INTERVAL out_of_range",
		"FREQ=DAILY;INTERVAL=":        "INTERVAL invalid_format",
		"FREQ=DAILY;INTERVAL=-1":      "INTERVAL invalid_format",
		"FREQ=DAILY;INTERVAL=+1":      "INTERVAL invalid_format",
		"FREQ=DAILY;INTERVAL=1.5":     "INTERVAL invalid_format",
		"FREQ=DAILY;INTERVAL=\u0661":  "INTERVAL invalid_format", // an Arabic digit
		"FREQ=DAILY;INTERVAL=18446744073709551617":     "INTERVAL out_of_range",
		"FREQ=DAILY;COUNT=0":                           "COUNT out_of_range",
		"FREQ=DAILY;COUNT=10000":                       "COUNT out_of_range",
		"FREQ=DAILY;COUNT=2;UNTIL=20261231":            "UNTIL conflict",
		"FREQ=DAILY;UNTIL=2026-12-31":                  "UNTIL invalid_format",
		"FREQ=DAILY;UNTIL=20260229":                    "UNTIL invalid_format",
		"FREQ=DAILY;UNTIL=19691231":                    "UNTIL invalid_format",
		"FREQ=DAILY;UNTIL=20261231T000000Z":            "UNTIL invalid_format",
		"FREQ=DAILY;UNTIL=":                            "UNTIL invalid_format",
		"FREQ=WEEKLY;BYDAY=":                           "BYDAY invalid_format",
		"FREQ=WEEKLY;BYDAY=MO,":                        "BYDAY invalid_format",
		"FREQ=WEEKLY;BYDAY=MO, TU":                     "BYDAY invalid_format",
		"FREQ=WEEKLY;BYDAY=MONDAY":                     "BYDAY invalid_format",
		"FREQ=WEEKLY;BYDAY=1MO":                        "BYDAY conflict",
		"FREQ=DAILY;BYDAY=-1FR":                        "BYDAY conflict",
		"FREQ=MONTHLY;BYDAY=0MO":                       "BYDAY out_of_range",
		"FREQ=MONTHLY;BYDAY=6MO":                       "BYDAY out_of_range",
		"FREQ=YEARLY;BYDAY=-6MO;BYMONTH=1":             "BYDAY out_of_range",
		"FREQ=YEARLY;BYDAY=54MO":                       "BYDAY out_of_range",
		"FREQ=MONTHLY;BYDAY=--1MO":                     "BYDAY invalid_format",
		"FREQ=MONTHLY;BYDAY=MO1":                       "BYDAY invalid_format",
		"FREQ=MONTHLY;BYMONTHDAY=0":                    "BYMONTHDAY out_of_range",
		"FREQ=MONTHLY;BYMONTHDAY=32":                   "BYMONTHDAY out_of_range",
		"FREQ=MONTHLY;BYMONTHDAY=-32":                  "BYMONTHDAY out_of_range",
		"FREQ=MONTHLY;BYMONTHDAY=1;BYMONTHDAY=2":       "BYMONTHDAY conflict",
		"FREQ=WEEKLY;BYMONTHDAY=1":                     "BYMONTHDAY conflict",
		"FREQ=YEARLY;BYMONTH=13":                       "BYMONTH out_of_range",
		"FREQ=YEARLY;BYMONTH=-1":                       "BYMONTH invalid_format",
		"FREQ=YEARLY;BYMONTH=1,,2":                     "BYMONTH invalid_format",
		"FREQ=MONTHLY;BYSETPOS=1":                      "BYSETPOS conflict",
		"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0":             "BYSETPOS out_of_range",
		"FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-367":          "BYSETPOS out_of_range",
		"FREQ=WEEKLY;WKST=1":                           "WKST not_one_of",
		"FREQ=WEEKLY;WKST=MO,TU":                       "WKST not_one_of",
		"FREQ=DAILY;X-ABC=" + strings.Repeat("x", 300): " too_long",
	} {
		r, err := Parse(text)
		if err == nil {
			t.Errorf("Parse(%q) = %v, want %s", text, r, want)
			continue
		}
		if got := err.Part + " " + err.Code; got != want {
			t.Errorf("Parse(%q): %s, want %s", text, got, want)
		}
		if !strings.HasSuffix(err.Detail, ".") || !strings.Contains(err.Detail, strings.TrimSpace(err.Part)) {
			t.Errorf("Parse(%q): %q", text, err.Detail)
		}
	}
}

// TestHowARuleIsWrittenDoesNotMatter writes rules in other orders and cases, with repetition in their lists.
func TestHowARuleIsWrittenDoesNotMatter(t *testing.T) {
	t.Parallel()
	parallel(t, *rules, func(_ int, rng *rand.Rand) error {
		want := randomRule(rng)
		parts := strings.Split(want, ";")
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		for i, part := range parts {
			name, value, _ := strings.Cut(part, "=")
			list := strings.Split(value, ",")
			if strings.HasPrefix(name, "BY") {
				list = append(list, list[rng.IntN(len(list))])
			}
			rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			parts[i] = name + "=" + strings.Join(list, ",")
			if rng.IntN(2) == 0 {
				parts[i] = strings.ToLower(parts[i])
			}
		}
		text := strings.Join(parts, ";")
		got, err := Parse(text)
		if err != nil {
			return fmt.Errorf("Parse(%q): %w", text, err)
		}
		if got.String() != want {
			return fmt.Errorf("Parse(%q) = %v, want %s", text, got, want)
		}
		if !got.Equal(got.withDefaults()) {
			return fmt.Errorf("%v does not equal %v", got, got.withDefaults())
		}
		return nil
	})
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"FREQ=WEEKLY;BYDAY=MO,TU", "byday=tu,mo;freq=weekly", true},
		{"FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=1;WKST=MO", true},
		{"FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=2", false},
		{"FREQ=WEEKLY", "FREQ=WEEKLY;WKST=SU", false},
		{"FREQ=WEEKLY", "FREQ=DAILY", false},
		{"FREQ=DAILY;COUNT=2", "FREQ=DAILY;COUNT=3", false},
		{"FREQ=DAILY;UNTIL=20261231", "FREQ=DAILY", false},
	} {
		if got := rule(t, test.a).Equal(rule(t, test.b)); got != test.want {
			t.Errorf("%s equals %s: %v", test.a, test.b, got)
		}
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"daily": "FREQ=DAILY", "weekly": "FREQ=WEEKLY", "monthly": "FREQ=MONTHLY", "yearly": "FREQ=YEARLY",
	} {
		text, ok := Pattern(word)
		if r, err := Parse(text); !ok || text != want || err != nil || r.String() != want {
			t.Errorf("Pattern(%q) = %q, %v", word, text, ok)
		}
	}
	if text, ok := Pattern("none"); text != "" || !ok {
		t.Errorf("Pattern(none) = %q, %v", text, ok)
	}
	for _, word := range []string{"", "Daily", "hourly", "none "} {
		if text, ok := Pattern(word); ok {
			t.Errorf("Pattern(%q) = %q", word, text)
		}
	}
}
