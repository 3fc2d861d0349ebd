package store

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestThereIsOneDoorToARow(t *testing.T) {
	t.Parallel()
	c := source(t)
	for _, fault := range c.faults {
		t.Error(fault)
	}
	// The rules above would hold in an empty package, too.
	for _, name := range []string{"getTaskSQL", "createTaskSQL", "countTasksSQL", "selectSummarySQL", "selectTasksSQL", "keepTaskSQL", "enterSQL"} {
		if c.statements[name] == "" {
			t.Errorf("%s was not seen", name)
		}
	}
	if doors := c.doors(); !slices.Equal(doors, []string{"Owner.IfMatch", "Store.For"}) {
		t.Errorf("%s give an Owner, want Store.For, and Owner.IfMatch of an Owner", doors)
	}
}

func TestSideDoorsAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		// SQL that the test of the statements would not see.
		"literal":        `func (o Owner) f(b *pgx.Batch) { o.queue(b, "select id from task") }`,
		"hidden literal": `func (o Owner) f(b *pgx.Batch) { o.queue(b, "sel" + "ect id from task") }`,
		"local variable": `func (o Owner) f(b *pgx.Batch) { text := getTaskSQL; o.queue(b, text) }`,
		"variable":       `var x = "select id from task"`,
		"fragment":       `var x = "where true"`,
		"table":          `var x = "table " + "task"`,
		"concatenation":  `func (o Owner) f(b *pgx.Batch) { o.queue(b, getTaskSQL + " or true") }`,
		"concatenation with a value": `func (o Owner) f(b *pgx.Batch, column string) {
			o.queue(b, getTaskSQL + " order by " + column)
		}`,
		"Sprintf":              `func (o Owner) f(b *pgx.Batch) { o.queue(b, fmt.Sprintf("%s or %s", getTaskSQL, "true")) }`,
		"builder":              `func (o Owner) f(b *pgx.Batch) { var s strings.Builder; s.WriteString(getTaskSQL); o.queue(b, s.String()) }`,
		"replaced":             `func (o Owner) f(b *pgx.Batch) { o.queue(b, strings.ReplaceAll(getTaskSQL, "=", "<>")) }`,
		"replaced by a helper": `func (o Owner) f(b *pgx.Batch, sql string) { o.queue(b, strings.ToLower(sql)) }`,
		"changed parameter":    `func (o Owner) f(b *pgx.Batch, sql string) { sql = sql[1:]; o.queue(b, sql) }`,
		"another parameter":    `func (o Owner) f(b *pgx.Batch, text string) { o.queue(b, text) }`,
		"a closure's":          `func (o Owner) f(b *pgx.Batch) { func(sql string) { o.queue(b, sql) }(os.Args[0]) }`,
		"a method's value":     `func (o Owner) f(b *pgx.Batch) { f := o.queue; f(b, os.Args[0]) }`,
		"a field":              `type q struct { sql string }; func (o Owner) f(b *pgx.Batch, x q) { o.queue(b, x.sql) }`,
		"a fragment":           `func (o Owner) f(b *pgx.Batch) { o.queue(b, pendingFilter) }`,
		"a constant's name":    "const getTask = `\nselect id\nfrom task`",
		"a fragment alone":     `func (o Owner) f() string { return searchFilter }`,
		"a statement alone":    `func (o Owner) f() string { return getTaskSQL }`,
		"a name of another":    `func f() { const getTaskSQL = "select 1" }`,
		"a fragment elsewhere": `func (o Owner) f() string { return pendingFilter + searchFilter }`,
		"a list's text":        `func (o Owner) f(b *pgx.Batch) { o.queue(b, statement{text: "x"}.text) }`,
		"a list's field":       `func (o Owner) f(b *pgx.Batch) { s := listTasksSQL[shape{}]; s.text = "x"; o.queue(b, s.text) }`,
		"a list's entry":       `func init() { listTasksSQL[shape{}] = listTasksSQL[shape{sort: 1}] }`,
		"all lists":            `func init() { listTasksSQL = nil }`,

		// Ways past the owner.
		"pool.Query":        `func (s *Store) f(ctx context.Context) { s.pool.Query(ctx, getTaskSQL, "ada") }`,
		"pool.QueryRow":     `func (o Owner) f(ctx context.Context) { o.store.pool.QueryRow(ctx, getTaskSQL, o.id) }`,
		"pool.Exec":         `func (o Owner) f(ctx context.Context) { o.store.pool.Exec(ctx, deleteTaskSQL, o.id) }`,
		"pool.SendBatch":    `func (o Owner) f(ctx context.Context, b *pgx.Batch) { o.store.pool.SendBatch(ctx, b) }`,
		"pool.Begin":        `func (o Owner) f(ctx context.Context) { o.store.pool.Begin(ctx) }`,
		"pool.Acquire":      `func (o Owner) f(ctx context.Context) { o.store.pool.Acquire(ctx) }`,
		"pool.AcquireFunc":  `func (s *Store) f(ctx context.Context, f func(*pgxpool.Conn) error) { s.pool.AcquireFunc(ctx, f) }`,
		"pool.CopyFrom":     `func (s *Store) f(ctx context.Context) { s.pool.CopyFrom(ctx, nil, nil, nil) }`,
		"pool's method":     `func (s *Store) f() any { return s.pool.Query }`,
		"probes":            `func (s *Store) f() any { return s.probes }`,
		"pool":              `func (s *Store) f() any { return s.pool }`,
		"another pool":      `func f(ctx context.Context) { pgxpool.New(ctx, "") }`,
		"a connection":      `func f(ctx context.Context) { pgx.Connect(ctx, "") }`,
		"conn.Query":        `func f(ctx context.Context, c *pgx.Conn) { c.Query(ctx, getTaskSQL, "ada") }`,
		"pgconn":            `func f(ctx context.Context, c *pgconn.PgConn) { c.Exec(ctx, getTaskSQL) }`,
		"tx":                `func f(ctx context.Context, tx pgx.Tx) { tx.Exec(ctx, deleteTaskSQL, "ada") }`,
		"conn.SendBatch":    `func (o Owner) f(ctx context.Context, c *pgxpool.Conn, b *pgx.Batch) { c.SendBatch(ctx, b) }`,
		"an owner's queue":  `func (o Owner) f(b *pgx.Batch) { b.Queue(deleteTaskSQL, "ada") }`,
		"queue":             `func f(b *pgx.Batch) { b.Queue(deleteTaskSQL, "ada") }`,
		"a queue's value":   `func f(b *pgx.Batch) any { return b.Queue }`,
		"without entering":  `func (o Owner) f(ctx context.Context, b *pgx.Batch) { o.queue(b, getTaskSQL); o.store.pool.SendBatch(ctx, b) }`,
		"entering again":    `func (o Owner) f(b *pgx.Batch) { o.store.enter(b, "ada") }`,
		"entering by value": `func (s *Store) f() any { return s.enter }`,
		"a store's query":   `func (s *Store) f(ctx context.Context) { s.For("ada").one(ctx, reads, getTaskSQL, "1") }`,
		"a read":            `func (o Owner) f() *read { return &read{owner: "ada", sql: getTaskSQL} }`,
		"another's read":    `func (o Owner) f(r *read) { r.owner = "ada" }`,
		"another statement": `func (o Owner) f(r *read) { r.sql = getTaskSQL }`,
		"coalesced":         `func (s *Store) f(ctx context.Context, r *read) { s.coalescer.do(ctx, r) }`,
		"prepared":          `func (o Owner) f(ctx context.Context, c *pgx.Conn) { c.Prepare(ctx, "x", os.Args[0]) }`,
		"an owner's query":  `func (o Owner) f(ctx context.Context) { o.store.For("ada").one(ctx, reads, getTaskSQL, "1") }`,
		"a function's":      `func f(ctx context.Context, o Owner) { o.one(ctx, reads, getTaskSQL, "1") }`,
		"another owner":     `func (o Owner) f() Owner { o.id = "ada"; return o }`,
		"owner's address":   `func (o *Owner) f() *string { return &o.id }`,
		"owner made":        `func (o Owner) f() Owner { return Owner{store: o.store, id: "ada"} }`,
		"owner of places":   `func (o Owner) f() Owner { return Owner{o.store, "ada", nil} }`,
		"store made":        `func f(p *pgxpool.Pool) *Store { return &Store{pool: p} }`,
		"unsafe":            `import _ "unsafe"`,
		"reflect":           `import _ "reflect"`,
		"database/sql":      `import _ "database/sql"`,

		// Exported ways out.
		"exported field":   `type Side struct { Owner Owner }`,
		"exported pool":    `type Side struct { Pool *pgxpool.Pool }`,
		"exported var":     `var Side Owner`,
		"store's task":     `func (s *Store) Side() (t Task) { return t }`,
		"store's tasks":    `func (s *Store) Side() (t map[string][]*Task) { return t }`,
		"store's list":     `func (s *Store) Side() (t TaskList) { return t }`,
		"store's callback": `func (s *Store) Side(f func(Task)) {}`,
		"a batch":          `func (s *Store) Side(f func(*pgx.Batch)) {}`,
		"an owner's batch": `func (o Owner) Side(f func(*pgx.Batch)) {}`,
		"an owner's rows":  `func (o Owner) Side() (r pgx.Rows) { return r }`,
		"a function":       `func Side() (t *Task) { return t }`,
		"an interface":     `type Side interface { Task() Task }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := inspect(t, text)
			if doors := c.doors(); len(c.faults) == 0 && len(doors) == 2 {
				t.Errorf("accepted: %s", text)
			}
		})
	}
}

func TestAnotherDoorToAnOwnerIsNoticed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`func Side(s *Store) Owner { return s.For("ada") }`,
		`func (s *Store) Side() (o *Owner) { return nil }`,
		`func (s *Store) Side() (o []Owner, err error) { return nil, nil }`,
		`func (s *Store) Side(f func(Owner)) { f(s.For("ada")) }`,
		`func (o Owner) Side() func() Owner { return nil }`,
	} {
		if doors := inspect(t, text).doors(); !slices.ContainsFunc(doors, func(door string) bool { return strings.HasSuffix(door, "Side") }) {
			t.Errorf("%s: doors %s", text, doors)
		}
	}
}

func TestOwnersAndStoresHaveNoExportedFields(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Owner", "Store"} {
		fields := source(t).pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
		if fields.NumFields() == 0 {
			t.Errorf("%s has no fields", name)
		}
		for f := range fields.Fields() {
			if f.Exported() || f.Embedded() {
				t.Errorf("%s.%s can be reached from outside", name, f.Name())
			}
		}
	}
}

// These tests look at the package's own source, with its types: at what is said and not only at what is done.
type code struct {
	pkg        *types.Package
	info       *types.Info
	statements map[string]string // the constants whose names end in SQL
	faults     []string
}

var allowed = struct {
	// harmless are functions of pgx that send nothing.
	harmless []string
	// in says which of our functions use the others, and each other. A new use is decided here.
	in map[string][]string
}{
	harmless: []string{
		"pgx.AppendRows", "pgx.BatchResults.Close", "pgx.CollectExactlyOneRow", "pgx.CollectRows", "pgx.CollectableRow.FieldDescriptions",
		"pgx.CollectableRow.RawValues", "pgx.CollectableRow.Scan",
		"pgx.QueuedQuery.Exec", "pgx.QueuedQuery.Query", "pgx.QueuedQuery.QueryRow", "pgx.Row.Scan", "pgx.Rows.Close",
		"pgx.Rows.Err", "pgx.Rows.Next", "pgx.Conn.IsClosed", "pgconn.ParseConfig", "pgconn.PgConn.CleanupDone",
		"pgconn.SafeToRetry", "pgxpool.ParseConfig",
		"pgx.Conn.TypeMap", "pgx.ExtendedQueryBuilder.Build", "pgx.RowsFromResultReader", "pgconn.Pipeline.Close", "pgconn.Pipeline.Flush",
		"pgconn.Pipeline.GetResults", "pgconn.ResultReader.Close", "pgconn.ResultReader.NextRow", "pgconn.ResultReader.Values",
		"pgxpool.Pool.Stat", "pgxpool.Stat.AcquireCount", "pgxpool.Stat.AcquiredConns", "pgxpool.Stat.CanceledAcquireCount",
		"pgxpool.Stat.EmptyAcquireCount", "pgxpool.Stat.EmptyAcquireWaitTime", "pgxpool.Stat.IdleConns", "pgxpool.Stat.MaxConns",
	},
	in: map[string][]string{
		"pgx.Batch.Queue":        {"Owner.queue", "Store.Check", "Store.enter"},
		"pgx.Conn.PgConn":        {"release", "coalescer.send"},
		"pgx.Conn.Prepare":       {"prepare"},
		"pgx.Conn.Close":         {"Owner.sendOnce"},
		"pgxpool.Conn.Conn":      {"release", "coalescer.carry", "Owner.sendOnce"},
		"pgxpool.Conn.Release":   {"release"},
		"pgxpool.Conn.SendBatch": {"Owner.sendOnce"},
		"pgxpool.Config.Copy":    {"Open"},
		"pgxpool.NewWithConfig":  {"Open"},
		"pgxpool.Pool.Acquire":   {"Owner.sendOnce", "coalescer.carry"},
		"pgxpool.Pool.Close":     {"Open", "Store.Close"},
		"pgxpool.Pool.Ping":      {"Store.Ping"},
		"pgxpool.Pool.SendBatch": {"Store.Check"},

		"store.prepare":                      {"coalescer.send"},
		"pgconn.PgConn.StartPipeline":        {"coalescer.send"},
		"pgconn.Pipeline.SendQueryStatement": {"coalescer.send"},
		"pgconn.Pipeline.SendPipelineSync":   {"coalescer.send"},

		"store.Store.For":      {},
		"store.Store.enter":    {"Owner.sendOnce", "Store.Check"},
		"store.Owner.sendOnce": {"Owner.send"},
		"store.coalescer.do":   {"Owner.read"},

		"field pool":   {"Open", "Store.Close", "Store.Ping", "Store.Stat", "Owner.sendOnce", "coalescer.carry"},
		"field probes": {"Open", "Store.Close", "Store.Check"},
		"field id":     {"Store.For", "Owner.queue", "Owner.sendOnce", "Owner.read", "Owner.checksum", "Owner.scanListed"},

		"a new Owner":     {"Store.For"},
		"a new Store":     {"Open"},
		"a new read":      {"Owner.read"},
		"a new statement": {"shape.statement"},
	},
}

// composer is the only function that puts statements together. All it can make is looked at, see statementTexts.
const composer = "shape.statement"

var (
	statementLike = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|with|table|values|truncate|merge|copy)\b`)
	sqlLike       = regexp.MustCompile(`(?i)\b(select|insert\s+into|update\s+\w+\s+set|delete\s+from|truncate|merge\s+into|` +
		`union|returning|where|order\s+by|join|limit|offset|set_config|user_id|set\s+(local\s+)?role)\b|\$[0-9?]|` +
		`\b(from|table|only|into|update)\s+"?(task|task_summary|task_tombstone|idempotency_key)\b`)
)

