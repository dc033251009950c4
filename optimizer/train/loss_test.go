package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/exec/float"
)

// TestLossGradientsMatchDifferences checks dL/dz of every loss by central differences.
func TestLossGradientsMatchDifferences(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	numbers := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(random.NormFloat64())
		}
		return v
	}
	shares := []float32{0.5, 0.2, 0.1, 0.15, 0.05}
	for _, c := range []struct {
		name string
		o    objective
		want truth
	}{
		{"cross-entropy", objective{scale: 1, answers: true, indexed: true, kind: categorical, outputs: 5, beta: 1}, truth{target: []float32{3}}},
		{"cross-entropy of a softmax with a factor", objective{scale: 1, answers: true, indexed: true, kind: categorical, outputs: 5, beta: 1.7}, truth{target: []float32{0}}},
		{"cross-entropy with smoothing and class weights", objective{scale: 1, answers: true, indexed: true, kind: categorical, outputs: 5, beta: 1, smoothing: 0.1, weights: []float64{1, 2, 3, 4, 5}}, truth{target: []float32{4}}},
		{"cross-entropy with a distribution", objective{scale: 1, answers: true, kind: categorical, outputs: 5, beta: 1}, truth{target: shares}},
		{"binary cross-entropy of one logit", objective{scale: 1, answers: true, kind: logistic, outputs: 1, beta: 1}, truth{target: []float32{1}}},
		{"binary cross-entropy, smoothed", objective{scale: 1, answers: true, kind: logistic, outputs: 1, beta: 1, smoothing: 0.2, weights: []float64{3, 1}}, truth{target: []float32{0}}},
		{"binary cross-entropy by class", objective{scale: 1, answers: true, indexed: true, kind: logistic, outputs: 5, beta: 1}, truth{target: []float32{2}}},
		{"binary cross-entropy with probabilities", objective{scale: 1, answers: true, kind: logistic, outputs: 5, beta: 1}, truth{target: shares}},
		{"binary cross-entropy by class at two positions", objective{scale: 1, answers: true, indexed: true, kind: logistic, outputs: 6, rows: 2, beta: 1}, truth{target: []float32{2, 0}}},
		{"cross-entropy at two positions", objective{scale: 1, answers: true, indexed: true, kind: categorical, outputs: 6, rows: 2, beta: 1}, truth{target: []float32{2, 0}}},
		{"cross-entropy at two positions, one-hot", objective{scale: 1, answers: true, kind: categorical, outputs: 6, rows: 2, beta: 1}, truth{target: []float32{0, 0, 1, 1, 0, 0}}},
		{"squared error of probabilities", objective{scale: 1, answers: true, indexed: true, kind: squared, outputs: 5, beta: 1}, truth{target: []float32{3}}},
		{"squared error by the targets' spread", objective{scale: 0.5, kind: squared, outputs: 2, beta: 1, precision: []float64{0.01, 100}}, truth{target: numbers(2)}},
		{"distillation at two positions", objective{scale: 2, answers: true, teaching: categorical, outputs: 6, rows: 2, beta: 1, alpha: 1, temperature: 2}, truth{teacher: numbers(6)}},
		{"squared error", objective{scale: 1, answers: true, kind: squared, outputs: 5, beta: 1}, truth{target: numbers(5)}},
		{"squared error of a weighted class", objective{scale: 1, answers: true, indexed: true, kind: squared, outputs: 5, beta: 1, weights: []float64{1, 2, 3, 4, 5}}, truth{target: []float32{3}}},
		{"binary cross-entropy of a weighted class", objective{scale: 1, answers: true, kind: logistic, outputs: 1, beta: 1, weights: []float64{3, 5}}, truth{target: []float32{1}}},
		{"distillation of yes or no at several outputs", objective{scale: 1, answers: true, teaching: logistic, outputs: 3, beta: 1, alpha: 1, temperature: 3}, truth{teacher: numbers(3)}},
		{"distillation alone", objective{scale: 1, answers: true, teaching: categorical, outputs: 5, beta: 1.3, alpha: 1, temperature: 3}, truth{teacher: numbers(5)}},
		{"distillation mixed with labels", objective{scale: 1, answers: true, indexed: true, kind: categorical, teaching: categorical, outputs: 5, beta: 1, alpha: 0.3, temperature: 2}, truth{target: []float32{1}, teacher: numbers(5)}},
		{"distillation of yes or no", objective{scale: 1, answers: true, kind: logistic, teaching: logistic, outputs: 1, beta: 1, alpha: 0.6, temperature: 4}, truth{target: []float32{1}, teacher: numbers(1)}},
		{"distillation of numbers", objective{scale: 1, answers: true, teaching: squared, outputs: 5, beta: 1, alpha: 1, temperature: 2}, truth{teacher: numbers(5)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const share, h = 0.25, 1.0 / 64
			z, dz, work := numbers(c.o.outputs), make([]float32, c.o.outputs), make([]float64, 2*c.o.outputs)
			c.o.rows, c.o.width = max(1, c.o.rows), c.o.outputs/max(1, c.o.rows)
			c.o.sample(z, c.want, dz, share, work)
			for i := range z {
				at := func(d float32) float64 {
					centre := z[i]
					z[i] += d
					loss, _ := c.o.sample(z, c.want, nil, 0, work)
					z[i] = centre
					return loss
				}
				want := share * (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
				if math.Abs(float64(dz[i])-want) > 1e-5 {
					t.Errorf("output %d: gradient %v, differences give %v", i, dz[i], want)
				}
			}
		})
	}
}

