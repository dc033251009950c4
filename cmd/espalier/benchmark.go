package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/profile"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/prune"
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
	format    output
}

func newBenchmarkCommand(streams *ioStreams) *cobra.Command {
	o := &benchmarkOptions{}
	cmd := &cobra.Command{
		Use:   "benchmark MODEL",
		Short: "Measure training samples/s for a technique, or inference latency, and where the time goes",
		Long: `Measure on random samples: the speed does not depend on their values. Timings of one machine compare only with those of the same run.

Shares of time are of processor time, sampled a hundred times a second: by kernel, which is a function of package optimizer/kernel or
the package of other code, and by phase of a training step.`,
		Example: `  espalier benchmark model.tflite --technique pqat --batch 64
  espalier benchmark leaf.tflite --inference`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readModelFile(args[0])
			if err != nil {
				return err
			}
			source, err := optimizer.Read(content)
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			if o.inference {
				return o.latency(cmd.Context(), streams, content, source)
			}
			return o.training(cmd.Context(), streams, source)
		},
	}
	cmd.Flags().StringVar(&o.technique, "technique", "float", "float, prune, cluster, qat, pqat, cqat or pcqat")
	cmd.Flags().IntVar(&o.batch, "batch", 64, "samples of one optimizer step")
	cmd.Flags().BoolVar(&o.inference, "inference", false, "latency of one sample instead of training")
	cmd.Flags().DurationVar(&o.budget, "time", 3*time.Second, "how long to measure")
	cmd.Flags().IntVar(&o.workers, "workers", 0, "goroutines for training; 0: one a processor")
	cmd.Flags().IntVar(&o.threads, "threads", 1, "goroutines for the inference of one sample, where an int8 operator is large enough to share")
	o.format.addFlag(cmd)
	return cmd
}

func (o *benchmarkOptions) latency(ctx context.Context, streams *ioStreams, content []byte, source *optimizer.Source) error {
	if o.threads < 1 {
		return fault.As(fault.Spec, fmt.Errorf("--threads %d: want at least 1", o.threads))
	}
	var l measure.Latency
	shares, err := profile.Of(func() (err error) {
		l, err = measure.TimeLatency(ctx, content, newNoise(source, 16), measure.LatencyOptions{Budget: o.budget, Threads: o.threads})
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
	return table(streams, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "kernels\t%s, %d threads\np50\t%.1f µs\np90\t%.1f µs\np99\t%.1f µs\nruns\t%d\n", kernel.Class(), o.threads, l.P50, l.P90, l.P99, l.Runs)
		printShares(w, shares)
	})
}

// printShares writes where at least half a percent of the time went.
func printShares(w *tabwriter.Writer, shares profile.Shares) {
	fmt.Fprintf(w, "\nkernel\tphase\ttime\n")
	for _, s := range shares.Kernels {
		if s.Part >= 0.005 {
			fmt.Fprintf(w, "%s\t%s\t%.1f %%\n", s.Kernel, s.Phase, 100*s.Part)
		}
	}
}

