package postgres

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// Statement is the text of a statement for one owner, who is its $1.
type Statement struct{ text string }

// OperatorStatement is the text of a statement that is not limited to one owner.
type OperatorStatement struct{ text string }

func (s Statement) String() string { return s.text }

func (s OperatorStatement) String() string { return s.text }

// declared contains the texts of all statements, and names what traces call them. Only declared statements can be sent, and none can be declared after a
// database was opened, so a test that reads these texts covers everything that can be sent.
var (
	declared []string
	names    = map[string]string{} // by text
	opened   atomic.Bool
)

// SQL declares a statement for one owner. It is for package variables, and panics after a database was opened.
func SQL(text string) Statement { return Statement{declare(text)} }

// OperatorSQL declares a statement that is not limited to one owner. It panics as SQL does.
func OperatorSQL(text string) OperatorStatement { return OperatorStatement{declare(text)} }

func declare(text string) string {
	if opened.Load() {
		panic("postgres: a statement is declared after a database was opened: " + text)
	}
	declared = append(declared, text)
	return text
}

// Named gives the statement the name that traces have for it. Several may have the same. It panics as SQL does.
func (s Statement) Named(name string) Statement {
	setName(s.text, name)
	return s
}

// Named gives the statement the name that traces have for it.
func (s OperatorStatement) Named(name string) OperatorStatement {
	setName(s.text, name)
	return s
}

func setName(text, name string) {
	if opened.Load() {
		panic("postgres: a statement is named after a database was opened: " + text)
	}
	names[text] = name
}

// NameOf returns the name of a statement with that text, or "statement" if it has none.
func NameOf(text string) string { return cmp.Or(names[text], "statement") }

// Declared returns the texts of all statements that were declared.
func Declared() []string { return slices.Clone(declared) }
