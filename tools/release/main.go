// Command release builds the files of a release from the commit HEAD, as `make release` runs it. Two machines get the same
// bytes from the same commit: it builds a copy of the commit, with the Go that .go-version names and the npm packages of
// the lock file, and writes archives in one order, with one owner and the time of the commit.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is what is being built.
type release struct {
	version string    // such as 0.1.0
	commit  string    // its full hash
	time    time.Time // of the commit
	source  string    // folder with the commit's files
	work    string    // folder for what is built
	out     string    // folder for the files of the release
	log     io.Writer
}

func run(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(log)
	out := flags.String("out", "dist", "folder for the files of the release; what is in it is deleted")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "platforms, separated by commas")
	binary := flags.String("licenses", "", "binary of docket: only print the licenses of the modules that it is built from")
	tag := flags.String("tag", "", "tag of this release: it must be v and the version, which CHANGELOG.md must describe (writes notes.md)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *binary != "" {
		return printLicenses(ctx, *binary)
	}
	work, err := os.MkdirTemp("", "docket-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := release{work: work, source: filepath.Join(work, "source"), log: log}
	if r.out, err = filepath.Abs(*out); err != nil {
		return err
	}
	if err := r.checkOut(ctx); err != nil {
		return err
	}
	notes, err := r.notes(*tag)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(r.out), os.MkdirAll(r.out, 0o755)); err != nil {
		return err
	}
	for platform := range strings.SplitSeq(*platforms, ",") {
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("%q is no platform, such as linux/amd64", platform)
		}
		if err := r.platform(ctx, goos, goarch); err != nil {
			return err
		}
	}
	if err := r.npm(ctx); err != nil {
		return err
	}
	if err := r.checksums(); err != nil {
		return err
	}
	if notes != "" {
		return os.WriteFile(filepath.Join(r.out, "notes.md"), []byte(notes), 0o644)
	}
	return nil
}

// command runs a program in a folder and returns its standard output. Variables are added to the environment.
func (r *release) command(ctx context.Context, dir string, variables []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), variables...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, &stderr)
	}
	return strings.TrimRight(string(out), "\n"), nil
}

var versionPattern = regexp.MustCompile(`(?m)^info:\n(?:  .*\n)*?  version: (\d+\.\d+\.\d+\S*)$`)

// checkOut copies the commit's files to source, with the modes that git knows and no others, and sets what is known of it.
func (r *release) checkOut(ctx context.Context) error {
	root, err := r.command(ctx, "", nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	changes, err := r.command(ctx, root, nil, "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("a release is built from a commit: commit or remove these files\n%s", changes)
	}
	line, err := r.command(ctx, root, nil, "git", "show", "--no-patch", "--format=%H %ct", "HEAD")
	if err != nil {
		return err
	}
	commit, unix, _ := strings.Cut(line, " ")
	seconds, err := strconv.ParseInt(unix, 10, 64)
	if err != nil {
		return err
	}
	r.commit, r.time = commit, time.Unix(seconds, 0).UTC()

	archive := filepath.Join(r.work, "source.tar.gz")
	if _, err := r.command(ctx, root, nil, "git", "archive", "--format=tar.gz", "--output="+archive, commit); err != nil {
		return err
	}
	files, err := unpack(archive)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(r.source, filepath.FromSlash(f.name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, f.content, f.mode)); err != nil {
			return err
		}
	}
	document, err := os.ReadFile(filepath.Join(r.source, "openapi.yaml"))
	if err != nil {
		return err
	}
	version := versionPattern.FindSubmatch(document)
	if version == nil {
		return errors.New("openapi.yaml has no info.version, such as 0.1.0")
	}
	r.version = string(version[1])

	wanted, err := os.ReadFile(filepath.Join(r.source, ".go-version"))
	if err != nil {
		return err
	}
	if wanted := "go" + strings.TrimSpace(string(wanted)); toolchain() != wanted {
		return fmt.Errorf("this is %s, and .go-version says that releases are built with %s: run make release", toolchain(), wanted)
	}
	return nil
}

// toolchain returns the version of Go, without the experiments that this program is built with, as in go1.26.8-X:name.
func toolchain() string {
	version, _, _ := strings.Cut(runtime.Version(), "X:")
	return strings.TrimRight(version, " -")
}

