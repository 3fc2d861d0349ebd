package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
)

// logins are the kinds of login roles that DATABASE_URL may name.
var logins = map[string]func(t *testing.T, address string) string{
	"superuser":                         func(_ *testing.T, address string) string { return address },
	"member of docket_app":              func(t *testing.T, address string) string { return member(t, address, "") },
	"member that inherits nothing":      func(t *testing.T, address string) string { return member(t, address, "noinherit") },
	"member with bypassrls":             func(t *testing.T, address string) string { return member(t, address, "bypassrls") },
	"owner of the tables":               func(t *testing.T, address string) string { return tableOwner(t, address, "") },
	"owner of the tables and bypassrls": func(t *testing.T, address string) string { return tableOwner(t, address, "bypassrls createrole") },
}

func member(t *testing.T, address, attributes string) string {
	t.Helper()
	role, login := dbtest.Login(t, address, "login", attributes)
	execute(t, connect(t, address), "grant docket_app to "+role)
	return login
}

func tableOwner(t *testing.T, address, attributes string) string {
	t.Helper()
	role, login := dbtest.Login(t, address, "login", attributes)
	conn := connect(t, address)
	execute(t, conn, "grant docket_app to "+role)
	for _, table := range append(ownedTables(t, conn), "docket_schema_version") {
		execute(t, conn, "alter table "+table+" owner to "+role)
	}
	return login
}

// ownedTables returns the tables whose rows belong to owners.
func ownedTables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	return value[[]string](t, conn, `
select array_agg(relname::text order by relname)
from pg_class
join pg_attribute on attrelid = pg_class.oid and attname = 'user_id'
where relnamespace = 'public'::regnamespace
  and relkind in ('r', 'p', 'v', 'm', 'f')`)
}

// withRows is like withTasks, but both owners have rows in every table.
func withRows(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := connect(t, withTasks(t))
	execute(t, conn, `
delete from task where id in ('a4', 'b2');
update task set tags = '{tag}';
insert into idempotency_key (user_id, key, request_hash, resource, response) values
  ('ada', 'key', '', 'task', '{}'), ('bob', 'key', '', 'task', '{}')`, pgx.QueryExecModeSimpleProtocol)
	for _, table := range ownedTables(t, conn) {
		if got := value[string](t, conn, "select string_agg(distinct user_id, ' ' order by user_id) from "+table); got != "ada bob" {
			t.Fatalf("%s has rows of %s", table, got)
		}
	}
	return conn
}

func TestRowSecurityConfinesEveryStatementOfEveryLogin(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		for _, mode := range queryModes {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				admin := withRows(t)
				db := open(t, Config{URL: login(t, admin.Config().ConnString()), QueryMode: mode, MaxConns: 2})
				tables := ownedTables(t, admin)
				before := rowsOf(t, admin, "ada", tables)
				for _, table := range slices.Backward(tables) { // bob deletes his tasks after their tags were looked at
					confined(t, db, table)
				}
				if after := rowsOf(t, admin, "ada", tables); after != before {
					t.Errorf("ada had\n%s\nand now has\n%s", before, after)
				}
				if left := value[int](t, admin, "select count(*) from task where user_id = 'bob'"); left != 0 {
					t.Errorf("bob could not delete his %d tasks", left) // otherwise the statements may do nothing at all
				}
			})
		}
	}
}

// rowsOf returns an owner's rows in all tables.
func rowsOf(t *testing.T, conn *pgx.Conn, owner string, tables []string) (all string) {
	t.Helper()
	for _, table := range tables {
		sql := "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by to_jsonb(t)::text), '') from " + table + " t where user_id = $1"
		all += table + "\n" + value[string](t, conn, sql, owner) + "\n"
	}
	return all
}