var source = func() func(t *testing.T) *code {
	var once sync.Once
	var c *code
	return func(t *testing.T) *code {
		t.Helper()
		once.Do(func() { c = inspect(t, "") })
		if c == nil {
			t.Fatal("the package's source was not inspected")
		}
		return c
	}
}()

// inspect looks at the package, and more of it: declarations that would stand in a file of it.
func inspect(t *testing.T, more string) *code {
	t.Helper()
	checked.Lock()
	defer checked.Unlock()
	if checked.imports == nil {
		checked.imports = imports(t)
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, parse(t, name, nil))
		}
	}
	if more != "" {
		files = append(files, parse(t, "more.go", complete(more)))
	}
	c := &code{statements: map[string]string{}, info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}}
	config := types.Config{Importer: checked.imports}
	if c.pkg, err = config.Check("docket/internal/store", checked.fset, files, c.info); err != nil {
		t.Fatal(err)
	}
	c.constants()
	for _, file := range files {
		for _, i := range file.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); slices.Contains([]string{"C", "database/sql", "plugin", "reflect", "unsafe"}, path) {
				c.fault(i.Pos(), "imports %s", path)
			}
		}
		ast.PreorderStack(file, nil, func(n ast.Node, stack []ast.Node) bool {
			c.look(n, stack)
			return true
		})
	}
	c.exports()
	return c
}

