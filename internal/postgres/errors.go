package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrUnavailable means that the database cannot be reached or has no capacity. Trying again later may help.
	ErrUnavailable = errors.New("the database is unavailable")

	// ErrReadOnly means that the server accepts no changes: it is a standby, or a default of the database, the role or
	// the server says so.
	ErrReadOnly = fmt.Errorf("%w: it accepts no changes", ErrUnavailable)

	// ErrTooManyConnections means that the server, or the limit of the database or the login, allows no more connections.
	ErrTooManyConnections = fmt.Errorf("%w: it allows no more connections", ErrUnavailable)

	// ErrLoginRefused means that the user, the password or the database in the address is refused.
	ErrLoginRefused = fmt.Errorf("%w: it refuses the login", ErrUnavailable)

	// ErrOutcomeUnknown means that the connection broke after a change was sent. The change may or may not have been
	// made.
	ErrOutcomeUnknown = errors.New("the outcome of the change is unknown")

	// ErrInvalid means that PostgreSQL refused a value. It is rare, because values have been checked against the
	// document before.
	ErrInvalid = errors.New("a value was refused")

	// ErrNoRole means that the login may not act as the role docket_app.
	ErrNoRole = errors.New("the database login may not act as the role docket_app")

	// ErrTimeout means that PostgreSQL canceled a statement because it took too long. Callers that do not know it see
	// ErrUnavailable.
	ErrTimeout = fmt.Errorf("%w: a statement took too long", ErrUnavailable)

	// ErrDenied means that a right is missing, or that row-level security stopped a statement.
	ErrDenied = errors.New("a statement was denied")

	// ErrRetry means that the transaction did nothing and should be retried. A function that reads rows may return it,
	// and a Meaning may have it. When all retries have failed, callers see it as ErrUnavailable.
	ErrRetry = fmt.Errorf("%w: other transactions come first", ErrUnavailable)

	// ErrNotPrepared is an ErrRetry: a prepared statement is not there, or already there, because the connection leads
	// through a transaction pooler without prepared statements.
	ErrNotPrepared = fmt.Errorf("%w: a prepared statement is not the connection's own", ErrRetry)
)

// Meaning assigns the error Err to errors of PostgreSQL with this code, constraint and message.
type Meaning struct {
	Code       string // SQLSTATE
	Constraint string // "" is any
	Message    string // a part of it
	Err        error
}

// translate returns the error that callers act on for an error of PostgreSQL or of the connection to it. It returns any
// other error unchanged; such an error is a bug.
func (db *DB) translate(err error) error {
	if meaning := db.meaning(err); meaning != nil && !errors.Is(err, meaning) {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	return err
}

func (db *DB) meaning(err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case stale(err):
		return ErrRetry
	case notPrepared(err):
		return ErrNotPrepared
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection): // target_session_attrs
		return ErrReadOnly
	case !errors.As(err, &pg):
		if broken(err) || pgconn.SafeToRetry(err) {
			return ErrUnavailable
		}
		return nil
	}
	for _, m := range db.meanings {
		if m.Code == pg.Code && (m.Constraint == "" || m.Constraint == pg.ConstraintName) && strings.Contains(pg.Message, m.Message) {
			return m.Err
		}
	}
	// https://www.postgresql.org/docs/current/errcodes-appendix.html
	switch pg.Code {
	case "22001", // string_data_right_truncation
		"22003", // numeric_value_out_of_range
		"22007", // invalid_datetime_format
		"22008", // datetime_field_overflow
		"22009", // invalid_time_zone_displacement_value
		"22021", // character_not_in_repertoire
		"22P02", // invalid_text_representation
		"22P05", // untranslatable_character
		"23514": // check_violation
		return ErrInvalid
	case "40001", // serialization_failure
		"40P01": // deadlock_detected
		return ErrRetry
	case "57014": // query_canceled, by statement_timeout too
		return ErrTimeout
	case "25P04", // transaction_timeout
		"55P03": // lock_not_available
		return ErrUnavailable
	case "25006": // read_only_sql_transaction
		return ErrReadOnly
	case "53300": // too_many_connections
		return ErrTooManyConnections
	case "28000", // invalid_authorization_specification
		"28P01", // invalid_password
		"3D000": // invalid_catalog_name: there is no such database
		return ErrLoginRefused
	case "42501": // insufficient_privilege
		switch connect := (*pgconn.ConnectError)(nil); {
		case errors.As(err, &connect):
			return ErrLoginRefused
		case strings.Contains(pg.Message, "role"):
			return ErrNoRole
		}
		return ErrDenied
	}
	if strings.Contains(pg.Message, "no more connections allowed") { // PgBouncer
		return ErrTooManyConnections
	}
	if pg.Code == "08P01" && containsAny(pg.Message, poolerLoginRefusals) {
		return ErrLoginRefused
	}
	if connectionLost(pg) || strings.HasPrefix(pg.Code, "53") { // insufficient_resources
		return ErrUnavailable
	}
	return nil
}

// Where returns which table an error of PostgreSQL is about, and which function it occurred in. It is empty if PostgreSQL
// said neither, and contains no value of a row. So it has only the first line of PostgreSQL's context, and only if
// PL/pgSQL wrote that: other lines may have a statement or parameters.
func Where(err error) string {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ""
	}
	var parts []string
	if pg.TableName != "" {
		parts = append(parts, "table "+pg.TableName)
	}
	if line, _, _ := strings.Cut(pg.Where, "\n"); strings.HasPrefix(line, "PL/pgSQL function ") {
		parts = append(parts, line)
	}
	where := []rune(strings.Join(parts, ", "))
	return string(where[:min(len(where), 200)])
}

// unexpected reports whether an error of PostgreSQL is a bug or a fault of the database, and so tells nothing about an
// earlier attempt.
func (db *DB) unexpected(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (db.meaning(err) == nil || errors.Is(err, ErrDenied))
}

// connectionLost reports whether the server ended the connection, at an unknown moment.
func connectionLost(pg *pgconn.PgError) bool {
	return strings.HasPrefix(pg.Code, "08") || // connection_exception
		strings.HasPrefix(pg.Code, "57P0") // admin_shutdown, crash_shutdown, cannot_connect_now, …
}

// stale reports whether a statement was prepared before a migration changed the types of its result.
func stale(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "0A000" && strings.Contains(pg.Routine, "RevalidateCachedQuery")
}

// notPrepared reports whether a prepared statement is missing, or its name is taken. A transaction pooler without support
// for prepared statements has sent the transaction to another session than the one that prepared. Nothing was done.
func notPrepared(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "26000" || // invalid_sql_statement_name
		pg.Code == "42P05") // duplicate_prepared_statement
}

// poolerRefusals are parts of PgBouncer's messages when it has no connection to PostgreSQL for a transaction.
var poolerRefusals = []string{"server_login_retry", "query_wait_timeout", "no more connections allowed", "cannot connect to server"}

// poolerLoginRefusals are parts of PgBouncer's messages when it refuses a login, or repeats that PostgreSQL refused its own:
// "server login has been failing, cached error: password authentication failed for user …".
var poolerLoginRefusals = []string{
	"authentication failed", "auth failed", "login rejected", "no such user", "no such database", "cached error: role ", "cached error: database ",
}

// refusedByPooler reports whether a pooler refused a transaction without sending it to PostgreSQL.
func refusedByPooler(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "08P01" && // protocol_violation
		containsAny(pg.Message, poolerRefusals)
}

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// broken reports whether the connection ended or a deadline passed, so that the outcome is unknown.
func broken(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return connectionLost(pg)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed)
}
