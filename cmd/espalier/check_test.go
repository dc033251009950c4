package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// call runs a command line in this process.
func call(args ...string) (out string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := newRootCommand(&ioStreams{Out: &stdout, Err: &stderr})
	cmd.SetArgs(args)
	err = cmd.Execute()
	return stdout.String(), err
}

func TestInspectSaysWhoPlansTheMemory(t *testing.T) {
	leaf := testmaterial.Path(t, "models/kws_ref_model.tflite")
	for device, want := range map[string]string{
		"ethos-u55": "arena on ethos-u55: not known here: the device's compiler plans",
		"cortex-a":  "arena on cortex-a: the one above, as its runtime is LiteRT",
		"cortex-m4": "bytes: activations and scratch buffers",
	} {
		out, err := call("inspect", leaf, "--target", device)
		if err != nil || strings.Count(out, "\narena on "+device) != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: %v, want %q in\n%s", device, err, want, out)
		}
	}
}

func TestCheckRefusesAFileWithoutItsWeights(t *testing.T) {
	b := tflitetest.New()
	v := b.Op("v", schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, &schema.VarHandleOptionsT{SharedName: "dense/kernel"}, []int32{})
	b.SetType(v, schema.TensorTypeRESOURCE)
	read := b.Op("value", schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{1, 3}, v)
	b.Output(b.Add("y", b.Input("x", 1, 3), read, tflitetest.None))
	content, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.tflite")
	write(t, path, content)
	for _, device := range []string{"litert", "cortex-m4", "ethos-u55"} {
		if out, err := call("check", path, "--target", device); fault.ExitCode(err) != 3 || out != "" || !strings.Contains(err.Error(), "the converter left the weights out") {
			t.Errorf("%s: %v\n%s", device, err, out)
		}
	}
}

