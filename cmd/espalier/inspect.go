package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

func newInspectCommand(streams *ioStreams) *cobra.Command {
	var format output
	var all bool
	var device string
	var signature string
	cmd := &cobra.Command{
		Use:     "inspect MODEL",
		Short:   "Show what a .tflite holds: signatures, tensors, zeros, distinct values, sizes",
		Example: "  espalier inspect model.tflite\n  espalier inspect -o json leaf.tflite | jq '.tensors[] | select(.role == \"kernel\")'",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			content, err := readSignature(args[0], signature)
			if err != nil {
				return err
			}
			inspection, err := measure.Inspect(content)
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			memory, err := memoryOn(content, device)
			if err != nil {
				return err
			}
			if format == outputJSON {
				return printJSON(streams.Out, struct {
					*measure.Inspection
					Memory *target.Memory `json:"memory,omitempty"`
				}{inspection, memory})
			}
			err = showInspection(streams, inspection, all)
			switch {
			case err != nil || device == "":
				return err
			case memory == nil:
				streams.say("%s", plannedBy(device))
				return nil
			}
			return showMemory(streams, memory)
		},
	}
	format.addFlag(cmd)
	targetFlag(cmd, &device)
	cmd.Flags().StringVar(&signature, "signature", "", "signature to show, of a model with several; default: serving_default, else the file's first")
	cmd.Flags().BoolVar(&all, "all", false, "activations too, not only constants, inputs and outputs")
	return cmd
}

// memoryOn is the memory a model takes on a device; nil without one, and where the arena of the inspection is the runtime's.
func memoryOn(content []byte, device string) (*target.Memory, error) {
	if device == "" {
		return nil, nil
	}
	t, err := target.Lookup(device)
	if err != nil {
		return nil, fault.As(fault.Spec, err)
	}
	if !t.PlansGreedily() {
		return nil, nil
	}
	m, err := tflite.ReadStored(content)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	note := asLeaf(m)
	if err := target.Check(m, t).Err(); err != nil {
		return nil, fault.As(fault.Model, fmt.Errorf("its memory is not known: the model %w", err))
	}
	memory, err := target.MemoryOf(m, t)
	if err == nil && note != "" {
		memory.Notes = append(memory.Notes, note)
	}
	return memory, fault.As(fault.Model, err)
}

// plannedBy says who lays out the memory on a device whose runtime is not TFLM.
func plannedBy(device string) string {
	if t, err := target.Lookup(device); err == nil && t.PlansMemoryUnseen() {
		return fmt.Sprintf("arena on %s: not known here: the device's compiler plans the memory of what it places, and its report has the figure; the arena above is LiteRT's", device)
	}
	return fmt.Sprintf("arena on %s: the one above, as its runtime is LiteRT", device)
}

