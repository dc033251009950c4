package weight

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatesShrinkToFewerCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		state State
		most  int
		scale []float32
		codes [][]int8
	}{
		"codes that fit stay": {
			State{Shape: []int{2, 2}, Scope: Shared, Clusters: 3, Scale: []float32{1, 2}, CodeSets: [][]int8{{-7, 0, 7}}}, MaxCode4, []float32{1, 2}, [][]int8{{-7, 0, 7}},
		},
		"the largest is the largest": {
			State{Shape: []int{2, 2}, Scope: Shared, Clusters: 4, Scale: []float32{1, 2}, CodeSets: [][]int8{{-126, -60, 18, 126}}}, MaxCode4, []float32{18, 36}, [][]int8{{-7, -3, 1, 7}},
		},
		"codes that become one are one": {
			State{Shape: []int{2, 2}, Scope: PerTensor, Clusters: 4, Scale: []float32{1}, CodeSets: [][]int8{{-126, 17, 18, 19}}}, MaxCode4, []float32{18}, [][]int8{{-7, 1}},
		},
		"under a mask none becomes 0": {
			State{Shape: []int{2, 2}, Mask: []uint8{1, 1, 1, 0}, Scope: Shared, Clusters: 4, Scale: []float32{1, 1}, CodeSets: [][]int8{{-2, 2, 126}}}, MaxCode4, []float32{18, 18}, [][]int8{{-1, 1, 7}},
		},
		"channels with codes of their own": {
			State{Shape: []int{2, 2}, Scope: PerChannel, Clusters: 2, Scale: []float32{1, 1}, CodeSets: [][]int8{{-126, 126}, {-3, 3}}}, MaxCode4, []float32{18, 1}, [][]int8{{-7, 7}, {-3, 3}},
		},
		"and back nothing changes": {
			State{Shape: []int{2, 2}, Scope: PerTensor, Clusters: 2, Scale: []float32{1}, CodeSets: [][]int8{{-7, 7}}, Most: MaxCode4}, MaxCode, []float32{1}, [][]int8{{-7, 7}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.state.Within(tc.most)
			if diff := cmp.Diff(tc.codes, got.CodeSets); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.scale, got.Scale); diff != "" {
				t.Error(diff)
			}
			ok(t, got.check())
		})
	}
}

// Whatever the channels' scales, weights of one code of eight bits are of one code of four, so that there are never more of them.
func TestEqualCodesStayEqual(t *testing.T) {
	s := State{Shape: []int{4, 9}, Scope: Shared, Clusters: 9, Scale: []float32{0.013, 0.7, 3.1e-5, 1}, CodeSets: [][]int8{{-127, -63, -45, -9, 0, 9, 27, 45, 99}}}
	var values []float32
	for _, scale := range s.Scale {
		for _, code := range s.CodeSets[0] {
			values = append(values, scale*float32(code))
		}
	}
	codes, scale, err := s.CodesWithin(values, MaxCode4)
	ok(t, err)
	for i, code := range codes {
		if code != codes[i%9] || code < -MaxCode4 || code > MaxCode4 {
			t.Errorf("weight %d has code %d, the same of channel 0 has %d", i, code, codes[i%9])
		}
		if d := math.Abs(float64(values[i]) - float64(scale[i/9])*float64(code)); d > 0.5001*float64(scale[i/9]) {
			t.Errorf("weight %d is %v, its code means %v", i, values[i], scale[i/9]*float32(code))
		}
	}
}

// 127 codes are enough for the largest weight to be one of them, however many small ones would gain by another scale.
func TestEightBitsClipNothing(t *testing.T) {
	values := make([]float32, 100_000)
	for i := range values {
		values[i] = float32(0.02 * math.Sin(float64(i)))
	}
	values[7] = 4
	w := must(New("w", []int{1, len(values)}, 0, values))(t)
	if got, want := w.Scales(1, nil)[0], CompactScale(float32(4)/127); got != want {
		t.Errorf("scale %v, want %v", got, want)
	}
}

func TestScalesHaveTheirFloor(t *testing.T) {
	w := must(New("w", []int{2, 2}, 0, []float32{127, 1, 254, 1}))(t)
	for name, test := range map[string]struct {
		scales      int
		floor, want []float32
	}{
		"none":                            {2, nil, []float32{1, 2}},
		"by channel":                      {2, []float32{1.5, 1}, []float32{1.5, 2}},
		"one scale has the highest floor": {1, []float32{3, 4}, []float32{4}},
		"one scale above its floor":       {1, []float32{0.5, 1}, []float32{2}},
	} {
		if diff := cmp.Diff(test.want, w.Scales(test.scales, test.floor)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// With few codes the scale is that of the least squared error: one outlier does not take the resolution of all the others.
func TestFewCodesClipOutliers(t *testing.T) {
	values := make([]float32, 400)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
	}
	values[7] = 4
	four := must(New("w", []int{1, 400}, 0, values))(t)
	four.Most = MaxCode4
	eight := must(New("w", []int{1, 400}, 0, values))(t)
	if got, want := eight.Scales(1, nil)[0], CompactScale(float32(4)/127); got != want {
		t.Errorf("8 bits: scale %v, want %v", got, want)
	}
	whole := must(New("w", []int{1, 400}, 0, values))(t)
	whole.Most = MaxCode4
	ok(t, whole.QuantizeWith([]float32{float32(4) / 7}))
	ok(t, four.Quantize(1))
	if a, b := SNR(values, four.Values()), SNR(values, whole.Values()); a < b+3 {
		t.Errorf("the chosen scale gives %.1f dB, that of the largest weight %.1f", a, b)
	}
	if floor := four.Scale[0] * 3; must(New("w", []int{1, 400}, 0, values))(t).Scales(1, []float32{floor})[0] != CompactScale(floor) {
		t.Error("a scale below its floor")
	}
}
