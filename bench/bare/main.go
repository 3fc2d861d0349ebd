// Command bare runs one of the baselines: -sql FILE the one that sends the service's own statements, -list FILE and -task
// FILE the one that answers with these files, and otherwise the bare one.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"

	"docket/bench/baseline"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	addr := flag.String("addr", "", "address to listen on")
	sql := flag.String("sql", "", "file with the statements to send")
	listFile := flag.String("list", "", "file with the only list")
	taskFile := flag.String("task", "", "file with the only task")
	flag.Parse()
	if *listFile != "" {
		list, err := os.ReadFile(*listFile)
		if err != nil {
			return err
		}
		task, err := os.ReadFile(*taskFile)
		if err != nil {
			return err
		}
		return http.ListenAndServe(*addr, baseline.Constant(list, task))
	}
	pool, err := baseline.Pool(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if *sql == "" {
		return http.ListenAndServe(*addr, baseline.Bare(pool))
	}
	text, err := os.ReadFile(*sql)
	if err != nil {
		return err
	}
	var batches baseline.Batches
	if err := json.Unmarshal(text, &batches); err != nil {
		return err
	}
	handler, err := baseline.SameSQL(ctx, pool, batches)
	if err != nil {
		return err
	}
	return http.ListenAndServe(*addr, handler)
}
