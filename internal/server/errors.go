package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"

	"docket/internal/api"
	"docket/internal/auth"
	"docket/internal/due"
	"docket/internal/limit"
	"docket/internal/middleware"
	"docket/internal/problem"
	"docket/internal/store"
)

// problems maps errors to problems; the first row that matches is used. An error that is neither here nor in problemOf
// is an internal error: 500, and its text appears only in the log.
var problems = []struct {
	err    error
	typ    *problem.Type
	detail string
	faults []api.Fault
	log    bool // the error is logged as the cause
}{
	{err: auth.ErrUnavailable, typ: problem.Unavailable, log: true, detail: "The keys that verify tokens could not be loaded yet. Try again in a moment."},

	{err: limit.ErrBusy, typ: problem.Overloaded, detail: "Too many requests are being worked on at the moment. Try again in a moment."},
	{err: limit.ErrOwnerBusy, typ: problem.Overloaded, detail: "Too many of your requests are being worked on at the moment. Wait for some of their answers, then try again."},
	{err: limit.ErrOwnerTimeout, typ: problem.Overloaded, log: true, detail: "This request waited too long for your other requests. Nothing was done. Wait for their answers, then try again."},

	{err: store.ErrOwnerGone, typ: problem.Unauthorized, detail: "Missing or invalid authorization token: its user no longer exists. Sign in again."},
	{
		err: store.ErrBadCursor, typ: problem.InvalidParameter, detail: badCursor.Detail, faults: []api.Fault{badCursor},
	},
	{err: store.ErrTooManyTags, typ: problem.ValidationFailed, detail: tooManyTags.Detail, faults: []api.Fault{tooManyTags}},
	{
		err: store.ErrInvalid, typ: problem.ValidationFailed, log: true, detail: "The database refused a value.",
		faults: []api.Fault{problem.Body("#", problem.FaultInvalidFormat, "holds a value that the database refuses")},
	},
	{err: store.ErrStale, typ: problem.PreconditionFailed, detail: "This was changed in the meantime. Load it again and repeat your change."},
	{err: store.ErrKeyReused, typ: problem.KeyReused, detail: "The Idempotency-Key was used for another request. Use a new key for a new request."},
	{err: store.ErrOutcomeUnknown, typ: problem.OutcomeUnknown, log: true, detail: "The connection to the database broke: the change may have been made, or not. A create with an Idempotency-Key can safely be sent again."},
	{err: store.ErrTimeout, typ: problem.Unavailable, log: true, detail: "The database took too long for this request. Try again in a moment. A search takes less time together with a status; a change of a tag that very many tasks have may have to be made task by task."},
	{err: store.ErrReadOnly, typ: problem.Unavailable, log: true, detail: "The database accepts no changes at the moment. Try again in a moment."},
	{err: store.ErrUnavailable, typ: problem.Unavailable, log: true, detail: databaseAway},
	{err: store.ErrNoSchema, typ: problem.Unavailable, log: true, detail: databaseUnfit},
	{err: store.ErrNoRole, typ: problem.Unavailable, log: true, detail: databaseUnfit},

	{err: context.DeadlineExceeded, typ: problem.Unavailable, log: true, detail: databaseAway},
	{err: os.ErrDeadlineExceeded, typ: problem.RequestTimeout, detail: "The request body did not arrive in time. Try again."},
}

const (
	databaseAway  = "The database cannot be reached at the moment. Try again in a moment."
	databaseUnfit = "The database has not been prepared for this version of the service yet. Try again later."
)

var badCursor = problem.Parameter("cursor", problem.FaultInvalidFormat,
	"is damaged or belongs to another query: send next_cursor with the filters and sort that it came with")

// tooManyTasks returns the problem of a create that would exceed the limit.
func tooManyTasks(limit int) *problem.Problem {
	return &problem.Problem{
		Type:   problem.TooManyTasks,
		Detail: "You have reached the limit of " + grouped(limit) + " tasks. Delete some that you no longer need, then try again.",
	}
}

// invalidBody returns the problem of a body whose fields do not go together, or with those of the stored row.
func invalidBody(faults ...api.Fault) *problem.Problem {
	return &problem.Problem{Type: problem.ValidationFailed, Detail: problem.Summary(faults), Faults: faults}
}

