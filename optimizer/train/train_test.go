package train

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

func TestSmallSetsAreLearnedByEveryLossAndOptimizer(t *testing.T) {
	four := blobs(1, 128, 4)
	two := blobs(2, 128, 2)
	line := blobs(3, 128, 4)
	line.classes, line.labels = 0, nil
	for _, x := range line.x {
		line.targets = append(line.targets, []float32{x[3] - x[10], x[17]})
	}
	for _, c := range []struct {
		name     string
		model    *tflite.Model
		src      *memory
		change   func(*Config)
		accuracy float64
		loss     float64
	}{
		{"cross-entropy, Adam", classifier(softmaxEnd), four, func(c *Config) {}, 0.99, 0.1},
		{"cross-entropy of logits, AdamW", classifier(dense(4)), four, func(c *Config) { c.Optimizer, c.WeightDecay = AdamW, 0.01 }, 0.99, 0.1},
		{"cross-entropy, SGD with clipping and warm-up", classifier(softmaxEnd), four, func(c *Config) {
			c.Optimizer, c.LearningRate, c.ClipNorm, c.WarmupEpochs = SGD, 0.05, 1, 1
		}, 0.99, 0.1},
		{"label smoothing and class weights", classifier(softmaxEnd), four, func(c *Config) { c.LabelSmoothing, c.ClassWeights = 0.05, []float64{1, 2, 1, 1} }, 0.99, 0.5},
		{"one logit", classifier(dense(1)), two, func(c *Config) {}, 0.99, 0.1},
		{"logistic output", classifier(func(b *tflitetest.Builder, x int32) int32 {
			return b.Unary("p", schema.BuiltinOperatorLOGISTIC, dense(1)(b, x))
		}), two, func(c *Config) {}, 0.99, 0.1},
		{"squared error", classifier(dense(2)), line, func(c *Config) {}, -1, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := Task{Train: c.src, Validation: c.src}
			task.Network, task.Weights = compile(t, c.model)
			config := fastConfig()
			config.Epochs = 60
			c.change(&config)
			result := mustRun(t, newTrainer(t, task, config))
			if result.Validation.Accuracy < c.accuracy || result.Validation.Loss > c.loss {
				t.Errorf("got %+v, want an accuracy of %v and a loss of at most %v", *result.Validation, c.accuracy, c.loss)
			}
		})
	}
}

func TestAnAutoencoderLearnsItsInput(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 6)
	y := b.Dense("in", x, numbers(1, 36, 0.4), make([]float32, 6), 6, tflitetest.None)
	b.Output(b.Dense("out", y, numbers(2, 36, 0.4), make([]float32, 6), 6, tflitetest.None))
	src := &memory{shape: []int{6}}
	for i := range 64 {
		src.x = append(src.x, numbers(uint64(i), 6, 1))
	}
	for _, mode := range []RangeMode{"", Tracked} {
		m := b.Model()
		task := Task{Train: src, Validation: src}
		task.Network, task.Weights = compile(t, m)
		if mode != "" {
			attach(t, m, &task, mode)
		}
		config := fastConfig()
		config.Epochs, config.LearningRate = 300, 1e-2
		if got := mustRun(t, newTrainer(t, task, config)).Validation; got.Loss > 0.01 || got.Accuracy != -1 {
			t.Errorf("ranges %q: got %+v", mode, *got)
		}
	}
}

func TestDistillationNeedsNoLabels(t *testing.T) {
	labelled := blobs(1, 256, 4)
	m := classifier(softmaxEnd)
	teacher := Task{Train: labelled, Validation: labelled}
	teacher.Network, teacher.Weights = compile(t, m)
	config := fastConfig()
	config.Epochs = 30
	mustRun(t, newTrainer(t, teacher, config))

	bare := *labelled
	bare.classes, bare.labels = 0, nil
	task := Task{Train: &bare, Validation: &bare, Teacher: teacher.Network}
	task.Network, task.Weights = compile(t, m)
	result := mustRun(t, newTrainer(t, task, config))
	if result.Validation.Accuracy < 0.98 {
		t.Errorf("the student agrees with its teacher on %.3f", result.Validation.Accuracy)
	}

	_, err := New(Task{Network: task.Network, Weights: task.Weights, Train: &bare}, config)
	if err == nil || !strings.Contains(err.Error(), "distillation") {
		t.Errorf("without labels and teacher: got %v, want advice to use distillation", err)
	}
}

