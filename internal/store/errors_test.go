package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/store"
	"docket/migrations"
)

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	s := open(t, store.Config{URL: "postgres://docket:hunter2@" + closed + "/docket?sslmode=disable"})
	unavailable(t, s)
}

func TestAServerThatWentAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	w := newWire(t, withUsers(t, "ada"))
	s := open(t, store.Config{URL: w.url, MaxConns: 1})
	id := create(t, s.For("ada"), "x").ID
	w.cut()
	if _, err := s.For("ada").GetTask(t.Context(), id); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the first call: %v", err)
	}
	unavailable(t, s)
}

func unavailable(t *testing.T, s *store.Store) {
	t.Helper()
	errs := map[string]error{"Ping": s.Ping(t.Context())}
	_, errs["Check"] = s.Check(t.Context())
	for name, do := range operations {
		errs[name] = do.call(t.Context(), s.For("ada"), "some id")
	}
	for name, err := range errs {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s repeats the password: %v", name, err)
		}
	}
}

func TestALostReply(t *testing.T) {
	t.Parallel()
	testLoss(t, loseReply, "the change was made once")
}

func TestALostRequest(t *testing.T) {
	t.Parallel()
	testLoss(t, loseBefore, "the change was not made")
}

// What the client sees is the same for both: the connection broke after it had sent everything. A read is sent again,
// a change whose outcome is not known never is, and what happens once at most may be.
func testLoss(t *testing.T, lost fault, outcome string) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			w := newWire(t, address)
			ada := open(t, store.Config{URL: w.url, QueryMode: mode, MaxConns: 1}).For("ada")
			sure := open(t, store.Config{URL: address}).For("ada")
			changes := dbtest.CountChanges(t, address)
			for name, do := range operations {
				id := create(t, sure, "x").ID
				if err := do.call(t.Context(), ada, create(t, sure, "y").ID); err != nil { // prepares, where the mode does
					t.Fatalf("%s: %v", name, err)
				}
				before := changes()
				w.fail(lost)
				err := do.call(t.Context(), ada, id)
				made := changes() - before
				switch {
				case do.of == readsOne, do.of == readsAll:
					if err != nil || made != 0 {
						t.Errorf("%s: %v", name, err)
					}
				case name == "CreateTaskOnce":
					if err != nil || made != 1 {
						t.Errorf("%s: %v, made %d times", name, err, made)
					}
				default:
					if !errors.Is(err, store.ErrOutcomeUnknown) {
						t.Errorf("%s: %v, want ErrOutcomeUnknown", name, err)
					}
					if want := map[fault]int{loseReply: 1, loseBefore: 0}[lost]; made != want {
						t.Errorf("%s: made %d times, but %s", name, made, outcome)
					}
				}
				// The next call goes through, on another connection.
				if err := do.call(t.Context(), ada, create(t, sure, "z").ID); err != nil {
					t.Errorf("%s, afterwards: %v", name, err)
				}
			}
		})
	}
}

func TestTwoLossesInARowAreTheCallers(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	w := newWire(t, address)
	ada := open(t, store.Config{URL: w.url, MaxConns: 1}).For("ada")
	id := create(t, ada, "x").ID
	for name, do := range operations {
		w.fail(loseBefore, loseBefore)
		if err := do.call(t.Context(), ada, id); !errors.Is(err, broken(do.of)) {
			t.Errorf("%s: %v, want %v", name, err, broken(do.of))
		}
		w.fail()
	}
}

// broken is what an operation ends with when its connection broke after it was sent.
func broken(of effect) error {
	if of == creates || of == changesOne {
		return store.ErrOutcomeUnknown
	}
	return store.ErrUnavailable
}

func TestWaitingTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := direct(t, address)
	ada := open(t, store.Config{URL: address, StatementTimeout: 200 * time.Millisecond, MaxConns: 1}).For("ada")
	patient := open(t, store.Config{URL: address}).For("ada")
	id := create(t, patient, "x").ID
	for _, do := range operations { // no timeout of ours covers a statement's preparation
		for do.call(t.Context(), ada, create(t, patient, "x").ID) != nil {
		}
	}
	exec(t, conn, "begin; lock table task")
	for name, do := range operations {
		if err := do.call(t.Context(), ada, id); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	exec(t, conn, "rollback")
}