// checked is shared: what one inspection imported serves the next. The types package is not safe for concurrent use
// where packages are imported.
var checked = struct {
	sync.Mutex
	fset    *token.FileSet
	imports types.Importer
}{fset: token.NewFileSet()}

// imports gives the types of other packages as the compiler left them.
func imports(t *testing.T) types.Importer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}",
		".", "database/sql", "unsafe", "reflect", "os", "strings", "fmt")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		exports[path] = file
	}
	return importer.ForCompiler(checked.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, errors.New("no export data of " + path)
		}
		return os.Open(exports[path])
	})
}

func parse(t *testing.T, name string, text any) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(checked.fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// complete makes a file of declarations: it adds the imports that they need.
func complete(declarations string) string {
	text := "package store\n"
	for path, name := range map[string]string{
		"context": "context.", "fmt": "fmt.", "os": "os.", "strings": "strings.",
		"github.com/jackc/pgx/v5": "pgx.", "github.com/jackc/pgx/v5/pgconn": "pgconn.", "github.com/jackc/pgx/v5/pgxpool": "pgxpool.",
	} {
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(name)).MatchString(declarations) {
			text += "import " + strconv.Quote(path) + "\n"
		}
	}
	return text + declarations
}

func (c *code) fault(at token.Pos, format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf("%s: %s", checked.fset.Position(at), fmt.Sprintf(format, args...)))
}

