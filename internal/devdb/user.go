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

// nobody is the user that PostgreSQL runs as if this process is root, because PostgreSQL refuses to run as root.
const nobody = 65534

func isRoot() bool { return os.Geteuid() == 0 }

// chownToServer makes the user that PostgreSQL runs as the owner of a file.
func chownToServer(path string) error {
	if !isRoot() {
		return nil
	}
	return os.Chown(path, nobody, nobody)
}

// TempDir is like os.MkdirTemp, but other users can enter the folder, such as the one that PostgreSQL runs as if this
// process is root.
func TempDir(dir, pattern string) (string, error) {
	created, err := os.MkdirTemp(dir, pattern)
	if err != nil {
		return "", err
	}
	return created, os.Chmod(created, 0o755)
}

// reachableDir creates a folder that the user that PostgreSQL runs as can enter. It returns its real path: dir itself,
// or another folder if this process is root and other users cannot enter dir.
func reachableDir(dir string, log io.Writer) (string, error) {
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
	if !isRoot() || isReachable(dir) {
		return dir, nil
	}
	const base = "/var/lib/docket-dev"
	other := filepath.Join(base, fmt.Sprintf("%.6x", sha256.Sum256([]byte(dir))))
	if err := os.MkdirAll(other, 0o755); err != nil {
		return "", err
	}
	for _, folder := range []string{base, other} {
		if err := os.Chmod(folder, 0o755); err != nil { // whatever the umask
			return "", err
		}
	}
	fmt.Fprintf(log, "PostgreSQL does not run as root, and others cannot reach %s: using %s\n", dir, other)
	return other, nil
}

// isReachable reports whether every user may enter dir and all its parents.
func isReachable(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o001 == 0 {
		return false
	}
	parent := filepath.Dir(dir)
	return parent == dir || isReachable(parent)
}

// configureChild configures a command to run as PostgreSQL's user, without the caller's connection settings, with
// messages in English, and to end with this process.
func configureChild(cmd *exec.Cmd) {
	cmd.Dir = "/" // that user may not be able to enter the current folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") })
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	cmd.SysProcAttr = childAttributes()
}

// output runs a command as configureChild says and returns what it prints. The error has the output, too.
func output(cmd *exec.Cmd) (string, error) {
	configureChild(cmd)
	runtime.LockOSThread() // see run
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	return string(out), nil
}
