package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/profile"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
)

// benchmarkOptions are the flags of `espalier benchmark`.
type benchmarkOptions struct {
	technique string
	batch     int
	inference bool
	budget    time.Duration
	workers   int
	threads   int
	steps     int
	states    stateFlags
	format    output
}

func newBenchmarkCommand(streams *ioStreams) *cobra.Command {
	o := &benchmarkOptions{}
	cmd := &cobra.Command{
		Use:   "benchmark MODEL",
		Short: "Measure training samples/s for a technique, or inference latency, and where the time goes",
		Long: `Measure on random samples: the speed does not depend on their values. Timings of one machine compare only with those of the same run.

Shares of time are of processor time, sampled a hundred times a second: by kernel, which is a function of package optimizer/kernel or
the package of other code, and by phase of a training step.

Of a network that keeps state a sample is a sequence of --steps steps, and latency is that of one step.`,
		Example: `  espalier benchmark model.tflite --technique pqat --batch 64
  espalier benchmark leaf.tflite --inference`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readModelFile(args[0])
			if err != nil {
				return err
			}
			if content, err = o.states.write(content); err != nil {
				return err
			}
			network, err := o.read(content, cmd.Flags().Changed("steps"))
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			if o.inference {
				return o.latency(cmd.Context(), streams, content, network)
			}
			return o.training(cmd.Context(), streams, network)
		},
	}
	cmd.Flags().StringVar(&o.technique, "technique", "float", "float, prune, cluster, qat, pqat, cqat or pcqat")
	cmd.Flags().IntVar(&o.batch, "batch", 64, "samples of one optimizer step")
	cmd.Flags().BoolVar(&o.inference, "inference", false, "latency of one sample instead of training")
	cmd.Flags().DurationVar(&o.budget, "time", 3*time.Second, "how long to measure")
	cmd.Flags().IntVar(&o.workers, "workers", 0, "goroutines for training; 0: one a processor")
	cmd.Flags().IntVar(&o.threads, "threads", 1, "goroutines for the inference of one sample, where an int8 operator is large enough to share")
	cmd.Flags().IntVar(&o.steps, "steps", 16, "steps of a sample, of a network that keeps state")
	o.states.add(cmd)
	o.format.addFlag(cmd)
	return cmd
}

// read reads the network; samples of one that keeps state are sequences, and only of such a one steps can be asked for.
func (o *benchmarkOptions) read(content []byte, stepsAsked bool) (*lineage.Network, error) {
	if o.steps < 1 {
		return nil, fault.As(fault.Spec, fmt.Errorf("--steps %d: want at least 1", o.steps))
	}
	m, err := tflite.Read(content)
	if err != nil {
		return nil, err
	}
	step, err := stream.Open(m)
	if err == nil && step == nil && stepsAsked {
		return nil, fault.As(fault.Spec, errors.New("keeps no state, so that --steps says nothing: leave it out, or name inputs and outputs that are state with --state"))
	}
	if err != nil || step == nil {
		return lineage.Read(content) // which says what is wrong with the state
	}
	return lineage.Read(content, step.Samples(o.steps)...)
}

func (o *benchmarkOptions) latency(ctx context.Context, streams *ioStreams, content []byte, n *lineage.Network) error {
	if o.threads < 1 {
		return fault.As(fault.Spec, fmt.Errorf("--threads %d: want at least 1", o.threads))
	}
	var l measure.Latency
	shares, err := profile.Of(func() (err error) {
		l, err = measure.TimeLatency(ctx, content, newNoise(n, 16), measure.LatencyOptions{Budget: o.budget, Threads: o.threads})
		return err
	})
	if err != nil {
		return fault.As(fault.Model, err)
	}
	if o.format == outputJSON {
		return printJSON(streams.Out, map[string]any{
			"kernelClass": kernel.Class(), "threads": o.threads, "p50Micros": l.P50, "p90Micros": l.P90, "p99Micros": l.P99, "runs": l.Runs, "shares": shares.Kernels,
		})
	}
	err = table(streams, "", func(w io.Writer) {
		fmt.Fprintf(w, "kernels\t%s, %d threads\np50\t%.1f µs\np90\t%.1f µs\np99\t%.1f µs\nruns\t%d\n", kernel.Class(), o.threads, l.P50, l.P90, l.P99, l.Runs)
	})
	if err != nil {
		return err
	}
	return showShares(streams, shares)
}

// showShares prints where at least half a percent of the time went.
func showShares(streams *ioStreams, shares profile.Shares) error {
	fmt.Fprintln(streams.Out)
	return table(streams, "kernel\tphase\ttime", func(w io.Writer) {
		for _, s := range shares.Kernels {
			if s.Part >= 0.005 {
				fmt.Fprintf(w, "%s\t%s\t%.1f %%\n", s.Kernel, s.Phase, 100*s.Part)
			}
		}
	})
}

