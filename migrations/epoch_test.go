package migrations_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"docket/internal/dbtest"
	"docket/migrations"
)

func TestNewEpochWaitsForAMigration(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	other := connect(t, address)
	exec(t, other, "select pg_advisory_lock(x'646f636b6574'::bigint)")
	before := value[string](t, other, "select epoch::text from docket_epoch")
	waiting, done := make(chan string, 1), make(chan error, 1)
	go func() {
		_, _, err := migrations.NewEpoch(t.Context(), address, writer(func(p []byte) { waiting <- string(p) }))
		done <- err
	}()
	if line := <-waiting; !strings.Contains(line, "another process is migrating this database") {
		t.Errorf("the log has %q", line)
	}
	if got := value[string](t, other, "select epoch::text from docket_epoch"); got != before {
		t.Error("the epoch was renewed during a migration")
	}
	exec(t, other, "select pg_advisory_unlock_all()")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := value[string](t, other, "select epoch::text from docket_epoch"); got == before {
		t.Error("the epoch was not renewed")
	}
}

func TestEachOfConcurrentNewEpochsReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	var (
		mu      sync.Mutex
		group   sync.WaitGroup
		renewed = map[string]bool{} // by the epoch before
	)
	for range 5 {
		group.Go(func() {
			before, after, err := migrations.NewEpoch(t.Context(), address, io.Discard)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || renewed[before] || before == after {
				t.Errorf("from %s to %s: %v", before, after, err)
			}
			renewed[before] = true
		})
	}
	group.Wait()
	if _, _, err := migrations.NewEpoch(t.Context(), dbtest.Empty(t), io.Discard); !errors.Is(err, migrations.ErrNoEpoch) {
		t.Errorf("in an empty database: %v, want ErrNoEpoch", err)
	}
}
