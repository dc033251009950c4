package bundle

import (
	"fmt"
	"math/rand/v2"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Vector is one run of the leaf: raw bytes of every input, and what every output must then hold. State is as it is before the first run.
type Vector struct{ Inputs, Outputs [][]byte }

// vectors runs the first n samples of a source, or seeded noise where there is none, each with the state that the file begins with. Of a
// sequence it runs the first step.
func vectors(m *tflite.Model, source dataset.Source, n int, options ...integer.Option) ([]Vector, error) {
	exec, err := integer.Compile(m, 0, options...)
	if err != nil {
		return nil, fmt.Errorf("test vectors: %w", err)
	}
	if source != nil {
		n = min(n, source.Len())
	}
	step, err := stream.Open(m)
	if err != nil {
		return nil, fmt.Errorf("test vectors: %w", err)
	}
	draw := rand.New(rand.NewPCG(1, 0))
	out := make([]Vector, n)
	for i := range out {
		exec.Reset()
		if source != nil {
			err = sample(exec, step, source, i)
		} else {
			err = noise(exec, draw)
		}
		if err == nil {
			out[i].Inputs = values(m, m.Subgraph().Inputs, exec, exec.Graph().Inputs)
			err = exec.Run()
		}
		if err != nil {
			return nil, fmt.Errorf("test vector %d: %w", i, err)
		}
		out[i].Outputs = values(m, m.Subgraph().Outputs, exec, exec.Graph().Outputs)
	}
	return out, nil
}

// sample sets the inputs to sample i, in every place of the batch that the file has; of a network with state to its first step, and inputs that
// are states to zero.
func sample(run *integer.Executor, step *stream.Step, source dataset.Source, i int) error {
	x := dataset.Sample(source)
	if err := source.Read(i, x); err != nil {
		return err
	}
	if step != nil {
		x = first(run, step, x)
	}
	for k := range x {
		all := make([]float32, 0, run.Batch()*len(x[k]))
		for range run.Batch() {
			all = append(all, x[k]...)
		}
		if err := run.SetInput(k, all); err != nil {
			return err
		}
	}
	return nil
}

// first is the first step of a sequence, by input of the run.
func first(run *integer.Executor, step *stream.Step, x [][]float32) [][]float32 {
	var out [][]float32
	for k, t := range run.Graph().Inputs {
		size := run.Graph().Tensors[t].Numel()
		switch {
		case step.Holds(k):
			out = append(out, make([]float32, size))
		case len(x) > 0:
			out, x = append(out, x[0][:min(size, len(x[0]))]), x[1:]
		}
	}
	return out
}

// noise sets every input to random codes, to zeros and ones where it has integers that are no codes, and to what the QUANTIZE behind it can
// hold, or −1 to 1, where it is float.
func noise(run *integer.Executor, draw *rand.Rand) error {
	g := run.Graph()
	for k, t := range g.Inputs {
		tensor := &g.Tensors[t]
		scale, zero, quantized := tensor.PerTensor()
		x := make([]float32, tensor.Numel())
		for j := range x {
			switch {
			case tensor.Type == schema.TensorTypeFLOAT32:
				low, high := realRange(g, t)
				x[j] = low + float32((high-low)*draw.Float32()) // rounded twice on every processor
			case quantized && tensor.Type == schema.TensorTypeINT16:
				x[j] = scale * float32(draw.IntN(1<<16)-1<<15)
			case quantized:
				x[j] = scale * float32(draw.IntN(1<<8)-1<<7-int(zero))
			default:
				x[j] = float32(draw.IntN(2))
			}
		}
		if err := run.SetInput(k, x); err != nil {
			return err
		}
	}
	return nil
}

// realRange is what the QUANTIZE behind a float input can hold, −1 to 1 without one.
func realRange(g *ir.Graph, input int) (low, high float32) {
	for _, n := range g.Nodes {
		if n.Op != schema.BuiltinOperatorQUANTIZE || n.Inputs[0] != input {
			continue
		}
		if scale, zero, ok := g.Tensors[n.Outputs[0]].PerTensor(); ok && g.Tensors[n.Outputs[0]].Type == schema.TensorTypeINT8 {
			return scale * float32(-128-int(zero)), scale * float32(127-int(zero))
		}
	}
	return -1, 1
}

// values copies tensors of a run as the file's types hold them: the run has codes of uint8 as int8.
func values(m *tflite.Model, inFile []int32, run *integer.Executor, tensors []int) [][]byte {
	out := make([][]byte, len(tensors))
	for i, t := range tensors {
		out[i] = append(out[i], run.Tensor(t)...)
		if m.Subgraph().Tensors[inFile[i]].Type == schema.TensorTypeUINT8 && run.Graph().Tensors[t].Type == schema.TensorTypeINT8 {
			for j := range out[i] {
				out[i][j] ^= 0x80
			}
		}
	}
	return out
}
