package main

import (
	"os"
	"syscall"
	"unsafe"
)

// untouched gives the memory of b back, which is all zeros then. Go clears memory that something else had before, and so
// touches it.
func untouched(b []byte) []byte {
	page := os.Getpagesize()
	whole := b[-int(uintptr(unsafe.Pointer(&b[0])))&(page-1):]
	_ = syscall.Madvise(whole[:len(whole)&^(page-1)], syscall.MADV_DONTNEED) // else it takes more memory, and no more than that
	return b
}
