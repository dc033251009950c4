package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

func newCompareCommand(streams *ioStreams) *cobra.Command {
	var format output
	var data dataFlags
	var samples int
	var signature, name, explorer string
	var states stateFlags
	cmd := &cobra.Command{
		Use:     "compare A B [--dataset DATA]",
		Short:   "Show how far model B is from model A: outputs, layers, weights",
		Example: "  espalier compare model.tflite leaf.tflite --dataset data.npz",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := data.needed(); err != nil {
				return err
			}
			device, err := data.target(name)
			if err != nil {
				return err
			}
			a, err := states.read(args[0], signature)
			if err != nil {
				return err
			}
			b, err := states.read(args[1], signature)
			if err != nil {
				return err
			}
			var source dataset.Source
			if data.path != "" {
				opened, split, err := data.open(streams, a, b)
				if err != nil {
					return err
				}
				defer opened.Close()
				source = split
			}
			for _, content := range []*[]byte{&a, &b} {
				if *content, err = asked(streams, *content, source); err != nil {
					return err
				}
			}
			comparison, err := measure.Compare(cmd.Context(), a, b, source, samples, measure.Options{})
			if err != nil {
				return unmeasured(err)
			}
			divergence, err := divergenceOn(cmd.Context(), b, source, device)
			if err != nil {
				return err
			}
			if explorer != "" {
				written, err := writeOverlays(comparison, b, explorer)
				if err != nil {
					return err
				}
				streams.tell("wrote    %s, for Model Explorer to lay over B", strings.Join(written, ", "))
				if source == nil {
					streams.note("%s has no error.json: the error of each layer needs --dataset", explorer)
				}
			}
			figures, err := compareOn(device, a, b)
			if err != nil {
				return err
			}
			measured, err := data.measurements(a, b)
			if err != nil {
				return err
			}
			split := ""
			if source != nil {
				split = data.split
			}
			if format == outputJSON {
				return printJSON(streams.Out, struct {
					*measure.Comparison
					Split      string              `json:"split,omitempty"`
					Divergence *measure.Divergence `json:"divergence,omitempty"`
					Target     *targetFigures      `json:"target,omitempty"`
					Measured   *measurements       `json:"measured,omitempty"`
				}{comparison, split, divergence, figures, measured})
			}
			err = showComparison(streams, comparison, split)
			if err == nil && figures != nil {
				err = figures.show(streams)
			}
			if err == nil && measured != nil {
				err = measured.show(streams)
			}
			if err != nil || divergence == nil {
				return err
			}
			fmt.Fprintln(streams.Out)
			streams.say("as %s computes, B differs from LiteRT in %s (of %s)", device.Name, describeDivergence(divergence), firstOf(divergence.Samples, comparison.Samples))
			return nil
		},
	}
	format.addFlag(cmd)
	data.add(cmd, false)
	targetFlag(cmd, &name)
	states.add(cmd)
	cmd.Flags().StringVar(&explorer, "model-explorer", "", "folder for B's overlays in Model Explorer: error.json, zeros.json, codes.json")
	cmd.Flags().StringVar(&signature, "signature", "", "signature to compare, of models with several; default: serving_default, else the file's first")
	cmd.Flags().IntVar(&samples, "layer-samples", 16, "samples to compare outputs and layers on, value by value")
	return cmd
}

// divergenceOn says in how many answers a device's runtime differs from LiteRT; nil without a device or samples, and where the runtime is LiteRT.
func divergenceOn(ctx context.Context, model []byte, source dataset.Source, device *target.Target) (*measure.Divergence, error) {
	if device == nil || source == nil {
		return nil, nil
	}
	d, err := measure.Diverges(ctx, model, source, device)
	if err != nil {
		return nil, unmeasured(err)
	}
	return d, nil
}

func describeDivergence(d *measure.Divergence) string {
	return fmt.Sprintf("%d of %d samples, %d of %d values", d.SamplesDiffer, d.Samples, d.ValuesDiffer, d.Values)
}

// firstOf says which samples a figure is of.
func firstOf(n, all int) string {
	if n == all {
		return fmt.Sprintf("all %d samples", all)
	}
	return fmt.Sprintf("the first %d of %d samples", n, all)
}

// writeOverlays writes a comparison's overlays into a folder, which is made where it is not there, and returns their paths.
func writeOverlays(c *measure.Comparison, b []byte, folder string) (written []string, err error) {
	overlays, err := c.Overlays(b)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fault.As(fault.Storage, err)
	}
	for _, name := range slices.Sorted(maps.Keys(overlays)) {
		path := filepath.Join(folder, name)
		content, err := overlays[name].JSON()
		if err == nil {
			err = tflite.WriteWhole(path, content)
		}
		if err != nil {
			return nil, fault.As(fault.Storage, err)
		}
		written = append(written, path)
	}
	return written, nil
}

func decibels(d measure.Difference) string {
	switch {
	case d.Decibel == nil:
		return "equal"
	case *d.Decibel <= -999: // JSON has no infinity
		return "A is 0"
	}
	return fmt.Sprintf("%.1f dB", *d.Decibel)
}

func showComparison(streams *ioStreams, c *measure.Comparison, split string) error {
	out := streams.Out
	if c.Samples > 0 {
		err := table(streams, "METRIC\tA\tB", func(w io.Writer) {
			for _, name := range measure.Names {
				a, b := figure(c.Other, c.OtherIntervals, name), figure(c.Metrics, c.Intervals, name)
				if a != "-" || b != "-" {
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, a, b)
				}
			}
		})
		if err != nil {
			return err
		}
		if len(c.Intervals) > 0 {
			streams.say("%s", intervalsLegend)
		}
		fmt.Fprintln(out)
		streams.say("metrics are of the %d samples of the %s split; outputs and activations, value by value, of %s", c.Samples, split, firstOf(c.LayerSamples, c.Samples))
		streams.say("outputs  %s  largest difference %.4g\n", decibels(c.Output), c.Output.Largest)
		err = table(streams, "~ACTIVATION\tSNR\tLARGEST DIFFERENCE", func(w io.Writer) {
			for _, l := range c.Layers {
				fmt.Fprintf(w, "%s\t%s\t%.4g\n", l.Name, decibels(l.Difference), l.Largest)
			}
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	err := table(streams, "~CONSTANT\tELEMENTS\tCHANGED\tZEROS A\tZEROS B\tDISTINCT A\tDISTINCT B\tSNR", func(w io.Writer) {
		for _, k := range c.Constants {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", k.Name, k.Elements, k.Changed, k.ZerosA, k.ZerosB, k.CodesA, k.CodesB, decibels(k.Difference))
		}
	})
	if err != nil {
		return err
	}
	return table(streams, "", func(w io.Writer) {
		for _, name := range c.OnlyA {
			fmt.Fprintf(w, "only in A: %s\n", name)
		}
		for _, name := range c.OnlyB {
			fmt.Fprintf(w, "only in B: %s\n", name)
		}
	})
}
