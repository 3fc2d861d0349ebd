// Package repocheck contains only tests. They check the repository's files for what compilers and linters do not check.
package repocheck
