package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// databaseURL returns what is wrong with a connection string. The error contains no value: it may be the password.
func databaseURL(v string) error {
	scheme, rest, isURL := strings.Cut(v, "://")
	if isURL && scheme != "postgres" && scheme != "postgresql" && !strings.ContainsAny(scheme, " ='") {
		return errors.New("must begin with postgres:// or postgresql://, without the driver that some libraries " +
			"put there (postgresql+asyncpg://, jdbc:postgresql://)")
	}
	c, err := pgconn.ParseConfig(v)
	if err != nil {
		return errors.New("is not a PostgreSQL URL such as postgres://user:password@host/database?sslmode=verify-full")
	}
	// What pgconn does not know itself it sends to PostgreSQL, which refuses the connection if that is not a setting.
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(c.RuntimeParams)) {
		if !settings[strings.ToLower(name)] && !strings.Contains(name, ".") {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	names := strings.Join(unknown, ", ")
	if _, query, _ := strings.Cut(rest, "?"); !isURL || strings.Contains(query, "@") || strings.Contains(query, "password=") {
		// The names may be part of a password in which ?, & or a space was not escaped.
		return errors.New("has a parameter that PostgreSQL does not know; if the password contains one of ?#/@&= or a space, percent-encode it")
	}
	return errors.New("has parameters that PostgreSQL does not know: " + names + ". Remove them from the URL; " +
		"docs/operations.md says what Docket has instead")
}
