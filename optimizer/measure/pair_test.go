package measure

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// dense is a network of one layer, [1 2; 0 last]·x + bias, whose answer has a name.
func dense(t *testing.T, last float32, answer string) []byte {
	t.Helper()
	b := tflitetest.New()
	hidden := b.Dense("fc", b.Input("x", 1, 2), []float32{1, 2, 0, last}, []float32{0.5, 0}, 2, tflitetest.None)
	b.Output(b.Unary(answer, schema.BuiltinOperatorRELU, hidden))
	return b.File()
}

func decibel(signal, noise float64) *float64 {
	d := 10 * math.Log10(signal/noise)
	return &d
}

// bare's samples are (0, 1) and (1, 1): A answers (2.5, 4) and (3.5, 4), B (2.5, 5) and (3.5, 5).
func TestModelsAreComparedTensorByTensor(t *testing.T) {
	a, b := dense(t, 4, "first"), dense(t, 5, "second")
	half, one := decibel(2.5*2.5+16+3.5*3.5+16, 2), decibel(2.5*2.5+16, 1)
	kernel := ConstantDifference{Name: "fc/kernel", A: 1, B: 1, Elements: 4, Changed: 1, ZerosA: 1, ZerosB: 1, CodesA: 4, CodesB: 4,
		Difference: Difference{MeanSquaredError: 0.25, Largest: 1, Decibel: decibel(21, 1)}}
	bias := ConstantDifference{Name: "fc/bias", A: 2, B: 2, Elements: 2, ZerosA: 1, ZerosB: 1, CodesA: 2, CodesB: 2}
	nearly := cmpopts.EquateApprox(1e-9, 0)
	for n, want := range map[int]Difference{0: {0.5, 1, half}, 1: {0.5, 1, one}, 2: {0.5, 1, half}} {
		c, err := Compare(context.Background(), a, b, bare{}, n, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if wanted := min(2, n+2*(1-min(n, 1))); c.Samples != 2 || c.LayerSamples != wanted {
			t.Errorf("layers of %d samples: metrics of %d, layers of %d", n, c.Samples, c.LayerSamples)
		}
		if diff := cmp.Diff(want, c.Output, nearly); diff != "" {
			t.Errorf("layers of %d samples, outputs (-want +got):\n%s", n, diff)
		}
		if diff := cmp.Diff([]LayerDifference{{Name: "fc", A: 3, B: 3, Difference: want}}, c.Layers, nearly); diff != "" {
			t.Errorf("layers of %d samples (-want +got):\n%s", n, diff)
		}
		if diff := cmp.Diff([]ConstantDifference{kernel, bias}, c.Constants, nearly); diff != "" {
			t.Errorf("constants (-want +got):\n%s", diff)
		}
		if !cmp.Equal(c.OnlyA, []string{"first"}) || !cmp.Equal(c.OnlyB, []string{"second"}) {
			t.Errorf("only in one: %q and %q", c.OnlyA, c.OnlyB)
		}
		overlays, err := c.Overlays(b)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]map[string]overlayValue{}
		for file, o := range overlays {
			got[file] = o.Results
		}
		values := map[string]map[string]overlayValue{"zeros.json": {"fc": {25}}, "codes.json": {"fc": {4}}, "error.json": {"fc": {*want.Decibel}}}
		if diff := cmp.Diff(values, got, nearly); diff != "" {
			t.Errorf("overlays (-want +got):\n%s", diff)
		}
	}
}

