package equalize

import (
	"context"
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

// net builds networks on images of [1, 6, 6, 3] whose channels differ much in size.
type net struct {
	*tflitetest.Builder
	random *rand.Rand
}

func (b net) gauss(n int32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(0.3 * b.random.NormFloat64())
	}
	return v
}

// uneven are weights whose outputs, each of taps values, differ up to a hundred times in size.
func (b net) uneven(outputs, taps int32) []float32 {
	v := b.gauss(outputs * taps)
	for o := range outputs {
		by := float32(math.Pow(10, -2*b.random.Float64()))
		for i := range taps {
			v[o*taps+i] *= by
		}
	}
	return v
}

func (b net) conv(name string, x, out int32, act tflitetest.Act) int32 {
	in := b.Shape(x)[3]
	return b.Conv(name, x, b.uneven(out, 9*in), b.gauss(out), out, 3, 3, 1, schema.PaddingSAME, act)
}

func (b net) grouped(name string, x, out, groups int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", b.gauss(out*9*s[3]/groups), out, 3, 3, s[3]/groups)
	o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{s[0], s[1], s[2], out}, x, w, b.Const(name+"/bias", b.gauss(out), out))
}

func (b net) depthwise(name string, x, multiplier int32) int32 {
	s := b.Shape(x)
	w := b.Const(name+"/kernel", b.gauss(9*s[3]*multiplier), 1, 3, 3, s[3]*multiplier)
	o := &schema.DepthwiseConv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DepthMultiplier: multiplier, DilationWFactor: 1, DilationHFactor: 1}
	return b.Op(name, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, o, []int32{s[0], s[1], s[2], s[3] * multiplier}, x, w)
}

func (b net) transposed(name string, x, out int32) int32 {
	s := b.Shape(x)
	shape := []int32{1, 2 * s[1], 2 * s[2], out}
	o := &schema.TransposeConvOptionsT{Padding: schema.PaddingSAME, StrideW: 2, StrideH: 2}
	w := b.Const(name+"/kernel", b.gauss(out*4*s[3]), out, 2, 2, s[3])
	return b.Op(name, schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, o, shape, b.Ints(name+"/shape", shape...), w, x, b.Const(name+"/bias", b.gauss(out), out))
}

func (b net) mul(name string, x, y int32) int32 {
	return b.Op(name, schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(x), x, y)
}

