//go:build unix

package measurement

import (
	"os/exec"
	"syscall"
)

// grouped has a program and what it starts end together.
func grouped(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// finish ends what a program left behind.
func finish(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

// noWait has the opening of a pipe not wait for who writes to it.
const noWait = syscall.O_NONBLOCK
