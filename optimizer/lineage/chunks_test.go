package lineage

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
)

// forward runs a network on one sample.
func forward(t *testing.T, n *Network, x [][]float32) []float32 {
	t.Helper()
	net, err := float.Compile(n.model, 1)
	if err != nil {
		t.Fatal(err)
	}
	e := net.NewExec(false)
	for i := range x {
		e.SetInput(i, x[i])
	}
	e.Forward()
	return slices.Clone(e.Output(0))
}

// What a chunk of a sequence is fed are its samples and the states that the steps before left: the last chunk answers as the whole sequence does, also
// of as many sequences at once as there are, and each place of a draw has a chunk of its own.
func TestChunksAreFedWhatTheStepsBeforeLeft(t *testing.T) {
	for name, states := range map[string][]tflite.StatePair{
		"ring_f32": nil, "ring_int8": nil, "mixed_f32": nil, "delay_f32": nil, "gru_f32": {{Input: "h", Output: "h_next"}}, "../recurrent/svdf_f32": nil,
	} {
		whole, chunked := streamedAt(t, name, states, false, 0), streamedAt(t, name, states, false, 3)
		run := fast(chunked)
		run.Data = samples(37, 2, numbers(chunked)...)
		net, err := float.Compile(chunked.model, 0)
		if err != nil {
			t.Fatal(err)
		}
		drawn := run.again(chunked, run.draw(100), 100)
		if len(drawn) != 2*37 {
			t.Fatalf("%s: %d places of 37 sequences for 100", name, len(drawn))
		}
		feed, err := run.feedOf(chunked, net, drawn, true)
		if err != nil {
			t.Fatal(err)
		}
		x := roomOf(chunked)
		for i, at := range drawn {
			if err := feed(i, x); err != nil {
				t.Fatal(err)
			}
			got := forward(t, chunked, x)
			sequence := dataset.Sample(run.Data.Train)
			if err := run.Data.Train.Read(at, sequence); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(forward(t, whole, sequence), got, cmpopts.EquateApprox(1e-5, 1e-6)); diff != "" {
				t.Fatalf("%s: the last chunk of sequence %d (-whole +chunk)\n%s", name, at, diff)
			}
		}
		p, err := piecesOf(run.Data.Train, net, chunked.chunks(), drawn, false)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]int{}
		for _, c := range p.chunk {
			seen[c]++
		}
		if len(seen) != chunked.chunks().Count() {
			t.Errorf("%s: the chunks that are looked at are %v", name, seen)
		}
	}
}

// roomOf makes room for what a network takes.
func roomOf(n *Network) (x [][]float32) {
	g := n.model.Subgraph()
	for _, t := range g.Inputs {
		size := 1
		for _, d := range g.Tensors[t].Shape {
			size *= int(d)
		}
		x = append(x, make([]float32, size))
	}
	return x
}
