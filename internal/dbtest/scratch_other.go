//go:build !linux

package dbtest

import "os"

// scratch returns the folder for servers' data.
func scratch() string { return os.TempDir() }
