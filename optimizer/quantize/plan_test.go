package quantize

import (
	"fmt"
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

// A network of which nothing can be quantized says why, of no more than three operators.
func TestReasonsThatNothingIsQuantized(t *testing.T) {
	reason := func(i int) string {
		return fmt.Sprintf("operator %d ELU stays float: its int8 kernel exists in some runtimes only", i)
	}
	for name, tc := range map[string]struct {
		operators int
		want      string
	}{
		"no operator":    {0, "the model has no operators"},
		"three of them":  {3, reason(0) + "; " + reason(1) + "; " + reason(2)},
		"more than that": {5, reason(0) + "; " + reason(1) + "; " + reason(2) + "; and 2 more"},
	} {
		s := newSketch()
		x := s.input("x")
		for range tc.operators {
			x = s.op(schema.BuiltinOperatorELU, "elu", x)
		}
		s.Outputs = []int{x}
		if _, err := NewPlan(s.Graph, Options{}); err == nil || err.Error() != "nothing to quantize: "+tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newSketch()
	x := s.input("x")
	s.Tensors[x].Type = schema.TensorTypeINT8
	s.Outputs = []int{s.op(schema.BuiltinOperatorABS, "y", x)}
	if _, err := NewPlan(s.Graph, Options{}); err == nil || !strings.Contains(err.Error(), "import it first") {
		t.Errorf("a quantized one: %v", err)
	}
}

// Nodes that stay float for the sake of what they read, write, or are asked to be.
func TestNodesStayFloatForTheirTypesAndOptions(t *testing.T) {
	const abs = schema.BuiltinOperatorABS
	for name, tc := range map[string]struct {
		options Options
		change  func(s sketch) // of x, y = ABS x, z = conv y
		want    string
	}{
		"half floats":           {Options{}, func(s sketch) { s.Tensors[0].Type = schema.TensorTypeFLOAT16 }, `operator 0 ABS reads tensor 0 "x", of a float type other than float32`},
		"double floats":         {Options{}, func(s sketch) { s.Tensors[0].Type = schema.TensorTypeFLOAT64 }, `operator 0 ABS reads tensor 0 "x", of a float type other than float32`},
		"integers":              {Options{}, func(s sketch) { s.Tensors[1].Type = schema.TensorTypeINT32 }, "operator 0 ABS does not give float32"},
		"codes":                 {Options{}, func(s sketch) { s.Tensors[0].Type = schema.TensorTypeINT16 }, "operator 0 ABS is quantized already"},
		"a device without it":   {Options{Refused: map[int]string{0: "no kernel"}}, nil, "operator 0 ABS stays float: no kernel"},
		"float in the import":   {Options{Float: map[int]bool{0: true}}, nil, "operator 0 ABS is float in the imported model"},
		"weights of half float": {Options{}, func(s sketch) { s.Tensors[2].Type = schema.TensorTypeFLOAT16 }, "operator 1 CONV_2D has weights or a bias that are no float32 constants"},
		"without int16 kernel":  {Options{Rules: []WidthRule{{Layers: "y", Width: Wide}}}, func(s sketch) { s.Nodes[0].Op = schema.BuiltinOperatorHARD_SWISH }, "operator 0 HARD_SWISH stays float: LiteRT has no int16 kernel of it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			out := s.conv("z", s.op(abs, "y", s.input("x")))
			if tc.change != nil {
				tc.change(s)
			}
			if diff := cmp.Diff([]string{tc.want}, s.plan(t, tc.options, out).Kept()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Widths by rule: the first that matches and has a width counts, else that of all; known ones hold where nothing is asked for. A tensor has
// the width of what makes it, an input that of its first reader.
func TestWidthsOfTensors(t *testing.T) {
	known := func(wide ...bool) map[int]Params {
		out := map[int]Params{}
		for i, t := range []int{0, 3, 6} { // x, a, b
			out[t] = Params{Scale: 1, Wide: wide[i]}
		}
		return out
	}
	for name, tc := range map[string]struct {
		options Options
		want    []bool // x, a, b are int16
	}{
		"all int8":                     {Options{}, []bool{false, false, false}},
		"all int16":                    {Options{Width: Wide}, []bool{true, true, true}},
		"one layer of int16":           {Options{Rules: []WidthRule{{Layers: "b*", Width: Wide}}}, []bool{false, false, true}},
		"the first layer of int16":     {Options{Rules: []WidthRule{{Layers: "a*", Width: Wide}}}, []bool{true, true, false}},
		"an exception":                 {Options{Width: Wide, Rules: []WidthRule{{Layers: "a*", Width: Narrow}}}, []bool{false, false, true}},
		"a rule of bits decides none":  {Options{Rules: []WidthRule{{Layers: "*", Bits: Eight}, {Layers: "b*", Width: Wide}}}, []bool{false, false, true}},
		"the first rule decides":       {Options{Rules: []WidthRule{{Layers: "b*", Width: Wide}, {Layers: "*", Width: Narrow}}}, []bool{false, false, true}},
		"as known":                     {Options{Known: known(true, true, true)}, []bool{true, true, true}},
		"as known, though asked for 8": {Options{Known: known(true, true, true), Width: Narrow}, []bool{false, false, false}},
		"one known to be int16":        {Options{Known: known(false, false, true)}, []bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			a := s.conv("a", s.input("x"))
			p := s.plan(t, tc.options, s.conv("b", a))
			for i, tensor := range []int{0, a, p.Graph.Outputs[0]} {
				if group := p.Groups[p.Tensor[tensor]]; group.Wide != tc.want[i] {
					t.Errorf("%s is int16: %v", s.Tensors[tensor].Name, group.Wide)
				}
			}
			for i, n := range p.Nodes {
				if n.Wide != tc.want[i+1] || p.Groups[n.Operands[0]].Wide != n.Wide {
					t.Errorf("node %d is int16: %v, reads %+v", i, n.Wide, p.Groups[n.Operands[0]])
				}
			}
		})
	}
}

// An input that no int8 operator reads has the width that is asked for, or known.
func TestAnInputThatNothingReadsHasTheWidthOfAll(t *testing.T) {
	for name, tc := range map[string]struct {
		options Options
		want    bool
	}{
		"int8":                    {Options{}, false},
		"int16":                   {Options{Width: Wide}, true},
		"known int16":             {Options{Known: map[int]Params{0: {Scale: 1, Wide: true}}}, true},
		"known int16, asked int8": {Options{Known: map[int]Params{0: {Scale: 1, Wide: true}}, Width: Narrow}, false},
	} {
		s := newSketch()
		idle := s.input("idle")
		p := s.plan(t, tc.options, s.conv("a", s.input("x")))
		if got := p.Groups[p.Tensor[idle]]; got.Wide != tc.want || (got.Fixed != nil) != (tc.options.Known != nil && tc.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Bits of weights: by rule, by what is asked for, or as the file has them; layers without such a kernel keep 8, and say so.
func TestBitsOfWeights(t *testing.T) {
	none := "LiteRT has no int4 kernel of"
	for name, tc := range map[string]struct {
		options Options
		want    []bool // of a convolution, a dense and a transposed layer
		note    string
	}{
		"8 bits":               {Options{}, []bool{false, false, false}, ""},
		"4 bits":               {Options{Bits: Four}, []bool{true, true, false}, none},
		"but for one":          {Options{Bits: Four, Rules: []WidthRule{{Layers: "up*", Bits: Eight}}}, []bool{true, true, false}, ""},
		"of one":               {Options{Rules: []WidthRule{{Layers: "*", Width: Narrow}, {Layers: "a*", Bits: Four}}}, []bool{true, false, false}, ""},
		"of the first rule":    {Options{Rules: []WidthRule{{Layers: "a*", Bits: Four}, {Layers: "*l", Bits: Eight}}}, []bool{true, false, false}, ""},
		"as the file has it":   {Options{Packed: map[int]bool{1: true}}, []bool{true, false, false}, ""},
		"8, though the file 4": {Options{Packed: map[int]bool{1: true}, Bits: Eight}, []bool{false, false, false}, ""},
		"beside int16":         {Options{Bits: Four, Rules: []WidthRule{{Layers: "a*", Width: Wide}, {Layers: "up*", Bits: Eight}}}, []bool{false, true, false}, "has int16 activations, which int4 weights do not go with"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSketch()
			a := s.conv("a", s.input("x"))
			d := s.op(schema.BuiltinOperatorFULLY_CONNECTED, "dense", a, s.constant("dense/kernel"))
			up := s.op(schema.BuiltinOperatorTRANSPOSE_CONV, "up", s.constant("shape"), s.constant("up/kernel"), d)
			s.Tensors[s.Nodes[2].Inputs[0]].Type = schema.TensorTypeINT32
			p := s.plan(t, tc.options, up)
			var got []bool
			for _, l := range p.Layers {
				got = append(got, l.Int4)
				if most := l.Most(); most != map[bool]int{false: 127, true: 7}[l.Int4] || p.Int4()[l.Weight] != l.Int4 {
					t.Errorf("%s: codes within ±%d", l.Name, most)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Join(p.Notes, "; "); (notes != "") != (tc.note != "") || !strings.Contains(notes, tc.note) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// Layers that share weights have 4 bits only if all may.
func TestSharedWeightsHaveTheBitsOfAll(t *testing.T) {
	s := newSketch()
	w := s.constant("w")
	a := s.op(schema.BuiltinOperatorFULLY_CONNECTED, "a", s.input("x"), w)
	p := s.plan(t, Options{Bits: Four, Rules: []WidthRule{{Layers: "b", Bits: Eight}}}, s.op(schema.BuiltinOperatorFULLY_CONNECTED, "b", a, w))
	if p.Layers[0].Int4 || p.Layers[1].Int4 {
		t.Errorf("layers %+v", p.Layers)
	}
}

func TestScalesPerChannel(t *testing.T) {
	for name, tc := range map[string]struct {
		options Options
		want    []bool // of a convolution and a dense layer
	}{
		"all":                   {Options{}, []bool{true, true}},
		"all but dense ones":    {Options{PerTensorDense: true}, []bool{true, false}},
		"none":                  {Options{PerTensor: true}, []bool{false, false}},
		"none, dense ones also": {Options{PerTensor: true, PerTensorDense: true}, []bool{false, false}},
	} {
		s := newSketch()
		a := s.conv("a", s.input("x"))
		dense := s.op(schema.BuiltinOperatorFULLY_CONNECTED, "dense", a, s.constant("w"))
		for i := range s.Tensors {
			s.Tensors[i].Shape = []int{2, 1, 1, 2}
		}
		p := s.plan(t, tc.options, dense)
		for i, l := range p.Layers {
			if channels := p.Graph.Tensors[l.Weight].Shape[l.Axis]; (l.Scales == channels) != tc.want[i] || l.Scales != channels && l.Scales != 1 {
				t.Errorf("%s: %s has %d scales for %d channels", name, l.Name, l.Scales, channels)
			}
		}
	}
}

// Which tensors of the file are int8: what int8 nodes make; inputs and outputs as asked for.
func TestTensorsThatAreInt8InTheFile(t *testing.T) {
	for name, tc := range map[string]struct {
		io   IO
		want map[string]bool
	}{
		"int8 borders":  {IOInt8, map[string]bool{"x": true, "a": true, "elu": false, "b": true, "a/kernel": false}},
		"float borders": {IOFloat32, map[string]bool{"x": false, "a": true, "elu": false, "b": false, "a/kernel": false}},
	} {
		s := newSketch()
		elu := s.op(schema.BuiltinOperatorELU, "elu", s.conv("a", s.input("x")))
		p := s.plan(t, Options{IO: tc.io}, s.conv("b", elu))
		for i, tensor := range s.Tensors {
			if want, ok := tc.want[tensor.Name]; ok && p.IsInt8(i) != want {
				t.Errorf("%s: %s is int8: %v", name, tensor.Name, p.IsInt8(i))
			}
		}
	}
}

// A pattern that matches nothing is answered with the names there are, the first eight.
func TestNamesThereAre(t *testing.T) {
	for n, want := range map[int]string{
		8: `"l0/kernel", "l1/kernel", "l2/kernel", "l3/kernel", "l4/kernel", "l5/kernel", "l6/kernel", "l7/kernel"`,
		9: `"l0/kernel", "l1/kernel", "l2/kernel", "l3/kernel", "l4/kernel", "l5/kernel", "l6/kernel", "l7/kernel", and 1 more`,
	} {
		s := newSketch()
		x := s.input("x")
		for i := range n {
			x = s.conv(fmt.Sprintf("l%d", i), x)
		}
		s.Outputs = []int{x}
		_, err := NewPlan(s.Graph, Options{Rules: []WidthRule{{Layers: "none"}}})
		if want := `the rule for layers "none" matches none; the model has ` + want; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
