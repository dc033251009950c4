package integer

import (
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Executor runs one model at one batch size. It belongs to one goroutine at a time, which may have others help it: SetThreads.
type Executor struct {
	*program
	memory memory
	team   *team       // nil: one thread
	out    [][]float32 // dequantized outputs, made when first asked for
}

// program is what clones share: nothing in it changes after Compile.
type program struct {
	graph  *ir.Graph
	steps  []step
	plan   plan
	arena  int // bytes for one sample
	floats []floatNode
	first  variables // what variables hold before the first run
}

// step is a compiled node.
type step struct {
	node *ir.Node
	runner
}

// runner computes a node's outputs from its inputs. It keeps no state of its own: what it needs to write to is in the memory.
type runner interface {
	run(m *memory) error
}

// Graph returns the parsed model, after conversion to int8 and for the executor's batch.
func (e *Executor) Graph() *ir.Graph { return e.graph }

// Batch returns the samples a Run computes.
func (e *Executor) Batch() int { return e.graph.Batch }

// ArenaBytes returns the size of the planned activation arena for one sample (the file's batch), in bytes.
func (e *Executor) ArenaBytes() int { return e.arena }

// Clone returns an executor of one thread with the same constants and its own activations, ready to run on another goroutine.
func (e *Executor) Clone() *Executor { return newExecutor(e.program) }

func newExecutor(p *program) *Executor {
	e := &Executor{program: p, memory: newMemory(p.graph, &p.plan), out: make([][]float32, len(p.graph.Outputs))}
	e.memory.addFloats(p.graph, p.floats)
	e.memory.variables = variables{}
	for name, value := range p.first {
		e.memory.variables[name] = slices.Clone(value)
	}
	return e
}

// SetInput sets model input i, real values in the input's layout: int8 and int16 inputs are quantized as QUANTIZE does. x may hold fewer
// samples than the batch, whole ones; the rest keep their values.
func (e *Executor) SetInput(i int, x []float32) error {
	t, err := e.input(i, len(x))
	if err != nil {
		return err
	}
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		copy(e.memory.float32s(t.Index), x)
		return nil
	case schema.TensorTypeINT8:
		scale, zero, ok := t.PerTensor()
		if !ok {
			castTo(e.memory.int8s(t.Index)[:len(x)], x, math.MinInt8, math.MaxInt8)
			return nil
		}
		quantize(e.memory.int8s(t.Index)[:len(x)], x, scale, zero)
		return nil
	case schema.TensorTypeUINT8:
		castTo(e.memory.bytes[t.Index][:len(x)], x, 0, math.MaxUint8)
		return nil
	case schema.TensorTypeINT16:
		scale, zero, ok := t.PerTensor()
		if !ok || zero != 0 {
			return fmt.Errorf("input %s has no scale, or a zero point: use SetInputBytes", t)
		}
		quantize16(e.memory.int16s(t.Index)[:len(x)], x, scale)
		return nil
	case schema.TensorTypeINT32:
		castTo(e.memory.int32s(t.Index)[:len(x)], x, math.MinInt32, math.MaxInt32)
		return nil
	case schema.TensorTypeINT64:
		castTo(e.memory.int64s(t.Index)[:len(x)], x, math.MinInt64, math.MaxInt64)
		return nil
	case schema.TensorTypeBOOL:
		castTo(e.memory.bytes[t.Index][:len(x)], x, 0, 1)
		return nil
	default:
		return fmt.Errorf("input %s is of type %s; inputs of float32, int8, uint8, int16, int32, int64 and bool are supported", t, t.Type)
	}
}

// SetInputBytes sets model input i to raw little-endian data of its type. x may hold fewer samples than the batch, whole ones.
func (e *Executor) SetInputBytes(i int, x []byte) error {
	if i < 0 || i >= len(e.graph.Inputs) {
		return fmt.Errorf("input %d of %d", i, len(e.graph.Inputs))
	}
	size := elementSize(e.graph.Tensors[e.graph.Inputs[i]].Type)
	if len(x)%size != 0 {
		return fmt.Errorf("%d bytes for elements of %d", len(x), size)
	}
	t, err := e.input(i, len(x)/size)
	if err != nil {
		return err
	}
	copy(e.memory.bytes[t.Index], x)
	return nil
}