func TestACallerThatGoesAway(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := direct(t, address)
	s := open(t, store.Config{URL: address, MaxConns: 1, QueryMode: store.QueryModeExec}) // nothing is sent ahead
	id := create(t, s.For("ada"), "x").ID
	waiting := func() bool { return value[int](t, conn, "select count(*) "+waitingSQL) > 0 }
	exec(t, conn, "begin; lock table task")
	for name, do := range operations {
		for waiting() { // the one before
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- do.call(ctx, s.For("ada"), id) }()
		for !waiting() {
		}

		// The pool's one connection is taken.
		short, cancelShort := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := do.call(short, s.For("ada"), id)
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrOutcomeUnknown) {
			t.Errorf("%s without a free connection: %v", name, err)
		}
		cancelShort()

		cancel()
		if err := <-done; !errors.Is(err, broken(do.of)) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v, want %v", name, err, broken(do.of))
		}
	}
	exec(t, conn, "rollback")
}

// faultSQL has the database fail the first inserts with a code of our choice. A sequence counts them: it is not rolled
// back with what failed.
const faultSQL = `
create sequence fault;
create function fault() returns trigger language plpgsql security definer as $$
begin
	if nextval('fault') <= %d then
		raise exception 'a fault' using errcode = '%s';
	end if;
	return new;
end;
$$;
create trigger a_fault before insert on task for each row execute function fault()`

func TestWhatTheDatabaseTakesBackIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40001", "40P01"} {
		for faults, want := range map[int]error{2: nil, 3: store.ErrUnavailable} {
			t.Run(fmt.Sprintf("%s %d times", code, faults), func(t *testing.T) {
				t.Parallel()
				address := withUsers(t, "ada")
				conn := direct(t, address)
				exec(t, conn, fmt.Sprintf(faultSQL, faults, code))
				ada := open(t, store.Config{URL: address}).For("ada")
				if err := operations["CreateTask"].call(t.Context(), ada, ""); !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
				if got := value[int](t, conn, "select last_value from fault"); got != 3 {
					t.Errorf("sent %d times, want 3", got)
				}
			})
		}
	}
}

func TestErrorsOfTheDatabaseHaveAMeaning(t *testing.T) {
	t.Parallel()
	known := []error{
		store.ErrNotFound, store.ErrOwnerGone, store.ErrInvalid, store.ErrBadCursor, store.ErrStale, store.ErrKeyReused,
		store.ErrOutcomeUnknown, store.ErrNoSchema, store.ErrNoRole, store.ErrUnavailable,
	}
	for code, want := range map[string]error{
		"22001": store.ErrInvalid,
		"22003": store.ErrInvalid,
		"22021": store.ErrInvalid,
		"22P05": store.ErrInvalid,
		"23514": store.ErrInvalid,
		"53100": store.ErrUnavailable, // disk full
		"53200": store.ErrUnavailable, // out of memory
		"53300": store.ErrUnavailable, // too many connections
		"55P03": store.ErrUnavailable, // lock not available
		"57014": store.ErrUnavailable, // query cancelled
		// The server ends the connection: whether with the change or without is not known.
		"08006": store.ErrOutcomeUnknown,
		"57P01": store.ErrOutcomeUnknown,
		"57P02": store.ErrOutcomeUnknown,
		// Faults of ours.
		"23502": nil,
		"23503": nil, // of another constraint than the owner's
		"23505": nil,
		"42501": nil, // the wall caught a statement
		"42601": nil,
		"42703": nil,
		"P0001": nil,
		"XX000": nil,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			exec(t, direct(t, address), fmt.Sprintf(faultSQL, 1, code))
			err := operations["CreateTask"].call(t.Context(), open(t, store.Config{URL: address}).For("ada"), "")
			if err == nil || !strings.Contains(err.Error(), code) {
				t.Fatalf("error %v, want one that keeps the cause", err)
			}
			for _, meaning := range known {
				if errors.Is(err, meaning) != (meaning == want) {
					t.Errorf("%v: is it %q? %t", err, meaning, errors.Is(err, meaning))
				}
			}
		})
	}
}

func TestABackendThatIsTerminatedDuringAChange(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := direct(t, address)
	ada := open(t, store.Config{URL: address, MaxConns: 1}).For("ada")
	id := create(t, ada, "x").ID
	exec(t, conn, "begin; select from task for update")
	done := make(chan error, 1)
	go func() {
		_, err := ada.CompleteTask(t.Context(), id, nil)
		done <- err
	}()
	for value[int](t, conn, "select count(pg_terminate_backend(pid)) "+waitingSQL) == 0 {
	}
	if err := <-done; !errors.Is(err, store.ErrOutcomeUnknown) {
		t.Errorf("error %v, want ErrOutcomeUnknown", err)
	}
	exec(t, conn, "rollback")
	if get(t, ada, id).Completed {
		t.Error("the change was made")
	}
}

