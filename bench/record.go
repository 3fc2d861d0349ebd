package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"docket/bench/baseline"
	"docket/bench/wire"
)

// record learns from the service itself which statements it sends for a list, a get and a create. What this gives is
// what the baselines send.
func (w *world) record(ctx context.Context) (baseline.Batches, error) {
	tap, err := wire.Open(w.url)
	if err != nil {
		return nil, err
	}
	defer tap.Close()
	var log bytes.Buffer // of this service alone: it is the first one, and says what is wrong if anything is
	service, err := w.startDocket(ctx, tap.URL, &log, "DB_MAX_CONNS=1", "DB_MIN_IDLE_CONNS=1")
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &log)
	}
	defer service.stop()
	two, err := w.actors(ctx, w.url, creating*w.plan.actors, 2)
	if err != nil {
		return nil, err
	}
	batches := baseline.Batches{}
	for key, ask := range map[string]func(actor) (method, path, body string){
		"list":   func(actor) (method, path, body string) { return "GET", "?limit=20", "" },
		"get":    func(a actor) (method, path, body string) { return "GET", "/" + a.tasks[0], "" },
		"create": func(a actor) (method, path, body string) { return "POST", "", newTask(titleOf(a)) },
	} {
		var sent [2][]wire.Bind
		for i, a := range two {
			method, path, body := ask(a)
			var syncs int
			for try := range 6 { // the first time may prepare, and a probe may be in between
				tap.Take()
				if _, _, err := w.ask(ctx, service, a, method, path, body); err != nil {
					return nil, err
				}
				if sent[i], syncs = tap.Take(); try > 0 && syncs == 1 {
					break
				}
			}
			if syncs != 1 {
				return nil, fmt.Errorf("%s takes %d round trips: the baselines are made for one", key, syncs)
			}
		}
		err := onDatabase(ctx, w.url, func(conn *pgx.Conn) (err error) {
			batches[key], err = compare(ctx, conn, two, sent)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return batches, nil
}

func titleOf(a actor) string { return "A task of " + a.owner }

// compare finds out what the parameters are: what two owners' requests differ in comes from the request.
func compare(ctx context.Context, conn *pgx.Conn, by []actor, sent [2][]wire.Bind) (baseline.Batch, error) {
	var batch baseline.Batch
	if len(sent[0]) != len(sent[1]) {
		return nil, errors.New("two requests of one kind send different statements")
	}
	for i, first := range sent[0] {
		second := sent[1][i]
		if first.SQL == "" || first.SQL != second.SQL || len(first.Params) != len(second.Params) {
			return nil, fmt.Errorf("two requests of one kind send different statements:%s\n%s", first.SQL, second.SQL)
		}
		description, err := conn.Prepare(ctx, first.SQL, first.SQL)
		if err != nil {
			return nil, err
		}
		statement := baseline.Statement{SQL: first.SQL}
		for p, oid := range description.ParamOIDs {
			a, err1 := textOf(conn.TypeMap(), oid, first, p)
			b, err2 := textOf(conn.TypeMap(), oid, second, p)
			if err := errors.Join(err1, err2); err != nil {
				return nil, err
			}
			if a.Role = roleOf(a.Text, b.Text, by); a.Role == "" && a != b {
				return nil, fmt.Errorf("no telling where parameter %d comes from:%s", p+1, first.SQL)
			}
			statement.Args = append(statement.Args, a)
		}
		batch = append(batch, statement)
	}
	return batch, nil
}

func roleOf(a, b string, by []actor) baseline.Role {
	switch {
	case a == by[0].owner && b == by[1].owner:
		return baseline.Owner
	case a == by[0].tasks[0] && b == by[1].tasks[0]:
		return baseline.ID
	case a == titleOf(by[0]) && b == titleOf(by[1]):
		return baseline.Title
	case a != b && uuid.Validate(a) == nil && uuid.Validate(b) == nil:
		return baseline.Fresh
	}
	return ""
}

// textOf writes a parameter as PostgreSQL does.
func textOf(types *pgtype.Map, oid uint32, sent wire.Bind, p int) (baseline.Arg, error) {
	arg := baseline.Arg{OID: oid}
	if arg.Null = sent.Params[p] == nil; arg.Null {
		return arg, nil
	}
	typ, known := types.TypeForOID(oid)
	if !known {
		return arg, fmt.Errorf("parameter %d has the type %d, which is unknown:%s", p+1, oid, sent.SQL)
	}
	value, err := typ.Codec.DecodeValue(types, oid, sent.Formats[p], sent.Params[p])
	if err != nil {
		return arg, err
	}
	text, err := types.Encode(oid, pgx.TextFormatCode, value, nil)
	arg.Text = string(text)
	return arg, err
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
