package reconstruct

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func normal(n int, seed uint64, spread float64) []float32 {
	random := rand.New(rand.NewPCG(seed, 7))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(spread * random.NormFloat64())
	}
	return v
}

// network is conv → depthwise → grouped conv → transposed conv → dense twice with the same weights; seed chooses the first two kernels.
func network(seed uint64) *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 6, 5, 2)
	x = b.Conv("conv", x, normal(4*9*2, seed, 0.4), normal(4, 2, 0.2), 4, 3, 3, 2, schema.PaddingSAME, tflitetest.ReLU)
	x = b.Depthwise("depthwise", x, normal(9*4, seed+1, 0.5), normal(4, 4, 0.2), 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU6)
	grouped := b.Const("grouped/kernel", normal(6*4*2, 5, 0.5), 6, 2, 2, 2)
	x = b.Op("grouped", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions,
		&schema.Conv2DOptionsT{Padding: schema.PaddingVALID, StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 2, 2, 6}, x, grouped, -1)
	x = b.Op("transposed", schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions,
		&schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideH: 2, StrideW: 1}, []int32{1, 4, 2, 6},
		b.Ints("transposed/shape", 1, 4, 2, 6), b.Const("transposed/kernel", normal(6*3*2*6, 9, 0.5), 6, 3, 2, 6), x, b.Const("transposed/bias", normal(6, 10, 0.2), 6))
	x = b.MeanHW("mean", x)
	w, bias := b.Const("dense/kernel", normal(36, 6, 0.4), 6, 6), b.Const("dense/bias", normal(6, 8, 0.1), 6)
	for _, name := range []string{"first", "second"} {
		x = b.Op(name, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions,
			&schema.FullyConnectedOptionsT{FusedActivationFunction: tflitetest.ReLU}, []int32{1, 6}, x, w, bias)
	}
	b.Output(x)
	return b.Model()
}

const seen = 21

func feed(i int, inputs [][]float32) error {
	copy(inputs[0], normal(len(inputs[0]), uint64(100+i), 1))
	return nil
}

// at returns an input of a convolution, 0 in the padding.
func at(x []float32, w ir.Window, channels, y, x0, c int) float64 {
	if y < 0 || x0 < 0 || y >= w.InH || x0 >= w.InW {
		return 0
	}
	return float64(x[(y*w.InW+x0)*channels+c])
}

// rows are the inputs of one group of a node in one sample, pixel by pixel, the constant first, computed as the definition has it.
func rows(g *ir.Graph, l *Layer, node, group int, x []float32) [][]float64 {
	if attr, ok := g.Nodes[node].Attr.(ir.TransposeConv); ok {
		return spreadRows(attr, g.Tensors[g.Nodes[node].Inputs[2]].Shape[3], x)
	}
	attr, ok := g.Nodes[node].Attr.(ir.Conv)
	if !ok {
		row := []float64{1}
		for _, v := range x {
			row = append(row, float64(v))
		}
		return [][]float64{row}
	}
	channels := g.Tensors[g.Nodes[node].Inputs[0]].Shape[3]
	each := channels / l.Groups
	var all [][]float64
	for oy := range attr.OutH {
		for ox := range attr.OutW {
			row := []float64{1}
			for ky := range attr.KH {
				for kx := range attr.KW {
					for c := range each {
						row = append(row, at(x, attr.Window, channels, oy*attr.StrideH-attr.PadTop+ky, ox*attr.StrideW-attr.PadLeft+kx, group*each+c))
					}
				}
			}
			all = append(all, row)
		}
	}
	return all
}

// spreadRows are those of a transposed convolution: every input pixel goes to the output pixels under the kernel.
func spreadRows(attr ir.TransposeConv, channels int, x []float32) [][]float64 {
	all := make([][]float64, attr.OutH*attr.OutW)
	for r := range all {
		all[r] = make([]float64, 1+attr.KH*attr.KW*channels)
		all[r][0] = 1
	}
	for iy := range attr.InH {
		for ix := range attr.InW {
			for ky := range attr.KH {
				for kx := range attr.KW {
					oy, ox := iy*attr.StrideH-attr.PadTop+ky, ix*attr.StrideW-attr.PadLeft+kx
					if oy < 0 || ox < 0 || oy >= attr.OutH || ox >= attr.OutW {
						continue
					}
					for c := range channels {
						all[oy*attr.OutW+ox][1+(ky*attr.KW+kx)*channels+c] = float64(x[(iy*attr.InW+ix)*channels+c])
					}
				}
			}
		}
	}
	return all
}

func TestObserveTakesTheMomentsOfTheDefinition(t *testing.T) {
	target, err := float.Compile(network(1), 4)
	if err != nil {
		t.Fatal(err)
	}
	now, err := float.Compile(network(11), 4)
	if err != nil {
		t.Fatal(err)
	}
	layers, notes := Layers(now.Graph)
	if len(layers) != 5 || len(notes) != 0 {
		t.Fatalf("%d layers, notes %q", len(layers), notes)
	}
	single := func(n *float.Network, sample, tensor int) []float32 {
		e := n.NewExec(false)
		if err := e.SetBatch(1); err != nil {
			t.Fatal(err)
		}
		_ = feed(sample, [][]float32{e.Input(0)})
		e.Forward()
		return e.Tensor(tensor)
	}
	for _, l := range layers {
		for _, most := range []int{MaxTaps, 7, 1} { // the whole, and in parts
			l.Split(most)
			checkMoments(t, target, now, l, single)
		}
	}
}

