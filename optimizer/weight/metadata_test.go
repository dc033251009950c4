package weight

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// twoLayers is a model of a convolution [12, 3, 3, 8] and a depthwise one [1, 3, 3, 12], and the indices of their kernels.
func twoLayers(conv, depthwise []float32) (m *tflite.Model, convIndex, depthwiseIndex int) {
	b := tflitetest.New()
	x := b.Input("x", 1, 6, 6, 8)
	x = b.Conv("conv", x, conv, nil, 12, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	b.Output(b.Depthwise("dw", x, depthwise, nil, 3, 3, 1, schema.PaddingSAME, tflitetest.None))
	m = b.Model()
	kernels := Kernels(m)
	return m, kernels[0].Tensor, kernels[1].Tensor
}

// recorded is a model whose convolution holds what mode says, and the tensor.
func recorded(t testing.TB, mode setting) (*tflite.Model, int, *Tensor) {
	t.Helper()
	w := mode.make(t, []int{12, 3, 3, 8}, 0)
	m, index, _ := twoLayers(w.Values(), gaussian(1, []int{1, 3, 3, 12}, 3, 1))
	if err := WriteState(m, map[int]State{index: w.State()}); err != nil {
		t.Fatal(err)
	}
	return m, index, w
}

func TestKernelsKnowTheirOutputChannels(t *testing.T) {
	m, conv, depthwise := twoLayers(make([]float32, 12*72), make([]float32, 108))
	want := []Kernel{
		{Tensor: conv, Name: "conv/kernel", Op: schema.BuiltinOperatorCONV_2D, Shape: []int{12, 3, 3, 8}},
		{Tensor: depthwise, Name: "dw/kernel", Op: schema.BuiltinOperatorDEPTHWISE_CONV_2D, Shape: []int{1, 3, 3, 12}, Axis: 3},
	}
	if diff := cmp.Diff(want, Kernels(m)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTheRecordGivesTheStateAndTheIntegersBack(t *testing.T) {
	for name, mode := range modes {
		if mode.clusters == 0 { // QAT ends in an int8 file
			continue
		}
		t.Run(name, func(t *testing.T) {
			m, index, w := recorded(t, mode)
			data := must(m.Marshal())(t)
			again := must(tflite.Read(data))(t)
			states := must(ReadState(again))(t)
			if diff := cmp.Diff(map[int]State{index: w.State()}, states); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			values := must(again.Float32s(again.Subgraph().Tensors[index]))(t)
			restored := must(FromState("w", values, states[index]))(t)
			if diff := cmp.Diff(w.Values(), restored.Values()); diff != "" {
				t.Errorf("values:\n%s", diff)
			}
			if mode.clusters < 0 {
				return
			}
			want := make([]int8, w.Len())
			ok(t, w.Codes(want))
			if diff := cmp.Diff(want, must(states[index].Codes(values))(t)); diff != "" {
				t.Errorf("integers:\n%s", diff)
			}
		})
	}
}

func TestAZeroThatIsNotPrunedStaysFreeToTrain(t *testing.T) {
	w := must(New("w", []int{12, 3, 3, 8}, 0, gaussian(7, []int{12, 3, 3, 8}, 0, 1)))(t)
	ok(t, w.SetMask(half(w.Latent)))
	free := slices.Index(w.Mask, 1)
	w.Latent[free] = 0
	m, index, _ := twoLayers(w.Values(), make([]float32, 108))
	ok(t, WriteState(m, map[int]State{index: w.State()}))
	s := must(ReadState(m))(t)[index]
	if diff := cmp.Diff(w.Mask, s.Mask); diff != "" {
		t.Errorf("mask:\n%s", diff)
	}
}

func TestARecordFollowsItsTensorToAnotherIndex(t *testing.T) {
	m, index, w := recorded(t, modes["PCQAT"])
	g := m.Subgraph()
	g.Tensors = append(g.Tensors, g.Tensors[index])
	g.Tensors[index] = &schema.TensorT{Name: "other", Shape: []int32{1}, Type: schema.TensorTypeFLOAT32}
	states := must(ReadState(m))(t)
	if diff := cmp.Diff(map[int]State{len(g.Tensors) - 1: w.State()}, states); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNoStatesRemoveTheRecord(t *testing.T) {
	m, _, _ := recorded(t, modes["PCQAT"])
	ok(t, WriteState(m, nil))
	if _, found := m.Metadata(MetadataName); found {
		t.Error("the record is still there")
	}
	if states := must(ReadState(m))(t); states != nil {
		t.Errorf("states %v", states)
	}
}

func TestARecordThatContradictsTheWeightsIsRefused(t *testing.T) {
	setValue := func(m *tflite.Model, index, at int, v float32) {
		tensor := m.Subgraph().Tensors[index]
		values, err := m.Float32s(tensor)
		if err != nil {
			t.Fatal(err)
		}
		values[at] = v
		m.SetData(tensor, tflite.Float32Bytes(values))
	}
	edit := func(m *tflite.Model, f func(e *entry)) {
		data, _ := m.Metadata(MetadataName)
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		f(&e)
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		m.SetMetadata(MetadataName, data)
	}
	tests := map[string]struct {
		mode   string
		change func(m *tflite.Model, index int, w *Tensor)
		want   string
	}{
		"a pruned weight grew": {"pruned", func(m *tflite.Model, index int, w *Tensor) {
			setValue(m, index, slices.Index(w.Mask, 0), 0.5)
		}, "431 weights are zero, 432 were pruned"},
		"a survivor became zero": {"pruned", func(m *tflite.Model, index int, w *Tensor) {
			setValue(m, index, slices.Index(w.Mask, 1), 0)
		}, "433 weights are zero, 432 were pruned"},
		"a clustered weight moved": {"CQAT", func(m *tflite.Model, index int, w *Tensor) {
			setValue(m, index, 5, w.Values()[5]*1.001)
		}, "weight 5 is"},
		"another shape": {"CQAT", func(m *tflite.Model, index int, w *Tensor) {
			m.Subgraph().Tensors[index].Shape = []int32{12, 9, 1, 8}
		}, "shape [12 9 1 8] was [12 3 3 8]"},
		"the tensor is gone": {"CQAT", func(m *tflite.Model, index int, w *Tensor) {
			m.Subgraph().Tensors[index].Name = "renamed"
		}, "no tensor of that name"},
		"the tensor is int8 now": {"CQAT", func(m *tflite.Model, index int, w *Tensor) {
			m.Subgraph().Tensors[index].Type = schema.TensorTypeINT8
		}, "INT8, not FLOAT32"},
		"another version": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Version = 2 })
		}, "version 2"},
		"recorded twice": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors = append(e.Tensors, e.Tensors[0]) })
		}, "recorded twice"},
		"more codes than promised": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].Clusters = 3 })
		}, "16 codes, more than the 3 promised"},
		"codes out of order": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { slices.Reverse(e.Tensors[0].CodeSets[0]) })
		}, "not in rising order"},
		"zero among the codes of pruned weights": {"PCQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].CodeSets[0] = []int8{-5, 0, 5} })
		}, "0 is a code of its own"},
		"a scale of zero": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].Scale[1] = 0 })
		}, "scale 1 is 0"},
		"too few scales": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].Scale = e.Tensors[0].Scale[:5] })
		}, "5 scales for 12"},
		"an unknown scope": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].Scope = "Row" })
		}, `scope "Row"`},
		"an axis outside": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			edit(m, func(e *entry) { e.Tensors[0].Axis = 4 })
		}, "axis 4"},
		"no JSON": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			m.SetMetadata(MetadataName, []byte("{"))
		}, "not readable"},
		"something behind it": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			data, _ := m.Metadata(MetadataName)
			m.SetMetadata(MetadataName, append(slices.Clone(data), '{'))
		}, "something follows"},
		"an unknown field": {"CQAT", func(m *tflite.Model, _ int, _ *Tensor) {
			m.SetMetadata(MetadataName, []byte(`{"version":1,"groups":[]}`))
		}, "groups"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, index, w := recorded(t, modes[test.mode])
			test.change(m, index, w)
			_, err := ReadState(m)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestOnlyTrueStatesAreRecorded(t *testing.T) {
	m, index, w := recorded(t, modes["PCQAT"])
	s := w.State()
	s.Mask = slices.Repeat([]uint8{0}, w.Len())
	if err := WriteState(m, map[int]State{index: s}); err == nil {
		t.Error("a mask that the weights do not have: no error")
	}
	if err := WriteState(m, map[int]State{99: w.State()}); err == nil {
		t.Error("a tensor that is not there: no error")
	}
}

func FuzzReadState(f *testing.F) {
	for _, name := range []string{"pruned", "CQAT", "PCQAT per channel, learned"} {
		m, _, _ := recorded(f, modes[name])
		data, _ := m.Metadata(MetadataName)
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"tensors":[{"name":"conv/kernel","index":1,"shape":[12,3,3,8],"axis":0,"pruned":3,"mask":"AAAA"}]}`))
	f.Add([]byte(`{"version":1,"tensors":[{"name":"dw/kernel","shape":[1,3,3,12],"axis":3,"scope":"Channel","clusters":2,"scale":[1],"codes":[[1],[2]]}]}`))
	m, _, _ := recorded(f, modes["PCQAT"])
	f.Fuzz(func(t *testing.T, data []byte) {
		changed := m.Clone()
		changed.SetMetadata(MetadataName, data)
		states, err := ReadState(changed)
		if err != nil {
			return
		}
		if err := WriteState(changed, states); err != nil { // what was read is true and can be recorded again
			t.Fatalf("read but not written: %v", err)
		}
		again, err := ReadState(changed)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		if len(states) > 0 {
			if diff := cmp.Diff(states, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-first +second:\n%s", diff)
			}
		}
	})
}
