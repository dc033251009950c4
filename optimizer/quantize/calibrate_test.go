package quantize

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// samples is a feed of rows of values, one input.
func samples(rows ...[]float32) Feed {
	return func(i int, inputs [][]float32) error {
		copy(inputs[0], rows[i])
		return nil
	}
}

// noise feeds normal values, different by sample.
func noise(i int, inputs [][]float32) error {
	for k, x := range inputs {
		copy(x, normal(len(x), uint64(1000*k+i), 1))
	}
	return nil
}

// identity is x → RELU → y, so that ranges of values are easy to foresee.
func identity() *tflite.Model {
	b := tflitetest.New()
	b.Output(b.Unary("y", schema.BuiltinOperatorRELU, b.Input("x", 1, 2)))
	return b.Model()
}

func calibrated(t *testing.T, m *tflite.Model, config Calibration, feed Feed, n int) (*Plan, *Statistics) {
	t.Helper()
	net, err := float.Compile(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Calibrate(context.Background(), net, plan, config, feed, n)
	if err != nil {
		t.Fatal(err)
	}
	return plan, s
}

func TestCalibrationMethods(t *testing.T) {
	feed := samples([]float32{-1, 2}, []float32{3, 0.5}, []float32{-4, 1}) // micro-batches of two: {−1 2 3 0.5}, {−4 1}
	for name, tc := range map[string]struct {
		config Calibration
		want   []Range // of x, y
	}{
		"min-max":               {Calibration{}, []Range{{-4, 3}, {0, 3}}},
		"moving average":        {Calibration{Method: Average, Decay: 0.5}, []Range{{-2.5, 2}, {0, 2}}},
		"all of the percentile": {Calibration{Method: Percentile, Percentile: 100}, []Range{{-4, 3}, {0, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := calibrated(t, identity(), tc.config, feed, 3)
			if diff := cmp.Diff(tc.want, s.Ranges); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCalibrationDoesNotDependOnProcessors(t *testing.T) {
	for _, method := range Methods {
		t.Run(method.String(), func(t *testing.T) {
			config := Calibration{Method: method, Percentile: 99}
			_, want := calibrated(t, tflitetest.Classifier(), config, noise, 33)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			_, got := calibrated(t, tflitetest.Classifier(), config, noise, 33)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConstantsCountIntoTheirGroupsRange(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	c := b.Const("c", []float32{7, -3}, 2)
	b.Output(b.Op("max", schema.BuiltinOperatorMAXIMUM, schema.BuiltinOptionsMaximumMinimumOptions, &schema.MaximumMinimumOptionsT{}, []int32{1, 2}, x, c))
	plan, s := calibrated(t, b.Model(), Calibration{}, samples([]float32{1, -5}), 1)
	if got := s.Ranges[plan.Tensor[x]]; got != (Range{-5, 7}) {
		t.Errorf("range %v", got)
	}
}

func TestFixedGroupsHaveTheirPrescribedRange(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	b.Output(b.Unary("tanh", schema.BuiltinOperatorTANH, x))
	plan, s := calibrated(t, b.Model(), Calibration{}, samples([]float32{1, -5}), 1)
	tanh := plan.Tensor[plan.Graph.Outputs[0]]
	if s.Ranges[tanh] != prescribed(op.Lookup(schema.BuiltinOperatorTANH).Int8.Output).Range() || plan.Params(s.Ranges)[tanh] != prescribed(op.Lookup(schema.BuiltinOperatorTANH).Int8.Output) {
		t.Errorf("tanh: %v", s.Ranges[tanh])
	}
}

func TestCalibrationErrorsNameTheirCause(t *testing.T) {
	m := identity()
	net, err := float.Compile(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	nan := samples([]float32{1, float32(math.NaN())})
	broken := func(int, [][]float32) error { return errors.New("no such file") }
	for name, tc := range map[string]struct {
		config Calibration
		feed   Feed
		n      int
		want   string
	}{
		"no samples":            {Calibration{}, nan, 0, "calibration needs at least one sample"},
		"a NaN":                 {Calibration{}, nan, 1, `calibration: tensor 0 "x": value 1 is NaN`},
		"a sample not readable": {Calibration{}, broken, 1, "no such file"},
		"a bad percentile":      {Calibration{Percentile: 40}, nan, 1, "calibration percentile 40 is not in (50, 100]"},
		"a share of one half":   {Calibration{Percentile: 50}, nan, 1, "calibration percentile 50 is not in (50, 100]"},
		"more than all":         {Calibration{Percentile: 100.5}, nan, 1, "calibration percentile 100.5 is not in (50, 100]"},
		"a negative decay":      {Calibration{Decay: -0.1}, nan, 1, "calibration decay -0.1 is not in [0, 1)"},
		"an unknown method":     {Calibration{Method: OutputError + 1}, nan, 1, "unknown calibration method 5"},
		"a bad decay":           {Calibration{Decay: 1}, nan, 1, "calibration decay 1 is not in [0, 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Calibrate(context.Background(), net, plan, tc.config, tc.feed, tc.n); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	b := tflitetest.New()
	b.Output(b.Unary("y", schema.BuiltinOperatorABS, b.Unary("logarithm", schema.BuiltinOperatorLOG, b.Input("x", 1, 2))))
	if net, err = float.Compile(b.Model(), 2); err != nil {
		t.Fatal(err)
	}
	if plan, err = PlanOf(b.Model(), Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = Calibrate(context.Background(), net, plan, Calibration{}, samples([]float32{1, 2}, []float32{1, -1}, []float32{3, -1}), 3)
	if want := `calibration: operator 0 LOG "logarithm" gives NaN or infinity, though its inputs are numbers`; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want %s", err, want)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Calibrate(cancelled, net, plan, Calibration{}, samples([]float32{1, 1}), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The operator that is named is the one where the tensor's NaN began, not another that may give infinities: beside it, or before it where they end.
func TestTheOperatorThatGivesNaNIsNamed(t *testing.T) {
	for name, of := range map[string]func(b *tflitetest.Builder, x int32){
		"beside a logarithm that stays float": func(b *tflitetest.Builder, x int32) {
			b.Output(b.Unary("log", schema.BuiltinOperatorLOG, b.Unary("y", schema.BuiltinOperatorABS, x)))
			b.Output(b.Unary("z", schema.BuiltinOperatorABS, b.Unary("root", schema.BuiltinOperatorSQRT, x)))
		},
		"behind an exponential that ends the infinity of one": func(b *tflitetest.Builder, x int32) {
			ended := b.Unary("zero", schema.BuiltinOperatorEXP, b.Unary("log", schema.BuiltinOperatorLOG, b.Unary("y", schema.BuiltinOperatorABS, x)))
			b.Output(ended)
			b.Output(b.Unary("z", schema.BuiltinOperatorABS, b.Unary("root", schema.BuiltinOperatorSQRT, x)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			of(b, b.Input("x", 1, 2))
			m := b.Model()
			net, plan := floatEnds(t, m)
			if _, err := Calibrate(context.Background(), net, plan, Calibration{}, samples([]float32{0, -1}), 1); err == nil || !strings.Contains(err.Error(), `SQRT "root" gives NaN or infinity`) {
				t.Errorf("got %v, want SQRT to be named", err)
			}
		})
	}
}

// floatEnds is a network of which inputs and outputs are floats in leaves, with its plan.
func floatEnds(t *testing.T, m *tflite.Model) (*float.Network, *Plan) {
	t.Helper()
	net, err := float.Compile(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanOf(m, Options{IO: IOFloat32})
	if err != nil {
		t.Fatal(err)
	}
	return net, plan
}

// An output that stays float may be infinite, as the logarithm of 0 is, but it has to be a number, the first value as well.
func TestOutputsThatStayFloatAreNumbers(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	b.Output(b.Unary("log", schema.BuiltinOperatorLOG, b.Unary("y", schema.BuiltinOperatorABS, x)))
	b.Output(b.Unary("root", schema.BuiltinOperatorSQRT, x))
	m := b.Model()
	net, plan := floatEnds(t, m)
	if _, err := Calibrate(context.Background(), net, plan, Calibration{}, samples([]float32{0, 1}), 1); err != nil {
		t.Error(err)
	}
	if _, err := Calibrate(context.Background(), net, plan, Calibration{}, samples([]float32{-1, 1}), 1); err == nil || !strings.Contains(err.Error(), `SQRT "root" gives NaN`) {
		t.Errorf("got %v", err)
	}
}

func TestAttachSharesOneObjectPerGroup(t *testing.T) {
	m := tflitetest.Classifier()
	net, err := float.Compile(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	plan, s := calibrated(t, m, Calibration{}, noise, 8)
	params := plan.Params(s.Ranges)
	acts, err := plan.Attach(net, params)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(params, ParamsOf(acts)); diff != "" {
		t.Error(diff)
	}
	for i, g := range plan.Tensor {
		if g == None && net.Act[i] != nil || g != None && net.Act[i] != acts[g] {
			t.Errorf("%s is not attached to its group", plan.name(i))
		}
	}
	other := newSketch()
	q := other.plan(t, Options{}, other.conv("c", other.input("x")))
	if _, err := q.Attach(net, make([]Params, len(q.Groups))); err == nil {
		t.Error("attached a plan of another model")
	}
}

// The fixed-point sum of ADD needs 2·max(input scale)/(2²⁰·output scale) < 1; LiteRT aborts the process otherwise.
func TestScalesStayWithinWhatKernelsCanMultiply(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	y := b.Unary("y", schema.BuiltinOperatorRELU, x)
	sum := b.Op("difference", schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{}, []int32{1, 2}, x, y)
	b.Output(b.Softmax("p", sum))
	m := b.Model()
	plan, s := calibrated(t, m, Calibration{}, samples([]float32{1000, 1e-9}), 1)
	s.Ranges[plan.Tensor[sum]] = Range{-1e-9, 0}
	params := plan.Params(s.Ranges)
	if ratio := 2 * params[plan.Tensor[x]].Scale / params[plan.Tensor[sum]].Scale / (1 << 20); ratio >= 1 {
		t.Errorf("the output scale of SUB is %v, the input's %v", params[plan.Tensor[sum]].Scale, params[plan.Tensor[x]].Scale)
	}
}

func BenchmarkCalibrate(b *testing.B) {
	m := tflitetest.Classifier()
	net, err := float.Compile(m, 0)
	if err != nil {
		b.Fatal(err)
	}
	plan, err := PlanOf(m, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, method := range []Method{MinMax, MSE} {
		b.Run(method.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Calibrate(context.Background(), net, plan, Calibration{Method: method}, noise, 64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