// checkMoments compares what Observe finds with the definition; single runs a network on a sample and returns a tensor.
func checkMoments(t *testing.T, target, now *float.Network, l *Layer, single func(n *float.Network, sample, tensor int) []float32) {
	t.Helper()
	got, err := Observe(context.Background(), target, now, l, feed, seen)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(l.Parts) {
		t.Fatalf("%s: moments of %d parts, want %d", l.Name, len(got), len(l.Parts))
	}
	weights, bias := target.Param(l.Weight).Value, make([]float32, l.Groups*l.Outputs)
	if l.Bias != None {
		bias = target.Param(l.Bias).Value
	}
	for k, part := range l.Parts {
		n := part.Taps + 1
		h, g, count := make([]float64, n*n), make([]float64, l.Outputs*n), 0.0
		for sample := range seen {
			for _, node := range l.Nodes {
				input := now.Graph.Nodes[node].Inputs[l.data]
				given, wanted := rows(now.Graph, l, node, part.Group, single(now, sample, input)), rows(now.Graph, l, node, part.Group, single(target, sample, input))
				for r, whole := range given {
					x := append([]float64{1}, whole[1+part.From:1+part.From+part.Taps]...)
					count++
					for i := range n {
						for j := range n {
							h[i*n+j] += x[i] * x[j]
						}
					}
					for o := range l.Outputs {
						y := 0.0
						if part.From == 0 {
							y = float64(bias[l.Channel(k, o)])
						}
						for tap := range part.Taps {
							y += float64(weights[l.At(k, o, tap)]) * wanted[r][1+part.From+tap]
						}
						for i := range n {
							g[o*n+i] += y * x[i]
						}
					}
				}
			}
		}
		near(t, l.Name+" H", got[k].H, h, 1/count)
		near(t, l.Name+" G", got[k].G, g, 1/count)
	}
}

func near(t *testing.T, what string, got, sums []float64, by float64) {
	t.Helper()
	if len(got) != len(sums) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(sums))
	}
	for i, s := range sums {
		if d := math.Abs(got[i] - s*by); !(d <= 1e-4*(1+math.Abs(s*by))) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], s*by)
		}
	}
}

func TestObserveStopsWhenItIsTold(t *testing.T) {
	n, err := float.Compile(network(1), 4)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := Layers(n.Graph)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Observe(ctx, n, n, layers[0], feed, seen); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSplitCutsInputsIntoEqualParts(t *testing.T) {
	for _, c := range []struct {
		taps, most int
		want       []Part
	}{
		{6, 6, []Part{{0, 0, 6}, {1, 0, 6}}},
		{7, 6, []Part{{0, 0, 3}, {0, 3, 4}, {1, 0, 3}, {1, 3, 4}}},
		{MaxTaps + 1, MaxTaps, []Part{{0, 0, 409}, {0, 409, 410}, {0, 819, 410}, {0, 1229, 410}, {0, 1639, 410}, {1, 0, 409}, {1, 409, 410}, {1, 819, 410}, {1, 1229, 410}, {1, 1639, 410}}},
		{MaxShared, MaxShared, []Part{{0, 0, MaxShared}, {1, 0, MaxShared}}},
	} {
		l := &Layer{Groups: 2, Outputs: 3, Taps: c.taps}
		l.Split(c.most)
		if diff := cmp.Diff(c.want, l.Parts); diff != "" {
			t.Errorf("%d inputs, at most %d: %s", c.taps, c.most, diff)
		}
		seen := map[int]int{}
		for k, p := range l.Parts {
			for o := range l.Outputs {
				for tap := range p.Taps {
					seen[l.At(k, o, tap)]++
				}
			}
		}
		if len(seen) != l.Groups*l.Outputs*l.Taps {
			t.Errorf("%d inputs, at most %d: parts have %d of %d weights", c.taps, c.most, len(seen), l.Groups*l.Outputs*l.Taps)
		}
	}
}

func TestLargeNetworksAreLookedAtOnFewerSamples(t *testing.T) {
	deep := func(side, layers int32) (*ir.Graph, []*Layer) {
		b := tflitetest.New()
		x := b.Input("x", 1, side, side, 64)
		for range layers {
			x = b.Conv("conv", x, make([]float32, 64*9*64), nil, 64, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
		}
		b.Output(x)
		g, err := ir.Parse(b.Model(), 1)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := Layers(g)
		return g, list
	}
	// A layer of 224 × 224 pixels multiplies 1.85e9 times; before three of them it is 0, 1 and 2 layers, of two networks.
	for _, tc := range []struct {
		side, layers int32
		want         int
	}{{8, 3, 512}, {224, 1, 512}, {224, 3, 180}, {224, 12, leastSamples}} {
		g, layers := deep(tc.side, tc.layers)
		if got := Samples(g, layers, 512); got != tc.want {
			t.Errorf("%d layers of %d pixels: %d samples, want %d", tc.layers, tc.side, got, tc.want)
		}
	}
}
