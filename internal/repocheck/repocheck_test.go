package repocheck_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.." // the repository, seen from this package

func TestNoFileHasAPrivatePathOrASecret(t *testing.T) {
	t.Parallel()
	for _, name := range files(t) {
		text := read(t, name)
		for what := range private {
			if line := findPrivate(what, text); line > 0 {
				t.Errorf("%s:%d has %s", name, line, what)
			}
		}
	}
}

func TestPrivatePatternsMatch(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"a private path":         " /ho" + "me/ada/docket",
		"a private key":          "-----BEGIN " + "EC PRIVATE KEY-----",
		"a token of a provider":  "ghp" + "_0123456789abcdefghijABCDEFGHIJ012345",
		"a signed token":         "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0." + "0123456789abcdefghij0123456789",
		"the host of a registry": `"resolved"` + `: "https://registry.example/x.tgz"`,
	} {
		if findPrivate(what, text) == 0 {
			t.Errorf("%s is not found in %q", what, text)
		}
	}
}

// private are patterns of text that must not be published. None of them matches its own source. A file is searched for
// a pattern only if it contains one of the pattern's words, because searching all files would take too long.
var private = map[string]struct {
	words   []string
	pattern *regexp.Regexp
}{
	"a private path": {
		[]string{"home/", "root/", "work/", "Users/"},
		regexp.MustCompile(`(?:^|[^\w.)\]}>~-])/(home|root|work|Users)/`),
	},
	"a private key": {
		[]string{"PRIVATE KEY"},
		regexp.MustCompile(`BEGIN [A-Z ]*PRIVATE KEY`),
	},
	"a token of a provider": {
		[]string{"ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "npm_", "npg_", "sk_live_", "xox", "AKIA"},
		regexp.MustCompile(`\b(gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{40}|npm_[A-Za-z0-9]{36}|npg_[A-Za-z0-9]{10}|sk_live_\w{20}|xox[abp]-\w{10}|AKIA[A-Z0-9]{16})`),
	},
	"a signed token": {
		[]string{"eyJ"},
		regexp.MustCompile(`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}`),
	},
	"the host of a registry": {
		[]string{`"resolved"`},
		regexp.MustCompile(`"resolved": *"http`),
	},
}

// findPrivate returns the line of the first match, or 0.
func findPrivate(what, text string) int {
	p := private[what]
	if !slices.ContainsFunc(p.words, func(word string) bool { return strings.Contains(text, word) }) {
		return 0
	}
	found := p.pattern.FindStringIndex(text)
	if found == nil {
		return 0
	}
	return strings.Count(text[:found[0]], "\n") + 1
}

// files lists the files that git tracks or would add, by their path from the root.
func files(t *testing.T) []string {
	t.Helper()
	var names []string
	for name := range strings.SplitSeq(run(t, "git", "ls-files", "-coz", "--exclude-standard"), "\x00") {
		info, err := os.Lstat(filepath.Join(root, name))
		if name != "" && err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// `go test` caches a result until a file that the test itself opened changes. It does not notice the files that git
	// reads, so read each folder here: a new file changes it.
	for i, name := range names {
		if dir := filepath.Dir(name); i == 0 || dir != filepath.Dir(names[i-1]) {
			if _, err := os.ReadDir(filepath.Join(root, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return names
}

// read returns the text of a file, named by its path from the root.
func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// run returns what a command prints in the root.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}
