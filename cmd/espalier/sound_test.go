package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
)

// A folder of recordings becomes a leaf, and the leaf says how its features are computed.
func TestFeaturesOfSoundGoWithTheLeaf(t *testing.T) {
	w := walkCase(t, "83-csv-and-wav", "p.yaml", "wav}", "wav, preprocessing: {scale: 1/26, audio: {features: MicroFrontend, frameLength: 800, frameStep: 400, melBands: 10, upperHertz: 3800}}}")
	if w.code != 0 {
		t.Fatalf("exit code %d\n%s", w.code, w.tail())
	}
	const want = `{"inputs":[{"input":"input_1","sampleRate":8000,"samples":800,"features":"MicroFrontend","frameLength":800,"frameStep":400,"fftLength":1024,` +
		`"melBands":10,"lowerHertz":125,"upperHertz":3800,"gainControl":true,"scale":[0.038461538461538464],"offset":[0],"mean":[0],"std":[1],"shape":[1,10]}]}`
	for _, name := range []string{"baseline", "pqat"} {
		leaf, err := tflite.ReadFile(filepath.Join(w.out, "leaves", name+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := leaf.Metadata(dataset.FeaturesMetadata); string(got) != want {
			t.Errorf("%s says\n%s\nwant\n%s", name, got, want)
		}
	}
	leaf := filepath.Join(w.out, "leaves", "pqat.tflite")
	if out, _, code := espalier(t.Context(), "inspect", leaf); code != 0 || !strings.Contains(out, "the input is made of sound: "+want) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	folder := filepath.Join(t.TempDir(), "firmware")
	if _, said, code := espalier(t.Context(), "bundle", leaf, "--target", "cortex-m4", "-o", folder); code != 0 {
		t.Fatal(said)
	}
	cards, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil || len(cards) == 0 {
		t.Fatal(cards, err)
	}
	text := ""
	for _, card := range cards {
		content, err := os.ReadFile(card)
		if err != nil {
			t.Fatal(err)
		}
		text += string(content)
	}
	if !strings.Contains(text, want) {
		t.Errorf("the model card lacks the features:\n%.2000s", text)
	}
}
