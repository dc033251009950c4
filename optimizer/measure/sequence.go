package measure

import (
	"fmt"
	"slices"
	"sync"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
)

// network runs a model on whole samples. One that keeps state runs as it does on the device, a step after the other, where sequences are not
// unrolled whole.
type network struct {
	*integer.Executor
	steps  int // of a sample; 1 of a network without state
	chunks *stream.Chunks
	// With chunks:
	graph  *ir.Graph // of a chunk
	states int
	given  [][]float32 // samples, by input
	x      [][]float32 // a step's, by input
	y      [][]float32 // all steps', by output
	held   [][]byte    // by state
	zeros  [][]float32 // by state
}

// networkOf makes the network of a model whose shapes are numbers, for samples of the given ones.
func networkOf(m *tflite.Model, samples [][]int, batch int, options ...integer.Option) (*network, error) {
	step, u, err := stream.Sequence(m, samples)
	if err == nil && u != nil && u.Chunks == nil && len(u.Model.Subgraph().Operators) > stream.MostRun {
		m = m.Clone()
		m.SetChunk(begun)
		step, u, err = stream.Sequence(m, samples)
	}
	if err != nil {
		return nil, err
	}
	n := &network{steps: 1}
	if u != nil {
		n.steps, n.chunks, m = u.Steps, u.Chunks, u.Model
	}
	if n.chunks != nil {
		if n.graph, err = ir.Parse(u.Model, 0); err != nil {
			return nil, err
		}
		n.steps, n.states, m = n.chunks.Steps, len(step.States), step.Model
		if slices.ContainsFunc(step.States, func(s stream.State) bool { return m.Subgraph().Tensors[s.Input].Shape[0] != 1 }) {
			batch = 1
		}
	}
	if n.Executor, err = compile(m, batch, options...); err != nil {
		return nil, err
	}
	return n.room(), nil
}

// room gives a network that goes step by step its buffers.
func (n *network) room() *network {
	if n.chunks == nil {
		return n
	}
	n.x, n.y, n.zeros, n.held = nil, nil, nil, make([][]byte, n.states)
	g := n.Executor.Graph()
	for _, t := range n.inputs() {
		n.x = append(n.x, make([]float32, g.Tensors[t].Numel()))
	}
	for _, t := range g.Inputs[len(n.x):] {
		n.zeros = append(n.zeros, make([]float32, g.Tensors[t].Numel()))
	}
	steps := 1
	if n.chunks.Each {
		steps = n.steps
	}
	for _, t := range n.outputs() {
		n.y = append(n.y, make([]float32, steps*g.Tensors[t].Numel()))
	}
	return n
}

// Clone is for another goroutine.
func (n *network) Clone() *network {
	out := *n
	out.Executor = n.Executor.Clone()
	return out.room()
}

// inputs are the graph's that are samples, outputs those that are answers.
func (n *network) inputs() []int {
	all := n.Executor.Graph().Inputs
	return all[:len(all)-n.states]
}

func (n *network) outputs() []int {
	all := n.Executor.Graph().Outputs
	return all[:len(all)-n.states]
}

// size is the values of an output of a sample.
func (n *network) size(output int) int {
	size := n.Graph().Numel(n.outputs()[output]) / max(1, n.Batch())
	if n.chunks != nil && n.chunks.Each {
		size *= n.steps
	}
	return size
}

// set gives the network samples, of each input one after the other, and has it begin with the first state.
func (n *network) set(x [][]float32) error {
	n.Reset()
	if n.chunks != nil {
		n.given = x
		return nil
	}
	for i := range x {
		if err := n.SetInput(i, x[i]); err != nil {
			return err
		}
	}
	return nil
}

// run answers the samples that are set.
func (n *network) run() error {
	if n.chunks == nil {
		return n.Run()
	}
	for s, zeros := range n.zeros { // which are the input's zero point
		if err := n.SetInput(len(n.x)+s, zeros); err != nil {
			return err
		}
	}
	for step := range n.steps {
		if err := n.step(step); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return nil
}

// step runs one step of a batch of sequences.
func (n *network) step(step int) error {
	batch := max(1, n.Batch())
	for i, part := range n.x {
		per := len(part) / batch
		for k := range len(n.given[i]) / (per * n.steps) {
			copy(part[k*per:][:per], n.given[i][(k*n.steps+step)*per:])
		}
		if err := n.SetInput(i, part); err != nil {
			return err
		}
	}
	if err := n.Run(); err != nil {
		return err
	}
	for s := range n.held { // all, before any is set: one may be what another was
		n.held[s] = append(n.held[s][:0], n.OutputBytes(len(n.y)+s)...)
	}
	for s, held := range n.held {
		if err := n.SetInputBytes(len(n.x)+s, held); err != nil {
			return err
		}
	}
	for o, all := range n.y {
		y := n.Executor.Output(o)
		if !n.chunks.Each {
			copy(all, y)
			continue
		}
		per := len(y) / batch
		for k := range batch {
			copy(all[(k*n.steps+step)*per:][:per], y[k*per:])
		}
	}
	return nil
}

// Output is what was answered last, by sample.
func (n *network) Output(i int) []float32 {
	if n.chunks == nil {
		return n.Executor.Output(i)
	}
	return n.y[i]
}

// describe says what the outputs are, by targets and, unless it is nil, by what was seen of them.
func (n *network) describe(targets []answer.Target, choices []answer.Choice, seen []answer.Seen) ([]answer.Output, error) {
	if n.graph == nil {
		return answer.Describe(n.Graph(), targets, choices, seen)
	}
	return n.chunks.Describe(n.graph, targets, choices, seen)
}

// beginnings are the first steps of sequences that are too long to be unrolled whole.
type beginnings struct {
	dataset.Source
	inputs []dataset.Array
	whole  sync.Pool
}

// begun is how many steps a beginning has at most.
const begun = 64

// beginningsOf returns the first steps of a source's samples, where models are not unrolled over all of them; else the source itself, which may be
// nil.
func beginningsOf(source dataset.Source, models ...[]byte) (dataset.Source, error) {
	if source == nil {
		return nil, nil
	}
	var samples [][]int
	for _, model := range models {
		m, err := specialized(model, dataset.Shapes(source)...)
		if err != nil {
			return nil, err
		}
		step, u, err := stream.Sequence(m, dataset.Shapes(source))
		if err != nil {
			return nil, err
		}
		if u == nil || u.Chunks == nil {
			continue
		}
		if of := step.Samples(min(u.Steps, begun)); samples == nil || of[0][0] < samples[0][0] {
			samples = of
		}
	}
	if samples == nil {
		return source, nil
	}
	out := &beginnings{Source: source, inputs: slices.Clone(source.Inputs())}
	for i := range out.inputs {
		out.inputs[i].Shape = samples[i]
	}
	out.whole.New = func() any { whole := dataset.Sample(source); return &whole }
	return out, nil
}

func (b *beginnings) Inputs() []dataset.Array { return b.inputs }

func (b *beginnings) Read(i int, x [][]float32) error {
	whole := b.whole.Get().(*[][]float32)
	defer b.whole.Put(whole)
	if err := b.Source.Read(i, *whole); err != nil {
		return err
	}
	for k := range x {
		copy(x[k], (*whole)[k])
	}
	return nil
}
