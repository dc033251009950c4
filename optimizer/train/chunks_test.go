package train

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// cell is one step of a network: its answer, of classes or else of numbers, and the state that it leaves.
type cell func(b *tflitetest.Builder, x, state int32) (answer, next int32)

const (
	heard    = 2 // numbers of a step
	held     = 4 // of the state
	answered = 3
)

// elman is a recurrent network: what it holds is a function of all that it heard.
func elman(b *tflitetest.Builder, x, state int32) (answer, next int32) {
	in := b.Dense("in", x, numbers(1, held*heard, 0.5), numbers(2, held, 0.1), held, tflitetest.None)
	again := b.Dense("again", state, numbers(3, held*held, 0.3), nil, held, tflitetest.None)
	next = b.Unary("next", schema.BuiltinOperatorTANH, b.Add("sum", in, again, tflitetest.None))
	return b.Dense("out", next, numbers(4, answered*held, 0.5), numbers(5, answered, 0.1), answered, tflitetest.None), next
}

// delay answers from what it hears and what it heard the step before, through which no weight has a gradient.
func delay(b *tflitetest.Builder, x, state int32) (answer, next int32) {
	both := b.Concat("both", 1, x, state)
	next = b.Concat("next", 1, x, x)
	return b.Dense("out", both, numbers(4, answered*(heard+held), 0.5), numbers(5, answered, 0.1), answered, tflitetest.None), next
}

// unrolled is a task's network of sequences of so many steps, whole or in chunks.
func unrolled(t testing.TB, c cell, steps, chunk int, each bool) (*tflite.Model, *stream.Chunks) {
	t.Helper()
	b := tflitetest.New()
	x, state := b.Input("x", 1, heard), b.Input("state", 1, held)
	answer, next := c(b, x, state)
	b.Output(answer)
	b.Output(next)
	m := b.Model()
	if err := m.SetStates([]tflite.StatePair{{Input: "state", Output: "next"}}); err != nil {
		t.Fatal(err)
	}
	m.SetEachStep(each)
	m.SetChunk(chunk)
	_, u, err := stream.Sequence(m, [][]int{{steps, heard}})
	if err != nil {
		t.Fatal(err)
	}
	if (u.Chunks != nil) != (chunk > 0) {
		t.Fatalf("%d steps in chunks of %d are %+v", steps, chunk, u.Chunks)
	}
	return u.Model, u.Chunks
}

// sequences are random, with targets of the last step or of each.
func sequences(n, steps int, each bool) *memory {
	m := &memory{shape: []int{steps, heard}}
	targets := answered
	if each {
		targets *= steps
	}
	for i := range n {
		m.x = append(m.x, numbers(uint64(100+i), steps*heard, 1))
		m.targets = append(m.targets, numbers(uint64(900+i), targets, 1))
	}
	return m
}

