package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/rewrite"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func newCheckCommand(streams *ioStreams) *cobra.Command {
	var format output
	var name, signature string
	var all bool
	cmd := &cobra.Command{
		Use:   "check MODEL --target TARGET",
		Short: "Say which operators of a .tflite do not run on a device, and what to change",
		Long: "Say where each operator of a model runs on a device: which do not run at all, which not on the accelerator, why, and what to\n" +
			"change. Of a float model it is the operators of the int8 leaf that a pipeline for the device makes of it, those among them that stand\n" +
			"for operators that the device lacks. The exit code is 0 where everything runs, and 5 where an operator runs nowhere.",
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
			content, err := readSignature(args[0], signature)
			if err != nil {
				return err
			}
			checked, err := checkOn(content, signature, t)
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			if format == outputJSON {
				err = printJSON(streams.Out, checked)
			} else {
				err = showCheck(streams, checked, t, all)
			}
			if err == nil && !checked.Runs {
				return fault.As(fault.Constraints, errSilent)
			}
			return err
		},
	}
	format.addFlag(cmd)
	targetFlag(cmd, &name)
	cmd.Flags().StringVar(&signature, "signature", "", "signature to check, of a model with several; default: serving_default, else all as the file has them")
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

// checked is what a device makes of a model: docs/cli.md describes it.
type checked struct {
	*target.Report
	Leaf     bool             `json:"leaf,omitempty"`     // Report is of the leaf that a pipeline makes of the file, which is float
	File     *target.Report   `json:"file,omitempty"`     // of the float file itself, beside that of its leaf
	Rewrites []rewrite.Change `json:"rewrites,omitempty"` // operators of the float file that the leaf has others for
	Cycles   *target.Cycles   `json:"cycles,omitempty"`
	Note     string           `json:"note,omitempty"`
}

// checkOn says where the operators of a model run; of a float one those of its leaf, where that can be told.
func checkOn(content []byte, signature string, t *target.Target) (*checked, error) {
	m, err := tflite.ReadStored(content)
	if err != nil {
		return nil, err
	}
	if err := ir.NeverSet(m); err != nil {
		return nil, err
	}
	given := target.Check(m, t)
	n, err := lineage.ReadSignature(content, signature)
	if err == nil && !n.Int8() {
		c := &checked{Leaf: true, File: given}
		if n, c.Rewrites, err = lineage.Rewrite(n, t); err != nil {
			return nil, err
		}
		draft, err := (&lineage.Run{Leaf: lineage.LeafOptions{Target: t}}).Draft(n)
		if err != nil {
			return nil, err
		}
		if draft != nil {
			c.Report = target.Check(draft, t)
			c.Cycles, _ = t.CyclesOf(draft)
			c.Note = fmt.Sprintf("the file is float: this is of the int8 leaf that a pipeline for %s makes of it, for a batch of 1", t.Name)
			return c, nil
		}
	}
	c := &checked{Report: given}
	var notes []string
	if opened := asLeaf(m); opened != "" {
		c.Report, notes = target.Check(m, t), append(notes, opened)
	}
	switch {
	case quantized(m):
		c.Cycles, _ = t.CyclesOf(m) // unknown of a file that no leaf can be made of
	case err != nil:
		notes = append(notes, "the file is float, and so is this: what its leaf is like cannot be told: "+fault.Line(err))
	default:
		notes = append(notes, "the file is float, and so is this: what its leaf is like is known once a pipeline has made it")
	}
	c.Note = strings.Join(notes, "; ")
	return c, nil
}

// quantized reports whether any tensor of a model has a scale.
func quantized(m *tflite.Model) bool {
	return slices.ContainsFunc(m.Subgraph().Tensors, func(t *schema.TensorT) bool {
		return t.Quantization != nil && len(t.Quantization.Scale) > 0
	})
}

