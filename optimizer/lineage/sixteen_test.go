package lineage

import (
	"context"
	"testing"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
)

// Activations of leaves are what is asked for, of a layer that a rule names what the rule says; a network that came as 16×8 stays so unless
// told otherwise. Zeros and clusters are kept in any case.
func TestActivationsAreThoseAskedFor(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	wide := fast(float)
	wide.Leaf.Activations = Activations16
	made, err := wide.Baseline(context.Background(), float)
	if err != nil {
		t.Fatal(err)
	}
	lineages := map[string]*Network{"float": float, "int8": quantized8(t, float, true), "int16": read(t, made.Leaf)}
	for name, tc := range map[string]struct {
		from        string
		options     LeafOptions
		conv, dense schema.TensorType
	}{
		"float to int16":         {"float", LeafOptions{Activations: Activations16}, schema.TensorTypeINT16, schema.TensorTypeINT16},
		"int8 to int16":          {"int8", LeafOptions{Activations: Activations16}, schema.TensorTypeINT16, schema.TensorTypeINT16},
		"int16 as it is":         {"int16", LeafOptions{}, schema.TensorTypeINT16, schema.TensorTypeINT16},
		"int16 to int8":          {"int16", LeafOptions{Activations: Activations8}, schema.TensorTypeINT8, schema.TensorTypeINT8},
		"a layer of int16":       {"float", LeafOptions{Rules: []LeafRule{{Layers: "dense*", Activations: Activations16}}}, schema.TensorTypeINT8, schema.TensorTypeINT16},
		"all but a layer":        {"float", LeafOptions{Activations: Activations16, Rules: []LeafRule{{Layers: "dense*", Activations: Activations8}}}, schema.TensorTypeINT16, schema.TensorTypeINT8},
		"a layer of int16 less":  {"int16", LeafOptions{Rules: []LeafRule{{Layers: "dense*", Activations: Activations8}}}, schema.TensorTypeINT16, schema.TensorTypeINT8},
		"int16 and one in float": {"float", LeafOptions{Activations: Activations16, KeepFloat: []string{"dense*"}}, schema.TensorTypeINT16, schema.TensorTypeFLOAT32},
	} {
		t.Run(name, func(t *testing.T) {
			n := lineages[tc.from]
			run := fast(n)
			run.Leaf = tc.options
			for _, technique := range []Technique{half, eight} {
				out, err := run.Apply(context.Background(), n, technique)
				if err != nil {
					t.Fatal(err)
				}
				n = out.Network
			}
			for _, ranges := range []train.RangeMode{train.Tracked, train.Learned, train.Frozen} {
				out, err := run.Apply(context.Background(), n, Quantize{Ranges: ranges})
				if err != nil {
					t.Fatalf("%s: %v", ranges, err)
				}
				if got := computes(t, out.Leaf, schema.BuiltinOperatorCONV_2D); got != tc.conv {
					t.Errorf("%s: the convolution gives %s, want %s", ranges, got, tc.conv)
				}
				if got := computes(t, out.Leaf, schema.BuiltinOperatorFULLY_CONNECTED); got != tc.dense {
					t.Errorf("%s: the dense layer gives %s, want %s", ranges, got, tc.dense)
				}
				if len(out.Promises) == 0 {
					t.Errorf("%s: nothing is promised of the leaf", ranges)
				}
			}
		})
	}
}