// networks by name; each is what lies between the input and a last dense layer. units is how many channels are free, classes how many
// lie side by side.
var networks = map[string]struct {
	build          func(b net, x int32) int32
	units, classes int
}{
	"one after the other": {func(b net, x int32) int32 { return b.conv("b", b.conv("a", x, 8, tflitetest.ReLU), 6, tflitetest.ReLU) }, 14, 2},
	"depthwise": {func(b net, x int32) int32 {
		return b.conv("c", b.depthwise("b", b.conv("a", x, 8, tflitetest.ReLU), 2), 4, tflitetest.ReLU)
	}, 8 + 16 + 4, 3},
	"residual": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.None)
		return b.Add("sum", x, b.conv("c", b.conv("b", x, 5, tflitetest.ReLU), 8, tflitetest.None), tflitetest.ReLU)
	}, 8 + 5, 2},
	"grouped":    {func(b net, x int32) int32 { return b.grouped("b", b.conv("a", x, 8, tflitetest.ReLU), 6, 2) }, 14, 2},
	"transposed": {func(b net, x int32) int32 { return b.transposed("b", b.conv("a", x, 8, tflitetest.ReLU), 4) }, 12, 2},
	"concatenated, pooled and padded": {func(b net, x int32) int32 {
		x = b.Concat("both", 3, b.conv("a", x, 4, tflitetest.ReLU), b.conv("b", x, 3, tflitetest.None))
		x = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, x, 2, 2, schema.PaddingSAME)
		pads := b.Ints("pads", 0, 0, 1, 1, 1, 1, 0, 0)
		return b.Op("pad", schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, []int32{1, 5, 5, 7}, x, pads)
	}, 7, 1},
	"constants that are added and multiplied": {func(b net, x int32) int32 {
		x = b.mul("scale", b.conv("a", x, 8, tflitetest.ReLU), b.Const("scale/by", b.gauss(8), 8))
		return b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), b.Const("shift/by", b.gauss(8), 1, 1, 1, 8), x)
	}, 8, 1},
	"a gate": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		gate := b.Unary("gate", schema.BuiltinOperatorLOGISTIC, b.Dense("g", b.MeanHW("mean", x), b.gauss(8*8), b.gauss(8), 8, tflitetest.None))
		return b.mul("gated", x, gate)
	}, 8, 1},
	"weights used twice": {func(b net, x int32) int32 {
		x = b.conv("a", x, 4, tflitetest.ReLU)
		w, bias := b.Const("w", b.gauss(4*9*4), 4, 3, 3, 4), b.Const("w/bias", b.gauss(4), 4)
		for _, name := range []string{"first", "second"} {
			o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1, FusedActivationFunction: schema.ActivationFunctionTypeRELU}
			x = b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w, bias)
		}
		return x
	}, 4, 1},
	"swish": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.None)
		return b.mul("swish", x, b.Unary("sigmoid", schema.BuiltinOperatorLOGISTIC, x))
	}, 0, 0},
	"tanh": {func(b net, x int32) int32 {
		return b.Unary("tanh", schema.BuiltinOperatorTANH, b.conv("a", x, 8, tflitetest.None))
	}, 0, 0},
	"RELU6": {func(b net, x int32) int32 {
		return b.conv("b", b.conv("a", x, 8, tflitetest.ReLU6), 6, tflitetest.ReLU6)
	}, 14, 2},
	"a scalar": {func(b net, x int32) int32 {
		x = b.conv("a", x, 8, tflitetest.ReLU)
		return b.Op("shift", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), x, b.Const("shift/by", []float32{0.5}))
	}, 0, 0},
}

func model(build func(b net, x int32) int32) *tflite.Model {
	b := net{tflitetest.New(), rand.New(rand.NewPCG(3, 4))}
	x := build(b, b.Input("x", 1, 6, 6, 3))
	x = b.Flatten("flat", x)
	b.Output(b.Dense("out", x, b.gauss(5*b.Shape(x)[1]), b.gauss(5), 5, tflitetest.None))
	return b.Model()
}

func feed(i int, inputs [][]float32) error {
	random := rand.New(rand.NewPCG(uint64(i), 9))
	for k := range inputs[0] {
		inputs[0][k] = float32(3 * random.NormFloat64())
	}
	return nil
}

// Scaled networks compute what the given one does, whatever the factors are.
func TestScaledNetworksComputeTheSame(t *testing.T) {
	for name, tt := range networks {
		t.Run(name, func(t *testing.T) {
			m := model(tt.build)
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := Find(g, nil)
			if s.Units() != tt.units || s.Classes() != tt.classes {
				t.Errorf("%d units in %d classes, want %d in %d", s.Units(), s.Classes(), tt.units, tt.classes)
			}
			sizes, err := s.Measure(context.Background(), m, nil, feed, 8)
			if err != nil {
				t.Fatal(err)
			}
			mixes := make([]Mix, s.Classes())
			for i := range mixes {
				mixes[i] = Mix{Activation: 1}
			}
			factors := s.Factors(sizes, mixes)
			if len(s.clipped) == 0 { // any others have to do as well
				random := rand.New(rand.NewPCG(1, 1))
				for u := range factors {
					factors[u] *= math.Exp(random.NormFloat64())
				}
			}
			scaled, err := s.Apply(m, factors)
			if err != nil {
				t.Fatal(err)
			}
			want, got := run(t, m), run(t, scaled)
			for i := range want {
				if d := math.Abs(float64(want[i] - got[i])); d > 1e-4*(1+math.Abs(float64(want[i]))) {
					t.Fatalf("output %d is %v, before %v", i, got[i], want[i])
				}
			}
			if tt.units > 0 && cmp.Equal(values(t, m), values(t, scaled)) {
				t.Error("no constant changed")
			}
		})
	}
}

