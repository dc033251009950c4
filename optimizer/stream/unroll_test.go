package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// stepped is a network of samples [1, 2] and a state of their shape, which is set to what step gives; answer is what it answers.
func stepped(t *testing.T, build func(b *tflitetest.Builder, x, state int32) (answer, next int32)) *tflite.Model {
	t.Helper()
	b := tflitetest.New()
	x, state := b.Input("x", 1, 2), b.Input("state", 1, 2)
	answer, next := build(b, x, state)
	b.Output(answer)
	b.Output(next)
	return paired(t, b)
}

// paired is a model whose input and output of these names are state.
func paired(t *testing.T, b *tflitetest.Builder) *tflite.Model {
	t.Helper()
	m := b.Model()
	sub := m.Subgraph()
	if err := m.SetStates([]tflite.StatePair{{Input: "state", Output: sub.Tensors[sub.Outputs[len(sub.Outputs)-1]].Name}}); err != nil {
		t.Fatal(err)
	}
	return m
}

// sum adds a sample to the state.
func sum(b *tflitetest.Builder, x, state int32) (answer, next int32) {
	next = b.Add("next", x, state, tflitetest.None)
	return b.Unary("answer", schema.BuiltinOperatorRELU, next), next
}

// count is how many operators of a code a model has.
func count(m *tflite.Model, code schema.BuiltinOperator) (n int) {
	for _, o := range m.Subgraph().Operators {
		if c, _ := m.Op(o); c == code {
			n++
		}
	}
	return n
}

// answer runs a model of one input.
func answer(t *testing.T, m *tflite.Model, batch int, samples []float32) []float32 {
	t.Helper()
	e, err := integer.Compile(m, batch)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, e, samples)
}

func run(t *testing.T, e *integer.Executor, samples []float32) []float32 {
	t.Helper()
	if err := e.SetInput(0, samples); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(); err != nil {
		t.Fatal(err)
	}
	return e.Output(0)
}

// unrolled is a network of whole sequences, by its steps.
func unrolled(t *testing.T, m *tflite.Model, samples ...[]int) (*stream.Step, *stream.Unrolled) {
	t.Helper()
	s, u, err := stream.Sequence(m, samples)
	if err != nil {
		t.Fatal(err)
	}
	return s, u
}

// Every operator and tensor says which of the step's it stands for: each step's operators are the step's, and what cuts the input up, or
// makes the first state, is none of them. The last step has the tensors of the step itself.
func TestUnrolledNetworksSayWhatTheyStandFor(t *testing.T) {
	const steps = 3
	s, u := unrolled(t, stepped(t, sum), []int{steps, 2})
	for i := range s.Model.Subgraph().Operators {
		of := 0
		for k, o := range u.Model.Subgraph().Operators {
			if u.Operator[k] != i {
				continue
			}
			of++
			got, _ := u.Model.Op(o)
			if want, _ := s.Model.Op(s.Model.Subgraph().Operators[i]); got != want {
				t.Errorf("operator %d is a %s, and stands for a %s", k, got, want)
			}
		}
		if want := []int{steps, 1}[i]; of != want { // the answers of the steps before the last are of no use
			t.Errorf("%d operators stand for operator %d, want %d", of, i, want)
		}
	}
	for k, i := range u.Tensor {
		if i == stream.None {
			continue
		}
		if got, want := u.Model.Subgraph().Tensors[k].Name, s.Model.Subgraph().Tensors[i].Name; got != want {
			t.Errorf("tensor %d is %q, and stands for %q", k, got, want)
		}
	}
	if got, want := u.Model.Subgraph().Outputs, s.Model.Subgraph().Outputs[:1]; !slices.Equal(got, want) {
		t.Errorf("the last step's outputs are %v, want the step's %v", got, want)
	}
	last := u.Model.Subgraph().Operators[len(u.Model.Subgraph().Operators)-2]
	if got, want := last.Outputs, s.Model.Subgraph().Operators[0].Outputs; !slices.Equal(got, want) {
		t.Errorf("the last step's sum is %v, want the step's %v", got, want)
	}
}

