package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
)

// errSilent marks an outcome that has been told already and only sets the exit code.
var errSilent = errors.New("already reported")

// ioStreams is where a command's output goes: results to Out, progress and errors to Err.
type ioStreams struct {
	Out, Err    io.Writer
	terminal    bool // Err is a terminal: progress bars instead of lines
	terminalOut bool // Out is a terminal
	width       int  // columns of Out, 0 if it is no terminal or does not say
	widthErr    int  // of Err
	// words has texts speak of what the user typed; nil: they are as they are.
	words func(string) string
}

// text is what a person is shown.
func (s *ioStreams) text(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if s.words != nil {
		text = s.words(text)
	}
	return text + "\n"
}

// fail tells of the error that a command ended with, unless that is told already.
func (s *ioStreams) fail(err error) {
	if err != nil && !errors.Is(err, errSilent) {
		s.tell("espalier: %s", fault.Line(err))
	}
}

// output is the -o flag of commands that print a result: a table for people or JSON for programs.
type output string

const (
	outputTable output = "table"
	outputJSON  output = "json"
)

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }
func (o *output) Set(s string) error {
	switch output(s) {
	case outputTable, outputJSON:
		*o = output(s)
		return nil
	default:
		return fmt.Errorf("%q is not an output format: use table or json", s)
	}
}

// addFlag declares -o on a command.
func (o *output) addFlag(cmd *cobra.Command) {
	*o = outputTable
	cmd.Flags().VarP(o, "output", "o", "what to print: table or json")
}

func newRootCommand(streams *ioStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "espalier",
		Short:         "Compress trained TFLite networks for small Arm devices",
		Long:          "Espalier prunes, clusters and quantizes a trained .tflite network, step by step and without one step undoing the\nstep before, until it meets the constraints of the device it is meant for.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.Err)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.As(fault.Spec, fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath()))
	})
	for _, verb := range []func(*ioStreams) *cobra.Command{
		newRunCommand, newSearchCommand, newInspectCommand, newTargetsCommand, newCheckCommand, newBundleCommand, newEvaluateCommand, newCompareCommand, newSensitivityCommand, newBenchmarkCommand, newReportCommand, newStageCommand, newManagerCommand, newVersionCommand,
	} {
		sub := verb(streams)
		sub.Args = usageArgs(sub.Args)
		cmd.AddCommand(sub)
	}
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), "}} {{.Short}}", "}}  {{.Short}}")) // a gap behind the longest name too
	cmd.SetHelpFunc(streams.help(cmd.HelpFunc()))
	return cmd
}

// usageArgs makes a wrong number of arguments, or a flag that is missing, a mistake in the command line, with the usage line as the remedy.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		if check != nil {
			err = check(cmd, args)
		}
		if err == nil {
			err = cmd.ValidateRequiredFlags()
		}
		if err != nil {
			return fault.As(fault.Spec, fmt.Errorf("%w: usage: %s", err, cmd.UseLine()))
		}
		return nil
	}
}

// printJSON writes v indented, as -o json does everywhere.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
