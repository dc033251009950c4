// Command results measures what docs/results.md says: every leaf of the deployment tree on the material's models, means over seeds,
// beside TFMOT's figures and a control that trains as long without compressing.
//
//	go run ./hack/results -case mnist -seeds 5
//	go run ./hack/results -case fsdd -seeds 3
//	go run ./hack/results -case kws
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "results:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("results", flag.ContinueOnError)
	material := flags.String("material", envOr("ESPALIER_MATERIAL", "../shared/material"), "folder of the material")
	name := flags.String("case", "mnist", "mnist, fsdd or kws")
	seeds := flags.Int("seeds", 1, "number of seeds")
	leaves := flags.String("leaves", "", "folder to write the leaves of the last seed to")
	set := flags.String("set", "", "other settings, such as pruneRate=2e-3,entropy=1.5")
	defaults := flags.Bool("defaults", false, "train and cluster by the manifest's defaults, with the learning rate of each stage found")
	samples := flags.Int("samples", 0, "train on the first so many samples; 0: all")
	only := flags.String("only", "", "measure only leaves whose name contains one of these, separated by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, ok := cases[*name]
	if !ok {
		return fmt.Errorf("no case %q: mnist, fsdd or kws", *name)
	}
	c.only, c.defaults, c.samples = strings.Split(*only, ","), *defaults, *samples
	if c.defaults {
		c.entropy, c.sparseEntropy, c.perTensorQAT = cluster.DefaultEntropy, cluster.DefaultEntropy, false
		c.spec.Split.Validation = "0.1" // stages end with the weights that validation speaks for: not the samples that are shown
		c.title += "; by the defaults instead"
	}
	if err := c.set(*set); err != nil {
		return err
	}
	table, err := c.measure(ctx, *material, *seeds, *leaves)
	if err != nil {
		return err
	}
	return table.print(out, c)
}

