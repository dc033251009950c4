package train

import (
	"errors"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
)

// lossKind is what a loss compares.
type lossKind uint8

const (
	none        lossKind = iota // only the teacher
	categorical                 // a label among the outputs, or a distribution over them
	logistic                    // a label of 0 or 1, one of several classes each yes or no, or probabilities
	squared                     // numbers
)

// objective is the loss of one sample, as a function of the loss tensor's values for it.
type objective struct {
	kind        lossKind
	teaching    lossKind // how the teacher is compared
	outputs     int
	beta        float64 // the network's SOFTMAX multiplies by it
	targets     int     // numbers to predict per sample, from Source.Target; 0: none
	inputs      bool    // the target is the input
	smoothing   float64
	weights     []float64 // by class; nil: all 1
	alpha       float64   // weight of the teacher
	temperature float64
}

// newObjective derives the loss from how the network ends and what the dataset offers.
func newObjective(n *float.Network, src dataset.Source, c *Config, teacher bool) (*objective, error) {
	end := n.Loss()
	perSample := n.Graph.Numel(end.Tensor) / n.MicroBatch
	o := &objective{
		outputs: perSample, beta: float64(end.Beta), smoothing: c.LabelSmoothing, weights: c.ClassWeights, temperature: c.Distillation.Temperature,
	}
	shape := n.Graph.Tensors[end.Tensor].Shape
	last := shape[len(shape)-1]
	classes, targets := src.Classes(), 0
	if classes == 0 {
		switch err := src.Target(0, make([]float32, perSample)); {
		case err == nil:
			targets = perSample
		case !errors.Is(err, dataset.ErrNoTarget):
			return nil, err
		}
	}
	switch {
	case classes > 0 && end.Ending == float.Softmax && last != perSample:
		return nil, fmt.Errorf("the network gives %d distributions a sample: labels per sample do not say which is meant", perSample/last)
	case classes > perSample && !(perSample == 1 && classes == 2):
		return nil, fmt.Errorf("the dataset has %d classes, the network %d outputs", classes, perSample)
	case classes > 0 && (end.Ending == float.Logistic || perSample == 1):
		o.kind = logistic
	case classes > 0:
		o.kind = categorical
	case targets > 0:
		o.kind, o.targets = map[float.Ending]lossKind{float.Plain: squared, float.Softmax: categorical, float.Logistic: logistic}[end.Ending], targets
	case n.Graph.Numel(n.Graph.Inputs[0]) == n.Graph.Numel(end.Tensor) && end.Ending == float.Plain:
		o.kind, o.inputs = squared, true
	}
	o.teaching = map[float.Ending]lossKind{float.Plain: squared, float.Softmax: categorical, float.Logistic: logistic}[end.Ending]
	if o.kind == categorical || o.kind == logistic {
		o.teaching = o.kind
	}
	if err := o.mix(c, teacher); err != nil {
		return nil, err
	}
	if o.weights != nil && (classes == 0 || len(o.weights) != classes) {
		return nil, fmt.Errorf("%d class weights for %d classes", len(o.weights), classes)
	}
	return o, nil
}

// mix decides how much of the loss is the teacher's.
func (o *objective) mix(c *Config, teacher bool) error {
	switch {
	case !teacher && o.kind == none:
		return errors.New("the dataset has neither labels nor numbers to predict: distillation from the original model needs none")
	case !teacher:
		o.alpha = 0
	case o.kind == none:
		o.alpha = 1
	default:
		o.alpha = c.Distillation.Weight
	}
	if o.alpha == 1 {
		o.kind = none
	}
	return nil
}

// truth is what is known of a sample.
type truth struct {
	label   int       // class, −1 if there is none
	target  []float32 // numbers to predict, or nil
	teacher []float32 // the teacher's loss tensor, or nil
}

// sample returns the loss of one sample and whether the answer is right, that is the label's, or without labels the teacher's.
// It writes the gradient with respect to z, times share, to dz; dz may be nil. work has room for two slices like z.
func (o *objective) sample(z []float32, want truth, dz []float32, share float64, work []float64) (loss float64, right bool) {
	clear(dz)
	if o.kind != none {
		hard := share * (1 - o.alpha)
		weight := 1.0
		if o.weights != nil && want.label >= 0 {
			weight = o.weights[want.label]
		}
		l := 0.0
		switch o.kind {
		case categorical:
			l = o.crossEntropy(z, want, dz, hard*weight, work)
		case logistic:
			l = o.binaryCrossEntropy(z, want, dz, hard*weight)
		case squared:
			l = squaredError(z, want.target, dz, hard)
		}
		loss += (1 - o.alpha) * weight * l
	}
	if o.alpha > 0 {
		loss += o.alpha * o.divergence(z, want.teacher, dz, share*o.alpha, work)
	}
	return loss, o.right(z, want)
}

