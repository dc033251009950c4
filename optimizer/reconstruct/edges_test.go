package reconstruct

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestNearestIsTheCodeOfLeastCost(t *testing.T) {
	plain := &Values{Scale: 0.5, Codes: codes(-4, -1, 2)}
	priced := &Values{Scale: 0.5, Codes: codes(-4, -1, 2), Bits: []float64{0, 3, 0.5}, Lambda: 1}
	free := &Values{Scale: 0.5, Codes: codes(-4, -1, 2), Bits: []float64{0, 3, 0.5}}
	for _, c := range []struct {
		v         *Values
		t, moment float64
		want      int8
	}{
		{plain, -9, 1, -4}, {plain, -2, 1, -4}, {plain, -1.3, 1, -4}, {plain, -1.25, 1, -1}, {plain, -1.2, 1, -1}, {plain, -0.5, 1, -1},
		{plain, 0.2, 1, -1}, {plain, 0.3, 1, 2}, {plain, 1, 1, 2}, {plain, 9, 1, 2},
		{free, -0.5, 0.01, -1},
		{priced, -0.5, 1, -1},   // costs 9, 3 and 9.5
		{priced, -0.5, 0.3, -4}, // 2.7, 3 and 3.2
		{priced, 0.5, 0.3, 2},   // 7.5, 4.2 and 0.8
		{priced, 0, 0.3, 2},     // 4.8, 3.3 and 1.7
	} {
		if got := c.v.nearest(c.t, c.moment); got != c.want {
			t.Errorf("%v of %v at %v: %d, want %d", c.v, c.t, c.moment, got, c.want)
		}
	}
	for code, want := range map[int8]float64{-4: 0, -1: 3, 2: 0.5} {
		if got := priced.price(code); got != want {
			t.Errorf("code %d costs %v, want %v", code, got, want)
		}
		if free.price(code) != 0 || plain.price(code) != 0 {
			t.Errorf("code %d has a price", code)
		}
	}
}

