//go:build !linux

package dbtest

import "os"

// scratch is where the cluster goes.
func scratch() string { return os.TempDir() }
