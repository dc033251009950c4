package ir

import (
	"encoding/binary"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Graph is the primary subgraph of a model parsed for execution at a given batch size.
type Graph struct {
	Model           *tflite.Model
	Tensors         []Tensor
	Nodes           []Node // in execution order, which is the file's
	Inputs, Outputs []int  // tensor indices
	Batch           int    // samples the shapes are for
	FileBatch       int    // samples the file's shapes are for: the leading dimension of the first input
}

// Tensor is a value of the graph: a constant, an input or the output of a node.
type Tensor struct {
	Index     int
	Name      string
	Type      schema.TensorType
	Shape     []int  // inferred for the graph's batch
	Quant     *Quant // nil when not quantized
	Const     []byte // raw little-endian data; nil for activations. Includes what Parse folded
	Producer  int    // index of the node that makes it; -1 for inputs and the file's constants
	Consumers []int  // indices of the nodes that read it, in order, each once
	Batched   bool   // samples lie one after the other, Numel/Batch elements each
}

// Quant is the affine quantization of a tensor: real = Scale·(q − ZeroPoint).
type Quant struct {
	Scale     []float32 // one for the tensor, or one per index of dimension Axis
	ZeroPoint []int32   // as long as Scale
	Axis      int
}

// Node is an operator.
type Node struct {
	Index           int
	Op              schema.BuiltinOperator
	Custom          string // name of a custom operator
	Version         int
	Inputs, Outputs []int // tensor indices, -1 where an optional tensor is absent
	Attr            any   // one of this package's attribute types, by value; nil: not supported
	Folded          bool  // its outputs are constants that Parse computed: nothing is left to run
}

// Numel returns the number of elements of a tensor.
func (g *Graph) Numel(t int) int { return numel(g.Tensors[t].Shape) }

// Multiplications counts those of the network for one sample: of convolutions and matrix products, biases aside.
func (g *Graph) Multiplications() int64 {
	all := int64(0)
	for i := range g.Nodes {
		all += g.MultiplicationsOf(&g.Nodes[i])
	}
	return all
}

// MultiplicationsOf are the multiplications of one operator for one sample.
func (g *Graph) MultiplicationsOf(n *Node) int64 {
	if a, ok := n.Attr.(Multiplier); ok {
		return a.Multiplications(g, n) / int64(max(1, g.Batch))
	}
	return 0
}

// Input returns an input tensor of a node; nil if it is absent.
func (g *Graph) Input(n *Node, i int) *Tensor {
	if i >= len(n.Inputs) || n.Inputs[i] < 0 {
		return nil
	}
	return &g.Tensors[n.Inputs[i]]
}

// Output returns an output tensor of a node.
func (g *Graph) Output(n *Node, i int) *Tensor { return &g.Tensors[n.Outputs[i]] }

// String names a node for messages: `operator 3 CONV_2D`.
func (n *Node) String() string {
	if n.Op == schema.BuiltinOperatorCUSTOM {
		return fmt.Sprintf("operator %d custom %q", n.Index, n.Custom)
	}
	return fmt.Sprintf("operator %d %s", n.Index, n.Op)
}

// String names a tensor for messages: `tensor 12 "dense/kernel"`.
func (t *Tensor) String() string { return fmt.Sprintf("tensor %d %q", t.Index, t.Name) }

// Numel returns the number of elements.
func (t *Tensor) Numel() int { return numel(t.Shape) }

// Floats returns the float32 numbers that the elements take in computation: two for a complex one.
func (t *Tensor) Floats() int {
	if t.Type == schema.TensorTypeCOMPLEX64 {
		return 2 * t.Numel()
	}
	return t.Numel()
}

// PerTensor returns the only scale and zero point of a tensor quantized as a whole; ok is false for any other tensor.
func (t *Tensor) PerTensor() (scale float32, zeroPoint int32, ok bool) {
	if t.Quant == nil || len(t.Quant.Scale) != 1 {
		return 0, 0, false
	}
	return t.Quant.Scale[0], t.Quant.ZeroPoint[0], true
}

// Float32s returns the values of a FLOAT32 constant as a new slice, nil for any other tensor.
func (t *Tensor) Float32s() []float32 {
	if t.Type != schema.TensorTypeFLOAT32 || t.Const == nil {
		return nil
	}
	out := make([]float32, len(t.Const)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Const[4*i:]))
	}
	return out
}

// Numbers returns the values of a FLOAT32, INT32, INT64 or BOOL constant as a new slice, nil for any other tensor.
func (t *Tensor) Numbers() []float32 {
	if t.Type == schema.TensorTypeBOOL && t.Const != nil {
		out := make([]float32, len(t.Const))
		for i, b := range t.Const {
			if b != 0 {
				out[i] = 1
			}
		}
		return out
	}
	integers := t.Ints()
	if integers == nil {
		return t.Float32s()
	}
	out := make([]float32, len(integers))
	for i, v := range integers {
		out[i] = float32(v)
	}
	return out
}

// Int8s returns the values of an INT8 or INT4 constant as a new slice, nil for any other tensor.
func (t *Tensor) Int8s() []int8 {
	if !tflite.IsInt8s(t.Type) || t.Const == nil {
		return nil
	}
	return tflite.Int8s(t.Type, t.Const, t.Numel())
}

// Ints returns the values of an INT32 or INT64 constant as a new slice, nil for any other tensor.
func (t *Tensor) Ints() []int {
	if t.Const == nil {
		return nil
	}
	switch t.Type {
	case schema.TensorTypeINT32:
		out := make([]int, len(t.Const)/4)
		for i := range out {
			out[i] = int(int32(binary.LittleEndian.Uint32(t.Const[4*i:])))
		}
		return out
	case schema.TensorTypeINT64:
		out := make([]int, len(t.Const)/8)
		for i := range out {
			out[i] = int(int64(binary.LittleEndian.Uint64(t.Const[8*i:])))
		}
		return out
	default:
		return nil
	}
}

// numel is the product of a shape.
func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
