// Command espalier compresses trained TFLite networks for small Arm devices: on a laptop with `espalier run`, on a cluster as
// the operator (`espalier manager`) and as what its Jobs run (`espalier stage`). One file a verb; docs/cli.md is the manual.
package main

import (
	"context"
	"errors"
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
	if streams.terminalOut {
		streams.width = terminalWidth(os.Getenv("COLUMNS"), func() (int, error) {
			width, _, err := term.GetSize(int(os.Stdout.Fd()))
			return width, err
		})
	}
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
	if err != nil && !errors.Is(err, errSilent) {
		fmt.Fprintf(streams.Err, "espalier: %s\n", fault.Line(err))
	}
	os.Exit(fault.ExitCode(err))
}