// grouped returns the digits of a number that is not negative in groups of three: "100,000".
func grouped(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return grouped(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

// problemOf returns the problem with which the service responds to an error.
func problemOf(err error) *problem.Problem {
	var known *problem.Problem
	var token *auth.TokenError
	var tooLarge *http.MaxBytesError
	var missing store.NotFoundError
	var faulty store.FaultsError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &token) && token.Code == "expired":
		return &problem.Problem{Type: problem.TokenExpired, Detail: token.Reason}
	case errors.As(err, &token):
		return &problem.Problem{Type: problem.Unauthorized, Detail: token.Reason}
	case errors.As(err, &faulty):
		faults := make([]api.Fault, len(faulty.Faults))
		for i, f := range faulty.Faults {
			faults[i] = problem.Body("#/"+f.Member, f.Code, f.Detail)
			faults[i].Allowed = f.Allowed
			if f.Max != 0 {
				faults[i].Max = new(int64(f.Max))
				if f.Code == due.CodeOutOfRange {
					faults[i].Min = new(int64(f.Min))
				}
			}
		}
		return invalidBody(faults...)
	case errors.As(err, &missing):
		return problem.NotFound(missing.Resource)
	case errors.As(err, &tooLarge):
		return &problem.Problem{
			Type: problem.PayloadTooLarge, Detail: "The request body is larger than " + problem.Size(tooLarge.Limit) + ".",
		}
	}
	for _, row := range problems {
		if errors.Is(err, row.err) {
			p := &problem.Problem{Type: row.typ, Detail: row.detail, Faults: row.faults}
			if row.log {
				p.Cause = err
			}
			return p
		}
	}
	return &problem.Problem{
		Type: problem.InternalError, Detail: "Something went wrong on our side. Quote the request id when you report it.", Cause: err,
	}
}

// fail responds with the problem of err, and logs its cause. Every error ends here.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	state := middleware.StateOf(r.Context())
	if state.Status != 0 {
		panic(http.ErrAbortHandler) // the response has begun, and could not be sent
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		// The client has disconnected: there is no error and no response. 499 is what nginx logs for it.
		state.Status = 499
		panic(http.ErrAbortHandler)
	}
	p := problemOf(err)
	s.metrics.Problem(p.Code)
	if p.Type == problem.PreconditionFailed && strings.HasPrefix(r.Header.Get("If-Match"), "W/") {
		// Reading the resource again would not help: a proxy weakens every tag.
		p.Detail = "If-Match and etag need the ETag as the service gave it, and a weak one (W/) never matches. A proxy that compresses answers may have made it weak: take the W/ away."
	}
	if p.Status >= 500 {
		level := slog.LevelWarn
		if p.Type == problem.InternalError {
			level = slog.LevelError
		}
		s.log.LogAttrs(r.Context(), level, p.Title, //nolint:sloglint // titles are constants of package problem
			slog.String("request_id", state.RequestID), slog.String("detail", p.Detail), slog.Any("cause", p.Cause),
			where(p.Cause), failing(p.Checks), state.TraceAttr())
	}
	if p.Status == http.StatusUnauthorized {
		state.Reason = reason(err)
		w.Header().Set("WWW-Authenticate", challenge(r, p))
		delete(w.Header(), "Ratelimit") // of an owner who no longer exists
		delete(w.Header(), "Ratelimit-Policy")
	}
	state.Problem = p.Code
	problem.Write(w, p, s.config.BasePath, state.RequestID, state.TraceID)
}

// where returns the attribute with the table and the function that an error of PostgreSQL is about.
func where(cause error) slog.Attr {
	if text := store.Where(cause); text != "" {
		return slog.String("where", text)
	}
	return slog.Attr{} // left out of the line
}

// failing returns the attribute with the checks of readiness that fail, and with what each says.
func failing(checks *api.Checks) slog.Attr {
	if checks == nil {
		return slog.Attr{}
	}
	var all []any
	for name, says := range checksOf(*checks) {
		if says != ok {
			all = append(all, slog.String(name, says))
		}
	}
	return slog.Group("checks", all...) // left out of the line if it is empty
}

// reason returns why a token was refused, as a short code: one of auth's, or unknown_user.
func reason(err error) string {
	if token, is := errors.AsType[*auth.TokenError](err); is {
		return token.Short
	}
	return "unknown_user" // store.ErrOwnerGone
}

// unmatched responds to a request that no route matches.
func (s *Server) unmatched(w http.ResponseWriter, r *http.Request) {
	p := &problem.Problem{Type: problem.RouteNotFound, Detail: "No such route. The document at /openapi.yaml lists them all."}
	if allow := w.Header().Get("Allow"); allow != "" {
		p = &problem.Problem{Type: problem.MethodNotAllowed, Detail: "This address answers " + allow + " only."}
	}
	s.fail(w, r, p)
}

// challenge returns the WWW-Authenticate header (RFC 6750, section 3). It contains no error code if no token was sent.
func challenge(r *http.Request, p *problem.Problem) string {
	const realm = `Bearer realm="docket"`
	if len(r.Header.Values("Authorization")) == 0 {
		return realm
	}
	if p.Type == problem.TokenExpired {
		return realm + `, error="invalid_token", error_description="The token expired"`
	}
	return realm + `, error="invalid_token"`
}
