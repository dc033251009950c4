package train

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// memory is a Source of samples in memory.
type memory struct {
	shape   []int
	classes int
	x       [][]float32
	labels  []int
	targets [][]float32
}

func (m *memory) Len() int                { return len(m.x) }
func (m *memory) Inputs() []dataset.Array { return []dataset.Array{{Name: "x", Shape: m.shape}} }

func (m *memory) Targets() []dataset.Target {
	switch {
	case m.classes > 0:
		return []dataset.Target{{Name: "y", Kind: dataset.Class, Classes: m.classes}}
	case len(m.targets) > 0:
		return []dataset.Target{{Name: "y", Kind: dataset.Value, Shape: []int{len(m.targets[0])}}}
	default:
		return nil
	}
}

func (m *memory) Read(i int, x [][]float32) error {
	copy(x[0], m.x[i])
	return nil
}

func (m *memory) Truth(i int, y [][]float32) error {
	if m.classes > 0 {
		y[0][0] = float32(m.labels[i])
		return nil
	}
	copy(y[0], m.targets[i])
	return nil
}

// blobs are small images of classes with a bright spot each in a place of its own, and noise.
func blobs(seed uint64, n, classes int) *memory {
	random := rand.New(rand.NewPCG(seed, 5))
	m := &memory{shape: []int{6, 6, 1}, classes: classes}
	for i := range n {
		x := make([]float32, 36)
		for k := range x {
			x[k] = float32(0.4 * random.NormFloat64())
		}
		label := i % classes
		x[(label*7+3)%36] += 1.5
		m.x, m.labels = append(m.x, x), append(m.labels, label)
	}
	return m
}

func numbers(seed uint64, n int, spread float64) []float32 {
	random := rand.New(rand.NewPCG(seed, 9))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(spread * random.NormFloat64())
	}
	return v
}

// classifier is a small convolutional network for blobs, its weights random. end finishes it from the last hidden layer.
func classifier(end func(b *tflitetest.Builder, x int32) int32) *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 6, 6, 1)
	y := b.Conv("conv", x, numbers(1, 8*9, 0.3), make([]float32, 8), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Depthwise("depthwise", y, numbers(2, 9*8, 0.3), make([]float32, 8), 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU6)
	y = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, y, 2, 2, schema.PaddingVALID)
	b.Output(end(b, b.Flatten("flat", y)))
	return b.Model()
}

func dense(outputs int32) func(b *tflitetest.Builder, x int32) int32 {
	return func(b *tflitetest.Builder, x int32) int32 {
		return b.Dense("dense", x, numbers(3, int(outputs)*72, 0.1), make([]float32, outputs), outputs, tflitetest.None)
	}
}

func softmaxEnd(b *tflitetest.Builder, x int32) int32 { return b.Softmax("softmax", dense(4)(b, x)) }

func fastConfig() Config {
	c := DefaultConfig()
	c.Epochs, c.BatchSize, c.LearningRate = 5, 32, 1e-2
	return c
}

func newTrainer(t testing.TB, task Task, config Config) *Trainer {
	t.Helper()
	trainer, err := New(task, config)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

func mustRun(t testing.TB, trainer *Trainer) *Result {
	t.Helper()
	result, err := trainer.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// quantizedTask is a task with everything that moves: weights with scales, ranges, a teacher.
func quantizedTask(t testing.TB, mode RangeMode, workers int) Task {
	m := classifier(softmaxEnd)
	src := blobs(4, 300, 4)
	task := Task{Train: src, Validation: blobs(5, 90, 4), Workers: workers}
	task.Network, task.Weights = compile(t, m)
	task.Teacher, _ = compile(t, m)
	attach(t, m, &task, mode)
	return task
}

// outcome is everything a training leaves behind, but for the time it took.
func outcome(t testing.TB, trainer *Trainer) []byte {
	t.Helper()
	if trainer.test != nil {
		trainer.test.Seconds = 0
	}
	var b bytes.Buffer
	if err := trainer.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