// showMemory prints what each operator takes of the arena of a device, and the sum.
func showMemory(streams *ioStreams, m *target.Memory) error {
	fmt.Fprintln(streams.Out)
	err := table(streams, "OPERATOR\tNAME\tALIVE\tSCRATCH\tKEPT", func(w io.Writer) {
		for _, o := range m.Operators {
			index := fmt.Sprint(o.Operator)
			if o.Subgraph > 0 {
				index = fmt.Sprintf("%d.%d", o.Subgraph, o.Operator)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", index, o.Name, o.Alive, o.Scratch, o.Persistent)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(streams.Out)
	streams.say("arena on %s %d bytes: activations and scratch buffers %d, structures %d, variables %d, more while it is prepared %d, margin %d",
		m.Target, m.Bytes, m.Planned, m.Structures, m.Variables, m.Preparing, m.Margin)
	for _, note := range m.Notes {
		streams.say("%s", note)
	}
	return nil
}

func showInspection(streams *ioStreams, in *measure.Inspection, all bool) error {
	err := table(streams, "TENSOR\t~NAME\tROLE\tTYPE\tSHAPE\tBYTES\tZEROS\tDISTINCT\tMIN\tMAX\tSCALES\tZERO POINT", func(w io.Writer) {
		for _, t := range in.Tensors {
			if !all && t.Role == measure.RoleActivation {
				continue
			}
			zeros, distinct, low, high := "-", "-", "-", "-"
			if t.Constant() && t.Elements > 0 {
				zeros = fmt.Sprintf("%.1f%%", 100*float64(t.Zeros)/float64(t.Elements))
				distinct, low, high = fmt.Sprint(t.Distinct), fmt.Sprintf("%.4g", t.Min), fmt.Sprintf("%.4g", t.Max)
			}
			scales, zero := "-", "-"
			if t.Scales > 0 {
				scales, zero = fmt.Sprint(t.Scales), fmt.Sprint(t.ZeroPoint)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%v\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Index, t.Name, t.Role, t.Type, dimensions(t), t.Bytes, zeros, distinct, low, high, scales, zero)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(streams.Out)
	streams.say("file %d bytes, compressed %d, arena %d, %d operators, %d multiplications a sample, %.1f%% zeros in prunable kernels",
		in.FileBytes, in.CompressedBytes, in.ArenaBytes, len(in.Operators), in.Multiplications, 100*in.Sparsity)
	for _, s := range in.Signatures {
		streams.say("%s", describeSignature(s, len(in.Signatures)))
	}
	if open := openInputs(in); open != "" {
		streams.say("%s", open)
	}
	if in.Preprocessing != nil {
		fmt.Fprintf(streams.Out, "how inputs are made: %s\n", in.Preprocessing) // to be copied: not cut, nor broken
	}
	if len(in.States) > 0 {
		streams.say("keeps state from one step to the next: %s", strings.Join(in.States, ", "))
	}
	if in.Bare {
		streams.say("the file has no names of inner tensors: CONV_2D:3 is what operator 3 makes, CONV_2D:3/weight a constant that it reads first")
	}
	if encoded := encodedTensors(in); encoded != "" {
		streams.say("%s", encoded)
	}
	for _, finding := range in.Findings {
		streams.say("%s", finding)
	}
	if in.Unsupported != "" {
		streams.say("cannot be run here: %s", in.Unsupported)
	}
	return nil
}

// encodedTensors is a line of how constants lie in the file where they are encoded, "" where none is.
func encodedTensors(in *measure.Inspection) string {
	var parts []string
	before, after := 0, 0
	for _, t := range in.Tensors {
		if t.Encoding != "" {
			parts = append(parts, fmt.Sprintf("%d %s %d", t.Index, t.Encoding, t.StoredBytes))
			before, after = before+t.Bytes, after+t.StoredBytes
		}
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("encoded, and decoded by TFLM as it runs, LiteRT does not run the file: %d bytes in place of %d (tensor, kind, bytes: %s)", after, before, strings.Join(parts, ", "))
}

// dimensions are a tensor's sizes, ? where the file leaves one open.
func dimensions(t measure.Tensor) string {
	if t.ShapeSignature != nil {
		return shape(t.ShapeSignature)
	}
	return shape(t.Shape)
}

func shape(sizes []int) string { return strings.ReplaceAll(fmt.Sprint(sizes), "-1", "?") }

// describeSignature is one line: what a signature takes and gives, and of several which the rest is of.
func describeSignature(s measure.Signature, of int) string {
	ports := func(list []measure.Port) string {
		parts := make([]string, len(list))
		for i, p := range list {
			parts[i] = fmt.Sprintf("%s %s %s", p.Name, p.Type, shape(p.Shape))
		}
		return strings.Join(parts, ", ")
	}
	line := fmt.Sprintf("signature %q: %s → %s", s.Name, ports(s.Inputs), ports(s.Outputs))
	if of > 1 && s.Subgraph == 0 {
		line += " (shown here)"
	}
	return line
}

// openInputs says which inputs have sizes besides the batch that the file leaves open; "" if none has.
func openInputs(in *measure.Inspection) string {
	var names []string
	for _, t := range in.Tensors {
		if t.Role == measure.RoleInput && t.ShapeSignature != nil && slices.Contains(t.ShapeSignature[1:], -1) {
			names = append(names, fmt.Sprintf("%q %s", t.Name, dimensions(t)))
		}
	}
	if names == nil {
		return ""
	}
	return "open sizes, which the dataset's samples decide; arena and multiplications are for the sizes in the file: " + strings.Join(names, ", ")
}