func TestModelsAreComparedWithoutSamples(t *testing.T) {
	a, b := dense(t, 4, "y"), dense(t, 4, "y")
	c, err := Compare(context.Background(), a, b, nil, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Constants) != 2 || c.Constants[0].Changed != 0 || c.Constants[0].Decibel != nil || c.Layers != nil || c.Samples != 0 || c.OnlyA != nil || c.OnlyB != nil {
		t.Errorf("%+v", c)
	}
	if overlays, err := c.Overlays(b); err != nil || overlays["error.json"] != nil || overlays["zeros.json"] == nil {
		t.Errorf("overlays %v, %v", overlays, err)
	}
	wide := tflitetest.New()
	wide.Output(wide.Dense("fc", wide.Input("x", 1, 2), make([]float32, 6), nil, 3, tflitetest.None))
	if _, err := Compare(context.Background(), a, wide.File(), bare{}, 0, Options{}); err == nil || !strings.Contains(err.Error(), "have 2 and 3 outputs") {
		t.Errorf("models of other outputs: %v", err)
	}
	if c, err = Compare(context.Background(), a, wide.File(), nil, 0, Options{}); err != nil || !cmp.Equal(c.OnlyA, []string{"fc/kernel", "fc/bias", "fc", "y"}) || !cmp.Equal(c.OnlyB, []string{"fc/kernel", "fc"}) {
		t.Errorf("tensors of other sizes: only in A %q, in B %q, %v", c.OnlyA, c.OnlyB, err)
	}
	two := tflitetest.New()
	two.Output(two.Dense("fc", two.Concat("both", 1, two.Input("x", 1, 2), two.Input("z", 1, 2)), make([]float32, 8), nil, 2, tflitetest.None))
	if _, err := Compare(context.Background(), a, two.File(), bare{}, 0, Options{}); err == nil || !strings.Contains(err.Error(), "have 1 and 2 inputs, and the same samples fit one of them only: compare them without a dataset") {
		t.Errorf("models of other inputs: %v", err)
	}
	for which, pair := range map[string][2][]byte{"first model": {[]byte("x"), b}, "second model": {a, []byte("x")}} {
		if _, err := Compare(context.Background(), pair[0], pair[1], nil, 0, Options{}); err == nil || !strings.HasPrefix(err.Error(), which) {
			t.Errorf("a %s that is none: %v", which, err)
		}
	}
}

