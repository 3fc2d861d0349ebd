package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// sender sends transactions of known statements on one connection.
type sender struct {
	db         *DB
	conn       *pgx.Conn
	known      *known
	generation uint64
	texts      []string                       // assumeRoleSQL and the statements
	described  []*pgconn.StatementDescription // the same; nil in mode exec
	builder    pgx.ExtendedQueryBuilder
	timeout    string // of each statement; empty: that of the configuration
}

// sender returns a sender of these statements. It finds out what it must know about the database, and prepares or
// describes the statements that are new to the connection. When it returns an error, nothing of a transaction was sent.
func (db *DB) sender(ctx context.Context, conn *pgx.Conn, statements ...string) (*sender, error) {
	k, err := db.find(ctx, conn)
	if err != nil {
		return nil, err
	}
	s := &sender{db: db, conn: conn, known: k, generation: db.generation.Load()}
	for _, text := range append([]string{assumeRoleSQL}, statements...) {
		if s.generation != 0 && k.mode == QueryModePrepared {
			text += "\n-- " + strconv.FormatUint(s.generation, 36)
		}
		s.texts = append(s.texts, text)
	}
	if k.mode == QueryModeExec {
		s.described = make([]*pgconn.StatementDescription, len(s.texts))
		return s, nil
	}
	if err := s.describe(ctx); err != nil {
		s.failed(ctx, err)
		return nil, err
	}
	return s, nil
}

// describe fills in the descriptions. It prepares what is new within the settings of a transaction, as a name could mean
// another table under the settings that a session has before.
func (s *sender) describe(ctx context.Context) error {
	descriptions := s.descriptions()
	var missing []string
	for _, text := range s.texts {
		if descriptions[text] == nil && !slices.Contains(missing, text) {
			missing = append(missing, text)
		}
	}
	if len(missing) > 0 {
		p := s.conn.PgConn().StartPipeline(ctx)
		p.SendQueryParams(assumeRoleSQL, s.roleArguments(""), nil, nil, nil)
		for _, text := range missing {
			p.SendPrepare(s.name(text), text, nil)
		}
		err := p.Sync()
		for n := 0; err == nil && n < len(missing); {
			var got any
			if got, err = p.GetResults(); err != nil {
				break
			}
			switch got := got.(type) {
			case *pgconn.ResultReader:
				_, err = got.Close()
			case *pgconn.StatementDescription:
				got.Name, got.SQL = s.name(missing[n]), missing[n]
				descriptions[missing[n]] = got
				n++
			default:
				err = io.ErrUnexpectedEOF
			}
		}
		if err = cmp.Or(err, p.Close()); err != nil {
			return err
		}
	}
	for _, text := range s.texts {
		s.described = append(s.described, descriptions[text])
	}
	return nil
}

// name returns the name of a prepared statement. A pooler without support may have kept one of that name from another
// client: it has the same text, then.
func (s *sender) name(text string) string {
	if s.known.mode != QueryModePrepared {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return "docket_" + hex.EncodeToString(sum[:16])
}

// descriptions returns those of the statements that are prepared on the connection, or described for it.
func (s *sender) descriptions() map[string]*pgconn.StatementDescription {
	key, data := "docket "+string(s.known.mode), s.conn.PgConn().CustomData()
	known, ok := data[key].(map[string]*pgconn.StatementDescription)
	if !ok {
		known = map[string]*pgconn.StatementDescription{}
		data[key] = known
	}
	return known
}

// binaryFormat asks for all columns in PostgreSQL's binary format, which no setting changes.
var binaryFormat = []int16{pgx.BinaryFormatCode}

func (s *sender) roleArguments(owner string) [][]byte {
	return [][]byte{[]byte(owner), []byte(cmp.Or(s.timeout, s.db.statementTimeout)), []byte(s.known.searchPath)}
}

// queue adds a transaction to the pipeline. Its statements must be those of the sender, in their order, or all be the
// sender's only one.
func (s *sender) queue(p *pgconn.Pipeline, owner string, queries ...query) error {
	if role := s.described[0]; role != nil && role.Name != "" {
		p.SendQueryStatement(role, s.roleArguments(owner), nil, nil)
	} else {
		p.SendQueryParams(s.texts[0], s.roleArguments(owner), nil, nil, nil)
	}
	b := &s.builder
	for i, q := range queries {
		d := s.described[i+1]
		if err := b.Build(s.conn.TypeMap(), d, q.args); err != nil {
			return err
		}
		switch {
		case d == nil:
			p.SendQueryParams(s.texts[i+1], b.ParamValues, nil, b.ParamFormats, binaryFormat)
		case d.Name == "":
			p.SendQueryParams(s.texts[i+1], b.ParamValues, d.ParamOIDs, b.ParamFormats, b.ResultFormats)
		default:
			p.SendQueryStatement(d, b.ParamValues, b.ParamFormats, slices.Clone(b.ResultFormats))
		}
	}
	p.SendPipelineSync() // ends the transaction
	return nil
}

// failed learns from an error, so that another attempt can succeed.
func (s *sender) failed(ctx context.Context, err error) {
	switch {
	case stale(err):
		// A pooler names statements by their text and keeps them on the server's connections, which ours do not end. A new
		// text is a new statement. It has the time and not the next number, because other processes count, too.
		s.db.generation.CompareAndSwap(s.generation, uint64(time.Now().UnixNano()))
	case s.known.mode == QueryModeDescribe:
		clear(s.descriptions())
	}
	s.db.adapt(ctx, s.conn, s.known, err)
}

// errWrongOwner means that an answer belongs to another owner. It must never occur.
var errWrongOwner = errors.New("PostgreSQL answered for another owner")

// receive receives the answer to one transaction and calls read for each of its statements. After an error of
// PostgreSQL it calls read no more. After an error inside a transaction pgx's pipeline may mix up the results that
// follow (5.12.0), so it reads on only if this is the last transaction. more reports whether the transaction's end was
// received.
func receive(
	types *pgtype.Map, p *pgconn.Pipeline, owner string, queries []query, read func(query, pgx.Rows) error, last bool,
) (more bool, err error) {
	var failed error // of read
	err = func() error {
		role, err := result(p)
		if err != nil {
			return err
		}
		if !role.NextRow() || string(role.Values()[1]) != owner {
			_, err := role.Close()
			return cmp.Or(err, errWrongOwner)
		}
		if _, err := role.Close(); err != nil { // the statement may be canceled after its row was sent
			return err
		}
		for _, q := range queries {
			answer, err := result(p)
			if err != nil {
				return err
			}
			if failed == nil && q.read != nil {
				failed = read(q, pgx.RowsFromResultReader(types, answer))
			}
			if _, err := answer.Close(); err != nil {
				return err
			}
		}
		return nil
	}()
	var pg *pgconn.PgError
	if err != nil && (!last || !errors.As(err, &pg) || connectionLost(pg)) {
		return false, err
	}
	synced, broken := p.GetResults()
	if _, ok := synced.(*pgconn.PipelineSync); !ok {
		return false, cmp.Or(err, broken, io.ErrUnexpectedEOF)
	}
	return true, cmp.Or(err, failed)
}

func result(p *pgconn.Pipeline) (*pgconn.ResultReader, error) {
	got, err := p.GetResults()
	if reader, ok := got.(*pgconn.ResultReader); ok {
		return reader, nil
	}
	return nil, cmp.Or(err, io.ErrUnexpectedEOF)
}
