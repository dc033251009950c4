package stream

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/ir"
)

// longest is how many operators a chunk has at most, where none is asked for.
const longest = 4_000

// MostRun is how many operators a sequence is run as at most: more are run step by step, which gives the same in less memory.
const MostRun = 4_000

// Chunks say how a sequence that is too long to be unrolled whole is gone through: in chunks of as many steps each, what one leaves in its
// states being what the next finds. The second begins within the first where steps are no multiple of a chunk.
type Chunks struct {
	Steps int  // of a sequence
	Chunk int  // steps of a chunk, fewer
	Each  bool // the network answers at each step; else after the last
	// Left are tensors of the unrolled network, by state: what is left by the steps before the second chunk, and by a whole chunk. States are
	// its last inputs, in the same order.
	Left [2][]int
}

// cut returns the chunks that sequences of n steps are trained in: as long as was asked for (tflite.Model.SetChunk), else nil, for whole
// sequences, where they can be unrolled, and long ones of even length where they cannot.
func (s *Step) cut(n int) (*Chunks, error) {
	operators, asked := len(s.Model.Subgraph().Operators), s.Model.Chunk()
	if n <= asked || asked == 0 {
		if n*operators <= maxOperators {
			return nil, nil
		}
		most := max(2, longest/operators)
		count := (n + most - 1) / most
		asked = (n + count - 1) / count
	}
	if asked*operators > maxOperators {
		return nil, fmt.Errorf("%d steps of %d operators are more than the %d that are written out: chunks have to be shorter", asked, operators, maxOperators)
	}
	return &Chunks{Steps: n, Chunk: asked, Each: s.Model.EachStep()}, nil
}

// Count is how many chunks a sequence has.
func (c *Chunks) Count() int { return (c.Steps + c.Chunk - 1) / c.Chunk }

// ahead is by how many steps the second chunk begins after the first: those that are left over, else all.
func (c *Chunks) ahead() int { return (c.Steps-1)%c.Chunk + 1 }

// Begin is the step of the sequence that a chunk begins at.
func (c *Chunks) Begin(chunk int) int {
	if chunk == 0 {
		return 0
	}
	return c.ahead() + (chunk-1)*c.Chunk
}

// New is how many of a chunk's steps, its last ones, are in none before it.
func (c *Chunks) New(chunk int) int {
	if chunk == 1 {
		return c.ahead()
	}
	return c.Chunk
}

// Fresh is the part of what a sequence has for all steps alike that belongs to the new steps of a chunk, nil of nil. Where answers are of the last
// step alone it is all.
func (c *Chunks) Fresh(x []float32, chunk int) []float32 {
	if !c.Each || x == nil {
		return x
	}
	per := len(x) / c.Steps
	return x[(c.Begin(chunk)+c.Chunk-c.New(chunk))*per:][:c.New(chunk)*per]
}

// NewOf is the same part of what a chunk has.
func (c *Chunks) NewOf(x []float32, chunk int) []float32 {
	if !c.Each || x == nil {
		return x
	}
	return x[len(x)/c.Chunk*(c.Chunk-c.New(chunk)):]
}

// After are the tensors that hold, by state, what the next chunk finds.
func (c *Chunks) After(chunk int) []int { return c.Left[min(chunk, 1)] }

// Piece is a chunk's part of what a sequence has for all steps alike.
func (c *Chunks) Piece(x []float32, chunk int) []float32 {
	per := len(x) / c.Steps
	return x[c.Begin(chunk)*per:][:c.Chunk*per]
}

// Describe is answer.Describe of whole sequences, by the graph of a chunk; without chunks by that of whole sequences.
func (c *Chunks) Describe(g *ir.Graph, targets []answer.Target, choices []answer.Choice, seen []answer.Seen) ([]answer.Output, error) {
	if c == nil {
		return answer.Describe(g, targets, choices, seen)
	}
	whole := *g
	whole.Inputs = g.Inputs[:len(g.Inputs)-len(c.Left[0])] // the rest are states
	whole.Tensors = slices.Clone(g.Tensors)
	long := slices.Clone(whole.Inputs)
	if c.Each {
		for i, t := range g.Outputs {
			long = append(long, t, g.End(i).Tensor)
		}
	}
	for _, t := range long {
		shape := slices.Clone(g.Tensors[t].Shape)
		shape[1] = shape[1] / c.Chunk * c.Steps
		whole.Tensors[t].Shape = shape
	}
	return answer.Describe(&whole, targets, choices, seen)
}

// Whole is how many there are for a sequence of what a chunk has so many of; without chunks as many.
func (c *Chunks) Whole(n int) int {
	if c == nil || !c.Each {
		return n
	}
	return n / c.Chunk * c.Steps
}

// Asked reports whether an answer of a chunk counts.
func (c *Chunks) Asked(chunk int) bool { return c.Each || chunk == c.Count()-1 }

// Outputs are those of a chunk, by descriptions of whole sequences.
func (c *Chunks) Outputs(whole []answer.Output) []answer.Output {
	if c == nil || !c.Each {
		return whole
	}
	out := slices.Clone(whole)
	for i := range out {
		out[i].Size = out[i].Size / c.Steps * c.Chunk
		out[i].Positions = out[i].Positions / c.Steps * c.Chunk
	}
	return out
}

// leave notes what so many steps of a chunk leave in the states.
func (u *unroller) leave(steps int, held []int32) error {
	c := u.Chunks
	if c == nil {
		return nil
	}
	for i, after := range [2]int{c.ahead(), c.Chunk} {
		if steps != after {
			continue
		}
		for k, t := range held {
			if u.Model.IsConst(u.sub.Tensors[t]) {
				return fmt.Errorf("state %q is set to a constant: leave it out of the model", u.step.States[k].Name)
			}
			c.Left[i] = append(c.Left[i], int(t))
		}
	}
	return nil
}

// entry makes an input of a state: what a chunk finds.
func (u *unroller) entry(state int) int32 {
	of := u.sub.Tensors[state]
	if of.Shape[0] == 1 {
		u.sub.Inputs = append(u.sub.Inputs, int32(state))
		return int32(state)
	}
	flat := u.add(state, []int32{1, int32(elements(of.Shape))}, state)
	u.sub.Inputs = append(u.sub.Inputs, flat)
	y := u.tensor(state)
	u.reshape(flat, y)
	return y
}
