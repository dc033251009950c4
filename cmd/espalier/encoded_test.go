package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// wide is a classifier of corners with weights enough to be worth encoding.
func wide(t *testing.T) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(4, 4))
	normal := func(n int, sd float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(sd * rng.NormFloat64())
		}
		return out
	}
	b := tflitetest.New()
	y := b.Dense("hidden", b.Flatten("flat", b.Input("x", 1, 8, 8, 1)), normal(64*64, 0.1), normal(64, 0.1), 64, tflitetest.ReLU)
	b.Output(b.Softmax("softmax", b.Dense("dense", y, normal(4*64, 0.1), normal(4, 0.1), 4, tflitetest.None)))
	data, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEncodedLeavesAreSmallerInFlashAndDecodedInAFirmware has a whole run for TFLM with encoded weights, and a bundle of what it came to.
func TestEncodedLeavesAreSmallerInFlashAndDecodedInAFirmware(t *testing.T) {
	path := project(t)
	write(t, filepath.Join(filepath.Dir(path), "model.tflite"), wide(t))
	encoded := strings.Replace(manifest, "  stages:", "  target: {runtime: TFLM, device: cortex-m4}\n  leaf: {encode: Auto}\n  stages:", 1)
	encoded = strings.Replace(encoded, "pcqat, quantize: {}", "plain, from: cluster, quantize: {encode: None}}\n  - {name: pcqat, from: cluster, quantize: {}", 1)
	write(t, path, []byte(encoded))
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if code != 0 || !strings.Contains(stdout, "FLASH") || !strings.Contains(stdout, "ARENA") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	p := decode(t, filepath.Join(out, "result.json"))
	leaf := func(name string) *v1alpha1.Leaf {
		for i := range p.Status.Stages {
			if p.Status.Stages[i].Name == name {
				return p.Status.Stages[i].Leaf
			}
		}
		t.Fatalf("no %s", name)
		return nil
	}
	file := func(name string) string { return filepath.Join(out, "leaves", name+".tflite") }
	for _, name := range []string{"plain", "pcqat"} {
		if got := walk.Value(leaf(name).Metrics, v1alpha1.FlashBytes); got != fmt.Sprint(len(read(t, file(name)))) {
			t.Errorf("%s takes %s bytes of flash, the file %d", name, got, len(read(t, file(name))))
		}
	}
	if size := len(read(t, file("pcqat"))); size*10 > len(read(t, file("plain")))*8 {
		t.Errorf("encoded %d bytes, plain %d", size, len(read(t, file("plain"))))
	}
	for _, metric := range []v1alpha1.Metric{v1alpha1.Accuracy, v1alpha1.Clusters, v1alpha1.Sparsity} {
		if a, b := walk.Value(leaf("plain").Metrics, metric), walk.Value(leaf("pcqat").Metrics, metric); a != b || a == "" {
			t.Errorf("%s is %s plain and %s encoded", metric, a, b)
		}
	}
	m, err := tflite.ReadStored(read(t, file("pcqat")))
	if err != nil {
		t.Fatal(err)
	}
	decodes := 0
	for _, o := range m.Subgraph().Operators {
		if code, custom := m.Op(o); code == schema.BuiltinOperatorCUSTOM && custom == "TFLM_DECODE" {
			decodes++
		}
	}
	if decodes == 0 {
		t.Error("nothing decodes")
	}

	firmware := filepath.Join(out, "firmware")
	if stdout, stderr, code = espalier(context.Background(), "bundle", file("pcqat"), "--target", "cortex-m4", "-o", firmware); code != 0 ||
		!strings.Contains(stdout, "an arena of "+walk.Value(leaf("pcqat").Metrics, v1alpha1.ArenaBytes)+" bytes") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var sources strings.Builder
	err = filepath.WalkDir(firmware, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			sources.Write(read(t, path))
		}
		return err
	})
	if err != nil || !strings.Contains(sources.String(), "AddDecode") {
		t.Errorf("%v: the firmware decodes nothing", err)
	}

	write(t, path, []byte(encoded+"  constraints: [{metric: FlashBytes, max: 100}]\n"))
	if stdout, _, code = espalier(context.Background(), "run", path, "-o", out); code != 5 || !strings.Contains(stdout, "its weights are encoded") || strings.Contains(stdout, "encode: Auto") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
