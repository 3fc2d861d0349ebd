package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"docket/internal/config"
)

const (
	root   = "../.." // of the repository, seen from here
	module = "docket"
)

// arrows says which of our packages each of them may import. A package that is not here may not exist: decide first
// what it is to know. Tests may import what they like.
var arrows = map[string][]string{
	"docket":                  {},
	"docket/cmd/docket":       everythingButTests,
	"docket/internal/api":     {"docket/internal/rfc3339"}, // a type of the contract, named there by x-go-type
	"docket/internal/auth":    {},
	"docket/internal/config":  {},
	"docket/internal/devdb":   {},
	"docket/internal/house":   {},
	"docket/internal/rfc3339": {},
	"docket/internal/server": {
		"docket", "docket/internal/api", "docket/internal/auth", "docket/internal/rfc3339", "docket/internal/store",
		"docket/migrations", // for the schema's version
	},
	"docket/internal/store": {},
	"docket/migrations":     {},

	// What measures the service and is no part of it.
	"docket/bench": {
		"docket/bench/baseline", "docket/bench/figure", "docket/bench/load", "docket/bench/wire",
		"docket/internal/auth", "docket/internal/devdb", "docket/internal/pgbouncer", "docket/internal/server",
		"docket/internal/store", "docket/migrations",
	},
	"docket/bench/bare":     {"docket/bench/baseline"},
	"docket/bench/baseline": {},
	"docket/bench/figure":   {},
	"docket/bench/load":     {},
	"docket/bench/wire":     {},

	// For tests, and for what measures.
	"docket/internal/pgbouncer": {},

	// For tests alone.
	"docket/contract":           {"docket"},
	"docket/contract/matrix":    {"docket/contract"},
	"docket/e2e/internal/stage": {"docket/contract", "docket/internal/dbtest"},
	"docket/internal/dbtest":    {"docket/internal/devdb", "docket/internal/pgbouncer", "docket/migrations"},
}

var (
	everythingButTests = []string{
		"docket", "docket/internal/api", "docket/internal/auth", "docket/internal/config", "docket/internal/devdb",
		"docket/internal/rfc3339", "docket/internal/server", "docket/internal/store", "docket/migrations",
	}

	// forTests are the packages that nothing but tests, and one another, may import.
	forTests = []string{"docket/contract", "docket/contract/matrix", "docket/e2e/internal/stage", "docket/internal/dbtest", "docket/internal/house"}

	// ofDevdb are the packages that may start a database.
	ofDevdb = []string{"docket/bench", "docket/cmd/docket", "docket/internal/dbtest"}
)

func TestPackagesImportOnlyWhatTheArrowsAllow(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		allowed, known := arrows[p.ImportPath]
		if !known && len(p.GoFiles) > 0 {
			t.Errorf("%s is not in the table of arrows: decide what it may import", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if ours(imported) && !slices.Contains(allowed, imported) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
		}
	}
}

func TestArrowsNameNoPackageThatIsGone(t *testing.T) {
	t.Parallel()
	var there []string
	for _, p := range packages(t) {
		there = append(there, p.ImportPath)
	}
	for name := range arrows {
		if !slices.Contains(there, name) {
			t.Errorf("there is no package %s", name)
		}
	}
}

func TestOnlyTestsImportTheTestPackages(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if slices.Contains(forTests, imported) && !slices.Contains(forTests, p.ImportPath) {
				t.Errorf("%s is not a test and imports %s", p.ImportPath, imported)
			}
		}
	}
}

func TestOnlyDevBenchAndTestsStartADatabase(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if slices.Contains(p.Imports, "docket/internal/devdb") && !slices.Contains(ofDevdb, p.ImportPath) {
			t.Errorf("%s must not import docket/internal/devdb", p.ImportPath)
		}
	}
}

func TestServedBinaryLinksNoTestPackage(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields(string(run(t, "go", "list", "-deps", "./cmd/docket"))) {
		if name == "testing" || slices.Contains(forTests, name) {
			t.Errorf("cmd/docket depends on %s", name)
		}
	}
}

func TestMarkdownLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range markdown(t) {
		text := prose(read(t, name))
		for _, match := range linkPattern.FindAllStringSubmatch(text, -1) {
			target := match[1] + match[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			if file == "" {
				file = name
			} else {
				file = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", name, target)
			} else if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: the link %s names a heading that is not there", name, target)
			}
		}
	}
}

func TestEveryMakeTargetNamedInTheDocumentsExists(t *testing.T) {
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

func TestEveryCommandNamedInTheDocumentsExists(t *testing.T) {
	t.Parallel()
	known := commands(t)
	for _, name := range markdown(t) {
		for _, match := range commandPattern.FindAllStringSubmatch(code(read(t, name)), -1) {
			usage, there := known[match[1]]
			if !there {
				t.Errorf("%s: there is no command docket %s", name, match[1])
			} else if verb := match[2]; verb != "" && !slices.Contains(wordPattern.FindAllString(usage, -1), verb) {
				t.Errorf("%s: docket %s has no %s", name, match[1], verb)
			}
		}
	}
}

func TestMarkdownLinesAreAtMost120CharactersLong(t *testing.T) {
	t.Parallel()
	for _, name := range markdown(t) {
		for i, line := range strings.Split(read(t, name), "\n") {
			// The row of a table cannot be broken.
			if utf8.RuneCountInString(line) > 120 && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d is longer than 120 characters", name, i+1)
			}
		}
	}
}

func TestADRsAreAtMost40LinesLongAndHaveANumberOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range markdown(t) {
		if path.Dir(name) != "docs/adr" {
			continue
		}
		number, _, _ := strings.Cut(path.Base(name), "-")
		if other := seen[number]; other != "" || len(number) != len("0001") {
			t.Errorf("%s needs a number of its own, of four digits (%s)", name, other)
		}
		seen[number] = name
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
	if len(seen) == 0 {
		t.Error("there are no ADRs")
	}
}

func TestEnvExampleNamesExactlyTheVariablesThatAreRead(t *testing.T) {
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

func TestOperationsListsExactlyTheVariablesThatAreRead(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| Variable | Default | Meaning |\n| --- | --- | --- |\n")
	for _, v := range config.Variables {
		value := ""
		if v.Default != "" {
			value = "`" + v.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", v.Name, value, v.Help)
	}
	_, section, _ := strings.Cut(read(t, "docs/operations.md"), "\n## Environment\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !strings.Contains(section, "\n"+want.String()+"\n") {
		t.Errorf("docs/operations.md: the table under ## Environment must be\n%s", &want)
	}
}

func TestNoFileHoldsAPrivatePathOrASecret(t *testing.T) {
	t.Parallel()
	for _, name := range files(t) {
		text := read(t, name)
		for what, pattern := range private {
			if found := pattern.FindStringIndex(text); found != nil {
				t.Errorf("%s:%d holds %s", name, strings.Count(text[:found[0]], "\n")+1, what)
			}
		}
	}
}

func TestPrivatePatternsFindWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"a private path":         " /ho" + "me/ada/docket",
		"a private key":          "-----BEGIN " + "EC PRIVATE KEY-----",
		"a token of a provider":  "ghp" + "_0123456789abcdefghijABCDEFGHIJ012345",
		"a signed token":         "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0." + "0123456789abcdefghij0123456789",
		"the host of a registry": `"resolved"` + `: "https://registry.example/x.tgz"`,
	} {
		if !private[what].MatchString(text) {
			t.Errorf("%s is not found in %q", what, text)
		}
	}
}

func TestEveryExportedIdentifierHasADocComment(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			parsed := parse(t, filepath.Join(p.Dir, file))
			if ast.IsGenerated(parsed) {
				continue
			}
			for _, name := range undocumented(parsed) {
				t.Errorf("%s: %s in %s has no doc comment", p.ImportPath, name, file)
			}
		}
	}
}

// private is what must not leave this machine, by name. None of the patterns matches itself.
var private = map[string]*regexp.Regexp{
	"a private path":         regexp.MustCompile(`(?:^|[^\w.)\]}>~-])/(home|root|work|Users)/`),
	"a private key":          regexp.MustCompile(`BEGIN [A-Z ]*PRIVATE KEY`),
	"a token of a provider":  regexp.MustCompile(`\b(gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{40}|npm_[A-Za-z0-9]{36}|npg_[A-Za-z0-9]{10}|sk_live_\w{20}|xox[abp]-\w{10}|AKIA[A-Z0-9]{16})`),
	"a signed token":         regexp.MustCompile(`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}`),
	"the host of a registry": regexp.MustCompile(`"resolved": *"http`),
}