// constants collects the statements.
func (c *code) constants() {
	for id, object := range c.info.Defs {
		text, isText := stringConstant(object)
		switch name := id.Name; {
		case !isText:
		case strings.HasSuffix(name, "SQL"):
			if c.statements[name] != "" {
				c.fault(id.Pos(), "there are two constants %s", name)
			}
			c.statements[name] = text
		case statementLike.MatchString(text):
			c.fault(id.Pos(), "%s is a statement: its name has to end in SQL", name)
		}
	}
}

func stringConstant(object types.Object) (string, bool) {
	if c, ok := object.(*types.Const); ok && c.Val().Kind() == constant.String {
		return constant.StringVal(c.Val()), true
	}
	return "", false
}

func (c *code) look(n ast.Node, stack []ast.Node) {
	in := function(stack)
	inConst := slices.ContainsFunc(stack, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		return ok && decl.Tok == token.CONST
	})
	permit := func(what string) {
		if at, known := allowed.in[what]; known && !slices.Contains(at, in) {
			c.fault(n.Pos(), "%s in %s", what, in)
		}
	}
	switch n := n.(type) {
	case *ast.BasicLit, *ast.BinaryExpr:
		value := c.info.Types[n.(ast.Expr)].Value
		if value == nil || value.Kind() != constant.String || inConst || in == composer {
			return
		}
		if sqlLike.MatchString(constant.StringVal(value)) {
			c.fault(n.Pos(), "SQL outside of a constant")
		}
	case *ast.CompositeLit:
		if named, ok := types.Unalias(c.info.Types[n].Type).(*types.Named); ok && named.Obj().Pkg() == c.pkg {
			permit("a new " + named.Obj().Name())
		}
	case *ast.CallExpr:
		if at := c.takesSQL(n); at >= 0 && at < len(n.Args) && in != composer && !c.isStatement(n.Args[at]) {
			c.fault(n.Pos(), "a statement that is no constant")
		}
	case *ast.Ident:
		c.use(n, stack, in, inConst, permit)
	}
}

