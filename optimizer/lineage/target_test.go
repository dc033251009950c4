package lineage

import (
	"context"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func device(t *testing.T, name string) *target.Target {
	t.Helper()
	d, err := target.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A network with operators that TFLM lacks has leaves that run there, whatever technique makes them, and is what it was for any other device.
func TestOperatorsThatADeviceLacksAreWrittenForIt(t *testing.T) {
	n := read(t, image(gauss(1, 8*9*2, 0.3), func(b *tflitetest.Builder, x int32) int32 {
		x = b.Op("gelu", schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{}, b.Shape(x), x)
		return b.Unary("clip", schema.BuiltinOperatorRELU_N1_TO_1, x)
	}))
	ctx, run := context.Background(), fast(n)
	for _, name := range []string{"litert", "ethos-u85", "cortex-m4"} {
		d := device(t, name)
		made, err := run.For(ctx, n, d)
		if err != nil {
			t.Fatal(err)
		}
		if name == "litert" {
			if made != n {
				t.Errorf("%s: %q", name, made.Notes())
			}
			continue
		}
		notes := strings.Join(made.Notes(), "\n")
		if wants := name == "cortex-m4"; strings.Contains(notes, "for cortex-m4 GELU (gelu) is written as MUL, MUL, ADD, MUL, LOGISTIC, MUL") != wants {
			t.Errorf("%s: %s", name, notes)
		}
		r := fast(made)
		r.Leaf.Target = d
		at := made
		for _, technique := range []Technique{half, eight, qat} {
			out, err := r.Apply(ctx, at, technique)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, technique, err)
			}
			if err := target.Check(out.Leaf, d).Err(); err != nil {
				t.Errorf("%s: %s: %v", name, technique, err)
			}
			if !out.Network.Final() { // a stage that goes on in another process reads it again
				if at, err = made.Next(out.Network.Model()); err != nil {
					t.Fatalf("%s: %s: %v", name, technique, err)
				}
			}
		}
	}
}

// TFLM has no REDUCE_MAX of int16: it stays float between layers of int16.
func TestWhatADeviceHasForFloatsOnlyStaysFloat(t *testing.T) {
	n := read(t, image(gauss(1, 8*9*2, 0.3), func(b *tflitetest.Builder, x int32) int32 {
		return b.Op("most", schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: true}, []int32{1, 1, 1, 8}, x, b.Ints("axes", 1, 2))
	}))
	run := fast(n)
	run.Leaf.Activations = Activations16
	for _, name := range []string{"", "tflm"} {
		want := schema.TensorTypeINT16
		if name != "" {
			run.Leaf.Target, want = device(t, name), schema.TensorTypeFLOAT32
		}
		for _, technique := range []Technique{half, qat} {
			out, err := run.Apply(context.Background(), n, technique)
			if err != nil {
				t.Fatal(err)
			}
			if got := computes(t, out.Leaf, schema.BuiltinOperatorREDUCE_MAX); got != want {
				t.Errorf("for %q: %s: REDUCE_MAX gives %s", name, technique, got)
			}
			if got := computes(t, out.Leaf, schema.BuiltinOperatorCONV_2D); got != schema.TensorTypeINT16 {
				t.Errorf("for %q: %s: the convolution gives %s", name, technique, got)
			}
			if name == "" {
				continue
			}
			if err := target.Check(out.Leaf, run.Leaf.Target).Err(); err != nil {
				t.Errorf("%s: %v", technique, err)
			}
			if notes := strings.Join(out.Notes, "\n"); !strings.Contains(notes, "REDUCE_MAX stays float: it does not run on INT16, only on FLOAT32, INT8, on tflm") {
				t.Errorf("%s: %s", technique, notes)
			}
		}
	}
}

// Weights of a leaf for a device that takes one scale have one, whatever the network came as and whatever was done to it.
func TestWeightsHaveOneScaleWhereADeviceTakesNoMore(t *testing.T) {
	float := read(t, networks()["convolution and dense"])
	for name, n := range map[string]*Network{
		"stm32mp2 float": float, "stm32mp2 int8": quantized8(t, float, true), "hexagon float": float, "hexagon int8": quantized8(t, float, true),
	} {
		device, _, _ := strings.Cut(name, " ")
		d, err := target.Lookup(device)
		if err != nil {
			t.Fatal(err)
		}
		run := fast(n)
		run.Leaf.Target = d
		check := func(what string, out *Outcome, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %s: %v", name, what, err)
			}
			for _, p := range target.Check(out.Leaf, d).Operators {
				if p.Place != target.OnAccelerator {
					t.Errorf("%s: %s: %s", name, what, p)
				}
			}
		}
		out, err := run.Baseline(context.Background(), n)
		check("baseline", out, err)
		at := n
		for _, technique := range []Technique{half, eight, qat} {
			out, err := run.Apply(context.Background(), at, technique)
			check(technique.String(), out, err)
			at = out.Network
		}
	}
}
