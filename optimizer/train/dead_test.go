package train

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// deep is a network of dense layers without batch normalization, its weights random.
func deep(layers int, first float64) *tflite.Model {
	b := tflitetest.New()
	x := b.Flatten("flat", b.Input("x", 1, 6, 6, 1))
	for i := range layers {
		width := int(b.Shape(x)[1])
		x = b.Dense("hidden", x, numbers(uint64(10+i), 16*width, first/float64(width)*6), make([]float32, 16), 16, tflitetest.ReLU)
		first = 1
	}
	b.Output(b.Dense("dense", x, numbers(3, 4*16, 0.3), make([]float32, 4), 4, tflitetest.None))
	return b.Model()
}

// bright are samples of large values, as the bytes of images are.
func bright(m *memory, by, add float32) *memory {
	for _, x := range m.x {
		for i := range x {
			x[i] = x[i]*by + add
		}
	}
	return m
}

// Whatever the network and the samples, a rate that was found leaves a network whose answers differ, at a loss no worse than before.
func TestAFoundRateKillsNoNetwork(t *testing.T) {
	for name, tt := range map[string]struct {
		model *tflite.Model
		train *memory
	}{
		"untrained":                  {deep(3, 1), blobs(4, 300, 4)},
		"deep":                       {deep(8, 1), blobs(4, 300, 4)},
		"inputs up to 255":           {deep(3, 1), bright(blobs(4, 300, 4), 60, 120)},
		"twenty samples":             {deep(3, 1), blobs(4, 20, 4)},
		"convolutions, untrained":    {classifier(dense(4)), blobs(4, 300, 4)},
		"convolutions, up to 255":    {classifier(dense(4)), bright(blobs(4, 300, 4), 60, 120)},
		"weights of very large size": {deep(3, 50), blobs(4, 300, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			task := Task{Train: tt.train}
			task.Network, task.Weights = compile(t, tt.model)
			trainer := newTrainer(t, task, findingConfig())
			result := mustRun(t, trainer)
			defer trainer.hire()()
			alike, err := trainer.alike(task.Train, seq(task.Train.Len()))
			if err != nil || alike {
				t.Errorf("all samples are answered alike, %v; start %v, %+v; %v", err, result.RangeTest.Start, result.RangeTest.Trials, result.RangeTest)
			}
			if result.Training.Loss > result.RangeTest.Start {
				t.Errorf("rate %v: loss %v, before training %v; %v", result.RangeTest.Rate, result.Training.Loss, result.RangeTest.Start, result.RangeTest)
			}
		})
	}
}

func seq(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// A network that dies in training is brought back, and trained with a smaller rate.
func TestANetworkThatDiesIsTrainedAnew(t *testing.T) {
	task := Task{Train: blobs(4, 300, 4)}
	task.Network, task.Weights = compile(t, deep(3, 1))
	killed := false
	task.Hooks.BeforeStep = func(step, _ int) error {
		if step != 5 || killed {
			return nil
		}
		killed = true
		for _, p := range task.Network.Params {
			if p.Kind == float.Bias && len(p.Value) == 16 {
				for i := range p.Value {
					p.Value[i] = -1000
				}
			}
		}
		return nil
	}
	result := mustRun(t, newTrainer(t, task, findingConfig()))
	if test := result.RangeTest; len(test.Backs) != 1 || !strings.Contains(test.String(), "came to answer all samples alike") {
		t.Errorf("%v", test)
	}
	if result.Training.Loss > result.RangeTest.Start {
		t.Errorf("loss %v, before training %v", result.Training.Loss, result.RangeTest.Start)
	}
}

// Samples that are alike are no sign of a dead network.
func TestEqualSamplesAreAnsweredAlike(t *testing.T) {
	same := blobs(4, 40, 4)
	for i := range same.x {
		same.x[i] = same.x[0]
	}
	task := Task{Train: same}
	task.Network, task.Weights = compile(t, deep(2, 1))
	if test := mustRun(t, newTrainer(t, task, findingConfig())).RangeTest; len(test.Trials) < 2 || strings.Contains(test.String(), "alike") {
		t.Errorf("%v", test)
	}
}
