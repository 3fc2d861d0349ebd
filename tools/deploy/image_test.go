package deploy

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerfiles are the Dockerfiles with the files that say what their builders get.
var dockerfiles = map[string]string{
	"Dockerfile": ".dockerignore", "examples/nextjs/Dockerfile": "examples/nextjs/Dockerfile.dockerignore",
}

// baseImages takes the place of a registry: every base image exists, and its configuration is empty.
type baseImages struct{}

func (baseImages) ResolveImageConfig(_ context.Context, ref string, o sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	if o.ImageOpt != nil && o.ImageOpt.Platform != nil {
		platform = *o.ImageOpt.Platform
	}
	config, err := json.Marshal(ocispecs.Image{Platform: platform})
	return ref, digest.FromBytes(config), config, err
}

// options are those of a build of the file for a platform.
func options(t testing.TB, text []byte, name, architecture string, args map[string]string) dockerfile2llb.ConvertOpt {
	t.Helper()
	source := llb.NewSourceMap(nil, name, "Dockerfile", text)
	empty, err := llb.Scratch().Marshal(t.Context())
	check(t, err)
	source.Definition = empty
	o := dockerfile2llb.ConvertOpt{
		MetaResolver:   baseImages{},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: architecture},
		SourceMap:      source,
	}
	o.BuildPlatforms = []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}}
	o.BuildArgs = args
	return o
}

// stages parses a Dockerfile.
func stages(t testing.TB, name string) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, name)))
	check(t, err)
	all, _, err := instructions.Parse(parsed.AST, nil)
	check(t, err)
	return all
}

func TestDockerfilesHaveNoWarnings(t *testing.T) {
	t.Parallel()
	for name := range dockerfiles {
		text := []byte(read(t, name))
		results, err := dockerfile2llb.DockerfileLint(t.Context(), text, options(t, text, name, "arm64", nil))
		check(t, err)
		for _, warning := range results.Warnings {
			t.Errorf("%s: %s: %s (%s)", name, warning.RuleName, warning.Detail, warning.URL)
		}
		if results.Error != nil {
			t.Errorf("%s cannot be built: %s", name, results.Error.Message)
		}
	}
	bad := []byte("FROM scratch\nCMD serve\n")
	results, err := dockerfile2llb.DockerfileLint(t.Context(), bad, options(t, bad, "bad", "amd64", nil))
	if err != nil || len(results.Warnings) == 0 {
		t.Errorf("the linter finds nothing in a Dockerfile that is bad: %v", err)
	}
}

func TestImageIsConfiguredToServeWithoutRights(t *testing.T) {
	t.Parallel()
	text := []byte(read(t, "Dockerfile"))
	result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), text, options(t, text, "Dockerfile", "arm64", map[string]string{"VERSION": "1.2.3", "COMMIT": "abc"}))
	check(t, err)
	if result.BaseImage != nil || result.Image.Architecture != "arm64" {
		t.Errorf("the image is based on %v, for %s", result.BaseImage, result.Image.Architecture)
	}
	c := result.Image.Config
	if want := fmt.Sprintf("%d:%d", user, user); c.User != want {
		t.Errorf("user %s, want %s", c.User, want)
	}
	if !slices.Equal(c.Entrypoint, []string{"/docket"}) || !slices.Equal(c.Cmd, []string{"serve"}) {
		t.Errorf("it runs %v %v", c.Entrypoint, c.Cmd)
	}
	if _, port, _ := strings.Cut(variables(t)["ADDR"], ":"); !maps.Equal(c.ExposedPorts, map[string]struct{}{port + "/tcp": {}}) {
		t.Errorf("ports %v", c.ExposedPorts)
	}
	if h := c.Healthcheck; h == nil || !slices.Equal(h.Test, []string{"CMD", "/docket", "health"}) || h.Timeout <= 3*time.Second || h.Interval < h.Timeout {
		t.Errorf("health check %+v", h)
	}
	if c.Labels["org.opencontainers.image.version"] != "1.2.3" || c.Labels["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("labels %v", c.Labels)
	}
	if want := strings.TrimSpace(read(t, ".go-version")); !strings.Contains(string(text), "\nARG GO_VERSION="+want+"\n") {
		t.Errorf("the Dockerfile builds with another Go than %s", want)
	}
}