// right compares the answer of z with the label's, or the teacher's.
func (o *objective) right(z []float32, want truth) bool {
	label := want.label
	if label < 0 && want.teacher != nil {
		label = answer(want.teacher)
	}
	return label >= 0 && answer(z) == label
}

// answer is the class with the largest value; of a single logit, whether it is positive.
func answer(z []float32) int {
	if len(z) == 1 {
		if z[0] > 0 {
			return 1
		}
		return 0
	}
	best := 0
	for i, v := range z {
		if v > z[best] {
			best = i
		}
	}
	return best
}

// crossEntropy is −Σ q·log softmax(β·z), q the label or target distribution with smoothing. Its gradient is β·(p − q).
func (o *objective) crossEntropy(z []float32, want truth, dz []float32, share float64, work []float64) float64 {
	p := work[:len(z)]
	logSum := softmax(p, z, o.beta)
	even, loss := o.smoothing/float64(len(z)), 0.0
	for i, v := range z {
		q := even
		switch {
		case o.targets > 0:
			q += (1 - o.smoothing) * float64(want.target[i])
		case i == want.label:
			q += 1 - o.smoothing
		}
		loss -= q * (o.beta*float64(v) - logSum)
		if dz != nil {
			dz[i] += float32(share * o.beta * (p[i] - q))
		}
	}
	return loss
}

// softmax writes the distribution of β·z to p and returns log Σ exp(β·z).
func softmax(p []float64, z []float32, beta float64) (logSum float64) {
	top := math.Inf(-1)
	for _, v := range z {
		top = max(top, beta*float64(v))
	}
	sum := 0.0
	for i, v := range z {
		p[i] = math.Exp(beta*float64(v) - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return top + math.Log(sum)
}

// binaryCrossEntropy is the mean over outputs of log(1 + exp z) − y·z. Its gradient is σ(z) − y.
func (o *objective) binaryCrossEntropy(z []float32, want truth, dz []float32, share float64) float64 {
	loss, n := 0.0, float64(len(z))
	for i, v := range z {
		y := 0.0
		switch {
		case o.targets > 0:
			y = float64(want.target[i])
		case len(z) == 1:
			y = float64(want.label)
		case i == want.label:
			y = 1
		}
		y = y*(1-o.smoothing) + o.smoothing/2
		loss += (softplus(float64(v)) - y*float64(v)) / n
		if dz != nil {
			dz[i] += float32(share * (sigmoid(float64(v)) - y) / n)
		}
	}
	return loss
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softplus is log(1 + exp x).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// squaredError is the mean of (z − y)².
func squaredError(z, y []float32, dz []float32, share float64) float64 {
	loss, n := 0.0, float64(len(z))
	for i, v := range z {
		d := float64(v) - float64(y[i])
		loss += d * d / n
		if dz != nil {
			dz[i] += float32(share * 2 * d / n)
		}
	}
	return loss
}

// divergence is how far z is from the teacher's answer t: T²·KL(softmax(βt/T) ‖ softmax(βz/T)) of distributions, the same of yes
// or no, the mean squared difference of numbers. The factor T² keeps gradients comparable across temperatures.
func (o *objective) divergence(z, t []float32, dz []float32, share float64, work []float64) float64 {
	heat, loss := o.temperature, 0.0
	switch o.teaching {
	case squared:
		return squaredError(z, t, dz, share)
	case logistic:
		n := float64(len(z))
		for i, v := range z {
			x, y := float64(v)/heat, sigmoid(float64(t[i])/heat)
			loss += heat * heat * (softplus(x) - y*x - entropy(y)) / n
			if dz != nil {
				dz[i] += float32(share * heat * (sigmoid(x) - y) / n)
			}
		}
		return loss
	}
	p, q, beta := work[:len(z)], work[len(z):2*len(z)], o.beta/heat
	logP, logQ := softmax(p, z, beta), softmax(q, t, beta)
	for i, v := range z {
		loss += heat * heat * q[i] * ((beta*float64(t[i]) - logQ) - (beta*float64(v) - logP))
		if dz != nil {
			dz[i] += float32(share * heat * heat * beta * (p[i] - q[i]))
		}
	}
	return loss
}

// entropy of a yes-or-no answer.
func entropy(y float64) float64 {
	if y <= 0 || y >= 1 {
		return 0
	}
	return -y*math.Log(y) - (1-y)*math.Log(1-y)
}
