package channel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// point is a convolution of 1×1.
func (b net) point(name string, x, out int32, act tflitetest.Act) int32 {
	return b.Conv(name, x, gauss(out*b.Shape(x)[3]), gauss(out), out, 1, 1, 1, schema.PaddingSAME, act)
}

// residuals by name; each is what lies between the input and the last layer.
var residuals = map[string]struct {
	build    func(b net, x int32) int32
	branches []string // by the sum's name: weights, and what is left of the network without it, but for its end
	stays    []string
}{
	"after the activation": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Add("sum", x, b.point("c", b.conv("b", x, 6), 8, tflitetest.None), tflitetest.ReLU)
		}, []string{"sum: b+c → CONV_2D a"}, nil,
	},
	"the branch first": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.conv("d", b.Add("sum", b.point("c", x, 8, tflitetest.None), x, tflitetest.ReLU), 4)
		}, []string{"sum: c → CONV_2D a, CONV_2D d"}, nil,
	},
	"linear bottlenecks, one after the other": {
		func(b net, x int32) int32 {
			x = b.point("a", x, 4, tflitetest.None)
			x = b.Add("first", x, b.point("d", b.depthwise("c", b.point("b", x, 8, tflitetest.ReLU6), 1), 4, tflitetest.None), tflitetest.None)
			x = b.Add("second", x, b.point("e", x, 4, tflitetest.None), tflitetest.None)
			return b.point("f", x, 4, tflitetest.None)
		}, []string{"first: b+c+d → CONV_2D a, CONV_2D e, ADD second, CONV_2D f", "second: e → CONV_2D a, CONV_2D b, DEPTHWISE_CONV_2D c, CONV_2D d, ADD first, CONV_2D f"}, nil,
	},
	"an activation that the skip has not": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			x = b.Pool("pool", schema.BuiltinOperatorAVERAGE_POOL_2D, x, 2, 2, schema.PaddingSAME)
			return b.Add("sum", x, b.point("b", x, 8, tflitetest.None), tflitetest.ReLU6)
		}, []string{"sum: b → CONV_2D a, AVERAGE_POOL_2D pool, RELU6 sum"}, nil,
	},
	"a linear skip that takes the activation": {
		func(b net, x int32) int32 {
			x = b.point("a", x, 8, tflitetest.None)
			return b.Add("sum", x, b.conv("b", x, 8), tflitetest.ReLU)
		}, []string{"sum: b → CONV_2D+RELU sum"}, nil,
	},
	"a projection": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 4)
			return b.Add("sum", b.point("p", x, 8, tflitetest.None), b.point("c", b.conv("b", x, 8), 8, tflitetest.None), tflitetest.ReLU)
		}, []string{"sum: b+c → CONV_2D a, CONV_2D+RELU sum"}, nil,
	},
	"a projection of more multiplications": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 4)
			return b.Add("sum", b.conv("p", x, 8), b.point("b", x, 8, tflitetest.None), tflitetest.ReLU6)
		}, []string{"sum: p → CONV_2D a, CONV_2D+RELU6 sum"}, nil,
	},
	"before the activation": {
		func(b net, x int32) int32 {
			x = b.point("a", x, 8, tflitetest.None)
			y := b.point("c", b.point("b", b.Unary("relu", schema.BuiltinOperatorRELU, x), 8, tflitetest.ReLU), 8, tflitetest.None)
			return b.Unary("last relu", schema.BuiltinOperatorRELU, b.Add("sum", x, y, tflitetest.None))
		}, []string{"sum: b+c → CONV_2D a, RELU last relu"}, nil,
	},
	"a squeeze and excitation inside": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			y := b.conv("b", x, 8)
			gate := b.Unary("gate", schema.BuiltinOperatorLOGISTIC, b.point("s", b.Pool("mean", schema.BuiltinOperatorAVERAGE_POOL_2D, y, 6, 6, schema.PaddingVALID), 8, tflitetest.None))
			return b.Add("sum", x, b.Op("scaled", schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{}, b.Shape(y), y, gate), tflitetest.None)
		}, []string{"sum: b+s → CONV_2D a"}, nil,
	},
	"one inside of the other": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			y := b.conv("b", x, 8)
			y = b.Add("inner", y, b.conv("c", y, 8), tflitetest.ReLU)
			return b.Add("outer", x, b.point("d", y, 8, tflitetest.None), tflitetest.ReLU)
		}, []string{"inner: c → CONV_2D a, CONV_2D b, CONV_2D d, ADD outer", "outer: b+c+d → CONV_2D a"}, nil,
	},
	"of the input": {
		func(b net, x int32) int32 {
			return b.conv("c", b.Add("sum", x, b.point("b", b.conv("a", x, 8), 3, tflitetest.None), tflitetest.None), 4)
		}, []string{"sum: a+b → CONV_2D c"}, nil,
	},
	"weights that another layer has too": {
		func(b net, x int32) int32 {
			x = b.point("a", x, 8, tflitetest.ReLU)
			w := b.Const("twice/kernel", gauss(64), 8, 1, 1, 8)
			twice := func(name string, x int32) int32 {
				o := &schema.Conv2DOptionsT{Padding: schema.PaddingSAME, StrideW: 1, StrideH: 1, DilationWFactor: 1, DilationHFactor: 1}
				return b.Op(name, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, b.Shape(x), x, w)
			}
			return twice("after", b.Add("sum", x, twice("inside", x), tflitetest.ReLU))
		}, []string{"sum: twice → CONV_2D a, CONV_2D after"}, nil,
	},
	"a branch that is read elsewhere": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			y := b.conv("b", x, 8)
			return b.Concat("all", 3, b.Add("sum", x, y, tflitetest.None), y)
		}, nil, []string{`sum: "b" is read elsewhere too, or is an input or output of the network`},
	},
	"a branch of which the middle is read elsewhere": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			y := b.conv("b", x, 8)
			return b.Concat("all", 3, b.Add("sum", x, b.conv("c", y, 8), tflitetest.None), y)
		}, nil, []string{`sum: one of them reads "b", which the other is not made of`},
	},
	"two ways that part and meet": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Add("sum", b.Add("left", x, x, tflitetest.None), b.Unary("right", schema.BuiltinOperatorTANH, x), tflitetest.None)
		}, nil, []string{"left: both of its sides are one tensor", "sum: no multiplications would go with either of its sides"},
	},
	"sides that repeat": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Add("sum", x, b.point("b", b.Pool("mean", schema.BuiltinOperatorAVERAGE_POOL_2D, x, 6, 6, schema.PaddingVALID), 8, tflitetest.None), tflitetest.None)
		}, []string{"sum: b → CONV_2D a"}, nil,
	},
	"constants are no branch": {
		func(b net, x int32) int32 {
			x = b.conv("a", x, 8)
			return b.Op("sum", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, b.Shape(x), x, b.Const("by", gauss(8), 8))
		}, nil, nil,
	},
}

