//go:build !unix

package devdb

import (
	"errors"
	"io"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

func commandLine(int) string { return "" }

func lockDir(string) (io.Closer, error) {
	return nil, errors.New("a development PostgreSQL needs Linux or macOS: set DATABASE_URL to one of your own")
}