func TestDifferencesOfNothingAndOfSilence(t *testing.T) {
	deaf := -999.0
	for name, c := range map[string]struct {
		pairs [][2]float64
		want  Difference
	}{
		"nothing":            {nil, Difference{}},
		"equal":              {[][2]float64{{1, 1}, {-2, -2}}, Difference{}},
		"ten to one":         {[][2]float64{{10, 9}}, Difference{1, 1, decibel(100, 1)}},
		"below":              {[][2]float64{{1, 4}, {0, 0}}, Difference{4.5, 3, decibel(1, 9)}},
		"out of silence":     {[][2]float64{{0, 2}}, Difference{4, 2, &deaf}},
		"the largest counts": {[][2]float64{{5, 2}, {5, 6}}, Difference{5, 3, decibel(50, 10)}},
	} {
		var s sums
		for _, p := range c.pairs {
			s.add(p[0], p[1])
		}
		if diff := cmp.Diff(c.want, s.difference(), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLookSaysWhatOutputsAnswer(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	b.Output(b.Softmax("chances", x))
	b.Output(b.Unary("again", schema.BuiltinOperatorRELU, x))
	b.Output(b.Op("unit", schema.BuiltinOperatorL2_NORMALIZATION, schema.BuiltinOptionsL2NormOptions, &schema.L2NormOptionsT{}, []int32{1, 2}, x))
	b.Output(b.Dense("sum", x, []float32{1, 1}, nil, 1, tflitetest.None))
	m, err := tflite.Read(b.File())
	if err != nil {
		t.Fatal(err)
	}
	samples := ids{{0, 1}, {1, 1}, {2, 1}}
	seen, err := Look(context.Background(), m, samples)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 4 {
		t.Fatalf("%d outputs", len(seen))
	}
	for i, want := range []answer.Seen{{Simplex: true}, {Least: 0, Most: 2, Unexplained: 0}, {Unit: true}, {Least: 1, Most: 3, Unexplained: 1}} {
		got := seen[i]
		if got.Simplex != want.Simplex || got.Unit != want.Unit {
			t.Errorf("output %d: simplex %v, unit %v", i, got.Simplex, got.Unit)
		}
		if want.Most > 0 && (got.Least != want.Least || got.Most != want.Most || math.Abs(got.Unexplained-want.Unexplained) > 1e-6) {
			t.Errorf("output %d: %+v, want %+v", i, got, want)
		}
	}
	if got, want := seen[3].Spread[0], math.Sqrt(2./3); math.Abs(got-want) > 1e-6 {
		t.Errorf("spread %v, want %v", got, want)
	}
}

func TestAGlanceTellsSimplexUnitAndRest(t *testing.T) {
	for name, c := range map[string]struct {
		width         int
		x, y          []float32
		simplex, unit bool
		unexplained   float64
	}{
		"chances":                  {2, nil, []float32{0.25, 0.75, 1, 0}, true, false, 1},
		"chances within rounding":  {2, nil, []float32{0.25, 0.7505}, true, false, 1},
		"not quite":                {2, nil, []float32{0.25, 0.752}, false, false, 1},
		"negative ones":            {2, nil, []float32{-1, 2}, false, false, 1},
		"vectors of length 1":      {2, nil, []float32{-0.6, 0.8}, false, true, 1},
		"one value alone":          {1, nil, []float32{1}, false, false, 1},
		"rows that do not divide":  {2, nil, []float32{1, 0, 1}, true, true, 1},
		"the input again":          {2, []float32{3, 5}, []float32{3, 5}, false, false, 0},
		"half of it":               {2, []float32{3, 5}, []float32{4, 5}, false, false, 0.5},
		"an input that never says": {2, []float32{3, 3}, []float32{4, 5}, false, false, 1},
	} {
		g := newGlance(c.width, len(c.y))
		g.add(c.x, c.y)
		got := g.seen()
		if got.Simplex != c.simplex || got.Unit != c.unit || math.Abs(got.Unexplained-c.unexplained) > 1e-6 {
			if name == "rows that do not divide" && math.IsInf(got.Least, 1) {
				continue // nothing is said
			}
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestLatencyIsTimedAFewTimesAtLeast(t *testing.T) {
	model := dense(t, 4, "y")
	few, err := TimeLatency(context.Background(), model, bare{}, LatencyOptions{Budget: time.Nanosecond})
	if err != nil || few.Runs != 5 || !(few.P50 > 0) || few.P50 > few.P90 || few.P90 > few.P99 {
		t.Errorf("%+v, %v", few, err)
	}
	more, err := TimeLatency(context.Background(), model, bare{}, LatencyOptions{Budget: 20 * time.Millisecond})
	if err != nil || more.Runs <= 5 || more.Runs > 10_000 || more.P99 > 20_000 {
		t.Errorf("%+v, %v", more, err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := TimeLatency(stopped, model, bare{}, LatencyOptions{}); err == nil {
		t.Error("timed although it was stopped")
	}
}

func TestLeavesAreMeasuredWithAndWithoutTime(t *testing.T) {
	model := dense(t, 4, "y")
	file, err := File(model, nil)
	if err != nil {
		t.Fatal(err)
	}
	for budget, timed := range map[time.Duration]bool{-1: false, time.Nanosecond: true} {
		r, err := Leaf(context.Background(), model, bare{}, LeafOptions{LatencyBudget: budget})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range file {
			if got := r.Metrics[name]; got != want {
				t.Errorf("%s is %v, of the file %v", name, got, want)
			}
		}
		if micros, ok := r.Metrics[LatencyMicros]; ok != timed || micros != r.Latency.P50 {
			t.Errorf("budget %v: latency %v, %v", budget, micros, ok)
		}
	}
	if file[FileBytes] != float64(len(model)) || file[Sparsity] != 0.25 || file[ArenaBytes] <= 0 {
		t.Errorf("of the file: %v", file)
	}
}

func TestChoicesAreReadFromScoresAndTargets(t *testing.T) {
	for name, c := range map[string]struct {
		o         answer.Output
		y, target []float32
		chosen    []int
		truth     []int
	}{
		"scores, an index":           {answer.Output{Positions: 1, Classes: 3, Indexed: true}, []float32{1, 3, 2}, []float32{2}, []int{1}, []int{2}},
		"scores, one-hot":            {answer.Output{Positions: 1, Classes: 3}, []float32{1, 3, 2}, []float32{0, 0, 1}, []int{1}, []int{2}},
		"equal scores: the first":    {answer.Output{Positions: 1, Classes: 3}, []float32{3, 3, 3}, []float32{1, 1, 0}, []int{0}, []int{0}},
		"scores by position":         {answer.Output{Positions: 2, Classes: 2}, []float32{1, 3, 5, 2}, []float32{1, 0, 0, 1}, []int{1, 0}, []int{0, 1}},
		"yes or no":                  {answer.Output{Positions: 2, Classes: 2, Threshold: 0.6}, []float32{0.6, 0.61}, []float32{0.5, 0.51}, []int{0, 1}, []int{0, 1}},
		"the class itself, an index": {answer.Output{Positions: 2, Classes: 9, Activation: answer.Position, Indexed: true}, []float32{7, 0}, []float32{7, 1}, []int{7, 0}, []int{7, 1}},
	} {
		for p := range c.chosen {
			if got := choice(&c.o, c.y, p, c.o.Threshold); got != c.chosen[p] {
				t.Errorf("%s: position %d chooses %d, want %d", name, p, got, c.chosen[p])
			}
			if got := truthOf(&c.o, c.target, p); got != c.truth[p] {
				t.Errorf("%s: the target of position %d is %d, want %d", name, p, got, c.truth[p])
			}
		}
	}
	maps := &answer.Output{Width: 2, Threshold: 0.5}
	for k, want := range []int{3, 0} { // of three places
		if got := peak([]float32{0.1, 0.5, 0.6, 0.2, 0.7, 0.3}, k, maps); got != want {
			t.Errorf("map %d peaks at %d, want %d", k, got, want)
		}
	}
}

func TestTwoScoresGiveOneOfClassOne(t *testing.T) {
	for name, c := range map[string]struct {
		o    answer.Output
		want []float32
	}{
		"two classes":     {answer.Output{Kind: answer.Classes, Size: 2, Classes: 2, Positions: 1, Target: -1}, []float32{3, -1}},
		"classes of many": {answer.Output{Kind: answer.Classes, Size: 4, Classes: 4, Positions: 1, Target: -1}, nil},
		"numbers":         {answer.Output{Kind: answer.Values, Size: 2, Target: -1}, nil},
		"labels":          {answer.Output{Kind: answer.MultiLabel, Size: 2, Classes: 2, Positions: 2, Target: -1}, []float32{1, 4, 3, 2}},
	} {
		column := newColumn(&c.o, 2)
		for i, y := range [][]float32{{1, 4}, {3, 2}} {
			column.read(i, nil, append(y, make([]float32, c.o.Size-2)...), nil)
		}
		if diff := cmp.Diff(c.want, column.scores); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for n, large := range map[int]bool{255: false, 256: true} {
		l := newList(3, n)
		l.set(1, n)
		if l.at(1) != n || l.at(0) != 0 || l.len() != 3 || (l.large != nil) != large {
			t.Errorf("a list of numbers to %d: %+v", n, l)
		}
	}
}

func TestEverySampleIsAnsweredOnce(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("sum", b.Input("x", 1, 2), []float32{1, 100}, nil, 1, tflitetest.None))
	samples, want := make(ids, 11), make([]float32, 11)
	for i := range samples {
		samples[i] = [2]float32{float32(i), float32(i * i)}
		want[i] = float32(i + 100*i*i)
	}
	for _, o := range []Options{{Workers: 1, Batch: 1}, {Workers: 1, Batch: 4}, {Workers: 3, Batch: 4}, {Workers: 2, Batch: 32}} {
		answers, err := Run(context.Background(), b.File(), samples, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, answers.columns[0].values); answers.Len() != 11 || diff != "" {
			t.Errorf("%+v: %d samples (-want +got):\n%s", o, answers.Len(), diff)
		}
	}
}

func TestQuantizationsAreDescribedAsTheyAre(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	k := b.Raw("codes", schema.TensorTypeINT8, []byte{0xff, 3, 5, 3}, 2, 2)
	b.Quantize(k, 0, 3, 0.5, 2)
	b.Output(b.Add("y", x, b.Const("c", []float32{2, -1}, 1, 2), tflitetest.None))
	m := b.Model()
	got, err := describe(m, int(k), RoleConstant, []int{2, 2})
	if err != nil {
		t.Fatal(err)
	}
	want := Tensor{Index: int(k), Name: "codes", Role: RoleConstant, Type: "INT8", Shape: []int{2, 2}, Elements: 4, Bytes: 4,
		Scales: 2, ScaleMin: 0.5, ScaleMax: 2, ZeroPoint: 3, Distinct: 3, Zeros: 2, Min: -2, Max: 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Subgraph().Tensors[k].Quantization.ZeroPoint = nil
	if got, err = describe(m, int(k), RoleConstant, []int{2, 2}); err != nil || got.ZeroPoint != 0 || got.Min != -0.5 || got.Max != 10 {
		t.Errorf("without zero points: %+v, %v", got, err)
	}
}
