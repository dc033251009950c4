// Command batchnorm compares training with batch normalization put back (scale and shift split from the folded weights, statistics of the
// batch, folded again at the end) with training of the folded weights, at a learning rate that each finds for itself. It is what docs/results.md
// has figures of; no stage trains so.
//
//	go run ./hack/results/batchnorm -model resnet8.tflite -data digits32.npz -scale 1/255 -samples 4032 -arm plain
//
// Normalizations are operators of a network of a fixed batch, so that batch statistics are exact and nothing but this command knows of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "batchnorm:", err)
		os.Exit(1)
	}
}

// The arms.
const (
	plain  = "plain"  // the folded weights
	scaled = "scaled" // a scale a channel apart from the weights, without statistics
	batch  = "batch"  // batch normalization
)

// batches of training samples that statistics are estimated of, before training and after it.
const (
	batchesBefore = 16
	batchesAfter  = 32
)

type experiment struct {
	model    *tflite.Model
	data     *dataset.Dataset
	config   train.Config
	sparsity float64
	held     bool // zeros of the model stay, and none are added
	int8     bool // int8 arithmetic in the loop
	arm      string
}

func run(ctx context.Context) error {
	model := flag.String("model", "", "float .tflite")
	file := flag.String("data", "", "dataset")
	factor := flag.String("scale", "1", "of samples")
	noise := flag.Float64("noise", 0, "deviation of the noise added to training samples")
	shift := flag.Int("shift", 0, "rows that training samples are shifted by at most")
	samples := flag.Int("samples", 0, "train on the first so many samples; 0: all")
	epochs := flag.Int("epochs", train.DefaultConfig().Epochs, "of training")
	rate := flag.Float64("rate", 0, "learning rate; 0: found")
	sparsity := flag.Float64("sparsity", 0.5, "share of zeros")
	reconstruct := flag.Bool("reconstruct", false, "choose the zeros by reconstruction before training, not while it trains")
	held := flag.Bool("held", false, "the model's zeros stay, and none are added")
	int8 := flag.Bool("int8", false, "train with int8 arithmetic in the loop; the model's zeros stay")
	seed := flag.Int64("seed", 1, "seed")
	arm := flag.String("arm", plain, "plain, scaled or batch")
	out := flag.String("o", "", "write the trained float model there")
	flag.Parse()

	content, err := os.ReadFile(*model)
	if err != nil {
		return err
	}
	spec := dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: dataset.Number(*factor)}}
	spec.Augmentation.Noise = dataset.Number(strconv.FormatFloat(*noise, 'g', -1, 64))
	spec.Augmentation.Shift.Height = *shift
	data, err := dataset.Open(*file, spec)
	if err != nil {
		return err
	}
	defer data.Close()
	x := &experiment{data: data, config: train.DefaultConfig(), sparsity: *sparsity, held: *held || *reconstruct || *int8, int8: *int8, arm: *arm}
	x.config.Epochs, x.config.Seed, x.config.LearningRate, x.config.FindRate = *epochs, *seed, *rate, *rate == 0
	n := data.Train.Len()
	if *samples > 0 {
		n = min(n, *samples)
	}
	data.Train = dataset.First(data.Train, n/x.config.BatchSize*x.config.BatchSize) // full batches only
	if *reconstruct {
		if content, err = x.reconstruct(ctx, content); err != nil {
			return err
		}
	}
	if x.model, err = tflite.Read(content); err != nil {
		return err
	}
	trained, result, err := x.train(ctx)
	if err != nil {
		return err
	}
	if content, err = trained.Marshal(); err != nil {
		return err
	}
	if *out != "" {
		if err := tflite.WriteWhole(*out, content); err != nil {
			return err
		}
	}
	return x.print(ctx, content, result)
}

// reconstruct returns the model with its zeros chosen without training.
func (x *experiment) reconstruct(ctx context.Context, content []byte) ([]byte, error) {
	n, err := lineage.Read(content)
	if err != nil {
		return nil, err
	}
	untrained := train.DefaultConfig()
	untrained.Epochs = 0
	technique := lineage.Prune{Options: prune.Options{Sparsity: x.sparsity, Schedule: prune.Schedule{Kind: prune.Constant}}, Reconstruct: lineage.On}
	outcome, err := (&lineage.Run{Data: x.data, Training: untrained}).Apply(ctx, n, technique)
	if err != nil {
		return nil, err
	}
	return outcome.Network.Model().Marshal()
}

// print measures a float model and its leaf.
func (x *experiment) print(ctx context.Context, content []byte, result *train.Result) error {
	network, err := lineage.Read(content)
	if err != nil {
		return err
	}
	outcome, err := (&lineage.Run{Data: x.data}).Baseline(ctx, network)
	if err != nil {
		return err
	}
	leaf, err := outcome.Leaf.Marshal()
	if err != nil {
		return err
	}
	var accuracy [2]float64
	for i, file := range [][]byte{content, leaf} {
		answers, err := measure.Run(ctx, file, x.data.Test, measure.Options{})
		if err != nil {
			return err
		}
		accuracy[i] = 100 * answers.Metrics(nil)[measure.Accuracy]
	}
	rate := x.config.LearningRate
	if result.RangeTest != nil {
		rate = result.RangeTest.Rate
	}
	_, err = fmt.Printf("%-6s seed %d: float %.2f, int8 %.2f, training loss %.4f, rate %.2g, %.0f s\n",
		x.arm, x.config.Seed, accuracy[0], accuracy[1], result.Training.Loss, rate, result.Elapsed.Seconds())
	return err
}

