package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"docket/internal/api"
	"docket/internal/auth"
	"docket/internal/store"
)

// kind is a kind of problem. Every kind has a page at /problems/<code>, see docs.go.
type kind struct {
	status int
	code   string
	title  string
	advice string // for the page: what to do about it
}

// The kinds of problem. A code is stable once released.
var (
	malformedJSON      = &kind{400, "malformed_json", "Malformed JSON", "The body is not one JSON value in UTF-8: check for trailing commas, a second value, a name that stands twice in an object, or a lone surrogate. The detail names the place."}
	invalidParameter   = &kind{400, "invalid_parameter", "Invalid parameter", "A query parameter is unknown, repeated, out of range or contradicts another. Unknown ones are refused because a misspelt filter would otherwise return everything."}
	noChanges          = &kind{400, "no_changes", "No changes", "An update needs at least one field."}
	unexpectedBody     = &kind{400, "unexpected_body", "Unexpected body", "This operation takes no body: send none."}
	unauthorized       = &kind{401, "unauthorized", "Unauthorized", "Send \"Authorization: Bearer <token>\" with the token that Better Auth gives at GET /api/auth/token. The session token is another thing and does not work here."}
	tokenExpired       = &kind{401, "token_expired", "Token expired", "Ask Better Auth for a new token (GET /api/auth/token) and send the request again."}
	userMismatch       = &kind{403, "user_mismatch", "User ID mismatch", "Put the id of the signed-in user into the path: the token's sub."}
	taskNotFound       = &kind{404, "task_not_found", "Task not found", "The task was deleted, never existed, or is somebody else's; the service does not say which."}
	routeNotFound      = &kind{404, "route_not_found", "Route not found", "No operation has this address: compare it with the document at /openapi.yaml. Paths have no trailing slash."}
	methodNotAllowed   = &kind{405, "method_not_allowed", "Method not allowed", "The Allow header lists the methods of this address."}
	notAcceptable      = &kind{406, "not_acceptable", "Not acceptable", "Let the Accept header allow application/json, or leave it out."}
	requestTimeout     = &kind{408, "request_timeout", "Request timeout", "The body did not arrive in time. Send the request again."}
	preconditionFailed = &kind{412, "precondition_failed", "Precondition failed", "Somebody changed the task since you read the ETag that you sent as If-Match. Read the task again, repeat your change on it, and send it with the new ETag."}
	payloadTooLarge    = &kind{413, "payload_too_large", "Payload too large", "A body may have at most 65536 bytes."}
	unsupportedMedia   = &kind{415, "unsupported_media_type", "Unsupported media type", "Send JSON in UTF-8, uncompressed, with Content-Type: application/json."}
	validationFailed   = &kind{422, "validation_failed", "Validation failed", "The body is JSON but not what the document asks for. Every fault is listed in errors, with a JSON pointer to its place."}
	keyReused          = &kind{422, "idempotency_key_reused", "Idempotency key reused", "An Idempotency-Key stands for one create. It was used for another task within the last 24 hours: make a new key for a new task, and keep the key only for sending the same request again."}
	headersTooLarge    = &kind{431, "header_fields_too_large", "Header fields too large", "All header fields together may have at most 16 KiB; usually a cookie has grown."}
	internalError      = &kind{500, "internal_error", "Internal error", "A fault of the service's. Report it with the request id: the cause is in the log under it."}
	unavailable        = &kind{503, "unavailable", "Service unavailable", "The database is away, or the service has not loaded its keys yet. Wait as long as Retry-After says and try again."}
	overloaded         = &kind{503, "overloaded", "Overloaded", "More requests are being worked on than the service can answer in time, or more of yours than your share of them. Nothing was done. Wait as long as Retry-After says and try again, with fewer requests at once."}
	outcomeUnknown     = &kind{503, "outcome_unknown", "Outcome unknown", "The connection to the database broke after the change was sent. Look whether it was made before you send it again. A create with an Idempotency-Key, or a change with If-Match, can be sent again without looking."}
	notReady           = &kind{503, "not_ready", "Not ready", "A readiness check failed; checks says which. Load balancers send no traffic meanwhile."}
)

var kinds = []*kind{
	malformedJSON, invalidParameter, noChanges, unexpectedBody, unauthorized, tokenExpired, userMismatch, taskNotFound,
	routeNotFound, methodNotAllowed, notAcceptable, requestTimeout, preconditionFailed, payloadTooLarge, unsupportedMedia,
	validationFailed, keyReused, headersTooLarge, internalError, unavailable, overloaded, outcomeUnknown, notReady,
}

// problem is an error that knows its answer.
type problem struct {
	*kind
	detail string
	errors []api.Fault
	checks *api.Checks // of readiness
	cause  error       // for the log alone
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.detail + ": " + p.cause.Error()
	}
	return p.detail
}

func (p *problem) Unwrap() error { return p.cause }

