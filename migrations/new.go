package migrations

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/jackc/tern/v2/migrate"
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,59}$`)

const template = `-- Say what this migration is for.


---- create above / drop below ----

`

// New writes an empty migration with the next number into dir and returns its path. The name consists of lower-case
// words joined by underscores.
func New(dir, name string) (string, error) {
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("migration name %q: use lower-case letters, digits and underscores, at most 60", name)
	}
	existing, err := migrate.FindMigrations(os.DirFS(dir))
	if err != nil {
		return "", fmt.Errorf("read migrations in %s: %w", dir, err)
	}
	if len(existing) == 0 {
		return "", errors.New("no migrations in " + dir + ": run this in a checkout of Docket")
	}
	path := filepath.Join(dir, fmt.Sprintf("%03d_%s.sql", len(existing)+1, name))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(template)
	return path, errors.Join(err, f.Close())
}
