//go:build unix

// Package release_test builds the files of a release as `make release` does, looks at them, and goes from them to a running
// service with the commands of docs/operations.md.
package release_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
)

var all = flag.Bool("all", false, "build all platforms instead of this one, and the second time without a build cache")

func TestMain(m *testing.M) {
	flag.Parse()
	code := testenv.Main(m)
	os.RemoveAll(releases.dir)
	os.Exit(code)
}

// releases are the two releases that the tests look at, each built from a clone of its own of one commit.
var releases struct {
	once    sync.Once
	dir     string
	err     error
	commit  string
	version string
	first   string // folder with the files of the release
	second  string
}

// commitTime is the time of the commit that is released.
var commitTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// build builds the two releases, once.
func build(t *testing.T) {
	t.Helper()
	r := &releases
	r.once.Do(func() {
		if r.dir, r.err = os.MkdirTemp("", "docket-release-test-"); r.err != nil {
			return
		}
		if r.err = os.Chmod(r.dir, 0o755); r.err != nil {
			return
		}
		r.err = buildTwice(r.dir)
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
}

func buildTwice(dir string) error {
	r := &releases
	repository := filepath.Join(dir, "repository")
	if err := commitFiles(repository); err != nil {
		return err
	}
	commit, err := shell(repository, nil, "git rev-parse HEAD")
	if err != nil {
		return err
	}
	r.commit = strings.TrimSpace(commit)
	document, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		return err
	}
	r.version = string(regexp.MustCompile(`(?m)^  version: (\S+)$`).FindSubmatch(document)[1])

	// What a second person does differently. Neither the folder, nor the modes of files, nor settings may be in a release.
	script := `git clone --quiet "$REPOSITORY" "$CLONE" && make --silent -C "$CLONE" release TAG=v` + r.version
	if !*all {
		script += fmt.Sprintf(` ARGS="-platforms %s/%s"`, runtime.GOOS, runtime.GOARCH)
	}
	r.first, r.second = filepath.Join(dir, "a", "dist"), filepath.Join(dir, "another-and-longer-path", "to", "docket", "dist")
	firstly := []string{"TZ=UTC", "LC_ALL=C"}
	secondly := []string{"TZ=Pacific/Apia", "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=1", "NODE_ENV=production"} // npm leaves out tsc
	settings, err := goSettings(dir, "GOEXPERIMENT=nogreenteagc")                                           // by go env -w, and in the environment
	if err != nil {
		return err
	}
	secondly = append(secondly, "GOENV="+settings, "GOEXPERIMENT=nogreenteagc")
	if *all {
		secondly = append(secondly, "GOCACHE="+filepath.Join(dir, "cache"), "GOAMD64=v2", "GOFLAGS=-tags=something", "CGO_ENABLED=1")
	}
	if _, err := shell(dir, append(firstly, "REPOSITORY="+repository, "CLONE="+filepath.Dir(r.first)), "umask 022; "+script); err != nil {
		return err
	}
	_, err = shell(dir, append(secondly, "REPOSITORY="+repository, "CLONE="+filepath.Dir(r.second)), "umask 077; "+script)
	return err
}

// goSettings writes a file as `go env -w` does, with what is there and another line, and returns its path.
func goSettings(dir, line string) (string, error) {
	path, err := shell(dir, nil, `cat "$(go env GOENV)" > settings 2> /dev/null || true; echo '`+line+`' >> settings; echo "$PWD/settings"`)
	return strings.TrimSpace(path), err
}

// commitFiles makes a repository of the files of this one, whether they are committed or not. Its changelog has a section
// for the version, which the changelog here has when there is a release.
func commitFiles(repository string) error {
	list, err := shell("../..", nil, "git ls-files -coz --exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, but not yet from the index
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join("../..", name))
		if err != nil {
			return err
		}
		to := filepath.Join(repository, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, info.Mode())); err != nil {
			return err
		}
	}
	_, err = shell(repository, []string{"TIME=" + commitTime.Format(time.RFC3339)}, `
		version=$(sed -n 's/^  version: //p' openapi.yaml)
		grep -q "^## \[$version\] - " CHANGELOG.md || { echo; echo "## [$version] - 2026-01-02"; echo; echo 'The notes.'; } >> CHANGELOG.md
		export GIT_AUTHOR_DATE=$TIME GIT_COMMITTER_DATE=$TIME GIT_CONFIG_GLOBAL=/dev/null
		git init --quiet && git add --all && git -c user.name=test -c user.email=test@example.com commit --quiet --message test`)
	return err
}

// shell runs a script in a folder, with further environment variables, and returns its standard output.
func shell(dir string, variables []string, script string) (string, error) {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variables...)
	// A test that go or make runs must not hand their own settings on.
	cmd.Env = slices.DeleteFunc(cmd.Env, func(variable string) bool {
		return strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "GIT_DIR=")
	})
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", script, err, out, &stderr)
	}
	return string(out), nil
}

