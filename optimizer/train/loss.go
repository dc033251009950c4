package train

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/stream"
)

// lossKind is what a loss compares.
type lossKind uint8

const (
	none        lossKind = iota // only the teacher
	categorical                 // a label among the outputs, or a distribution over them
	logistic                    // a label of 0 or 1, one of several classes each yes or no, or probabilities
	squared                     // numbers
)

// objective is the loss of one output, of one sample, as a function of the loss tensor's values for it: rows of width values.
type objective struct {
	kind        lossKind
	teaching    lossKind // how the teacher is compared
	output      int      // of the network
	tensor      int      // loss tensor
	outputs     int      // values a sample
	rows, width int
	simplex     bool    // one class is chosen for every row
	beta        float64 // the network's SOFTMAX multiplies by it
	target      int     // among the dataset's; −1: none
	indexed     bool    // the target is a class for every row, else a value for each of the outputs
	inputs      bool    // the target is an input
	input       int     // which
	answers     bool    // there is a class to choose
	threshold   float32 // above it a single value says yes
	smoothing   float64
	weights     []float64 // by class; nil: all 1
	precision   []float64 // of squared errors, by the last dimension: what they are multiplied by; nil: 1
	scale       float64   // of the whole loss
	alpha       float64   // weight of the teacher
	temperature float64
}

// newObjective turns an output's description into its loss.
func newObjective(n *float.Network, chunks *stream.Chunks, out *answer.Output, classes int, c *Config, teacher bool) (*objective, error) {
	o := &objective{
		output: out.Index, tensor: out.LossTensor(n.Graph), beta: out.Beta, target: out.Target, indexed: out.Indexed, inputs: out.Kind == answer.Reconstruction, input: out.Input,
		answers: out.Answers(), smoothing: c.LabelSmoothing, temperature: c.Distillation.Temperature, scale: out.Weight * out.Scale,
	}
	o.outputs = chunks.Whole(n.Graph.Numel(o.tensor) / n.MicroBatch)
	shape := n.Graph.Tensors[o.tensor].Shape
	o.width = 1 // of a scalar
	if len(shape) > 0 {
		o.width = max(1, shape[len(shape)-1])
	}
	o.rows = o.outputs / o.width
	for _, s := range out.Spread {
		o.precision = append(o.precision, 1/(s*s))
	}
	kinds := map[answer.Loss]lossKind{answer.CrossEntropy: categorical, answer.BinaryCrossEntropy: logistic, answer.MeanSquaredError: squared}
	o.teaching = kinds[out.Loss]
	if out.Target >= 0 || o.inputs {
		o.kind = kinds[out.Loss]
	}
	if o.inputs {
		o.target = -1
	}
	if err := o.mix(out, c, teacher); err != nil {
		return nil, err
	}
	if out.Activation != answer.Sigmoid {
		o.threshold = out.Threshold
	}
	o.simplex = out.Answers() && out.Positions == o.rows && o.width > 1
	o.answers = o.answers && (o.kind != none || o.teaching != squared)
	if by := out.Kind == answer.Classes || out.Kind == answer.Binary || o.kind == categorical; by && classes == len(c.ClassWeights) && o.kind != none {
		o.weights = c.ClassWeights
	}
	return o, nil
}

// of is the loss of the new steps of a chunk, so that those of all chunks add up to the sequence's.
func (o *objective) of(c *stream.Chunks, chunk int) objective {
	part := *o
	if c == nil || !c.Each {
		return part
	}
	part.outputs, part.rows = o.outputs/c.Steps*c.New(chunk), o.rows/c.Steps*c.New(chunk)
	part.scale = o.scale * float64(c.New(chunk)) / float64(c.Steps)
	if len(o.precision) == o.outputs && o.outputs > o.width { // a number of each step has its own
		per := o.outputs / c.Steps
		part.precision = o.precision[(c.Begin(chunk)+c.Chunk-c.New(chunk))*per:][:part.outputs]
	}
	return part
}