// use looks at the use of a name.
func (c *code) use(id *ast.Ident, stack []ast.Node, in string, inConst bool, permit func(string)) {
	switch object := c.info.Uses[id].(type) {
	case *types.Const:
		text, isText := stringConstant(object)
		statement := strings.HasSuffix(object.Name(), "SQL")
		switch {
		case !isText || object.Pkg() != c.pkg || inConst || in == composer:
		case !statement && sqlLike.MatchString(text), statement && !c.passed(id, stack):
			c.fault(id.Pos(), "%s is neither sent nor part of another constant", id.Name)
		case statement && examine(text).accesses > 0 && !strings.HasPrefix(in, "Owner."):
			c.fault(id.Pos(), "%s in %s, which has no owner", id.Name, in)
		}
	case *types.Func:
		switch name := shortName(object); {
		case object.Pkg() == nil:
		case object.Pkg() == c.pkg:
			permit(name)
			if c.sqlParameter(object) >= 0 && !called(id, stack) {
				c.fault(id.Pos(), "%s is not called but passed on", name)
			}
		case strings.HasPrefix(object.Pkg().Path(), "github.com/jackc/"):
			if _, known := allowed.in[name]; !known && !slices.Contains(allowed.harmless, name) {
				c.fault(id.Pos(), "%s in %s: not known to this test", name, in)
			}
			permit(name)
		}
	case *types.Var:
		switch {
		case object.Pkg() != c.pkg:
		case object.IsField():
			if c.fieldOf("Owner", object) || c.fieldOf("Store", object) {
				permit("field " + id.Name)
			}
			if (c.fieldOf("statement", object) || c.fieldOf("read", object) && slices.Contains([]string{"owner", "sql", "args"}, id.Name)) && changed(id, stack) {
				c.fault(id.Pos(), "a change of %s in %s", id.Name, in)
			}
		case id.Name == "sql" && types.Identical(object.Type(), types.Typ[types.String]):
			if in != composer && !c.passed(id, stack) {
				c.fault(id.Pos(), "the text of a statement is not only sent in %s", in)
			}
		case id.Name == "listTasksSQL" && changed(id, stack):
			c.fault(id.Pos(), "a change of listTasksSQL in %s", in)
		}
	}
}

