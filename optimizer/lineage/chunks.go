package lineage

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
)

// chunks say how sequences are cut that are too long for a network of whole ones; nil: they are not.
func (n *Network) chunks() *stream.Chunks {
	if n.from.stream == nil {
		return nil
	}
	return n.from.stream.chunks
}

// Samples are the shapes of samples that the network takes, an input's without the batch.
func (n *Network) Samples() [][]int {
	if n.chunks() != nil {
		return n.from.stream.samples
	}
	g := n.model.Subgraph()
	var out [][]int
	for _, t := range g.Inputs {
		shape := []int{}
		for i, d := range g.Tensors[t].Shape {
			if i > 0 {
				shape = append(shape, int(d))
			}
		}
		out = append(out, shape)
	}
	return out
}

// Runs is the float model as it is run over samples: of sequences in chunks, or of many operators, the step, else Model.
func (n *Network) Runs() (*tflite.Model, error) {
	if n.from.stream == nil || n.chunks() == nil && len(n.model.Subgraph().Operators) <= stream.MostRun {
		return n.model, nil
	}
	s := n.from.stream
	return s.step.Close(s.current(n), s.place)
}

// current is the model of the step with the weights of a network.
func (s *streaming) current(n *Network) *tflite.Model {
	m := s.model.Clone()
	for t, of := range s.tensor {
		if of == stream.None {
			continue
		}
		from, to := n.model.Subgraph().Tensors[t], m.Subgraph().Tensors[of]
		if n.model.IsConst(from) && !bytes.Equal(n.model.Data(from), m.Data(to)) {
			m.SetData(to, n.model.Data(from))
		}
	}
	return m
}

// outputs describe what is answered by the network that a run works on: of sequences in chunks by a chunk.
func (r *Run) outputs(n *Network) []answer.Output { return n.chunks().Outputs(r.Outputs) }

// pieces are chunks of drawn sequences: of each another, or the last, with the states that a network finds there.
type pieces struct {
	source dataset.Source
	chunks *stream.Chunks
	drawn  []int
	chunk  []int         // by place in the draw
	states [][][]float32 // by place in the draw and state
	room   sync.Pool     // of a sequence
	of     *dataset.Dataset
}

// pieceSeed is that of the chunks that are looked at.
const pieceSeed = 2

// piecesOf draws a chunk of each sequence, or takes the last, and runs a network up to it.
func piecesOf(source dataset.Source, net *float.Network, c *stream.Chunks, drawn []int, last bool) (*pieces, error) {
	p := &pieces{source: source, chunks: c, drawn: drawn, chunk: make([]int, len(drawn)), states: make([][][]float32, len(drawn))}
	random := rand.New(rand.NewPCG(pieceSeed, 0))
	for i := range p.chunk {
		if p.chunk[i] = random.IntN(c.Count()); last {
			p.chunk[i] = c.Count() - 1
		}
	}
	p.room.New = func() any { x := dataset.Sample(source); return &x }
	blocks := (len(drawn) + net.MicroBatch - 1) / net.MicroBatch
	return p, panics.Go(min(blocks, runners), func(lane int) error {
		e := net.NewForwardExec(slices.Concat(c.Left[:]...)...)
		for b := lane; b < blocks; b += runners {
			if err := p.run(e, b*net.MicroBatch, min((b+1)*net.MicroBatch, len(drawn))); err != nil {
				return err
			}
		}
		return nil
	})
}

// run runs sequences of the draw side by side and keeps what each finds at its chunk.
func (p *pieces) run(e *float.Exec, from, to int) error {
	if err := e.SetBatch(to - from); err != nil && e.Batch() < to-from {
		return err
	}
	batch, states := e.Batch(), len(p.chunks.Left[0])
	x := make([]*[][]float32, to-from)
	for k := range x {
		x[k] = p.room.Get().(*[][]float32)
		defer p.room.Put(x[k])
		if err := p.source.Read(p.drawn[from+k], *x[k]); err != nil {
			return err
		}
	}
	part := func(values []float32, k int) []float32 { return values[k*(len(values)/batch):][:len(values)/batch] }
	held := make([][]float32, states)
	for c := range slices.Max(p.chunk[from:to]) + 1 {
		for k := range x {
			for i, whole := range *x[k] {
				copy(part(e.Input(i), k), p.chunks.Piece(whole, c))
			}
		}
		for s := range held {
			state := e.Input(len(*x[0]) + s)
			if c == 0 {
				clear(state)
				held[s] = make([]float32, len(state))
			}
			copy(state, held[s])
			for k := range x {
				if p.chunk[from+k] == c {
					p.states[from+k] = append(p.states[from+k], slices.Clone(part(state, k)))
				}
			}
		}
		e.Forward()
		for s, t := range p.chunks.After(c) {
			copy(held[s], e.Tensor(t))
		}
	}
	return nil
}

// feed gives a place's chunk and states.
func (p *pieces) feed(i int, inputs [][]float32) error {
	x := p.room.Get().(*[][]float32)
	defer p.room.Put(x)
	if err := p.source.Read(p.drawn[i], *x); err != nil {
		return err
	}
	for k, whole := range *x {
		copy(inputs[k], p.chunks.Piece(whole, p.chunk[i]))
	}
	for s, state := range p.states[i] {
		copy(inputs[len(*x)+s], state)
	}
	return nil
}

// feedOf gives the samples of a draw as net takes them. Of sequences in chunks it is one of each, with what net finds there.
func (r *Run) feedOf(n *Network, net *float.Network, samples []int, last bool) (quantize.Feed, error) {
	c := n.chunks()
	if c == nil {
		all := quantize.FeedOf(r.Data.Train)
		return func(i int, inputs [][]float32) error { return all(samples[i], inputs) }, nil
	}
	p, err := piecesOf(r.Data.Train, net, c, samples, last)
	if err != nil {
		return nil, err
	}
	return p.feed, nil
}

// again is a draw of all sequences, where there are no more, several times: of each as many chunks are looked at, if it has them.
func (r *Run) again(n *Network, drawn []int, samples int) []int {
	c := n.chunks()
	if c == nil || len(drawn) < r.Data.Train.Len() {
		return drawn
	}
	return slices.Repeat(drawn, max(1, min(c.Count(), samples/len(drawn))))
}

// feed is feedOf by the original.
func (r *Run) feed(n *Network, samples []int) (quantize.Feed, error) {
	if n.chunks() == nil {
		return r.feedOf(n, nil, samples, false)
	}
	if p := r.pieces; p != nil && p.of == r.Data && p.chunks == n.chunks() && len(p.drawn) >= len(samples) && slices.Equal(p.drawn[:len(samples)], samples) {
		return p.feed, nil
	}
	net, err := float.Compile(n.from.model, 0)
	if err != nil {
		return nil, err
	}
	if r.pieces, err = piecesOf(r.Data.Train, net, n.chunks(), samples, false); err != nil {
		return nil, err
	}
	r.pieces.of = r.Data
	return r.pieces.feed, nil
}