func TestWithoutABiasItsPlaceIsIgnored(t *testing.T) {
	m := &Moments{Inputs: 2, H: []float64{1, 2, 2, 14.0 / 3}, G: []float64{4, 2 * 14.0 / 3}, Energy: []float64{4 * 14.0 / 3}, Rows: 3}
	p, err := NewProblem(m, [][]float64{{9, 2}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, bias := range []float64{0, 7} {
		if p.Best(0)[0] != 0 || p.Error(0, []float64{bias, 2}) > 1e-12 {
			t.Errorf("bias %v: best %v, error %v", bias, p.Best(0), p.Error(0, []float64{bias, 2}))
		}
	}
	if got, _ := p.Left(0, []float64{0, 2}); got > 1e-9 {
		t.Errorf("%v is left of what is met", got)
	}
	if got := p.BiasFor(0, []float32{3}); got != 0 {
		t.Errorf("a bias of %v", got)
	}
}

func TestMomentIsTheDampedDiagonal(t *testing.T) {
	p, _ := problem(t, 4, 5, 1, true)
	m, damping := p.moments, 0.0
	for i := 1; i < m.Inputs; i++ {
		damping += Damping * m.H[i*m.Inputs+i] / float64(m.Inputs-1)
	}
	for tap, got := range p.Moment() {
		if want := m.H[(tap+1)*m.Inputs+tap+1] + damping; math.Abs(got-want) > 1e-9*want {
			t.Errorf("tap %d: %v, want %v", tap, got, want)
		}
	}
	for i := 2; i < p.n; i++ {
		if p.a[i*p.n+i] < p.a[(i-1)*p.n+i-1] {
			t.Errorf("coordinate %d has a lower moment than the one before", i)
		}
	}
	if p.taps[0] != -1 {
		t.Errorf("coordinates begin with tap %d, not the bias", p.taps[0])
	}
}

// What Babai's rounding leaves is at most half a step along each direction, and costs what cost says.
func TestNearestPlaneStaysWithinHalfASteps(t *testing.T) {
	v := &Values{Scale: 0.25, Codes: every()}
	for seed := range uint64(20) {
		p, _ := problem(t, seed, 6, 2, true)
		shared := p.Share()
		f, keep := shared.factor, shared.keep
		var most, squares, taps float64
		for k, i := range keep {
			if r := f.row(k)[0]; i > 0 {
				most += r * r * v.Scale * v.Scale / 4
				squares, taps = squares+r*r, taps+1
			}
		}
		if got := f.mean(keep); math.Abs(got-squares/taps) > 1e-9*got {
			t.Errorf("mean %v, want %v", got, squares/taps)
		}
		for o := range p.Outputs() {
			w := p.nearestPlane(f, keep, p.solveOn(f, keep, o), v, f.mean(keep))
			if got := p.Error(o, p.natural(w)); got > most*(1+1e-9) {
				t.Errorf("seed %d: error %v, at most %v", seed, got, most)
			}
			for i, x := range w {
				if c := x / v.Scale; p.taps[i] >= 0 && c != math.Round(c) {
					t.Errorf("weight %v is no code", x)
				}
			}
		}
	}
}

// No other code of one tap costs less, prices included.
func TestAssignedCodesAreALeastOfTheirNeighbours(t *testing.T) {
	for seed := range uint64(30) {
		p, _ := problem(t, seed, 6, 2, seed%2 == 0)
		v := &Values{Scale: 0.5, Codes: codes(-5, -3, -2, -1, 0, 1, 2, 4), Bits: []float64{4, 3, 6, 1, 1, 2, 5, 3}, Lambda: 0.2}
		var mask []uint8
		if seed%3 == 0 {
			mask = []uint8{1, 1, 0, 1, 0, 1}
		}
		shared := p.Share()
		f, keep := shared.factor, shared.keep
		if mask != nil {
			var err error
			keep = p.survivors(mask)
			if f, err = p.factor(keep); err != nil {
				t.Fatal(err)
			}
		}
		cost := func(o int, c []int8) float64 {
			taps := make([]float32, len(c))
			for i, w := range full(v, c, 0)[1:] {
				taps[i] = float32(w)
			}
			sum := p.Error(o, full(v, c, p.BiasFor(o, taps)))
			for tap, code := range c {
				if mask == nil || mask[tap] != 0 {
					sum += v.Scale * v.Scale * f.mean(keep) * v.price(code)
				}
			}
			return sum
		}
		for o := range p.Outputs() {
			got, bias, err := p.Assign(o, mask, v, shared, nil)
			if err != nil {
				t.Fatal(err)
			}
			least := cost(o, got)
			w := make([]float64, p.n)
			for i, tap := range p.taps {
				if w[i] = bias; tap >= 0 {
					w[i] = v.Scale * float64(got[tap])
				}
			}
			if c := p.cost(o, keep, w, v, f.mean(keep)); math.Abs(c-least) > 1e-9*(1+least) {
				t.Errorf("seed %d: cost %v, want %v", seed, c, least)
			}
			// Its bias is fitted once more at the end, so that a step of one code is compared at the bias that codes were decided with.
			for tap := range got {
				if mask != nil && mask[tap] == 0 {
					continue
				}
				for _, code := range v.Codes {
					other := append([]int8{}, got...)
					other[tap] = code
					fixed := p.Error(o, full(v, other, bias)) - p.Error(o, full(v, got, bias)) + v.Scale*v.Scale*f.mean(keep)*(v.price(code)-v.price(got[tap]))
					if fixed < -1e-9*(1+least) {
						t.Errorf("seed %d, output %d, tap %d: code %d instead of %d saves %v of %v", seed, o, tap, code, got[tap], -fixed, least)
					}
				}
			}
			again, _, err := p.Assign(o, mask, v, shared, got)
			if err != nil || cost(o, again) > least*(1+1e-9) {
				t.Errorf("seed %d: given codes of cost %v became %v (%v)", seed, least, cost(o, again), err)
			}
		}
	}
}

// Given codes that cost less than what rounding finds are kept.
func TestGivenCodesStayWhereTheyAreBetter(t *testing.T) {
	kept := 0
	for seed := range uint64(60) {
		p, _ := problem(t, seed, 5, 1, true)
		v := &Values{Scale: 0.9, Codes: codes(-2, -1, 1, 2)}
		shared := p.Share()
		best, least := make([]int8, 5), math.Inf(1)
		for choice := range 1 << 10 {
			c := make([]int8, 5)
			taps := make([]float32, 5)
			for i := range c {
				c[i] = v.Codes[choice>>(2*i)&3]
				taps[i] = float32(v.Scale * float64(c[i]))
			}
			if e := p.Error(0, full(v, c, p.BiasFor(0, taps))); e < least {
				best, least = c, e
			}
		}
		found, bias, err := p.Assign(0, nil, v, shared, nil)
		if err != nil {
			t.Fatal(err)
		}
		alone := p.Error(0, full(v, found, bias))
		got, bias, err := p.Assign(0, nil, v, shared, best)
		if err != nil {
			t.Fatal(err)
		}
		if e := p.Error(0, full(v, got, bias)); e > least*(1+1e-6) {
			t.Errorf("seed %d: error %v, the given codes have %v", seed, e, least)
		}
		if alone > least*(1+1e-6) {
			kept++
		}
	}
	if kept == 0 {
		t.Error("rounding alone found the best in every case: the test tests nothing")
	}
}

func TestRefitOfEverything(t *testing.T) {
	p, _ := problem(t, 3, 4, 1, true)
	w, costs, err := p.Refit(0, nil, false)
	if diff := cmp.Diff(p.Best(0), w); diff != "" || costs != nil || err != nil {
		t.Error(diff, costs, err)
	}
	w, costs, err = p.Refit(0, nil, true)
	if err != nil || len(costs) != 4 || p.Error(0, w) > 1e-9 {
		t.Errorf("error %v, costs %v, %v", p.Error(0, w), costs, err)
	}
	free, _ := problem(t, 3, 4, 1, false)
	w, costs, err = free.Refit(0, []uint8{0, 0, 0, 0}, true)
	if diff := cmp.Diff(make([]float64, 5), w); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if diff := cmp.Diff(make([]float64, 4), costs); diff != "" {
		t.Error(diff)
	}
}

func TestSamplesFollowTheSizeOfTheNetwork(t *testing.T) {
	of := func(batch, each int, nodes ...int) (*ir.Graph, []*Layer) {
		g, layers := &ir.Graph{Batch: batch}, []*Layer(nil)
		for i := range 5 {
			g.Nodes = append(g.Nodes, ir.Node{Index: i, Attr: ir.FullyConnected{Rows: batch, In: each, Out: 1}})
		}
		g.Nodes[2].Attr = ir.Reshape{}
		for _, n := range nodes {
			layers = append(layers, &Layer{Nodes: []int{n}})
		}
		return g, layers
	}
	for name, c := range map[string]struct {
		batch, each int
		nodes       []int
		most, want  int
	}{
		"the first layer costs nothing":           {1, 1e15, []int{0}, 5000, 5000},
		"as many as there are":                    {1, 1e6, []int{0, 1}, 1e6, 1e6},
		"two layers, the second behind the first": {1, 1e6, []int{0, 1, 2}, 4e5, 333333},
		"an operator that multiplies nothing":     {1, 1e6, []int{3}, 1e6, 5e5},
		"a batch costs what its samples do":       {4, 1e6, []int{3}, 1e6, 5e5},
		"never less than these":                   {1, 1e12, []int{1}, 5000, leastSamples},
		"but no more than there are":              {1, 1e12, []int{1}, 10, 10},
	} {
		g, layers := of(c.batch, c.each, c.nodes...)
		if got := Samples(g, layers, c.most); got != c.want {
			t.Errorf("%s: %d samples, want %d", name, got, c.want)
		}
	}
}

func TestLayersSayWhatIsNotReconstructed(t *testing.T) {
	dense := func(b *tflitetest.Builder, x, w, bias int32) int32 {
		return b.Op("dense", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, b.Shape(w)[0]}, x, w, bias)
	}
	for name, c := range map[string]struct {
		build func(b *tflitetest.Builder) int32
		want  string // layers by name: groups, outputs, taps, whether with a bias, nodes
		notes string
	}{
		"as many inputs as are allowed": {func(b *tflitetest.Builder) int32 {
			return dense(b, b.Input("x", 1, MaxTaps), b.Const("w", make([]float32, 2*MaxTaps), 2, MaxTaps), -1)
		}, "w: 1 2 2048 false [0]", ""},
		"one more": {func(b *tflitetest.Builder) int32 {
			return dense(b, b.Input("x", 1, MaxTaps+1), b.Const("w", make([]float32, 2*MaxTaps+2), 2, MaxTaps+1), -1)
		}, "w: 1 2 2049 false [0]", ""},
		"more than there is memory for": {func(b *tflitetest.Builder) int32 {
			return dense(b, b.Input("x", 1, 1<<17), b.Const("w", make([]float32, 2<<17), 2, 1<<17), -1)
		}, "", `weights "w": 2 outputs of 131072 inputs are more than can be reconstructed`},
		"weights that another operator reads": {func(b *tflitetest.Builder) int32 {
			w := b.Const("w", make([]float32, 2), 1, 2)
			return b.Add("add", dense(b, b.Input("x", 1, 2), w, -1), w, tflitetest.None)
		}, "", `weights "w" are read by other operators too, and are not reconstructed`},
		"a bias that another operator reads": {func(b *tflitetest.Builder) int32 {
			bias := b.Const("bias", make([]float32, 2), 2)
			return b.Add("add", dense(b, b.Input("x", 1, 2), b.Const("w", make([]float32, 4), 2, 2), bias), bias, tflitetest.None)
		}, "w: 1 2 2 false [0]", ""},
		"weights read twice with one bias": {func(b *tflitetest.Builder) int32 {
			w, bias := b.Const("w", make([]float32, 4), 2, 2), b.Const("bias", make([]float32, 2), 2)
			return dense(b, dense(b, b.Input("x", 1, 2), w, bias), w, bias)
		}, "w: 1 2 2 true [0 1]", ""},
		"weights read twice with two": {func(b *tflitetest.Builder) int32 {
			w := b.Const("w", make([]float32, 4), 2, 2)
			return dense(b, dense(b, b.Input("x", 1, 2), w, b.Const("bias", make([]float32, 2), 2)), w, b.Const("other", make([]float32, 2), 2))
		}, "w: 1 2 2 false [0 1]", ""},
		"weights that are no constant": {func(b *tflitetest.Builder) int32 {
			return dense(b, b.Input("x", 1, 2), b.Input("w", 3, 2), -1)
		}, "", ""},
		"an input that is a constant": {func(b *tflitetest.Builder) int32 {
			return b.Add("add", dense(b, b.Const("c", make([]float32, 2), 1, 2), b.Const("w", make([]float32, 4), 2, 2), -1), b.Input("x", 1, 2), tflitetest.None)
		}, "", ""},
		"two filters a channel": {func(b *tflitetest.Builder) int32 {
			return b.Op("y", schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions,
				&schema.DepthwiseConv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}, []int32{1, 4, 4, 6}, b.Input("x", 1, 4, 4, 3), b.Const("w", make([]float32, 36), 1, 2, 3, 6))
		}, "w: 3 2 6 false [0]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(c.build(b))
			g, err := ir.Parse(b.Model(), 0)
			if err != nil {
				t.Fatal(err)
			}
			layers, notes := Layers(g)
			var list []string
			for _, l := range layers {
				list = append(list, fmt.Sprintf("%s: %d %d %d %t %v", l.Name, l.Groups, l.Outputs, l.Taps, l.Bias != None, l.Nodes))
			}
			if got := strings.Join(list, "; "); got != c.want {
				t.Errorf("layers %q, want %q", got, c.want)
			}
			if got := strings.Join(notes, "; "); got != c.notes {
				t.Errorf("notes %q, want %q", got, c.notes)
			}
		})
	}
}