// passed reports whether a name is the statement in a call that sends it, or is only compared.
func (c *code) passed(id *ast.Ident, stack []ast.Node) bool {
	switch parent := stack[len(stack)-1].(type) {
	case *ast.BinaryExpr:
		return parent.Op == token.EQL
	case *ast.KeyValueExpr: // of a read, see "a new read"
		key, _ := parent.Key.(*ast.Ident)
		field, _ := c.info.Uses[key].(*types.Var)
		return field != nil && c.fieldOf("read", field) && field.Name() == "sql"
	case *ast.CallExpr:
		at := c.takesSQL(parent)
		return at >= 0 && at < len(parent.Args) && (parent.Args[at] == id || at > 0 && parent.Args[at-1] == id) // or its name
	}
	return false
}

// takesSQL is the position of a statement among a call's arguments, -1 where it takes none.
func (c *code) takesSQL(call *ast.CallExpr) int {
	var id *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return -1
	}
	f, _ := c.info.Uses[id].(*types.Func)
	switch {
	case f == nil:
		return -1
	case shortName(f) == "pgx.Batch.Queue":
		return 0
	case shortName(f) == "pgx.Conn.Prepare":
		return 2
	}
	return c.sqlParameter(f)
}

// sqlParameter is the position of the parameter sql in a function of ours.
func (c *code) sqlParameter(f *types.Func) int {
	if f.Pkg() == c.pkg {
		parameters := f.Signature().Params()
		for i := range parameters.Len() {
			if parameters.At(i).Name() == "sql" {
				return i
			}
		}
	}
	return -1
}

