package weight

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// setting makes a tensor in one mode of the parametrization.
type setting struct {
	mask, perChannel bool
	scales           int // 0: one, or one per channel
	clusters         int // 0: all codes; −1: float
	lambda           float32
}

func (s setting) make(t testing.TB, shape []int, axis int) *Tensor {
	values := gaussian(7, shape, axis, 30)
	w, err := New("w", shape, axis, values)
	fail := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	fail(err)
	if s.mask {
		fail(w.SetMask(half(values)))
	}
	scales := s.scales
	if scales == 0 && (s.perChannel || s.clusters > 0) {
		scales = w.Channels()
	}
	switch {
	case s.clusters < 0:
	case s.clusters == 0:
		fail(w.Quantize(max(scales, 1)))
	default:
		scale := w.Range(scales)
		for c := range scale {
			scale[c] = CompactScale(scale[c] / MaxCode)
		}
		books := make([]*Codebook, 1)
		if s.perChannel {
			books = make([]*Codebook, w.Channels())
		}
		for b := range books {
			centers := make([]float32, s.clusters)
			for k := range centers {
				centers[k] = float32(k)/float32(s.clusters-1)*2*MaxCode - MaxCode
			}
			books[b], err = NewCodebook(centers, MaxCode, s.mask)
			fail(err)
		}
		fail(w.SetCodebooks(scale, books))
		fail(w.price(s.lambda))
	}
	return w
}

// modes are the settings that the techniques use.
var modes = map[string]setting{
	"float":             {clusters: -1},
	"pruned":            {clusters: -1, mask: true},
	"QAT":               {},
	"QAT per channel":   {perChannel: true},
	"PQAT":              {mask: true, perChannel: true},
	"CQAT":              {clusters: 16},
	"CQAT, priced":      {clusters: 16, lambda: 30},
	"CQAT per channel":  {clusters: 4, perChannel: true},
	"PCQAT":             {clusters: 7, mask: true},
	"PCQAT, priced":     {clusters: 7, mask: true, lambda: 30},
	"QAT of parts":      {scales: 2},
	"PCQAT of parts":    {clusters: 3, mask: true, scales: 2},
	"PCQAT per channel": {clusters: 3, mask: true, perChannel: true},
}

// descend runs steps of gradient descent on ½‖w − target‖² from step from on, and returns the losses.
func descend(w *Tensor, target []float32, from, steps int) []float64 {
	trainables := w.Trainables()
	dW := make([]float32, w.Len())
	var losses []float64
	for s := from; s < from+steps; s++ {
		w.Materialize(dW)
		var loss float64
		for i := range dW {
			// noise that varies by step, so that members migrate
			dW[i] -= target[i] + 0.02*float32(math.Sin(float64(i*31+s*17)))
			loss += float64(dW[i]) * float64(dW[i])
		}
		losses = append(losses, loss)
		w.Backward(dW)
		for _, p := range trainables {
			for i, g := range p.Grad {
				if p.Mask == nil || p.Mask[i] != 0 {
					p.Value[i] -= 0.02 * p.StepScale * float32(math.Tanh(float64(g)))
				}
			}
		}
		w.Project()
	}
	return losses
}

func TestTrainingKeepsWhatTheModePromises(t *testing.T) {
	for name, mode := range modes {
		for _, shape := range []struct {
			dims []int
			axis int
		}{{[]int{12, 3, 3, 8}, 0}, {[]int{1, 9, 9, 12}, 3}} {
			t.Run(name, func(t *testing.T) {
				w := mode.make(t, shape.dims, shape.axis)
				target := gaussian(8, shape.dims, shape.axis, 30)
				before, promised := w.State(), slices.Clone(w.members)
				losses := descend(w, target, 0, 60)
				if first, last := losses[0], losses[len(losses)-1]; !(last < first) {
					t.Errorf("training does not learn: loss %v, then %v", first, last)
				}
				ok(t, w.Check())
				after := w.State()
				if diff := cmp.Diff(before.Mask, after.Mask); diff != "" {
					t.Errorf("the mask moved:\n%s", diff)
				}
				if after.Clusters > before.Clusters || after.Scope != before.Scope {
					t.Errorf("%d clusters of scope %s became %d of %s", before.Clusters, before.Scope, after.Clusters, after.Scope)
				}
				for i, v := range w.Values() {
					if before.Mask != nil && before.Mask[i] == 0 && v != 0 {
						t.Fatalf("pruned weight %d grew to %v", i, v)
					}
					if mode.mask && mode.clusters > 0 && before.Mask[i] == 1 && v == 0 {
						t.Fatalf("surviving weight %d fell to zero", i)
					}
				}
				if w.members != nil && slices.Equal(promised, w.members) {
					t.Errorf("no member migrated in 60 steps")
				}
			})
		}
	}
}

func TestAStepAllocatesNothing(t *testing.T) {
	for name, mode := range modes {
		w := mode.make(t, []int{12, 3, 3, 8}, 0)
		w.Trainables()
		buffer := make([]float32, w.Len())
		if n := testing.AllocsPerRun(5, func() { w.Materialize(buffer); w.Backward(buffer); w.Project() }); n != 0 {
			t.Errorf("%s: %v allocations a step", name, n)
		}
	}
}

