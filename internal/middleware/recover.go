package middleware

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// ErrPanic is the error that Recover reports for a panic.
var ErrPanic = errors.New("panic")

// Recover responds to a panic through fail, logs it with its stack, and calls count for the metrics. If the response has already begun, it is
// aborted instead, so that it does not look complete.
func Recover(log *slog.Logger, count func(), fail func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if err, is := v.(error); is && errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
				count()
				s := StateOf(r.Context())
				log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("request_id", s.RequestID),
					slog.Any("panic", v), slog.String("stack", string(debug.Stack())), s.TraceAttr())
				if s.Status != 0 {
					panic(http.ErrAbortHandler)
				}
				fail(w, r, ErrPanic)
			}()
			next.ServeHTTP(w, r)
		})
	}
}