func TestEarlyStopKeepsTheBestEpoch(t *testing.T) {
	task := Task{Train: blobs(1, 64, 4), Validation: blobs(2, 64, 4)}
	task.Network, task.Weights = compile(t, classifier(softmaxEnd))
	config := fastConfig()
	config.Epochs, config.LearningRate, config.Schedule, config.EarlyStop = 200, 1e-2, Constant, EarlyStop{Patience: 3}
	var losses []float64
	task.Hooks.Progress = func(p Progress) {
		if p.Validation != nil {
			losses = append(losses, p.Validation.Loss)
		}
	}
	trainer := newTrainer(t, task, config)
	result := mustRun(t, trainer)
	if !result.Stopped || len(losses) == config.Epochs {
		t.Fatalf("overfitting for %d epochs did not stop it", len(losses))
	}
	best := slices.Index(losses, slices.Min(losses))
	if result.Best != best || result.Epochs != best+1+config.EarlyStop.Patience {
		t.Errorf("kept epoch %d of %d, want %d", result.Best, result.Epochs, best)
	}
	score, err := trainer.Evaluate(task.Validation)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(losses[best], score.Loss); diff != "" {
		t.Errorf("the weights are not those of the best epoch: %s", diff)
	}
}

func TestDivergenceNamesTheLayer(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(task *Task)
	}{
		{"weights overflow", `output of operator 0 CONV_2D "conv"`, func(task *Task) {
			w := task.Weights[task.Network.Params[0].Tensor]
			for i := range w.Latent {
				w.Latent[i] = float32(math.Inf(1))
			}
		}},
		{"a later layer overflows", `output of operator 4 FULLY_CONNECTED "dense"`, func(task *Task) {
			for _, p := range task.Network.Params {
				if p.Name == "dense/kernel" {
					w := task.Weights[p.Tensor]
					for i := range w.Latent {
						w.Latent[i] = 3e38
					}
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := Task{Train: blobs(1, 64, 4)}
			task.Network, task.Weights = compile(t, classifier(softmaxEnd))
			c.spoil(&task)
			_, err := newTrainer(t, task, fastConfig()).Run(context.Background())
			var diverged *DivergedError
			if !errors.As(err, &diverged) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "epoch 1, step 1: ") || !strings.Contains(err.Error(), "learning rate") {
				t.Errorf("got %v, want an error with %q and advice", err, c.want)
			}
		})
	}
}

func TestALossBeyondAllMeasureIsDivergence(t *testing.T) {
	task := Task{Train: blobs(1, 256, 4)}
	task.Network, task.Weights = compile(t, classifier(softmaxEnd))
	config := fastConfig()
	mustRun(t, newTrainer(t, task, config))
	config.Optimizer, config.LearningRate = SGD, 900
	_, err := newTrainer(t, Task{Train: task.Train, Network: task.Network, Weights: task.Weights}, config).Run(context.Background())
	var diverged *DivergedError
	if !errors.As(err, &diverged) || diverged.Grown < 2 || !strings.Contains(err.Error(), `"`) || !strings.Contains(err.Error(), "lower learning rate") {
		t.Errorf("got %v, want the layer whose weights grew most and advice", err)
	}
}

func TestMasksThatAHookSetsHoldAtTheEnd(t *testing.T) {
	task := Task{Train: blobs(1, 128, 4)}
	task.Network, task.Weights = compile(t, classifier(softmaxEnd))
	w := task.Weights[task.Network.Params[0].Tensor]
	task.Hooks.BeforeStep = func(step, total int) error {
		if step != total/2 {
			return nil
		}
		mask := make([]uint8, w.Len())
		for i := range mask {
			mask[i] = uint8(i % 2)
		}
		return w.SetMask(mask)
	}
	mustRun(t, newTrainer(t, task, fastConfig()))
	for i, v := range task.Network.Params[0].Value {
		if (i%2 == 0) != (v == 0) {
			t.Fatalf("weight %d is %v", i, v)
		}
	}
}

