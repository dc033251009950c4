package lineage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

func TestLeafOptionsAreSummedUp(t *testing.T) {
	for want, o := range map[string]LeafOptions{
		"":                                {},
		"inputs and outputs Float32":      {IO: Float32},
		"a b* in float":                   {KeepFloat: []string{"a", "b*"}},
		"activations Int16, weights Int4": {Activations: Activations16, Weights: Weights4},
		"activations of head* Int8, weights of head* Int4, weights of tail Int8": {Rules: []LeafRule{{Layers: "head*", Activations: Activations8, Weights: Weights4},
			{Layers: "tail", Weights: Weights8}}},
		"dense layers with one scale, channels equalized, reconstructed layer by layer": {PerTensorDense: true, Equalize: new(true), Reconstruct: true},
		"calibrated by MSE": {Calibration: quantize.Calibration{Method: quantize.MSE}},
		"encoded Auto":      {Encode: EncodeAuto},
	} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (LeafOptions{Encode: EncodeNone}).String(); got != "" {
		t.Errorf("nothing is encoded: %q", got)
	}
	for _, k := range encode.Kinds {
		if kinds := Encoding(k.String()).Kinds(); len(kinds) != 1 || kinds[0] != k {
			t.Errorf("%s may be %v", k, kinds)
		}
	}
	if kinds := EncodeAuto.Kinds(); len(kinds) != len(encode.Kinds) {
		t.Errorf("Auto may be %v", kinds)
	}
}

func TestLeafOptionsThatDoNotFitAreRefusedBeforeTraining(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	for name, c := range map[string]struct {
		options LeafOptions
		want    string
	}{
		"nothing":                  {LeafOptions{}, ""},
		"a layer in float":         {LeafOptions{KeepFloat: []string{"hidden"}}, ""},
		"a layer that is not":      {LeafOptions{KeepFloat: []string{"hiden"}}, "hiden"},
		"a rule for no layer":      {LeafOptions{Rules: []LeafRule{{Layers: "conv*", Weights: Weights4}}}, "conv*"},
		"all layers in float":      {LeafOptions{KeepFloat: []string{"*"}}, "keepFloat * leaves nothing to quantize: name only the layers that have to stay float"},
		"scales that clusters use": {LeafOptions{PerTensorDense: true}, ""},
	} {
		if err := c.options.Check(n); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	single := LeafOptions{PerTensorDense: true}
	if err := single.CheckAfter(n, eight, LeafOptions{}); err == nil {
		t.Error("clusters that several scales were chosen for are given one")
	}
	if err := single.CheckAfter(n, eight, single); err != nil {
		t.Errorf("clusters that were chosen with one scale: %v", err)
	}
	if err := (LeafOptions{}).CheckAfter(n, eight, LeafOptions{}); err != nil {
		t.Errorf("as many scales as before: %v", err)
	}
}

func TestTechniquesAreFoundByName(t *testing.T) {
	for _, k := range Kinds {
		found, err := KindOf(k.Name)
		if err != nil || found.Final != (k.Name == "quantize") || found.Typical().Kind().Name != k.Name || found.Typical().String() == "" {
			t.Errorf("%s: %+v, %v", k.Name, found, err)
		}
		if err := found.Typical().Check(read(t, networks()["dense layers only"])); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
	if _, err := KindOf("distill"); err == nil || !strings.Contains(err.Error(), `no technique is called "distill"; there are fineTune, prune, cluster, quantize`) {
		t.Error(err)
	}
}

func TestFineTuningTrainsAndKeeps(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	pruned, err := fast(n).Apply(context.Background(), n, half)
	if err != nil {
		t.Fatal(err)
	}
	for _, epochs := range []int{0, 1} {
		r := fast(n)
		r.Training.Epochs = epochs
		out, err := r.Apply(context.Background(), pruned.Network, FineTune{})
		if err != nil {
			t.Fatal(err)
		}
		if moved := distance(t, r, pruned.Network, out.Network) > 0; moved != (epochs > 0) {
			t.Errorf("%d epochs: the weights are others: %v", epochs, moved)
		}
		warned := strings.Contains(strings.Join(out.Warnings, "\n"), "epochs is 0: nothing is trained")
		if warned != (epochs == 0) || warned != strings.Contains(strings.Join(out.Notes, "\n"), "epochs is 0") {
			t.Errorf("%d epochs: %v, %v", epochs, out.Warnings, out.Notes)
		}
		for at, s := range pruned.Network.States() {
			if got := out.Network.States()[at].Pruned(); got != s.Pruned() {
				t.Errorf("%d epochs: %d zeros of %d are left", epochs, got, s.Pruned())
			}
		}
	}
}

// Training that was interrupted goes on from its checkpoint to the very network that it would have made at once.
func TestTrainingResumes(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	run := fast(n)
	run.Training.Epochs = 4
	whole, err := run.Apply(context.Background(), n, FineTune{})
	if err != nil {
		t.Fatal(err)
	}
	var saved []byte
	ctx, cancel := context.WithCancel(context.Background())
	run.Checkpoint = &Checkpoint{Every: 1, Save: func(write func(io.Writer) error) error {
		var b bytes.Buffer
		err := write(&b)
		saved = b.Bytes()
		cancel()
		return err
	}}
	if _, err := run.Apply(ctx, n, FineTune{}); !errors.Is(err, context.Canceled) || saved == nil {
		t.Fatalf("interrupted: %v, %d bytes are saved", err, len(saved))
	}
	saves := 0
	run.Checkpoint = &Checkpoint{Load: saved, Save: func(func(io.Writer) error) error { saves++; return nil }}
	again, err := run.Apply(context.Background(), n, FineTune{})
	if err != nil {
		t.Fatal(err)
	}
	if saves > 0 {
		t.Errorf("saved %d times within a minute", saves)
	}
	a, errA := whole.Network.Model().Marshal()
	b, errB := again.Network.Model().Marshal()
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
		t.Errorf("another network: %v", err)
	}
	run.Checkpoint = &Checkpoint{Load: []byte("not one"), Save: run.Checkpoint.Save}
	if _, err := run.Apply(context.Background(), n, FineTune{}); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("what is no checkpoint: %v", err)
	}
}