// A RESHAPE leaves the first dimension open: LiteRT can then be asked for any batch.
func TestReshapesOfAnUnrolledNetworkTakeAnyBatch(t *testing.T) {
	b := tflitetest.New()
	x, state := b.Input("x", 1, 2, 2), b.Input("state", 1, 2, 2)
	answer, next := sum(b, x, state)
	b.Output(answer)
	b.Output(next)
	_, u := unrolled(t, paired(t, b), []int{3, 2, 2})
	shapes := 0
	for _, o := range u.Model.Subgraph().Operators {
		if code, _ := u.Model.Op(o); code == schema.BuiltinOperatorRESHAPE {
			shapes++
			if got := o.BuiltinOptions.Value.(*schema.ReshapeOptionsT).NewShape; got[0] != -1 {
				t.Errorf("a RESHAPE to %v", got)
			}
		}
	}
	if shapes == 0 {
		t.Error("no RESHAPE, of samples [3 2 2] and steps [1 2 2]")
	}
}

// What a step answers may be what it found: of the last, what the one before it left.
func TestAStepCanAnswerWithTheStateThatItFinds(t *testing.T) {
	held := func(b *tflitetest.Builder, x, state int32) (answer, next int32) {
		return state, b.Unary("next", schema.BuiltinOperatorRELU, x)
	}
	for _, tc := range []struct {
		each bool
		want []float32
	}{{false, []float32{3, 4}}, {true, []float32{0, 0, 1, 2, 3, 4}}} {
		m := stepped(t, held)
		m.SetEachStep(tc.each)
		if _, err := stream.Whole(m, [][]int{{3, 2}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, answer(t, m, 1, []float32{1, 2, 3, 4, 5, 6})); diff != "" {
			t.Errorf("each step %t (-want +got)\n%s", tc.each, diff)
		}
	}
}

// A state begins with zeros of its own type, also where the samples are of another.
func TestStatesOfAnotherTypeThanTheSamplesBeginWithZeros(t *testing.T) {
	for name, tc := range map[string]struct{ sample, state schema.TensorType }{
		"floats within codes": {schema.TensorTypeINT8, schema.TensorTypeFLOAT32},
		"codes within floats": {schema.TensorTypeFLOAT32, schema.TensorTypeINT8},
		"codes within codes":  {schema.TensorTypeINT8, schema.TensorTypeINT8},
	} {
		b := tflitetest.New()
		coded := func(t int32, kind schema.TensorType) int32 {
			if b.SetType(t, kind); kind == schema.TensorTypeINT8 {
				b.Quantize(t, 0, 1, 0.5)
			}
			return t
		}
		x, state := coded(b.Input("x", 1, 2), tc.sample), coded(b.Input("state", 1, 2), tc.state)
		switch {
		case tc.sample == tc.state:
		case tc.state == schema.TensorTypeFLOAT32:
			x = b.Op("inner", schema.BuiltinOperatorDEQUANTIZE, 0, nil, []int32{1, 2}, x)
		default:
			x = coded(b.Op("inner", schema.BuiltinOperatorQUANTIZE, 0, nil, []int32{1, 2}, x), tc.state)
		}
		next := coded(b.Add("next", x, state, tflitetest.None), tc.state)
		b.Output(coded(b.Op("answer", schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: []int32{1, 2}}, []int32{1, 2}, next), tc.state))
		b.Output(next)
		m := paired(t, b)
		if _, err := stream.Whole(m, [][]int{{2, 2}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]float32{4, 6, 7, 7}, answer(t, m, 2, []float32{1, 2, 3, 4, 5, 5, 2, 2})); diff != "" {
			t.Errorf("%s: sums of two sequences (-want +got)\n%s", name, diff)
		}
	}
}

