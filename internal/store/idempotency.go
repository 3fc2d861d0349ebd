package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"docket/internal/postgres"
)

// keyed creates rows of a resource under idempotency keys: New is what the request says, Row what it answers. A key holds
// the row as it was created, as JSON, and a hash of the request, so that new columns change nothing here.
type keyed[New, Row any] struct {
	resource             string
	request, response    columns
	create, forget, keep postgres.Statement
}

func newKeyed[New, Row any](resource string) keyed[New, Row] {
	request := columnsOf[New]()
	return keyed[New, Row]{
		resource: resource, request: request, response: columnsOf[Row](),

		// A key is kept for 24 h, and stands for nothing from then on.
		create: postgres.SQL(`
insert into ` + resource + ` (user_id, id, ` + request.list() + `)
select $1::text, $2, ` + request.parameters(4) + `
where not exists (
  select from idempotency_key
  where user_id = $1
    and key = $3
    and created_at >= now() - interval '24 hours'
)`),

		// What has expired is deleted whenever its owner creates the next row under a key, and with the owner. Only the row
		// that was created just now keeps the user from being deleted: without it, a transaction that deletes the user may
		// delete the same keys in another order, a deadlock.
		forget: postgres.SQL(`
delete from idempotency_key
where user_id = $1
  and created_at < now() - interval '24 hours'
  and exists (
    select from ` + resource + `
    where user_id = $1
      and id = $2
  )`),

		// Only the row knows its revision. Of two requests with one key at once, the second one fails here on the key of the
		// first, is rolled back with its row, and is sent again.
		keep: postgres.SQL(`
insert into idempotency_key (user_id, key, request_hash, resource, response)
select $1::text, $3, $4, '` + resource + `', to_jsonb(` + resource + `)
from ` + resource + `
where user_id = $1
  and id = $2`),
	}
}

var keptSQL = postgres.SQL(`
select request_hash, response
from idempotency_key
where user_id = $1
  and key = $2`)

// run creates a row under a key unless there is one already, and stores in row the one that the key stands for. replayed
// is true if an earlier call created it.
func (k keyed[New, Row]) run(ctx context.Context, o Owner, key string, n New, row *Row) (replayed bool, err error) {
	var ids []string // of all attempts: the row of one that was committed unnoticed is this call's, too
	var keptHash, response []byte
	hash := k.hash(n)
	k.request.complete(&n)
	err = o.db.Run(ctx, o.id, postgres.Idempotent, func(tx *postgres.Tx) {
		id := uuid.NewString()
		ids = append(ids, id)
		tx.Queue(k.create, nil, append([]any{id, key}, k.request.values(n)...)...)
		tx.Queue(k.forget, nil, id)
		tx.Queue(k.keep, nil, id, key, hash)
		tx.Queue(keptSQL, func(rows postgres.Rows) error {
			if !rows.Next() {
				// The key expired for another request, or went with its user, while the first statement waited.
				return fmt.Errorf("%w: an idempotency key is gone", postgres.ErrRetry)
			}
			return rows.Scan(&keptHash, &response)
		}, key)
	})
	if err != nil {
		return false, err
	}
	if !bytes.Equal(hash, keptHash) {
		return false, ErrKeyReused
	}
	var created struct{ ID string }
	if err := json.Unmarshal(response, &created); err != nil {
		return false, err
	}
	return !slices.Contains(ids, created.ID), k.response.decode(response, row)
}

// hash tells requests apart by what they ask for. A field that has its zero value or its default does not count, so that a
// field that is added later does not change the hash of a request that was sent before.
func (k keyed[New, Row]) hash(n New) []byte {
	asked := map[string]any{}
	for i, value := range k.request.values(n) {
		if d := k.request.defaults[i]; !reflect.ValueOf(value).IsZero() && !(d.IsValid() && d.Interface() == value) {
			asked[k.request.names[i]] = value
		}
	}
	text, err := json.Marshal([]any{k.resource, asked}) // names are sorted
	if err != nil {
		panic(err) // a column's type that JSON does not know
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// decode stores in row, a pointer, what to_jsonb made of a row. A column that did not exist then gets its default.
func (c columns) decode(response []byte, row any) error {
	c.complete(row)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(response, &members); err != nil {
		return err
	}
	for i, pointer := range c.pointers(row) {
		if value := members[c.names[i]]; value != nil {
			if err := json.Unmarshal(value, pointer); err != nil {
				return fmt.Errorf("column %s: %w", c.names[i], err)
			}
		}
	}
	return nil
}