func (o *benchmarkOptions) training(ctx context.Context, streams *ioStreams, n *lineage.Network) error {
	if o.batch < 1 {
		return fault.As(fault.Spec, fmt.Errorf("--batch %d: want at least 1", o.batch))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	noise := newNoise(n, max(4*o.batch, 256))
	config := train.DefaultConfig()
	config.BatchSize, config.LearningRate, config.Distillation.Weight = o.batch, 0, 0
	run := &lineage.Run{Data: &dataset.Dataset{Train: noise}, Training: config, Workers: o.workers}
	n, technique, err := o.prepare(ctx, run, n)
	if err != nil {
		return err
	}
	var last train.Progress
	start := time.Now()
	run.Training.Epochs = 1000000
	run.Progress = func(p train.Progress) {
		last = p
		if time.Since(start) > o.budget {
			cancel()
		}
	}
	shares, err := profile.Of(func() error {
		if _, err := run.Apply(ctx, n, technique); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	if err != nil {
		return fault.As(fault.Model, err)
	}
	workers := o.workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if o.format == outputJSON {
		return printJSON(streams.Out, map[string]any{
			"technique": o.technique, "batch": o.batch, "kernelClass": kernel.Class(), "workers": workers, "samplesPerSecond": last.SamplesPerSecond,
			"steps": last.Step, "coresBusy": shares.Busy, "shares": shares.Kernels,
		})
	}
	err = table(streams, "", func(w io.Writer) {
		fmt.Fprintf(w, "technique\t%s\nbatch\t%d\nkernels\t%s, %d workers\ntraining\t%.0f samples/s (%d steps)\nbusy\t%.2f cores\n",
			o.technique, o.batch, kernel.Class(), workers, last.SamplesPerSecond, last.Step, shares.Busy)
	})
	if err != nil {
		return err
	}
	return showShares(streams, shares)
}

// chains are the techniques that a word stands for, of which the last is measured; a registered technique stands for itself.
func chains() (words []string, of map[string][]string) {
	of = map[string][]string{
		"qat": {"quantize"}, "pqat": {"prune", "quantize"}, "cqat": {"cluster", "quantize"}, "pcqat": {"prune", "cluster", "quantize"},
	}
	words = []string{"qat", "pqat", "cqat", "pcqat"}
	for _, k := range lineage.Kinds {
		words = append(words, k.Name)
		of[k.Name] = []string{k.Name}
	}
	return words, of
}

// prepare gives the network what the technique to be measured preserves, zeros, clusters or both, and returns that technique.
func (o *benchmarkOptions) prepare(ctx context.Context, run *lineage.Run, n *lineage.Network) (*lineage.Network, lineage.Technique, error) {
	if o.technique == "float" {
		return n, lineage.Prune{}, nil // pruning nothing is training
	}
	words, chains := chains()
	chain, ok := chains[o.technique]
	if !ok {
		return nil, nil, fault.As(fault.Spec, fmt.Errorf("--technique %q: want float, %s", o.technique, strings.Join(words, ", ")))
	}
	run.Training.Epochs = 0
	for i, name := range chain {
		kind, err := lineage.KindOf(name)
		if err != nil {
			return nil, nil, err
		}
		if i == len(chain)-1 {
			return n, kind.Typical(), nil
		}
		made, err := run.Apply(ctx, n, kind.Typical())
		if err != nil {
			return nil, nil, fault.As(fault.Model, err)
		}
		n = made.Network
	}
	return n, nil, nil
}

// noise is a source of random samples and labels for a model, made beforehand.
type noise struct {
	inputs  []dataset.Array
	classes int
	n       int
	values  [][]float32 // by input
	labels  []int
}

func newNoise(network *lineage.Network, n int) *noise {
	g := network.Model().Subgraph()
	s := &noise{n: n, classes: 1}
	if shape := g.Tensors[g.Outputs[0]].Shape; len(shape) > 1 {
		s.classes = int(shape[len(shape)-1])
		for _, d := range shape[1 : len(shape)-1] {
			if d != 1 { // an answer at every position, of which a label a sample says nothing
				s.classes = 0
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for k, shape := range network.Samples() {
		t := g.Inputs[k]
		in := dataset.Array{Name: g.Tensors[t].Name, Shape: shape}
		s.inputs, s.values = append(s.inputs, in), append(s.values, make([]float32, n*in.Size()))
		real := g.Tensors[t].Type == schema.TensorTypeFLOAT32
		for i := range s.values[k] {
			if real { // else zeros: ids that every table has
				s.values[k][i] = float32(rng.NormFloat64())
			}
		}
	}
	if s.classes <= 1 || s.classes > 4096 || len(g.Outputs) > 1 || g.Tensors[g.Inputs[0]].Type != schema.TensorTypeFLOAT32 {
		s.classes = 0
		return s
	}
	s.labels = make([]int, n)
	for i := range s.labels {
		s.labels[i] = rng.IntN(s.classes)
	}
	return s
}

func (s *noise) Len() int                { return s.n }
func (s *noise) Inputs() []dataset.Array { return s.inputs }

func (s *noise) Targets() []dataset.Target {
	if s.classes == 0 {
		return nil
	}
	return []dataset.Target{{Name: "y", Kind: dataset.Class, Classes: s.classes}}
}

func (s *noise) Read(i int, x [][]float32) error {
	for k := range x {
		copy(x[k], s.values[k][i*len(x[k]):])
	}
	return nil
}

func (s *noise) Truth(i int, y [][]float32) error {
	y[0][0] = float32(s.labels[i])
	return nil
}