// isStatement reports whether an expression is a statement that the other tests have seen, or the parameter sql: use
// looks at what is given for that.
func (c *code) isStatement(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		switch object := c.info.Uses[e].(type) {
		case *types.Const:
			return object.Pkg() == c.pkg && object.Parent() == c.pkg.Scope() && strings.HasSuffix(object.Name(), "SQL")
		case *types.Var:
			return object.Name() == "sql" && object.Kind() == types.ParamVar && c.ofFunction(object)
		}
	case *ast.SelectorExpr:
		object, _ := c.info.Uses[e.Sel].(*types.Var)
		return object != nil && (c.fieldOf("statement", object) || c.fieldOf("read", object) && object.Name() == "sql")
	}
	return false
}

// ofFunction reports whether a parameter is that of a declared function, whose calls are looked at.
func (c *code) ofFunction(parameter *types.Var) bool {
	for _, object := range c.info.Defs {
		if f, ok := object.(*types.Func); ok {
			if at := c.sqlParameter(f); at >= 0 && f.Signature().Params().At(at) == parameter {
				return true
			}
		}
	}
	return false
}

func (c *code) fieldOf(name string, field *types.Var) bool {
	s, ok := c.pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if f == field {
			return true
		}
	}
	return false
}

// called reports whether a name is called on the spot.
func called(id *ast.Ident, stack []ast.Node) bool {
	var e ast.Expr = id
	for _, n := range slices.Backward(stack) {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if n.Sel != id {
				return false
			}
			e = n
		case *ast.CallExpr:
			return n.Fun == e
		default:
			return false
		}
	}
	return false
}

// changed reports whether a name is part of what an assignment, or an address taken, changes.
func changed(id *ast.Ident, stack []ast.Node) bool {
	var e ast.Expr = id
	for _, n := range slices.Backward(stack) {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if n.Sel != id {
				return false
			}
			e = n
		case *ast.IndexExpr:
			if n.X != e {
				return false
			}
			e = n
		case *ast.ParenExpr:
			e = n
		case *ast.AssignStmt:
			return slices.Contains(n.Lhs, e)
		case *ast.UnaryExpr:
			return n.Op == token.AND
		case *ast.RangeStmt:
			return n.Key == e || n.Value == e
		case *ast.IncDecStmt:
			return true
		case *ast.CallExpr:
			f, _ := n.Fun.(*ast.Ident)
			return f != nil && (f.Name == "delete" || f.Name == "clear")
		default:
			return false
		}
	}
	return false
}

// function is the name of the declared function around a node, with its receiver's type.
func function(stack []ast.Node) string {
	for _, n := range stack {
		if decl, ok := n.(*ast.FuncDecl); ok {
			if decl.Recv == nil {
				return decl.Name.Name
			}
			return strings.TrimPrefix(types.ExprString(decl.Recv.List[0].Type), "*") + "." + decl.Name.Name
		}
	}
	return "no function"
}

// shortName is a function's name with that of its package and receiver, such as pgx.Batch.Queue.
func shortName(f *types.Func) string {
	if f.Pkg() == nil {
		return f.Name()
	}
	name := f.Pkg().Name() + "."
	if receiver := f.Signature().Recv(); receiver != nil {
		typ := receiver.Type()
		if pointer, ok := typ.(*types.Pointer); ok {
			typ = pointer.Elem()
		}
		if named, ok := types.Unalias(typ).(*types.Named); ok {
			name += named.Obj().Name() + "."
		}
	}
	return name + f.Name()
}

