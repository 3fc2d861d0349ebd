package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
	"docket/internal/check"
	"docket/internal/limit"
	"docket/internal/middleware"
	"docket/internal/problem"
)

// routeOperations adds every operation of the document to the mux.
func (s *Server) routeOperations(mux *http.ServeMux, doc *openapi3.T) error {
	strict := api.NewStrictHandlerWithOptions(s, []api.StrictMiddlewareFunc{requireResponse}, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.fail,
		ResponseErrorHandlerFunc: s.fail,
	})
	router := &router{ServeMux: mux, server: s, doc: doc}
	api.HandlerWithOptions(strict, api.StdHTTPServerOptions{BaseRouter: router, ErrorHandlerFunc: s.fail})
	if router.err != nil {
		return fmt.Errorf("the document cannot be enforced: %w", router.err)
	}
	return nil
}

// router implements the generated ServeMux: it receives the routes from the generated code and puts the checks of its
// operation before each handler.
type router struct {
	*http.ServeMux
	server *Server
	doc    *openapi3.T
	err    error
}

// HandleFunc implements api.ServeMux.
func (rt *router) HandleFunc(pattern string, next func(http.ResponseWriter, *http.Request)) {
	op, err := check.Compile(rt.doc, pattern)
	if err != nil {
		rt.err = errors.Join(rt.err, fmt.Errorf("%s: %w", pattern, err))
		return
	}
	h := rt.server.operation(op, next)
	last := strings.Trim(pattern[strings.LastIndexByte(pattern, '/')+1:], "{}")
	rt.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue(last) == middleware.Slash {
			r.SetPathValue(last, "/")
		}
		h.ServeHTTP(w, r)
	}))
}

// operation returns the handler of an operation, preceded by the operation's policy and checks.
func (s *Server) operation(op *check.Operation, next http.HandlerFunc) http.Handler {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := middleware.StateOf(r.Context())
		state.Route, state.Quiet = op.Route, op.Public
		r, cancel := s.limitTime(w, r, op.Policy)
		defer cancel()
		if err := s.check(op, state, r); err != nil {
			s.fail(w, r, err)
			return
		}
		if op.Policy.Admission == check.AdmissionOwner {
			admission, err := s.admit(r.Context(), state)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			defer admission.Release()
		}
		next(w, r)
	})
	if op.Policy.Compress {
		h = middleware.Compress(h)
	}
	return h
}

// check authenticates, authorizes, counts and checks a request, in this order: the cheap steps come first, and a caller
// without a valid token learns nothing about the rest. It is admitted afterwards, so that a body that arrives slowly
// occupies no slot.
func (s *Server) check(op *check.Operation, state *middleware.State, r *http.Request) error {
	if !op.Public {
		identity, err := s.verifier.Verify(r.Context(), r.Header.Values("Authorization"))
		if err != nil {
			return err
		}
		state.Owner = identity.Owner
	}
	if op.Owned && (state.Owner == "" || r.PathValue("user_id") != state.Owner) {
		return &problem.Problem{
			Type: problem.UserMismatch, Detail: "User ID mismatch: the user_id in the path is not the token's sub.",
		}
	}
	if s.rate != nil && state.Owner != "" {
		if err := s.count(state, r); err != nil {
			return err
		}
	}
	if err := op.Check(r); err != nil {
		return err
	}
	if op.Policy.Body > 0 && errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded // the body took the whole time limit
	}
	return nil
}

// admit acquires a slot for a request, and sets what its scans wait for.
func (s *Server) admit(ctx context.Context, state *middleware.State) (*limit.Admission, error) {
	admission, err := s.limiter.Acquire(ctx, state.Owner)
	if err != nil {
		return nil, s.refusal(ctx, err)
	}
	state.Scan = func(ctx context.Context) (func(), error) {
		ended, err := admission.Scan(ctx)
		if err != nil {
			return nil, s.refusal(ctx, err)
		}
		return ended, nil
	}
	return admission, nil
}

// waited returns what records a wait for admission, with a span of that name.
func (s *Server) waited(name string) limit.Waited {
	return func(ctx context.Context, queue string, start time.Time, err error) {
		if queue == limit.QueueOwner {
			middleware.StateOf(ctx).OwnerQueue += time.Since(start)
		}
		s.config.Tracing.Waited(ctx, name, queue, start, err)
	}
}

// limitTime applies the time limit of an operation to a request. The http.Server's deadlines for the connection are
// those of the default limit; limitTime replaces them for another limit. A stream has no deadline for writing: its
// handler sets one before each write.
func (s *Server) limitTime(w http.ResponseWriter, r *http.Request, p check.Policy) (*http.Request, context.CancelFunc) {
	timeout := cmp.Or(s.config.RequestTimeout, p.Timeout)
	if p.Stream || timeout != check.DefaultTimeout {
		var read, write time.Time // none
		if timeout > 0 {
			read = time.Now().Add(timeout + readSlack)
		}
		if !p.Stream {
			write = time.Now().Add(timeout + writeSlack)
		}
		connection := http.NewResponseController(w)
		_ = errors.Join(connection.SetReadDeadline(read), connection.SetWriteDeadline(write)) // if these fail, the connection is closed
	}
	if timeout == 0 {
		return r, func() {}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	return r.WithContext(ctx), cancel
}

// requireResponse returns an error if a handler returns neither a response nor an error. The generated code would send
// an empty 200.
func requireResponse(next api.StrictHandlerFunc, _ string) api.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		response, err := next(ctx, w, r, request)
		if response == nil && err == nil {
			err = errNoResponse
		}
		return response, err
	}
}
