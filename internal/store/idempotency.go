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

// keyed creates rows of a resource under idempotency keys. New is the request and Row the created row. A key stores the
// created row as JSON and a hash of the request, so that new columns change nothing here.
type keyed[New, Row any] struct {
	resource             string
	request, response    columns
	create, forget, keep postgres.Statement
}

func newKeyed[New, Row any](resource string) keyed[New, Row] {
	request := columnsOf[New]()
	return keyed[New, Row]{
		resource: resource, request: request, response: columnsOf[Row](),

		// A key is valid for 24 h. An older one is ignored.
		create: postgres.SQL(`
insert into ` + resource + ` (user_id, id, ` + request.list() + `)
select $1::text, $2, ` + request.parameters(5) + `
from set_config('app.max_tasks', $4, true)
where not exists (
  select from idempotency_key
  where user_id = $1
    and key = $3
    and created_at >= now() - interval '24 hours'
)`).Named("createOnce"),

		// An owner's expired keys are deleted when the owner creates the next row under a key, and with the owner. The
		// statement requires the row that was just created, because that row keeps the user from being deleted.
		// Otherwise a transaction that deletes the user could delete the same keys in another order and cause a
		// deadlock.
		forget: postgres.SQL(`
delete from idempotency_key
where user_id = $1
  and created_at < now() - interval '24 hours'
  and exists (
    select from ` + resource + `
    where user_id = $1
      and id = $2
  )`).Named("forgetKeys"),

		// The revision is only in the row. Of two concurrent requests with one key, the second one fails here with a
		// unique violation, is rolled back together with its row, and is retried.
		keep: postgres.SQL(`
insert into idempotency_key (user_id, key, request_hash, resource, response)
select $1::text, $3, $4, '` + resource + `', to_jsonb(` + resource + `) - '{search_text,due_order}'::text[]
from ` + resource + `
where user_id = $1
  and id = $2`).Named("keepKey"),
	}
}

var keptSQL = postgres.SQL(`
select request_hash, response
from idempotency_key
where user_id = $1
  and key = $2`).Named("keptKey")

// run creates a row under a key unless the key has one already, and stores the key's row in row. replayed is true if an
// earlier call created it.
func (k keyed[New, Row]) run(ctx context.Context, o Owner, key string, n New, row *Row) (replayed bool, err error) {
	var ids []string // of all attempts, because one whose reply was lost may have created the row
	var keptHash, response []byte
	hash := k.hash(n)
	k.request.complete(&n)
	err = o.db.Run(ctx, o.id, postgres.Idempotent, func(tx *postgres.Tx) {
		id := uuid.NewString()
		ids = append(ids, id)
		tx.Queue(k.create, nil, append([]any{id, key, mostOf(o.most)}, k.request.values(n)...)...)
		tx.Queue(k.forget, nil, id)
		tx.Queue(k.keep, nil, id, key, hash)
		tx.Queue(keptSQL, func(rows postgres.Rows) error {
			if !rows.Next() {
				// While the first statement waited, the key expired and was deleted for another request, or it was
				// deleted with its user.
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

// hash returns a hash of the content of a request. It ignores fields with their zero value or default and empty slices, so
// that a field that is added later does not change the hashes of earlier requests. Nor does it depend on fields with the tag
// derived.
func (k keyed[New, Row]) hash(n New) []byte {
	asked := map[string]any{}
	for i, value := range k.request.values(n) {
		d := k.request.defaults[i]
		isDefault := d.IsValid() && d.Interface() == value
		derived := k.request.fields[i].Tag.Get("derived") != ""
		v := reflect.ValueOf(value)
		isEmpty := v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
		if !isEmpty && !isDefault && !derived {
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

// decode stores a row in the JSON of to_jsonb in row, a pointer to a struct. A field whose column did not exist then gets
// its default.
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
