package migrations

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
)

// ErrNoEpoch means that the database has no epoch, because it was not migrated.
var ErrNoEpoch = errors.New("this database has no epoch yet: run docket migrate up first")

const (
	epochTableSQL = `select to_regclass('docket_epoch') is not null`
	epochSQL      = `select epoch::text from docket_epoch`

	// deleteEpochSQL and insertEpochSQL are sent in one transaction. An update would change nothing in a table that
	// was truncated.
	deleteEpochSQL = `delete from docket_epoch`
	insertEpochSQL = `insert into docket_epoch default values returning epoch::text`
)

// NewEpoch renews the database's epoch and returns the old one, which is empty if there was none, and the new one.
// Positions in the change feed from before expire. NewEpoch waits while another process migrates the database or renews
// the epoch, and writes a line to log when it has to. It returns ErrNoEpoch if the database was not migrated.
func NewEpoch(ctx context.Context, databaseURL string, log io.Writer) (before, after string, err error) {
	conn, err := connectToMigrate(ctx, databaseURL)
	if err != nil {
		return "", "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := lock(ctx, conn, log); err != nil {
		return "", "", err
	}
	defer unlock(ctx, conn)
	var there bool
	if err := conn.QueryRow(ctx, epochTableSQL).Scan(&there); err != nil {
		return "", "", err
	}
	if !there {
		return "", "", ErrNoEpoch
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, epochSQL).Scan(&before)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, deleteEpochSQL); err != nil {
			return err
		}
		return tx.QueryRow(ctx, insertEpochSQL).Scan(&after)
	})
	return before, after, err
}
