package measurement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

// How a run of a program may fail. What is missing fails the same way every time.
var (
	errMissing = errors.New("there is no such command: install it, name it by its path, or mend the path")
	errProgram = errors.New("it is no program that can be started: make it executable (chmod +x), and have a script begin with #! and an interpreter that is there")
	errLong    = fmt.Errorf("it prints more than %d KiB on standard output: only the JSON goes there, all else to standard error", MaxOutput>>10)
	errTime    = errors.New("it took longer than timeoutSeconds and was killed: raise that, or make it faster")
	errEnded   = errors.New("its container ended while it ran, perhaps out of memory: have the installation's limits of stages raised, or have it take less")
)

// exitError is an exit code.
type exitError struct{ code int }

func (e *exitError) Error() string {
	if e.code < 0 {
		return "it was killed by a signal"
	}
	return fmt.Sprintf("it ended with exit code %d, not 0", e.code)
}

// Final reports whether an error stays whatever is tried again.
func Final(err error) bool { return errors.Is(err, errMissing) || errors.Is(err, errProgram) }

// timeout of one run of a measurement's program.
func timeout(m *v1alpha1.Measurement) time.Duration {
	return time.Duration(v1alpha1.Or(m.TimeoutSeconds, v1alpha1.DefaultMeasurementTimeout)) * time.Second
}

// run starts a program in a folder, with a folder of its own for temporary files, and returns what it printed on standard output, and the
// end of what it printed on standard error. When it is over, and when ctx or the time is, whatever it started ends with it.
func run(ctx context.Context, command []string, dir, scratch string, limit time.Duration) (output []byte, said string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the author's own program
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	grouped(cmd)
	out, tail := &bounded{limit: MaxOutput + 1, full: cancel}, &ending{}
	cmd.Stdout, cmd.Stderr = out, tail
	err = cmd.Run()
	finish(cmd)
	var exit *exec.ExitError
	switch {
	case len(out.kept) > MaxOutput:
		err = errLong
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // something that it started has its output still open
		err = nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, fs.ErrNotExist) && there(cmd.Path):
		err = errProgram
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		err = errMissing
	case errors.As(err, &exit):
		err = &exitError{exit.ExitCode()}
	}
	return out.kept, tail.String(), err
}

// there reports whether a program's file is there, so that what is not is its interpreter.
func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// bounded keeps what is written up to a limit, and says when it is full. It is a writer and no more: io.Copy would have a buffer's ReadFrom
// take everything in.
type bounded struct {
	kept  []byte
	limit int
	full  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.limit-len(b.kept))]...)
	if len(b.kept) >= b.limit {
		b.full()
	}
	return len(p), nil
}

// ending keeps the end of what is written.
type ending struct{ kept []byte }

const maxEnding = 400

func (e *ending) Write(p []byte) (int, error) {
	e.kept = append(e.kept, p...)
	if extra := len(e.kept) - maxEnding; extra > 0 {
		e.kept = append(e.kept[:0], e.kept[extra:]...)
	}
	return len(p), nil
}

func (e *ending) String() string { return string(bytes.ToValidUTF8(e.kept, nil)) }
