package main

import (
	"regexp"
	"strings"
	"testing"

	"docket/internal/dbtest"
)

var epochsPattern = regexp.MustCompile(`^old epoch (\S+)\nnew epoch ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n$`)

func TestNewEpochPrintsTheOldAndTheNewEpoch(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	const epochSQL = "select string_agg(epoch::text, ' ') from docket_epoch"
	before := query(t, address, epochSQL)
	for _, e := range []environment{
		{"DATABASE_URL": address},
		{"DATABASE_URL": "postgres://docket@127.0.0.1:6432/docket", "MIGRATE_DATABASE_URL": address},
	} {
		o := invoke(t, e, "admin", "new-epoch").want(t, 0)
		m := epochsPattern.FindStringSubmatch(o.stdout)
		if m == nil || m[1] != before || m[2] == before || m[2] != query(t, address, epochSQL) {
			t.Fatalf("the epoch was %s; printed\n%s", before, o.stdout)
		}
		before = m[2]
	}
}

func TestNewEpochWorksAfterItsTableWasTruncated(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	query(t, address, "with gone as (delete from docket_epoch) select ''")
	invoke(t, environment{"DATABASE_URL": address}, "admin", "new-epoch").want(t, 0, "old epoch none\n")
	if got := query(t, address, "select count(*)::text from docket_epoch"); got != "1" {
		t.Errorf("%s epochs, want 1", got)
	}
}

func TestNewEpochChangesNothingInADatabaseThatWasNotMigrated(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	invoke(t, environment{"DATABASE_URL": address}, "admin", "new-epoch").want(t, 1, "docket migrate up")
	if got := query(t, address, "select count(*)::text from pg_class where relnamespace = 'public'::regnamespace"); got != "0" {
		t.Errorf("%s tables were created", got)
	}
}

func TestNewEpochNeedsADirectAddressAndTheOwnerOfTheTables(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	pooled := environment{"DATABASE_URL": dbtest.PlainPooler(t, address).URL}
	invoke(t, pooled, "admin", "new-epoch").want(t, 1, "transaction pooler", "MIGRATE_DATABASE_URL")
	_, other := dbtest.Login(t, address, "other", "")
	o := invoke(t, environment{"DATABASE_URL": other}, "admin", "new-epoch").want(t, 1, "permission denied")
	if strings.Contains(o.stderr, "secret") {
		t.Errorf("the password is in %s", o.stderr)
	}
}