func buildResidual(name string) *tflite.Model { return whole(residuals[name].build) }

// operators are those of a network but for its end, with the activation functions of those that make a sum.
func operators(m *tflite.Model) string {
	g := m.Subgraph()
	var list []string
	for _, o := range g.Operators[:len(g.Operators)-2] {
		code, _ := m.Op(o)
		name, act := g.Tensors[o.Outputs[0]].Name, ""
		if a := fusion(o); a != nil && *a != schema.ActivationFunctionTypeNONE && name == "sum" {
			act = "+" + a.String()
		}
		list = append(list, fmt.Sprint(code, act, " ", name))
	}
	return strings.Join(list, ", ")
}

func TestBranches(t *testing.T) {
	for name, want := range residuals {
		t.Run(name, func(t *testing.T) {
			m := buildResidual(name)
			branches, stays, err := Branches(m)
			if err != nil {
				t.Fatal(err)
			}
			var got, why []string
			for i := range branches {
				b := &branches[i]
				left, gone, err := b.Without(m)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s: %s → %s", b.Name, short(b.Weights), operators(left)))
				if len(left.Subgraph().Operators)+len(gone) != len(m.Subgraph().Operators) || !slices.IsSorted(gone) {
					t.Errorf("%s: operators %v are said to be gone, %d of %d are left", b.Name, gone, len(left.Subgraph().Operators), len(m.Subgraph().Operators))
				}
			}
			for _, s := range stays {
				why = append(why, s.Name+": "+s.Why)
			}
			if d := cmp.Diff(want.branches, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(want.stays, why); d != "" {
				t.Error(d)
			}
		})
	}
}

// Without a branch a network computes what it does with zeros in its place, and the branch's weights are not in it.
func TestWithoutABranch(t *testing.T) {
	for name := range residuals {
		t.Run(name, func(t *testing.T) {
			m := buildResidual(name)
			for {
				branches, _, err := Branches(m)
				if err != nil {
					t.Fatal(err)
				}
				if len(branches) == 0 {
					return
				}
				for i := range branches {
					without(t, m, &branches[i])
				}
				if m, _, err = branches[0].Without(m); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func without(t *testing.T, m *tflite.Model, b *Branch) {
	t.Helper()
	zeroed := b.Zeroed(m)
	left, _, err := b.Without(m)
	if err != nil {
		t.Fatal(err)
	}
	of, _, err := b.Without(zeroed)
	if err != nil {
		t.Fatal(err)
	}
	want, before := run(t, zeroed), run(t, m)
	if slices.Equal(want, before) {
		t.Errorf("%s: it does nothing", b)
	}
	for _, m := range []*tflite.Model{left, of} {
		content, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if m, err = tflite.Read(content); err != nil {
			t.Fatal(err)
		}
		for i, v := range run(t, m) {
			if math.Abs(float64(v-want[i])) > 1e-5 {
				t.Errorf("%s: output %d is %v without it, %v with zeros in its place", b, i, v, want[i])
			}
		}
	}
	read := map[string]bool{}
	for _, k := range weight.Kernels(left) {
		read[k.Name] = true
	}
	bytes := func(m *tflite.Model) (n int) {
		for _, b := range m.Buffers {
			n += len(b.Data)
		}
		return n
	}
	if len(left.Subgraph().Tensors) != len(m.Subgraph().Tensors) || bytes(left) >= bytes(m) && !read[b.Weights[0]] {
		t.Errorf("%s: %d tensors of %d, %d bytes of constants of %d", b, len(left.Subgraph().Tensors), len(m.Subgraph().Tensors), bytes(left), bytes(m))
	}
	for _, x := range left.Subgraph().Tensors {
		if slices.Contains(b.Weights, x.Name) && left.IsConst(x) != read[x.Name] {
			t.Errorf("%s: weights %q have values: %v, are read: %v", b, x.Name, left.IsConst(x), read[x.Name])
		}
	}
}

// What is the network's output stays, where nothing else can make it.
func TestABranchOfTheOutput(t *testing.T) {
	for act, want := range map[tflitetest.Act]string{tflitetest.None: `sum: it is the network's output "sum"`, tflitetest.ReLU: "RELU"} {
		seed = 0
		b := net{tflitetest.New()}
		x := b.point("a", b.Input("x", 1, 6, 6, 3), 4, tflitetest.None)
		b.Output(x)
		b.Output(b.Add("sum", x, b.point("b", x, 4, tflitetest.None), act))
		m := b.Model()
		branches, stays, err := Branches(m)
		if err != nil {
			t.Fatal(err)
		}
		if act == tflitetest.None {
			if len(branches) > 0 || len(stays) != 1 || stays[0].Name+": "+stays[0].Why != want {
				t.Errorf("branches %v, stays %v", branches, stays)
			}
			continue
		}
		left, _, err := branches[0].Without(m)
		if err != nil {
			t.Fatal(err)
		}
		g := left.Subgraph()
		if code, _ := left.Op(g.Operators[len(g.Operators)-1]); code.String() != want {
			t.Errorf("%s makes the sum, not %s", code, want)
		}
	}
}

func TestGone(t *testing.T) {
	for _, test := range []struct{ first, then, want []int }{
		{nil, []int{2, 3}, []int{2, 3}},
		{[]int{2, 3}, nil, []int{2, 3}},
		{[]int{0, 2, 3}, []int{0, 1, 2}, []int{0, 1, 2, 3, 4, 5}},
		{[]int{5}, []int{4, 5}, []int{4, 5, 6}},
		{[]int{1, 4}, []int{2, 5}, []int{1, 3, 4, 7}},
	} {
		if got := Gone(test.first, test.then); !slices.Equal(got, test.want) {
			t.Errorf("%v and then %v: %v, want %v", test.first, test.then, got, test.want)
		}
	}
}

// Whatever additions a network has, without the branches that can go it computes what it does with zeros in their place.
func TestBranchesOfAnyNetwork(t *testing.T) {
	taken := 0
	for s := range uint64(400) {
		m := anyResidual(s)
		for {
			branches, _, err := Branches(m)
			if err != nil {
				t.Fatal(err)
			}
			if len(branches) == 0 {
				break
			}
			b := &branches[int(s)%len(branches)]
			left, _, err := b.Without(m)
			if err != nil {
				t.Fatalf("network %d: %v", s, err)
			}
			want, got := run(t, b.Zeroed(m)), run(t, left)
			for i := range want {
				if d := math.Abs(float64(want[i] - got[i])); !(d <= 1e-4*max(1, math.Abs(float64(want[i])))) {
					t.Fatalf("network %d, %s: output %d is %v without it, %v with zeros in its place", s, b, i, got[i], want[i])
				}
			}
			m = left
			taken++
		}
	}
	if taken < 200 {
		t.Errorf("%d branches in 400 networks: too few to tell", taken)
	}
}

// anyResidual is a network of random operators on random tensors that were made before.
func anyResidual(from uint64) *tflite.Model {
	seed = from << 8
	random := rand.New(rand.NewPCG(from, 5))
	b := net{tflitetest.New()}
	made := []int32{b.Input("x", 1, 6, 6, 4)}
	acts := []tflitetest.Act{tflitetest.None, tflitetest.ReLU, tflitetest.ReLU6}
	for i := range 12 {
		x, name := made[len(made)-1-random.IntN(min(len(made), 3))], fmt.Sprint("t", i)
		switch random.IntN(7) {
		case 0:
			x = b.conv(name, x, 4)
		case 1:
			x = b.depthwise(name, x, 1)
		case 2:
			x = b.Unary(name, schema.BuiltinOperatorRELU, x)
		case 3, 4:
			x = b.point(name, x, 4, acts[random.IntN(3)])
		default:
			x = b.Add(name, x, made[len(made)-1-random.IntN(min(len(made), 4))], acts[random.IntN(3)])
		}
		made = append(made, x)
	}
	last := made[len(made)-1]
	flat := b.Flatten("flat", last)
	b.Output(b.Dense("last", flat, gauss(4*b.Shape(flat)[1]), gauss(4), 4, tflitetest.None))
	if random.IntN(3) == 0 {
		b.Output(last)
	}
	return b.Model()
}
