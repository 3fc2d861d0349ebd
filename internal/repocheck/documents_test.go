package repocheck_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"docket/internal/config"
)

var (
	fencePattern      = regexp.MustCompile("(?ms)^ *```[^\n]*\n(.*?)^ *```")
	spanPattern       = regexp.MustCompile("`([^`\n]+)`")
	targetPattern     = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	makePattern       = regexp.MustCompile(`(?m)(?:^|&& |[A-Z_]+=\S* )make ([a-z][a-z0-9-]*)`)
	usagePattern      = regexp.MustCompile(`(?m)^  docket ([a-z]+)(.*?)(?:  |$)`)
	commandPattern    = regexp.MustCompile(`(?m)(?:^|&& |/|[A-Z_]+=\S* )docket ([a-z]+)(?: ([a-z]+))?`)
	wordPattern       = regexp.MustCompile(`[a-z]+`)
	testPattern       = regexp.MustCompile(`^Test[A-Z]\w*$`)
	declaredPattern   = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	namedBlockPattern = regexp.MustCompile("(?ms)^```tsx? (\\S+)\n(.*?)^```$")
	assignmentPattern = regexp.MustCompile(`(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$`)
)

func TestMakeTargetsNamedInDocumentsExist(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, match := range targetPattern.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[match[1]] = true
	}
	for _, name := range markdown(t) {
		for _, match := range makePattern.FindAllStringSubmatch(code(read(t, name)), -1) {
			if !targets[match[1]] {
				t.Errorf("%s: there is no make %s", name, match[1])
			}
		}
	}
}

func TestCommandsNamedInDocumentsExist(t *testing.T) {
	t.Parallel()
	usage := map[string]string{}
	for _, match := range usagePattern.FindAllStringSubmatch(run(t, "go", "run", "./cmd/docket", "help"), -1) {
		usage[match[1]] = match[2]
	}
	if len(usage) == 0 {
		t.Fatal("docket help lists no commands")
	}
	for _, name := range markdown(t) {
		for _, match := range commandPattern.FindAllStringSubmatch(code(read(t, name)), -1) {
			arguments, exists := usage[match[1]]
			if !exists {
				t.Errorf("%s: there is no command docket %s", name, match[1])
			} else if verb := match[2]; verb != "" && !slices.Contains(wordPattern.FindAllString(arguments, -1), verb) {
				t.Errorf("%s: docket %s has no %s", name, match[1], verb)
			}
		}
	}
}

func TestTestsNamedInDocumentsExist(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	for _, name := range files(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, match := range declaredPattern.FindAllStringSubmatch(read(t, name), -1) {
				declared[match[1]] = true
			}
		}
	}
	named := 0
	for _, name := range markdown(t) {
		for _, match := range spanPattern.FindAllStringSubmatch(read(t, name), -1) {
			if test := match[1]; testPattern.MatchString(test) {
				named++
				if !declared[test] {
					t.Errorf("%s names %s, which does not exist", name, test)
				}
			}
		}
	}
	if named == 0 {
		t.Error("no document names a test, although docs/security.md should")
	}
}

func TestADRsHaveANumberThreeHeadingsAndAtMost40Lines(t *testing.T) {
	t.Parallel()
	numbers := map[string]string{}
	for _, name := range markdown(t) {
		if path.Dir(name) != "docs/adr" {
			continue
		}
		number, _, _ := strings.Cut(path.Base(name), "-")
		if other := numbers[number]; other != "" || len(number) != len("0001") {
			t.Errorf("%s needs a number of its own with four digits (%s)", name, other)
		}
		numbers[number] = name
		text := read(t, name)
		if lines := strings.Count(text, "\n"); lines > 40 {
			t.Errorf("%s has %d lines", name, lines)
		}
		for _, heading := range []string{"## Context", "## Decision", "## Consequences"} {
			if !strings.Contains(text, "\n"+heading+"\n") {
				t.Errorf("%s has no %s", name, heading)
			}
		}
	}
	if len(numbers) == 0 {
		t.Error("there are no ADRs")
	}
}

func TestEnvExampleNamesEveryVariable(t *testing.T) {
	t.Parallel()
	var want, got []string
	defaults := map[string]string{}
	for _, v := range config.Variables {
		want = append(want, v.Name)
		defaults[v.Name] = v.Default
	}
	for _, match := range assignmentPattern.FindAllStringSubmatch(read(t, ".env.example"), -1) {
		name, value := match[1], match[2]
		got = append(got, name)
		if defaults[name] != "" && value != defaults[name] {
			t.Errorf(".env.example: %s is %s by default, not %s", name, defaults[name], value)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf(".env.example names\n%v\nconfig.Variables has\n%v", got, want)
	}
}

// markdown lists the Markdown files.
func markdown(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(files(t), func(name string) bool { return path.Ext(name) != ".md" })
}

// code returns the code of a Markdown text: each line of a block, then each span on a line of its own.
func code(text string) string {
	var b strings.Builder
	for _, match := range fencePattern.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(match[1]) {
			b.WriteString(strings.TrimPrefix(strings.TrimLeft(line, " "), "$ "))
		}
	}
	for _, match := range spanPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		b.WriteString(match[1] + "\n")
	}
	return b.String()
}

// TestExampleIsShownAsItIs compares the blocks that are named after files of examples/nextjs with these files.
func TestExampleIsShownAsItIs(t *testing.T) {
	t.Parallel()
	const folder = "examples/nextjs/"
	example := map[string]bool{} // whether the file is shown
	for _, name := range files(t) {
		if strings.HasPrefix(name, folder) {
			example[name] = false
		}
	}
	for _, document := range []string{"README.md", "clients/typescript/README.md"} {
		for _, match := range namedBlockPattern.FindAllStringSubmatch(read(t, document), -1) {
			name := folder + match[1]
			if _, exists := example[name]; !exists {
				continue // the client's own tests run it
			}
			example[name] = true
			if match[2] != read(t, name) {
				t.Errorf("%s does not show %s as it is", document, name)
			}
		}
	}
	for name, shown := range example {
		scaffolded := slices.Contains([]string{"app/layout.tsx", "next.config.ts"}, strings.TrimPrefix(name, folder))
		if !shown && !scaffolded && strings.HasPrefix(path.Ext(name), ".ts") {
			t.Errorf("no README shows %s", name)
		}
	}
}
