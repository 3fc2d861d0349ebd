package main

import (
	"os"
	"os/exec"
	"testing"
)

func TestFamilyCountsTheWorkOfChildrenThatLiveAndOfThoseThatEnded(t *testing.T) {
	t.Parallel()
	self := os.Getpid()
	own, err := spent(self)
	if err != nil {
		t.Fatal(err)
	}
	// A shell that lives until its input ends, behind one that has ended after some work.
	work := `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done`
	cmd := exec.Command("/bin/sh", "-c", `( `+work+` ) ; echo; read -r _`)
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
	if _, err := out.Read(make([]byte, 1)); err != nil { // the work is done
		t.Fatal(err)
	}
	shell, err := spent(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	all, err := familySpent(cmd.Process.Pid)
	if err != nil || all-shell < 2*tick {
		t.Errorf("the shell spent %v, with its child %v, %v", shell, all, err)
	}
	pids, _, err := family(self)
	if err != nil || len(pids) < 2 || pids[0] != self {
		t.Errorf("our family is %v, %v", pids, err)
	}
	if after, err := spent(self); err != nil || after < own {
		t.Errorf("we spent %v and then %v, %v", own, after, err)
	}
	if _, err := spent(1 << 30); !gone(err) {
		t.Errorf("a process that is not there: %v", err)
	}
}
