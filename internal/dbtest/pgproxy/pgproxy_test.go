package pgproxy_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

func TestCountsMessages(t *testing.T) {
	t.Parallel()
	p, conn := start(t)
	for i, want := range []pgproxy.Counts{
		{Parses: 2, Syncs: 2, Executed: 1, Answers: 2}, // prepares both in one request, then executes both in one
		{Syncs: 1, Executed: 1, Answers: 1},
	} {
		p.Reset()
		sendTwo(t, conn)
		if got := p.Counts(); got != want {
			t.Errorf("time %d: %+v, want %+v", i+1, got, want)
		}
	}
	p.Reset()
	exec(t, conn, "select 1; select 2")
	if err := conn.Ping(t.Context()); err != nil { // not counted
		t.Fatal(err)
	}
	if got, want := p.Counts(), (pgproxy.Counts{Queries: 1, Answers: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestRecordsStatementsWithTheirParameters(t *testing.T) {
	t.Parallel()
	p, conn := start(t)
	for i := range 2 { // the first time prepares
		p.Reset()
		sendTwo(t, conn)
		sent := p.Statements()
		if len(sent) != 2 {
			t.Fatalf("time %d: %d statements", i+1, len(sent))
		}
		first, second := sent[0], sent[1]
		if first.SQL != "select $1::text" || string(first.Params[0]) != "a word" {
			t.Errorf("the first is %+v", first)
		}
		if second.SQL != "select $1::bigint, $2::text" || second.Formats[0] != pgx.BinaryFormatCode ||
			string(second.Params[0]) != "\x00\x00\x00\x00\x00\x00\x00\x07" || second.Params[1] != nil {
			t.Errorf("the second is %+v", second)
		}
	}
	p.Reset()
	if sent := p.Statements(); len(sent) != 0 {
		t.Errorf("after a reset: %v", sent)
	}
}

func TestFaultsAffectTheNextRequests(t *testing.T) {
	t.Parallel()
	for fault, made := range map[pgproxy.Fault]int{pgproxy.LoseRequest: 0, pgproxy.LoseReply: 1, pgproxy.LoseReplyAndRefuse: 1} {
		databaseURL := dbtest.Empty(t)
		direct := connect(t, databaseURL)
		exec(t, direct, "create table row (number bigint)")
		p := dbtest.Proxy(t, databaseURL)
		first, second := connect(t, p.URL), connect(t, p.URL)
		const sql = "insert into row values ($1)"
		p.Fail(pgproxy.None, fault)
		if _, err := first.Exec(t.Context(), sql, 1); err != nil {
			t.Errorf("fault %d met the request before: %v", fault, err)
		}
		if _, err := first.Exec(t.Context(), sql, 1); err == nil || !first.IsClosed() {
			t.Errorf("with fault %d the connection goes on: %v", fault, err)
		}
		var rows int
		if err := direct.QueryRow(t.Context(), "select count(*) from row").Scan(&rows); err != nil || rows != 1+made {
			t.Errorf("with fault %d there are %d rows, %v, want %d", fault, rows, err, 1+made)
		}
		if _, err := second.Exec(t.Context(), sql, 1); (err == nil) != (fault != pgproxy.LoseReplyAndRefuse) {
			t.Errorf("after fault %d, another connection failed with %v", fault, err)
		}
	}
}

// Tests want to lose executed statements and not the preparation of statements.
func TestFaultsDoNotAffectRequestsThatOnlyPrepare(t *testing.T) {
	t.Parallel()
	p, conn := start(t)
	p.Fail(pgproxy.LoseRequest)
	if _, err := conn.Prepare(t.Context(), "one", "select 1"); err != nil {
		t.Error(err)
	}
	p.Fail()
	if _, err := conn.Exec(t.Context(), "select $1::text", "a word"); err != nil {
		t.Errorf("after the faults were removed: %v", err)
	}
}

func TestRefuseEndsConnectionsUntilForward(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Empty(t)
	p := dbtest.Proxy(t, databaseURL)
	conn := connect(t, p.URL)
	p.Refuse()
	if _, err := conn.Exec(t.Context(), "select 1"); err == nil {
		t.Error("an existing connection still works")
	}
	if conn, err := pgx.Connect(t.Context(), p.URL); err == nil {
		conn.Close(t.Context())
		t.Error("a new connection is accepted")
	}
	if err := p.Forward(databaseURL); err != nil {
		t.Fatal(err)
	}
	exec(t, connect(t, p.URL), "select 1")
}

func TestHangNeverAnswersNewConnections(t *testing.T) {
	t.Parallel()
	p, conn := start(t)
	p.Hang()
	exec(t, conn, "select 1")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := pgx.Connect(ctx, p.URL)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Errorf("it was answered: %v", err)
	default:
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it was answered")
	}
}

func TestAClientMayAskForTLSFirst(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	exec(t, connect(t, strings.Replace(p.URL, "sslmode=disable", "sslmode=prefer", 1)), "select 1")
}

func start(t *testing.T) (*pgproxy.Proxy, *pgx.Conn) {
	t.Helper()
	p := dbtest.Proxy(t, dbtest.Empty(t))
	return p, connect(t, p.URL)
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) }) // t.Context has ended
	return conn
}

// sendTwo executes two statements in one batch.
func sendTwo(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var b pgx.Batch
	b.Queue("select $1::text", "a word")
	b.Queue("select $1::bigint, $2::text", 7, nil)
	if err := conn.SendBatch(t.Context(), &b).Close(); err != nil {
		t.Fatal(err)
	}
}

// exec executes SQL by the simple protocol.
func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}