func TestConstantsThatStandForInfinityComeWithinReach(t *testing.T) {
	b := tflitetest.New()
	y := b.Dense("dense", b.Input("x", 1, 6), gauss(1, 4*6, 0.5), nil, 4, tflitetest.None)
	y = b.Op("y", schema.BuiltinOperatorMAXIMUM, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, y, b.Const("bound", []float32{-3.4e38}, 1))
	b.Output(b.Softmax("softmax", y))
	n := read(t, b.Model())
	r := fast(n)
	made, err := r.Reach(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	bound := func(n *Network) float64 {
		for _, tensor := range n.Model().Subgraph().Tensors {
			if tensor.Name == "bound" {
				values, err := n.Model().Float32s(tensor)
				if err != nil {
					t.Fatal(err)
				}
				return float64(values[0])
			}
		}
		t.Fatal("no bound")
		return 0
	}
	if math.Abs(bound(made)) > 100 || bound(n) > -1e38 || len(made.Notes()) != len(n.Notes())+1 {
		t.Errorf("the bound is %g, the given network's %g: %v", bound(made), bound(n), made.Notes())
	}
	if d := distance(t, r, n, made); d > 0 {
		t.Errorf("the network answers otherwise, by %g", d)
	}
	if again, err := r.Reach(context.Background(), made); err != nil || again != made {
		t.Errorf("again: %v", err)
	}
	int8 := quantized8(t, read(t, networks()["dense layers only"]), true)
	if same, err := r.Reach(context.Background(), int8); err != nil || same != int8 {
		t.Errorf("an int8 network: %v", err)
	}
}

func TestMetadataOfANetworkIsThatOfAllThatIsMadeOfIt(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	said := n.WithMetadata("about", []byte("features"))
	if _, ok := n.Model().Metadata("about"); ok {
		t.Error("the network itself has changed")
	}
	out, err := untrained(n).Apply(context.Background(), said, half)
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]interface{ Metadata(string) ([]byte, bool) }{"given": said.Given(), "model": said.Model(), "what is made": out.Network.Model(), "its leaf": out.Leaf} {
		if about, ok := m.Metadata("about"); !ok || string(about) != "features" {
			t.Errorf("%s says %q", what, about)
		}
	}
	if without := said.WithMetadata("about", nil); slices.ContainsFunc([]*tflite.Model{without.Given(), without.Model()}, func(m *tflite.Model) bool {
		_, has := m.Metadata("about")
		return has
	}) {
		t.Error("what is empty is there")
	}
	if n.Selected() || n.Final() || n.Int8() {
		t.Errorf("selected %v, final %v, int8 %v", n.Selected(), n.Final(), n.Int8())
	}
}

func TestWhereOperatorsRunIsKnownBeforeTraining(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	run := fast(n)
	if report, err := run.Placed(n); report != nil || err != nil {
		t.Errorf("without a device: %v, %v", report, err)
	}
	run.Leaf.Target = device(t, "ethos-u55")
	report, err := run.Placed(n)
	if err != nil || !report.Runs || report.Count(target.OnAccelerator) == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := run.Placed(quantized8(t, n, true)); report != nil || err != nil {
		t.Errorf("of an int8 network only a leaf tells: %v, %v", report, err)
	}
	run.Leaf.KeepFloat = []string{"*"}
	if report, err := run.Placed(n); report != nil || err != nil {
		t.Errorf("where nothing is quantized: %v, %v", report, err)
	}
}

// Weights that are clustered by tensor have one scale in a leaf, which is what TFLM takes of int4 dense layers.
func TestClustersOfTheGivenNetworkCountBeforeTraining(t *testing.T) {
	clustered, err := untrained(read(t, networks()["convolution and dense"])).Apply(context.Background(), read(t, networks()["convolution and dense"]),
		Cluster{Options: cluster.Options{Clusters: 8, Entropy: 1, Scope: weight.PerTensor}})
	if err != nil {
		t.Fatal(err)
	}
	n := read(t, clustered.Network.Model())
	run := untrained(n)
	run.Leaf.Target, run.Leaf.Weights = device(t, "cortex-m4"), Weights4
	out, err := run.Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Check(out.Leaf, run.Leaf.Target).Err(); err != nil {
		t.Fatal(err)
	}
	if report, err := run.Placed(n); err != nil || !report.Runs {
		t.Errorf("its leaf runs, but before: %v, %v", report.Err(), err)
	}
}
