package train

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// The first step of Adam moves every value by the rate, whatever the gradient's size; AdamW besides takes a share of what decays, which
// biases do not.
func TestOneStepMovesByTheRate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		decay  float64
	}{
		"Adam":                {func(*Config) {}, 0},
		"AdamW":               {func(c *Config) { c.Optimizer, c.WeightDecay = AdamW, 8 }, 8},
		"Adam, other moments": {func(c *Config) { c.Beta1, c.Beta2 = 0.5, 0.25 }, 0},
	} {
		task := Task{Train: blobs(1, 16, 4), Workers: 1}
		task.Network, _ = compile(t, classifier(softmaxEnd))
		config := fastConfig()
		config.Epochs, config.BatchSize, config.LearningRate, config.Schedule = 1, 16, 1.0/64, Constant
		c.change(&config)
		trainer := newTrainer(t, task, config)
		var before [][]byte
		for _, p := range trainer.params {
			before = append(before, p.state())
		}
		mustRun(t, trainer)
		moves := 0
		for i, p := range trainer.params {
			was := make([]float32, len(p.param.Value))
			if err := readFloats(was, before[i]); err != nil {
				t.Fatal(err)
			}
			decay := c.decay * config.LearningRate
			if p.groups[0].Decay == (was[0] == 0) { // biases begin as zeros
				t.Errorf("%s: %q decays: %t", name, p.param.Name, p.groups[0].Decay)
			}
			for k, v := range p.param.Value {
				step := math.Abs(float64(v) - float64(was[k])*(1-decay))
				if step > 1e-4 { // where a unit was not active there is no gradient, or hardly any
					moves++
					if math.Abs(step-config.LearningRate) > 0.02*config.LearningRate {
						t.Errorf("%s: %q: %v became %v, a step of %v", name, p.param.Name, was[k], v, step)
					}
				}
			}
		}
		if moves < 100 {
			t.Errorf("%s: %d values moved", name, moves)
		}
	}
}

// A step of the optimizer is taken in the units of what it moves, with a share of the gradient where that is clipped, and leaves out what is
// masked.
func TestAStepIsInTheUnitsOfItsValues(t *testing.T) {
	for name, c := range map[string]struct {
		optimizer Optimizer
		want      []float32 // from values of 1 with gradients of 2 and −4, clipped to half, at a rate of 1/8 and a scale of 4; the third is masked
	}{
		"SGD":  {SGD, []float32{0.5, 2, 1}},
		"Adam": {Adam, []float32{0.5, 1.5, 1}}, // its first step is the rate, whatever the gradient
	} {
		config := fastConfig()
		config.Optimizer, config.Momentum = c.optimizer, 0
		group := weight.Trainable{Value: []float32{1, 1, 1}, Grad: []float32{2, -4, 8}, Mask: []uint8{1, 1, 0}, StepScale: 4, Decay: true}
		p := &parameter{groups: []weight.Trainable{group}, first: [][]float32{make([]float32, 3)}, second: [][]float32{make([]float32, 3)}}
		p.update(&config, 1, 0.125, 0.5)
		if diff := cmp.Diff(c.want, group.Value, cmpopts.EquateApprox(1e-5, 0)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// twoEnds is a classifier with an output of two numbers before its classes.
func twoEnds(b *tflitetest.Builder, x int32) int32 {
	b.Output(b.Dense("other", x, numbers(4, 2*72, 0.1), make([]float32, 2), 2, tflitetest.None))
	return softmaxEnd(b, x)
}

// Weights that only an output without a loss is made of do not train, and have the form that their tensor gives them.
func TestWeightsThatDoNotTrainHaveTheirForm(t *testing.T) {
	task := Task{Train: blobs(1, 64, 4)}
	task.Network, task.Weights = compile(t, classifier(twoEnds))
	targets, err := answer.Survey(task.Train)
	if err != nil {
		t.Fatal(err)
	}
	if task.Outputs, err = answer.Describe(task.Network.Graph, targets, nil, nil); err != nil {
		t.Fatal(err)
	}
	task.Outputs[0].Weight = 0
	for _, p := range task.Network.Params {
		w := task.Weights[p.Tensor]
		if w == nil || w.Len() != 2*72 {
			continue
		}
		if err := w.SetMask(slices.Repeat([]uint8{0, 1}, 72)); err != nil {
			t.Fatal(err)
		}
		want := make([]float32, w.Len())
		w.Materialize(want)
		mustRun(t, newTrainer(t, task, fastConfig()))
		if diff := cmp.Diff(want, p.Value); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		return
	}
	t.Error("no such weights")
}