// buildContext copies the files that a builder gets into a new folder, and returns it.
func buildContext(t testing.TB, ignore string) string {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, ignore)))
	check(t, err)
	matcher, err := patternmatcher.New(patterns)
	check(t, err)
	list := exec.Command("git", "ls-files", "-coz", "--exclude-standard") // a builder also gets others that are not ignored
	list.Dir = root
	names, err := list.Output()
	check(t, err)
	folder := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		ignored, err := matcher.MatchesOrParentMatches(name)
		check(t, err)
		content, err := os.ReadFile(filepath.Join(root, name))
		if ignored || err != nil { // it was deleted
			continue
		}
		check(t, os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755))
		check(t, os.WriteFile(filepath.Join(folder, name), content, 0o644))
	}
	return folder
}

func TestBuildersGetWhatTheDockerfilesCopyAndNoMore(t *testing.T) {
	t.Parallel()
	for name, ignore := range dockerfiles {
		folder := buildContext(t, ignore)
		for _, stage := range stages(t, name) {
			for _, command := range stage.Commands {
				copied, is := command.(*instructions.CopyCommand)
				if !is || copied.From != "" {
					continue
				}
				for _, source := range copied.SourcePaths {
					if _, err := os.Stat(filepath.Join(folder, source)); err != nil {
						t.Errorf("%s copies %s, which %s keeps from the builder", name, source, ignore)
					}
				}
			}
		}
		check(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			base := filepath.Base(path)
			if strings.HasPrefix(base, ".env") || base == "node_modules" || strings.HasSuffix(base, "_test.go") || base == ".git" {
				t.Errorf("%s lets %s pass", ignore, path)
			}
			return err
		}))
	}
}

// The command of the Dockerfile is run, with the files that it gets.
func TestImageIsBuiltFromWhatTheBuilderGets(t *testing.T) {
	t.Parallel()
	var command string
	for _, stage := range stages(t, "Dockerfile") {
		for _, c := range stage.Commands {
			if run, is := c.(*instructions.RunCommand); is && strings.Contains(strings.Join(run.CmdLine, " "), "go build") {
				command = strings.Join(run.CmdLine, " ")
			}
		}
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "docket")
	script := strings.ReplaceAll(command, "/out/", dir+"/")
	if script == command {
		t.Fatalf("the Dockerfile builds with %q", command)
	}
	build := exec.Command("/bin/sh", "-c", script)
	build.Dir = buildContext(t, ".dockerignore")
	build.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH=amd64", "VERSION=1.2.3-test", "COMMIT=abc")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, text)
	}
	content, err := os.ReadFile(out)
	check(t, err)
	if !bytes.Contains(content, []byte("1.2.3-test")) {
		t.Error("the binary has not the version of the build argument")
	}
	if bytes.Contains(content, []byte("/ld-linux")) {
		t.Error("the binary is linked dynamically")
	}

	// The texts of the licenses must go with the binary.
	info, err := buildinfo.ReadFile(out)
	check(t, err)
	licenses, err := os.ReadFile(filepath.Join(dir, "THIRD-PARTY-LICENSES.txt"))
	check(t, err)
	for _, m := range info.Deps {
		if !bytes.Contains(licenses, []byte("\n"+m.Path+" "+m.Version+": ")) {
			t.Errorf("the text of the license of %s is missing", m.Path)
		}
	}
	all := stages(t, "Dockerfile")
	var copied []string
	for _, c := range all[len(all)-1].Commands {
		if c, is := c.(*instructions.CopyCommand); is && c.DestPath == "/licenses/" {
			copied = append(copied, c.SourcePaths...)
		}
	}
	if want := []string{"LICENSE", "docs/third-party.md", "/out/THIRD-PARTY-LICENSES.txt"}; len(info.Deps) == 0 || !slices.Equal(copied, want) {
		t.Errorf("the image has the licenses %v, want %v", copied, want)
	}
}
