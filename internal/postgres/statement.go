package postgres

import (
	"slices"
	"sync/atomic"
)

// Statement is the text of a statement of one owner, who is its $1.
type Statement struct{ text string }

// OperatorStatement is the text of a statement that is not of one owner.
type OperatorStatement struct{ text string }

func (s Statement) String() string { return s.text }

func (s OperatorStatement) String() string { return s.text }

// declared are the texts of all statements. A test that reads them reads all that can be sent: only a Statement is sent,
// and none is made once a database was opened.
var (
	declared []string
	opened   atomic.Bool
)

// SQL declares a statement of one owner. It is for variables of packages, and panics once a database was opened.
func SQL(text string) Statement { return Statement{declare(text)} }

// OperatorSQL declares a statement that is not of one owner, as SQL does.
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
