package server

import (
	"context"
	"math"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	handshake    = 100 * time.Millisecond // more than a round trip to a proxy
	acceptWaits  = 5 * time.Second        // for connections that MaxConnections keeps waiting
	acceptPolled = time.Millisecond

	flagsOffset = 13 // in the header of TCP
	flagSYN     = 1 << 1
	flagACK     = 1 << 4
)

// notSYN is a socket filter that drops the segments that begin a connection: SYN is set and ACK is not.
var notSYN = []bpf.Instruction{
	bpf.LoadAbsolute{Off: flagsOffset, Size: 1},
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: flagSYN | flagACK},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: flagSYN, SkipFalse: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: math.MaxUint32},
}

// finishAccepting waits until every connection that a client has made is accepted, and lets no other be made. Closing a
// listener resets the connections that wait to be accepted. Their clients may have sent a request, and do not know
// whether it was served; a proxy does not repeat it then. A client that tries to connect gets no answer until the
// listener is closed, and is refused then.
func finishAccepting(ctx context.Context, l net.Listener) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return
	}
	conn, err := socket.SyscallConn()
	if err != nil || !attach(conn, notSYN) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, acceptWaits)
	defer cancel()
	for wait := handshake; ; wait = acceptPolled {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if !acceptable(conn) {
			return
		}
	}
}

// attach attaches a filter to a socket. It returns false if the system does not allow that.
func attach(conn syscall.RawConn, program []bpf.Instruction) (attached bool) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return false
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	controlErr := conn.Control(func(fd uintptr) {
		attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog) == nil
	})
	return attached && controlErr == nil
}

// acceptable reports whether a connection waits to be accepted.
func acceptable(conn syscall.RawConn) (waits bool) {
	err := conn.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		waits = err != nil || n > 0 // an error: interrupted by a signal
	})
	return waits && err == nil
}
