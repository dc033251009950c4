package lineage

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// lstmNetwork classifies sequences of 8 steps of 4 numbers by an LSTM of 6 cells.
func lstmNetwork() *tflite.Model {
	b := tflitetest.New()
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Flatten("flat", b.LSTM("lstm", b.Input("x", 1, 8, 4), 6, 0, false, 1)), tflitetest.Weights(3, 48*4), nil, 4, tflitetest.None)))
	return b.Model()
}

// lstmsOf counts the LSTMs of a leaf.
func lstmsOf(m *tflite.Model) int {
	count := 0
	for _, o := range m.Subgraph().Operators {
		if code, _ := m.Op(o); code == schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM {
			count++
		}
	}
	return count
}

// An LSTM goes through the whole tree as one operator, whose gates have the zeros and codes that were promised of its steps' weights.
func TestAnLSTMStaysOneOperatorThroughTheTree(t *testing.T) {
	n := read(t, lstmNetwork())
	run := fast(n)
	baseline, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if lstmsOf(baseline.Leaf) != 1 || len(baseline.Leaf.Subgraph().Operators) != 4 {
		t.Fatalf("the first leaf has %d operators", len(baseline.Leaf.Subgraph().Operators))
	}
	if said := func(note string) bool { return strings.Contains(note, "reset it before every sequence") }; !slices.ContainsFunc(baseline.Notes, said) || !slices.ContainsFunc(baseline.Once, said) {
		t.Errorf("nothing says that the LSTM keeps its state: %q, %q", baseline.Notes, baseline.Once)
	}
	for _, technique := range []Technique{half, Quantize{}, eight, Quantize{}} {
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatalf("%s: %v", technique, err)
		}
		if lstmsOf(out.Leaf) != 1 {
			t.Errorf("%s: %v", technique, out.Notes)
		}
		clustered := slices.ContainsFunc(slices.Collect(maps.Values(n.States())), weight.State.Clustered) || technique.Kind().Name == "cluster"
		for _, k := range weight.Kernels(out.Leaf) {
			codes, err := out.Leaf.Int8s(out.Leaf.Subgraph().Tensors[k.Tensor])
			if err != nil {
				t.Fatal(err)
			}
			promised, ok := out.Promises[k.Tensor]
			if !ok || !slices.Equal(promised.Shape, k.Shape) || promised.Clustered() != clustered {
				t.Errorf("%s: %s is promised %+v", technique, k.Name, promised)
			}
			if most := max(int(slices.Max(codes)), -int(slices.Min(codes))); !clustered && !technique.Kind().Final && most < weight.MaxCode-1 {
				t.Errorf("%s: codes of %s are within ±%d: it has not a scale of its own", technique, k.Name, most)
			}
			if err := weight.CheckCodes(codes, promised); err != nil {
				t.Errorf("%s: %s: %v", technique, k.Name, err)
			}
		}
		for at, s := range out.Network.States() {
			if name := n.Model().Subgraph().Tensors[at].Name; s.Clustered() && strings.HasPrefix(name, "lstm") && len(s.Scale) != 4 {
				t.Errorf("%s: %s has %d scales", technique, name, len(s.Scale))
			}
		}
		if !out.Network.Final() {
			n = out.Network
		}
	}
	file, err := baseline.Leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := fast(again).Apply(context.Background(), again, Quantize{}); err != nil || lstmsOf(out.Leaf) != 1 {
		t.Errorf("a leaf as the input: %v", err)
	}
	if out, err := fast(again).Baseline(context.Background(), again); err != nil || !strings.Contains(strings.Join(out.Once, "\n"), "reset it before every sequence") {
		t.Errorf("a leaf as the first leaf: %v", err)
	}
	stepwise := fast(n)
	stepwise.Leaf.Activations = Activations16
	if out, err := stepwise.Baseline(context.Background(), n); err != nil || lstmsOf(out.Leaf) != 0 || len(out.Once) != 1 || !strings.Contains(out.Once[0], "and only of Int8 ones it is one operator") {
		t.Errorf("of a leaf of steps is said %q, %v", out.Once, err)
	}
}

