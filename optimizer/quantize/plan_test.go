package quantize

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// sketch draws a graph by hand; tensors are known by name.
type sketch struct{ *ir.Graph }

func newSketch() sketch { return sketch{&ir.Graph{}} }

func (s sketch) tensor(name string, t ir.Tensor) int {
	t.Index, t.Name, t.Producer = len(s.Tensors), name, None
	if t.Shape == nil {
		t.Shape = []int{1, 4}
	}
	s.Tensors = append(s.Tensors, t)
	return t.Index
}

func (s sketch) input(name string) int {
	t := s.tensor(name, ir.Tensor{})
	s.Inputs = append(s.Inputs, t)
	return t
}

func (s sketch) constant(name string) int {
	return s.tensor(name, ir.Tensor{Const: make([]byte, 16)})
}

func (s sketch) op(op schema.BuiltinOperator, name string, inputs ...int) int {
	t := s.tensor(name, ir.Tensor{})
	s.Tensors[t].Producer = len(s.Nodes)
	for _, in := range inputs {
		s.Tensors[in].Consumers = append(s.Tensors[in].Consumers, len(s.Nodes))
	}
	s.Nodes = append(s.Nodes, ir.Node{Index: len(s.Nodes), Op: op, Inputs: inputs, Outputs: []int{t}})
	return t
}

func (s sketch) conv(name string, input int) int {
	return s.op(schema.BuiltinOperatorCONV_2D, name, input, s.constant(name+"/kernel"), s.constant(name+"/bias"))
}

