package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"docket/bench/baseline"
	"docket/internal/dbtest/pgproxy"
)

// record returns the statements that the service sends for a list, for one task and for a new one.
func (e *environment) record(ctx context.Context) (baseline.Batches, error) {
	proxy, err := pgproxy.Start(e.url)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	service, err := e.start(ctx, docket, e.options.docket, proxy.URL, "DB_MAX_CONNS=1", "DB_MIN_IDLE_CONNS=1")
	if err != nil {
		return nil, err
	}
	defer service.stop()
	users, err := e.users(ctx, e.url, creating*e.plan.users, 2)
	if err != nil {
		return nil, err
	}
	batches := baseline.Batches{}
	for operation, request := range map[string]func(user) (method, path, body string){
		"list":   func(user) (method, path, body string) { return "GET", "?limit=20", "" },
		"get":    func(u user) (method, path, body string) { return "GET", "/" + u.tasks[0], "" },
		"create": func(u user) (method, path, body string) { return "POST", "", newTask(titleOf(u)) },
	} {
		var sent [2][]pgproxy.Statement
		for i, u := range users {
			trips := 0
			for try := 0; try < 10 && (try == 0 || trips != 1); try++ { // the first prepares; a probe may come between
				proxy.Reset()
				method, path, body := request(u)
				if _, _, err := e.ask(ctx, service, u, method, path, body); err != nil {
					return nil, err
				}
				sent[i], trips = proxy.Statements(), proxy.Counts().Executed
			}
			if trips != 1 {
				return nil, fmt.Errorf("%s: %d round trips to PostgreSQL, and the baseline makes one", operation, trips)
			}
		}
		if batches[operation], err = statementsOf(users, sent); err != nil {
			return nil, fmt.Errorf("%s: %w", operation, err)
		}
	}
	return batches, nil
}

func titleOf(u user) string { return "A task of " + u.owner }

// statementsOf compares what was sent for two users. The values that differ came from the request.
func statementsOf(users []user, sent [2][]pgproxy.Statement) ([]baseline.Statement, error) {
	sameSQL := func(a, b pgproxy.Statement) bool { return a.SQL == b.SQL && len(a.Params) == len(b.Params) }
	if !slices.EqualFunc(sent[0], sent[1], sameSQL) {
		return nil, errors.New("two requests cause different statements")
	}
	var all []baseline.Statement
	for i, s := range sent[0] {
		statement := baseline.Statement{SQL: s.SQL, Values: s.Params, Formats: s.Formats}
		for j := range s.Params {
			a, b := string(s.Params[j]), string(sent[1][i].Params[j])
			role := roleOf(users, a, b)
			if role == baseline.Constant && a != b {
				return nil, fmt.Errorf("parameter %d has an unknown source: %s", j+1, s.SQL)
			}
			statement.Roles = append(statement.Roles, role)
		}
		all = append(all, statement)
	}
	return all, nil
}

func roleOf(users []user, a, b string) baseline.Role {
	switch {
	case a == users[0].owner && b == users[1].owner:
		return baseline.Owner
	case a == users[0].tasks[0] && b == users[1].tasks[0]:
		return baseline.ID
	case a == titleOf(users[0]) && b == titleOf(users[1]):
		return baseline.Title
	case a != b && uuid.Validate(a) == nil && uuid.Validate(b) == nil:
		return baseline.NewID
	}
	return baseline.Constant
}
