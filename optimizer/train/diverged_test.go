package train

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestDivergenceIsSaidInOneLine(t *testing.T) {
	const advice = "; try a lower learning rate (learningRate left out finds one), a warm-up or clipping gradients"
	for want, e := range map[string]DivergedError{
		"the network came to answer all samples alike, at a loss of 1.386":       {Loss: 1.38629, What: same},
		"the loss rose from 0.5 to 900, and the bias \"b\" grew most, 1.2 times": {Loss: 900, From: 0.5, Grown: 1.2, Layer: `bias "b"`, What: "loss"},
		"the loss rose from 0.5 to 900":                                          {Loss: 900, From: 0.5, Grown: 1.1, Layer: `bias "b"`, What: "loss"},
		"the gradient of operator 3 CONV_2D \"c\" is not finite (loss 2)":        {Loss: 2, Layer: `operator 3 CONV_2D "c"`, What: "gradient"},
		"the loss is not finite (loss NaN)":                                      {Loss: math.NaN(), What: "loss"},
	} {
		if got := e.Error(); got != "training diverged: "+want+advice {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Where training diverges by samples of large numbers it is their scale that is said, not a rate that would not help.
func TestTheScaleOfTheInputsIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		by   float32
		said bool
	}{"a million": {1e6, true}, "about one": {1, false}} {
		t.Run(name, func(t *testing.T) {
			task := Task{Train: bright(blobs(3, 64, 4), c.by, 0), Workers: 1}
			task.Network, task.Weights = compile(t, deep(2, 1))
			config := fastConfig()
			config.LearningRate = 1000
			_, err := newTrainer(t, task, config).Run(context.Background())
			var diverged *DivergedError
			if !errors.As(err, &diverged) {
				t.Fatalf("got %v, want a divergence", err)
			}
			if said := strings.Contains(err.Error(), `input "x" have a root mean square of 4.`) && strings.Contains(err.Error(), "preprocessing"); said != c.said || said == strings.Contains(err.Error(), "lower learning rate") {
				t.Errorf("said %v: %v", said, err)
			}
		})
	}
}

// A loss of a thousand times the first batch's is a divergence, one below it is not; nor is any before the first batch.
func TestALossIsComparedWithTheFirstBatch(t *testing.T) {
	for name, c := range map[string]struct {
		begun  bool
		loss   float64
		failed bool
	}{"just as far": {true, 500, false}, "beyond": {true, 501, true}, "before the first": {false, 501, false}} {
		trainer := newTrainer(t, quantizedTask(t, Frozen, 1), fastConfig())
		trainer.begun, trainer.firstLoss = c.begun, 0.5
		if err := trainer.compare(c.loss); (err != nil) != c.failed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A loss as good as none is a hundredth of one unit, of numbers a hundredth of their mean square in units of the targets' spread.
func TestANegligibleLossIsInTheUnitsOfTheAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		o    objective
		z    []float32
		want float64
	}{
		"numbers":                     {objective{}, []float32{3, -4, 0, 5}, 12.5},
		"in units of targets' spread": {objective{precision: []float64{4, 0.25}}, []float32{1, 2, 3, 4}, (4 + 1 + 36 + 4) / 4.0},
		"none":                        {objective{}, nil, 0},
	} {
		if got := c.o.size(c.z); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := rms([]float32{3, -4, 0, 5}); math.Abs(got-math.Sqrt(12.5)) > 1e-12 {
		t.Errorf("a root mean square of %v", got)
	}
	if got := rms(nil); got != 0 {
		t.Errorf("a root mean square of nothing of %v", got)
	}
}

// Nine of ten samples that are answered as the one before are a network that answers alike, eight are not. Only the first samples count.
func TestANetworkAnswersAlikeFromNineInTen(t *testing.T) {
	repeating := func(n int, others ...int) *memory { // n samples, all the same but for others
		src := blobs(3, n, 4)
		first := src.x[0]
		for i := range src.x {
			alike := true
			for _, k := range others {
				alike = alike && k != i
			}
			if alike {
				src.x[i] = first
			}
		}
		return src
	}
	late := make([]int, 20)
	for i := range late {
		late[i] = lookedAt + i
	}
	for name, c := range map[string]struct {
		src  *memory
		want bool
	}{
		"ten of ten":                {repeating(11), true},
		"nine of ten":               {repeating(11, 10), true},
		"eight of ten":              {repeating(11, 5), false},
		"two samples":               {repeating(2), true},
		"one sample":                {repeating(1), false},
		"others than are looked at": {repeating(lookedAt+20, late...), true},
		"seven others within those": {repeating(lookedAt, 1, 3, 5, 7), false},
	} {
		task := Task{Train: c.src, Workers: 1}
		task.Network, task.Weights = compile(t, deep(2, 1))
		trainer := newTrainer(t, task, fastConfig())
		trainer.start()
		dismiss := trainer.hire()
		got, err := trainer.alike(c.src, seq(c.src.Len()))
		dismiss()
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Two answers are one where they differ by a hundred-thousandth of their size, whatever that is.
func TestAnswersAreOneWithinTheirSize(t *testing.T) {
	for name, c := range map[string]struct {
		a, b []float32
		want bool
	}{
		"the same":          {[]float32{1, 2}, []float32{1, 2}, true},
		"of zeros":          {[]float32{0, 0}, []float32{0, 0}, true},
		"of large numbers":  {[]float32{1 << 20, 1 << 20}, []float32{1<<20 + 1, 1 << 20}, true},
		"of small numbers":  {[]float32{1e-6, 0}, []float32{2e-6, 0}, false},
		"of other numbers":  {[]float32{1, 2}, []float32{1.001, 2}, false},
		"of opposite signs": {[]float32{1, -1}, []float32{-1, 1}, false},
	} {
		if got := isOne(c.a, c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A loss of classes as good as none is a hundredth, of numbers a hundredth of the answers' mean square, whether targets or the original
// network say what they ought to be.
func TestANegligibleLossOfATask(t *testing.T) {
	classes := blobs(1, 64, 4)
	numbers := blobs(1, 64, 4)
	numbers.classes, numbers.labels = 0, nil
	for range numbers.x {
		numbers.targets = append(numbers.targets, []float32{1, 2})
	}
	bare := *numbers
	bare.targets = nil
	network, _ := compile(t, classifier(dense(2)))
	answers := network.NewExec(false)
	for i, x := range numbers.x[:network.MicroBatch] {
		copy(sampleOf(answers.Input(0), i, network.MicroBatch), x)
	}
	answers.Forward()
	size := rms(answers.Tensor(network.LossTensor(0)))
	for name, c := range map[string]struct {
		end   func(b *tflitetest.Builder, x int32) int32
		train *memory
		want  float64
	}{
		"classes":                {softmaxEnd, classes, leastLoss},
		"numbers":                {dense(2), numbers, leastLoss * size * size},
		"numbers of the teacher": {dense(2), &bare, leastLoss * size * size},
	} {
		task := Task{Train: c.train, Workers: 1}
		task.Network, task.Weights = compile(t, classifier(c.end))
		task.Teacher, _ = compile(t, classifier(c.end))
		trainer := newTrainer(t, task, fastConfig())
		trainer.start()
		dismiss := trainer.hire()
		got, err := trainer.negligible(c.train, seq(64))
		dismiss()
		if want := c.want * trainer.heads[0].scale; err != nil || math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s: %v, want %v (%v)", name, got, want, err)
		}
	}
}
