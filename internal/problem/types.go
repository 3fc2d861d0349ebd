package problem

import (
	"strconv"
	"strings"
)

// Type is a problem type (RFC 9457, section 4). Its page is at /problems/<code>.
type Type struct {
	Status int
	Code   string // stable once released
	Title  string
	Advice string // for the page: what to do about it
}

// The problem types. NotFound makes those of resources that are not found.
var (
	MalformedJSON      = &Type{400, "malformed_json", "Malformed JSON", "The body is not one JSON value in UTF-8: check for trailing commas, a second value, a name that occurs twice in an object, or a lone surrogate. The detail names the place."}
	MalformedRequest   = &Type{400, "malformed_request", "Malformed request", "The request is not valid HTTP, so that the service cannot know what it asks for. Often the path has a % that is not followed by two hexadecimal digits: write it as %25."}
	InvalidParameter   = &Type{400, "invalid_parameter", "Invalid parameter", "A query parameter is unknown, repeated, out of range or contradicts another. Unknown ones are refused because a misspelt filter would otherwise return everything."}
	NoChanges          = &Type{400, "no_changes", "No changes", "An update needs at least one field that a client can set."}
	UnexpectedBody     = &Type{400, "unexpected_body", "Unexpected body", "This operation takes no body: send none."}
	Unauthorized       = &Type{401, "unauthorized", "Unauthorized", "Send \"Authorization: Bearer <token>\" with the token that Better Auth gives at GET /api/auth/token. The session token is a different token and is refused."}
	TokenExpired       = &Type{401, "token_expired", "Token expired", "Ask Better Auth for a new token (GET /api/auth/token) and send the request again."}
	UserMismatch       = &Type{403, "user_mismatch", "User ID mismatch", "Put the id of the signed-in user into the path: the token's sub."}
	RouteNotFound      = &Type{404, "route_not_found", "Route not found", "No operation has this address: compare it with the document at /openapi.yaml. A slash at the end of a path makes no difference."}
	MethodNotAllowed   = &Type{405, "method_not_allowed", "Method not allowed", "The Allow header lists the methods of this address."}
	NotAcceptable      = &Type{406, "not_acceptable", "Not acceptable", "Let the Accept header allow application/json, or leave it out."}
	RequestTimeout     = &Type{408, "request_timeout", "Request timeout", "The body did not arrive in time. Send the request again."}
	TooManyTasks       = &Type{409, "too_many_tasks", "Too many tasks", "The owner has reached the limit of tasks. Nothing was created. Delete tasks that are no longer needed, then create the new one."}
	PreconditionFailed = &Type{412, "precondition_failed", "Precondition failed", "Somebody changed the resource since you read the ETag that you sent as If-Match or as etag. Read it again, repeat your change on it, and send it with the new ETag."}
	PayloadTooLarge    = &Type{413, "payload_too_large", "Payload too large", "The body is larger than its operation allows; the detail says how much that is."}
	UnsupportedMedia   = &Type{415, "unsupported_media_type", "Unsupported media type", "Send JSON in UTF-8, uncompressed, with Content-Type: application/json."}
	ExpectationFailed  = &Type{417, "expectation_failed", "Expectation failed", "Leave out the Expect header: the only value that the service meets is 100-continue."}
	ValidationFailed   = &Type{422, "validation_failed", "Validation failed", "The body is JSON but not what the document asks for. Every fault is listed in errors, with a JSON pointer to its place."}
	KeyReused          = &Type{422, "idempotency_key_reused", "Idempotency key reused", "An Idempotency-Key stands for one create. It was used for another request within the last 24 hours: make a new key for a new request, and keep the key only for sending the same request again."}
	RateLimited        = &Type{429, "rate_limited", "Too many requests", "The owner has sent more requests in a minute than RateLimit-Policy allows. Nothing was done. Wait as long as Retry-After says and try again. RateLimit says on every answer how many requests remain (r) and in how many seconds there will be more (t). An answer without a body to a read with If-None-Match (304) costs a fifth of a request."}
	HeadersTooLarge    = &Type{431, "header_fields_too_large", "Header fields too large", "All header fields together may have at most 16 KiB; usually a cookie has grown, or a token holds an image: see jwt.definePayload of Better Auth. There may be 100 fields."}
	InternalError      = &Type{500, "internal_error", "Internal error", "A fault of the service's. Report it with the request id: the cause is in the log under it."}
	TransferEncoding   = &Type{501, "unsupported_transfer_encoding", "Unsupported transfer encoding", "Send the body with Content-Length or with Transfer-Encoding: chunked."}
	Unavailable        = &Type{503, "unavailable", "Service unavailable", "The database cannot be reached, or the service has not loaded its keys yet. Wait as long as Retry-After says and try again."}
	Overloaded         = &Type{503, "overloaded", "Overloaded", "More requests are being worked on than the service can answer in time, or more of yours than your share of them. Nothing was done. Wait as long as Retry-After says and try again, with fewer requests at once."}
	OutcomeUnknown     = &Type{503, "outcome_unknown", "Outcome unknown", "The connection to the database broke after the change was sent. Check whether it was made before you send it again. A create with an Idempotency-Key, or a change with If-Match, can be sent again without checking."}
	NotReady           = &Type{503, "not_ready", "Not ready", "A readiness check failed; checks says which. Load balancers send no traffic meanwhile."}
	HTTPVersion        = &Type{505, "unsupported_http_version", "Unsupported HTTP version", "Send HTTP/1.1. A proxy in front of the service speaks the newer versions."}
)

// Resources are the names of resources that a request can identify by an id.
var Resources = []string{"task", "tag"}

// Types lists every problem type, by status.
var Types = func() []*Type {
	all := []*Type{
		MalformedJSON, MalformedRequest, InvalidParameter, NoChanges, UnexpectedBody, Unauthorized, TokenExpired, UserMismatch,
	}
	for _, resource := range Resources {
		all = append(all, notFound(resource))
	}
	return append(all,
		RouteNotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, TooManyTasks, PreconditionFailed, PayloadTooLarge,
		UnsupportedMedia, ExpectationFailed, ValidationFailed, KeyReused, RateLimited, HeadersTooLarge, InternalError,
		TransferEncoding, Unavailable, Overloaded, OutcomeUnknown, NotReady, HTTPVersion,
	)
}()

func notFound(resource string) *Type {
	return &Type{
		404, resource + "_not_found", sentence(resource) + " not found",
		"The " + resource + " was deleted, never existed, or is somebody else's; the service does not say which.",
	}
}

// NotFound returns the problem of a resource that the owner does not have, for whatever reason: "task" has the code
// task_not_found. It panics if the resource is not one of Resources.
func NotFound(resource string) *Problem {
	code := resource + "_not_found"
	for _, t := range Types {
		if t.Code == code {
			return &Problem{Type: t, Detail: t.Title + " or does not belong to this user"}
		}
	}
	panic("problem: " + resource + " is not in Resources")
}

// Size returns a number of bytes in words, in KiB if it is a multiple of them: "64 KiB".
func Size(bytes int64) string {
	if bytes > 0 && bytes%1024 == 0 {
		return strconv.FormatInt(bytes/1024, 10) + " KiB"
	}
	return strconv.FormatInt(bytes, 10) + " bytes"
}

// sentence returns the word with a capital first letter.
func sentence(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
