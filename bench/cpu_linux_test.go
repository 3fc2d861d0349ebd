package main

import (
	"os/exec"
	"testing"
)

func TestTreeCPUTimeIncludesEndedChildren(t *testing.T) {
	t.Parallel()
	// A shell that waits after one of its children has used CPU time and ended.
	cmd := exec.Command("/bin/sh", "-c", `( i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done ); echo; read -r _`)
	stdin, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // the child has ended
		t.Fatal(err)
	}
	shell, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := treeCPUTime(cmd.Process.Pid)
	if err != nil || tree-shell < 2*tick {
		t.Errorf("the shell took %v, with its child %v, error %v", shell, tree, err)
	}
	if _, err := cpuTime(1 << 30); !ended(err) {
		t.Errorf("a process that does not exist: %v", err)
	}
}
