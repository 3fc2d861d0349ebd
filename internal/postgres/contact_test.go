package postgres

import (
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// A pooler that has no connection to PostgreSQL answers in its place.
func TestOnlyPostgreSQLsAnswersAreHeard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		heard bool
	}{
		"success":                {nil, true},
		"an error of PostgreSQL": {&pgconn.PgError{Code: "42601"}, true},
		"a pooler's refusal":     {&pgconn.PgError{Code: "08P01", Message: "query_wait_timeout"}, false},
		"a lost connection":      {io.ErrUnexpectedEOF, false},
	} {
		var k contact
		if k.heard(c.err); (k.answered.Load() != 0) != c.heard {
			t.Errorf("%s: heard at %d, want %t", name, k.answered.Load(), c.heard)
		}
	}
}
