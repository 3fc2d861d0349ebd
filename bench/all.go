package main

import (
	"context"
	"errors"
	"io"
)

func measureAll(ctx context.Context, p plan, o options, stdout, stderr io.Writer) (err error) {
	w, err := newWorld(ctx, p, o, stderr)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return err
	}
	s, err := w.startServers(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	operations, err := w.operations(ctx, s.docket)
	if err != nil {
		return err
	}
	_, err = w.rounds(ctx, s, operations)
	return err
}
