package devdb

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// nobody is who PostgreSQL runs as when we are root, whom it refuses to be.
const nobody = 65534

func isRoot() bool { return os.Geteuid() == 0 }

// give makes the user PostgreSQL runs as the owner of a file.
func give(path string) error {
	if !isRoot() {
		return nil
	}
	return os.Chown(path, nobody, nobody)
}

// place makes a folder that the user PostgreSQL runs as can reach, and returns
// its real path: dir itself, or for root, when dir is private, a stand-in for it.
func place(dir string, log io.Writer) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if !isRoot() || public(dir) {
		return dir, nil
	}
	const base = "/var/lib/docket-dev"
	standIn := filepath.Join(base, fmt.Sprintf("%.6x", sha256.Sum256([]byte(dir))))
	if err := os.MkdirAll(standIn, 0o755); err != nil {
		return "", err
	}
	for _, folder := range []string{base, standIn} {
		if err := os.Chmod(folder, 0o755); err != nil { // whatever the umask
			return "", err
		}
	}
	fmt.Fprintf(log, "PostgreSQL does not run as root, and others cannot reach %s: using %s\n", dir, standIn)
	return standIn, nil
}

// public tells whether everyone may pass through dir and all its parents.
func public(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o001 == 0 {
		return false
	}
	parent := filepath.Dir(dir)
	return parent == dir || public(parent)
}

// asChild sets a command up to run for PostgreSQL: as its user, with none of the
// caller's connection settings, messages in English, and ending with us.
func asChild(cmd *exec.Cmd) {
	cmd.Dir = "/" // ours may be closed to that user
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") })
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	cmd.SysProcAttr = childAttributes()
}

// output runs a short command for PostgreSQL. Its error says what it printed.
func output(cmd *exec.Cmd) (string, error) {
	asChild(cmd)
	runtime.LockOSThread() // see run
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	return string(out), nil
}
