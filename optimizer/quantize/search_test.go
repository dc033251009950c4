package quantize

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// outliers is a network whose hidden activation has values up to about 3, and one in a hundred of the second channel of about 400, which counts by weight.
func outliers(weight float32) *tflitetest.Builder {
	b := tflitetest.New()
	hidden := b.Dense("hidden", b.Input("x", 1, 2), []float32{1, 0, 0, 1}, nil, 2, tflitetest.ReLU)
	b.Output(b.Dense("dense", hidden, []float32{1, weight}, nil, 1, tflitetest.None))
	return b
}

// spiked feeds the values of outliers.
func spiked(i int, inputs [][]float32) error {
	copy(inputs[0], normal(2, uint64(i), 1))
	if i%100 == 7 {
		inputs[0][1] = 400
	}
	return nil
}

// left is the error of outputs, as a share of their squares, that ranges leave on samples that the search has and has not seen.
func left(t *testing.T, b *tflitetest.Builder, config Calibration, of func(p *Plan) int) (float64, Range) {
	t.Helper()
	m := b.Model()
	plan, s := calibrated(t, m, config, spiked, 300)
	plain, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	rounded, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Attach(rounded, plan.Params(s.Ranges)); err != nil {
		t.Fatal(err)
	}
	var noise, energy float64
	a, c := plain.NewExec(false), rounded.NewExec(false)
	for i := range 600 {
		for _, e := range []*float.Exec{a, c} {
			if err := spiked(i, [][]float32{e.Input(0)}); err != nil {
				t.Fatal(err)
			}
			e.Forward()
		}
		for k, v := range a.Output(0) {
			d := float64(v - c.Output(0)[k])
			noise, energy = noise+d*d, energy+float64(v)*float64(v)
		}
	}
	return noise / energy, s.Ranges[of(plan)]
}

func hiddenGroup(p *Plan) int { return p.Tensor[p.Graph.Nodes[0].Outputs[0]] }

// Where the largest values count for nothing they are left out; where they are what the outputs are made of they stay, whatever the methods that see
// one tensor only would do.
func TestOutputErrorLeavesOutOnlyWhatDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		name       string
		weight     float32
		least      float32 // of the hidden range's end
		most       float32
		ofMinMax   float64 // error, as a share of that with all values
		ofPercent  float64
		percentile float64
	}{
		{"nothing", 0, 0, 100, 0.05, 1.01, 99},
		{"much", 1, 300, 410, 1.01, 0.05, 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := left(t, outliers(c.weight), Calibration{Method: OutputError}, hiddenGroup)
			whole, _ := left(t, outliers(c.weight), Calibration{}, hiddenGroup)
			percentile, _ := left(t, outliers(c.weight), Calibration{Method: Percentile, Percentile: c.percentile}, hiddenGroup)
			if r.Max < c.least || r.Max > c.most {
				t.Errorf("range %v", r)
			}
			if got > c.ofMinMax*whole || got > c.ofPercent*percentile {
				t.Errorf("error %v, with all values %v, by percentile %v", got, whole, percentile)
			}
		})
	}
}

func TestOutputErrorLeavesTheNetworkAsItWas(t *testing.T) {
	m := outliers(1).Model()
	net, err := float.Compile(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	given := make([]*float.ActQuant, len(net.Act))
	copy(given, net.Act)
	told := [2]int{}
	config := Calibration{Method: OutputError, Searched: func(done, of int) { told = [2]int{done, of} }}
	s, err := Calibrate(context.Background(), net, plan, config, spiked, 300)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(given, net.Act); diff != "" {
		t.Error(diff)
	}
	if want := [2]int{len(plan.Groups), len(plan.Groups)}; told != want {
		t.Errorf("told %v, want %v", told, want)
	}
	if !strings.Contains(s.Note, "on 128 samples") {
		t.Errorf("note %q", s.Note)
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen := 0
	stopping := func(i int, inputs [][]float32) error {
		if seen++; seen > 340 { // calibration is over, the search is not
			cancel()
		}
		return spiked(i, inputs)
	}
	net, err = float.Compile(m, 300) // by one lane
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Calibrate(ctx, net, plan, Calibration{Method: OutputError}, stopping, 300); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Outputs that a float operator makes infinite say nothing of ranges, and groups of int16 are not searched.
func TestOutputErrorPassesOverWhatIsInfiniteAndWhatIsWide(t *testing.T) {
	search := func(m *tflite.Model, options Options) (*Plan, *Statistics) {
		net, err := float.Compile(m, 2)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := PlanOf(m, options)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Calibrate(context.Background(), net, plan, Calibration{Method: OutputError}, spiked, 300)
		if err != nil {
			t.Fatal(err)
		}
		return plan, found
	}
	b := tflitetest.New()
	b.Output(b.Unary("log", schema.BuiltinOperatorLOG, b.Unary("y", schema.BuiltinOperatorRELU, b.Input("x", 1, 2))))
	_, found := search(b.Model(), Options{KeepFloat: []string{"log"}, IO: IOFloat32})
	if strings.Contains(found.Note, "NaN") || strings.Contains(found.Note, "Inf") {
		t.Errorf("note %q", found.Note)
	}
	for _, r := range found.Ranges {
		if !(r.Max > r.Min) || math.IsInf(float64(r.Max), 0) {
			t.Errorf("range %v", r)
		}
	}
	plan, found := search(outliers(0).Model(), Options{Width: Wide})
	if r := found.Ranges[hiddenGroup(plan)]; r.Max < 399 {
		t.Errorf("range %v of int16", r)
	}
}

func TestWhatASearchAffords(t *testing.T) {
	for _, c := range []struct {
		name            string
		multiplications int64
		groups, answers int
		samples         int
		every           bool
	}{
		{"a small network", 1e6, 10, 10, 128, true},
		{"a larger one: 5e11 / (1e8·11·9)", 1e8, 10, 10, 50, true},
		{"too few samples for every group", 1e8, 200, 1000, 128, false},
		{"the fewest, in one way", 1e10, 20, 1000, 16, false},
		{"outputs of a segmentation: 2^26 / (512·512·21)", 1e6, 10, 512 * 512 * 21, 12, true},
		{"outputs that no two of which are kept", 1e6, 10, 1 << 27, 1, true},
		{"nothing to multiply, nothing to answer", 0, 1, 0, 128, true},
	} {
		if samples, every := afforded(c.multiplications, c.groups, c.answers); samples != c.samples || every != c.every {
			t.Errorf("%s: %d samples, every group %v; want %d, %v", c.name, samples, every, c.samples, c.every)
		}
	}
}
