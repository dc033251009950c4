package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/rewrite"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func newCheckCommand(streams *ioStreams) *cobra.Command {
	var format output
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "check MODEL --target TARGET",
		Short: "Say which operators of a .tflite do not run on a device, and what to change",
		Long: "Say where each operator of a model runs on a device: which do not run at all, which not on the accelerator, why, and what to\n" +
			"change. Of a float model it says too which operators leaves for the device have written by others: these run. The exit code is 0\n" +
			"where everything runs, and 5 where an operator runs nowhere.",
		Example: "  espalier check leaf.tflite --target cortex-m4\n  espalier check -o json leaf.tflite --target ethos-u55 | jq '.operators[] | select(.place != \"accelerator\")'",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if name == "" {
				return fault.As(fault.Spec, fmt.Errorf("--target is missing: name a device of espalier targets"))
			}
			t, err := target.Lookup(name)
			if err != nil {
				return fault.As(fault.Spec, err)
			}
			content, err := readModelFile(args[0])
			if err != nil {
				return err
			}
			m, err := tflite.ReadStored(content)
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			note := asLeaf(m)
			report := target.Check(m, t)
			rewrites, leaf := inLeaves(m, t)
			for _, c := range rewrites {
				report.InLeaf(target.Rewritten, c.Name, c.Layer, c.Reason)
			}
			for _, p := range report.Refused() {
				if i := slices.IndexFunc(leaf, func(l target.Placement) bool { return l.Name == p.Name && l.Layer == p.Layer }); i >= 0 && leaf[i].Place != target.Nowhere {
					report.InLeaf(target.Quantized, p.Name, p.Layer, fmt.Sprintf("%s; in int8 it runs on the %s", p.Reason, leaf[i].Place))
				}
			}
			if format == outputJSON {
				err = printJSON(streams.Out, struct {
					*target.Report
					Rewrites []rewrite.Change `json:"rewrites,omitempty"`
					Note     string           `json:"note,omitempty"`
				}{report, rewrites, note})
			} else if err = showCheck(streams, report, t, all); err == nil {
				for _, c := range rewrites {
					fmt.Fprintf(streams.Out, "in leaves for %s %s\n", t.Name, c)
				}
				if note != "" {
					fmt.Fprintln(streams.Out, note)
				}
			}
			if err == nil && !report.Runs {
				return fault.As(fault.Constraints, errSilent)
			}
			return err
		},
	}
	format.addFlag(cmd)
	targetFlag(cmd, &name)
	cmd.Flags().BoolVar(&all, "all", false, "operators that run too")
	return cmd
}

// asLeaf makes a model whose file leaves sizes open what its leaves are: written for a batch of 1, with what only depends on sizes computed once. It
// says so; "" where nothing is open, or other sizes are than that of the batch, which only a dataset tells.
func asLeaf(m *tflite.Model) (note string) {
	open := slices.ContainsFunc(m.Subgraph().Inputs, func(i int32) bool { return slices.Contains(m.Subgraph().Tensors[i].ShapeSignature, -1) })
	if !open {
		return ""
	}
	operators := len(m.Subgraph().Operators)
	leaf := m.Clone()
	if _, err := ir.Specialize(leaf, nil); err != nil || len(leaf.Subgraph().Operators) == operators {
		return ""
	}
	m.ModelT = leaf.ModelT
	return fmt.Sprintf("the file leaves the batch open: this is of its leaves, which are written for a batch of 1 with %d operators in place of %d", len(m.Subgraph().Operators), operators)
}

// inLeaves are the operators that leaves of a float model have written by others, and where a leaf's run, by what is known before there is one;
// none of a model that cannot be read as such, is quantized, or keeps state.
func inLeaves(m *tflite.Model, t *target.Target) (rewrites []rewrite.Change, leaf []target.Placement) {
	quantized := slices.ContainsFunc(m.Subgraph().Tensors, func(t *schema.TensorT) bool {
		return t.Quantization != nil && len(t.Quantization.Scale) > 0
	})
	if quantized {
		return nil, nil
	}
	float := m.Clone()
	if _, err := tflite.Normalise(float); err != nil {
		return nil, nil
	}
	if step, err := stream.Open(float); err != nil || step != nil {
		return nil, nil
	}
	if _, err := ir.Specialize(float, nil); err != nil {
		return nil, nil
	}
	written, rewrites, err := rewrite.For(float, t)
	if err != nil {
		return nil, nil
	}
	draft, err := rewrite.Draft(written, rewrite.Options(t))
	if err != nil {
		return rewrites, nil
	}
	return rewrites, target.Check(draft, t).Operators
}

func showCheck(streams *ioStreams, r *target.Report, t *target.Target, all bool) error {
	shown := 0
	for _, p := range r.Operators {
		if all || p.Reason != "" {
			shown++
		}
	}
	if shown > 0 {
		err := table(streams, "OPERATOR\tNAME\tLAYER\tRUNS ON\tWHY NOT\tWHAT TO CHANGE", func(w io.Writer) {
			for _, p := range r.Operators {
				if !all && p.Reason == "" {
					continue
				}
				index := fmt.Sprint(p.Operator)
				if p.Subgraph > 0 {
					index = fmt.Sprintf("%d.%d", p.Subgraph, p.Operator)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", index, p.Name, shorten(p.Layer, 40), p.Place, p.Reason, p.Remedy)
			}
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(streams.Out)
	}
	where := ""
	if n := r.Count(target.Rewritten); n > 0 {
		where = fmt.Sprintf(", %d of them written by others", n)
	}
	if n := r.Count(target.Quantized); n > 0 {
		where += fmt.Sprintf(", %d of them once quantized", n)
	}
	if t.Accelerator != nil {
		where += fmt.Sprintf(", %d of them on %s", r.Count(target.OnAccelerator), t.Accelerator.Title)
	}
	fmt.Fprintf(streams.Out, "%d of %d operators run on %s%s\n", len(r.Operators)-r.Count(target.Nowhere), len(r.Operators), t.Name, where)
	return nil
}
