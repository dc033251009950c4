package prune

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

func kernels() []weight.Kernel {
	return []weight.Kernel{
		{Tensor: 1, Name: "net/stem/Conv2D", Op: schema.BuiltinOperatorCONV_2D, Shape: []int{8, 3, 3, 3}},
		{Tensor: 4, Name: "net/dw/depthwise", Op: schema.BuiltinOperatorDEPTHWISE_CONV_2D, Shape: []int{1, 3, 3, 8}, Axis: 3},
		{Tensor: 7, Name: "net/head/MatMul", Op: schema.BuiltinOperatorFULLY_CONNECTED, Shape: []int{10, 50}},
	}
}

func share(s float64) *float64 { return &s }

func TestPlan(t *testing.T) {
	k := kernels()
	tests := map[string]struct {
		options   Options
		want      []Target
		wantNotes int
		wantErr   string
	}{
		"by default all but depthwise": {
			Options{Sparsity: 0.5}, []Target{{Kernel: k[0], Sparsity: 0.5}, {Kernel: k[2], Sparsity: 0.5}}, 1, "",
		},
		"a rule includes a depthwise kernel": {
			Options{Sparsity: 0.5, Rules: []Rule{{Layers: "*/dw/*", Sparsity: share(0.25)}}},
			[]Target{{Kernel: k[0], Sparsity: 0.5}, {Kernel: k[1], Sparsity: 0.25}, {Kernel: k[2], Sparsity: 0.5}}, 0, "",
		},
		"a rule skips": {
			Options{Sparsity: 0.5, Rules: []Rule{{Layers: "*stem*", Skip: true}}}, []Target{{Kernel: k[2], Sparsity: 0.5}}, 2, "",
		},
		"the first rule that matches counts": {
			Options{Sparsity: 0.5, Rules: []Rule{{Layers: "*head*", Pattern: &Pattern{Columns: 16}}, {Layers: "net/*", Skip: true}}},
			[]Target{{Kernel: k[2], Sparsity: 0.5, Pattern: Pattern{Columns: 16}}}, 2, "",
		},
		"a rule takes a layer out of the budget": {
			Options{Sparsity: 0.5, Scope: Global, Rules: []Rule{{Layers: "*head*", Sparsity: share(0.9)}}},
			[]Target{{Kernel: k[0], Sparsity: 0.5, Budget: true}, {Kernel: k[2], Sparsity: 0.9}}, 1, "",
		},
		"2 of 4 is a sparsity of its own": {
			Options{Sparsity: 0.7, Scope: Global, Pattern: Pattern{Zeros: 2, Of: 4}},
			[]Target{{Kernel: k[0], Sparsity: 0.5, Pattern: Pattern{Zeros: 2, Of: 4}}, {Kernel: k[2], Sparsity: 0.5, Pattern: Pattern{Zeros: 2, Of: 4}}}, 1, "",
		},
		"a later rule for the same layer is no rule without layers": {
			Options{Sparsity: 0.5, Rules: []Rule{{Layers: "*head*", Sparsity: share(0.75)}, {Layers: "net/head/*", Skip: true}}},
			[]Target{{Kernel: k[0], Sparsity: 0.5}, {Kernel: k[2], Sparsity: 0.75}}, 1, "",
		},
		"a rule that matches nothing":  {Options{Rules: []Rule{{Layers: "*haed*"}}}, nil, 0, `"net/head/MatMul"`},
		"everything skipped":           {Options{Rules: []Rule{{Layers: "*", Skip: true}}}, nil, 0, "nothing to prune"},
		"sparsity of 1":                {Options{Sparsity: 1}, nil, 0, "sparsity 1 is outside"},
		"a rule's sparsity of 2":       {Options{Rules: []Rule{{Layers: "*", Sparsity: share(2)}}}, nil, 0, `rule "*": sparsity 2`},
		"unknown scope":                {Options{Scope: "Best"}, nil, 0, `"Best"`},
		"2 of 4 of a depthwise kernel": {Options{Pattern: Pattern{Zeros: 2, Of: 4}, Rules: []Rule{{Layers: "*dw*"}}}, nil, 0, "depthwise"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, notes, err := NewPlan(k, test.options)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(notes) != test.wantNotes {
				t.Errorf("notes %q, want %d", notes, test.wantNotes)
			}
		})
	}
}