// platforms returns the platforms of the releases.
func platforms() []string {
	if *all {
		return []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"}
	}
	return []string{runtime.GOOS + "_" + runtime.GOARCH}
}

func archiveName(platform string) string { return "docket_" + releases.version + "_" + platform }

// TestReleaseIsTheSameFromTwoClones compares the bytes of two releases that were built in different folders, with
// different modes of files, time zones and languages; with -all also without a build cache and with other settings of Go.
func TestReleaseIsTheSameFromTwoClones(t *testing.T) {
	t.Parallel()
	build(t)
	want := []string{"checksums.txt", "docket-client-" + releases.version + ".tgz", "notes.md"}
	for _, platform := range platforms() {
		want = append(want, archiveName(platform)+".cdx.json", archiveName(platform)+".tar.gz")
	}
	slices.Sort(want)
	for _, dir := range []string{releases.first, releases.second} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if !slices.Equal(names, want) {
			t.Fatalf("the release has the files %v, want %v", names, want)
		}
	}
	for _, name := range want {
		if !bytes.Equal(read(t, releases.first, name), read(t, releases.second, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestReleaseHoldsWhatItSays looks into each file of a release.
func TestReleaseHoldsWhatItSays(t *testing.T) {
	t.Parallel()
	build(t)
	out, err := shell(releases.first, nil, "sha256sum --check checksums.txt || shasum --algorithm 256 --check checksums.txt")
	if err != nil {
		t.Error(err)
	} else if n := strings.Count(out, ": OK\n"); n != 2*len(platforms())+1 {
		t.Errorf("checksums.txt has %d files:\n%s", n, out)
	}
	for _, platform := range platforms() {
		t.Run(platform, func(t *testing.T) {
			files := unpack(t, read(t, releases.first, archiveName(platform)+".tar.gz"))
			name := archiveName(platform) + "/"
			for _, file := range []string{"LICENSE", "CHANGELOG.md", ".env.example", "openapi.yaml", "docs/operations.md", "docs/third-party.md"} {
				if _, ok := files[name+file]; !ok {
					t.Errorf("the archive has no %s", file)
				}
			}
			for file := range files {
				if !strings.HasPrefix(file, name) {
					t.Errorf("%s is not in the folder %s", file, name)
				}
			}
			binary := filepath.Join(t.TempDir(), "docket")
			if err := os.WriteFile(binary, files[name+"docket"], 0o755); err != nil {
				t.Fatal(err)
			}
			inspect(t, platform, binary, string(files[name+"THIRD-PARTY-LICENSES.txt"]))
		})
	}
	t.Run("npm", func(t *testing.T) {
		files := unpack(t, read(t, releases.first, "docket-client-"+releases.version+".tgz"))
		var manifest struct{ Name, Version string }
		if err := json.Unmarshal(files["package/package.json"], &manifest); err != nil {
			t.Fatal(err)
		}
		if manifest.Name != "@docket/client" || manifest.Version != releases.version {
			t.Errorf("the package is %+v", manifest)
		}
		for _, file := range []string{"LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "dist/cjs/index.js", "dist/cjs/package.json"} {
			if len(files["package/"+file]) == 0 {
				t.Errorf("the package has no %s", file)
			}
		}
	})
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// unpack returns the files of an archive by name, and fails the test if one does not have the owner, the time or the mode
// that files of a release have.
func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(compressed); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0o644)
		if path.Base(header.Name) == "docket" || path.Ext(header.Name) == ".sh" {
			want = 0o755
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || !header.ModTime.Equal(commitTime) || header.Mode != want {
			t.Errorf("%s belongs to %d:%d %q, is of %v and has the mode %o", header.Name, header.Uid, header.Gid, header.Uname,
				header.ModTime.UTC(), header.Mode)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

// inspect compares a binary with its platform, its bill of materials and the texts of licenses.
func inspect(t *testing.T, platform, binary, licenses string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["GOOS"]+"_"+settings["GOARCH"] != platform || settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
		t.Errorf("the binary of %s is built with %v", platform, settings)
	}
	if got := machine(t, platform, binary); !strings.HasSuffix(platform, got) {
		t.Errorf("the binary of %s is machine code for %s", platform, got)
	}
	goVersion := "go" + strings.TrimSpace(string(read(t, "../..", ".go-version")))
	if info.GoVersion != goVersion {
		t.Errorf("the binary is built with %s, want %s", info.GoVersion, goVersion)
	}

	// Known vulnerabilities are looked up by what the bill lists: each module, and no other.
	want := []string{"std " + strings.TrimPrefix(goVersion, "go")}
	for _, m := range info.Deps {
		want = append(want, m.Path+" "+m.Version)
	}
	bill := read(t, releases.first, archiveName(platform)+".cdx.json")
	validate(t, bill)
	var parsed struct {
		Metadata struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version string
			Hashes        []any
			Properties    []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal(bill, &parsed); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range parsed.Components {
		if len(c.Hashes) > 0 {
			t.Errorf("%s has hashes, and is no file", c.Name)
		}
		if i < len(info.Deps) && (len(c.Properties) != 1 || c.Properties[0].Value != info.Deps[i].Sum) {
			t.Errorf("%s has the properties %v, want the sum %s", c.Name, c.Properties, info.Deps[i].Sum)
		}
		got = append(got, c.Name+" "+c.Version)
		if !strings.Contains(licenses, "\n"+c.Name+" "+c.Version+": ") {
			t.Errorf("the text of the license of %s is missing", c.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the bill of materials lists\n%v\nwant\n%v", got, want)
	}
	if m := parsed.Metadata; m.Component.Name != "docket" || m.Component.Version != "v"+releases.version ||
		m.Timestamp != commitTime.Format(time.RFC3339) {
		t.Errorf("the bill of materials is of %+v", m)
	}

	if platform != runtime.GOOS+"_"+runtime.GOARCH {
		return // only inspected: this machine cannot execute it
	}
	out, err := exec.Command(binary, "version").Output()
	line := fmt.Sprintf("docket %s (%s, %s/%s, commit %s)\n", releases.version, goVersion, runtime.GOOS, runtime.GOARCH, releases.commit)
	if err != nil || string(out) != line {
		t.Errorf("docket version: %v, %q, want %q", err, out, line)
	}
}

// machine returns the architecture in the header of a binary.
func machine(t *testing.T, platform, binary string) string {
	t.Helper()
	content := read(t, filepath.Dir(binary), filepath.Base(binary))
	if strings.HasPrefix(platform, "darwin") {
		file, err := macho.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[file.Cpu]
	}
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary needs the libraries %v (%v)", libraries, err)
	}
	return map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[file.Machine]
}

// validate checks a bill of materials against the published schema of its format.
func validate(t *testing.T, bill []byte) {
	t.Helper()
	dir, err := shell("../../tools", nil, "go list -m -f '{{.Dir}}' github.com/CycloneDX/cyclonedx-go")
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(read(t, filepath.Join(strings.TrimSpace(dir), "schema"), file)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bill))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	// The schema finds what is wrong.
	component := document.(map[string]any)["components"].([]any)[0].(map[string]any)
	component["licenses"] = []any{map[string]any{"license": map[string]any{"id": "Free"}}}
	if schema.Validate(document) == nil {
		t.Error("a license that SPDX does not know is accepted")
	}
}

// TestReleaseIsRefused shows what no release is built from.
func TestReleaseIsRefused(t *testing.T) {
	t.Parallel()
	build(t)
	clone := filepath.Join(dbtest.Dir(t), "clone")
	if _, err := shell(".", nil, "git clone --quiet '"+filepath.Join(releases.dir, "repository")+"' '"+clone+"'"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ change, tag, want string }{
		"another tag":           {"true", "v9.9.9", `the tag is "v9.9.9", and openapi.yaml says that the version is `},
		"no notes":              {"echo > CHANGELOG.md && " + commit, "v" + releases.version, "CHANGELOG.md has no section"},
		"uncommitted changes":   {"echo >> CHANGELOG.md", "", " M CHANGELOG.md"},
		"another version of Go": {"echo 1.0.1 > .go-version && " + commit, "", "releases are built with go1.0.1"},
	} {
		script := c.change + " && GOTOOLCHAIN=go" + strings.TrimSpace(string(read(t, "../..", ".go-version"))) +
			" go -C tools run ./release -out ../dist -tag '" + c.tag + "'"
		if _, err := shell(clone, nil, script); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
		if _, err := shell(clone, nil, "git reset --quiet --hard origin/HEAD && [ ! -e dist ]"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTagIsNoCommand shows that what a user gives as a tag is not executed.
func TestTagIsNoCommand(t *testing.T) {
	t.Parallel()
	build(t)
	clone := filepath.Join(dbtest.Dir(t), "clone")
	if _, err := shell(".", nil, "git clone --quiet '"+filepath.Join(releases.dir, "repository")+"' '"+clone+"'"); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{
		"v1; touch tools/made", "v1\"; touch tools/made; \"", "$(touch tools/made)", "`touch tools/made`", "$(shell touch tools/made)",
	} {
		_, err := shell(clone, []string{"TAG=" + tag}, "make --silent release")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the tag is %q", tag)) {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if _, err := shell(clone, nil, `[ -z "$(git status --porcelain)" ]`); err != nil {
		t.Error(err)
	}
}

const commit = "git -c user.name=test -c user.email=test@example.com commit --quiet --all --message test"
