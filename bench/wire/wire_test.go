package wire_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/bench/wire"
	"docket/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

func TestATapTakesDownEveryStatementWithItsParameters(t *testing.T) {
	t.Parallel()
	tap, err := wire.Open(dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	conn, err := pgx.Connect(t.Context(), tap.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })

	for i := range 2 { // the first time prepares
		var b pgx.Batch
		b.Queue("select $1::text", "a word")
		b.Queue("select $1::bigint, $2::text", 7, nil)
		if err := conn.SendBatch(t.Context(), &b).Close(); err != nil {
			t.Fatal(err)
		}
		binds, syncs := tap.Take()
		if len(binds) != 2 || syncs != 1 {
			t.Fatalf("time %d: %d statements in %d round trips", i+1, len(binds), syncs)
		}
		first, second := binds[0], binds[1]
		if first.SQL != "select $1::text" || string(first.Params[0]) != "a word" {
			t.Errorf("the first is %+v", first)
		}
		if second.SQL != "select $1::bigint, $2::text" || second.Formats[0] != pgx.BinaryFormatCode ||
			string(second.Params[0]) != "\x00\x00\x00\x00\x00\x00\x00\x07" || second.Params[1] != nil {
			t.Errorf("the second is %+v", second)
		}
	}
	if binds, syncs := tap.Take(); len(binds) != 0 || syncs != 0 {
		t.Errorf("taken twice: %v", binds)
	}
}