func TestResumedTrainingGoesOnBitForBit(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			shape := []int{12, 3, 3, 8}
			target := gaussian(8, shape, 0, 30)
			straight := mode.make(t, shape, 0)
			descend(straight, target, 0, 20)

			first := mode.make(t, shape, 0)
			descend(first, target, 0, 11)
			saved := must(first.MarshalBinary())(t)
			second := mode.make(t, shape, 0)
			ok(t, second.UnmarshalBinary(saved))
			descend(second, target, 11, 9)

			a, b := must(straight.MarshalBinary())(t), must(second.MarshalBinary())(t)
			if !bytes.Equal(a, b) {
				t.Error("an interrupted run ends elsewhere than an uninterrupted one")
			}
			if diff := cmp.Diff(straight.Values(), second.Values()); diff != "" {
				t.Errorf("weights differ:\n%s", diff)
			}
		})
	}
}

func TestACheckpointOfAnotherStageIsRefused(t *testing.T) {
	shape := []int{12, 3, 3, 8}
	pcqat := modes["PCQAT"].make(t, shape, 0)
	saved := must(pcqat.MarshalBinary())(t)
	for name, data := range map[string][]byte{
		"empty": nil, "version": {9}, "truncated": saved[:len(saved)-1], "too long": append(slices.Clone(saved), 0),
		"other mode": must(modes["QAT"].make(t, shape, 0).MarshalBinary())(t),
	} {
		if err := modes["PCQAT"].make(t, shape, 0).UnmarshalBinary(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	damaged := slices.Clone(saved)
	at := 1 + 4 + 4*pcqat.Len() + 4 + pcqat.Len() + 4 + 4*len(pcqat.Scale) + 4
	damaged[at] = 200 // a member of a code there is not
	if err := modes["PCQAT"].make(t, shape, 0).UnmarshalBinary(damaged); err == nil {
		t.Error("a damaged member: no error")
	}
}

func TestCentersTakeTheSumOverTheirMembers(t *testing.T) {
	w := must(New("w", []int{2, 3}, 0, []float32{1, 1, 2, 20, 10, 10}))(t)
	book := must(NewCodebook([]float32{100, 50}, MaxCode, false))(t)
	ok(t, w.SetCodebooks([]float32{0.02, 0.2}, []*Codebook{book}))
	trainables := w.Trainables()
	w.Backward([]float32{1, 2, 3, 10, 20, 30})
	unit := float32(0.2) // the median: the upper of two
	want := map[string][]float32{
		"w":       {0.02, 0.04, 0.06, 2, 4, 6},
		"w/codes": {0.02*3 + 0.2*50, 0.02*3 + 0.2*10}, // 50: weights 0, 1, 4, 5; 100: weights 2, 3
	}
	for _, p := range trainables {
		var got []float32
		for _, g := range p.Grad {
			got = append(got, g*unit)
		}
		if diff := cmp.Diff(want[p.Name], got, approx(1e-4)); diff != "" {
			t.Errorf("gradient of %s (-want +got):\n%s", p.Name, diff)
		}
	}
}

// A row longer than what is summed side by side, and what is left of it.
func TestCentersOfLongRowsTakeEveryMember(t *testing.T) {
	values, dW := make([]float32, 11), make([]float32, 11)
	for i := range values {
		values[i], dW[i] = 1, float32(int(1)<<i)
	}
	w := must(New("w", []int{1, 11}, 0, values))(t)
	ok(t, w.SetCodebooks([]float32{0.5}, []*Codebook{must(NewCodebook([]float32{2, 9}, MaxCode, false))(t)}))
	p := w.Trainables()[1]
	w.Backward(dW)
	if diff := cmp.Diff([]float32{2047, 0}, p.Grad); diff != "" { // the scale is the unit
		t.Errorf("gradient of %s (-want +got):\n%s", p.Name, diff)
	}
}

func TestPrunedWeightsTakeNoGradient(t *testing.T) {
	w := must(New("w", []int{1, 2}, 0, []float32{3, 0.1}))(t)
	ok(t, w.SetMask([]uint8{1, 0}))
	if w.Latent[1] != 0 || w.Values()[1] != 0 {
		t.Error("a pruned weight is not zero")
	}
	p := w.Trainables()[0]
	w.Backward([]float32{1, 1})
	if p.Mask == nil || p.Grad[0] != 1 || p.Grad[1] != 0 {
		t.Errorf("gradients %v with mask %v", p.Grad, p.Mask)
	}
	w.Latent[1] = 5
	w.Project()
	if w.Latent[1] != 0 {
		t.Error("the projection lets a pruned weight move")
	}
}

func BenchmarkStep(b *testing.B) {
	for _, name := range []string{"float", "PQAT", "CQAT", "CQAT, priced", "PCQAT"} {
		w := modes[name].make(b, []int{276, 1, 1, 276}, 0)
		w.Trainables()
		buffer := make([]float32, w.Len())
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(4 * w.Len()))
			for b.Loop() {
				w.Materialize(buffer)
				w.Backward(buffer)
				w.Project()
			}
		})
	}
}