// confined runs statements without an owner filter on a table: as bob, as owners without rows, and without an owner.
func confined(t *testing.T, db *DB, table string) {
	t.Helper()
	ctx := t.Context()
	const insert = "insert into %s (user_id) values (%s)" // row-level security is checked before constraints
	for owner, sees := range map[string]bool{
		"bob": true, "": false, "null": false, "%": false, "bob ": false, //nolint:gocritic // almost bob
		"BOB": false, "'bob'": false, "docket_app": false, "postgres": false,
	} {
		got, err := send(ctx, db, ReadOnly, owner, "select distinct user_id from "+table+" where $1::text is not null")
		if err != nil || sees && got != "bob" || !sees && got != "" {
			t.Errorf("%q sees rows of %q in %s, %v", owner, got, table, err)
		}
		got, err = send(ctx, db, ReadOnly, owner, "select count(*)::text from "+table+" where user_id = 'ada' and $1::text is not null")
		if err != nil || got != "0" {
			t.Errorf("%q counts %s rows of ada's in %s, %v", owner, got, table, err)
		}
		if _, err := send(ctx, db, NotIdempotent, owner, fmt.Sprintf(insert, table, "coalesce('ada', $1::text)")); !refused(err) {
			t.Errorf("%q inserts into %s for ada: %v", owner, table, err)
		}
	}
	if _, err := send(ctx, db, NotIdempotent, "bob", "update "+table+" set user_id = coalesce('ada', $1::text)"); !refused(err) {
		t.Errorf("bob gives his rows in %s to ada: %v", table, err)
	}
	if table == "task" {
		const steal = "insert into task (id, user_id, title) values ('a1', $1, 'stolen') on conflict (id) do update set title = 'stolen'"
		if _, err := send(ctx, db, NotIdempotent, "bob", steal); !refused(err) {
			t.Errorf("bob changes ada's task by inserting it: %v", err)
		}
		got, err := send(ctx, db, NotIdempotent, "bob", "update task set title = 'changed' where $1::text is not null returning user_id")
		if err != nil || got != "bob" {
			t.Errorf("bob changes the tasks of %q, %v", got, err)
		}
	}
	for _, owner := range []string{"", "bob"} {
		got, err := send(ctx, db, NotIdempotent, owner, "delete from "+table+" where $1::text is not null returning user_id")
		others := strings.Trim(strings.ReplaceAll(got+" ", owner+" ", ""), " ")
		if err == nil && (others != "" || owner != "" && got == "") || err != nil && !refused(err) {
			t.Errorf("%q deletes from %s rows of %q, %v", owner, table, got, err)
		}
	}
	// The role without any owner.
	var seen int
	var b pgx.Batch
	b.Queue("select set_config('role', 'docket_app', true)")
	b.Queue("select count(*) from " + table).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil || seen != 0 {
		t.Errorf("without an owner %d rows of %s are seen, %v", seen, table, err)
	}
}

// refused reports whether row-level security or a missing privilege stopped a statement. Such an error means a bug in
// the service and not a state of the database.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501" && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNoRole) &&
		!errors.Is(err, ErrInvalid) && !errors.Is(err, ErrOutcomeUnknown)
}

// A table without an owner, or one without a policy, fails this test.
func TestEveryTableHasAnOwnerAndAPolicy(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	const othersSQL = `
select array_agg(relname::text order by relname)
from pg_class
where relnamespace = 'public'::regnamespace
  and relkind in ('r', 'p', 'v', 'm', 'f')
  and not relname = any($1)`
	tables := ownedTables(t, conn)
	if others := value[[]string](t, conn, othersSQL, tables); !slices.Equal(others, []string{"docket_epoch", "docket_schema_version", "user"}) {
		t.Errorf("tables without user_id: %s", others)
	}
	const isolatedSQL = `
select array_agg(relname::text order by relname)
from pg_class
where relnamespace = 'public'::regnamespace
  and relrowsecurity
  and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'user_id' and attnotnull)
  and (
    select array_agg((polroles = array['docket_app'::regrole::oid]) and polcmd = '*'
      and pg_get_expr(polqual, polrelid) like '%user_id%app.user_id%'
      and pg_get_expr(polqual, polrelid) = pg_get_expr(polwithcheck, polrelid))
    from pg_policy
    where polrelid = pg_class.oid
  ) = array[true]`
	if isolated := value[[]string](t, conn, isolatedSQL); !slices.Equal(tables, isolated) {
		t.Errorf("tables %s, with one policy by owner %s", tables, isolated)
	}
}

