package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/measure"
)

func newCompareCommand(streams *ioStreams) *cobra.Command {
	var format output
	var data dataFlags
	var samples int
	var signature string
	cmd := &cobra.Command{
		Use:     "compare A B [--dataset DATA]",
		Short:   "Show how far model B is from model A: outputs, layers, weights",
		Example: "  espalier compare model.tflite leaf.tflite --dataset data.npz",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := readSignature(args[0], signature)
			if err != nil {
				return err
			}
			b, err := readSignature(args[1], signature)
			if err != nil {
				return err
			}
			var source dataset.Source
			if data.path != "" {
				opened, split, err := data.open(streams, a)
				if err != nil {
					return err
				}
				defer opened.Close()
				source = split
			}
			comparison, err := measure.Compare(cmd.Context(), a, b, source, samples, measure.Options{})
			if err != nil {
				return unmeasured(err)
			}
			if format == outputJSON {
				return printJSON(streams.Out, comparison)
			}
			return showComparison(streams, comparison)
		},
	}
	format.addFlag(cmd)
	data.add(cmd, false)
	cmd.Flags().StringVar(&signature, "signature", "", "signature to compare, of models with several; default: serving_default, else the file's first")
	cmd.Flags().IntVar(&samples, "layer-samples", 16, "samples to compare layers on")
	return cmd
}

func decibels(d measure.Difference) string {
	if d.Decibel == nil {
		return "equal"
	}
	return fmt.Sprintf("%.1f dB", *d.Decibel)
}

func showComparison(streams *ioStreams, c *measure.Comparison) error {
	return table(streams, func(w *tabwriter.Writer) {
		if c.Samples > 0 {
			fmt.Fprintln(w, "METRIC\tA\tB")
			for _, name := range measure.Names {
				a, b := figure(c.Other, c.OtherIntervals, name), figure(c.Metrics, c.Intervals, name)
				if a != "-" || b != "-" {
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, a, b)
				}
			}
			if len(c.Intervals) > 0 {
				fmt.Fprintf(w, "%s\n", intervalsLegend)
			}
			fmt.Fprintf(w, "\noutputs\t%s\tlargest difference %.4g\n", decibels(c.Output), c.Output.Largest)
			fmt.Fprintln(w, "\nACTIVATION\tSNR\tLARGEST DIFFERENCE")
			for _, l := range c.Layers {
				fmt.Fprintf(w, "%s\t%s\t%.4g\n", shorten(l.Name, 60), decibels(l.Difference), l.Largest)
			}
		}
		fmt.Fprintln(w, "\nCONSTANT\tELEMENTS\tCHANGED\tZEROS A\tZEROS B\tDISTINCT A\tDISTINCT B\tSNR")
		for _, k := range c.Constants {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", shorten(k.Name, 60), k.Elements, k.Changed, k.ZerosA, k.ZerosB, k.CodesA, k.CodesB, decibels(k.Difference))
		}
		for _, name := range c.OnlyA {
			fmt.Fprintf(w, "only in A: %s\n", name)
		}
		for _, name := range c.OnlyB {
			fmt.Fprintf(w, "only in B: %s\n", name)
		}
	})
}