// set changes settings by name.
func (c *experiment) set(list string) error {
	fields := map[string]*float64{"pruneRate": &c.prune.rate, "clusterRate": &c.group.rate, "quantizeRate": &c.q.rate, "pruneAtOnce": &c.pruneAtOnce, "noise": &c.noise, "shift": &c.shift, "entropy": &c.entropy, "sparseEntropy": &c.sparseEntropy,
		"smoothing": &c.labelSmoothing, "distill": &c.distillation, "temperature": &c.temperature, "controlRate": &c.control.rate, "clusters": &c.clusters, "reconstruct": &c.reconstruct, "integers": &c.integers}
	for _, entry := range strings.Split(list, ",") {
		if entry == "" {
			continue
		}
		name, text, _ := strings.Cut(entry, "=")
		switch name {
		case "ranges":
			c.ranges = train.RangeMode(text)
			continue
		case "scope":
			c.scope = weight.Scope(text)
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || fields[name] == nil {
			return fmt.Errorf("setting %q", entry)
		}
		*fields[name] = value
	}
	return nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// experiment is one model on one dataset.
type experiment struct {
	title           string
	model, data     string
	spec            dataset.Spec
	batch           int
	sparsity        float64
	clusters        float64
	scope           weight.Scope
	entropy         float64 // of clusters
	sparseEntropy   float64 // of clusters of pruned weights
	noise, shift    float64 // augmentation of the training samples: Gaussian noise, and shifts along time
	reconstruct     float64 // 1: prune and cluster stages start from reconstructed weights; −1: they do not; 0: by the defaults they may
	integers        float64 // 1: quantize stages too
	pruneAtOnce     float64 // 1: no schedule, the whole stage recovers
	perTensorQAT    bool    // the QAT leaf has one scale for dense weights, as TFMOT has
	prune, group, q phase   // of the prune, cluster and quantize stages
	control         phase
	ranges          train.RangeMode
	labelSmoothing  float64
	distillation    float64
	peers           map[string]peer
	temperature     float64
	only            []string
	defaults        bool
	samples         int // trained on; 0: all
}

// phase is how a stage trains.
type phase struct {
	epochs int
	rate   float64
}

// peer is TFMOT's leaf: accuracy in percent and bytes after DEFLATE.
type peer struct {
	accuracy float64
	bytes    int
}

// row is one leaf over the seeds.
type row struct {
	name            string
	fp32, simulated []float64 // accuracy of the float network, and with int8 simulated in float arithmetic
	accuracy, bytes []float64
	zeros, codes    []float64
	float           bool // measured is the float network, not its leaf
}

type results struct {
	rows  []*row
	float float64 // accuracy of the network as given
	size  float64 // its bytes after DEFLATE
}

// tree lists the leaves: each a chain of stages.
var tree = []struct {
	name   string
	stages []string
}{
	{"PTQ", nil}, {"pruned → PTQ", []string{"prune"}}, {"clustered → PTQ", []string{"cluster"}}, {"sparse clustered → PTQ", []string{"prune", "cluster"}},
	{"QAT", []string{"quantize"}}, {"PQAT", []string{"prune", "quantize"}}, {"CQAT", []string{"cluster", "quantize"}}, {"PCQAT", []string{"prune", "cluster", "quantize"}},
	{"control: float, as many epochs", []string{"control"}},
}

func (c experiment) measure(ctx context.Context, material string, seeds int, folder string) (*results, error) {
	content, err := os.ReadFile(filepath.Join(material, c.model))
	if err != nil {
		return nil, err
	}
	network, err := lineage.Read(content)
	if err != nil {
		return nil, err
	}
	c.spec.Augmentation.Noise = dataset.Number(strconv.FormatFloat(c.noise, 'g', -1, 64))
	c.spec.Augmentation.Shift.Height = int(c.shift)
	data, err := dataset.Open(filepath.Join(material, c.data), c.spec)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	if c.samples > 0 {
		data.Train = dataset.First(data.Train, c.samples)
	}
	original, err := measure.Run(ctx, content, data.Test, measure.Options{})
	if err != nil {
		return nil, err
	}
	size, err := measure.File(content, nil)
	if err != nil {
		return nil, err
	}
	table := &results{float: original.Metrics(nil)[measure.Accuracy], size: size[measure.CompressedBytes]}
	for _, leaf := range tree {
		table.rows = append(table.rows, &row{name: leaf.name})
	}
	for seed := range seeds {
		done := map[string]*lineage.Outcome{}
		for i, leaf := range tree {
			if !slices.ContainsFunc(c.only, func(part string) bool { return strings.Contains(leaf.name, part) }) {
				continue
			}
			start := time.Now()
			outcome, err := c.chain(ctx, network, data, leaf.stages, int64(seed+1), done)
			if err != nil {
				return nil, fmt.Errorf("%s, seed %d: %w", leaf.name, seed+1, err)
			}
			if err := table.rows[i].add(ctx, outcome, leaf.stages, data, original, folder); err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "seed %d %-32s %6.2f s  %s\n", seed+1, leaf.name, time.Since(start).Seconds(), table.rows[i].last())
		}
	}
	return table, nil
}

// chain runs stages one after the other; prefixes that were run before are taken from done.
func (c experiment) chain(ctx context.Context, network *lineage.Network, data *dataset.Dataset, stages []string, seed int64, done map[string]*lineage.Outcome) (*lineage.Outcome, error) {
	run := &lineage.Run{Data: data}
	if len(stages) == 0 {
		return run.Baseline(ctx, network)
	}
	key := ""
	var outcome *lineage.Outcome
	for _, stage := range stages {
		key += "/" + stage
		if known := done[key]; known != nil {
			network, outcome = known.Network, known
			continue
		}
		run.Training = c.training(stage, seed)
		var technique lineage.Technique
		switch stage {
		case "prune":
			schedule := prune.Schedule{}
			if !c.defaults { // the table's, over half of however few steps
				schedule.End = max(1, train.Steps(c.prune.epochs, c.batch, data.Train.Len())/2)
			}
			if c.pruneAtOnce > 0 {
				schedule = prune.Schedule{Kind: prune.Constant}
			}
			technique = lineage.Prune{Options: prune.Options{Sparsity: c.sparsity, Schedule: schedule}, Reconstruct: c.start()}
		case "cluster":
			entropy := c.entropy
			if len(stages) > 1 && stages[0] == "prune" {
				entropy = c.sparseEntropy
			}
			technique = lineage.Cluster{Options: cluster.Options{Clusters: int(c.clusters), Scope: c.scope, Entropy: entropy}, Reconstruct: c.start()}
		case "quantize":
			run.Leaf.Reconstruct = c.integers > 0
			run.Leaf.PerTensorDense = c.perTensorQAT && len(stages) == 1
			technique = lineage.Quantize{Ranges: c.ranges}
		case "control": // pruning nothing is training
			technique = lineage.Prune{}
		}
		var err error
		if outcome, err = run.Apply(ctx, network, technique); err != nil {
			return nil, fmt.Errorf("%s: %w", stage, err)
		}
		if t := outcome.Training.RangeTest; t != nil {
			fmt.Fprintf(os.Stderr, "seed %d %s: %v\n", seed, key, t)
		}
		if text := outcome.Training.Kept(); text != "" {
			fmt.Fprintf(os.Stderr, "seed %d %s: %s\n", seed, key, text)
		}
		network = outcome.Network
		done[key] = outcome
	}
	return outcome, nil
}

// start is whether prune and cluster stages start from reconstructed weights.
func (c experiment) start() lineage.Reconstruction {
	switch {
	case c.reconstruct > 0:
		return lineage.On
	case c.defaults && c.reconstruct == 0:
		return lineage.Auto
	}
	return lineage.Off
}

func (c experiment) training(stage string, seed int64) train.Config {
	config := train.DefaultConfig()
	if c.defaults {
		config.FindRate, config.Seed = true, seed
		if stage == "control" {
			config.Epochs *= 2
		}
		return config
	}
	p := map[string]phase{"prune": c.prune, "cluster": c.group, "quantize": c.q, "control": c.control}[stage]
	config.Epochs, config.LearningRate, config.BatchSize, config.Seed = p.epochs, p.rate, c.batch, seed
	config.LabelSmoothing = c.labelSmoothing
	config.Distillation.Weight = c.distillation
	if c.temperature > 0 {
		config.Distillation.Temperature = c.temperature
	}
	return config
}

// add measures an outcome: the emitted leaf on the test split, or for the control the float model.
func (r *row) add(ctx context.Context, o *lineage.Outcome, stages []string, data *dataset.Dataset, original *measure.Answers, folder string) error {
	m := o.Leaf
	if r.float = len(stages) == 1 && stages[0] == "control"; r.float {
		m = o.Network.Model()
	}
	content, err := m.Marshal()
	if err != nil {
		return err
	}
	var clustered []measure.Clustered
	for t, state := range o.Promises {
		if state.Clustered() {
			clustered = append(clustered, measure.Clustered{Tensor: t})
		}
	}
	result, err := measure.Leaf(ctx, content, data.Test, measure.LeafOptions{Original: original, Clustered: clustered, LatencyBudget: -1})
	if err != nil {
		return err
	}
	for list, name := range map[*[]float64]measure.Name{&r.accuracy: measure.Accuracy, &r.bytes: measure.CompressedBytes, &r.zeros: measure.Sparsity, &r.codes: measure.Clusters} {
		*list = append(*list, result.Metrics[name])
	}
	if err := r.compare(ctx, o, data.Test); err != nil {
		return err
	}
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return tflite.WriteWhole(filepath.Join(folder, r.slug()+".tflite"), content)
}

// compare measures what the leaf stands for: the float network, and the network with int8 simulated.
func (r *row) compare(ctx context.Context, o *lineage.Outcome, test dataset.Source) error {
	imported, err := quantize.ImportInt8(o.Leaf)
	if err != nil {
		return err
	}
	float := o.Network.Model()
	if o.Network.Final() { // a quantize stage: its weights with activations in float
		float = imported.Model
	}
	content, err := float.Marshal()
	if err != nil {
		return err
	}
	answers, err := measure.Run(ctx, content, test, measure.Options{})
	if err != nil {
		return err
	}
	simulated, err := simulate(imported, test)
	if err != nil {
		return err
	}
	r.fp32, r.simulated = append(r.fp32, answers.Metrics(nil)[measure.Accuracy]), append(r.simulated, simulated)
	return nil
}

// simulate returns the accuracy of a leaf in float arithmetic with fake quantization.
func simulate(imported *quantize.Imported, test dataset.Source) (float64, error) {
	const batch = 20
	net, err := imported.Simulation(batch)
	if err != nil {
		return 0, err
	}
	net.Refresh()
	exec, right, truth := net.NewExec(false), 0, dataset.Truths(test)
	for i := 0; i < test.Len(); i += batch {
		n := min(batch, test.Len()-i)
		if err := exec.SetBatch(n); err != nil {
			return 0, err
		}
		input := exec.Input(0)
		labels := make([]int, n)
		for k := range n {
			if err := test.Read(i+k, [][]float32{input[k*len(input)/n : (k+1)*len(input)/n]}); err != nil {
				return 0, err
			}
			if err := test.Truth(i+k, truth); err != nil {
				return 0, err
			}
			labels[k] = int(truth[0][0])
		}
		exec.Forward()
		scores := exec.Tensor(net.LossTensor(0))
		for k, label := range labels {
			row := scores[k*len(scores)/n : (k+1)*len(scores)/n]
			if slices.Index(row, slices.Max(row)) == label {
				right++
			}
		}
	}
	return float64(right) / float64(test.Len()), nil
}

func (r *row) slug() string {
	out := []rune{}
	for _, c := range r.name {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			out = append(out, c)
		} else if len(out) > 0 && out[len(out)-1] != '_' {
			out = append(out, '_')
		}
	}
	return string(out)
}