func TestALoginThatIsNotAMemberGetsErrNoRole(t *testing.T) {
	t.Parallel()
	for _, attributes := range []string{"", "bypassrls"} {
		_, address := dbtest.Login(t, withTasks(t), "login", attributes)
		db := open(t, Config{URL: address})
		_, run := send(t.Context(), db, NotIdempotent, "ada", ownTasksSQL)
		_, read := share(t.Context(), db, "ada", ownTasksSQL)
		probe := db.Probe(t.Context(), OperatorStatement{"select 1"}, func(Rows) error { return nil }, nil)
		for what, err := range map[string]error{"Run": run, "Read": read, "Probe": probe} {
			if !errors.Is(err, ErrNoRole) || errors.Is(err, ErrUnavailable) {
				t.Errorf("%s with %q: %v, want ErrNoRole and not ErrUnavailable", what, attributes, err)
			}
		}
	}
}

// A cached plan must not be used for another owner or another role.
func TestRowSecurityConfinesCachedPlans(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		for _, plans := range []string{"force_generic_plan", "force_custom_plan", "auto"} {
			t.Run(name+", "+plans, func(t *testing.T) {
				t.Parallel()
				address := login(t, withTasks(t)) + "&plan_cache_mode=" + plans
				db := open(t, Config{URL: address, MaxConns: 1, QueryMode: QueryModePrepared})
				for range 8 { // PostgreSQL may cache a generic plan after five
					for owner, want := range map[string]string{"ada": "ada ada ada ada", "bob": "bob bob", "": "", "eve": ""} {
						for _, sql := range []string{allTasksSQL, ownTasksSQL} {
							if got, err := send(t.Context(), db, ReadOnly, owner, sql); err != nil || got != want {
								t.Fatalf("%q sees the tasks of %q, %v", owner, got, err)
							}
							if got, err := share(t.Context(), db, owner, sql); err != nil || got != want {
								t.Fatalf("%q sees the tasks of %q, %v", owner, got, err)
							}
						}
					}
				}
			})
		}
	}
}

func TestAPlanCachedForASuperuserIsNotUsedForTheRole(t *testing.T) {
	t.Parallel()
	conn := connect(t, withTasks(t))
	execute(t, conn, "set plan_cache_mode = force_generic_plan")
	execute(t, conn, "prepare all_tasks as select string_agg(user_id, ' ' order by user_id) from task")
	for range 3 {
		if got := value[string](t, conn, "execute all_tasks", pgx.QueryExecModeSimpleProtocol); got != "ada ada ada ada bob bob" {
			t.Fatalf("the superuser sees the tasks of %q", got)
		}
		execute(t, conn, "begin")
		execute(t, conn, assumeRoleSQL, "bob", "0", "public, pg_temp")
		if got := value[string](t, conn, "execute all_tasks", pgx.QueryExecModeSimpleProtocol); got != "bob bob" {
			t.Fatalf("bob sees the tasks of %q", got)
		}
		execute(t, conn, "rollback")
	}
}

// leftSQL selects what a transaction could leave behind on its connection.
const leftSQL = `
select concat_ws(' ', current_setting('role'), coalesce(current_setting('app.user_id', true), ''), current_user = session_user,
  current_setting('statement_timeout'), current_setting('plan_cache_mode'),
  (select string_agg(name, ' ') from pg_settings where source = 'session'),
  (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'))`

const nothingLeft = "none  t 0 auto 0"

func TestATransactionLeavesNothingOnItsConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			db := open(t, Config{URL: withTasks(t), QueryMode: mode, MaxConns: 1})
			for _, sql := range []string{
				ownTasksSQL, "insert into task (id, user_id, title) values ('b3', $1, $1)", "update task set title = '' where user_id = $1",
				"select 1 / length($1) * 0 / 0", "delete from task where user_id = $1",
			} {
				for _, f := range []func() (string, error){
					func() (string, error) { return send(t.Context(), db, NotIdempotent, "bob", sql) },
					func() (string, error) { return share(t.Context(), db, "bob", sql) },
				} {
					_, _ = f() // succeeding and failing
					var left string
					if err := db.pool.QueryRow(t.Context(), leftSQL).Scan(&left); err != nil || left != nothingLeft {
						t.Errorf("%s leaves %q, %v, want %q", sql, left, err, nothingLeft)
					}
				}
			}
		})
	}
}

func TestAnOwnerNeverLeaksToTheNextUseOfAConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run("direct, "+string(mode), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			interleave(t, address, Config{URL: address, QueryMode: mode})
		})
	}
	for _, mode := range []QueryMode{QueryModeExec, QueryModeDescribe} {
		t.Run("through PgBouncer, "+string(mode), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			interleave(t, address, Config{URL: dbtest.Pooler(t, address), QueryMode: mode})
		})
	}
}

// interleave makes a thousand owners work over two connections. About a third of their calls are canceled in progress.
func interleave(t *testing.T, direct string, c Config) {
	t.Helper()
	admin := connect(t, direct)
	var owners []string
	for i := range 1000 {
		owners = append(owners, fmt.Sprintf("owner-%d", i))
	}
	dbtest.AddUser(t, direct, owners...)
	execute(t, admin, `insert into task (id, user_id, title) select id, id, id from "user"`)
	c.MaxConns = 2
	db := open(t, c)

	rand.Shuffle(len(owners), func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
	next := make(chan string)
	var canceled, finished, taken atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for owner := range next {
				ctx, cancel := context.WithCancel(t.Context())
				cancels, start := rand.N(3) > 0, time.Now()
				if cancels { // at a random moment within twice the duration of a request: half of them finish
					time.AfterFunc(rand.N(1+time.Duration(2*taken.Load()/max(finished.Load(), 1))), cancel)
				}
				switch err := work(ctx, db, owner); {
				case err == nil:
					taken.Add(int64(time.Since(start)))
					finished.Add(1)
				case errors.Is(err, errLeak), !cancels:
					t.Errorf("%s: %v", owner, err)
				default:
					canceled.Add(1)
				}
				cancel()
			}
		})
	}
	for _, owner := range owners {
		next <- owner
	}
	close(next)
	wg.Wait()
	inFlight := canceled.Load() - db.Stat().Cancels
	t.Logf("%d finished, %d canceled, %d of them with a connection", finished.Load(), canceled.Load(), inFlight)
	if inFlight == 0 {
		t.Error("no request was canceled in flight")
	}
	if got := value[int](t, admin, "select count(*) from task where title <> user_id"); got != 0 {
		t.Errorf("%d tasks were written for another owner", got)
	}
	for range 2 {
		conn, err := db.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		var left string
		if err := conn.QueryRow(t.Context(), leftSQL).Scan(&left); err != nil || left != nothingLeft {
			t.Errorf("left on a connection is %q, %v, want %q", left, err, nothingLeft)
		}
	}
}

var errLeak = errors.New("another's rows")

// work does one of several things that an owner may do.
func work(ctx context.Context, db *DB, owner string) error {
	var got string
	var err error
	switch rand.N(4) {
	case 0:
		got, err = send(ctx, db, ReadOnly, owner, allTasksSQL)
	case 1:
		got, err = share(ctx, db, owner, ownTasksSQL)
	case 2:
		got, err = send(ctx, db, NotIdempotent, owner, "insert into task (id, user_id, title) values (gen_random_uuid(), $1, $1) returning title")
	case 3:
		got, err = send(ctx, db, NotIdempotent, owner, "update task set priority = 'high' where $1::text is not null returning title")
	}
	titles := strings.Fields(got)
	if err == nil && (len(titles) == 0 || slices.ContainsFunc(titles, func(title string) bool { return title != owner })) {
		return fmt.Errorf("%w: %s", errLeak, got)
	}
	return err
}
