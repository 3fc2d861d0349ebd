package store

import (
	"errors"
	"testing"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/postgres"
)

func TestEveryOperationIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := dbtest.Proxy(t, withUsers(t, "ada"))
			ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
			for name, operation := range operations {
				for variant, want := range map[string]error{"": nil, " if it is current": nil, " if it is stale": ErrStale, " of no task": ErrNotFound} {
					var got pgproxy.Counts
					for range 2 { // the first time may prepare
						task := create(t, ada, "a task")
						id, o := task.ID, map[string]Owner{
							"": ada, " if it is current": ada.IfMatch(task.Revision), " if it is stale": ada.IfMatch(task.Revision - 1), " of no task": ada,
						}[variant]
						if errors.Is(want, ErrNotFound) {
							id = "none"
						}
						switch operation.does {
						case changesOne:
						case readsOne, changesTag:
							if errors.Is(want, ErrStale) {
								want = nil
							}
						default:
							want = nil
						}
						p.Reset()
						err := operation.call(t.Context(), o, id)
						if got = p.Counts(); !errors.Is(err, want) {
							t.Fatalf("%s%s: %v, want %v", name, variant, err, want)
						}
					}
					if prepared := got.Parses == 0; prepared != (mode == postgres.QueryModePrepared) {
						t.Errorf("%s%s: %d statements were parsed again in the second call", name, variant, got.Parses)
					}
					if got.Parses = 0; got != (pgproxy.Counts{Syncs: 1, Executed: 1, Answers: 1}) {
						t.Errorf("%s%s: %+v, want one sync and one answer", name, variant, got)
					}
				}
			}
		})
	}
}

// Reads and idempotent changes are retried. Other changes are not.
func TestALostConnectionDuringEveryOperation(t *testing.T) {
	t.Parallel()
	for fault, lost := range map[string]pgproxy.Fault{"lost request": pgproxy.LoseRequest, "lost reply": pgproxy.LoseReply} {
		for _, mode := range modes {
			t.Run(fault+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				address := withUsers(t, "ada")
				p := dbtest.Proxy(t, address)
				ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
				direct := open(t, Config{URL: address}).For("ada")
				changes := dbtest.CountChanges(t, address)
				for name, operation := range operations {
					id := create(t, direct, "x").ID
					if err := operation.call(t.Context(), ada, create(t, direct, "y").ID); err != nil { // prepares the statement in modes that do
						t.Fatalf("%s: %v", name, err)
					}
					before := changes()
					p.Fail(lost)
					err := operation.call(t.Context(), ada, id)
					made := changes() - before
					switch {
					case operation.does == readsOne, operation.does == readsAll:
						if err != nil || made != 0 {
							t.Errorf("%s: %v", name, err)
						}
					case name == "CreateTaskOnce":
						if err != nil || made != 1 {
							t.Errorf("%s: %v, made %d times", name, err, made)
						}
					default:
						if !errors.Is(err, ErrOutcomeUnknown) {
							t.Errorf("%s: %v, want ErrOutcomeUnknown", name, err)
						}
						if want := map[pgproxy.Fault]int{pgproxy.LoseReply: 1}[lost]; made != want {
							t.Errorf("%s: made %d times, want %d", name, made, want)
						}
					}
					// The next call uses another connection.
					if err := operation.call(t.Context(), ada, create(t, direct, "z").ID); err != nil {
						t.Errorf("%s, afterwards: %v", name, err)
					}
				}
			})
		}
	}
}
