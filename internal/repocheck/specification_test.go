package repocheck_test

import (
	"regexp"
	"strings"
	"testing"
)

var (
	itemPattern  = regexp.MustCompile(`(?m)^\| ([\d., ]+) \| (.+?) \| (.+) \|$`)
	proofPattern = regexp.MustCompile("`Test\\w+`|`make [a-z-]+`|`docket [a-z ]+`|\\[ADR \\d+\\]\\(adr/")
)

// sections are those of the specification that ask for something.
var sections = []string{
	"1", "2.1", "2.2", "3", "4", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6", "6.1", "6.2", "7.1", "7.2", "7.3", "8.1", "8.2", "10.1", "10.2",
	"10.3", "10.4",
}

// Whether the tests and commands that the page names exist is tested as for every other page.
func TestEveryItemOfTheSpecificationNamesWhatShowsIt(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, m := range itemPattern.FindAllStringSubmatch(read(t, "docs/specification.md"), -1) {
		for section := range strings.SplitSeq(m[1], ", ") {
			listed[section] = true
		}
		if !proofPattern.MatchString(m[3]) {
			t.Errorf("§ %s, %s: names no test, command or ADR: %s", m[1], m[2], m[3])
		}
	}
	for _, section := range sections {
		if !listed[section] {
			t.Errorf("§ %s is not listed", section)
		}
	}
}
