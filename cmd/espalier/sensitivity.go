package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	reporting "espalier.dev/espalier/optimizer/report"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/tflite"
)

// sensitivityOptions are the flags of `espalier sensitivity`.
type sensitivityOptions struct {
	model, signature, page string
	data                   dataFlags
	states                 stateFlags
	sparsity, channels     float64
	clusters               int
	format                 output
	streams                *ioStreams
}

func newSensitivityCommand(streams *ioStreams) *cobra.Command {
	o := &sensitivityOptions{streams: streams}
	cmd := &cobra.Command{
		Use:   "sensitivity MODEL --dataset DATA",
		Short: "Show what zeros, codes, int8 and fewer channels cost each layer, and the rules that follow",
		Long: `Show how far the outputs are expected to be off, as a share of their variance, when the weights of one layer are pruned, clustered or
quantized, or some of its channels are taken out, and nothing is trained: from one pass over up to 256 training samples, without labels. Then print the stages whose rules give every layer
its own level: as many zeros, bits, or multiplications, in all as with one level, where they cost least.`,
		Example: "  espalier sensitivity model.tflite --dataset data.npz --sparsity 0.7 --html sensitivity.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.model = args[0]
			return o.run(cmd.Context())
		},
	}
	o.format.addFlag(cmd)
	o.data.add(cmd, true)
	o.states.add(cmd)
	_ = cmd.Flags().MarkHidden("split")
	cmd.Flags().StringVar(&o.signature, "signature", "", "signature to look at, of a model with several; default: serving_default, else the file's first")
	cmd.Flags().StringVar(&o.page, "html", "", "file to write the heat map to, for a browser")
	cmd.Flags().Float64Var(&o.sparsity, "sparsity", 0.5, "zeros in all that rules are written for: one of the levels looked at, which -o json lists")
	cmd.Flags().Float64Var(&o.channels, "channels", 0.25, "share of the channels to take out that rules are written for: one of the levels looked at, which -o json lists")
	cmd.Flags().IntVar(&o.clusters, "clusters", 16, "clusters that rules are written for: one of the levels looked at, which -o json lists")
	return cmd
}

func (o *sensitivityOptions) run(ctx context.Context) error {
	content, err := o.states.read(o.model, o.signature)
	if err != nil {
		return err
	}
	o.data.split = "train"
	data, source, err := o.data.open(o.streams, content)
	if err != nil {
		return err
	}
	defer data.Close()
	if content, err = asked(o.streams, content, source); err != nil {
		return err
	}
	network, err := lineage.ReadSignature(content, o.signature, dataset.Shapes(source)...)
	run := &lineage.Run{Data: data}
	if err == nil {
		network, err = run.Reach(ctx, network)
	}
	if err != nil {
		return unmeasured(fmt.Errorf("%s: %w", o.model, err))
	}
	found := &reporting.Sensitivity{Model: filepath.Base(o.model), Samples: min(lineage.SensitivitySamples, source.Len()), Tool: tool()}
	if found.Layers, found.Notes, err = run.Sensitivity(ctx, network); err != nil {
		return unmeasured(fmt.Errorf("%s: %w", o.model, err))
	}
	if err := o.plan(found); err != nil {
		return err
	}
	if o.page != "" {
		var page bytes.Buffer
		if err := reporting.WriteSensitivity(&page, found); err != nil {
			return err
		}
		if err := tflite.WriteWhole(o.page, page.Bytes()); err != nil {
			return fault.As(fault.Storage, err)
		}
	}
	if o.format == outputJSON {
		return printJSON(o.streams.Out, found)
	}
	return o.show(found)
}

// plan writes rules for both techniques.
func (o *sensitivityOptions) plan(found *reporting.Sensitivity) error {
	for _, p := range []struct {
		technique string
		level     float64
	}{{"prune", o.sparsity}, {"cluster", float64(o.clusters)}, {"channels", o.channels}} {
		if p.technique == "channels" && !slices.ContainsFunc(found.Layers, func(l sensitivity.Layer) bool { return l.Channels != nil }) {
			found.Notes = append(found.Notes, "no channels can be taken out of this network")
			continue
		}
		plan, err := sensitivity.Allocate(found.Layers, p.technique, p.level)
		if err != nil {
			return fault.As(fault.Spec, err)
		}
		found.Plans = append(found.Plans, plan)
	}
	return nil
}

// shownSparsities, shownClusters and shownChannels are the levels that a terminal has room for.
var (
	shownSparsities = []float64{0.3, 0.5, 0.7, 0.8, 0.9}
	shownClusters   = []float64{64, 32, 16, 8, 4}
	shownChannels   = []float64{0.25, 0.5, 0.75}
)

