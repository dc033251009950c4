package measure

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// pairs are n samples of two inputs, a of (i, 2·i) and b of (i, i+1, i+2), and two targets that are one more; what fails does so at its
// last sample, −1: nothing does.
type pairs struct{ n, unread, untold int }

var errUnread, errUntold = errors.New("unread"), errors.New("untold")

func (s pairs) Len() int { return s.n }
func (s pairs) Inputs() []dataset.Array {
	return []dataset.Array{{Name: "a", Shape: []int{2}}, {Name: "b", Shape: []int{3}}}
}
func (s pairs) Targets() []dataset.Target {
	return []dataset.Target{
		{Name: "one", Shape: []int{2}, Kind: dataset.Value, Numbers: true},
		{Name: "two", Shape: []int{3}, Kind: dataset.Value, Numbers: true},
	}
}

func (s pairs) Read(i int, x [][]float32) error {
	if i == s.unread {
		return errUnread
	}
	v := float32(i)
	copy(x[0], []float32{v, 2 * v})
	copy(x[1], []float32{v, v + 1, v + 2})
	return nil
}

func (s pairs) Truth(i int, y [][]float32) error {
	if i == s.untold {
		return errUntold
	}
	v := float32(i)
	copy(y[0], []float32{v + 1, 2*v + 1})
	copy(y[1], []float32{v + 1, v + 2, v + 3})
	return nil
}

// untold is a source without its targets.
type untold struct{ dataset.Source }

func (untold) Targets() []dataset.Target    { return nil }
func (untold) Truth(int, [][]float32) error { return nil }

// both is the network of two outputs, which say their inputs again.
func both() []byte {
	b := tflitetest.New()
	a, c := b.Input("a", 1, 2), b.Input("b", 1, 3)
	b.Output(b.Unary("one", schema.BuiltinOperatorRELU, a))
	b.Output(b.Unary("two", schema.BuiltinOperatorRELU, c))
	return b.File()
}

// described are both's outputs as numbers with the targets given.
func described(one, two int) []answer.Output {
	return []answer.Output{
		{Name: "one", Kind: answer.Values, Size: 2, Width: 2, Activation: answer.Plain, Target: one},
		{Index: 1, Name: "two", Kind: answer.Values, Size: 3, Width: 3, Activation: answer.Plain, Target: two},
	}
}

