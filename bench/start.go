package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"docket/bench/figure"
)

// footprint is what the service needs before it has done anything, and under load.
type footprint struct {
	ready  []time.Duration // from exec to the first answer that it is ready
	idle   int64           // memory then, in bytes
	binary int64           // in bytes
}

func (w *world) footprint(ctx context.Context) (f footprint, err error) {
	fmt.Fprintf(w.log, "starting the service %d times\n", w.plan.starts)
	for range w.plan.starts {
		began := time.Now()
		p, err := w.execDocket(w.url, nil)
		if err != nil {
			return f, err
		}
		err = p.ready(ctx, "/health/ready", time.Millisecond)
		f.ready = append(f.ready, time.Since(began))
		if err == nil {
			f.idle, err = peak(p.pid)
		}
		p.stop()
		if err != nil {
			return f, err
		}
	}
	info, err := os.Stat(w.options.docket)
	if err != nil {
		return f, err
	}
	f.binary = info.Size()
	return f, nil
}

func (f footprint) spread() figure.Spread { return figure.Of(f.ready) }
