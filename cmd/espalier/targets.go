package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/optimizer/target"
)

func newTargetsCommand(streams *ioStreams) *cobra.Command {
	var format output
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "List the devices that a leaf can be checked for",
		Long: "List the devices of the catalogue: their runtime, the kernels that compute there, the granularity of quantized weights, how\n" +
			"the runtime rounds, and which encodings of weights it decodes. With -o json also memory plan, notes and the sources of every entry.",
		Example: "  espalier targets\n  espalier targets -o json | jq '.[] | select(.runtime == \"TFLM\") | .name'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if format == outputJSON {
				return printJSON(streams.Out, target.All())
			}
			return table(streams, "TARGET\tRUNTIME\tKERNELS\tWEIGHTS\tROUNDING\tENCODINGS\tDEVICE", func(w io.Writer) {
				for _, t := range target.All() {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Runtime, t.Kernels, strings.Join(t.Weights, ", "), t.Rounding, encodingsOf(t), t.Title)
				}
			})
		},
	}
	format.addFlag(cmd)
	return cmd
}

// encodingsOf are the kinds of encoded weights that a target decodes, "-" for none.
func encodingsOf(t *target.Target) string {
	if len(t.Encodings) == 0 {
		return "-"
	}
	return strings.Join(t.Encodings, ", ")
}

// targetFlag declares --target on a command.
func targetFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "target", "", "a device of the catalogue (espalier targets)")
	_ = cmd.RegisterFlagCompletionFunc("target", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return target.Names(), cobra.ShellCompDirectiveNoFileComp
	})
}