// input checks that n elements are whole samples of model input i.
func (e *Executor) input(i, n int) (*ir.Tensor, error) {
	if i < 0 || i >= len(e.graph.Inputs) {
		return nil, fmt.Errorf("input %d of %d", i, len(e.graph.Inputs))
	}
	t := &e.graph.Tensors[e.graph.Inputs[i]]
	whole := t.Numel()
	sample := whole
	if t.Batched {
		sample = whole / e.graph.Batch
	}
	if n > whole || sample > 0 && n%sample != 0 || n == 0 && whole > 0 {
		return nil, fmt.Errorf("input %s has %d elements a sample (shape %v), got %d", t, sample, t.Shape, n)
	}
	return t, nil
}

// Run computes every node. Errors name the operator; they come only from values an operator is not defined for.
func (e *Executor) Run() error {
	at := 0
	defer panics.Name(func() string { return e.steps[at].node.String() })
	for i := range e.steps {
		at = i
		if err := e.run(&e.steps[i]); err != nil {
			return fmt.Errorf("%s: %w", e.steps[i].node, err)
		}
	}
	return nil
}

// RunEach is Run that calls after when a node is done: the only moment at which its inputs and outputs are all still in memory.
func (e *Executor) RunEach(after func(n *ir.Node) error) error {
	at := 0
	defer panics.Name(func() string { return e.steps[at].node.String() })
	for i := range e.steps {
		at = i
		s := &e.steps[i]
		if err := s.run(&e.memory); err != nil {
			return fmt.Errorf("%s: %w", s.node, err)
		}
		if err := after(s.node); err != nil {
			return err
		}
	}
	return nil
}

// Output returns model output i as real values: dequantized if it is int8 or int16. The slice is the executor's and changes with the next
// call.
func (e *Executor) Output(i int) []float32 {
	t := &e.graph.Tensors[e.graph.Outputs[i]]
	if t.Type == schema.TensorTypeFLOAT32 {
		return e.memory.float32s(t.Index)
	}
	if e.out[i] == nil {
		e.out[i] = make([]float32, t.Numel())
	}
	e.Values(t.Index, e.out[i])
	return e.out[i]
}

// Values writes the real values of a tensor to dst: dequantized if it is int8 or int16. See Tensor for when they are there.
func (e *Executor) Values(tensor int, dst []float32) {
	t := &e.graph.Tensors[tensor]
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		copy(dst, e.memory.float32s(tensor))
	case schema.TensorTypeINT8:
		scale, zero := float32(1), int32(0)
		if s, z, ok := t.PerTensor(); ok {
			scale, zero = s, z
		}
		dequantize(dst, e.memory.int8s(tensor), scale, zero)
	case schema.TensorTypeINT16:
		scale, zero := float32(1), int32(0)
		if s, z, ok := t.PerTensor(); ok {
			scale, zero = s, z
		}
		dequantize(dst, e.memory.int16s(tensor), scale, zero)
	case schema.TensorTypeINT32:
		convert(dst, e.memory.int32s(tensor))
	case schema.TensorTypeINT64:
		convert(dst, e.memory.int64s(tensor))
	case schema.TensorTypeUINT8, schema.TensorTypeBOOL:
		convert(dst, e.memory.bytes[tensor])
	}
}

// OutputBytes returns the raw data of model output i, which the next Run overwrites.
func (e *Executor) OutputBytes(i int) []byte { return e.memory.bytes[e.graph.Outputs[i]] }

// Tensor returns the raw data of a tensor. Inputs, outputs and constants are always there; any other tensor shares its memory
// with those used at other times and is there only in the calls of RunEach between its producer and its last consumer.
func (e *Executor) Tensor(t int) []byte { return e.memory.bytes[t] }