// Converters leave an empty record of quantization on floats, or a range alone: neither is a scale.
func TestStatesAreReadWithTheScaleTheyAreSetWith(t *testing.T) {
	scale := func(scale float32, zero int64) *schema.QuantizationParametersT {
		return &schema.QuantizationParametersT{Scale: []float32{scale}, ZeroPoint: []int64{zero}}
	}
	for name, tc := range map[string]struct {
		kind     schema.TensorType
		read     *schema.QuantizationParametersT
		set      *schema.QuantizationParametersT
		refused  bool
		unscaled bool
	}{
		"the same":                   {schema.TensorTypeINT8, scale(0.5, 1), scale(0.5, 1), false, false},
		"another scale":              {schema.TensorTypeINT8, scale(0.5, 1), scale(0.25, 1), true, false},
		"another zero point":         {schema.TensorTypeINT8, scale(0.5, 1), scale(0.5, 2), true, false},
		"a scale and none":           {schema.TensorTypeINT8, scale(0.5, 1), nil, true, false},
		"none and a scale":           {schema.TensorTypeINT8, &schema.QuantizationParametersT{}, scale(0.5, 1), true, false},
		"floats":                     {schema.TensorTypeFLOAT32, nil, nil, false, true},
		"floats of an empty record":  {schema.TensorTypeFLOAT32, &schema.QuantizationParametersT{}, nil, false, true},
		"floats that set one":        {schema.TensorTypeFLOAT32, nil, &schema.QuantizationParametersT{}, false, true},
		"floats of a recorded range": {schema.TensorTypeFLOAT32, &schema.QuantizationParametersT{Min: []float32{0}, Max: []float32{1}}, nil, false, true},
	} {
		b := tflitetest.New()
		x, state := b.Input("x", 1, 2), b.Input("state", 1, 2)
		answer, next := sum(b, x, state)
		for _, t := range []int32{x, state, answer, next} {
			b.SetType(t, tc.kind)
		}
		b.Tensor(state).Quantization, b.Tensor(next).Quantization = tc.read, tc.set
		b.Output(answer)
		b.Output(next)
		s, u, err := stream.Sequence(paired(t, b), [][]int{{2, 2}})
		if refused := err != nil && strings.Contains(err.Error(), `state "state": the scale`); refused != tc.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		for _, zeros := range u.Model.Subgraph().Tensors {
			if zeros.Name == "state/zeros" && (zeros.Quantization == nil) != tc.unscaled {
				t.Errorf("%s: the zeros of the first state have the scale %v", name, zeros.Quantization)
			}
		}
		closed, err := s.Close(s.Model, identity(s.Model))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := len(closed.Subgraph().Operators), 2; got != want || len(closed.Subgraphs) != 1 { // no variable, and nothing that sets one
			t.Errorf("%s: closed it has %d operators and %d subgraphs, want %d and 1", name, got, len(closed.Subgraphs), want)
		}
	}
}

// Besides numbers a step may take ids, and every input's samples have the same steps.
func TestStepsOfSeveralInputs(t *testing.T) {
	const f32, i16, i32 = schema.TensorTypeFLOAT32, schema.TensorTypeINT16, schema.TensorTypeINT32
	for name, tc := range map[string]struct {
		kinds   [2]schema.TensorType
		samples [][]int
		want    string
	}{
		"numbers and ids":    {[2]schema.TensorType{f32, i32}, [][]int{{3, 2}, {3, 2}}, ""},
		"numbers of 16 bits": {[2]schema.TensorType{i16, f32}, [][]int{{3, 2}, {3, 2}}, ""},
		"ids first":          {[2]schema.TensorType{i32, f32}, [][]int{{3, 2}, {3, 2}}, "takes numbers first, not ids"},
		"of other steps":     {[2]schema.TensorType{f32, f32}, [][]int{{3, 2}, {4, 2}}, `samples of "y" have 4 steps, those of "x" 3`},
	} {
		b := tflitetest.New()
		x, y, state := b.Input("x", 1, 2), b.Input("y", 1, 2), b.Input("state", 1, 2)
		for i, t := range []int32{x, y} {
			if b.SetType(t, tc.kinds[i]); tc.kinds[i] == i16 {
				b.Quantize(t, 0, 0, 0.5)
			}
		}
		cast := func(name string, t int32) int32 {
			return b.Op(name, schema.BuiltinOperatorCAST, schema.BuiltinOptionsCastOptions, &schema.CastOptionsT{OutDataType: f32}, []int32{1, 2}, t)
		}
		answer, next := sum(b, b.Add("both", cast("a", x), cast("b", y), tflitetest.None), state)
		b.Output(answer)
		b.Output(next)
		steps, err := stream.Whole(paired(t, b), tc.samples)
		if tc.want == "" && (err != nil || steps != 3) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %d steps, %v", name, steps, err)
		}
	}
}