func (r *row) last() string {
	i := len(r.accuracy) - 1
	return fmt.Sprintf("accuracy %.2f, %6.0f bytes, zeros %.4f, codes %3.0f", 100*r.accuracy[i], r.bytes[i], r.zeros[i], r.codes[i])
}

// print writes the table, TFMOT's figures beside ours.
func (t *results) print(w io.Writer, c experiment) error {
	var errs []error
	p := func(format string, args ...any) { _, err := fmt.Fprintf(w, format, args...); errs = append(errs, err) }
	p("%s: float %.2f %%, %.0f bytes compressed; %s\n\n", c.title, 100*t.float, t.size, "means over the seeds")
	p("| leaf | fp32 | simulated int8 | int8 | sd | TFMOT | size before → compressed | TFMOT | zeros | most codes |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range t.rows {
		if len(r.accuracy) == 0 {
			continue
		}
		fp32 := stat.Mean(r.fp32, nil)
		simulated := stat.Mean(r.simulated, nil)
		accuracy, sd := stat.MeanStdDev(r.accuracy, nil)
		if len(r.accuracy) == 1 {
			sd = 0
		}
		size := stat.Mean(r.bytes, nil)
		zeros := stat.Mean(r.zeros, nil)
		text := [2]string{fmt.Sprintf("%.2f", 100*simulated), fmt.Sprintf("%.2f", 100*accuracy)}
		if r.float {
			fp32, text = accuracy, [2]string{}
		}
		theirs := [2]string{"", ""}
		if q, ok := c.peers[r.name]; ok {
			theirs = [2]string{fmt.Sprintf("%.2f", q.accuracy), fmt.Sprint(q.bytes)}
		}
		p("| %s | %.2f | %s | %s | %.2f | %s | %.0f → %.0f | %s | %.4f | %.0f |\n", r.name, 100*fp32, text[0], text[1], 100*sd, theirs[0], t.size, size, theirs[1], zeros, slices.Max(r.codes))
	}
	return errors.Join(errs...)
}