// problemOf is the one table from error to answer. An error that it does not know is a fault of ours: 500, and its
// text stays in the log.
func problemOf(err error) *problem {
	var known *problem
	var token *auth.TokenError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &token):
		if token.Code == "expired" {
			return &problem{kind: tokenExpired, detail: token.Reason}
		}
		return &problem{kind: unauthorized, detail: token.Reason}
	case errors.Is(err, auth.ErrUnavailable):
		return &problem{kind: unavailable, detail: "The keys that verify tokens could not be loaded yet. Try again in a moment.", cause: err}
	case errors.As(err, &tooLarge):
		return &problem{kind: payloadTooLarge, detail: "The request body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes."}
	case errors.Is(err, store.ErrNotFound):
		return &problem{kind: taskNotFound, detail: "Task not found or does not belong to this user"}
	case errors.Is(err, store.ErrOwnerGone):
		return &problem{kind: unauthorized, detail: "Missing or invalid authorization token: its user no longer exists. Sign in again."}
	case errors.Is(err, store.ErrBadCursor):
		return invalidParameters(fault("cursor", "is damaged or belongs to another query: send next_cursor with the filters and sort that it came with"))
	case errors.Is(err, store.ErrInvalid):
		return &problem{kind: validationFailed, detail: "The database refused a value.", errors: []api.Fault{bodyFault("#", "holds a value that the database refuses")}, cause: err}
	case errors.Is(err, store.ErrStale):
		return &problem{kind: preconditionFailed, detail: "The task was changed in the meantime. Read it again and repeat your change."}
	case errors.Is(err, store.ErrKeyReused):
		return &problem{kind: keyReused, detail: "The Idempotency-Key was used for another task. Use a new key for a new task."}
	case errors.Is(err, store.ErrOutcomeUnknown):
		return &problem{kind: outcomeUnknown, detail: "The connection to the database broke: the change may have been made, or not. A create with an Idempotency-Key can safely be sent again.", cause: err}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &problem{kind: unavailable, detail: "The database cannot be reached at the moment. Try again in a moment.", cause: err}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{kind: requestTimeout, detail: "The request body did not arrive in time. Try again."}
	}
	return &problem{kind: internalError, detail: "Something went wrong on our side. Quote the request id when you report it.", cause: err}
}

// invalidParameters is the problem of one or more bad query or path parameters.
func invalidParameters(faults ...api.Fault) *problem {
	return &problem{kind: invalidParameter, detail: summary(faults), errors: faults}
}

func fault(parameter, detail string) api.Fault {
	return api.Fault{Parameter: &parameter, Detail: detail}
}

func headerFault(header, detail string) api.Fault {
	return api.Fault{Header: &header, Detail: detail}
}

func bodyFault(pointer, detail string) api.Fault {
	return api.Fault{Pointer: &pointer, Detail: detail}
}

// summary says all faults in one line, for clients that show nothing but detail.
func summary(faults []api.Fault) string {
	var b strings.Builder
	for i, f := range faults {
		if i > 0 {
			b.WriteString("; ")
		}
		switch {
		case f.Parameter != nil:
			b.WriteString(*f.Parameter + ": ")
		case f.Header != nil:
			b.WriteString(*f.Header + ": ")
		case f.Pointer != nil && *f.Pointer != "#":
			place, _ := url.PathUnescape(strings.TrimPrefix(*f.Pointer, "#/")) // we escaped it
			b.WriteString(place + ": ")
		case f.Pointer != nil:
			b.WriteString("The body ")
		}
		b.WriteString(f.Detail)
	}
	return clip(b.String(), 4000)
}

// clip shortens text that may hold what a client sent.
func clip(s string, most int) string {
	for i := range s {
		if i > most {
			return s[:i] + "…"
		}
	}
	return s
}

// writeProblem answers with the problem document of err (RFC 9457). All error hooks end here.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	if exchangeOf(r).status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun, and what failed is its way to a client that is gone
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		// The client is gone: nobody reads an answer, and nothing went wrong here. 499 is nginx's word for it in a log.
		exchangeOf(r).status = 499
		panic(http.ErrAbortHandler)
	}
	p := problemOf(err)
	if p.kind == preconditionFailed && strings.HasPrefix(r.Header.Get("If-Match"), "W/") {
		// Reading the task again would not help: what weakened the tag does so every time.
		p.detail = "If-Match needs the ETag as the service gave it, and a weak one (W/) never matches. A proxy that compresses answers may have made it weak: take the W/ away."
	}
	x := exchangeOf(r)
	x.ours = true
	if p.status >= 500 {
		level := slog.LevelWarn
		if p.kind == internalError {
			level = slog.LevelError
		}
		s.log.LogAttrs(r.Context(), level, p.title, slog.String("request_id", x.requestID), slog.String("detail", p.detail), slog.Any("cause", p.cause))
	}
	h := w.Header()
	switch p.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(r, p))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		// The rest of the body is still under way and will not be read.
		h.Set("Connection", "close")
	}
	type document struct {
		api.Problem
		Checks *api.Checks `json:"checks,omitempty"`
	}
	body, err := json.Marshal(document{Checks: p.checks, Problem: api.Problem{
		Type: "/problems/" + p.code, Title: p.title, Status: int32(p.status), Detail: p.detail, Code: p.code,
		Instance: "/requests/" + x.requestID, RequestID: x.requestID, Errors: p.errors,
	}})
	if err != nil {
		panic(err) // strings and numbers alone: cannot fail
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Del("Location")
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // a failure means that the client is gone
}

// challenge is the WWW-Authenticate header, RFC 6750 section 3: no error code when no token was sent.
func challenge(r *http.Request, p *problem) string {
	const realm = `Bearer realm="docket"`
	if len(r.Header.Values("Authorization")) == 0 {
		return realm
	}
	if p.kind == tokenExpired {
		return realm + `, error="invalid_token", error_description="The token expired"`
	}
	return realm + `, error="invalid_token"`
}