// plan makes the plan with the given output.
func (s sketch) plan(t *testing.T, options Options, outputs ...int) *Plan {
	t.Helper()
	s.Outputs = outputs
	p, err := NewPlan(s.Graph, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// groups renders the plan's groups, one line each: members, "<" and the sources, or "=" and the fixed quantization's zero point.
func groups(p *Plan) []string {
	names := func(tensors []int) string {
		var list []string
		for _, t := range tensors {
			list = append(list, p.Graph.Tensors[t].Name)
		}
		return strings.Join(list, " ")
	}
	var lines []string
	for _, g := range p.Groups {
		if g.Fixed != nil {
			lines = append(lines, names(g.Tensors)+" = fixed")
		} else {
			lines = append(lines, names(g.Tensors)+" < "+names(g.Sources))
		}
	}
	slices.Sort(lines)
	return lines
}

// requantized lists the operands read in another group than their own.
func requantized(p *Plan) []string {
	var lines []string
	for i, n := range p.Nodes {
		for slot, g := range n.Operands {
			if t := p.Graph.Nodes[i].Inputs[slot]; g != None && p.Tensor[t] != None && p.Tensor[t] != g {
				lines = append(lines, p.Graph.Tensors[t].Name+" into "+p.Graph.Tensors[p.Graph.Nodes[i].Outputs[0]].Name)
			}
		}
	}
	return lines
}

func TestTensorsThatMustAgreeShareAGroup(t *testing.T) {
	const (
		concat  = schema.BuiltinOperatorCONCATENATION
		softmax = schema.BuiltinOperatorSOFTMAX
		tanh    = schema.BuiltinOperatorTANH
		reshape = schema.BuiltinOperatorRESHAPE
		pool    = schema.BuiltinOperatorMAX_POOL_2D
		average = schema.BuiltinOperatorAVERAGE_POOL_2D
		add     = schema.BuiltinOperatorADD
		maximum = schema.BuiltinOperatorMAXIMUM
	)
	for name, tc := range map[string]struct {
		draw         func(s sketch) int
		options      Options
		want         []string
		wantQuantize []string
	}{
		"pools and reshapes share the convolution's, softmax is fixed": {
			draw: func(s sketch) int {
				y := s.op(reshape, "flat", s.op(pool, "pool", s.conv("conv", s.input("x"))))
				return s.op(softmax, "softmax", s.op(schema.BuiltinOperatorFULLY_CONNECTED, "dense", y, s.constant("w")))
			},
			want: []string{"conv pool flat < conv", "dense < dense", "softmax = fixed", "x < x"},
		},
		"a convolution that feeds two poolings and an addition has one quantization": {
			draw: func(s sketch) int {
				y := s.conv("conv", s.input("x"))
				return s.op(add, "add", s.op(pool, "max", y), s.op(average, "avg", y))
			},
			want: []string{"add < add", "conv max avg < conv", "x < x"},
		},
		"concatenated tensors share one": {
			draw: func(s sketch) int {
				x := s.input("x")
				return s.op(concat, "concat", s.conv("a", x), s.conv("b", x))
			},
			want: []string{"a b concat < a b", "x < x"},
		},
		"a fixed quantization is not imposed on a concatenation": {
			draw: func(s sketch) int {
				x := s.input("x")
				return s.op(concat, "concat", s.conv("a", x), s.op(tanh, "t", x))
			},
			want:         []string{"a concat < a t", "t = fixed", "x < x"},
			wantQuantize: []string{"t into concat"},
		},
		"inputs fixed alike fix the concatenation": {
			draw: func(s sketch) int {
				x := s.input("x")
				return s.op(concat, "concat", s.op(tanh, "t", x), s.op(reshape, "r", s.op(tanh, "u", x)))
			},
			want: []string{"t u r concat = fixed", "x < x"},
		},
		"inputs fixed differently are both requantized": {
			draw: func(s sketch) int {
				x := s.input("x")
				return s.op(concat, "concat", s.op(tanh, "t", x), s.op(softmax, "p", x))
			},
			want:         []string{"concat < t p", "p = fixed", "t = fixed", "x < x"},
			wantQuantize: []string{"t into concat", "p into concat"},
		},
		"a constant operand of MAXIMUM takes the group's quantization": {
			draw: func(s sketch) int { return s.op(maximum, "max", s.conv("a", s.input("x")), s.constant("c")) },
			want: []string{"a max < a c", "x < x"},
		},
		"a constant operand of ADD has its own": {
			draw: func(s sketch) int { return s.op(add, "add", s.conv("a", s.input("x")), s.constant("c")) },
			want: []string{" < c", "a < a", "add < add", "x < x"},
		},
		"known quantizations are kept, and disagreeing ones requantized": {
			draw: func(s sketch) int { // tensors 0 x, 1 kernel, 2 bias, 3 conv, 4 pool
				return s.op(pool, "pool", s.conv("conv", s.input("x")))
			},
			options:      Options{Known: map[int]Params{0: {1, 0, false}, 3: {2, 0, false}, 4: {3, 0, false}}},
			want:         []string{"conv = fixed", "pool = fixed", "x = fixed"},
			wantQuantize: []string{"conv into pool"},
		},
		"known quantizations that agree are one group": {
			draw:    func(s sketch) int { return s.op(pool, "pool", s.conv("conv", s.input("x"))) },
			options: Options{Known: map[int]Params{3: {2, 0, false}, 4: {2, 0, false}}},
			want:    []string{"conv pool = fixed", "x < x"},
		},
		"a layer kept float still has int8 neighbours": {
			draw: func(s sketch) int {
				return s.conv("c", s.conv("b", s.conv("a", s.input("x"))))
			},
			options: Options{KeepFloat: []string{"b*"}},
			want:    []string{"a < a", "b < b", "c < c", "x < x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			p := s.plan(t, tc.options, tc.draw(s))
			if diff := cmp.Diff(tc.want, groups(p)); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantQuantize, requantized(p)); diff != "" {
				t.Errorf("requantized (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodesThatStayFloatSayWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		draw    func(s sketch) int
		options Options
		want    []string
	}{
		"an operator without an int8 form": {
			draw: func(s sketch) int { return s.conv("c", s.op(schema.BuiltinOperatorELU, "elu", s.input("x"))) },
			want: []string{"operator 0 ELU stays float: its int8 kernel exists in some runtimes only"},
		},
		"a custom operator": {
			draw: func(s sketch) int {
				y := s.op(schema.BuiltinOperatorCUSTOM, "y", s.input("x"))
				s.Nodes[0].Custom = "Fancy"
				return s.conv("c", y)
			},
			want: []string{`operator 0 custom "Fancy" stays float: it is not known`},
		},
		"weights that are computed": {
			draw: func(s sketch) int {
				x := s.input("x")
				return s.conv("c", s.op(schema.BuiltinOperatorFULLY_CONNECTED, "dense", x, x))
			},
			want: []string{"operator 0 FULLY_CONNECTED has weights or a bias that are no float32 constants"},
		},
		"a pattern on the weight's name": {
			draw:    func(s sketch) int { return s.conv("b", s.conv("model/a", s.input("x"))) },
			options: Options{KeepFloat: []string{"*/a/kernel"}},
			want:    []string{`operator 0 CONV_2D is kept float by pattern "*/a/kernel"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			p := s.plan(t, tc.options, tc.draw(s))
			if diff := cmp.Diff(tc.want, p.Kept()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPlanWithNothingToQuantizeIsAnError(t *testing.T) {
	s := newSketch()
	s.Outputs = []int{s.op(schema.BuiltinOperatorELU, "elu", s.input("x"))}
	_, err := NewPlan(s.Graph, Options{})
	if want := "nothing to quantize: operator 0 ELU stays float: its int8 kernel exists in some runtimes only"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestAKeepFloatPatternThatMatchesNothingIsAnError(t *testing.T) {
	s := newSketch()
	s.Outputs = []int{s.conv("c", s.conv("b", s.input("x")))}
	_, err := NewPlan(s.Graph, Options{KeepFloat: []string{"b*", "first*"}})
	if want := `keepFloat "first*" matches no layer; the model has "b/kernel", "c/kernel"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestKnownQuantizationsAreChecked(t *testing.T) {
	s := newSketch()
	s.Outputs = []int{s.conv("c", s.input("x"))}
	_, err := NewPlan(s.Graph, Options{Known: map[int]Params{0: {0, 0, false}}})
	if want := `known quantization of tensor 0 "x": scale 0 is not a positive finite number`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestRulesThatDecideNothingAreNamed(t *testing.T) {
	tests := map[string]struct {
		rules []WidthRule
		want  string // the pattern that is named
	}{
		"the only one":                 {[]WidthRule{{Layers: "*", Bits: Four}}, ""},
		"an exception before all":      {[]WidthRule{{Layers: "a/kernel", Bits: Eight}, {Layers: "*", Bits: Four}}, ""},
		"an exception after all":       {[]WidthRule{{Layers: "*", Bits: Four}, {Layers: "a/kernel", Bits: Eight}}, `"a/kernel"`},
		"of bits, after one of widths": {[]WidthRule{{Layers: "*", Width: Narrow}, {Layers: "a/kernel", Bits: Eight}}, ""},
		"hidden by several together":   {[]WidthRule{{Layers: "a*", Bits: Four}, {Layers: "b*", Bits: Four}, {Layers: "*/kernel", Bits: Eight}}, `"*/kernel"`},
		"of both, one of them decided": {[]WidthRule{{Layers: "*", Bits: Four}, {Layers: "a*", Bits: Eight, Width: Narrow}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			a := s.conv("a", s.input("x"))
			p := s.plan(t, Options{Rules: tt.rules}, s.conv("b", a))
			notes := strings.Join(p.Notes, "; ")
			if named := strings.Contains(notes, "decides nothing"); named != (tt.want != "") || !strings.Contains(notes, tt.want) {
				t.Errorf("notes %q, want %s", notes, tt.want)
			}
		})
	}
}

// A state that TANH sets is read with the quantization that TANH prescribes: what is read at first, and what each step leaves.
func TestTensorsAlikeTakeThePrescribedQuantizationOfOne(t *testing.T) {
	s := newSketch()
	first := s.input("state")
	var steps []int
	state := first
	for _, step := range []string{"1", "2"} {
		state = s.op(schema.BuiltinOperatorTANH, "tanh"+step, s.conv("conv"+step, state))
		steps = append(steps, state)
	}
	alike := make([]int, len(s.Tensors))
	for i := range alike {
		alike[i] = None
	}
	for _, i := range append(steps, first) {
		alike[i] = first
	}
	p := s.plan(t, Options{Alike: alike}, state)
	want := prescribed(op.Lookup(schema.BuiltinOperatorTANH).Int8.Output)
	for _, i := range append(steps, first) {
		if g := p.Tensor[i]; g != p.Tensor[first] || p.Groups[g].Fixed == nil || *p.Groups[g].Fixed != want {
			t.Errorf("%s: group %d, %+v", s.Tensors[i].Name, g, p.Groups[g])
		}
	}
}