// mix decides how much of the loss is the teacher's.
func (o *objective) mix(out *answer.Output, c *Config, teacher bool) error {
	switch {
	case !teacher && o.kind == none:
		return fmt.Errorf("the dataset has neither labels nor numbers to predict for output %s: distillation from the original model needs none", out.Name)
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
	target  []float32 // a class for every row, or a value for each output; nil: none
	teacher []float32 // the teacher's loss tensor, or nil
}

// sample returns the loss of one sample and in how many rows the answer is right, that is the target's, or without one the teacher's.
// It adds the gradient with respect to z, times share, to dz; dz may be nil. work has room for two slices like z.
func (o *objective) sample(z []float32, want truth, dz []float32, share float64, work []float64) (loss float64, right int) {
	parts := o.parts()
	share *= o.scale / float64(parts)
	for p := range parts {
		row, d := part(z, p, parts), part(dz, p, parts)
		if o.kind != none {
			l, weight := o.labelled(row, part(want.target, p, parts), d, share*(1-o.alpha), work)
			loss += (1 - o.alpha) * weight * l
		}
		if o.alpha > 0 {
			loss += o.alpha * o.divergence(row, part(want.teacher, p, parts), d, share*o.alpha, work)
		}
	}
	return loss * o.scale / float64(parts), o.right(z, want)
}

// parts is how many pieces of a sample have a loss of their own, of which the mean counts: rows of distributions. Yes or no and numbers
// are taken together.
func (o *objective) parts() int {
	if o.kind == categorical || o.teaching == categorical {
		return max(1, o.rows)
	}
	return 1
}

// part is piece p of values; nil of nil.
func part(x []float32, p, parts int) []float32 {
	if parts == 1 {
		return x
	}
	n := len(x) / parts
	return x[p*n : (p+1)*n]
}

// labelled is the loss against a target, and the weight of its class.
func (o *objective) labelled(z, target, dz []float32, share float64, work []float64) (loss, weight float64) {
	weight = 1
	if o.weights != nil {
		weight = o.weights[o.class(z, target)]
	}
	switch o.kind {
	case categorical:
		return o.crossEntropy(z, target, dz, share*weight, work), weight
	case logistic:
		return o.binaryCrossEntropy(z, target, dz, share*weight), weight
	default:
		return o.squaredError(z, o.goal(z, target, work), dz, share*weight), weight
	}
}

// class is the class that a target names for values z.
func (o *objective) class(z, target []float32) int {
	if o.indexed || len(z) == 1 {
		return int(target[0])
	}
	return o.choice(target, 0.5)
}

// goal is a target as a value for each of z.
func (o *objective) goal(z, target []float32, work []float64) []float64 {
	y := work[:len(z)]
	if !o.indexed {
		for i, v := range target {
			y[i] = float64(v)
		}
		return y
	}
	clear(y)
	for r, class := range target {
		y[r*o.width+int(class)] = 1
	}
	return y
}

// right counts the rows in which the answer of z is the target's, or the teacher's.
func (o *objective) right(z []float32, want truth) int {
	count := 0
	of := want.target
	if of == nil {
		of = want.teacher
	}
	if of == nil || !o.answers {
		return 0
	}
	width := len(z) / o.choices()
	for r := range o.choices() {
		got, wanted := o.choice(z[r*width:(r+1)*width], o.threshold), 0
		switch {
		case want.target != nil && o.indexed:
			wanted = int(of[r])
		case want.target != nil:
			wanted = o.choice(of[r*width:(r+1)*width], 0.5)
		default:
			wanted = o.choice(of[r*width:(r+1)*width], o.threshold)
		}
		if got == wanted {
			count++
		}
	}
	return count
}

// choices is how many classes are chosen for a sample.
func (o *objective) choices() int {
	if o.teaching != categorical && !o.indexed && !o.simplex {
		return o.outputs
	}
	return o.rows
}

// choice is the class with the largest value; of a single value, whether it is above the threshold.
func (o *objective) choice(z []float32, threshold float32) int {
	if len(z) == 1 {
		if z[0] > threshold {
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
func (o *objective) crossEntropy(z, target, dz []float32, share float64, work []float64) float64 {
	p := work[:len(z)]
	logSum := softmax(p, z, o.beta)
	even, loss := o.smoothing/float64(len(z)), 0.0
	for i, v := range z {
		q := even
		switch {
		case !o.indexed:
			q += (1 - o.smoothing) * float64(target[i])
		case i == int(target[0]):
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
func (o *objective) binaryCrossEntropy(z, target, dz []float32, share float64) float64 {
	loss, n := 0.0, float64(len(z))
	width := len(z) / len(target) // of a row, where the target is a class for each
	for i, v := range z {
		y := 0.0
		switch {
		case !o.indexed:
			y = float64(target[i])
		case i%width == int(target[i/width]):
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

// squaredError is the mean of (z − y)², each divided by the variance of its target where that is known.
func (o *objective) squaredError(z []float32, y []float64, dz []float32, share float64) float64 {
	loss, n := 0.0, float64(len(z))
	for i, v := range z {
		d, by := float64(v)-y[i], 1.0
		if o.precision != nil {
			by = o.precision[i%len(o.precision)]
		}
		loss += d * d / n * by
		if dz != nil {
			dz[i] += float32(share * 2 * d / n * by)
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
		y := work[:len(z)]
		for i, v := range t {
			y[i] = float64(v)
		}
		return o.squaredError(z, y, dz, share)
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