// costs are columns of the table that belong together: what they are called, and what stands there of a layer.
type costs struct {
	titles []string
	of     func(l sensitivity.Layer) []string
}

// levels are the costs of some levels of a technique, each called by a format of the level times a factor.
func levels(title string, factor float64, shown []float64, of func(l sensitivity.Layer) []sensitivity.Level) costs {
	c := costs{of: func(l sensitivity.Layer) []string { return cells(of(l), shown) }}
	for _, level := range shown {
		c.titles = append(c.titles, fmt.Sprintf(title, factor*level))
	}
	return c
}

// channels are the costs of some shares of the channels: where a layer loses another share, as one that keeps a multiple of 8, it stands behind the cost.
func channels(shown []float64) costs {
	of := func(l sensitivity.Layer) []sensitivity.Level { return l.Channels }
	c := levels("%.0f%% CHANNELS OUT", 100, shown, of)
	c.of = func(l sensitivity.Layer) []string {
		out := cells(of(l), shown)
		for _, level := range of(l) {
			if i := slices.Index(shown, level.Level); i >= 0 && math.Abs(1-level.Bits-level.Level) > 0.005 {
				out[i] += fmt.Sprintf(" (%.0f%%)", 100*(1-level.Bits))
			}
		}
		return out
	}
	return c
}

func (o *sensitivityOptions) show(found *reporting.Sensitivity) error {
	if err := o.showLayers(found.Layers); err != nil {
		return err
	}
	out := o.streams.Out
	fmt.Fprintln(out)
	o.streams.say("expected squared error of the outputs as a share of their variance, one layer at a time, untrained, over %d samples; int8 is of the weights alone, activations stay float; * left alone unless a rule names it; channels of layers that hang together are at the first of them, and where that is not the share of the title, as of layers that keep a multiple of 8, the share that is out stands behind the cost", found.Samples)
	for _, note := range found.Notes {
		o.streams.say("note: %s", note)
	}
	for _, p := range found.Plans {
		fmt.Fprintln(out)
		o.streams.say("# %s: %s", reporting.PlanTitle(p), reporting.PlanText(p))
		fmt.Fprint(out, reporting.PlanStage(p))
	}
	if o.page != "" {
		fmt.Fprintf(out, "\nheat map: %s\n", o.page)
	}
	return nil
}

// showLayers prints what levels cost each layer: in one table, or where a terminal has no room for it in one for each technique.
func (o *sensitivityOptions) showLayers(layers []sensitivity.Layer) error {
	all := []costs{
		{[]string{"OPERATOR", "WEIGHTS", "INT8 WEIGHTS"}, func(l sensitivity.Layer) []string {
			return []string{l.Op, strconv.Itoa(l.Weights), fmt.Sprintf("%.2g", l.Int8)}
		}},
		levels("%.0f%% ZEROS", 100, shownSparsities, func(l sensitivity.Layer) []sensitivity.Level { return l.Prune }),
		levels("%.0f CODES", 1, shownClusters, func(l sensitivity.Layer) []sensitivity.Level { return l.Cluster }),
		channels(shownChannels),
	}
	show := func(streams *ioStreams, columns ...costs) error {
		header := "~LAYER\t*"
		for _, c := range columns {
			header += "\t" + strings.Join(c.titles, "\t")
		}
		return table(streams, header, func(w io.Writer) {
			for _, l := range layers {
				kept := ""
				if l.Kept {
					kept = "*"
				}
				fmt.Fprintf(w, "%s\t%s", l.Name, kept)
				for _, c := range columns {
					fmt.Fprint(w, "\t"+strings.Join(c.of(l), "\t"))
				}
				fmt.Fprintln(w)
			}
		})
	}
	var whole bytes.Buffer
	if err := show(&ioStreams{Out: &whole}, all...); err != nil {
		return err
	}
	if o.streams.width == 0 || widest(whole.String()) <= o.streams.width {
		_, err := o.streams.Out.Write(whole.Bytes())
		return err
	}
	for i, c := range all {
		if i > 0 {
			fmt.Fprintln(o.streams.Out)
		}
		if err := show(o.streams, c); err != nil {
			return err
		}
	}
	return nil
}

// cells are the errors of some levels; - where a layer has none.
func cells(levels []sensitivity.Level, shown []float64) []string {
	out := make([]string, len(shown))
	for i, want := range shown {
		out[i] = "-"
		for _, l := range levels {
			if l.Level == want {
				out[i] = strconv.FormatFloat(l.Error, 'g', 2, 64)
			}
		}
	}
	return out
}
