// Command espalier compresses trained TFLite networks for small Arm devices: on a laptop with `espalier run`, on a cluster as
// the operator (`espalier manager`) and as what its Jobs run (`espalier stage`). One file a verb; docs/cli.md is the manual.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"espalier.dev/espalier/internal/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := &ioStreams{Out: os.Stdout, Err: os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())), terminalOut: term.IsTerminal(int(os.Stdout.Fd()))}
	streams.width, streams.widthErr = columnsOf(os.Stdout), columnsOf(os.Stderr)
	command := newRootCommand(streams)
	command.SetArgs(os.Args[1:])
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	caught = true
	err := guarded(func() error { return command.ExecuteContext(ctx) })
	stop()
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		err = fault.As(fault.Spec, fmt.Errorf("%w (see espalier --help)", err))
	}
	streams.fail(err)
	os.Exit(fault.ExitCode(err))
}

// columnsOf are the columns of a terminal, 0 of a file that is none.
func columnsOf(f *os.File) int {
	if !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	return terminalWidth(os.Getenv("COLUMNS"), func() (int, error) {
		width, _, err := term.GetSize(int(f.Fd()))
		return width, err
	})
}
