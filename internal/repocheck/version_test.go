package repocheck_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

var (
	documentVersion = regexp.MustCompile(`(?m)^info:\n(?:  .*\n)*?  version: (\S+)$`)
	releasedVersion = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+\S*)\] - \d{4}-\d\d-\d\d$`)

	// named matches the names of release files and images, and what a Dockerfile or kustomize calls the version.
	named = regexp.MustCompile(`docket_(\d+\.\d+\.\d+)_|\bdocket:v?(\d+\.\d+\.\d+)|docket-client-(\d+\.\d+\.\d+)\.tgz|` +
		`newTag: ["']?v?(\d+\.\d+\.\d+)|ARG VERSION=v?(\d+\.\d+\.\d+)|(?:branch|tag --sign|origin) v(\d+\.\d+\.\d+)`)
)

// TestVersionIsTheSameEverywhere compares every place that names the version with openapi.yaml, which has it.
func TestVersionIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	document := read(t, "openapi.yaml")
	m := documentVersion.FindStringSubmatch(document)
	if m == nil {
		t.Fatal("openapi.yaml has no version")
	}
	version := m[1]
	if !strings.Contains(document, "\n                    version: "+version+"\n") {
		t.Errorf("openapi.yaml: the example of /health has another version than %s", version)
	}
	if log := releasedVersion.FindStringSubmatch(read(t, "CHANGELOG.md")); log != nil && log[1] != version {
		t.Errorf("CHANGELOG.md: the newest version is %s, want %s", log[1], version)
	}

	type lock struct {
		Version  string
		Packages map[string]struct{ Version string }
	}
	for name, packages := range map[string][]string{
		"clients/typescript/package.json":      nil,
		"clients/typescript/package-lock.json": {""},
		"examples/nextjs/package-lock.json":    {"node_modules/@docket/client"},
	} {
		var l lock
		if err := json.Unmarshal([]byte(read(t, name)), &l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.HasPrefix(name, "clients/") && l.Version != version {
			t.Errorf("%s has the version %s, want %s", name, l.Version, version)
		}
		for _, p := range packages {
			if l.Packages[p].Version != version {
				t.Errorf("%s: %q has the version %s, want %s", name, p, l.Packages[p].Version, version)
			}
		}
	}

	found := 0
	for _, name := range files(t) {
		if strings.HasPrefix(name, "docs/adr/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range named.FindAllStringSubmatch(read(t, name), -1) {
			found++
			if got := strings.Join(m[1:], ""); got != version {
				t.Errorf("%s names %s, want the version %s", name, m[0], version)
			}
		}
	}
	if found == 0 {
		t.Error("no file names a release, although docs/operations.md should")
	}
}

// TestGoVersionIsTheSameEverywhere compares .go-version, with which releases are built, with what else names a Go.
func TestGoVersionIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	version := strings.TrimSpace(read(t, ".go-version"))
	oldest := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.0$`).FindStringSubmatch(read(t, "go.mod"))
	if oldest == nil || !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) || !strings.HasPrefix(version, oldest[1]+".") {
		t.Errorf(".go-version is %q, want a patch release of go.mod's %v", version, oldest)
	}
	for _, name := range files(t) {
		if !strings.HasPrefix(name, ".github/") && !strings.Contains(name, "Dockerfile") && !strings.HasPrefix(name, "deploy/") {
			continue
		}
		text := read(t, name)
		for _, m := range regexp.MustCompile(`\bgolang:(\S+?)(?:-[a-z]\S*|@\S+)?(?:\s|$)`).FindAllStringSubmatch(text, -1) {
			if m[1] != version && m[1] != "${GO_VERSION}" {
				t.Errorf("%s has Go %s, want %s", name, m[1], version)
			}
		}
		for _, m := range regexp.MustCompile(`ARG GO_VERSION=(\S+)`).FindAllStringSubmatch(text, -1) {
			if m[1] != version {
				t.Errorf("%s has Go %s, want %s", name, m[1], version)
			}
		}
		for _, m := range regexp.MustCompile(`go-version(?:-file)?: (\S+)`).FindAllStringSubmatch(text, -1) {
			if m[1] != ".go-version" {
				t.Errorf("%s takes Go from %s, want .go-version", name, m[1])
			}
		}
	}
}