func TestTasksThatDoNotFitAreRefused(t *testing.T) {
	network, weights := compile(t, classifier(softmaxEnd))
	src := blobs(1, 20, 4)
	for _, c := range []struct {
		name, want string
		task       Task
		change     func(*Config)
	}{
		{"samples of another size", "model's input has 36", Task{Network: network, Weights: weights, Train: &memory{shape: []int{5, 6}, classes: 4, x: src.x, labels: src.labels}}, nil},
		{"too many classes", "labels up to 8", Task{Network: network, Weights: weights, Train: &memory{shape: src.shape, classes: 9, x: src.x, labels: src.labels}}, nil},
		{"no samples", "no training samples", Task{Network: network, Weights: weights, Train: &memory{shape: src.shape, classes: 4}}, nil},
		{"class weights of another number", "2 class weights for 4 classes", Task{Network: network, Weights: weights, Train: src}, func(c *Config) { c.ClassWeights = []float64{1, 2} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := fastConfig()
			if c.change != nil {
				c.change(&config)
			}
			if _, err := New(c.task, config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A gradient above the bound is scaled down to it, whatever its direction, and one below it is left as it is.
func TestGradientsAreClippedAtTheirNorm(t *testing.T) {
	moved := func(bound float64) (norm float64) {
		task := Task{Train: blobs(1, 16, 4)}
		task.Network, task.Weights = compile(t, classifier(softmaxEnd))
		config := fastConfig()
		config.Optimizer, config.Momentum, config.Epochs, config.BatchSize, config.LearningRate, config.Schedule = SGD, 0, 1, 16, 1e-3, Constant
		config.ClipNorm = bound
		var before [][]float32
		for _, p := range task.Network.Params {
			before = append(before, slices.Clone(p.Value))
		}
		mustRun(t, newTrainer(t, task, config))
		for i, p := range task.Network.Params {
			for k, v := range p.Value {
				norm += float64(v-before[i][k]) * float64(v-before[i][k]) / 1e-6
			}
		}
		return math.Sqrt(norm)
	}
	free := moved(0)
	for _, c := range []struct{ bound, want float64 }{{free / 4, free / 4}, {free / 2, free / 2}, {4 * free, free}} {
		if got := moved(c.bound); math.Abs(got-c.want) > 0.01*free {
			t.Errorf("a gradient of norm %v, clipped at %v, moves weights by %v", free, c.bound, got)
		}
	}
}

func TestWeightsOfAnotherNetworkAreRefused(t *testing.T) {
	src := blobs(1, 20, 4)
	network, weights := compile(t, classifier(softmaxEnd))
	other := maps.Clone(weights)
	for at, w := range weights {
		other[at+1000] = w
	}
	if _, err := New(Task{Network: network, Weights: other, Train: src}, fastConfig()); err == nil || !strings.Contains(err.Error(), "weights for tensors that are no parameters") {
		t.Error(err)
	}
	for at := range weights {
		other = maps.Clone(weights)
		short, err := weight.New("short", []int{1, 2}, 0, []float32{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		other[at] = short
		if _, err := New(Task{Network: network, Weights: other, Train: src}, fastConfig()); err == nil || !strings.Contains(err.Error(), `weights "short" have 2 values, the network's have`) {
			t.Error(err)
		}
	}
}

func TestWhatWasSoughtIsSaid(t *testing.T) {
	for want, s := range map[string]Sought{
		"9 epochs, as many as were allowed": {All: 9, Most: 9},
		"7 epochs of at most 30: the validation loss was least after epoch 3 and fell no further until 5": {All: 7, Most: 30, Full: 5, Best: 3},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLabelsOutOfRangeNameTheSample(t *testing.T) {
	src := blobs(1, 20, 4)
	src.labels[13] = 4
	task := Task{Train: src}
	task.Network, task.Weights = compile(t, classifier(softmaxEnd))
	_, err := newTrainer(t, task, fastConfig()).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "sample 13 has label 4") {
		t.Errorf("got %v, want the sample named", err)
	}
}

func TestModelsOfAFixedBatchTrainOnAnyNumberOfSamples(t *testing.T) {
	src := blobs(1, 22, 4)
	model := func(fixed bool) *tflite.Model {
		b := tflitetest.New()
		y := b.Flatten("flat", b.Input("x", 4, 6, 6, 1))
		y = b.Dense("dense", y, numbers(3, 4*36, 0.1), make([]float32, 4), 4, tflitetest.None)
		if fixed { // there and back: the batch is no longer provably the leading dimension
			for range 2 {
				y = b.Op("t", schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, b.Shape(y), y, b.Ints("perm", 1, 0))
			}
		}
		b.Output(y)
		return b.Model()
	}
	var scores []Score
	for _, fixed := range []bool{false, true} {
		task := Task{Train: src, Validation: src}
		n, err := float.Compile(model(fixed), map[bool]int{false: 4}[fixed]) // 0: as the model allows
		if err != nil {
			t.Fatal(err)
		}
		if e := n.NewExec(false); fixed != (e.SetBatch(3) != nil) {
			t.Fatalf("fixed %v: the batch can be changed", fixed)
		}
		task.Network = n
		scores = append(scores, *mustRun(t, newTrainer(t, task, fastConfig())).Validation)
	}
	if diff := cmp.Diff(scores[0], scores[1], cmpopts.EquateApprox(1e-5, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestAScalarOutputTrains(t *testing.T) {
	src := blobs(1, 64, 4)
	src.classes, src.labels = 0, nil
	for _, x := range src.x {
		src.targets = append(src.targets, []float32{3 * x[3]})
	}
	b := tflitetest.New()
	y := b.Dense("dense", b.Flatten("flat", b.Input("x", 1, 6, 6, 1)), numbers(3, 36, 0.1), make([]float32, 1), 1, tflitetest.None)
	options := &schema.ReducerOptionsT{}
	b.Output(b.Op("sum", schema.BuiltinOperatorSUM, schema.BuiltinOptionsReducerOptions, options, []int32{}, y, b.Ints("axes", 0, 1)))
	n, err := float.Compile(b.Model(), 0)
	if err != nil {
		t.Fatal(err)
	}
	config := fastConfig()
	config.Epochs, config.LearningRate = 40, 0.1
	result := mustRun(t, newTrainer(t, Task{Network: n, Train: src, Validation: src}, config))
	if first, last := result.History[0].Loss, result.Validation.Loss; last > first/2 {
		t.Errorf("the loss fell from %v to %v only", first, last)
	}
}
