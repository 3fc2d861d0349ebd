package postgres

import (
	"slices"
	"sync/atomic"
)

// Statement is the text of a statement for one owner, who is its $1.
type Statement struct{ text string }

// OperatorStatement is the text of a statement that is not limited to one owner.
type OperatorStatement struct{ text string }

func (s Statement) String() string { return s.text }

func (s OperatorStatement) String() string { return s.text }

// declared contains the texts of all statements. Only declared statements can be sent, and none can be declared after a
// database was opened, so a test that reads these texts covers everything that can be sent.
var (
	declared []string
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

// Declared returns the texts of all statements that were declared.
func Declared() []string { return slices.Clone(declared) }