// exports holds that nothing leads out of the package but an owner's methods.
func (c *code) exports() {
	for name, f := range c.exported() {
		switch signature := f.Signature(); {
		case c.mentions(signature, pgxTypes):
			c.fault(f.Pos(), "%s has a type of pgx", name)
		case !strings.HasPrefix(name, "Owner.") && c.mentions(signature, taskTypes):
			c.fault(f.Pos(), "%s gives tasks, and has no owner", name)
		}
	}
	for _, name := range c.pkg.Scope().Names() {
		switch object := c.pkg.Scope().Lookup(name).(type) {
		case *types.Var:
			if object.Exported() && (c.mentions(object.Type(), ownerType) || c.mentions(object.Type(), taskTypes) || c.mentions(object.Type(), pgxTypes)) {
				c.fault(object.Pos(), "the variable %s leads to rows", name)
			}
		case *types.TypeName:
			if s, ok := object.Type().Underlying().(*types.Struct); ok && object.Exported() {
				for f := range s.Fields() {
					if f.Exported() && (c.mentions(f.Type(), ownerType) || c.mentions(f.Type(), pgxTypes)) {
						c.fault(f.Pos(), "the field %s.%s leads to rows", name, f.Name())
					}
				}
			}
		}
	}
}

// doors are the exported functions that give, or call back with, an Owner.
func (c *code) doors() (names []string) {
	for name, f := range c.exported() {
		if c.mentions(f.Signature().Results(), ownerType) || c.mentions(f.Signature().Params(), ownerType) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// exported are the package's exported functions and methods.
func (c *code) exported() map[string]*types.Func {
	all := map[string]*types.Func{}
	for _, name := range c.pkg.Scope().Names() {
		switch object := c.pkg.Scope().Lookup(name).(type) {
		case *types.Func:
			if object.Exported() {
				all[name] = object
			}
		case *types.TypeName:
			methods := types.NewMethodSet(types.NewPointer(object.Type()))
			if types.IsInterface(object.Type()) {
				methods = types.NewMethodSet(object.Type())
			}
			for m := range methods.Methods() {
				if f, ok := m.Obj().(*types.Func); ok && f.Exported() && f.Pkg() == c.pkg {
					all[name+"."+f.Name()] = f
				}
			}
		}
	}
	return all
}

func ownerType(pkg, name string) bool { return pkg == "docket/internal/store" && name == "Owner" }

func taskTypes(pkg, name string) bool {
	return pkg == "docket/internal/store" && (name == "Task" || name == "TaskList")
}

func pgxTypes(pkg, _ string) bool { return strings.HasPrefix(pkg, "github.com/jackc/") }

// mentions reports whether a type is made of a named one, in whatever way.
func (c *code) mentions(typ types.Type, is func(pkg, name string) bool) bool {
	seen := map[types.Type]bool{}
	var within func(types.Type) bool
	within = func(typ types.Type) bool {
		if seen[typ] {
			return false
		}
		seen[typ] = true
		switch typ := typ.(type) {
		case *types.Alias:
			return within(typ.Rhs())
		case *types.Named:
			if typ.Obj().Pkg() != nil && is(typ.Obj().Pkg().Path(), typ.Obj().Name()) {
				return true
			}
			for argument := range typ.TypeArgs().Types() {
				if within(argument) {
					return true
				}
			}
			return typ.Obj().Pkg() == c.pkg && within(typ.Underlying())
		case *types.Tuple:
			for v := range typ.Variables() {
				if within(v.Type()) {
					return true
				}
			}
		case *types.Signature:
			return within(typ.Params()) || within(typ.Results())
		case *types.Struct:
			for f := range typ.Fields() {
				if f.Exported() && within(f.Type()) {
					return true
				}
			}
		case *types.Interface:
			for m := range typ.Methods() {
				if m.Exported() && within(m.Signature()) {
					return true
				}
			}
		case *types.Map:
			return within(typ.Key()) || within(typ.Elem())
		case interface{ Elem() types.Type }: // pointers, slices, arrays and channels
			return within(typ.Elem())
		}
		return false
	}
	return within(typ)
}
