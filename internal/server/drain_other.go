//go:build !linux

package server

import (
	"context"
	"net"
)

// finishAccepting does nothing: only Linux can refuse new connections without those that wait to be accepted.
func finishAccepting(context.Context, net.Listener) {}