// A target in thousands counts as one in hundredths does: squared errors are those in units of its spread.
func TestSquaredErrorsAreInUnitsOfTheSpread(t *testing.T) {
	network, _ := compile(t, classifier(dense(2)))
	config := DefaultConfig()
	out := answer.Output{Loss: answer.MeanSquaredError, Target: 0, Weight: 1, Scale: 1, Positions: 1, Spread: []float64{100, 0.5}}
	o, err := newObjective(network, nil, &out, 0, &config, false)
	if err != nil {
		t.Fatal(err)
	}
	loss, _ := o.sample([]float32{1000, 3}, truth{target: []float32{700, 2}}, nil, 0, make([]float64, 8))
	if want := (3.0*3 + 2*2) / 2; math.Abs(loss-want) > 1e-6 {
		t.Errorf("loss %v, want %v", loss, want)
	}
}

// The accuracy is the share of right answers among all that samples give; without answers it is −1.
func TestScoresAreMeans(t *testing.T) {
	sum := tally{}
	sum.add(tally{loss: 3, right: 2, samples: 1})
	sum.add(tally{loss: 1, right: 4, samples: 3})
	for name, c := range map[string]struct {
		o    objective
		want Score
	}{
		"one of several classes at 2 places": {objective{answers: true, indexed: true, outputs: 6, rows: 2}, Score{1, 0.75}},
		"yes or no of 6":                     {objective{answers: true, outputs: 6, rows: 2}, Score{1, 0.25}},
		"numbers":                            {objective{outputs: 6, rows: 2}, Score{1, -1}},
	} {
		if got := sum.score(&c.o); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := (tally{}).score(&objective{answers: true, outputs: 1, rows: 1}); got != (Score{}) {
		t.Errorf("of no samples: %+v", got)
	}
}

func TestLossesHaveTheirKnownValues(t *testing.T) {
	const log3 = 1.0986122886681098
	entropyOf := func(p float64) float64 { return -p*math.Log(p) - (1-p)*math.Log(1-p) }
	work := make([]float64, 12)
	for _, c := range []struct {
		name  string
		o     objective
		z     []float32
		want  truth
		loss  float64
		right int
	}{
		{"cross-entropy of even logits is log n", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 1}, []float32{1, 1, 1, 1}, truth{target: []float32{0}}, math.Log(4), 1},
		{"cross-entropy of a far logit stays finite", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 1}, []float32{-1000, 1000}, truth{target: []float32{0}}, 2000, 0},
		{"a class weight multiplies", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 1, weights: []float64{1, 3}}, []float32{0, 0}, truth{target: []float32{1}}, 3 * math.Log(2), 0},
		{"binary cross-entropy at 0 is log 2", objective{scale: 1, answers: true, kind: logistic, beta: 1}, []float32{0}, truth{target: []float32{1}}, math.Log(2), 0},
		{"binary cross-entropy of a far logit stays finite", objective{scale: 1, answers: true, kind: logistic, beta: 1}, []float32{800}, truth{target: []float32{0}}, 800, 0},
		{"mean squared error", objective{scale: 1, kind: squared, beta: 1}, []float32{1, 2}, truth{target: []float32{0, 4}}, 2.5, 0},
		{"a student like its teacher loses nothing", objective{scale: 1, answers: true, teaching: categorical, beta: 1, alpha: 1, temperature: 2}, []float32{1, 2, 3}, truth{teacher: []float32{1, 2, 3}}, 0, 1},
		{"the same of yes or no", objective{scale: 1, answers: true, teaching: logistic, beta: 1, alpha: 1, temperature: 2}, []float32{1.5}, truth{teacher: []float32{1.5}}, 0, 1},
		{"the mean of rows", objective{scale: 1, answers: true, indexed: true, simplex: true, kind: categorical, rows: 2, beta: 1}, []float32{0, 0, log3, 0}, truth{target: []float32{1, 0}}, (math.Log(2) + math.Log(4.0/3)) / 2, 1},
		{"the mean of rows of distributions", objective{scale: 1, answers: true, kind: categorical, teaching: categorical, rows: 2, beta: 1}, []float32{0, 0, 0, log3}, truth{target: []float32{0.5, 0.5, 0, 1}}, (math.Log(2) + math.Log(4.0/3)) / 2, 2},
		{"a scale multiplies", objective{scale: 3, kind: squared, beta: 1}, []float32{1, 2}, truth{target: []float32{0, 4}}, 7.5, 0},
		{"the softmax's factor multiplies logits", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 2}, []float32{0, log3}, truth{target: []float32{0}}, math.Log(10), 0},
		{"smoothing spreads a label over all classes", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 1, smoothing: 0.2}, []float32{log3, 0}, truth{target: []float32{0}}, 0.9*math.Log(4.0/3) + 0.1*math.Log(4), 1},
		{"smoothing of a distribution", objective{scale: 1, answers: true, kind: categorical, teaching: categorical, beta: 1, smoothing: 0.2}, []float32{log3, 0}, truth{target: []float32{1, 0}}, 0.9*math.Log(4.0/3) + 0.1*math.Log(4), 1},
		{"smoothing of yes or no", objective{scale: 1, answers: true, kind: logistic, beta: 1, smoothing: 0.2}, []float32{log3}, truth{target: []float32{1}}, math.Log(4) - 0.9*math.Log(3), 1},
		{"yes or no of several classes", objective{scale: 1, answers: true, kind: logistic, teaching: logistic, beta: 1}, []float32{log3, 0, -log3, log3}, truth{target: []float32{1, 0, 0, 0}}, (2*math.Log(4.0/3) + math.Log(2) + math.Log(4)) / 4, 3},
		{"yes or no by class, at two positions", objective{scale: 1, answers: true, indexed: true, kind: logistic, rows: 2, beta: 1}, []float32{-99, 99, -99, 99, -99, -99}, truth{target: []float32{1, 0}}, 0, 2},
		{"squared error by class, at two positions", objective{scale: 1, answers: true, indexed: true, kind: squared, rows: 2, beta: 1}, []float32{0, 1, 0, 1, 0, 0}, truth{target: []float32{1, 0}}, 0, 2},
		{"squared error of a weighted class", objective{scale: 1, answers: true, indexed: true, kind: squared, beta: 1, weights: []float64{1, 3}}, []float32{1, 0}, truth{target: []float32{1}}, 3, 0},
		{"a weighted yes", objective{scale: 1, answers: true, kind: logistic, beta: 1, weights: []float64{1, 3}}, []float32{0}, truth{target: []float32{1}}, 3 * math.Log(2), 0},
		{"the class of a distribution is weighted", objective{scale: 1, answers: true, kind: categorical, teaching: categorical, beta: 1, weights: []float64{1, 3}}, []float32{0, 0}, truth{target: []float32{0.25, 0.75}}, 3 * math.Log(2), 0},
		{"labels and teacher are mixed", objective{scale: 1, answers: true, indexed: true, kind: categorical, teaching: categorical, beta: 1, alpha: 0.25, temperature: 1}, []float32{0, 0}, truth{target: []float32{0}, teacher: []float32{log3, 0}}, 0.75*math.Log(2) + 0.25*(math.Log(2)-entropyOf(0.75)), 1},
		{"a teacher counts by the square of the temperature", objective{scale: 1, answers: true, teaching: categorical, beta: 1, alpha: 1, temperature: 2}, []float32{0, 0}, truth{teacher: []float32{2 * log3, 0}}, 4 * (math.Log(2) - entropyOf(0.75)), 1},
		{"the same of yes or no at two outputs", objective{scale: 1, answers: true, teaching: logistic, beta: 1, alpha: 1, temperature: 2}, []float32{0, 2 * log3}, truth{teacher: []float32{2 * log3, 2 * log3}}, 2 * (math.Log(2) - entropyOf(0.75)), 1},
		{"a teacher's rows are distributions of their own", objective{scale: 1, answers: true, simplex: true, teaching: categorical, rows: 2, beta: 1, alpha: 1, temperature: 2}, []float32{1, 2, 3, 1}, truth{teacher: []float32{11, 12, 23, 21}}, 0, 2},
		{"a teacher's numbers", objective{scale: 1, teaching: squared, beta: 1, alpha: 1, temperature: 2}, []float32{1, 2}, truth{teacher: []float32{0, 4}}, 2.5, 0},
		{"a teacher that is all but sure of yes", objective{scale: 1, answers: true, teaching: logistic, beta: 1, alpha: 1, temperature: 1}, []float32{0}, truth{teacher: []float32{1000}}, math.Log(2), 0},
		{"a teacher that is all but sure of no", objective{scale: 1, answers: true, teaching: logistic, beta: 1, alpha: 1, temperature: 1}, []float32{0}, truth{teacher: []float32{-1000}}, math.Log(2), 1},
		{"yes is above the threshold, not at it", objective{scale: 1, answers: true, kind: squared, teaching: squared, beta: 1, threshold: 0.75}, []float32{0.75}, truth{target: []float32{1}}, 0.0625, 0},
		{"a teacher's yes is, too", objective{scale: 1, answers: true, teaching: logistic, beta: 1, alpha: 1, temperature: 1, threshold: 0.75}, []float32{0.5}, truth{teacher: []float32{0.5}}, 0, 1},
		{"of equal classes the first is chosen", objective{scale: 1, answers: true, indexed: true, kind: categorical, beta: 1}, []float32{0, 0}, truth{target: []float32{1}}, math.Log(2), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.rows, c.o.outputs = max(1, c.o.rows), len(c.z)
			c.o.width = c.o.outputs / c.o.rows
			loss, right := c.o.sample(c.z, c.want, nil, 0, work)
			if !(math.Abs(loss-c.loss) <= 1e-7*max(1, c.loss)) || right != c.right {
				t.Errorf("loss %v, right %v; want %v, %v", loss, right, c.loss, c.right)
			}
		})
	}
}

// The accuracy that is shown is that of the output that has a target, wherever it stands.
func TestTheOutputWithATargetComesFirst(t *testing.T) {
	m := classifier(twoEnds)
	task := Task{Train: blobs(1, 64, 4)}
	task.Network, task.Weights = compile(t, m)
	task.Teacher, _ = compile(t, m)
	trainer := newTrainer(t, task, fastConfig())
	if len(trainer.heads) != 2 || trainer.heads[0].output != 1 || trainer.heads[1].output != 0 {
		t.Errorf("%d outputs, the first is number %d", len(trainer.heads), trainer.heads[0].output)
	}
}

// Class weights are of the dataset's classes, of which the network may have more, and one logit says yes above 0, where a probability does above
// the threshold.
func TestObjectivesOfOutputs(t *testing.T) {
	softmax, _ := compile(t, classifier(softmaxEnd))
	one, _ := compile(t, classifier(dense(1)))
	weights := []float64{1, 2}
	for name, c := range map[string]struct {
		network   *float.Network
		out       answer.Output
		classes   int
		weighted  bool
		threshold float32
	}{
		"one of two classes":    {softmax, answer.Output{Kind: answer.Classes, Loss: answer.CrossEntropy, Positions: 1, Classes: 4}, 2, true, 0},
		"one of three":          {softmax, answer.Output{Kind: answer.Classes, Loss: answer.CrossEntropy, Positions: 1, Classes: 4}, 3, false, 0},
		"yes or no by a logit":  {one, answer.Output{Kind: answer.Binary, Loss: answer.BinaryCrossEntropy, Positions: 1, Threshold: 0.5, Activation: answer.Sigmoid}, 2, true, 0},
		"yes or no by a number": {one, answer.Output{Kind: answer.Binary, Loss: answer.MeanSquaredError, Positions: 1, Threshold: 0.5, Activation: answer.Chance}, 2, true, 0.5},
		"several yes or no":     {softmax, answer.Output{Kind: answer.MultiLabel, Loss: answer.BinaryCrossEntropy, Positions: 4, Activation: answer.Sigmoid}, 2, false, 0},
		"numbers":               {softmax, answer.Output{Kind: answer.Values, Loss: answer.MeanSquaredError}, 2, false, 0},
	} {
		config := fastConfig()
		config.ClassWeights = weights
		c.out.Weight, c.out.Scale = 3, 0.5
		o, err := newObjective(c.network, nil, &c.out, c.classes, &config, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if o.scale != 1.5 {
			t.Errorf("%s: its loss counts %v times", name, o.scale)
		}
		if (o.weights != nil) != c.weighted || o.threshold != c.threshold {
			t.Errorf("%s: class weights %v, threshold %v", name, o.weights, o.threshold)
		}
	}
}