// Whole sequences are of 100,000 operators at most: of two a step that is 50,000 steps. Longer ones, and where chunks are asked for, are cut.
func TestSequencesThatAreTooLongAreCut(t *testing.T) {
	for _, tc := range []struct{ steps, asked, chunk, count int }{
		{50_000, 0, 0, 0}, {50_001, 0, 1924, 26}, {1_000_000, 0, 2_000, 500}, {9, 4, 4, 3}, {8, 4, 4, 2}, {4, 4, 0, 0}, {5, 1, 1, 5}, {50_001, 60_000, 1924, 26},
	} {
		m := stepped(t, sum)
		m.SetChunk(tc.asked)
		_, u := unrolled(t, m, []int{tc.steps, 2})
		if tc.chunk == 0 {
			if u.Chunks != nil || u.Steps != tc.steps {
				t.Errorf("%d steps are cut into chunks of %d", tc.steps, u.Steps)
			}
			continue
		}
		if u.Steps != tc.chunk || u.Chunks.Chunk != tc.chunk || u.Chunks.Count() != tc.count || u.Chunks.Steps != tc.steps {
			t.Errorf("%d steps are cut into %d chunks of %d, want %d of %d", tc.steps, u.Chunks.Count(), u.Chunks.Chunk, tc.count, tc.chunk)
		}
		if _, err := stream.Whole(m, [][]int{{tc.steps, 2}}); err == nil || !strings.Contains(err.Error(), "cut them into shorter sequences") {
			t.Errorf("%d steps as one network: %v", tc.steps, err)
		}
	}
}

// Each step is new in one chunk, its last steps are, and the last chunk ends with the sequence.
func TestChunksHaveEveryStepOnce(t *testing.T) {
	for _, c := range []stream.Chunks{{Steps: 9, Chunk: 4}, {Steps: 8, Chunk: 4}, {Steps: 7, Chunk: 1}, {Steps: 5, Chunk: 4}, {Steps: 11, Chunk: 5}} {
		at := 0
		for k := range c.Count() {
			if end := c.Begin(k) + c.Chunk; end-c.New(k) != at || end > c.Steps {
				t.Errorf("%+v: chunk %d begins at %d and has %d new steps behind %d", c, k, c.Begin(k), c.New(k), at)
			}
			at += c.New(k)
		}
		if at != c.Steps {
			t.Errorf("%+v: chunks have %d steps", c, at)
		}
	}
}

// Chunks one after the other, each with what the one before left, give what the network of whole sequences does, bit for bit.
func TestChunksGiveWhatTheWholeSequenceDoes(t *testing.T) {
	const steps = 9
	for name, step := range map[string]func(b *tflitetest.Builder, x, state int32) (answer, next int32){
		"a sum": sum,
		"what was before": func(b *tflitetest.Builder, x, state int32) (answer, next int32) {
			return b.Unary("answer", schema.BuiltinOperatorRELU, state), b.Unary("next", schema.BuiltinOperatorRELU, x)
		},
		"the samples themselves": func(b *tflitetest.Builder, x, state int32) (answer, next int32) {
			return b.Add("answer", x, state, tflitetest.None), x
		},
	} {
		for _, each := range []bool{false, true} {
			for chunk := 1; chunk < steps; chunk++ {
				samples := tflitetest.Weights(3, 2*steps)
				m := stepped(t, step)
				m.SetEachStep(each)
				whole := m.Clone()
				if _, err := stream.Whole(whole, [][]int{{steps, 2}}); err != nil {
					t.Fatal(err)
				}
				want := answer(t, whole, 1, samples)
				m.SetChunk(chunk)
				_, u := unrolled(t, m, []int{steps, 2})
				c := u.Chunks
				for _, of := range c.Left { // to be read here
					for _, at := range of {
						u.Model.Subgraph().Outputs = append(u.Model.Subgraph().Outputs, int32(at))
					}
				}
				e, err := integer.Compile(u.Model, 1)
				if err != nil {
					t.Fatal(err)
				}
				var got []float32
				state := make([]float32, 2)
				for k := range c.Count() {
					if err := e.SetInput(1, state); err != nil {
						t.Fatal(err)
					}
					y := run(t, e, c.Piece(samples, k))
					if !each {
						got = slices.Clone(y)
					} else {
						got = append(got, y[2*(chunk-c.New(k)):]...)
					}
					state = slices.Clone(e.Output(1 + min(k, 1)))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, each step %t, chunks of %d (-want +got)\n%s", name, each, chunk, diff)
				}
			}
		}
	}
}

