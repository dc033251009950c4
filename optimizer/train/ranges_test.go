package train

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
)

// ranged are the ranges of a task whose activations train, ready for a step.
func ranged(t *testing.T, mode RangeMode) *Ranges {
	t.Helper()
	task := quantizedTask(t, mode, 1)
	newTrainer(t, task, fastConfig())
	return task.Ranges
}

// acts are what a batch met at each quantization of a network.
func acts(r *Ranges, of float.ActGrad) []float.ActGrad {
	list := make([]float.ActGrad, len(r.group))
	for i := range list {
		list[i] = of
	}
	return list
}

// moved is the range of every group that an update may move, by group; the others have to stay.
func moved(t *testing.T, r *Ranges, update func()) (before, after []quantize.Range) {
	t.Helper()
	all := append([]quantize.Range(nil), r.Range...)
	update()
	for g, was := range all {
		switch {
		case r.Plan.Groups[g].Fixed != nil && r.Range[g] != was:
			t.Errorf("group %d has a quantization of its own, and its range %v became %v", g, was, r.Range[g])
		case r.Plan.Groups[g].Fixed == nil:
			before, after = append(before, was), append(after, r.Range[g])
		}
	}
	if len(before) == 0 || len(before) == len(all) {
		t.Fatalf("%d of %d ranges may move", len(before), len(all))
	}
	return before, after
}

// A tracked range goes a hundredth of the way to the batch's, which holds 0.
func TestTrackedRangesFollowTheBatches(t *testing.T) {
	for name, c := range map[string]struct{ batch, target float.Range }{
		"either side of zero": {float.Range{Min: -10, Max: 30}, float.Range{Min: -10, Max: 30}},
		"above":               {float.Range{Min: 20, Max: 30}, float.Range{Min: 0, Max: 30}},
		"below":               {float.Range{Min: -30, Max: -20}, float.Range{Min: -30, Max: 0}},
		"a single value":      {float.Range{Min: 7, Max: 7}, float.Range{Min: 0, Max: 7}},
	} {
		r := ranged(t, Tracked)
		before, after := moved(t, r, func() { r.update(nil, 1, 0, acts(r, float.ActGrad{Range: c.batch})) })
		for g, was := range before {
			want := quantize.Range{Min: 0.99*was.Min + 0.01*c.target.Min, Max: 0.99*was.Max + 0.01*c.target.Max}
			if diff := cmp.Diff(want, after[g], cmpopts.EquateApprox(1e-5, 1e-6)); diff != "" {
				t.Errorf("%s: group %d (-want +got)\n%s", name, g, diff)
			}
		}
	}
}

// A batch of which no value is a number moves nothing, and ranges that are frozen stay whatever comes.
func TestRangesStayWhereNothingMovesThem(t *testing.T) {
	empty := float.ActGrad{Range: float.Range{Min: float32(math.Inf(1)), Max: float32(math.Inf(-1))}}
	for name, c := range map[string]struct {
		mode RangeMode
		met  float.ActGrad
	}{
		"no values": {Tracked, empty},
		"frozen":    {Frozen, float.ActGrad{Scale: 1, ZeroPoint: 1, Range: float.Range{Min: -100, Max: 100}}},
	} {
		r := ranged(t, c.mode)
		before, after := moved(t, r, func() { r.update(&Config{}, 1, 1, acts(r, c.met)) })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s: (-before +after)\n%s", name, diff)
		}
	}
}

// A loss that rises with the scale makes ranges narrower, one that falls wider: by Adam's first step, the rate times the width that they had.
// An end at 0 stays there, as do ranges with a quantization of their own.
func TestLearnedRangesGoAgainstTheGradient(t *testing.T) {
	const rate = 0.125
	config := DefaultConfig()
	for sign, by := range map[float32]float32{1: -rate, -1: rate} {
		r := ranged(t, Learned)
		before, after := moved(t, r, func() { r.update(&config, 1, rate, acts(r, float.ActGrad{Scale: sign})) })
		for g, was := range before {
			width := was.Max - was.Min
			want := was
			if was.Min < 0 {
				want.Min -= by * width
			}
			if was.Max > 0 {
				want.Max += by * width
			}
			if diff := cmp.Diff(want, after[g], cmpopts.EquateApprox(1e-3, 0)); diff != "" {
				t.Errorf("gradient %v, group %d of %v (-want +got)\n%s", sign, g, was, diff)
			}
		}
	}
}

// However large the steps, a range holds 0 and keeps a hundredth of its width, since nothing could bring it back from none.
func TestALearnedRangeIsNeverEmpty(t *testing.T) {
	config := DefaultConfig()
	r := ranged(t, Learned)
	before, after := moved(t, r, func() {
		for step := range 20 {
			r.update(&config, step+1, 0.5, acts(r, float.ActGrad{Scale: 1}))
		}
	})
	for g, now := range after {
		least := 0.01 * (before[g].Max - before[g].Min)
		if now.Min > 0 || now.Max < 0 || now.Max-now.Min < 0.99*least {
			t.Errorf("group %d of %v is %v, at least %v wide", g, before[g], now, least)
		}
	}
}

// What ranges become, the quantizations of the network are at once.
func TestQuantizationsAreThoseOfTheRanges(t *testing.T) {
	r := ranged(t, Tracked)
	r.update(nil, 1, 0, acts(r, float.ActGrad{Range: float.Range{Min: -100, Max: 300}}))
	for g, p := range r.Plan.Params(r.Range) {
		if q := r.Quants[g]; q.Scale != p.Scale || q.ZeroPoint != p.ZeroPoint {
			t.Errorf("group %d: scale %v and zero point %d, want %v and %d", g, q.Scale, q.ZeroPoint, p.Scale, p.ZeroPoint)
		}
	}
}

func TestRangesOfAnotherPlanAreRefused(t *testing.T) {
	for name, change := range map[string]func(r *Ranges){
		"a range too few":        func(r *Ranges) { r.Range = r.Range[1:] },
		"a quantization too few": func(r *Ranges) { r.Quants = r.Quants[1:] },
		"another mode":           func(r *Ranges) { r.Mode = "Moving" },
	} {
		task := quantizedTask(t, Tracked, 1)
		change(task.Ranges)
		if _, err := New(task, fastConfig()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The first step of a training moves ends of ranges by the rate times the widths that they had, or not at all.
func TestTheFirstStepMovesRangesByTheRate(t *testing.T) {
	task := quantizedTask(t, Learned, 1)
	config := fastConfig()
	config.Epochs, config.BatchSize, config.LearningRate, config.Schedule = 1, 300, 1.0/64, Constant
	before := slices.Clone(task.Ranges.Range)
	mustRun(t, newTrainer(t, task, config))
	ends := 0
	for g, was := range before {
		now, step := task.Ranges.Range[g], float64(was.Max-was.Min)/64
		for _, d := range []float64{float64(now.Min - was.Min), float64(now.Max - was.Max)} {
			if d == 0 {
				continue
			}
			if ends++; math.Abs(math.Abs(d)-step) > 0.02*step {
				t.Errorf("group %d: %v became %v, want steps of %v", g, was, now, step)
			}
		}
	}
	if ends < 3 {
		t.Errorf("%d ends moved", ends)
	}
}
