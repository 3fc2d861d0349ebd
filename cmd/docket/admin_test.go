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

func TestRecomputeDueChangesTheInstantsThatDiffer(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	// Of each owner one task is right, and two are as another version of the time zones had them; one of these is past.
	query(t, address, `
with users as (
  insert into "user" (id, name, email, "emailVerified") values ('ada', 'Ada', 'ada', true), ('bob', 'Bob', 'bob', true) returning id
) select ''`)
	for _, owner := range []string{"ada", "bob"} {
		for n, at := range []string{"2099-07-01 08:30Z", "2099-07-01 07:30Z", "2001-07-01 08:30Z"} {
			query(t, address, `
with made as (
  insert into task (id, user_id, title, due_date, due_time, time_zone, due_at)
  values ('`+owner+string(rune('1'+n))+`', '`+owner+`', 'x', '`+at[:10]+`', '09:30', 'Europe/Berlin', '`+at+`')
) select ''`)
		}
	}
	const wrongSQL = `select string_agg(id, ' ' order by id) from task where due_at <> (due_date + due_time) at time zone time_zone`
	if got := query(t, address, wrongSQL); got != "ada1 ada3 bob1 bob3" {
		t.Fatalf("the instants of %s are wrong", got)
	}
	revisions := query(t, address, "select string_agg(rev::text, ' ' order by id) from task where id not like '%1'")
	for _, changed := range []string{"2", "0"} {
		invoke(t, environment{"DATABASE_URL": address}, "admin", "recompute-due").want(t, 0, "owners 2\ntasks 4\nchanged "+changed+"\nskipped 0\n")
		if got := query(t, address, wrongSQL); got != "ada3 bob3" {
			t.Errorf("the instants of %s are wrong", got)
		}
	}
	if got := query(t, address, "select string_agg(rev::text, ' ' order by id) from task where id not like '%1'"); got != revisions {
		t.Errorf("the revisions of the others were %s, and are %s", revisions, got)
	}
	newer := "select (min(task.rev) = max(task_summary.rev))::text from task join task_summary using (user_id) where user_id = 'ada' and id = 'ada1'"
	if got := query(t, address, newer); got != "true" {
		t.Error("the change has no revision of its own")
	}
}