// values are those of a model's first kernel.
func values(t *testing.T, m *tflite.Model) []float32 {
	t.Helper()
	for _, tensor := range m.Subgraph().Tensors {
		if tensor.Name == "a/kernel" || tensor.Name == "a_w" || m.IsConst(tensor) && tensor.Type == schema.TensorTypeFLOAT32 {
			v, err := m.Float32s(tensor)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return nil
}

func run(t *testing.T, m *tflite.Model) (out []float32) {
	t.Helper()
	n, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	exec := n.NewForwardExec()
	for i := range 8 {
		if err := feed(i, [][]float32{exec.Input(0)}); err != nil {
			t.Fatal(err)
		}
		exec.Forward()
		out = append(out, exec.Output(0)...)
	}
	return out
}

func TestChannelsBecomeOneSize(t *testing.T) {
	tests := map[string]struct {
		act   tflitetest.Act
		bound float64 // of factor times largest value
	}{"RELU": {tflitetest.ReLU, math.Inf(1)}, "RELU6": {tflitetest.ReLU6, 6}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := model(func(b net, x int32) int32 { return b.depthwise("b", b.conv("a", x, 16, tt.act), 1) })
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			s := Find(g, nil)
			measure := func(m *tflite.Model) *Sizes {
				sizes, err := s.Measure(context.Background(), m, nil, feed, 8)
				if err != nil {
					t.Fatal(err)
				}
				return sizes
			}
			before := measure(m)
			mixes := make([]Mix, s.Classes())
			for i := range mixes {
				mixes[i] = Mix{Activation: 1}
			}
			factors := s.Factors(before, mixes)
			scaled, err := s.Apply(m, factors)
			if err != nil {
				t.Fatal(err)
			}
			after := measure(scaled)
			for u, size := range after.Activation {
				switch {
				case before.Activation[u] == 0:
				case before.Stays[u] && factors[u] != 1:
					t.Errorf("unit %d reaches 6 and is multiplied by %v", u, factors[u])
				case size < 0.999 && !(before.Most[u] < 1/before.Activation[u]):
					t.Errorf("unit %d is %.3f of the largest, before %.3f", u, size, before.Activation[u])
				}
			}
		})
	}
}

func TestFactors(t *testing.T) {
	inf := math.Inf(1)
	s := &Structure{roots: make([]int, 4), class: []int{0, 0, 0, 0}, classes: 1}
	sizes := &Sizes{
		Activation: []float64{0.25, 1, 0, 1e-6}, Reader: []float64{1, 0.25, 1, 1}, Maker: []float64{1, 1, 1, 0.25},
		Most: []float64{inf, inf, inf, 3}, Stays: make([]bool, 4),
	}
	tests := map[string]struct {
		mix  Mix
		want []float64
	}{
		"none":          {None, []float64{1, 1, 1, 1}},
		"activations":   {Mix{Activation: 1}, []float64{4, 1, 1, 3}},
		"half and half": {Mix{Activation: 0.5, Reader: 0.5}, []float64{2, 0.5, 1, 3}},
		"weights":       {Mix{Maker: 0.5, Reader: 0.5}, []float64{1, 0.5, 1, 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, s.Factors(sizes, []Mix{tt.mix})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Clustered weights keep their codes: what reads and makes their channels stays.
func TestKeptConstantsStay(t *testing.T) {
	m := model(networks["one after the other"].build)
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if n.Op == schema.BuiltinOperatorFULLY_CONNECTED {
			if s := Find(g, map[int]bool{n.Inputs[1]: true}); s.Units() != 8 {
				t.Errorf("%d units are free, want those of the first convolution, 8", s.Units())
			}
		}
	}
}