func TestInputsAndTargetsStayApart(t *testing.T) {
	wantOne := []float32{0, 0, 1, 2, 2, 4, 3, 6, 4, 8}
	wantTwo := []float32{0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6}
	for name, o := range map[string]Options{
		"one at a time":      {Batch: 1, Workers: 1},
		"a last short batch": {Batch: 2, Workers: 2},
		"more room than all": {Batch: 8},
	} {
		o.Outputs = described(0, 1)
		got, err := Run(context.Background(), both(), pairs{5, -1, -1}, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, want := range [][]float32{wantOne, wantTwo} {
			c := got.columns[i]
			if diff := cmp.Diff(want, c.values); diff != "" {
				t.Errorf("%s: output %d says (-want +got):\n%s", name, i, diff)
			}
			for k, v := range c.wanted {
				if v != want[k]+1 {
					t.Errorf("%s: target %d has the value %v at %d, want %v", name, i, v, k, want[k]+1)
				}
			}
		}
		if m := got.Metrics(nil); m[MeanSquaredError] != 1 || m[MeanSquaredError.Of("two")] != 1 {
			t.Errorf("%s: %v", name, m)
		}
	}
}

func TestDescriptionsFollowTheTargetsOfASplit(t *testing.T) {
	other := described(-1, -1)
	other[0].Width = 1
	for name, c := range map[string]struct {
		source dataset.Source
		list   []answer.Output
		want   []int
	}{
		"targets as described":    {pairs{4, -1, -1}, described(1, -1), []int{1, -1}},
		"no targets, none wanted": {untold{pairs{4, -1, -1}}, described(-1, -1), []int{-1, -1}},
		"no targets any more":     {untold{pairs{4, -1, -1}}, described(0, 1), []int{-1, -1}},
		"targets for the first":   {pairs{4, -1, -1}, described(-1, -1), []int{0, 1}},
		"of another kind":         {pairs{4, -1, -1}, other, []int{-1, 1}},
		"targets that fail":       {pairs{4, -1, 0}, described(-1, -1), []int{-1, -1}},
	} {
		m, err := specialized(both())
		if err != nil {
			t.Fatal(err)
		}
		exec, err := compile(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		before := c.list[0].Target
		var got []int
		for _, o := range toldBy(c.list, &network{Executor: exec, steps: 1}, c.source) {
			got = append(got, o.Target)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if c.list[0].Target != before {
			t.Errorf("%s: the description itself was changed", name)
		}
	}
}

func TestErrorsOfSamplesArePassedOn(t *testing.T) {
	ctx := context.Background()
	tflm, err := target.Find(target.TFLM, "")
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]func(s dataset.Source) error{
		"run": func(s dataset.Source) error {
			_, err := Run(ctx, both(), s, Options{Batch: 2, Outputs: described(0, 1)})
			return err
		},
		"described": func(s dataset.Source) error { _, err := Run(ctx, both(), s, Options{}); return err },
		"compare":   func(s dataset.Source) error { _, err := Compare(ctx, both(), both(), s, 0, Options{}); return err },
		"latency": func(s dataset.Source) error {
			_, err := TimeLatency(ctx, both(), s, LatencyOptions{Budget: 1})
			return err
		},
		"diverges": func(s dataset.Source) error { _, err := Diverges(ctx, both(), s, tflm); return err },
		"look": func(s dataset.Source) error {
			m, err := tflite.Read(both())
			if err == nil {
				_, err = Look(ctx, m, s)
			}
			return err
		},
	}
	for name, use := range uses {
		if err := use(pairs{8, -1, -1}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := use(pairs{8, 4, -1}); !errors.Is(err, errUnread) {
			t.Errorf("%s: a sample that cannot be read gives %v", name, err)
		}
		reads := name == "run" || name == "described" || name == "compare"
		if err := use(pairs{8, -1, 4}); errors.Is(err, errUntold) != reads {
			t.Errorf("%s: a target that cannot be read gives %v", name, err)
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	wide := described(0, 1)
	wide[1].Size = 4
	for name, c := range map[string]struct {
		source  dataset.Source
		outputs []answer.Output
		say     string
	}{
		"fewer inputs":            {bare{}, nil, "has 2 inputs, samples have 1"},
		"an output not described": {pairs{3, -1, -1}, described(0, 1)[:1], "has 2 outputs, 1 are described"},
		"an output of other size": {pairs{3, -1, -1}, wide, "output two has 3 values, 4 are described"},
	} {
		_, err := Run(context.Background(), both(), c.source, Options{Outputs: c.outputs})
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDivergenceCountsSamplesAndValues(t *testing.T) {
	litert, err := target.Find(target.LiteRT, "")
	if err != nil {
		t.Fatal(err)
	}
	tflm, err := target.Find(target.TFLM, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, on := range map[string]*target.Target{"no target": nil, "LiteRT": litert} {
		if d, err := Diverges(context.Background(), both(), pairs{3, -1, -1}, on); d != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	for n, want := range map[int]Divergence{3: {Samples: 3, Values: 15}, 300: {Samples: 256, Values: 256 * 5}} {
		d, err := Diverges(context.Background(), both(), pairs{n, -1, -1}, tflm)
		if err != nil || *d != want {
			t.Errorf("%d samples: %+v, %v, want %+v", n, d, err, want)
		}
	}
}

// ramps are two samples of a shape.
type ramps []int

func (ramps) Len() int                     { return 2 }
func (s ramps) Inputs() []dataset.Array    { return []dataset.Array{{Name: "x", Shape: s}} }
func (ramps) Targets() []dataset.Target    { return nil }
func (ramps) Truth(int, [][]float32) error { return nil }
func (ramps) Read(i int, x [][]float32) error {
	for k := range x[0] {
		x[0][k] = float32(i+k%5) - 2
	}
	return nil
}

func TestALeafThatOnlyItsTargetRunsIsMeasured(t *testing.T) {
	m, err := tflite.ReadFile("../exec/integer/testdata/tflm/lstm_int8.tflite")
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range m.Subgraph().Tensors {
		if tensor.IsVariable && tensor.Type == schema.TensorTypeINT16 {
			tensor.Quantization.Scale[0] = 1.0 / (1 << 16)
		}
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	tflm, err := target.Find(target.TFLM, "")
	if err != nil {
		t.Fatal(err)
	}
	var source ramps
	for _, d := range m.Subgraph().Tensors[m.Subgraph().Inputs[0]].Shape[1:] {
		source = append(source, int(d))
	}
	if _, err := Leaf(context.Background(), data, source, LeafOptions{LatencyBudget: 1}); err == nil || !strings.Contains(err.Error(), "--target tflm") {
		t.Errorf("LiteRT: %v", err)
	}
	r, err := Leaf(context.Background(), data, source, LeafOptions{LatencyBudget: 1, Target: tflm})
	if err != nil || r.Latency.Runs == 0 {
		t.Errorf("TFLM: %+v, %v", r, err)
	}
	if d, err := Diverges(context.Background(), data, source, tflm); d != nil || err != nil {
		t.Errorf("beside LiteRT: %+v, %v", d, err)
	}
}

func TestConstantsAreReadChannelByChannel(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2)
	k := b.Raw("codes", schema.TensorTypeINT16, []byte{1, 0, 2, 0, 0xff, 0xff, 4, 0}, 2, 2)
	b.Quantize(k, 0, 0, 0.5, 2)
	y := b.Unary("y", schema.BuiltinOperatorRELU, x)
	b.Output(y)
	m := b.Model()
	values, stored, err := Constant(m, int(k))
	if err != nil || !cmp.Equal(values, []float64{0.5, 1, -2, 8}) || !cmp.Equal(stored, []int64{1, 2, -1, 4}) {
		t.Errorf("%v of %v, %v", values, stored, err)
	}
	if values, stored, err = Constant(m, int(y)); values != nil || stored != nil || err != nil {
		t.Errorf("of an activation: %v, %v, %v", values, stored, err)
	}
	for _, index := range []int{-1, len(m.Subgraph().Tensors)} {
		if _, _, err := Constant(m, index); err == nil {
			t.Errorf("tensor %d is read", index)
		}
	}
	c := &codes{values: []int64{1, 2, 3, 3, 3, 3, 4, 5, 6, 3, 3, 3}}
	for axis, want := range []int{4, 6, 3} { // the most of a channel of [2, 2, 3]
		if got := c.perChannel([]int{2, 2, 3}, axis); got != want {
			t.Errorf("%d distinct codes a channel of axis %d, want %d", got, axis, want)
		}
	}
}

func TestOverlaysSayTheShareOfZeros(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Dense("fc", b.Input("x", 1, 2), []float32{0, 0, 0, 1, 0, 2, 0, 3}, nil, 4, tflitetest.None))
	c, err := Compare(context.Background(), b.File(), b.File(), nil, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	overlays, err := c.Overlays(b.File())
	if err != nil {
		t.Fatal(err)
	}
	if got := overlays["zeros.json"].Results["fc"]; !cmp.Equal(got, overlayValue{62.5}) {
		t.Errorf("%v %% are zeros", got)
	}
}
