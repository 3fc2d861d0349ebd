package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// measureAll measures everything and reports it.
func measureAll(ctx context.Context, p plan, o options, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	var d document
	if o.docs != "" { // what is wrong with it is told now, and not at the end
		if d, err = openDocument(filepath.Join(o.docs, "performance.md")); err != nil {
			return err
		}
	}
	w, err := newWorld(ctx, p, o, stderr)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return err
	}
	r := report{plan: p}
	if err := w.measure(ctx, &r); err != nil {
		return err
	}
	if r.machine, err = w.machine(ctx, time.Since(began)); err != nil {
		return err
	}
	targets := r.targets()
	fmt.Fprint(stdout, r.markdown(targets))
	if o.docs != "" {
		if err := d.renew(r.markdown(targets)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.docs, "performance.svg"), []byte(r.plot().SVG()), 0o644); err != nil {
			return err
		}
	}
	if missed := missed(targets); o.strict && missed > 0 {
		return fmt.Errorf("%d of %d targets are not met", missed, len(targets))
	}
	return nil
}

func (w *world) measure(ctx context.Context, r *report) error {
	s, err := w.startServers(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	operations, err := w.operations(ctx, s.docket)
	if err != nil {
		return err
	}
	r.operations = operations
	if r.allocations, err = w.allocations(ctx, operations); err != nil {
		return err
	}
	if r.clients, err = w.clients(s.constant, operations[0]); err != nil {
		return err
	}
	if r.results, err = w.rounds(ctx, s, operations); err != nil {
		return err
	}
	if r.steady, err = w.steadily(ctx, s, operations, r.results); err != nil {
		return err
	}
	if r.pooled, err = w.pooled(ctx, s.docket, operations); err != nil {
		return err
	}
	s.stop() // nobody else is running from here on
	if r.footprint, err = w.footprint(ctx); err != nil {
		return err
	}
	r.growth, err = w.grow(ctx)
	return err
}