// gradientsOf are those of a batch of all samples, by parameter's name, and the mean loss.
func gradientsOf(t *testing.T, c cell, src *memory, steps, chunk int, each bool, config Config) (map[string][]float32, float64) {
	t.Helper()
	m, chunks := unrolled(t, c, steps, chunk, each)
	task := Task{Train: src, Workers: 2, Chunks: chunks}
	task.Network, task.Weights = compile(t, m)
	task.Weights = nil
	if config.Distillation.Weight > 0 {
		task.Teacher, _ = compile(t, m)
		for _, p := range task.Network.Params { // so that they answer otherwise
			for i := range p.Value {
				p.Value[i] *= 0.9
			}
		}
	}
	trainer := newTrainer(t, task, config)
	trainer.start()
	defer trainer.hire()()
	if err := trainer.teach(); err != nil {
		t.Fatal(err)
	}
	trainer.batch = batch{src: src, samples: span(0, src.Len()), rate: 1, clip: 1}
	trainer.refresh()
	if err := trainer.gradients(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for i, p := range task.Network.Params {
		if p.Trainable {
			out[p.Name] = append([]float32(nil), trainer.sum.Param[i]...)
		}
	}
	var sum tally
	for i := range trainer.lanes {
		sum.add(trainer.lanes[i].tally)
	}
	return out, sum.score(trainer.heads[0]).Loss
}

// Where no gradient goes through the state, that of sequences in chunks is that of whole ones, whatever the length of a chunk, with a target
// at each step and at the last; the loss always is, and so is the gradient of what is behind the state.
func TestGradientsOfChunksAddUpToThoseOfTheSequence(t *testing.T) {
	const steps = 9
	near := cmpopts.EquateApprox(1e-4, 1e-6)
	for name, c := range map[string]cell{"delay": delay, "elman": elman} {
		for _, each := range []bool{false, true} {
			for _, distilled := range []float64{0, 0.4} {
				config := fastConfig()
				config.BatchSize, config.Distillation.Weight = 32, distilled
				src := sequences(21, steps, each)
				want, loss := gradientsOf(t, c, src, steps, 0, each, config)
				far := math.Inf(1)
				for chunk := 1; chunk < steps; chunk++ {
					what := fmt.Sprintf("%s, each step %t, distilled %g, chunks of %d", name, each, distilled, chunk)
					got, l := gradientsOf(t, c, src, steps, chunk, each, config)
					if diff := cmp.Diff(loss, l, near); diff != "" {
						t.Errorf("%s: loss (-whole +chunks)\n%s", what, diff)
					}
					if name == "delay" {
						if diff := cmp.Diff(want, got, near); diff != "" {
							t.Errorf("%s: gradients (-whole +chunks)\n%s", what, diff)
						}
						continue
					}
					if diff := cmp.Diff(want["out/kernel"], got["out/kernel"], near); diff != "" {
						t.Errorf("%s: gradients behind the state (-whole +chunks)\n%s", what, diff)
					}
					if chunk != 1 && chunk != steps/2 && chunk != steps-1 {
						continue
					}
					off := distance(want, got)
					if !(off < far) {
						t.Errorf("%s: gradients are off by %g, with shorter chunks by %g", what, off, far)
					}
					far = off
				}
			}
		}
	}
}

func distance(a, b map[string][]float32) float64 {
	sum := 0.0
	for name, values := range a {
		for i, v := range values {
			d := float64(v) - float64(b[name][i])
			sum += d * d
		}
	}
	return math.Sqrt(sum)
}

// adder holds the sum of what it heard.
func adder(b *tflitetest.Builder, x, state int32) (answer, next int32) {
	next = b.Add("next", b.Dense("in", x, numbers(1, held*heard, 0.5), nil, held, tflitetest.None), state, tflitetest.None)
	return b.Dense("out", next, numbers(4, 2*held, 0.1), numbers(5, 2, 0.1), 2, tflitetest.None), next
}

// What only the first step says is learned of sequences many chunks long, since the state is carried; validation does the same.
func TestWhatTheStateCarriesIsLearned(t *testing.T) {
	const steps, chunk, n = 200, 8, 256
	m, chunks := unrolled(t, adder, steps, chunk, false)
	src := &memory{shape: []int{steps, heard}, classes: 2}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		x := make([]float32, steps*heard)
		for k := range x {
			x[k] = float32(0.01 * random.NormFloat64())
		}
		x[0] += float32(2*(i%2) - 1)
		src.x, src.labels = append(src.x, x), append(src.labels, (i+1)%2)
	}
	task := Task{Train: src, Validation: src, Chunks: chunks}
	task.Network, task.Weights = compile(t, m)
	before, err := newTrainer(t, task, fastConfig()).Evaluate(src)
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, newTrainer(t, task, fastConfig()))
	if r.Validation.Accuracy < 0.95 || before.Accuracy > 0.6 || r.Training.Loss >= before.Loss {
		t.Errorf("accuracy %g before, %g after; loss %g, %g", before.Accuracy, r.Validation.Accuracy, before.Loss, r.Training.Loss)
	}
}

// The number of processors has no say, with everything that moves.
func TestTrainingInChunksDoesNotDependOnWorkers(t *testing.T) {
	const steps, chunk = 11, 4
	for _, each := range []bool{false, true} {
		for _, mode := range []RangeMode{Tracked, Learned} {
			var want []byte
			for _, workers := range []int{1, 3} {
				m, chunks := unrolled(t, elman, steps, chunk, each)
				src := sequences(150, steps, each)
				task := Task{Train: src, Validation: src, Workers: workers, Chunks: chunks}
				task.Network, task.Weights = compile(t, m)
				task.Teacher, _ = compile(t, m)
				quantizeChunks(t, &task, mode)
				config := fastConfig()
				config.Epochs, config.Distillation.Weight = 2, 0.5
				trainer := newTrainer(t, task, config)
				mustRun(t, trainer)
				got := outcome(t, trainer)
				if want == nil {
					want = got
				}
				if !bytes.Equal(want, got) {
					t.Errorf("each step %t, %s ranges: %d workers leave something else", each, mode, workers)
				}
			}
		}
	}
}

// quantizeChunks attaches ranges that hold what there is.
func quantizeChunks(t *testing.T, task *Task, mode RangeMode) {
	t.Helper()
	plan, err := quantize.NewPlan(task.Network.Graph, quantize.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ranges := make([]quantize.Range, len(plan.Groups))
	for g := range ranges {
		ranges[g] = quantize.Range{Min: -2, Max: 2}
	}
	var quants []*float.ActQuant
	if quants, err = plan.Attach(task.Network, plan.Params(ranges)); err != nil {
		t.Fatal(err)
	}
	for _, w := range task.Weights {
		if err := w.Quantize(w.Channels()); err != nil {
			t.Fatal(err)
		}
	}
	task.Ranges = &Ranges{Plan: plan, Quants: quants, Range: ranges, Mode: mode}
}

// Targets are held against whole sequences: as many as a chunk has steps are too few, and errors count no chunk's.
func TestTargetsOfAChunkAreNoneOfASequence(t *testing.T) {
	const steps, chunk = 9, 4
	m, chunks := unrolled(t, elman, steps, chunk, true)
	for _, size := range []int{chunk * answered, chunk, steps, answered, steps * answered} {
		src := sequences(4, steps, true)
		for i := range src.targets {
			src.targets[i] = numbers(uint64(i), size, 1)
		}
		task := Task{Train: src, Chunks: chunks}
		task.Network, task.Weights = compile(t, m)
		_, err := New(task, fastConfig())
		if size == steps*answered {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if want := fmt.Sprintf("has %d values a sample, output out 3 values at each of 9 positions", size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d values: %v, want %q", size, err, want)
		}
	}
}
