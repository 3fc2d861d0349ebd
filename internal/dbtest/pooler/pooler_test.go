package pooler_test

import (
	"testing"

	"docket/internal/dbtest/pooler"
)

func TestPreparedStatementsAreSupportedFromVersion1_21(t *testing.T) {
	t.Parallel()
	for version, want := range map[pooler.Version]bool{
		{Major: 1, Minor: 18}: false, {Major: 1, Minor: 20}: false, {Major: 1, Minor: 21}: true, {Major: 1, Minor: 24}: true,
		{Major: 2, Minor: 0}: true,
	} {
		if got := version.PreparedStatements(); got != want {
			t.Errorf("PgBouncer %v keeps prepared statements: %t", version, got)
		}
	}
}
