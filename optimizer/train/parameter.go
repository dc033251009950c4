package train

import (
	"errors"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/weight"
)

// parameter is one of the network's parameters that train.
type parameter struct {
	index  int // in Network.Params
	param  *float.Param
	tensor *weight.Tensor // nil: the parameter is its values
	groups []weight.Trainable
	// moments by group: of Adam the first and second, of SGD the velocity.
	first, second [][]float32
	squares       float64 // of the gradient in this step
	size          float64 // root mean square of the values before training
}

// bind pairs the network's parameters with the tensors that parametrize them and freezes the others.
func (t *Trainer) bind() error {
	n := t.task.Network
	bound := 0
	for i, p := range n.Params {
		tensor := t.task.Weights[p.Tensor]
		if tensor != nil {
			bound++
			if tensor.Len() != len(p.Value) {
				return fmt.Errorf("weights %q have %d values, the network's have %d", tensor.Name, tensor.Len(), len(p.Value))
			}
		}
		if tensor == nil && p.Kind == float.Constant {
			p.Trainable = false
		}
		if p.Trainable {
			t.params = append(t.params, &parameter{index: i, param: p, tensor: tensor, size: rms(p.Value)})
		} else if tensor != nil {
			tensor.Materialize(p.Value)
		}
	}
	if bound != len(t.task.Weights) {
		return errors.New("there are weights for tensors that are no parameters of the network")
	}
	if len(t.params) == 0 {
		return float.ErrNothingToTrain
	}
	n.Refresh()
	return nil
}

// regroup asks for the trainables again, which a change of masks may have replaced, and makes room for their moments.
func (p *parameter) regroup(grad []float32) {
	if p.tensor == nil {
		p.groups = []weight.Trainable{{
			Name: p.param.Name, Value: p.param.Value, Grad: grad, StepScale: 1, Decay: p.param.Kind != float.Bias,
		}}
	} else {
		p.groups = p.tensor.Trainables()
	}
	for k := len(p.first); k < len(p.groups); k++ {
		p.first = append(p.first, make([]float32, len(p.groups[k].Value)))
		p.second = append(p.second, make([]float32, len(p.groups[k].Value)))
	}
}

// materialize computes the effective weights the forward pass reads.
func (p *parameter) materialize(n *float.Network) {
	if p.tensor != nil {
		p.tensor.Materialize(p.param.Value)
	}
	n.RefreshParam(p.index)
}

// backward turns the gradient of the effective weights into that of the trainables.
func (p *parameter) backward(grad []float32) {
	if p.tensor != nil {
		p.tensor.Backward(grad)
	}
	p.squares = 0
	for _, g := range p.groups {
		p.squares += kernel.SumSquares(g.Grad)
	}
}

// update takes one step of the optimizer. Steps count from 1; clip multiplies the gradients.
func (p *parameter) update(c *Config, step int, rate, clip float64) {
	for k := range p.groups {
		g := &p.groups[k]
		if clip != 1 {
			kernel.Scale(g.Grad, float32(clip))
		}
		decay := 0.0
		if g.Decay {
			decay = rate * c.WeightDecay
		}
		if c.Optimizer == SGD {
			kernel.SGDStep(g.Value, g.Grad, p.first[k], g.Mask, kernel.SGD{
				Rate: float32(rate) * g.StepScale, Momentum: float32(c.Momentum), Decay: float32(decay),
			})
			continue
		}
		s := adamConstants(c, step, rate)
		s.Rate *= g.StepScale
		s.Decay = float32(decay)
		kernel.AdamStep(g.Value, g.Grad, p.first[k], p.second[k], g.Mask, s)
	}
	if p.tensor != nil {
		p.tensor.Project()
	}
}

// adamConstants are those of step number step, from 1.
func adamConstants(c *Config, step int, rate float64) kernel.Adam {
	return kernel.Adam{
		Rate:  float32(rate / (1 - math.Pow(c.Beta1, float64(step)))),
		Beta1: float32(c.Beta1), Beta2: float32(c.Beta2), Epsilon: float32(c.Epsilon),
		Correction: float32(1 / math.Sqrt(1-math.Pow(c.Beta2, float64(step)))),
	}
}
