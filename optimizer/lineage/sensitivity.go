package lineage

import (
	"context"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/kernel"
)

// sensitivitySamples is how many training samples gradients are squared over.
const sensitivitySamples = 256

// sensitivity returns, by weight of every kernel, the mean squared gradient of the network's own log-likelihood: the diagonal of its
// Fisher information, with labels drawn from its answers, so that it needs none (SqueezeLLM, arXiv 2306.07629, weighs clusters so).
func (w *Work) sensitivity(ctx context.Context) (map[int][]float32, error) {
	w.net.Refresh()
	exec, grads := w.net.NewExec(true), w.net.NewGrads()
	if err := exec.SetBatch(1); err != nil {
		return nil, err
	}
	out := map[int][]float32{}
	for i, p := range w.net.Params {
		if _, ok := w.Tensors[p.Tensor]; ok && grads.Param[i] != nil {
			out[p.Tensor] = make([]float32, len(p.Value))
		}
	}
	drawn := w.run.draw(sensitivitySamples)
	for sample, at := range drawn {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, err := w.run.Data.Train.Read(at, exec.Input(0)); err != nil {
			return nil, err
		}
		exec.Forward()
		likelihoodGradient(exec.LossGrad(w.net.LossTensor(0)), exec.Tensor(w.net.LossTensor(0)), sample)
		for _, g := range grads.Param {
			clear(g)
		}
		exec.Backward(grads)
		for i, p := range w.net.Params {
			if square := out[p.Tensor]; square != nil && grads.Param[i] != nil {
				kernel.MulAdd(square, grads.Param[i], grads.Param[i])
			}
		}
	}
	for _, square := range out {
		kernel.Scale(square, 1/float32(len(drawn)))
	}
	return out, nil
}

// likelihoodGradient fills gradient with that of −log softmax(logits) at a class drawn by the sample's number from the low-discrepancy
// sequence of the golden ratio, so that the draw is reproducible.
func likelihoodGradient(gradient, logits []float32, sample int) {
	copy(gradient, logits)
	softmax(gradient)
	u := float64(sample+1) * 0.6180339887498949
	u -= float64(int(u))
	drawn := len(gradient) - 1
	for c, p := range gradient {
		if u -= float64(p); u <= 0 {
			drawn = c
			break
		}
	}
	gradient[drawn]--
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
