// Command matrix reports how much of openapi.yaml the tests of the service exercised: for each operation, every status,
// parameter (with valid and invalid values), example and response header. It fails unless everything was exercised.
//
//	matrix openapi.yaml log
//
// The log is written by the tests of internal/server if the environment variable DOCKET_CONTRACT_LOG names a file. Each
// line is a contract.LogEntry in JSON.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/contract"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: matrix openapi.yaml log")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(args[0])
	if err != nil {
		return err
	}
	log, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it is only read
	m := newMatrix(doc)
	if err := m.read(log); err != nil {
		return err
	}
	return m.print(out)
}

// item is a part of the document that a test can exercise.
type item struct {
	operation string // or the name of a shared response
	kind      string
	name      string
}

func (i item) String() string { return i.operation + ": " + i.kind + " " + i.name }

// Kinds of items.
const (
	status   = "status"
	valid    = "valid parameter"
	invalid  = "invalid parameter"
	request  = "request example"
	response = "response example"
	header   = "response header"
)

// kinds lists the kinds in the order of the columns.
var kinds = []string{status, valid, invalid, request, response, header}

// matrix contains the items of the document.
type matrix struct {
	items  map[item]bool     // true if the item was exercised
	shared map[string]string // names of shared responses by operation and status
}

func newMatrix(doc *openapi3.T) *matrix {
	m := &matrix{items: map[item]bool{}, shared: map[string]string{}}
	for _, path := range doc.Paths.Map() {
		for _, op := range path.Operations() {
			m.add(path, op)
		}
	}
	return m
}

// add adds the items of an operation.
func (m *matrix) add(path *openapi3.PathItem, op *openapi3.Operation) {
	id := op.OperationID
	for _, parameters := range []openapi3.Parameters{path.Parameters, op.Parameters} {
		for _, p := range parameters {
			name := p.Value.In + " " + p.Value.Name
			m.items[item{id, valid, name}] = false
			m.items[item{id, invalid, name}] = false
		}
	}
	if op.RequestBody != nil {
		for mediaType, media := range op.RequestBody.Value.Content {
			for name := range media.Examples {
				m.items[item{id, request, mediaType + " " + name}] = false
			}
		}
	}
	for code, ref := range op.Responses.Map() {
		m.items[item{id, status, code}] = false
		for name := range ref.Value.Headers {
			m.items[item{id, header, code + " " + name}] = false
		}
		if name, ok := strings.CutPrefix(ref.Ref, "#/components/responses/"); ok {
			m.shared[id+" "+code] = name
		}
		for _, media := range ref.Value.Content {
			for name := range media.Examples {
				m.items[m.responseExample(id, code, name)] = false
			}
		}
	}
}

// responseExample returns the item of an example. The examples of a shared response count for the response and not for
// an operation, since each may be returned by a different operation.
func (m *matrix) responseExample(operation, code, name string) item {
	if shared, ok := m.shared[operation+" "+code]; ok {
		return item{shared, response, name}
	}
	return item{operation, response, code + " " + name}
}

// read marks the items that the entries of a log exercised. It returns an error if the log is empty or malformed, or if
// an item is not in the document.
func (m *matrix) read(log io.Reader) error {
	lines := bufio.NewScanner(log)
	count := 0
	for lines.Scan() {
		var entry contract.LogEntry
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			return fmt.Errorf("line %d of the log: %w", count+1, err)
		}
		count++
		for _, i := range m.exercised(entry) {
			if _, ok := m.items[i]; !ok {
				return fmt.Errorf("%s was exercised but is not in the document", i)
			}
			m.items[i] = true
		}
	}
	if count == 0 {
		return errors.New("the log is empty: the tests did not run, or their result was cached")
	}
	return lines.Err()
}

// exercised returns the items of a log entry.
func (m *matrix) exercised(entry contract.LogEntry) []item {
	id, code := entry.Operation, strconv.Itoa(entry.Status)
	items := []item{{id, status, code}}
	for _, name := range entry.Valid {
		items = append(items, item{id, valid, name})
	}
	for _, name := range entry.Invalid {
		items = append(items, item{id, invalid, name})
	}
	for _, name := range entry.Headers {
		items = append(items, item{id, header, code + " " + name})
	}
	if entry.Body != "" {
		items = append(items, item{id, request, entry.Body})
	}
	if entry.Example != "" {
		items = append(items, m.responseExample(id, code, entry.Example))
	}
	return items
}

// print writes a row for each operation and shared response, the items that were not exercised, and the percentage. It
// returns an error if the percentage is less than 100.
func (m *matrix) print(out io.Writer) error {
	type count struct{ exercised, documented int }
	rows := map[string]map[string]count{} // by operation and kind
	done := 0
	var missing []string
	for i, exercised := range m.items {
		if rows[i.operation] == nil {
			rows[i.operation] = map[string]count{}
		}
		n := rows[i.operation][i.kind]
		n.documented++
		if exercised {
			n.exercised++
			done++
		} else {
			missing = append(missing, i.String())
		}
		rows[i.operation][i.kind] = n
	}
	fmt.Fprintf(out, "%-22s", "exercised/documented")
	for _, kind := range kinds {
		fmt.Fprintf(out, "%19s", kind)
	}
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(out, "%-22s", name)
		for _, kind := range kinds {
			text := "-"
			if n, ok := rows[name][kind]; ok {
				text = fmt.Sprintf("%d/%d", n.exercised, n.documented)
			}
			fmt.Fprintf(out, "%19s", text)
		}
		fmt.Fprintln(out)
	}
	slices.Sort(missing)
	for _, name := range missing {
		fmt.Fprintln(out, "not exercised:", name)
	}
	fmt.Fprintf(out, "%d of %d, %d %%\n", done, len(m.items), done*100/max(len(m.items), 1))
	if len(missing) > 0 {
		return fmt.Errorf("%d items of the document are not exercised by a test", len(missing))
	}
	return nil
}
