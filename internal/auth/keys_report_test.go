package auth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A failure that lasts stays in the log, and does not fill it.
func TestAFailureThatLastsIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := &keySet{ctx: t.Context(), url: "https://user:secret@auth.example:1/jwks?secret#secret", log: slog.New(slog.NewTextHandler(&log, nil))}
	start := time.Now()
	lines := func(after time.Duration, keys int, err error) int {
		before := strings.Count(log.String(), "\n")
		s.report(keys, nil, err, start.Add(after))
		return strings.Count(log.String(), "\n") - before
	}
	reset := func(port int) error {
		return &url.Error{Op: "Get", URL: "secret", Err: &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: errors.New("connection reset by peer"),
		}}
	}
	for n, step := range []struct {
		after time.Duration
		keys  int
		err   error
		want  int
	}{
		{0, 0, errNoKeys, 1},
		{time.Second, 0, errNoKeys, 0},
		{59 * time.Second, 0, errNoKeys, 0},
		{60 * time.Second, 0, errNoKeys, 1},
		{61 * time.Second, 0, io.ErrUnexpectedEOF, 1},
		{62 * time.Second, 0, withoutURL(reset(1)), 1},
		{63 * time.Second, 0, withoutURL(reset(2)), 0},
		{122 * time.Second, 0, withoutURL(reset(3)), 1},
		{123 * time.Second, 1, nil, 1},
		{time.Hour, 1, nil, 0},
	} {
		if got := lines(step.after, step.keys, step.err); got != step.want {
			t.Errorf("step %d: %d lines, want %d", n, got, step.want)
		}
	}
	if text := log.String(); strings.Contains(text, "secret") || strings.Count(text, "address=https://auth.example:1/jwks error=") != 5 {
		t.Errorf("the log is\n%s", text)
	}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if lines(2*time.Hour, 0, errNoKeys) != 0 {
		t.Error("it is logged after the end")
	}
}
