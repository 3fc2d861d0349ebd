//go:build unix

// Package restore_test backs up and restores databases with the commands of docs/operations.md, as they are written there.
package restore_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestTheRunbookRestoresIntoAnotherCluster restores a database whose tables belong to two logins and that a third one
// serves, into a cluster that has none of them. Then it reverts a migration there, and restores that into the first cluster.
//
// fault C3
func TestTheRunbookRestoresIntoAnotherCluster(t *testing.T) {
	t.Parallel()
	from, to := newCluster(t), newCluster(t)
	old := from.create(t, "tasks", logins{owner: "better-auth", migrator: "docket-migrate", service: "docket-serve"})
	old.fill(t)
	before := old.rows(t)

	book := runbook(t)
	dir := t.TempDir()
	book.run(t, dir, addresses{old: old.super()}, "backup")
	restored := database{cluster: to, name: "tasks", logins: old.logins}
	book.run(t, dir, addresses{admin: to.url("postgres", ""), new: restored.url(restored.migrator)}, "restore")
	to.setPasswords(t, restored.logins)
	book.finish(t, dir, addresses{new: restored.url(restored.migrator)})

	restored.equals(t, before, nil)
	if got, want := restored.objects(t), old.objects(t); !slices.Equal(got, want) {
		t.Errorf("owners and rights:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	restored.works(t)
	// Its owner can revert a migration, which takes what it added: the newest one added tags.
	rows := restored.rows(t)
	rows["task"] = regexp.MustCompile(`"tags": \[[^]]*\]`).ReplaceAllString(rows["task"], `"tags": []`)
	rows["task_tag"] = ""
	down := exec.CommandContext(t.Context(), testenv.Binary, "migrate", "down")
	down.Env = []string{"DATABASE_URL=" + restored.url(restored.migrator)}
	if out, err := down.CombinedOutput(); err != nil {
		t.Errorf("docket migrate down: %v\n%s", err, out)
	}

	// A dump that is older than the binary, restored beside a renamed database and with roles that exist.
	dir = t.TempDir()
	book.run(t, dir, addresses{old: restored.super()}, "backup")
	from.execute(t, "postgres", "alter database tasks rename to tasks_lost")
	again := database{cluster: from, name: "tasks", logins: old.logins}
	book.run(t, dir, addresses{admin: from.url("postgres", ""), new: again.url(again.migrator)}, "restore")
	book.finish(t, dir, addresses{new: again.url(again.migrator)})
	again.equals(t, rows, nil)
}

// TestTheRunbookRestoresTheDataOnly restores into a database that the two migrations have made, as a login that is no
// superuser. Its dump is the one of everything.
func TestTheRunbookRestoresTheDataOnly(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	old := cluster.create(t, "tasks", one("app"))
	old.fill(t)
	before := old.rows(t)
	book := runbook(t)
	dir := t.TempDir()
	book.run(t, dir, addresses{old: old.url("app")}, "backup")
	for _, how := range []string{"parallel", "serial"} {
		t.Run(how, func(t *testing.T) {
			restored := cluster.create(t, how, one("app_"+how))
			book.run(t, dir, addresses{new: restored.url(restored.owner)}, "data", how)
			book.finish(t, dir, addresses{new: restored.url(restored.owner)})
			restored.equals(t, before, givenAnew)
			restored.works(t)
		})
	}
}

// TestTotalsAreRightWhateverIsLeftOutOfARestore restores a dump of the data alone that lacks the tables with one row.
func TestTotalsAreRightWhateverIsLeftOutOfARestore(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t)
	old := cluster.create(t, "tasks", one("app"))
	old.execute(t, old.name, fillSQL)
	before := old.rows(t)
	dir := t.TempDir()
	shell(t, dir, addresses{old: old.url("app")},
		`pg_dump --data-only --format directory --jobs 2 --exclude-table docket_schema_version --exclude-table '"user"' --file docket.dump "$OLD"
		pg_dump --data-only --format custom --table '"user"' --file users.dump "$OLD"`)
	for name, options := range map[string]string{
		// fault C1
		"parallel": "--jobs 2",
		// fault C2
		"serial": "--single-transaction",
	} {
		t.Run(name, func(t *testing.T) {
			restored := cluster.create(t, name, one("app_"+name))
			to := addresses{new: restored.url(restored.owner)}
			shell(t, dir, to, `pg_restore --data-only --exit-on-error --dbname "$NEW" users.dump
				pg_restore --data-only --exit-on-error `+options+` --dbname "$NEW" docket.dump`)
			runbook(t).finish(t, dir, to)
			restored.equals(t, before, givenAnew)
		})
	}
}

// addresses are the values of the runbook's variables.
type addresses struct{ old, admin, new string }

// shell runs a script in a folder, as an operator in bash.
func shell(t *testing.T, dir string, a addresses, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + filepath.Dir(testenv.Binary) + ":" + clientPath(t) + ":" + os.Getenv("PATH"), "HOME=" + dir,
		"OLD=" + a.old, "ADMIN=" + a.admin, "NEW=" + a.new,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "error:") || strings.Contains(string(out), "warning:") {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// book is the section of docs/operations.md on backup and restore: its blocks of shell code by name.
type book map[string]string

var (
	sectionPattern  = regexp.MustCompile(`(?ms)^## Backup and restore\n(.*?)^## `)
	blockPattern    = regexp.MustCompile("(?ms)^```(\\S+) ?(\\S*)\n(.*?)^```$")
	variablePattern = regexp.MustCompile(`(?m)^export ([A-Z]+)=`)
)

func runbook(t *testing.T) book {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	section := sectionPattern.FindSubmatch(page)
	if section == nil {
		t.Fatal("docs/operations.md has no section on backup and restore")
	}
	b := book{}
	for _, m := range blockPattern.FindAllStringSubmatch(string(section[1]), -1) {
		if m[1] != "sh" || b[m[2]] != "" {
			t.Errorf("a block %q %q: want shell code with a name of its own", m[1], m[2])
		}
		b[m[2]] = m[3]
	}
	var names []string
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	// The tests run each of them, except the variables, which they set.
	if want := []string{"backup", "data", "finish", "parallel", "restore", "serial", "variables"}; !slices.Equal(names, want) {
		t.Fatalf("the section has the blocks %v, the tests run %v", names, want)
	}
	var variables []string
	for _, m := range variablePattern.FindAllStringSubmatch(b["variables"], -1) {
		variables = append(variables, m[1])
	}
	if want := []string{"OLD", "ADMIN", "NEW"}; !slices.Equal(variables, want) {
		t.Fatalf("the section has the variables %v, the tests set %v", variables, want)
	}
	return b
}

// run runs blocks in a folder and returns what they print.
func (b book) run(t *testing.T, dir string, a addresses, blocks ...string) string {
	t.Helper()
	script := ""
	for _, name := range blocks {
		script += b[name]
	}
	return shell(t, dir, a, script)
}

var finishPattern = regexp.MustCompile(`(?s)^old epoch \S+\nnew epoch \S+\n.*\n wrong_totals \n-+\n +0\n\(1 row\)\n`)

// finish runs the block of that name, and checks that it finds no wrong total.
func (b book) finish(t *testing.T, dir string, a addresses) {
	t.Helper()
	if out := b.run(t, dir, a, "finish"); !finishPattern.MatchString(out) {
		t.Errorf("the last commands print\n%s", out)
	}
}

// TestTheRunbookFindsWrongTotals shows that the runbook's count can be another than 0.
func TestTheRunbookFindsWrongTotals(t *testing.T) {
	t.Parallel()
	d := newCluster(t).create(t, "tasks", one("app"))
	d.execute(t, d.name, fillSQL)
	for _, change := range []string{
		`update task_summary set pending_high = pending_high + 1 where user_id = 'o1'`,
		`update task_summary set completed_low = completed_low - 1 where user_id = 'o2'`,
		`delete from task_summary where user_id = 'o3'`,
	} {
		d.execute(t, d.name, change)
		out := runbook(t).run(t, t.TempDir(), addresses{new: d.url("app")}, "finish")
		if finishPattern.MatchString(out) {
			t.Errorf("after %s it prints\n%s", change, out)
		}
		d.execute(t, d.name, "select task_summary_rebuild()")
	}
	runbook(t).finish(t, t.TempDir(), addresses{new: d.url("app")})
}

// givenAnew are the columns that a restore of the data only does not keep, by table: revisions.
var givenAnew = map[string]string{"task": "rev", "task_summary": "rev"}

// rowsSQL selects the rows of a table without its generated columns, which another version may not have.
const rowsSQL = `
select (to_jsonb(t) - array(
  select attname::text from pg_attribute where attrelid = '%[1]s'::regclass and attgenerated <> ''
))::text as row
from %[1]s as t
order by row`

// rows returns the rows of every table as JSON.
func (d database) rows(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, table := range query[string](t, d, "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace") {
		all := query[string](t, d, fmt.Sprintf(rowsSQL, pgx.Identifier{table}.Sanitize()))
		rows[table] = strings.Join(all, "\n")
	}
	return rows
}

// equals fails the test unless the database has the same rows in every table, except for columns without which they are
// compared, and another epoch.
func (d database) equals(t *testing.T, want, except map[string]string) {
	t.Helper()
	got := d.rows(t)
	if len(got) != len(want) || len(got) < 11 {
		t.Errorf("%d tables, want %d, which are Better Auth's and Docket's", len(got), len(want))
	}
	rows := 0
	for table := range want {
		rows += len(strings.Split(want[table], "\n"))
		lines := func(rows map[string]string) string {
			text := rows[table]
			if column := except[table]; column != "" {
				text = regexp.MustCompile(`"`+column+`": \d+, `).ReplaceAllString(text, "")
			}
			lines := strings.Split(text, "\n")
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		got, want := lines(got), lines(want)
		if table == "docket_epoch" {
			if got == want {
				t.Error("the epoch was not renewed")
			}
		} else if got != want {
			t.Errorf("%s:\n%.2000s\nwant\n%.2000s", table, got, want)
		}
	}
	t.Logf("compared %d rows of %d tables", rows, len(want))
}

// objects describes the owner and the rights of every table, function, type and schema of the database, its policies and its
// members of docket_app.
func (d database) objects(t *testing.T) []string {
	t.Helper()
	return query[string](t, d, `
		select 'relation ' || relname || ' ' || relowner::regrole || ' ' || coalesce(relacl::text, '')
		from pg_class where relnamespace = 'public'::regnamespace
		union all
		select 'function ' || proname || ' ' || proowner::regrole || ' ' || coalesce(proacl::text, '')
		from pg_proc where pronamespace = 'public'::regnamespace
		union all
		select 'schema ' || nspname || ' ' || nspowner::regrole || ' ' || nspacl::text from pg_namespace where nspname = 'public'
		union all
		select 'policy ' || policyname || ' ' || tablename || ' ' || roles::text || ' ' || qual || ' ' || with_check from pg_policies
		union all
		select 'database ' || datdba::regrole || ' ' || pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype
		from pg_database where datname = current_database()
		union all
		select distinct 'member ' || member::regrole from pg_auth_members where roleid = 'docket_app'::regrole
		order by 1`)
}