// Where the operator could not hold what was asked for or promised, a leaf has the steps, and says why.
func TestAnLSTMStaysItsStepsWhereThatIsAskedFor(t *testing.T) {
	n := read(t, lstmNetwork())
	for name, c := range map[string]struct {
		leaf      LeafOptions
		technique Technique
		want      string
	}{
		"codes of each channel": {LeafOptions{}, Cluster{Options: cluster.Options{Clusters: 4, Scope: weight.PerChannel}}, "scope Shared"},
		"16 bits":               {LeafOptions{Activations: Activations16}, half, "its activations are int16"},
		"a device without":      {LeafOptions{Target: device(t, "hexagon")}, half, "has no int8 UNIDIRECTIONAL_SEQUENCE_LSTM"},
		"in float":              {LeafOptions{KeepFloat: []string{"lstm/recurrent_kernel"}}, half, "is kept float"},
	} {
		run := fast(n)
		run.Leaf = c.leaf
		out, err := run.Apply(context.Background(), n, c.technique)
		if err != nil {
			t.Fatal(name, err)
		}
		if lstmsOf(out.Leaf) != 0 || len(out.Once) != 1 || !strings.Contains(out.Once[0], c.want) || !slices.Contains(out.Notes, out.Once[0]) {
			t.Errorf("%s: %d LSTMs, %v", name, lstmsOf(out.Leaf), out.Once)
		}
	}
}

// Layers of a quantized file that read one another's output, or the same, are read as floats as single ones are.
func TestQuantizedLSTMsThatFollowOneAnotherAreRead(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 8, 4)
	first, second := b.LSTM("first", x, 5, 0, false, 1), b.LSTM("second", x, 5, 0, false, 2)
	both := b.Op("both", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{1, 8, 5}, b.LSTM("third", first, 5, 0, false, 3), second)
	fourth := b.LSTM("fourth", both, 2, 0, false, 4)
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Flatten("flat", fourth), tflitetest.Weights(3, 16*4), nil, 4, tflitetest.None)))
	n := read(t, b.Model())
	baseline, err := fast(n).Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	file, err := baseline.Leaf.Marshal()
	if err != nil || lstmsOf(baseline.Leaf) != 4 {
		t.Fatalf("%d LSTMs, %v", lstmsOf(baseline.Leaf), err)
	}
	again, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, tensor := range again.Given().Subgraph().Tensors {
		if names[tensor.Name] {
			t.Errorf("two tensors are called %s", tensor.Name)
		}
		names[tensor.Name] = true
	}
	if out, err := fast(again).Apply(context.Background(), again, Quantize{}); err != nil || lstmsOf(out.Leaf) != 4 {
		t.Errorf("a leaf as the input: %v", err)
	}
}

// Layers that have the same weights have the same zeros and codes, which are once in the leaf.
func TestLSTMsShareWeights(t *testing.T) {
	b := tflitetest.New()
	first := b.LSTM("first", b.Input("x", 1, 8, 4), 4, 0, false, 1)
	second := b.LSTM("second", first, 4, 0, false, 2)
	b.Output(b.Softmax("softmax", b.Dense("dense", b.Flatten("flat", second), tflitetest.Weights(3, 32*4), nil, 4, tflitetest.None)))
	m := b.Model()
	operators := m.Subgraph().Operators
	copy(operators[1].Inputs[1:18], operators[0].Inputs[1:18])
	n := read(t, m)
	if kernels := n.Kernels(); len(kernels) != 3 {
		t.Fatalf("%d kernels, not those of one layer and the dense one", len(kernels))
	}
	run := fast(n)
	for _, technique := range []Technique{half, eight, Quantize{}} {
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatalf("%s: %v", technique, err)
		}
		operators := out.Leaf.Subgraph().Operators
		if lstmsOf(out.Leaf) != 2 || !slices.Equal(operators[0].Inputs[1:9], operators[1].Inputs[1:9]) {
			t.Errorf("%s: %d LSTMs, weights %v and %v", technique, lstmsOf(out.Leaf), operators[0].Inputs, operators[1].Inputs)
		}
		n = out.Network
	}
	n = read(t, m)
	run = fast(n)
	run.Leaf.KeepFloat = []string{"first/1"} // has steps stay that have the weights too
	if out, err := run.Apply(context.Background(), n, Quantize{}); err != nil || lstmsOf(out.Leaf) != 1 {
		t.Errorf("one of them partly in float: %v", err)
	}
}