func TestCheckNamesWhatDoesNotRun(t *testing.T) {
	gelu := testmaterial.Path(t, "models/ops/gelu_int8.tflite")
	out, err := call("check", gelu, "--target", "cortex-m4")
	if fault.ExitCode(err) != 5 || !strings.Contains(out, "GELU") || !strings.Contains(out, "0 of 1 operators run on cortex-m4") {
		t.Errorf("exit code %d\n%s", fault.ExitCode(err), out)
	}
	out, err = call("check", "-o", "json", gelu, "--target", "litert")
	var r target.Report
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || !r.Runs || len(r.Operators) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = call("check", testmaterial.Path(t, "models/ops/gelu_f32.tflite"), "--target", "cortex-m4")
	if err != nil || strings.Contains(out, "build the network") || !strings.Contains(out, "the leaf: 6 of 6 operators run on cortex-m4\nthe file: 0 of 1 operators run on cortex-m4\n") ||
		!strings.Contains(out, "for cortex-m4 GELU (") || !strings.Contains(out, "is written as MUL, MUL, ADD, MUL, LOGISTIC, MUL: TFLM has no kernel for it") {
		t.Errorf("exit code %d\n%s", fault.ExitCode(err), out)
	}
	out, err = call("check", "-o", "json", testmaterial.Path(t, "models/ops/gelu_f32.tflite"), "--target", "tflm")
	var written checked
	if err != nil || json.Unmarshal([]byte(out), &written) != nil || !written.Leaf || !written.Runs || len(written.Operators) != 6 || written.File.Runs || len(written.File.Operators) != 1 ||
		len(written.Rewrites) != 1 || written.Rewrites[0].Name != "GELU" {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = call("check", testmaterial.Path(t, "models/ops/gelu_f32.tflite"), "--target", "ethos-u55")
	if err != nil || !strings.Contains(out, "the leaf: 1 of 1 operators run on ethos-u55, 1 of them on Ethos-U55") {
		t.Errorf("what only the accelerator has, in int8: exit code %d\n%s", fault.ExitCode(err), out)
	}
	if _, err := call("check", gelu, "--target", "cortex-m99"); fault.ExitCode(err) != 2 || !strings.Contains(err.Error(), "cortex-m4") {
		t.Errorf("an unknown target: %v", err)
	}
	if _, err := call("check", gelu); fault.ExitCode(err) != 2 {
		t.Errorf("no target: %v", err)
	}
}

// What a float network's leaf has in float is one row with its conversions, and the steps of a recurrent layer are one row each kind.
func TestCheckGroupsWhatHasOneReason(t *testing.T) {
	b := tflitetest.New()
	x := b.Unary("net/elu", schema.BuiltinOperatorELU, b.Dense("net/dense", b.Input("x", 1, 8), make([]float32, 64), nil, 8, tflitetest.None))
	b.Output(b.Dense("y", x, make([]float32, 16), nil, 2, tflitetest.None))
	path := filepath.Join(t.TempDir(), "elu.tflite")
	write(t, path, b.File())
	out, err := call("check", path, "--target", "ethos-u55")
	if text := strings.Join(strings.Fields(out), " "); err != nil || strings.Count(out, "processor") != 1 || !strings.Contains(text, "2 ELU net/elu processor not on Ethos-U55: it stays float, as its "+
		"int8 kernel exists in some runtimes only; for its sake neither are 2 others (DEQUANTIZE, QUANTIZE) build the network with RELU in its place") {
		t.Errorf("%v\n%s", err, out)
	}
	var c checked
	out, err = call("check", path, "--target", "ethos-u55", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &c) != nil || len(c.Operators) != 5 || c.Operators[1].Because == nil || *c.Operators[1].Because != 2 || c.File.Operators[1].Remedy != "build the network with RELU in its place" {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = call("check", "../../test/testdata/cases/06-gru-unrolled/model.tflite", "--target", "edgetpu")
	text := strings.Join(strings.Fields(out), " ")
	if err != nil || strings.Count(out, "processor") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"1 UNPACK model_1/gru_1/unstack processor not on Edge TPU: Edge TPU has no kernel for it; for its sake neither are 103 others (ADD, FULLY_CONNECTED, LOGISTIC, MUL, …)",
		"3 and 7 more SPLIT, 8 times model_1/gru_1/gru_cell processor", "16 and 6 more SPLIT_V, 7 times model_1/gru_1/gru_cell processor",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if out, err = call("check", "--all", "../../test/testdata/cases/06-gru-unrolled/model.tflite", "--target", "edgetpu"); err != nil || strings.Count(out, "\n") != 120+6 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTargetsListsAll(t *testing.T) {
	out, err := call("targets")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range target.Names() {
		if !strings.Contains(out, name) {
			t.Errorf("%s is not listed:\n%s", name, out)
		}
	}
}

func TestInspectShowsTheArenaOfADevice(t *testing.T) {
	model := testmaterial.Path(t, "models/ops/conv_1x1_relu6_int8.tflite")
	out, err := call("inspect", model, "--target", "tflm")
	if err != nil || !strings.Contains(out, "arena on tflm ") || !strings.Contains(out, "CONV_2D") {
		t.Errorf("%v\n%s", err, out)
	}
	var got struct {
		Memory     *target.Memory `json:"memory"`
		Operators  []any          `json:"operators"`
		ArenaBytes int            `json:"arenaBytes"`
	}
	out, err = call("inspect", "-o", "json", model, "--target", "tflm")
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.Memory == nil || got.Memory.Bytes <= got.Memory.Planned || got.ArenaBytes == 0 || len(got.Operators) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := call("inspect", testmaterial.Path(t, "models/ops/gelu_int8.tflite"), "--target", "tflm"); fault.ExitCode(err) != 3 || !strings.Contains(err.Error(), "GELU") {
		t.Errorf("memory of a model that does not run there: %v", err)
	}
	if out, err := call("inspect", model, "--target", "litert"); err != nil || !strings.Contains(out, "arena on litert: the one above") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A converter writes a dense layer on a sequence with an open batch with GATHER and REDUCE_PROD on sizes, which TFLM does not run; its leaves have none of them.
func TestAnOpenBatchIsCheckedAsLeavesHaveIt(t *testing.T) {
	model := "../../test/testdata/cases/76-dense-on-sequence/model.tflite"
	out, err := call("check", model, "--target", "cortex-m4")
	if err != nil || !strings.Contains(out, "the leaf: 11 of 11 operators run on cortex-m4\nthe file: 20 of 28 operators run on cortex-m4") || !strings.Contains(out, "for a batch of 1") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = call("inspect", model, "--target", "cortex-m4"); err != nil || !strings.Contains(out, "arena on cortex-m4") || !strings.Contains(out, "written for a batch of 1") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Of a float file an NPU runs nothing: what is asked is what runs of its leaf, under the numbers and names that a leaf for the device has.
func TestAFloatFileIsCheckedAsItsLeaf(t *testing.T) {
	const folder = "../../test/testdata/cases/33-multi-label-sigmoid/"
	model := folder + "model.tflite"
	for _, device := range []string{"ethos-u55", "ethos-u65", "ethos-u85", "edgetpu", "stm32n6", "stm32mp2", "hexagon"} {
		out, err := call("check", "-o", "json", model, "--target", device)
		var c checked
		if err != nil || json.Unmarshal([]byte(out), &c) != nil || !c.Leaf || !strings.Contains(c.Note, "the file is float") || c.File.Count(target.OnAccelerator) != 0 {
			t.Fatalf("%s: %v\n%s", device, err, out)
		}
		d, err := target.Lookup(device)
		if err != nil {
			t.Fatal(err)
		}
		n, err := lineage.Read(read(t, model))
		if err != nil {
			t.Fatal(err)
		}
		samples, err := dataset.Open(folder+"data.npz", dataset.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		made, err := (&lineage.Run{Data: samples, Leaf: lineage.LeafOptions{Target: d}}).Baseline(t.Context(), n)
		_ = samples.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want := target.Check(made.Leaf, d); !reflect.DeepEqual(c.Operators, want.Operators) || c.Count(target.OnAccelerator) == 0 {
			t.Errorf("%s: %+v, its leaf %+v", device, c.Operators, want.Operators)
		}
	}
	out, err := call("check", "../../test/testdata/cases/13-dynamic-image-size/model.tflite", "--target", "ethos-u55")
	if err != nil || !strings.HasPrefix(out, "the file is float, and so is this: what its leaf is like cannot be told: the input's size is open") || strings.Contains(out, "the leaf:") {
		t.Errorf("what only samples tell: %v\n%s", err, out)
	}
	out, err = call("check", "--signature", "infer", "../../test/testdata/cases/47-two-signatures/model.tflite", "--target", "ethos-u55")
	if err != nil || !strings.Contains(out, "the leaf: ") || !strings.Contains(out, "of the int8 leaf") {
		t.Errorf("one of two signatures: %v\n%s", err, out)
	}
}

func size(t *testing.T, file string) int { t.Helper(); return len(read(t, file)) }

// The autoencoder's dense layers round otherwise in TFLM than in LiteRT (issue: about 130 of 640 values).
func TestWhereADeviceAnswersOtherwiseIsCounted(t *testing.T) {
	float, leaf := testmaterial.Path(t, "models/ad01_fp32.tflite"), testmaterial.Path(t, "models/ad01_int8.tflite")
	folder := t.TempDir()
	data, overlays := filepath.Join(folder, "data.npz"), filepath.Join(folder, "overlays")
	x := make([][640]float32, 3)
	for i := range x {
		for j := range x[i] {
			x[i][j] = float32((7*i+3*j)%19) - 9
		}
	}
	writeNPZ(t, data, map[string]any{"x_test": x})
	out, err := call("compare", "-o", "json", float, leaf, "--dataset", data, "--target", "cortex-m4", "--model-explorer", overlays)
	var r struct{ Divergence measure.Divergence }
	if err != nil || json.Unmarshal([]byte(out), &r) != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := r.Divergence; d.Samples != 3 || d.SamplesDiffer != 3 || d.Values != 3*640 || d.ValuesDiffer < 100 || d.ValuesDiffer > 1900 {
		t.Errorf("%+v", d)
	}
	for name, low := range map[string]float64{"error.json": -30, "zeros.json": 0, "codes.json": 2} {
		var o struct {
			Results  map[string]struct{ Value float64 }
			Gradient []struct{ Stop float64 }
		}
		if err := json.Unmarshal(read(t, filepath.Join(overlays, name)), &o); err != nil {
			t.Fatal(err)
		}
		if v, ok := o.Results["Identity"]; !ok || v.Value < low || len(o.Results) < 9 || len(o.Gradient) != 2 {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if out, err = call("evaluate", leaf, "--dataset", data, "--target", "cortex-m4"); err != nil || !strings.Contains(out, "differs from LiteRT  3 of 3 samples, ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = call("evaluate", leaf, "--dataset", data, "--target", "litert"); err != nil || strings.Contains(out, "differs from LiteRT") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = call("compare", float, leaf, "--target", "cortex-m4")
	if text := strings.Join(strings.Fields(out), " "); err != nil || !strings.Contains(text, "CORTEX-M4 A B runs there yes yes ArenaBytes ") || !strings.Contains(text, fmt.Sprintf("FlashBytes %d %d", size(t, float), size(t, leaf))) {
		t.Errorf("without samples: %v\n%s", err, out)
	}
	lacks := testmaterial.Path(t, "models/ops/gelu_int8.tflite")
	if _, stderr, _ := espalier(context.Background(), "compare", float, leaf, "--model-explorer", overlays); !strings.Contains(stderr, "wrote    "+filepath.Join(overlays, "codes.json")+", "+filepath.Join(overlays, "zeros.json")+", for") {
		t.Errorf("it does not say what it wrote:\n%s", stderr)
	}
	if out, err = call("compare", leaf, lacks, "--target", "cortex-m4"); err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "runs there yes no: GELU") || !strings.Contains(strings.Join(strings.Fields(out), " "), fmt.Sprintf("FlashBytes %d -", size(t, leaf))) {
		t.Errorf("%v\n%s", err, out)
	}
	var placed struct{ Target targetFigures }
	if out, err = call("compare", float, leaf, "--target", "ethos-u55", "-o", "json"); err != nil || json.Unmarshal([]byte(out), &placed) != nil ||
		placed.Target.A.Accelerated != 0 || placed.Target.B.Accelerated == 0 || placed.Target.B.ArenaBytes != 0 {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = call("compare", float, leaf, "--dataset", data, "--layer-samples", "2", "--target", "cortex-m4"); err != nil ||
		!strings.Contains(out, "metrics are of the 3 samples of the test split; outputs and activations, value by value, of the first 2 of 3 samples") || !strings.Contains(out, "(of all 3 samples)") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is published of a device's kernels is told of a leaf and of a float file's leaf, and of no device of which nothing is.
func TestCheckTellsPublishedCycles(t *testing.T) {
	const glyphs = "../../hack/demo/glyphs.tflite"
	out, err := call("check", "-o", "json", glyphs, "--target", "esp32-s3")
	var found checked
	if err != nil || json.Unmarshal([]byte(out), &found) != nil || found.Cycles == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if c := found.Cycles; c.Least <= 0 || c.Most < c.Least || c.Covered != 1 {
		t.Errorf("cycles %+v", c)
	}
	for device, want := range map[string]bool{"esp32-s3": true, "cortex-m4": false} {
		if out, err := call("check", glyphs, "--target", device); err != nil || strings.Contains(out, "million cycles") != want {
			t.Errorf("%s: %v\n%s", device, err, out)
		}
	}
}