// mode returns the mode of a file in a release: who may execute it is all that is taken from the given one.
func mode(m fs.FileMode) fs.FileMode {
	if m&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// notes returns the section of CHANGELOG.md for the version, if there is a tag, and an error if the tag is another one.
func (r *release) notes(tag string) (string, error) {
	if tag == "" {
		return "", nil
	}
	if tag != "v"+r.version {
		return "", fmt.Errorf("the tag is %q, and openapi.yaml says that the version is %s", tag, r.version)
	}
	log, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	section := regexp.MustCompile(`(?ms)^## \[` + regexp.QuoteMeta(r.version) + `\] - \d{4}-\d\d-\d\d\n(.*?)(?:^## |\z)`).FindSubmatch(log)
	if section == nil {
		return "", fmt.Errorf("CHANGELOG.md has no section %q", "## ["+r.version+"] - YYYY-MM-DD")
	}
	return strings.TrimSpace(string(section[1])) + "\n", nil
}

// platform builds the binary for a platform, and writes its archive and its bill of materials.
func (r *release) platform(ctx context.Context, goos, goarch string) error {
	name := fmt.Sprintf("docket_%s_%s_%s", r.version, goos, goarch)
	fmt.Fprintln(r.log, name)
	binary := filepath.Join(r.work, name)
	// Where modules come from is the user's choice, which `go env -w` may have written. go.sum says what is in them.
	variables, err := r.settings(ctx, "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOAUTH")
	if err != nil {
		return err
	}
	// Whatever could make another binary of the same sources, and is not in them.
	variables = append(variables,
		"CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off", "GOEXPERIMENT=",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GOTOOLCHAIN="+toolchain(), "GOENV=off",
	)
	_, err = r.command(ctx, r.source, variables, "go", "build", "-trimpath", "-buildvcs=false", "-o", binary,
		"-ldflags", "-s -w -X main.buildVersion="+r.version+" -X main.buildCommit="+r.commit, "./cmd/docket")
	if err != nil {
		return err
	}
	modules, err := r.readModules(ctx, binary)
	if err != nil {
		return err
	}
	if err := r.writeBill(filepath.Join(r.out, name+".cdx.json"), binary, modules); err != nil {
		return err
	}
	files, err := r.documents()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	licenses, err := r.licenses(modules)
	if err != nil {
		return err
	}
	files = append(files,
		file{"docket", content, 0o755},
		file{"THIRD-PARTY-LICENSES.txt", licenses, 0o644},
	)
	for i := range files {
		files[i].name = name + "/" + files[i].name
	}
	return r.pack(name+".tar.gz", files)
}

// settings returns variables of Go as the user has set them, for the environment of a command.
func (r *release) settings(ctx context.Context, names ...string) ([]string, error) {
	values, err := r.command(ctx, r.source, nil, "go", append([]string{"env"}, names...)...)
	if err != nil {
		return nil, err
	}
	var variables []string
	for i, value := range strings.SplitN(values, "\n", len(names)) {
		variables = append(variables, names[i]+"="+value)
	}
	return variables, nil
}

// documents returns the files of the repository that are in every archive.
func (r *release) documents() ([]file, error) {
	var files []file
	for _, name := range []string{"LICENSE", "CHANGELOG.md", "SECURITY.md", "openapi.yaml", ".env.example", "docs", "deploy"} {
		path := filepath.Join(r.source, name)
		if _, err := os.Stat(path); name == "deploy" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(r.source, path)
			files = append(files, file{filepath.ToSlash(relative), content, mode(info.Mode())})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// npm builds the package of clients/typescript and writes its archive.
func (r *release) npm(ctx context.Context) error {
	fmt.Fprintln(r.log, "@docket/client "+r.version)
	dir := filepath.Join(r.source, "clients", "typescript")
	for _, args := range [][]string{
		{"ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"},
		{"run", "--silent", "build"},
		{"pack", "--ignore-scripts", "--silent", "--pack-destination", r.work},
	} {
		if _, err := r.command(ctx, dir, nil, "npm", args...); err != nil {
			return err
		}
	}
	// npm compresses with the zlib of Node.js and keeps the modes of a clone's files.
	name := "docket-client-" + r.version + ".tgz"
	files, err := unpack(filepath.Join(r.work, name))
	if err != nil {
		return err
	}
	return r.pack(name, files)
}

// checksums writes checksums.txt, in the format of sha256sum.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(r.out, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "checksums.txt"), lines.Bytes(), 0o644)
}

// byName sorts files by name.
func byName(files []file) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
}
