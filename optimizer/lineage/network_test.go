package lineage

import (
	"archive/zip"
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// Where a file has its tensors changes nothing of what is made of it.
func TestWhereAFileHasItsTensorsChangesNothing(t *testing.T) {
	plain := image(gauss(1, 8*9*2, 0.3), func(b *tflitetest.Builder, x int32) int32 {
		return b.Conv("without bias", x, gauss(4, 64, 0.4), nil, 8, 1, 1, 1, schema.PaddingSAME, tflitetest.ReLU)
	})
	int8 := quantized8(t, read(t, plain), false).Given()
	for name, m := range map[string]*tflite.Model{"float": plain, "int8": int8} {
		var leaves, notes []string
		var layers []sensitivity.Layer
		for first := range m.Subgraph().Tensors {
			rotated := m.Clone()
			tflitetest.Rotate(rotated, first)
			n := read(t, rotated)
			run := untrained(n)
			run.Leaf = LeafOptions{Equalize: new(true), Reconstruct: true, PerTensorDense: true, Encode: EncodeAuto}
			var got, said []string
			levels, _, err := run.Sensitivity(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			for _, technique := range []Technique{refit, halfReconstructed, Cluster{Options: four.Options, Reconstruct: On}, qat} {
				out, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatalf("%s, tensor %d first: %s: %v", name, first, technique, err)
				}
				n = out.Network
				got, said = append(got, contents(out.Leaf)...), append(said, out.Notes...)
			}
			if first == 0 {
				leaves, notes, layers = got, said, levels
			}
			if d := cmp.Diff(leaves, got) + cmp.Diff(notes, said) + cmp.Diff(layers, levels); d != "" {
				t.Errorf("%s, tensor %d first: %s", name, first, d)
			}
		}
	}
}

func TestWhatANetworkWasReadAs(t *testing.T) {
	conv := networks()["convolution and dense"]
	float := read(t, conv)
	if float.Rewritten() || float.Selected() || float.Int8() || len(float.Notes()) > 0 {
		t.Errorf("a float network: rewritten %t, selected %t, int8 %t, notes %q", float.Rewritten(), float.Selected(), float.Int8(), float.Notes())
	}
	mixed := fast(float)
	mixed.Leaf.KeepFloat = []string{"dense*"}
	out, err := mixed.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	one := tflitetest.New()
	one.Output(one.Dense("dense", one.Input("x", 1, 6), gauss(1, 24, 0.5), nil, 4, tflitetest.None))
	layer := one.Model()
	for name, c := range map[string]struct {
		model        *tflite.Model
		int8, floats bool
	}{
		"a float layer":        {layer, false, true},
		"an int8 layer":        {quantized8(t, read(t, layer), true).Given(), true, false},
		"float":                {conv, false, true},
		"int8":                 {quantized8(t, float, true).Given(), true, false},
		"int8 of float inputs": {quantized8(t, float, false).Given(), true, false},
		"int8 and a layer":     {out.Leaf, true, true},
	} {
		for first := range c.model.Subgraph().Tensors {
			m := c.model.Clone()
			tflitetest.Rotate(m, first)
			if computesInt8(m) != c.int8 || computesFloat(m) != c.floats {
				t.Errorf("%s, tensor %d first: computes int8 %t, floats %t", name, first, computesInt8(m), computesFloat(m))
			}
		}
	}
}

func TestQuantizationsOfOneKind(t *testing.T) {
	narrow, wide := quantize.Params{}, quantize.Params{Wide: true}
	for _, c := range []struct {
		known map[int]quantize.Params
		want  Activations
	}{
		{nil, Activations8}, {map[int]quantize.Params{1: narrow, 2: narrow}, Activations8},
		{map[int]quantize.Params{1: wide, 2: wide}, Activations16}, {map[int]quantize.Params{1: wide, 2: narrow}, ""},
	} {
		if got := activationsOf(c.known); got != c.want {
			t.Errorf("%v are %q, want %q", c.known, got, c.want)
		}
	}
	if got := weightsOf(map[int]quantize.Weights{1: {Int4: true}}); got != Weights4 {
		t.Errorf("weights of 4 bits are %q", got)
	}
}

// Of several signatures the one that is named is worked on; notes say so.
func TestReadSignature(t *testing.T) {
	m := networks()["dense layers only"]
	other := networks()["convolution and dense"]
	m.Buffers = append(m.Buffers, other.Buffers...)
	sub := other.Subgraph()
	for _, tensor := range sub.Tensors {
		tensor.Buffer += uint32(len(m.Buffers) - len(other.Buffers))
	}
	for _, o := range sub.Operators {
		code, _ := other.Op(o)
		o.OpcodeIndex = m.NewOp(code, 0, nil, nil, nil).OpcodeIndex
	}
	m.Subgraphs = append(m.Subgraphs, sub)
	for i, key := range []string{"flat", "image"} {
		g := m.Subgraphs[i]
		m.SignatureDefs = append(m.SignatureDefs, &schema.SignatureDefT{SignatureKey: key, SubgraphIndex: uint32(i),
			Inputs: []*schema.TensorMapT{{Name: "x", TensorIndex: uint32(g.Inputs[0])}}, Outputs: []*schema.TensorMapT{{Name: "y", TensorIndex: uint32(g.Outputs[0])}}})
	}
	content := marshal(t, m)
	for key, kernel := range map[string]string{"flat": "hidden/kernel", "image": "first/kernel"} {
		n, err := ReadSignature(content, key)
		if err != nil {
			t.Fatal(err)
		}
		selected := key == "image"
		if n.Kernels()[0].Name != kernel || n.Selected() != selected || n.Rewritten() != selected || !strings.Contains(strings.Join(n.Notes(), "\n"), `"`+key+`" is worked on`) {
			t.Errorf("%s: weights %q, selected %t, rewritten %t, notes %q", key, n.Kernels()[0].Name, n.Selected(), n.Rewritten(), n.Notes())
		}
	}
	if _, err := Read(content); err == nil {
		t.Error("one of two signatures is taken without being named")
	}
}

func TestAssociatedFilesAreNoted(t *testing.T) {
	model := marshal(t, networks()["dense layers only"])
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	z.SetOffset(int64(len(model)))
	w, err := z.Create("labels.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("cat\ndog\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	whole := slices.Concat(model, archive.Bytes())
	n, err := Read(whole)
	if err != nil || !slices.Equal(n.Notes(), []string{`associated files are appended to the model, "labels.txt": models and leaves have them too`}) || n.Rewritten() {
		t.Errorf("notes %q, %v", n.Notes(), err)
	}
	damaged := slices.Clone(whole)
	damaged[len(model)] ^= 0xff // the archive's first bytes
	if n, err := Read(damaged); err != nil || !strings.Contains(strings.Join(n.Notes(), "\n"), "their archive is damaged, models and leaves do not have them") {
		t.Errorf("damaged: notes %q, %v", n.Notes(), err)
	}
}

// An int8 network whose size the samples decide is the first leaf at that size.
func TestInt8NetworksOfOpenSizes(t *testing.T) {
	b := tflitetest.New()
	y := b.Conv("conv", b.Input("x", 1, 1, 1, 2), gauss(1, 8*2, 0.3), nil, 8, 1, 1, 1, schema.PaddingSAME, tflitetest.ReLU)
	b.Output(b.Dense("dense", b.MeanHW("mean", y), gauss(3, 4*8, 0.2), nil, 4, tflitetest.None))
	n := read(t, b.Model())
	open := quantized8(t, n, true).Given().Clone()
	for _, tensor := range open.Subgraph().Tensors {
		if len(tensor.Shape) == 4 && !open.IsConst(tensor) {
			tensor.ShapeSignature = []int32{1, -1, -1, tensor.Shape[3]}
		}
	}
	again, err := Read(marshal(t, open), []int{4, 6, 2})
	if err != nil {
		t.Fatal(err)
	}
	g := again.Given().Subgraph()
	if got := g.Tensors[g.Inputs[0]].Shape; !again.Int8() || !slices.Equal(got, []int32{1, 4, 6, 2}) {
		t.Errorf("int8 %t, the input is %v", again.Int8(), got)
	}
	if _, err := Read(marshal(t, open)); err == nil {
		t.Error("nothing decides the size")
	}
}

// An int8 original that is the first leaf is held to what was found in it.
func TestPromisesOfAnInt8Original(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	pruned, err := fast(float).Apply(context.Background(), float, half)
	if err != nil {
		t.Fatal(err)
	}
	n := read(t, pruned.Leaf)
	out, err := fast(n).Baseline(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(marshal(t, out.Leaf), marshal(t, pruned.Leaf)) {
		t.Error("the first leaf is another file")
	}
	for _, k := range weight.Kernels(out.Leaf) {
		promised, zeros := out.Promises[k.Tensor].Pruned(), bytes.Count(out.Leaf.Data(out.Leaf.Subgraph().Tensors[k.Tensor]), []byte{0})
		if promised != zeros || zeros < numelOf(k.Shape)/2 {
			t.Errorf("weights %q are promised %d zeros, they have %d of %d", k.Name, promised, zeros, numelOf(k.Shape))
		}
	}
}

// What is stored is of a lineage only with the tensors that its first network has.
func TestStoredModelsThatDoNotFit(t *testing.T) {
	n := read(t, networks()["convolution and dense"])
	out, err := untrained(n).Apply(context.Background(), n, narrow)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(m *tflite.Model)
		want   string
	}{
		"as it is": {func(*tflite.Model) {}, ""},
		"a tensor less": {func(m *tflite.Model) {
			m.Subgraph().Tensors = m.Subgraph().Tensors[:len(n.model.Subgraph().Tensors)-1]
		}, "tensors, the network it should be made from"},
		"another name":  {func(m *tflite.Model) { m.Subgraph().Tensors[1].Name = "other" }, `tensor 1 is "other"`},
		"another shape": {func(m *tflite.Model) { m.Subgraph().Tensors[0].Shape = []int32{1, 4, 4, 3} }, `tensor 0 is "x" [1 4 4 3], in the network it should be made from "x" [1 4 4 2]`},
	} {
		m := out.Network.model.Clone()
		c.change(m)
		ids, err := readIDs(m, n.model, out.Network.cuts)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil && len(ids) != len(m.Subgraph().Tensors) {
			t.Errorf("%s: %d tensors of %d have a name", name, len(ids), len(m.Subgraph().Tensors))
		}
	}
	more := n.model.Clone()
	more.Subgraph().Tensors = append(more.Subgraph().Tensors, &schema.TensorT{Name: "more"})
	if _, err := readIDs(more, n.model, nil); err == nil {
		t.Error("a tensor more without cut channels is taken")
	}
	for _, axis := range []int{2, 3, 4} {
		if _, err := readIDs(n.model, n.model, channel.Cuts{0: {{Axis: axis, Of: 9, Kept: []int{0}}}}); err == nil || !strings.Contains(err.Error(), "has no axis") {
			t.Errorf("a cut of 9 channels along axis %d of %v: %v", axis, n.original(0), err)
		}
	}
}

// A file of espalier's lists weights that are free too: nothing is kept of them, and nothing said.
func TestWhatIsKeptFromTheInputIsSaid(t *testing.T) {
	b := tflitetest.New()
	free, held := gauss(1, 16, 0.6), gauss(2, 16, 0.6)
	mask := slices.Repeat([]uint8{1}, 16)
	held[3], mask[3] = 0, 0
	first, second := b.Const("free/kernel", free, 4, 4), b.Const("held/kernel", held, 4, 4)
	dense := func(name string, x, w int32) int32 {
		return b.Op(name, schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 4}, x, w)
	}
	b.Output(dense("held", dense("free", b.Input("x", 1, 4), first), second))
	m := b.Model()
	if err := weight.WriteState(m, map[int]weight.State{
		int(first):  {Shape: []int{4, 4}, Mask: slices.Repeat([]uint8{1}, 16)},
		int(second): {Shape: []int{4, 4}, Mask: mask},
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, m).Notes(), []string{`kept from the input: weights "held/kernel": 6.2% zeros (recorded)`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
