package image_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

const (
	// user is the user and the group of the Dockerfile.
	user = 65532

	initArgument = "become-container"
	initFailed   = 125 // exit code if a container could not be set up, as with container engines
)

// Constants of the kernel that package syscall lacks.
const (
	capSysChroot       = 18
	capSysAdmin        = 21
	prSetNoNewPrivs    = 38
	prCapAmbient       = 47
	prCapAmbientClear  = 4
	mountFlagsReadOnly = syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV
)

// container returns a command that runs /docket of a root folder as process 1 of a new namespace. This program is started
// in the new namespaces first, and becomes docket there: see becomeContainer.
func container(root string, args []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{initArgument, root}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		// In a namespace of users, an ordinary user may mount.
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{capSysAdmin, capSysChroot}
	}
	return cmd
}

// becomeContainer makes a folder the read-only root of this process, gives up all rights and executes /docket there. It
// returns only if that fails.
func becomeContainer(root string, args []string) error {
	runtime.LockOSThread() // capabilities belong to a thread
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("this is process %d and not 1", pid)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return err
	}
	if err := syscall.Mount(root, root, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	if err := syscall.Mount("", root, "", mountFlagsReadOnly, ""); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := syscall.Chdir("/"); err != nil {
		return err
	}
	if os.Getuid() != user {
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
		if err := syscall.Setgid(user); err != nil {
			return fmt.Errorf("setgid: %w", err)
		}
		if err := syscall.Setuid(user); err != nil {
			return fmt.Errorf("setuid: %w", err)
		}
	}
	for _, call := range [][2]uintptr{
		{prCapAmbient, prCapAmbientClear},
		{prSetNoNewPrivs, 1},
		{syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL)}, // it ends with the test, however that ends
	} {
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, call[0], call[1], 0, 0, 0, 0); errno != 0 {
			return fmt.Errorf("prctl %d: %w", call[0], errno)
		}
	}
	return fmt.Errorf("exec: %w", syscall.Exec("/docket", append([]string{"/docket"}, args...), os.Environ()))
}
