package lineage

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// A leaf without names holds what the one with names does; models between stages keep theirs, and a leaf without names is a network to
// start from, whose leaves have none either.
func TestLeavesHaveNoNamesOfInnerTensorsWhereNobodyReadsThem(t *testing.T) {
	b := tflitetest.New()
	y := b.Dense("hidden", b.Input("x", 1, 72), gauss(1, 32*72, 0.2), gauss(2, 32, 0.1), 32, tflitetest.ReLU)
	b.Output(b.Softmax("softmax", b.Dense("dense", y, gauss(3, 4*32, 0.5), nil, 4, tflitetest.None)))
	float := read(t, b.Model())
	for name, c := range map[string]struct {
		from   *Network
		order  []Technique
		encode Encoding
	}{
		"baseline": {float, nil, ""}, "int8 original": {quantized8(t, float, true), nil, ""}, "trained": {float, []Technique{half, eight, qat}, ""}, "encoded": {float, []Technique{eight}, EncodeAuto},
	} {
		made := map[bool]*Outcome{}
		for _, bare := range []bool{false, true} {
			run, n := fast(c.from), c.from
			run.Leaf.Bare, run.Leaf.Encode = bare, c.encode
			out, err := run.Baseline(context.Background(), n)
			if err == nil && bare != strings.Contains(strings.Join(out.Once, "\n"), "names of inner tensors") {
				t.Errorf("%s, without names %v: said once: %q", name, bare, out.Once)
			}
			for _, technique := range c.order {
				if err == nil {
					out, err = run.Apply(context.Background(), n, technique)
					n = out.Network
				}
			}
			if err != nil {
				t.Fatalf("%s, without names %v: %v", name, bare, err)
			}
			made[bare] = out
		}
		whole, file := marshal(t, made[false].Leaf), marshal(t, made[true].Leaf)
		if len(file) >= len(whole) || bytes.Contains(file, []byte("hidden")) || !bytes.Contains(whole, []byte("hidden")) || !bytes.Contains(file, []byte("softmax")) {
			t.Errorf("%s: %d bytes, with names %d", name, len(file), len(whole))
		}
		read, err := tflite.Read(whole)
		if err != nil {
			t.Fatal(err)
		}
		if read.Bare = true; c.encode == "" && !bytes.Equal(marshal(t, read), file) {
			t.Errorf("%s: more than names differs", name)
		}
		if model := marshal(t, made[true].Network.Model()); c.order != nil && !bytes.Equal(model, marshal(t, made[false].Network.Model())) {
			t.Errorf("%s: the model for the next stage is another", name)
		}
		if diff := cmp.Diff(made[false].Promises, made[true].Promises); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		again, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if k := again.Kernels(); len(k) != 2 || k[0].Name != "FULLY_CONNECTED:0/weight" || k[1].Name != "FULLY_CONNECTED:1/weight" {
			t.Errorf("%s: weights are called %v", name, k)
		}
		out, err := fast(again).Baseline(context.Background(), again)
		if err != nil {
			t.Fatal(err)
		}
		if c.encode == "" && !bytes.Equal(marshal(t, out.Leaf), file) {
			t.Errorf("%s: the first leaf of a leaf is another", name)
		}
		out, err = fast(again).Apply(context.Background(), again, qat)
		if err != nil {
			t.Fatal(err)
		}
		if !out.Leaf.Bare || out.Network.Model().Bare || out.Network.Kernels()[0].Name != "FULLY_CONNECTED:0/weight" {
			t.Errorf("%s: %v, %v", name, out.Leaf.Bare, out.Network.Kernels())
		}
		if _, err := again.Next(out.Network.Model()); err != nil {
			t.Error(err)
		}
	}
	if got := (LeafOptions{Bare: true}).String(); got != "without names of inner tensors" {
		t.Errorf("%q", got)
	}
}