func (o *benchmarkOptions) training(ctx context.Context, streams *ioStreams, source *optimizer.Source) error {
	if o.batch < 1 {
		return fault.As(fault.Spec, fmt.Errorf("--batch %d: want at least 1", o.batch))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	noise := newNoise(source, max(4*o.batch, 256))
	config := train.DefaultConfig()
	config.BatchSize, config.LearningRate, config.Distillation.Weight = o.batch, 0, 0
	task := &optimizer.Task{Source: source, Input: source.Float, Data: &dataset.Dataset{Train: noise}, Training: config, Workers: o.workers}
	if err := o.shape(ctx, task); err != nil {
		return err
	}
	var last train.Progress
	start := time.Now()
	task.Training.Epochs = 1000000
	task.Progress = func(p train.Progress) {
		last = p
		if time.Since(start) > o.budget {
			cancel()
		}
	}
	shares, err := profile.Of(func() error {
		if err := o.train(ctx, task); !errors.Is(err, context.Canceled) {
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
	return table(streams, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "technique\t%s\nbatch\t%d\nkernels\t%s, %d workers\ntraining\t%.0f samples/s (%d steps)\nbusy\t%.2f cores\n",
			o.technique, o.batch, kernel.Class(), workers, last.SamplesPerSecond, last.Step, shares.Busy)
		printShares(w, shares)
	})
}

// train runs the stage whose technique is measured, until ctx ends it.
func (o *benchmarkOptions) train(ctx context.Context, task *optimizer.Task) (err error) {
	switch o.technique {
	case "float", "prune":
		_, err = task.Prune(ctx, prune.Options{Sparsity: map[string]float64{"prune": 0.5}[o.technique], Schedule: prune.Schedule{Kind: prune.Constant}})
	case "cluster":
		_, err = task.Cluster(ctx, optimizer.ClusterOptions{Options: cluster.Options{Clusters: 16, Entropy: cluster.DefaultEntropy}})
	default:
		_, err = task.Quantize(ctx, optimizer.QuantizeOptions{})
	}
	return err
}

// shape gives the task's input what the technique preserves: zeros, clusters, both.
func (o *benchmarkOptions) shape(ctx context.Context, task *optimizer.Task) error {
	stages := map[string][]string{"float": {}, "prune": {}, "cluster": {}, "qat": {}, "pqat": {"prune"}, "cqat": {"cluster"}, "pcqat": {"prune", "cluster"}}
	list, ok := stages[o.technique]
	if !ok {
		return fault.As(fault.Spec, fmt.Errorf("--technique %q: want float, prune, cluster, qat, pqat, cqat or pcqat", o.technique))
	}
	task.Training.Epochs = 0
	for _, stage := range list {
		var made *optimizer.Outcome
		var err error
		if stage == "prune" {
			made, err = task.Prune(ctx, prune.Options{Sparsity: 0.5})
		} else {
			made, err = task.Cluster(ctx, optimizer.ClusterOptions{Options: cluster.Options{Clusters: 16, Entropy: cluster.DefaultEntropy}})
		}
		if err != nil {
			return fault.As(fault.Model, err)
		}
		task.Input = made.Model
	}
	return nil
}

// noise is a source of random samples and labels for a model, made beforehand.
type noise struct {
	shape   []int
	classes int
	n       int
	values  []float32
	labels  []int
}

func newNoise(source *optimizer.Source, n int) *noise {
	g := source.Float.Subgraph()
	s := &noise{n: n, classes: 1}
	for i, d := range g.Tensors[g.Inputs[0]].Shape {
		if i > 0 {
			s.shape = append(s.shape, int(d))
		}
	}
	for i, d := range g.Tensors[g.Outputs[0]].Shape {
		if i > 0 {
			s.classes *= int(d)
		}
	}
	if g.Tensors[g.Inputs[0]].Type != schema.TensorTypeFLOAT32 {
		s.classes = 0
	}
	rng, size := rand.New(rand.NewPCG(1, 1)), 1
	for _, d := range s.shape {
		size *= d
	}
	s.values, s.labels = make([]float32, n*size), make([]int, n)
	for i := range s.values {
		s.values[i] = float32(rng.NormFloat64())
	}
	for i := range s.labels {
		s.labels[i] = -1
		if s.Classes() > 0 {
			s.labels[i] = rng.IntN(s.Classes())
		}
	}
	return s
}

func (s *noise) Len() int     { return s.n }
func (s *noise) Shape() []int { return s.shape }
func (s *noise) Classes() int {
	if s.classes > 1 && s.classes <= 4096 {
		return s.classes
	}
	return 0
}

func (s *noise) Read(i int, x []float32) (int, error) {
	copy(x, s.values[i*len(x):])
	return s.labels[i], nil
}

func (s *noise) Target(int, []float32) error { return dataset.ErrNoTarget }