// train prunes two tensors while every step adds noise to latents that may move; it returns the zeros after every step.
func train(t *testing.T, o Options, steps, resume int) ([]*weight.Tensor, []int) {
	t.Helper()
	k := kernels()
	start := func() ([]*weight.Tensor, *Pruner, []weight.Trainable) {
		targets, _, err := NewPlan(k, o)
		if err != nil {
			t.Fatal(err)
		}
		var tensors []*weight.Tensor
		for i, target := range targets {
			n := 1
			for _, d := range target.Shape {
				n *= d
			}
			w, err := weight.New(target.Name, target.Shape, target.Axis, scaled(normal(n, uint64(i)), float32(i+1)))
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, w)
		}
		p, err := NewPruner(targets, tensors, o, steps)
		if err != nil {
			t.Fatal(err)
		}
		var trainables []weight.Trainable
		for _, w := range tensors {
			trainables = append(trainables, w.Trainables()...)
		}
		return tensors, p, trainables
	}
	tensors, p, trainables := start()
	var zeros []int
	for step := range steps {
		if step == resume && step > 0 {
			before := tensors
			tensors, p, trainables = start()
			for i, w := range tensors {
				data, err := before[i].MarshalBinary()
				if err == nil {
					err = w.UnmarshalBinary(data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := p.Before(step); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, w := range tensors {
			dW := make([]float32, w.Len())
			for i, v := range w.Values() {
				if v == 0 {
					n++
				}
				dW[i] = float32(math.Sin(float64(i*7 + step*3)))
			}
			w.Backward(dW)
		}
		zeros = append(zeros, n)
		for _, q := range trainables {
			for i, g := range q.Grad {
				if q.Mask == nil || q.Mask[i] != 0 {
					q.Value[i] -= 0.05 * g
				}
			}
		}
		for _, w := range tensors {
			w.Project()
		}
	}
	if err := p.Finish(); err != nil {
		t.Fatal(err)
	}
	return tensors, zeros
}

func TestPrunedTrainingEndsExactly(t *testing.T) {
	tests := map[string]Options{
		"constant":              {Sparsity: 0.5, Schedule: Schedule{Kind: Constant}},
		"constant, choosing on": {Sparsity: 0.5, Schedule: Schedule{Kind: Constant, End: -1, Every: 7}},
		"polynomial":            {Sparsity: 0.5, Schedule: Schedule{Kind: Polynomial, Every: 3}},
		"global":                {Sparsity: 0.5, Scope: Global, Schedule: Schedule{Kind: Polynomial, Every: 3}},
		"begins after the run":  {Sparsity: 0.5, Schedule: Schedule{Kind: Constant, Begin: 1000}},
	}
	for name, o := range tests {
		for _, steps := range []int{0, 1, 40} {
			tensors, zeros := train(t, o, steps, 0)
			total := 0
			for _, w := range tensors {
				n := w.State().Pruned()
				total += n
				if want := Count(w.Len(), 0.5); n != want && o.Scope != Global {
					t.Errorf("%s, %d steps: %d of %d pruned, want %d", name, steps, n, w.Len(), want)
				}
				for i, v := range w.Values() {
					if (v == 0) != (w.Mask[i] == 0) || w.Mask[i] == 0 && w.Latent[i] != 0 {
						t.Fatalf("%s, %d steps: weight %d: mask %d, value %v, latent %v", name, steps, i, w.Mask[i], v, w.Latent[i])
					}
				}
			}
			if want := (216 + 500) / 2; total != want {
				t.Errorf("%s, %d steps: %d pruned, want %d", name, steps, total, want)
			}
			if !slices.IsSorted(zeros) {
				t.Errorf("%s: sparsity falls: %v", name, zeros)
			}
		}
	}
}

func TestPrunedWeightsStayPruned(t *testing.T) {
	changed := func(o Options) bool {
		first, _ := train(t, Options{Sparsity: 0.5, Schedule: Schedule{Kind: Constant}}, 0, 0) // the mask of the untrained weights
		last, _ := train(t, o, 40, 0)
		for i := range first {
			if !slices.Equal(first[i].Mask, last[i].Mask) {
				return true
			}
		}
		return false
	}
	if changed(Options{Sparsity: 0.5, Schedule: Schedule{Kind: Constant, End: -1, Every: 5}}) {
		t.Error("a pruned weight came back")
	}
}

func TestResumedPruningEndsTheSame(t *testing.T) {
	for name, o := range map[string]Options{
		"polynomial": {Sparsity: 0.5, Schedule: Schedule{Kind: Polynomial, Every: 3}},
		"constant":   {Sparsity: 0.5, Schedule: Schedule{Kind: Constant, Every: 3}},
	} {
		want, _ := train(t, o, 40, 0)
		for _, at := range []int{5, 20, 21, 33} {
			got, _ := train(t, o, 40, at)
			for i := range want {
				if diff := cmp.Diff(want[i].Latent, got[i].Latent); diff != "" {
					t.Errorf("%s, resumed at %d:\n%s", name, at, diff)
				}
			}
		}
	}
}

func tensor(t *testing.T, values []float32, mask []uint8) *weight.Tensor {
	t.Helper()
	w, err := weight.New("w", []int{1, len(values)}, 0, values)
	if err == nil && mask != nil {
		err = w.SetMask(mask)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSharesOfABudget(t *testing.T) {
	tensors := []*weight.Tensor{tensor(t, []float32{1, 2, 3}, nil), tensor(t, []float32{1, 1, 1, 10}, nil), tensor(t, []float32{1, 2}, nil)}
	targets := []Target{{Sparsity: 3. / 7, Budget: true}, {Sparsity: 3. / 7, Budget: true}, {Sparsity: 0.5}}
	if diff := cmp.Diff([]float64{0, 0.75, 0.5}, Shares(targets, tensors)); diff != "" {
		t.Error(diff)
	}
	whole := []*weight.Tensor{tensor(t, []float32{1, 2, 3, 4}, make([]uint8, 4)), tensors[1]}
	if diff := cmp.Diff([]float64{0.75, 0}, Shares(targets[:2], whole)); diff != "" {
		t.Errorf("a layer that is pruned whole:\n%s", diff)
	}
}

func TestThePrunerSaysWhenMasksChange(t *testing.T) {
	w := tensor(t, []float32{1, 2, 3, 4}, nil)
	p, err := NewPruner([]Target{{Sparsity: 0.5}}, []*weight.Tensor{w}, Options{Schedule: Schedule{Every: 2, End: 4}}, 10)
	if err != nil {
		t.Fatal(err)
	}
	before := func(step int) bool {
		changed, err := p.Before(step)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	var got []bool
	for step := range 6 {
		got = append(got, before(step))
	}
	if diff := cmp.Diff([]bool{true, false, true, false, true, false}, got); diff != "" {
		t.Error(diff)
	}
	if before(4) {
		t.Error("masks that are settled changed at the last step of the schedule")
	}
	if p.Back(4); !before(4) {
		t.Error("back at the last step of the schedule, it does not choose again")
	}
	if p.Back(5); before(4) {
		t.Error("back behind the schedule, it chooses again")
	}
	if got := w.State().Pruned(); got != 2 {
		t.Errorf("%d pruned, want 2", got)
	}
}

func TestThePrunerKeepsTheZerosItIsGiven(t *testing.T) {
	w := tensor(t, []float32{4, 3, 2, 1}, []uint8{0, 1, 1, 1})
	p, err := NewPruner([]Target{{Sparsity: 0.5}}, []*weight.Tensor{w}, Options{Schedule: Schedule{Kind: Constant}}, 10)
	if err == nil {
		err = p.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint8{0, 1, 1, 0}, w.Mask); diff != "" {
		t.Error(diff)
	}
}

func TestAPatternThatMakesNoSenseNamesTheWeights(t *testing.T) {
	p, err := NewPruner([]Target{{Pattern: Pattern{Zeros: 4, Of: 4}}}, []*weight.Tensor{tensor(t, []float32{1, 2, 3, 4}, nil)}, Options{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	_, before := p.Before(0)
	for _, err := range []error{before, p.Finish(), p.Preview()} {
		if err == nil || !strings.Contains(err.Error(), `"w"`) {
			t.Errorf("error %v, want one with the weights' name", err)
		}
	}
}