// train returns the model with the weights that it was trained to.
func (x *experiment) train(ctx context.Context) (*tflite.Model, *train.Result, error) {
	net, layers, err := x.open()
	if err != nil {
		return nil, nil, err
	}
	tensors, err := x.weights(net)
	if err != nil {
		return nil, nil, err
	}
	task := train.Task{Network: net, Weights: tensors, Train: x.data.Train}
	if x.int8 {
		if task.Ranges, err = x.quantize(ctx, net, tensors); err != nil {
			return nil, nil, err
		}
	}
	finish, err := x.prune(&task)
	if err != nil {
		return nil, nil, err
	}
	trainer, err := train.New(task, x.config)
	if err != nil {
		return nil, nil, err
	}
	result, err := trainer.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := finish(); err != nil {
		return nil, nil, err
	}
	for _, p := range net.Params {
		if t := tensors[p.Tensor]; t != nil {
			t.Materialize(p.Value)
		}
	}
	net.Refresh()
	if x.arm == batch {
		if err := estimate(net, layers, x.data.Train, batchesAfter); err != nil {
			return nil, nil, err
		}
	}
	return fold(x.model, net, layers, x.arm == batch), result, nil
}

// open compiles the network that trains, with the layers whose scale is apart.
func (x *experiment) open() (*float.Network, []*layer, error) {
	if x.arm == plain {
		net, err := float.Compile(x.model, 0)
		return net, nil, err
	}
	size := x.config.BatchSize
	probe, found, err := unfold(x.model, size, false, nil)
	if err != nil {
		return nil, nil, err
	}
	net, err := float.Compile(probe, size)
	if err != nil {
		return nil, nil, err
	}
	if err := estimate(net, found, x.data.Train, batchesBefore); err != nil {
		return nil, nil, err
	}
	statistics := map[int]*layer{}
	for _, l := range found {
		statistics[l.kernel] = l
	}
	model, layers, err := unfold(x.model, size, x.arm == batch, statistics)
	if err != nil {
		return nil, nil, err
	}
	net, err = float.Compile(model, size)
	return net, layers, err
}

// weights parametrizes the kernels; where zeros are held, those are masked.
func (x *experiment) weights(net *float.Network) (map[int]*weight.Tensor, error) {
	tensors := map[int]*weight.Tensor{}
	for _, k := range weight.Kernels(x.model) {
		values := net.Param(k.Tensor).Value
		t, err := weight.New(k.Name, k.Shape, k.Axis, values)
		if err != nil {
			return nil, err
		}
		tensors[k.Tensor] = t
		if !x.held {
			continue
		}
		mask := make([]uint8, len(values))
		for i, v := range values {
			if v != 0 {
				mask[i] = 1
			}
		}
		if err := t.SetMask(mask); err != nil {
			return nil, err
		}
	}
	return tensors, nil
}

// prune has zeros come while the task trains; finish is for its end.
func (x *experiment) prune(task *train.Task) (finish func() error, err error) {
	if x.held || x.sparsity == 0 {
		return func() error { return nil }, nil
	}
	options := prune.Options{Sparsity: x.sparsity}
	targets, _, err := prune.NewPlan(weight.Kernels(x.model), options)
	if err != nil {
		return nil, err
	}
	var tensors []*weight.Tensor
	for _, t := range targets {
		tensors = append(tensors, task.Weights[t.Tensor])
	}
	pruner, err := prune.NewPruner(targets, tensors, options, x.config.Sketched(x.data.Train.Len()))
	if err != nil {
		return nil, err
	}
	task.Hooks.BeforeTrials, task.Hooks.Back = pruner.Preview, pruner.Back
	task.Hooks.BeforeStep = func(step, _ int) error {
		_, err := pruner.Before(step)
		return err
	}
	return pruner.Finish, nil
}

// quantize gives weights their integers, and activations the ranges of the folded network.
func (x *experiment) quantize(ctx context.Context, net *float.Network, tensors map[int]*weight.Tensor) (*train.Ranges, error) {
	plan, err := quantize.PlanOf(x.model, quantize.Options{})
	if err != nil {
		return nil, err
	}
	for _, l := range plan.Layers {
		if err := tensors[l.Weight].Quantize(l.Scales); err != nil {
			return nil, err
		}
	}
	folded, err := float.Compile(x.model, 0)
	if err != nil {
		return nil, err
	}
	found, err := quantize.Calibrate(ctx, folded, plan, quantize.Calibration{}, quantize.FeedOf(x.data.Train), min(512, x.data.Train.Len()))
	if err != nil {
		return nil, err
	}
	quants, err := plan.Attach(folded, plan.Params(found.Ranges))
	if err != nil {
		return nil, err
	}
	copy(net.Act, folded.Act)
	return &train.Ranges{Plan: plan, Quants: quants, Range: found.Ranges, Mode: train.Tracked}, nil
}