// A class for each of the rows of every step is a target of each step.
func TestAClassForEachRowOfAStepIsATargetOfEachStep(t *testing.T) {
	b := tflitetest.New()
	x, state := b.Input("x", 1, 3, 4), b.Input("state", 1, 3, 4)
	answer, next := sum(b, x, state)
	b.Output(answer)
	b.Output(next)
	m := paired(t, b)
	for _, tc := range []struct {
		target []int
		each   bool
	}{{[]int{5, 3}, true}, {[]int{15}, true}, {[]int{5, 3, 4}, true}, {[]int{3}, false}, {[]int{3, 4}, false}, {[]int{5}, false}} {
		if got, _ := stream.EachStep(m, [][]int{{5, 3, 4}}, [][]int{tc.target}); got != tc.each {
			t.Errorf("targets of %v: each step %t", tc.target, got)
		}
	}
}

// Behind the answers of all steps stands one operator where it takes each row for itself, also if it is the first of the step.
func TestWhatTakesRowsStandsBehindAllSteps(t *testing.T) {
	m := stepped(t, func(b *tflitetest.Builder, x, state int32) (answer, next int32) {
		return b.Unary("answer", schema.BuiltinOperatorLOGISTIC, x), b.Add("next", x, state, tflitetest.None)
	})
	m.SetEachStep(true)
	if _, err := stream.Whole(m, [][]int{{3, 2}}); err != nil {
		t.Fatal(err)
	}
	if got := count(m, schema.BuiltinOperatorLOGISTIC); got != 1 {
		t.Errorf("%d LOGISTIC, want one for the 3 steps", got)
	}
}

// An operator that a hostile file gives no input, or one of other rows than its output, is none to move behind all steps: an error at most.
func TestWhatTakesNoRowsIsNotMoved(t *testing.T) {
	for name, change := range map[string]func(sub *schema.SubGraphT){
		"no input":                  func(sub *schema.SubGraphT) { sub.Operators[0].Inputs = []int32{-1} },
		"an input of one dimension": func(sub *schema.SubGraphT) { sub.Tensors[sub.Operators[0].Inputs[0]].Shape = []int32{2} },
	} {
		b := tflitetest.New()
		x, state, other := b.Input("x", 1, 2), b.Input("state", 1, 2), b.Const("other", []float32{1, 2}, 1, 2)
		b.Output(b.Unary("answer", schema.BuiltinOperatorLOGISTIC, other))
		b.Output(b.Add("next", x, state, tflitetest.None))
		m := paired(t, b)
		m.SetEachStep(true)
		change(m.Subgraph())
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		_, u := unrolled(t, m, []int{3, 2})
		if got := count(u.Model, schema.BuiltinOperatorLOGISTIC); got != 3 {
			t.Errorf("%s: %d LOGISTIC, want one for each of 3 steps", name, got)
		}
	}
}

// An operator on which no answer depends is named by what it gives.
func TestOperatorsThatNothingUsesAreUnreached(t *testing.T) {
	for name, tc := range map[string]struct {
		outputs []int32 // of the operator; nil: those that it has
		want    string
	}{
		"of an output":              {nil, `the TANH that gives "lost"`},
		"of none":                   {[]int32{}, ""},
		"of one that it leaves out": {[]int32{-1}, ""},
	} {
		m := stepped(t, func(b *tflitetest.Builder, x, state int32) (answer, next int32) {
			b.Unary("lost", schema.BuiltinOperatorTANH, x)
			return sum(b, x, state)
		})
		if o := m.Subgraph().Operators[0]; tc.outputs != nil {
			o.Outputs = tc.outputs
		}
		s, u := unrolled(t, m, []int{3, 2})
		if got := u.Unreached(s); got != tc.want {
			t.Errorf("%s: unreached is %q, want %q", name, got, tc.want)
		}
	}
}

