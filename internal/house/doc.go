// Package house has no code: its tests hold the rules of the house that no compiler and no linter holds.
package house
