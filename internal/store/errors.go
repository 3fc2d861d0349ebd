package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrNotFound: the owner has no such task. Whether somebody else has is not known.
	ErrNotFound = errors.New("no such task of this owner")

	// ErrOwnerGone: the owner no longer exists, so nothing can be written for it.
	ErrOwnerGone = errors.New("the owner no longer exists")

	// ErrInvalid: PostgreSQL refused a value. Validation against the contract comes first, so that this is rare.
	ErrInvalid = errors.New("a value was refused")

	// ErrBadCursor: the cursor is damaged, or belongs to another owner or another query.
	ErrBadCursor = errors.New("the cursor does not belong to this query")

	// ErrStale: the task has another revision than those that the caller asked for. Nothing was changed.
	ErrStale = errors.New("the task was changed by somebody else")

	// ErrKeyReused: the idempotency key was used for another request.
	ErrKeyReused = errors.New("the idempotency key was used for another request")

	// ErrOutcomeUnknown: the connection broke after a change was sent. It may have been made, or not.
	ErrOutcomeUnknown = errors.New("the outcome of the change is unknown")

	// ErrNoSchema: the database was not migrated.
	ErrNoSchema = errors.New("the database was not migrated")

	// ErrNoRole: the login may not act as the role docket_app.
	ErrNoRole = errors.New("the database login may not act as the role docket_app")

	// ErrUnavailable: the database cannot be reached or has no capacity. Trying again later may help.
	ErrUnavailable = errors.New("the database is unavailable")
)

// errKeyGone: what an idempotency key stood for went after the statement that looked for it. Nothing was done, and when it
// is sent again there is either no key or no owner.
var errKeyGone = fmt.Errorf("%w: an idempotency key went in the meantime", ErrUnavailable)

// translate gives an error of PostgreSQL, or of the way to it, the meaning that callers act on. What it does not know
// stays as it is: a fault of ours.
func translate(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case stale(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.As(err, &pg):
		if meaning := meaningOf(pg); meaning != nil {
			return fmt.Errorf("%w: %w", meaning, err)
		}
	case broken(err), pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// meaningOf maps SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
func meaningOf(pg *pgconn.PgError) error {
	switch pg.Code {
	case "23503": // foreign_key_violation
		if pg.ConstraintName == "fk_user" || pg.ConstraintName == "fk_idempotency_key_user" {
			return ErrOwnerGone
		}
	case "22021", // character_not_in_repertoire
		"22P05", // untranslatable_character
		"22001", // string_data_right_truncation
		"22003", // numeric_value_out_of_range
		"23514": // check_violation
		return ErrInvalid
	case "23505": // unique_violation: lost the race for an idempotency key as often as it may be sent again
		if pg.ConstraintName == "idempotency_key_pkey" {
			return ErrUnavailable
		}
	case "57014", // query_canceled, by statement_timeout too
		"55P03", // lock_not_available
		"40001", // serialization_failure, tried again as often as it may be
		"40P01": // deadlock_detected, the same
		return ErrUnavailable
	case "42P01": // undefined_table
		if strings.Contains(pg.Message, "docket_schema_version") {
			return ErrNoSchema
		}
	case "22023": // invalid_parameter_value: nothing was migrated on the whole server
		if strings.Contains(pg.Message, `role "docket_app" does not exist`) {
			return ErrNoSchema
		}
	case "42501": // insufficient_privilege
		if strings.Contains(pg.Message, "role") {
			return ErrNoRole
		}
	}
	if connectionLost(pg) || strings.HasPrefix(pg.Code, "53") { // insufficient_resources
		return ErrUnavailable
	}
	return nil
}

// connectionLost: the server ended the connection, at a moment that is not known.
func connectionLost(pg *pgconn.PgError) bool {
	return strings.HasPrefix(pg.Code, "08") || // connection_exception
		strings.HasPrefix(pg.Code, "57P0") // admin_shutdown, crash_shutdown, cannot_connect_now, …
}

// stale reports whether a statement was prepared before a migration changed what it gives.
func stale(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "0A000" && strings.Contains(pg.Routine, "RevalidateCachedQuery")
}

// undone reports whether PostgreSQL rolled the transaction back for the sake of another one, so that it is right to
// send it again: a serialization failure, a deadlock, or the loss of the race for an idempotency key. Or it had nothing to
// roll back, as the key went, or the statement was stale.
func undone(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, errKeyGone) || stale(err) || errors.As(err, &pg) &&
		(pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "23505" && pg.ConstraintName == "idempotency_key_pkey")
}

// broken reports whether the connection ended or a deadline passed on the way, so that nothing is known of the outcome.
func broken(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return connectionLost(pg)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed)
}
