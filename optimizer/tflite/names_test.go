package tflite_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// named are the names of a model's tensors in order.
func named(m *tflite.Model) (out []string) {
	for _, t := range m.Subgraph().Tensors {
		out = append(out, t.Name)
	}
	return out
}

func unnamed(t *testing.T) *tflite.Model {
	t.Helper()
	b := tflitetest.New()
	x := b.Input("CONV_2D:0", 1, 4, 4, 1)
	y := b.Conv("conv", x, make([]float32, 2*3*3), []float32{1, 2}, 2, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	b.Output(b.Softmax("scores", b.Dense("dense", b.Flatten("flat", y), make([]float32, 3*32), nil, 3, tflitetest.None)))
	return b.Model()
}

// A file without names of inner tensors is read with names by its operators, none of which another has, and written without them.
func TestInnerTensorsWithoutNamesAreCalledByTheirOperators(t *testing.T) {
	plain := unnamed(t)
	whole, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bare := plain.Clone()
	bare.Bare = true
	file, err := bare.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(file) >= len(whole) || bytes.Contains(file, []byte("dense")) || !bytes.Contains(file, []byte("scores")) || !bytes.Contains(file, []byte("CONV_2D:0")) {
		t.Errorf("%d bytes of %d", len(file), len(whole))
	}
	for name, read := range map[string]func([]byte) (*tflite.Model, error){"Read": tflite.Read, "ReadStored": tflite.ReadStored} {
		m, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Bare || !m.Clone().Bare {
			t.Errorf("%s does not know that the names are its own", name)
		}
		want := []string{"CONV_2D:0", "CONV_2D:0/weight", "CONV_2D:0/bias", "CONV_2D:0_", "RESHAPE:1/input1", "RESHAPE:1", "FULLY_CONNECTED:2/weight", "FULLY_CONNECTED:2", "scores"}
		slices.Sort(want)
		got := named(m)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if again, err := m.Marshal(); err != nil || !bytes.Equal(again, file) {
			t.Errorf("%s: it is not written as it was: %v", name, err)
		}
	}
	if m, err := tflite.Read(whole); err != nil || m.Bare {
		t.Errorf("names that are there are taken for made ones: %v", err)
	}
	some := plain.Clone()
	for i, tensor := range some.Subgraph().Tensors {
		if i != int(some.Subgraph().Operators[0].Outputs[0]) {
			tensor.Name = ""
		}
	}
	data, err := some.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := tflite.Read(data); err != nil || m.Bare || !slices.Contains(named(m), "") {
		t.Errorf("a file with one name is given others: %v", err)
	}
}

// Inputs and outputs of a signature's subgraph keep their names, those of the body of a loop do not.
func TestNamesOfSignaturesStay(t *testing.T) {
	m := unnamed(t)
	tensor := func(name string) *schema.TensorT {
		return &schema.TensorT{Name: name, Shape: []int32{1}, HasRank: true}
	}
	sub := func(prefix string) *schema.SubGraphT {
		g := &schema.SubGraphT{Tensors: []*schema.TensorT{tensor(prefix + "in"), tensor(prefix + "middle"), tensor(prefix + "out")}, Inputs: []int32{0}, Outputs: []int32{2}}
		m.AddOp(g, schema.BuiltinOperatorTANH, schema.BuiltinOptionsNONE, nil, []int32{0}, []int32{1})
		m.AddOp(g, schema.BuiltinOperatorTANH, schema.BuiltinOptionsNONE, nil, []int32{1}, []int32{2})
		return g
	}
	m.Subgraphs = append(m.Subgraphs, sub("other_"), sub("body_"))
	m.SignatureDefs = []*schema.SignatureDefT{{SignatureKey: "other", SubgraphIndex: 1, Inputs: []*schema.TensorMapT{{Name: "x", TensorIndex: 0}}, Outputs: []*schema.TensorMapT{{Name: "y", TensorIndex: 2}}}}
	m.Bare = true
	file, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := tflite.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, g := range read.Subgraphs[1:] {
		var names []string
		for _, t := range g.Tensors {
			names = append(names, t.Name)
		}
		got = append(got, names)
	}
	want := [][]string{{"other_in", "subgraph1/TANH:0", "other_out"}, {"subgraph2/input0", "subgraph2/TANH:0", "subgraph2/TANH:1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
