package main

import (
	"os"
	"syscall"
	"unsafe"
)

// untouched returns the memory of b, which holds zeros only, to the kernel. Go clears memory that was in use before, and
// so writes to it.
func untouched(b []byte) []byte {
	page := os.Getpagesize()
	whole := b[-int(uintptr(unsafe.Pointer(&b[0])))&(page-1):]               //nolint:gosec // only its address is used
	_ = syscall.Madvise(whole[:len(whole)&^(page-1)], syscall.MADV_DONTNEED) // a failure costs memory and nothing else
	return b
}