// The signature names the input of whole sequences and the answers of all steps.
func TestSignaturesFollowWhatIsUnrolled(t *testing.T) {
	m := stepped(t, sum)
	sub := m.Subgraph()
	entry := func(name string, t int32) *schema.TensorMapT {
		return &schema.TensorMapT{Name: name, TensorIndex: uint32(t)}
	}
	m.SignatureDefs = []*schema.SignatureDefT{{SignatureKey: "serving_default", Inputs: []*schema.TensorMapT{entry("samples", sub.Inputs[0])}, Outputs: []*schema.TensorMapT{entry("answers", sub.Outputs[0])}}}
	m.SetEachStep(true)
	if _, err := stream.Whole(m, [][]int{{3, 2}}); err != nil {
		t.Fatal(err)
	}
	sub = m.Subgraph()
	signature := m.SignatureDefs[0]
	for what, pair := range map[string][2]int32{"input": {int32(signature.Inputs[0].TensorIndex), sub.Inputs[0]}, "output": {int32(signature.Outputs[0].TensorIndex), sub.Outputs[0]}} {
		if pair[0] != pair[1] {
			t.Errorf("the signature's %s is tensor %d, the network's %d", what, pair[0], pair[1])
		}
	}
}

// A float SVDF becomes operators that can be trained, whatever its shape: of one filter a unit without a mean, of a memory of one step
// without a state. The executor's own SVDF, a step after the other, gives the same.
func TestAFloatSVDFOfAnyShapeIsWrittenAsOperators(t *testing.T) {
	const steps, units, inputs = 5, 2, 3
	for _, rank := range []int32{1, 2} {
		for _, memory := range []int32{1, 3} {
			for _, bias := range []bool{false, true} {
				for _, act := range []schema.ActivationFunctionType{tflitetest.None, tflitetest.ReLU, schema.ActivationFunctionTypeRELU_N1_TO_1, tflitetest.ReLU6} {
					name := fmt.Sprintf("rank %d, memory %d, bias %t, %s", rank, memory, bias, act)
					b := tflitetest.New()
					filters := rank * units
					with := int32(-1)
					if bias { // tensor 0
						with = b.Const("bias", []float32{0.5, -0.25}, units)
					}
					x := b.Input("x", 1, inputs)
					state := b.Const("state", nil, 1, filters*memory)
					b.Tensor(state).IsVariable, b.Tensor(state).Buffer = true, 0
					scaled := tflitetest.Weights(7, filters*inputs)
					for i := range scaled {
						scaled[i] *= 8 // so that activations bound something
					}
					y := b.Op("svdf", schema.BuiltinOperatorSVDF, schema.BuiltinOptionsSVDFOptions, &schema.SVDFOptionsT{Rank: rank, FusedActivationFunction: act}, []int32{1, units},
						x, b.Const("features", scaled, filters, inputs), b.Const("time", tflitetest.Weights(8, filters*memory), filters, memory), with, state)
					b.Output(b.Unary("answer", schema.BuiltinOperatorNEG, y))
					m := b.Model()

					samples := tflitetest.Weights(9, steps*inputs)
					e, err := integer.Compile(m, 1)
					if err != nil {
						t.Fatal(err)
					}
					var want []float32
					for row := range slices.Chunk(samples, inputs) {
						want = append(want, run(t, e, row)...)
					}
					m.SetEachStep(true)
					s, u := unrolled(t, m, []int{steps, inputs})
					if diff := cmp.Diff(want, answer(t, u.Model, 1, samples), cmpopts.EquateApprox(0, 1e-5)); diff != "" {
						t.Errorf("%s: (-want +got)\n%s", name, diff)
					}
					if got, want := len(s.States), int(min(memory-1, 1)); got != want {
						t.Errorf("%s: %d states, want %d", name, got, want)
					}
					if got, want := count(s.Model, schema.BuiltinOperatorMEAN), int(rank-1); got != want {
						t.Errorf("%s: %d means, want %d", name, got, want)
					}
					if ir.KeepsState(s.Model) != "" {
						t.Errorf("%s: %s", name, ir.KeepsState(s.Model))
					}
				}
			}
		}
	}
}

// Codes without a scale, as those of ids, begin with zeros that are bytes of zero.
func TestVariablesWithoutAScaleBeginWithZeros(t *testing.T) {
	s, err := stream.Open(model(t, "ring_int8"))
	if err != nil {
		t.Fatal(err)
	}
	sub := s.Model.Subgraph()
	for _, st := range s.States {
		for _, i := range []int{st.Input, st.Output} {
			sub.Tensors[i].Quantization = &schema.QuantizationParametersT{}
		}
	}
	closed, err := s.Close(s.Model, identity(s.Model))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range closed.Subgraphs[1].Tensors {
		if data := closed.Data(of); slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
			t.Errorf("%q begins with % x", of.Name, data)
		}
	}
}