func showCheck(streams *ioStreams, r *checked, t *target.Target, all bool) error {
	if r.Note != "" {
		streams.say("%s", r.Note)
		fmt.Fprintln(streams.Out)
	}
	rows := placementsShown(r.Operators, all)
	if len(rows) > 0 {
		err := table(streams, "OPERATOR\tNAME\t~LAYER\tRUNS ON\tWHY\tCHANGE", func(w io.Writer) {
			for _, row := range rows {
				fmt.Fprintln(w, strings.Join(row, "\t"))
			}
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(streams.Out)
	}
	if r.Leaf {
		streams.say("the leaf: %s", counted(r.Report, t))
		streams.say("the file: %s", counted(r.File, t))
	} else {
		streams.say("%s", counted(r.Report, t))
	}
	if c := r.Cycles; c != nil {
		streams.say("%.0f %% of its multiplications take %.3g to %.3g million cycles, as single kernels did whose cycles are published; memory and other operators come on top: a board tells the latency",
			100*c.Covered, c.Least/1e6, c.Most/1e6)
	}
	for _, c := range r.Rewrites {
		streams.say("for %s %s", t.Name, c)
	}
	return nil
}

// counted is a line of how many operators of a report run, and where.
func counted(r *target.Report, t *target.Target) string {
	line := fmt.Sprintf("%d of %d operators run on %s", len(r.Operators)-r.Count(target.Nowhere), len(r.Operators), t.Name)
	if t.Accelerator != nil {
		line += fmt.Sprintf(", %d of them on %s", r.Count(target.OnAccelerator), t.Accelerator.Title)
	}
	return line
}

// placementsShown are the rows of a table of operators: of all, a row each, or of those that speak of a reason. Of these, operators of one layer
// of which the same is to be said are one row, as the steps of a recurrent layer are, and those that are there for the sake of another are counted with it.
func placementsShown(operators []target.Placement, all bool) [][]string {
	type key struct {
		subgraph                           int
		name, layer, place, reason, remedy string
	}
	type group struct {
		of      []target.Placement
		others  int
		include map[string]bool // their names
	}
	groups, at := map[key]*group{}, map[[2]int]*group{}
	var order []*group
	for _, p := range operators {
		if !all && (p.Reason == "" || p.Because != nil) {
			continue
		}
		k := key{p.Subgraph, p.Name, layerOf(p.Layer), string(p.Place), p.Reason, p.Remedy}
		if all {
			k.name = fmt.Sprint(p.Operator)
		}
		g := groups[k]
		if g == nil {
			g = &group{include: map[string]bool{}}
			groups[k] = g
			order = append(order, g)
		}
		g.of = append(g.of, p)
		at[[2]int{p.Subgraph, p.Operator}] = g
	}
	for _, p := range operators {
		if p.Because == nil || all {
			continue
		}
		g := at[[2]int{p.Subgraph, *p.Because}]
		g.others++
		g.include[p.Name] = true
	}
	rows := make([][]string, len(order))
	for i, g := range order {
		p := g.of[0]
		index, name, layer, reason := fmt.Sprint(p.Operator), p.Name, p.Layer, p.Reason
		if p.Subgraph > 0 {
			index = fmt.Sprintf("%d.%d", p.Subgraph, p.Operator)
		}
		if n := len(g.of); n > 1 {
			index, name, layer = fmt.Sprintf("%s and %d more", index, n-1), fmt.Sprintf("%s, %d times", p.Name, n), layerOf(p.Layer)
		}
		if g.others > 0 {
			reason += fmt.Sprintf("; for its sake neither are %s", counts(g.others, slices.Sorted(maps.Keys(g.include))))
		}
		rows[i] = []string{index, name, layer, string(p.Place), reason, p.Remedy}
	}
	return rows
}

// namesListed bounds the names of operators in a cell.
const namesListed = 4

// counts says how many operators there are of some names.
func counts(n int, names []string) string {
	more := ""
	if len(names) > namesListed {
		names, more = names[:namesListed], ", …"
	}
	return fmt.Sprintf("%d others (%s%s)", n, strings.Join(names, ", "), more)
}

// layerOf is the layer that an operator is part of, by the name of what it makes: NAME of NAME/part. A converter names what several made after
// all of them; the first counts.
func layerOf(name string) string {
	first, _, _ := strings.Cut(name, ";")
	if at := strings.LastIndexByte(first, '/'); at > 0 {
		return first[:at]
	}
	return name
}
