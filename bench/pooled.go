package main

import (
	"context"
	"strconv"

	"docket/internal/dbtest/pooler"
)

// Names of the contenders. All but the first send their requests through a pooler.
const (
	direct         = "direct, cache_statement"
	pooledPrepared = "pooler, cache_statement"
	pooledExec     = "pooler, exec"
	pooledPlain    = "pooler without prepared statements, auto"
)

// startPooled starts the service with the database behind the pooler.
func (e *environment) startPooled(ctx context.Context, name, binary, queryMode string) (*contender, error) {
	return e.startBehind(ctx, e.pooler, name, binary, queryMode)
}

func (e *environment) startBehind(ctx context.Context, p *pooler.Pooler, name, binary, queryMode string) (*contender, error) {
	c, err := e.start(ctx, name, binary, p.URL, "DB_QUERY_MODE="+queryMode)
	if err == nil {
		c.pooler = p.PID()
	}
	return c, err
}

func (e *environment) startDirect(ctx context.Context, name, binary, queryMode string) (*contender, error) {
	return e.start(ctx, name, binary, e.url, "DB_QUERY_MODE="+queryMode)
}

// pooled measures the service behind the pooler, beside the given one that needs none.
func (e *environment) pooled(ctx context.Context, service *contender) (results, error) {
	beside := *service
	beside.name, beside.operations = direct, choose(service.operations, baselineOperations...)
	all := contenders{&beside}
	defer func() { all[1:].stop() }()
	for _, p := range []struct {
		name, queryMode string
		pooler          *pooler.Pooler
	}{{pooledPrepared, "cache_statement", e.pooler}, {pooledExec, "exec", e.pooler}, {pooledPlain, "auto", e.plainPooler}} {
		if p.name == pooledPrepared && !e.pooler.Version.PreparedStatements() {
			continue
		}
		c, err := e.startBehind(ctx, p.pooler, p.name, e.options.docket, p.queryMode)
		if err != nil {
			return nil, err
		}
		c.operations = beside.operations
		all = append(all, c)
	}
	return e.inTurns(ctx, "behind a pooler", all, e.plan.connections[:1], e.closed)
}

// against measures another binary of the service beside the normal one, directly and through the pooler if that
// supports prepared statements, and returns a table.
func (e *environment) against(ctx context.Context) (string, error) {
	const other = "other"
	paths := []string{"direct"}
	if e.pooler.Version.PreparedStatements() {
		paths = append(paths, "pooler")
	}
	var all contenders
	defer func() { all.stop() }()
	for _, path := range paths {
		for _, of := range []struct{ name, binary string }{{docket, e.options.docket}, {other, e.options.against}} {
			start := e.startPooled
			if path == "direct" {
				start = e.startDirect
			}
			c, err := start(ctx, of.name+", "+path, of.binary, "cache_statement")
			if err != nil {
				return "", err
			}
			all = append(all, c)
			operations, err := e.operations(ctx, c)
			if err != nil {
				return "", err
			}
			c.operations = choose(operations, list20, list20Unchanged, get, create, complete)
		}
	}
	found, err := e.inTurns(ctx, "against "+e.options.against, all, e.plan.connections, e.closed)
	if err != nil {
		return "", err
	}
	rows := [][]string{{
		"operation", "path", "connections", "CPU of docket", "of the other", "other / docket", "the service's alone",
		"requests/s of docket", "of the other", "other / docket",
	}}
	for _, o := range all[0].operations {
		for _, path := range paths {
			for _, n := range e.plan.connections {
				ours, theirs := cell{o.name, n, docket + ", " + path}, cell{o.name, n, other + ", " + path}
				rows = append(rows, []string{
					o.name, path, strconv.Itoa(n),
					micros(found.median(ours, totalCPU)), micros(found.median(theirs, totalCPU)),
					found.ratio(theirs, ours, totalCPU).String(), found.ratio(theirs, ours, cpu(server)).String(),
					count(found.median(ours, rate)), count(found.median(theirs, rate)), found.ratio(theirs, ours, rate).String(),
				})
			}
		}
	}
	return table(rows), nil
}