func TestMoreInputsAreObservedOnMoreRows(t *testing.T) {
	for taps, want := range map[int]int{1: leastRows, 9: leastRows, 64: 65 * rowsPerInput, 300: mostRows} {
		if got := rowsOf(&Layer{Parts: []Part{{Taps: 1}, {Taps: taps}}}); got != want {
			t.Errorf("%d taps: %d rows, want %d", taps, got, want)
		}
	}
}

// Of more pixels than are taken, every second one is, and of each sample the other half than of the one before.
func TestObserveLeavesPixelsOutEvenly(t *testing.T) {
	const side, samples = 32, 8
	b := tflitetest.New()
	b.Output(b.Conv("conv", b.Input("x", 1, side, side, 1), []float32{2}, []float32{1}, 1, 1, 1, 1, schema.PaddingSAME, tflitetest.None))
	network, err := float.Compile(b.Model(), 4)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := Layers(network.Graph)
	value := func(sample, pixel int) float64 { return float64((sample*7+pixel*3)%11) - 4 }
	feed := func(i int, inputs [][]float32) error {
		for p := range inputs[0] {
			inputs[0][p] = float32(value(i, p))
		}
		return nil
	}
	all, err := Observe(context.Background(), network, network, layers[0], quantize.Feed(feed), samples)
	if err != nil {
		t.Fatal(err)
	}
	var sum, squares, energy float64
	rows := 0
	for s := range samples {
		for p := s % 2; p < side*side; p += 2 {
			v := value(s, p)
			sum, squares, energy = sum+v, squares+v*v, energy+(2*v+1)*(2*v+1)
			rows++
		}
	}
	m, n := all[0], float64(rows)
	if m.Rows != rows || rows != leastRows {
		t.Errorf("%d rows, want %d", m.Rows, rows)
	}
	for name, c := range map[string][2]float64{
		"1": {m.H[0], 1}, "x": {m.H[1], sum / n}, "x again": {m.H[2], sum / n}, "x²": {m.H[3], squares / n},
		"y": {m.G[0], (2*sum + n) / n}, "xy": {m.G[1], (2*squares + sum) / n}, "y²": {m.Energy[0], energy / n},
	} {
		if math.Abs(c[0]-c[1]) > 1e-4*(1+math.Abs(c[1])) {
			t.Errorf("mean of %s: %v, want %v", name, c[0], c[1])
		}
	}
	if _, err := Observe(context.Background(), network, network, layers[0], quantize.Feed(feed), 0); err == nil {
		t.Error("no sample is no error")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Observe(ended, network, network, layers[0], quantize.Feed(feed), samples); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