var (
	linkPattern       = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)|(?m)^\[[^\]]+\]: (\S+)`)
	fencePattern      = regexp.MustCompile("(?ms)^ *```[^\n]*\n(.*?)^ *```")
	spanPattern       = regexp.MustCompile("`([^`\n]+)`")
	targetPattern     = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makePattern       = regexp.MustCompile(`(?m)(?:^|&& |[A-Z_]+=\S* )make ([a-z][a-z-]*)`)
	commandPattern    = regexp.MustCompile(`(?m)(?:^|&& |/|[A-Z_]+=\S* )docket ([a-z]+)(?: ([a-z]+))?`)
	wordPattern       = regexp.MustCompile(`[a-z]+`)
	assignmentPattern = regexp.MustCompile(`(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$`)
)

// prose is a document without its code.
func prose(text string) string {
	return spanPattern.ReplaceAllString(fencePattern.ReplaceAllString(text, ""), "")
}

// code is the code of a document, each span and each block's line a line.
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

// anchors are the fragments that a document's headings can be linked by.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(fencePattern.ReplaceAllString(text, "")) {
		marks := strings.TrimLeft(line, "#")
		if len(marks) == len(line) || !strings.HasPrefix(marks, " ") {
			continue
		}
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(marks)))
	}
	return all
}

// commands are the subcommands of docket with their usage, as they stand in cmd/docket/help.go: the package is main
// and cannot be imported.
func commands(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	ast.Inspect(parse(t, filepath.Join(root, "cmd/docket/help.go")), func(n ast.Node) bool {
		if literal, ok := n.(*ast.CompositeLit); ok && literal.Type == nil && len(literal.Elts) == 4 {
			name, usage := text(literal.Elts[0]), text(literal.Elts[1])
			if name != "" {
				all[name] = usage
			}
		}
		return true
	})
	if len(all) == 0 {
		t.Fatal("no commands found in cmd/docket/help.go")
	}
	return all
}

// text is the value of a string literal.
func text(e ast.Expr) string {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		value, _ := strconv.Unquote(literal.Value)
		return value
	}
	return ""
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// undocumented lists the exported functions, methods, types, constants and variables without a doc comment. In a group
// the comment of the group will do, and so will the constants' type: it says what they are.
func undocumented(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && ast.IsExported(receiver(d)) {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			typed := false
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
						names = append(names, s.Name.Name)
					}
				case *ast.ValueSpec:
					typed = s.Type != nil || typed && len(s.Values) == 0 // iota goes on
					for _, name := range s.Names {
						explained := d.Doc != nil || s.Doc != nil || s.Comment != nil || d.Tok == token.CONST && typed
						if name.IsExported() && !explained {
							names = append(names, name.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// receiver is the name of the type that a method belongs to, or of the function itself.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return d.Name.Name // generic: look at it
}

// listed is what `go list` says of a package.
type listed struct {
	Dir        string
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	var all []listed
	d := json.NewDecoder(bytes.NewReader(run(t, "go", "list", "-json=Dir,ImportPath,GoFiles,Imports", "./...")))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func ours(name string) bool { return name == module || strings.HasPrefix(name, module+"/") }

// files are those in git's view, tracked or about to be, from the root.
func files(t *testing.T) []string {
	t.Helper()
	var there []string
	for name := range strings.SplitSeq(string(run(t, "git", "ls-files", "-coz", "--exclude-standard")), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil && info.Mode().IsRegular() {
			there = append(there, name)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	slices.Sort(there)
	there = slices.Compact(there)
	// A look into each folder lets `go test` notice a new file. Otherwise it would give its cached answer.
	for i, name := range there {
		if dir := filepath.Dir(name); i == 0 || dir != filepath.Dir(there[i-1]) {
			if _, err := os.ReadDir(filepath.Join(root, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return there
}

func markdown(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(files(t), func(name string) bool { return path.Ext(name) != ".md" })
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// run gives what a command prints when it is run in the root.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return out
}
