// Command matrix counts how much of openapi.yaml the tests of the service exercised: every operation with every status,
// parameter (good and bad), example and response header that the document has. It fails when anything was left out.
//
//	matrix openapi.yaml log
//
// The log is what the tests of internal/server write when DOCKET_CONTRACT_LOG names it: an exchange a line, in JSON.
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
	defer log.Close()
	m := newMatrix(doc)
	if err := m.read(log); err != nil {
		return err
	}
	return m.print(out)
}

// cell is something that the document has and a test can exercise.
type cell struct {
	operation string // or the name of a shared response
	kind      string
	what      string
}

func (c cell) String() string { return c.operation + ": " + c.kind + " " + c.what }

// The kinds of cell, in the order of the columns.
const (
	status   = "status"
	valid    = "valid parameter"
	invalid  = "invalid parameter"
	request  = "request example"
	response = "response example"
	header   = "response header"
)

var kinds = []string{status, valid, invalid, request, response, header}

// matrix is what the document has, and whether it was exercised.
type matrix struct {
	cells  map[cell]bool
	shared map[string]string // the name of a shared response, by operation and status
}

func newMatrix(doc *openapi3.T) *matrix {
	m := &matrix{cells: map[cell]bool{}, shared: map[string]string{}}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			m.add(item, op)
		}
	}
	return m
}

func (m *matrix) add(item *openapi3.PathItem, op *openapi3.Operation) {
	id := op.OperationID
	for _, parameters := range []openapi3.Parameters{item.Parameters, op.Parameters} {
		for _, p := range parameters {
			name := p.Value.In + " " + p.Value.Name
			m.cells[cell{id, valid, name}] = false
			m.cells[cell{id, invalid, name}] = false
		}
	}
	if op.RequestBody != nil {
		for kind, media := range op.RequestBody.Value.Content {
			for name := range media.Examples {
				m.cells[cell{id, request, kind + " " + name}] = false
			}
		}
	}
	for code, ref := range op.Responses.Map() {
		m.cells[cell{id, status, code}] = false
		for name := range ref.Value.Headers {
			m.cells[cell{id, header, code + " " + name}] = false
		}
		// A shared response's examples are of one operation or another.
		place, prefix := id, code+" "
		if name := strings.TrimPrefix(ref.Ref, "#/components/responses/"); name != ref.Ref {
			place, prefix = name, ""
			m.shared[id+" "+code] = name
		}
		for _, media := range ref.Value.Content {
			for name := range media.Examples {
				m.cells[cell{place, response, prefix + name}] = false
			}
		}
	}
}

// read marks what the exchanges of a log exercised.
func (m *matrix) read(log io.Reader) error {
	lines := bufio.NewScanner(log)
	count := 0
	for lines.Scan() {
		var e contract.Exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("line %d of the log: %w", count+1, err)
		}
		count++
		for _, c := range m.exercised(e) {
			if _, ok := m.cells[c]; !ok {
				return fmt.Errorf("%s was exercised, and the document does not have it", c)
			}
			m.cells[c] = true
		}
	}
	if count == 0 {
		return errors.New("the log is empty: did the tests run, and not come from the cache?")
	}
	return lines.Err()
}

func (m *matrix) exercised(e contract.Exchange) []cell {
	code := fmt.Sprint(e.Status)
	cells := []cell{{e.Operation, status, code}}
	for _, name := range e.Valid {
		cells = append(cells, cell{e.Operation, valid, name})
	}
	for _, name := range e.Invalid {
		cells = append(cells, cell{e.Operation, invalid, name})
	}
	for _, name := range e.Headers {
		cells = append(cells, cell{e.Operation, header, code + " " + name})
	}
	if e.Body != "" {
		cells = append(cells, cell{e.Operation, request, e.Body})
	}
	if e.Example != "" {
		place, prefix := e.Operation, code+" "
		if name, ok := m.shared[e.Operation+" "+code]; ok {
			place, prefix = name, ""
		}
		cells = append(cells, cell{place, response, prefix + e.Example})
	}
	return cells
}

// print writes a row for each operation and shared response, and the figure. It fails unless that is 100 %.
func (m *matrix) print(out io.Writer) error {
	rows := map[string]map[string][2]int{}
	done := 0
	var missing []string
	for c, exercised := range m.cells {
		if rows[c.operation] == nil {
			rows[c.operation] = map[string][2]int{}
		}
		n := rows[c.operation][c.kind]
		n[1]++
		if exercised {
			n[0]++
			done++
		} else {
			missing = append(missing, c.String())
		}
		rows[c.operation][c.kind] = n
	}
	fmt.Fprintf(out, "%-22s", "exercised/documented")
	for _, kind := range kinds {
		fmt.Fprintf(out, "%19s", kind)
	}
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(out, "%-22s", name)
		for _, kind := range kinds {
			figure := "-"
			if n, ok := rows[name][kind]; ok {
				figure = fmt.Sprintf("%d/%d", n[0], n[1])
			}
			fmt.Fprintf(out, "%19s", figure)
		}
		fmt.Fprintln(out)
	}
	slices.Sort(missing)
	for _, name := range missing {
		fmt.Fprintln(out, "not exercised:", name)
	}
	fmt.Fprintf(out, "%d of %d, %d %%\n", done, len(m.cells), done*100/max(len(m.cells), 1))
	if len(missing) > 0 {
		return fmt.Errorf("%d of what the document promises is not exercised by a test", len(missing))
	}
	return nil
}
