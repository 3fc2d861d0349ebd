// Package store keeps tasks in PostgreSQL.
//
// For(owner) is the only access to rows: every statement has the owner as its $1, bound by its transaction. Each
// operation is one transaction and one round trip.
package store

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"docket/internal/postgres"
)

type (
	// Config configures the connection to the database.
	Config = postgres.Config
	// QueryMode is how statements are sent.
	QueryMode = postgres.QueryMode
	// Stat is the state of the pool of connections.
	Stat = postgres.Stat
)

// TransactionPooler reports whether a transaction pooler is between this process and PostgreSQL, so that a session ends
// with each transaction. It returns an error if the database cannot be reached.
func TransactionPooler(ctx context.Context, databaseURL string) (bool, error) {
	return postgres.TransactionPooler(ctx, databaseURL)
}

// Store is a pool of connections to one database. It is safe for concurrent use.
type Store struct{ db *postgres.DB }

// Open opens a store without waiting for the database; the first call and Ping report a database that is down. It
// returns an error, which does not contain the URL, if the URL or the query mode is invalid.
func Open(ctx context.Context, c Config) (*Store, error) {
	db, err := postgres.Open(ctx, c, meanings...)
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close waits for the calls in progress and closes every connection.
func (s *Store) Close() { s.db.Close() }

// Ping reports whether the database answers. It returns ErrUnavailable, wrapped, if it does not.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Mode says how statements are sent and why, such as "cache_statement, a direct connection". It is empty until the
// database was first reached.
func (s *Store) Mode() string { return s.db.Mode() }

// Silence returns how long the database has not answered anything. It is long when nothing was sent, too.
func (s *Store) Silence() time.Duration { return s.db.Silence() }

// Silent reports whether the database does not answer: neither Check nor anything else since.
func (s *Store) Silent() bool { return s.db.Silent() }

// Stat returns the state of the pool.
func (s *Store) Stat() Stat { return s.db.Stat() }

// For returns one owner's view of the store.
func (s *Store) For(owner string) Owner { return Owner{db: s.db, id: owner} }

// Owner is one owner's view of the store. Its methods read and change only that owner's rows.
type Owner struct {
	db    *postgres.DB
	id    string
	match []int64                                         // nil: no condition
	most  int                                             // 0: no limit
	scans func(context.Context) (ended func(), err error) // nil: no limit
}

// MaxTasks returns the owner's view with a limit on the number of tasks: a create that would exceed it returns
// ErrTooManyTasks. Zero means no limit.
func (o Owner) MaxTasks(most int) Owner {
	o.most = most
	return o
}

// IfMatch returns the owner's view with a condition on changes: the row must have one of these revisions, otherwise the
// change returns ErrStale. The statement that writes checks the condition.
func (o Owner) IfMatch(revisions ...int64) Owner {
	o.match = append([]int64{}, revisions...)
	return o
}

// LimitScans returns the owner's view with a limit on scans: statements that read more rows the more tasks the owner has,
// and not only those that they return. wait is called before each scan, whose call returns its error, and ended when
// PostgreSQL has finished with the scan. Nil means no limit.
func (o Owner) LimitScans(wait func(context.Context) (ended func(), err error)) Owner {
	o.scans = wait
	return o
}

// Tx is a transaction of one owner. Its methods queue the operations of Owner with the same names. An error of
// PostgreSQL rolls back all of them. An operation that finds no row, or a stale one, changes nothing and does not
// affect the others.
type Tx struct {
	pg    *postgres.Tx
	match []int64
	most  int
}

// IfMatch returns the transaction with another condition, which applies to operations that are queued on the returned
// value. See Owner.IfMatch.
func (tx *Tx) IfMatch(revisions ...int64) *Tx {
	return &Tx{tx.pg, append([]int64{}, revisions...), tx.most}
}

// Result returns the result of a queued operation. Call it after the transaction was committed.
type Result[T any] func() (T, error)

func failed[T any](err error) Result[T] {
	return func() (none T, _ error) { return none, err }
}

// run executes a transaction of one operation.
func run[T any](ctx context.Context, o Owner, effect postgres.Effect, queue func(*Tx) Result[T]) (T, error) {
	var result Result[T]
	err := o.db.Run(ctx, o.id, effect, func(tx *postgres.Tx) { result = queue(&Tx{tx, o.match, o.most}) })
	if err != nil {
		return failed[T](err)()
	}
	return result()
}

// read is like run, for an operation that may share a round trip; see postgres.DB.Read.
func read[T any](ctx context.Context, o Owner, queue func(*Tx) Result[T]) (T, error) {
	var result Result[T]
	err := o.db.Read(ctx, o.id, func(tx *postgres.Tx) { result = queue(&Tx{tx, o.match, o.most}) })
	if err != nil {
		return failed[T](err)()
	}
	return result()
}

// scan is like run, for an operation that reads and is a scan; see Owner.LimitScans.
func scan[T any](ctx context.Context, o Owner, queue func(*Tx) Result[T]) (T, error) {
	if o.scans == nil {
		return run(ctx, o, postgres.ReadOnly, queue)
	}
	ended, err := o.scans(ctx)
	if err != nil {
		return failed[T](err)()
	}
	var result Result[T]
	err = o.db.Scan(ctx, o.id, func(tx *postgres.Tx) { result = queue(&Tx{tx, o.match, o.most}) }, ended)
	if err != nil {
		return failed[T](err)()
	}
	return result()
}

var (
	// ErrNotFound means that the owner has no such row, whether or not another owner has it. Every NotFoundError
	// matches it.
	ErrNotFound = errors.New("not found")

	// ErrStale means that the row has none of the revisions that the caller required. Nothing was changed.
	ErrStale = errors.New("changed in the meantime")

	// ErrOwnerGone means that the owner no longer exists, so nothing can be written for it.
	ErrOwnerGone = errors.New("the owner no longer exists")

	// ErrBadCursor means that the cursor is damaged, or belongs to another owner or another query.
	ErrBadCursor = errors.New("the cursor does not belong to this query")

	// ErrTooManyTasks means that the owner has as many tasks as it may have. Nothing was created.
	ErrTooManyTasks = errors.New("the owner has too many tasks")

	// errOccurrenceExists means that the series has the occurrence already, as another task.
	errOccurrenceExists = errors.New("the series has this occurrence already")

	// ErrTooManyTags means that the task would have more than MaxTags tags. Nothing was changed.
	ErrTooManyTags = errors.New("the task would have too many tags")

	// ErrKeyReused means that the idempotency key was used for another request.
	ErrKeyReused = errors.New("the idempotency key was used for another request")

	// ErrNoSchema means that the database was not migrated, or that a table, a column or a function of it is missing.
	ErrNoSchema = errors.New("the database was not migrated")

	// ErrNoVersion means that the table docket_schema_version is empty.
	ErrNoVersion = errors.New("the database's version is missing")
)

// The errors of package postgres that callers act on.
var (
	ErrInvalid        = postgres.ErrInvalid
	ErrOutcomeUnknown = postgres.ErrOutcomeUnknown
	ErrNoRole         = postgres.ErrNoRole
	ErrTimeout        = postgres.ErrTimeout
	ErrUnavailable    = postgres.ErrUnavailable

	ErrDenied             = postgres.ErrDenied
	ErrLoginRefused       = postgres.ErrLoginRefused
	ErrNotPrepared        = postgres.ErrNotPrepared
	ErrReadOnly           = postgres.ErrReadOnly
	ErrTooManyConnections = postgres.ErrTooManyConnections
)

// Where returns the table and the function that an error is about, for the log. It is empty if they are not known.
func Where(err error) string { return postgres.Where(err) }

// NotFoundError is returned if an owner has no such row of a resource.
type NotFoundError struct{ Resource string }

func (e NotFoundError) Error() string { return "no such " + e.Resource + " of this owner" }

// Is reports whether the target is ErrNotFound.
func (e NotFoundError) Is(target error) bool { return target == ErrNotFound }

// meanings assigns errors to those errors of PostgreSQL that depend on the schema.
var meanings = []postgres.Meaning{
	{Code: "23503", Constraint: "fk_user", Err: ErrOwnerGone}, // foreign_key_violation
	{Code: "23503", Constraint: "fk_idempotency_key_user", Err: ErrOwnerGone},
	{Code: "23505", Constraint: "idempotency_key_pkey", Err: postgres.ErrRetry}, // unique_violation: another request with the key
	{Code: "23505", Constraint: "idx_task_occurrence", Err: errOccurrenceExists},
	{Code: "P0001", Message: "too many tasks", Err: ErrTooManyTasks}, // raise_exception
	{Code: "23514", Constraint: "chk_tags", Err: ErrTooManyTags},     // check_violation
	{Code: "22023", Message: "time zone", Err: ErrInvalid},           // invalid_parameter_value: in a forged cursor
	{Code: "42P01", Err: ErrNoSchema},                                // undefined_table
	{Code: "42703", Err: ErrNoSchema},                                // undefined_column
	{Code: "42883", Err: ErrNoSchema},                                // undefined_function, in a trigger
	{Code: "3F000", Err: ErrNoSchema},                                // invalid_schema_name
	{Code: "22023", Message: `role "docket_app" does not exist`, Err: ErrNoSchema},
}

// storable reports whether PostgreSQL can store a text. No row has an id that it cannot store.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }
