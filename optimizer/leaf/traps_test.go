package leaf

import (
	"context"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// Regression tests for what goes wrong elsewhere (research/optimizers.md §1.5): none of it may happen between a clustered or
// pruned float model and its leaf.

// twoLayers is a model of two dense layers whose weights the tests set.
func twoLayers() *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 16)
	y := b.Dense("a", x, tflitetest.Weights(1, 8*16), tflitetest.Weights(2, 8), 8, tflitetest.ReLU)
	b.Output(b.Dense("b", y, tflitetest.Weights(3, 4*8), tflitetest.Weights(4, 4), 4, tflitetest.None))
	return b.Model()
}

// cluster gives the weights of a layer, found by name, codebooks of the given codes under a mask, and records it.
func cluster(t *testing.T, m *tflite.Model, name string, mask []uint8, perChannel bool, codes []float32) (int, *weight.Tensor) {
	t.Helper()
	index := slices.IndexFunc(m.Subgraph().Tensors, func(s *schema.TensorT) bool { return s.Name == name })
	tensor := m.Subgraph().Tensors[index]
	values, err := m.Float32s(tensor)
	if err != nil {
		t.Fatal(err)
	}
	w, err := weight.New(name, []int{int(tensor.Shape[0]), int(tensor.Shape[1])}, 0, values)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetMask(mask); err != nil {
		t.Fatal(err)
	}
	scale := w.Range(w.Channels())
	for c := range scale {
		scale[c] = weight.CompactScale(scale[c] / weight.MaxCode)
	}
	books := make([]*weight.Codebook, 1)
	if perChannel {
		books = make([]*weight.Codebook, len(scale))
	}
	for b := range books {
		moved := slices.Clone(codes)
		for k := range moved {
			moved[k] -= float32(b) // channels have codes of their own
		}
		if books[b], err = weight.NewCodebook(moved, weight.MaxCode, mask != nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.SetCodebooks(scale, books); err != nil {
		t.Fatal(err)
	}
	record(t, m, index, w)
	return index, w
}

// record stores a weight tensor in the model, values and state.
func record(t *testing.T, m *tflite.Model, index int, w *weight.Tensor) {
	t.Helper()
	values := make([]float32, w.Len())
	w.Materialize(values)
	m.SetData(m.Subgraph().Tensors[index], tflite.Float32Bytes(values))
	states, err := weight.ReadState(m)
	if err != nil {
		t.Fatal(err)
	}
	if states == nil {
		states = map[int]weight.State{}
	}
	states[index] = w.State()
	if err := weight.WriteState(m, states); err != nil {
		t.Fatal(err)
	}
}

// everyOther is a mask of the first layer's weights that prunes the odd ones.
func everyOther() []uint8 {
	mask := make([]uint8, 8*16)
	for i := range mask {
		mask[i] = uint8(1 - i%2)
	}
	return mask
}

// ptq writes the model, reads it again and quantizes it: what a stage does with another stage's output.
func ptq(t *testing.T, m *tflite.Model, options ptqOptions) *ptqResult {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := tflite.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	result, err := quantized(context.Background(), read, options, noise, 8)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "traps_"+strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "_"), " ", "_"), result.Model)
	return result
}

func codesIn(t *testing.T, leaf *tflite.Model, index int) []int8 {
	t.Helper()
	codes, err := leaf.Int8s(leaf.Subgraph().Tensors[index])
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

// Trap 5: a saved and loaded model loses what it preserves. Trap 4: clusters multiply under per-channel scales.
func TestTheLeafOfAClusteredModelHoldsItsVeryCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		mask       []uint8
		perChannel bool
		options    ptqOptions
	}{
		"shared codebook":                     {},
		"shared codebook under a mask":        {mask: everyOther()},
		"a codebook per channel":              {perChannel: true},
		"with one scale for dense by default": {options: ptqOptions{Options: quantize.Options{PerTensorDense: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := twoLayers()
			index, w := cluster(t, m, "a/kernel", tc.mask, tc.perChannel, []float32{-110, -30, 25, 120})
			result := ptq(t, m, tc.options)
			want, err := quantize.WeightsOf(w)
			if err != nil {
				t.Fatal(err)
			}
			if got := codesIn(t, result.Model, index); !slices.Equal(got, want.Codes) {
				t.Errorf("codes %v, want %v", got[:8], want.Codes[:8])
			}
			if got := result.Model.Subgraph().Tensors[index].Quantization.Scale; !slices.Equal(got, want.Scale) {
				t.Errorf("scales %v, want %v", got, want.Scale)
			}
			if err := checkPromises(result.Model, map[int]weight.State{index: w.State()}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Trap 1: one layer without zeros made every layer before it lose its mask.
func TestALayerWithoutZerosDoesNotAffectTheOthers(t *testing.T) {
	m := twoLayers()
	first, a := cluster(t, m, "a/kernel", everyOther(), false, []float32{-110, -30, 25, 120})
	second, b := cluster(t, m, "b/kernel", nil, false, []float32{-110, -30, 25, 120})
	result := ptq(t, m, ptqOptions{})
	if err := checkPromises(result.Model, map[int]weight.State{first: a.State(), second: b.State()}); err != nil {
		t.Error(err)
	}
	// Trap 2: a zero code was invented where there were no zeros.
	if slices.Contains(codesIn(t, result.Model, second), 0) {
		t.Error("the layer without zeros has some now")
	}
}

// Trap 3: a channel that is all zeros.
func TestAChannelOfZerosStaysAChannelOfZeros(t *testing.T) {
	mask := everyOther()
	clear(mask[16:32])
	m := twoLayers()
	index, w := cluster(t, m, "a/kernel", mask, false, []float32{-110, -30, 25, 120})
	codes := codesIn(t, ptq(t, m, ptqOptions{}).Model, index)
	for i := 16; i < 32; i++ {
		if codes[i] != 0 {
			t.Fatalf("weight %d has code %d", i, codes[i])
		}
	}
	if err := weight.CheckCodes(codes, w.State()); err != nil {
		t.Error(err)
	}
}

// Trap 7: zeros drift after the last update. The leaf's masked codes are 0 because the float zeros are.
func TestPrunedWeightsStayZero(t *testing.T) {
	m := twoLayers()
	index := slices.IndexFunc(m.Subgraph().Tensors, func(s *schema.TensorT) bool { return s.Name == "a/kernel" })
	w, err := weight.New("a/kernel", []int{8, 16}, 0, tflitetest.Weights(1, 128))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetMask(everyOther()); err != nil {
		t.Fatal(err)
	}
	record(t, m, index, w)
	result := ptq(t, m, ptqOptions{})
	if err := checkPromises(result.Model, map[int]weight.State{index: w.State()}); err != nil {
		t.Error(err)
	}
}

func TestABrokenPromiseNamesTheLayer(t *testing.T) {
	m := twoLayers()
	index, w := cluster(t, m, "a/kernel", everyOther(), false, []float32{-110, -30, 25, 120})
	leaf := ptq(t, m, ptqOptions{}).Model
	for name, tc := range map[string]struct {
		at   int
		code int8
		want string
	}{
		"a pruned weight that is not zero": {1, 25, `layer "a/kernel": weight 1 is pruned`},
		"one code too many":                {2, 99, `layer "a/kernel": 6 distinct codes`},
	} {
		t.Run(name, func(t *testing.T) {
			codes := codesIn(t, leaf, index)
			codes[tc.at] = tc.code
			broken := leaf.Clone()
			broken.SetData(broken.Subgraph().Tensors[index], tflite.Int8Bytes(codes))
			_, err := Verify(context.Background(), broken, Checks{Promises: map[int]weight.State{index: w.State()}})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %q…", err, tc.want)
			}
		})
	}
}
