package quantize

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/weight"
)

func TestSymmetricUsesOneScalePerOutputChannel(t *testing.T) {
	// Two output channels (axis 0) of two weights each, a thousand times apart.
	w := symmetric(t, []float32{1, -0.5, 0.001, 0.0002}, []int{2, 1, 1, 2}, 0, 2, nil)
	if diff := cmp.Diff([]int8{127, -63, 127, 25}, w.Codes, cmp.Comparer(near8)); diff != "" {
		t.Error(diff)
	}
	one := symmetric(t, []float32{1, -0.5, 0.001, 0.0002}, []int{2, 1, 1, 2}, 0, 1, nil)
	if len(one.Scale) != 1 || one.Codes[2] != 0 {
		t.Errorf("per tensor: %v", one)
	}
}

// near8 allows the one code that rounding a scale up to 8 bits can cost.
func near8(a, b int8) bool { return a-b <= 1 && b-a <= 1 }

// TFMOT quantizes depthwise kernels with one scale in effect (research/optimizers.md §1.5, trap 6); the specification has one
// per channel on axis 3.
func TestSymmetricDepthwiseIsPerChannelOnAxisThree(t *testing.T) {
	w := symmetric(t, []float32{1, 0.01, -1, -0.01}, []int{1, 2, 1, 2}, 3, 2, nil)
	if diff := cmp.Diff([]int8{127, 127, -127, -127}, w.Codes, cmp.Comparer(near8)); diff != "" {
		t.Error(diff)
	}
}

func TestSymmetricKeepsEveryWeightWithinHalfAStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([]float32, 8*9*3)
	for i := range values {
		values[i] = float32(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
	}
	shape := []int{8, 3, 3, 3}
	w := symmetric(t, values, shape, 0, shape[0], nil)
	if err := w.check(shape, 0); err != nil {
		t.Fatal(err)
	}
	for i, v := range w.Values(shape, 0) {
		if d := math.Abs(float64(v - values[i])); d > 0.5001*float64(w.Scale[i/27]) {
			t.Fatalf("weight %d: %v became %v", i, values[i], v)
		}
	}
}

func TestZerosStayZeroCodes(t *testing.T) {
	w := symmetric(t, []float32{0, 3, 0, -2, 0, 0, 0, 0}, []int{2, 4}, 0, 2, nil)
	for _, i := range []int{0, 2, 4, 5, 6, 7} {
		if w.Codes[i] != 0 {
			t.Errorf("weight %d is zero but has code %d", i, w.Codes[i])
		}
	}
	if w.Scale[1] != w.Scale[0] {
		t.Errorf("the channel of zeros has scale %v", w.Scale[1])
	}
}

func TestBiasesNeverSaturate(t *testing.T) {
	// The second channel's weights are dead, its bias is not: at scale max|w|/127 the bias would need 3·10¹⁴ steps.
	values, bias := []float32{1, -1, 1e-12, 1e-13}, []float32{0.1, -50}
	const input = 0.02
	w := symmetric(t, values, []int{2, 2}, 0, 2, scaleFloor(bias, input))
	q := BiasCodes(bias, input, w.Scale)
	for c, b := range bias {
		value := float64(q[c]) * input * float64(w.Scale[c])
		if math.Abs(value-float64(b)) > 1e-3*math.Abs(float64(b)) {
			t.Errorf("bias %v is written as %v", b, value)
		}
	}
	if w.Codes[2] != 0 || w.Codes[3] != 0 || w.Codes[0] < 126 {
		t.Errorf("codes %v", w.Codes)
	}
}

func TestFloorRaisesScalesAndKeepsCodes(t *testing.T) {
	clustered := Weights{Codes: []int8{100, -100, 5, 7}, Scale: []float32{1e-14, 0.5}}
	got, raised := clustered.withFloor(scaleFloor([]float32{-3, 3}, 0.01), 2, 2)
	if diff := cmp.Diff([]int{0}, raised); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(clustered.Codes, got.Codes); diff != "" {
		t.Errorf("codes changed: %s", diff)
	}
	if got.Scale[1] != 0.5 || clustered.Scale[0] != 1e-14 {
		t.Errorf("scales %v, of the input %v", got.Scale, clustered.Scale)
	}
	if q := BiasCodes([]float32{-3, 3}, 0.01, got.Scale); q[0] < -maxBias-100 || q[0] > -maxBias/2 {
		t.Errorf("bias code %d", q[0])
	}
	if single, raised := (Weights{Codes: []int8{1, 1}, Scale: []float32{1e-14}}).withFloor(scaleFloor([]float32{-3, 0}, 0.01), 2, 1); len(single.Scale) != 2 || len(raised) != 1 || single.Scale[1] != 1e-14 {
		t.Errorf("one scale for all became %v, raised %v", single.Scale, raised)
	}
}

func TestWeightsThatDoNotFitAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		w    Weights
		want string
	}{
		"codes of 8 bits":  {Weights{Codes: []int8{0, 8, -8, 0}, Scale: []float32{1}, Int4: true}, "code 1 is 8, outside [−8, 7]"},
		"a scale of NaN":   {Weights{Codes: make([]int8, 4), Scale: []float32{float32(math.NaN())}}, "scale 0 is NaN, not a positive finite number"},
		"an endless scale": {Weights{Codes: make([]int8, 4), Scale: []float32{1, float32(math.Inf(1))}}, "scale 1 is +Inf, not a positive finite number"},
		"too few codes":    {Weights{Codes: make([]int8, 3), Scale: []float32{1}}, "3 codes for 4 weights"},
		"too many scales":  {Weights{Codes: make([]int8, 4), Scale: []float32{1, 1, 1}}, "3 scales for 2 output channels"},
		"a zero scale":     {Weights{Codes: make([]int8, 4), Scale: []float32{1, 0}}, "scale 1 is 0, not a positive finite number"},
		"the code −128":    {Weights{Codes: []int8{0, -128, 0, 0}, Scale: []float32{1}}, "code 1 is -128, outside [−127, 127]"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.w.check([]int{2, 2}, 0)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func symmetric(t *testing.T, values []float32, shape []int, axis, scales int, floor []float32) Weights {
	t.Helper()
	w, err := Symmetric("w", values, shape, axis, weight.MaxCode, scales, floor)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Codes of several channels that have one scale shrink by as much as it grows, those of the others stay.
func TestFloorShrinksCodesOfAPart(t *testing.T) {
	w := Weights{Codes: []int8{100, 50, 10, 0, 9, 8, 7, 6}, Scale: []float32{1, 4}} // 2 parts of 2 channels of 2 weights
	floor := []float32{0, 2, 3, 1}
	got, raised := w.withFloor(floor, 2, 2)
	want := Weights{Codes: []int8{50, 25, 5, 0, 9, 8, 7, 6}, Scale: []float32{2, 4}}
	if diff := cmp.Diff([]any{want, []int{1}}, []any{got, raised}); diff != "" {
		t.Error(diff)
	}
	along := Weights{Codes: []int8{100, 10, 50, 20}, Scale: []float32{1}} // channels along the last axis
	if got, _ := along.withFloor([]float32{2, 0}, 1, 1); !slices.Equal(got.Codes, []int8{50, 5, 25, 10}) || !slices.Equal(got.Scale, []float32{2}) {
		t.Errorf("%+v", got)
	}
	every := Weights{Codes: []int8{9, 8, 7, 6}, Scale: []float32{1}}
	if got, _ := every.withFloor([]float32{0, 0, 0, 5}, 2, 1); !slices.Equal(got.Codes, []int8{9, 8, 1, 1}) || !slices.Equal(got.Scale, []float32{1, 5}) {
		t.Errorf("one scale for two parts became %+v", got)
	}
}

func TestPartsOfWeights(t *testing.T) {
	w := Weights{Codes: []int8{1, 2, 3, 4, 5, 6, 7, 8}, Scale: []float32{0.5, 2}}
	if codes, scale := w.Part(1, 2); !slices.Equal(codes, []int8{5, 6, 7, 8}) || scale != 2 {
		t.Errorf("the second half: %v, scale %v", codes, scale)
	}
	if codes, scale := w.Part(1, 4); !slices.Equal(codes, []int8{3, 4}) || scale != 0.5 {
		t.Errorf("the second quarter: %v, scale %v", codes, scale)
	}
	if got := w.Spread(4).Scale; !slices.Equal(got, []float32{0.5, 0.5, 2, 2}) {
		t.Errorf("spread: %v", got)
	}
	w.Scale = w.Scale[:1]
	if got := w.Spread(4).Scale; len(got) != 1 {
		t.Errorf("one scale is spread: %v", got)
	}
	if got := (Weights{Codes: []int8{1, 1, 1, 1}, Scale: []float32{1, 3}}).Values([]int{2, 2}, 1); !slices.Equal(got, []float32{1, 3, 1, 3}) {
		t.Errorf("values %v", got)
	}
}

// Values that an earlier stage left are on the grid of its scales if they lie on it, or round to it: up to half a step beyond the last code.
func TestValuesWithinWhatScalesExpressGetCodes(t *testing.T) {
	eight := Weights{Codes: make([]int8, 4), Scale: []float32{1, 0.5}}
	four := Weights{Codes: make([]int8, 4), Scale: []float32{2}, Int4: true}
	last := Weights{Codes: make([]int8, 4), Scale: []float32{1, 0.5}}
	nan := float32(math.NaN())
	for name, tc := range map[string]struct {
		w      Weights
		values []float32
		axis   int
		want   []int8 // nil: beyond what the scales express
	}{
		"their own":                    {eight, []float32{127, -127, 63.5, -63.5}, 0, []int8{127, -127, 127, -127}},
		"rounded":                      {eight, []float32{1.4, -1.6, 1.4, 0}, 0, []int8{1, -2, 3, 0}},
		"half a step above":            {eight, []float32{127.5, 0, 0, 63.75}, 0, []int8{127, 0, 0, 127}},
		"half a step below":            {eight, []float32{-127.5, 0, 0, -63.75}, 0, []int8{-127, 0, 0, -127}},
		"more than that above":         {eight, []float32{0, 0, 0, 63.8}, 0, nil},
		"more than that below":         {eight, []float32{-127.6, 0, 0, 0}, 0, nil},
		"channels along the last axis": {last, []float32{100, 50, 3, 1}, 1, []int8{100, 100, 3, 2}},
		"too large for a channel":      {last, []float32{50, 100, 3, 1}, 1, nil},
		"four bits":                    {four, []float32{14, -16, 15, -17}, 0, []int8{7, -8, 7, -8}},
		"more than four bits":          {four, []float32{15.2, 0, 0, 0}, 0, nil},
		"less than four bits":          {four, []float32{0, -17.2, 0, 0}, 0, nil},
		"NaN":                          {eight, []float32{nan, 0, 0, 0}, 0, nil},
		"of another shape":             {eight, []float32{1, 2}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			on, ok := tc.w.On(tc.values, []int{2, 2}, tc.axis)
			if ok != (tc.want != nil) || ok != tc.w.Holds(tc.values, []int{2, 2}, tc.axis) {
				t.Fatalf("expressible: %v", ok)
			}
			if diff := cmp.Diff(tc.want, on.Codes); diff != "" {
				t.Error(diff)
			}
			if ok && (on.Int4 != tc.w.Int4 || !slices.Equal(on.Scale, tc.w.Scale)) {
				t.Errorf("on other scales: %+v", on)
			}
		})
	}
}

// Biases of int8 layers have 32 bits, those of int16 layers 40; both round half away from zero.
func TestBiasCodes(t *testing.T) {
	bias, scales := []float32{1.25, -1.25, 1e30, -1e30, 3}, []float32{1, 1, 1, 1, 0.25}
	if diff := cmp.Diff([]int32{3, -3, math.MaxInt32, math.MinInt32, 24}, BiasCodes(bias, 0.5, scales)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{3, -3, 1 << 39, -1 << 39, 24}, WideBiasCodes(bias, 0.5, scales)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{3, -3, 1 << 39, -1 << 39, 6}, WideBiasCodes(bias, 0.5, scales[:1])); diff != "" {
		t.Errorf("one scale: %s", diff)
	}
	if diff := cmp.Diff([]int32{3, -3, math.MaxInt32, math.MinInt32, 6}, BiasCodes(bias, 0.5, scales[:1])); diff != "" {
		t.Errorf("one scale: %s", diff)
	}
	if diff := cmp.Diff([]float32{0.5, 0.5, 0.5, 0.5, 0.125}, BiasScale(0.5, scales)); diff != "" {
		t.Error(diff)
	}
}
