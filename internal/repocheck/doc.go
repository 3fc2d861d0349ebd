// Package repocheck has no code: its tests check the repository's files for what no compiler and no linter checks.
package repocheck