func TestTooManyConnectionsAreUnavailable(t *testing.T) {
	t.Parallel()
	_, address := dbtest.Login(t, withUsers(t, "ada"), "crowded", "connection limit 0")
	unavailable(t, open(t, store.Config{URL: address}))
}

func TestALoginThatOnlyServesNeedsOneGrant(t *testing.T) {
	t.Parallel()
	owner := withUsers(t, "ada")
	role, address := dbtest.Login(t, owner, "server", "")
	s := open(t, store.Config{URL: address})
	if _, err := s.Check(t.Context()); !errors.Is(err, store.ErrNoRole) {
		t.Errorf("before the grant, Check: %v", err)
	}
	for name, do := range operations {
		if err := do.call(t.Context(), s.For("ada"), "some id"); !errors.Is(err, store.ErrNoRole) {
			t.Errorf("before the grant, %s: %v", name, err)
		}
	}
	exec(t, direct(t, owner), "grant docket_app to "+role)
	condition, err := s.Check(t.Context())
	if want := (store.Condition{SchemaVersion: migrations.Newest(), Walled: true}); err != nil || condition != want {
		t.Errorf("Check: %+v, %v, want %+v", condition, err, want)
	}
	for name, do := range operations {
		if err := do.call(t.Context(), s.For("ada"), create(t, s.For("ada"), "x").ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckSeesTheDatabasesCondition(t *testing.T) {
	t.Parallel()
	newest := migrations.Newest()
	for name, c := range map[string]struct {
		change string
		want   store.Condition
	}{
		"migrated":           {"", store.Condition{SchemaVersion: newest, Walled: true}},
		"older":              {"update docket_schema_version set version = version - 1", store.Condition{SchemaVersion: newest - 1, Walled: true}},
		"newer":              {"update docket_schema_version set version = version + 1", store.Condition{SchemaVersion: newest + 1, Walled: true}},
		"no wall":            {"alter table task disable row level security", store.Condition{SchemaVersion: newest}},
		"a gap in the wall":  {"alter table idempotency_key disable row level security", store.Condition{SchemaVersion: newest}},
		"the wall's builder": {"grant create on schema public to docket_app; alter table task owner to docket_app", store.Condition{SchemaVersion: newest}},
	} {
		for _, mode := range modes {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				address := dbtest.New(t)
				exec(t, direct(t, address), c.change, pgx.QueryExecModeSimpleProtocol)
				got, err := open(t, store.Config{URL: address, QueryMode: mode}).Check(t.Context())
				if err != nil || got != c.want {
					t.Errorf("%+v, %v, want %+v", got, err, c.want)
				}
			})
		}
	}
}

func TestCheckOfADatabaseThatWasNotMigrated(t *testing.T) {
	t.Parallel()
	if got, err := open(t, store.Config{URL: dbtest.Empty(t)}).Check(t.Context()); !errors.Is(err, store.ErrNoSchema) {
		t.Errorf("%+v, %v, want ErrNoSchema", got, err)
	}
}

func TestOpenRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	const good = "postgres://docket:hunter2@127.0.0.1:1/docket"
	for _, c := range []store.Config{
		{URL: "postgres://docket:hunter2@127.0.0.1:port/docket"},
		{URL: good + "?sslmode=sometimes"},
		{URL: good + "?pool_max_conns=many"},
		{URL: good, QueryMode: "describe_exec"},
		{URL: good, QueryMode: "simple_protocol"},
		{URL: good, QueryMode: "Exec"},
	} {
		s, err := store.Open(t.Context(), c)
		if err == nil {
			s.Close()
			t.Errorf("%+v was accepted", c)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestPooledRecognisesThePoolersAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"postgresql://u:p@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech/db?sslmode=require&channel_binding=require": true,
		"postgresql://u:p@ep-cool-darkness-123456-pooler.eu-central-1.aws.neon.tech:5432/db":                                 true,
		"postgres://u:p@127.0.0.1:6432/db":                                                    true,
		"postgres://u.x:p@aws-0-eu-west-1.pooler.supabase.com:6543/postgres":                  true,
		"postgresql://u:p@ep-cool-darkness-123456.us-east-2.aws.neon.tech/db?sslmode=require": false,
		"postgres://u:p@127.0.0.1:5432/db":                                                    false,
		"postgres://u:p@127.0.0.1/db":                                                         false,
		"postgres://u:-pooler.@127.0.0.1/db?application_name=a-pooler.b":                      false,
		"postgres://u:p@db.6432.example.com/6432":                                             false,
		"": false,
	} {
		if got := store.Pooled(address); got != want {
			u, _ := url.Parse(address)
			t.Errorf("Pooled(%s) = %t", u.Redacted(), got)
		}
	}
}
