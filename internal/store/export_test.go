package store

import "github.com/jackc/pgx/v5/pgxpool"

// Pool shows the tests what a store's pool was configured with.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }
