package lineage

import (
	"context"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/kernel"
)

// SensitivitySamples is how many training samples, if there are as many, gradients are squared over.
const SensitivitySamples = 256

// sensitivity returns, by weight of every kernel, the mean squared gradient of the network's own log-likelihood: the diagonal of its
// Fisher information, with labels drawn from its answers, so that it needs none (SqueezeLLM, arXiv 2306.07629, weighs clusters so).
func (w *Work) sensitivity(ctx context.Context) (map[int][]float32, error) {
	return w.squaredGradients(ctx, likelihoodGradient)
}

// seed adds to gradient that of a loss at an output's loss tensor z of a sample.
type seed func(o *answer.Output, gradient, z []float32, sample int)

// squaredGradients returns, by weight of every kernel, the mean squared gradient of a loss over training samples.
func (w *Work) squaredGradients(ctx context.Context, loss seed) (map[int][]float32, error) {
	out := map[int][]float32{}
	samples, err := w.gradients(ctx, loss, func(grads *float.Grads) { w.addSquares(out, grads) })
	for _, square := range out {
		kernel.Scale(square, 1/float32(samples))
	}
	return out, err
}

// addSquares adds the squares of a sample's gradients by weight of every kernel.
func (w *Work) addSquares(squares map[int][]float32, grads *float.Grads) {
	for i, p := range w.net.Params {
		if _, ok := w.Tensors[p.Tensor]; !ok || grads.Param[i] == nil {
			continue
		}
		if squares[p.Tensor] == nil {
			squares[p.Tensor] = make([]float32, len(p.Value))
		}
		kernel.MulAdd(squares[p.Tensor], grads.Param[i], grads.Param[i])
	}
}

// gradients calls each with the gradients of a loss at one training sample after the other, and returns how many there were.
func (w *Work) gradients(ctx context.Context, loss seed, each func(grads *float.Grads)) (samples int, err error) {
	w.net.Refresh()
	exec, grads := w.net.NewExec(true), w.net.NewGrads()
	if err := exec.SetBatch(1); err != nil {
		return 0, err
	}
	inputs := make([][]float32, len(w.net.Graph.Inputs))
	for i := range inputs {
		inputs[i] = exec.Input(i)
	}
	drawn := w.run.draw(SensitivitySamples)
	feed, err := w.run.feedOf(w.network, w.net, drawn, true)
	if err != nil {
		return 0, err
	}
	outputs := w.run.outputs(w.network)
	for sample, at := range drawn {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := feed(sample, inputs); err != nil {
			return 0, err
		}
		exec.Forward()
		exec.ClearLossGrads()
		for i := range outputs {
			if o := &outputs[i]; o.Trained() {
				t := o.LossTensor(w.net.Graph)
				if slices.ContainsFunc(exec.Tensor(t), func(v float32) bool { return v-v != 0 }) {
					return 0, fmt.Errorf("output %s is NaN or infinite for training sample %d: scale samples as the network was trained (preprocessing), or remove that one", o.Name, at)
				}
				loss(o, exec.LossGrad(t), exec.Tensor(t), sample)
			}
		}
		for _, g := range grads.Param {
			clear(g)
		}
		exec.Backward(grads)
		each(grads)
	}
	return len(drawn), nil
}

// likelihoodGradient adds to gradient that of the negative log-likelihood of an answer drawn by the sample's number: of every row of
// logits a class, of yes or no one of them, of numbers one that is off by their spread. Draws follow the low-discrepancy sequence of
// the golden ratio, so that they are reproducible.
func likelihoodGradient(o *answer.Output, gradient, z []float32, sample int) {
	if gradient == nil {
		return
	}
	u := draws(sample)
	switch {
	case o.Loss == answer.CrossEntropy || o.Answers() && o.Activation == answer.Plain && o.Loss == answer.MeanSquaredError:
		width := len(z) / o.Positions
		row := make([]float32, width)
		for p := range o.Positions {
			copy(row, z[p*width:])
			softmax(row)
			row[drawn(row, u())]--
			for i, v := range row {
				gradient[p*width+i] += v / float32(o.Positions)
			}
		}
	case o.Loss == answer.BinaryCrossEntropy:
		for i, v := range z {
			p := 1 / (1 + math.Exp(-float64(v)))
			if u() < p {
				p--
			}
			gradient[i] += float32(p / float64(len(z)))
		}
	default:
		for i := range z {
			d := 1.0
			if o.Spread != nil {
				d /= o.Spread[i%len(o.Spread)]
			}
			if u() < 0.5 {
				d = -d
			}
			gradient[i] += float32(d / float64(len(z)))
		}
	}
}

// draws gives numbers in [0, 1): the first of a sample by its number, each further one after it.
func draws(sample int) func() float64 {
	u := float64(sample+1) * 0.6180339887498949
	return func() float64 {
		u -= float64(int(u))
		now := u
		u += 0.7548776662466927
		return now
	}
}

// drawn is the class at share u of a distribution, in [0, 1).
func drawn(p []float32, u float64) int {
	for c, v := range p {
		if u -= float64(v); u < 0 {
			return c
		}
	}
	return len(p) - 1
}

func softmax(x []float32) {
	largest := slices.Max(x)
	sum := 0.0
	for i, v := range x {
		e := math.Exp(float64(v - largest))
		x[i] = float32(e)
		sum += e
	}
	for i := range x {
		x[i] = float32(float64(x[i]) / sum)
	}
}
