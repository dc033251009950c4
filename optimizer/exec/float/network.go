package float

import (
	"errors"
	"sync"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/tflite"
)

// Kind says what part a parameter plays.
type Kind uint8

const (
	// Kernel is the weight of a CONV_2D or TRANSPOSE_CONV, [outputs, height, width, inputs].
	Kernel Kind = iota
	// Depthwise is the weight of a DEPTHWISE_CONV_2D, [1, height, width, outputs].
	Depthwise
	// Dense is the weight of a FULLY_CONNECTED, [outputs, inputs].
	Dense
	// Bias is the bias of any of them, [outputs].
	Bias
	// Constant is any other float constant an operator reads, such as the addend of an ADD or the slopes of a PRELU.
	Constant
	// Table is the rows a GATHER chooses from, [ids, …]: an embedding.
	Table
)

func (k Kind) String() string {
	return [...]string{"kernel", "depthwise kernel", "dense weights", "bias", "constant", "table"}[k]
}

// Param is a float constant of the model that the gradient can be taken with respect to.
type Param struct {
	Tensor int // index in the model's subgraph
	Node   int // the first operator that reads it
	Name   string
	Kind   Kind
	Shape  []int
	Axis   int // the dimension output channels lie on; for a Constant the last
	// Value is what the forward pass computes with. After changing it call Network.Refresh.
	Value []float32
	// Trainable reports whether a gradient path to the loss exists. Clearing it before NewExec saves computing the gradient.
	Trainable bool
}

// ActQuant is the fake quantization of an activation: real = Scale·(q − ZeroPoint), q in [−128, 127], or in [−32768, 32767] where it is
// Wide. Tensors that must share one quantization share one object. Its fields may change between steps, not during one.
type ActQuant struct {
	Scale     float32
	ZeroPoint int32
	Wide      bool
	// Learn asks Backward for the gradients with respect to Scale and ZeroPoint. It must not change after NewExec.
	Learn bool
}

// Network is a model compiled for execution in micro-batches.
type Network struct {
	Graph      *ir.Graph // parsed at MicroBatch
	MicroBatch int
	Params     []*Param // in order of first use
	// Act holds the fake quantization of every tensor, by index; nil leaves it float. Entries of constants apply too. All
	// entries must be set before NewExec, and by one goroutine.
	Act []*ActQuant

	model     *tflite.Model
	constants []*constant // by tensor, nil for activations
	ends      []ir.Ending // by model output
	losses    []int       // the loss tensors, each once
	reaches   []bool      // by tensor: a differentiable path to a loss tensor exists

	inputGradients bool // tests: the gradients of the model's inputs are wanted, too

	full     *program         // at MicroBatch
	mutex    sync.Mutex       // of programs and constants' lazily made forms
	programs map[int]*program // at other batch sizes
}

// program is the network's operators at one batch size.
type program struct {
	graph  *ir.Graph
	layers []layer // by node
}

// Compile parses a float model. microBatch is the number of samples an Exec runs at once; 0 chooses one (see AutoMicroBatch). An
// operator this package cannot execute is an error naming it; so is, as an *ir.BatchError, a batch the model cannot be
// run at.
func Compile(m *tflite.Model, microBatch int) (*Network, error) {
	if microBatch <= 0 {
		var err error
		if microBatch, err = AutoMicroBatch(m); err != nil {
			return nil, err
		}
	}
	g, err := ir.Parse(m, microBatch)
	if err != nil {
		return nil, err
	}
	n := &Network{Graph: g, MicroBatch: microBatch, Act: make([]*ActQuant, len(g.Tensors)), model: m, programs: map[int]*program{}}
	if err := n.readConstants(g, g.Nodes); err != nil {
		return nil, err
	}
	p, err := n.compile(g)
	if err != nil {
		return nil, err
	}
	n.full = p
	n.findLosses()
	n.Refresh()
	return n, nil
}

// cacheFloats is the size of an activation, in floats, that a micro-batch may have. What a forward pass keeps for the backward pass should
// stay near: at twice this size DS-CNN-L trains 7 % and MobileNetV1 0.25 10 % slower. Far below it, weights are read too often.
const cacheFloats = 144 << 10

// largeWeights is the size of a kernel, in floats, that leaves an L2 cache between micro-batches whatever their size: more samples at
// once then pay for loading it again.
const largeWeights = 256 << 10

// AutoMicroBatch returns the micro-batch Compile chooses by default: the power of two, at most 16, that keeps the largest
// activation within about half a megabyte, or a whole one where a kernel is large; the file's batch if the model cannot be run at another. It
// depends on nothing but the model, so that results are reproducible.
func AutoMicroBatch(m *tflite.Model) (int, error) {
	g, err := ir.Parse(m, 1)
	var fixed *ir.BatchError
	if errors.As(err, &fixed) {
		return fixed.FileBatch, nil
	}
	if err != nil {
		return 0, err
	}
	largest, limit := 1, cacheFloats
	for t := range g.Tensors {
		if g.Tensors[t].Const == nil {
			largest = max(largest, g.Tensors[t].Floats())
		} else if g.Numel(t) >= largeWeights {
			limit = 2 * cacheFloats
		}
	}
	best := 1
	for best < 16 && 2*best*largest <= limit {
		best *= 2
	}
	if _, err := ir.Parse(m, best); errors.As(err, &fixed) {
		return fixed.FileBatch, nil
	}
	return best, nil
}

// program returns the operators compiled for a batch of k samples.
func (n *Network) program(k int) (*program, error) {
	if k == n.MicroBatch {
		return n.full, nil
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if p := n.programs[k]; p != nil {
		return p, nil
	}
	g, err := ir.Parse(n.model, k)
	if err != nil {
		return nil, err
	}
	p, err := n.compile(g)
	if err != nil {
		return nil, err
	}
	n.programs[k] = p
	return p, nil
}

// compile turns the nodes of g into layers.
func (n *Network) compile(g *ir.Graph) (*program, error) {
	p := &program{graph: g, layers: make([]layer, len(g.Nodes))}
	at := 0
	defer panics.Name(func() string { return g.Nodes[at].String() })
	for i := range g.Nodes {
		at = i
		l, err := n.newLayer(g, &g.Nodes[i])
		if err != nil {
			return nil, err
		}
		p.layers[i] = l
	}
	return p, nil
}

// Refresh derives what depends on parameters: transposed weights and quantized constants. Call it once after Param.Value or
// an ActQuant changed, while no Exec runs.
func (n *Network) Refresh() {
	for t, c := range n.constants {
		if c != nil {
			c.refresh(n.Act[t])
		}
	}
}

// Param returns the parameter that a tensor is, nil if it is none.
func (n *Network) Param(tensor int) *Param {
	if c := n.constants[tensor]; c != nil {
		return c.param
	}
	return nil
}

// RefreshParam is the part of Refresh that concerns parameter i of Params. Several may run side by side; RefreshConstants is the
// rest.
func (n *Network) RefreshParam(i int) {
	t := n.Params[i].Tensor
	n.constants[t].refresh(n.Act[t])
}

// RefreshConstants is the part of Refresh that concerns no trainable parameter.
func (n *Network) RefreshConstants() {
	for t, c := range n.constants {
		if c != nil && n.Act[t] != nil && (c.param == nil || !c.param.Trainable) {
			c.refresh(n.Act[t])
		}
	}
}

// ErrNothingToTrain reports a model without any parameter that a gradient reaches.
var ErrNothingToTrain = errors.New("nothing to train: no weight has a differentiable path to the loss")
