package float

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// chain is the graph of n operators: TANH after TANH, a product y by a constant, and y + y.
func chain(t *testing.T, n int) *ir.Graph {
	t.Helper()
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	for range n - 2 {
		x = b.Unary("tanh", schema.BuiltinOperatorTANH, x)
	}
	y := b.Op("y", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, []int32{1, 2}, x, b.Const("c", []float32{2, -3}, 1, 2))
	b.Output(b.Add("sum", y, y, tflitetest.None))
	g, err := ir.Parse(b.Model(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAnOpComputesWithItsOwnTensors(t *testing.T) {
	g := chain(t, 4)
	for node, want := range map[int][]float32{
		1: {float32(math.Tanh(0.5)), float32(math.Tanh(0.25))},
		2: {1, -0.75}, // by a constant
		3: {1, 0.5},   // of one tensor twice
	} {
		o, err := NewOp(g, node)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []*Op{o, o.Clone()} {
			x, y := []float32{0.5, 0.25}, make([]float32, 2)
			o.Forward([][]float32{x, x}, [][]float32{y})
			for i := range y {
				if math.Abs(float64(y[i]-want[i])) > 1e-6 {
					t.Errorf("operator %d: %v, want %v", node, y, want)
				}
			}
		}
	}
}

func TestAnOpIsNamedByItsPlaceInTheGraph(t *testing.T) {
	g := chain(t, 4)
	g.Nodes[3].Attr = nil
	if _, err := NewOp(g, 3); err == nil || !strings.HasPrefix(err.Error(), g.Nodes[3].String()) {
		t.Error(err)
	}
}

// Otherwise the memory of a network of float operators grows with their square.
func TestTheMemoryOfAnOpDoesNotGrowWithTheGraph(t *testing.T) {
	const count, limit = 100, 8 << 10
	g := chain(t, 5000)
	kept := make([]*Op, 0, 2*count)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for node := range count {
		o, err := NewOp(g, 4000+node)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, o, o.Clone())
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(count); each > limit {
		t.Errorf("an operator of %d and its clone take %d bytes, want at most %d", len(g.Nodes), each, limit)
	}
	runtime.KeepAlive(kept)
}
