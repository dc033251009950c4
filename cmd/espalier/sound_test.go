package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
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
		`"melBands":10,"lowerHertz":125,"upperHertz":3800,"gainControl":true,"scale":[0.038461538461538464],"shape":[1,10]}]}`
	for _, name := range []string{"baseline", "pqat"} {
		leaf, err := tflite.ReadFile(filepath.Join(w.out, "leaves", name+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := leaf.Metadata(dataset.PreprocessingMetadata); string(got) != want {
			t.Errorf("%s says\n%s\nwant\n%s", name, got, want)
		}
	}
	leaf := filepath.Join(w.out, "leaves", "pqat.tflite")
	recordings := filepath.Join(cases, "83-csv-and-wav", "wav")
	accuracy := func(out string) string { return regexp.MustCompile(`"Accuracy": ?[0-9.]+`).FindString(out) }
	told, said, code := espalier(t.Context(), "evaluate", leaf, "--dataset", recordings, "--dataset-spec",
		"{preprocessing: {scale: 1/26, audio: {features: MicroFrontend, frameLength: 800, frameStep: 400, melBands: 10, upperHertz: 3800}}}", "--output", "json")
	if code != 0 || accuracy(told) == "" {
		t.Fatal(told, said)
	}
	if out, said, code := espalier(t.Context(), "evaluate", leaf, "--dataset", recordings, "--output", "json"); code != 0 || accuracy(out) != accuracy(told) || !strings.Contains(said, "as the model's file says") {
		t.Errorf("by the leaf's word alone, exit code %d\n%s%swant\n%s", code, out, said, told)
	}
	if out, _, code := espalier(t.Context(), "inspect", leaf); code != 0 || !strings.Contains(out, "how inputs are made: "+want) {
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

// spoken is a second of one of three made-up words as a WAV file of 16 bits: a low tone, a high one, a sweep, with noise.
func spoken(rng *rand.Rand, word int) []byte {
	const rate = 16000
	samples, pitch := make([]int16, rate), 1+0.1*rng.NormFloat64()
	for i := range samples {
		t := float64(i) / rate
		phase := []float64{300 * t, 1500 * t, (300 + 900*t) * t}[word] * pitch
		samples[i] = int16(32767 * (0.3*math.Sin(2*math.Pi*phase) + 0.05*rng.NormFloat64()))
	}
	var f bytes.Buffer
	for _, v := range []any{[]byte("RIFF"), uint32(36 + 2*rate), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate),
		uint16(2), uint16(16), []byte("data"), uint32(2 * rate), samples} {
		_ = binary.Write(&f, binary.LittleEndian, v)
	}
	return f.Bytes()
}

// One manifest takes a folder of WAV files to a leaf: the sample, with addresses of here.
func TestTheSampleOfKeywordsMakesALeafOfAFolderOfRecordings(t *testing.T) {
	root := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for word, name := range []string{"left", "right", "stop"} {
		for i := range 24 {
			path := filepath.Join(root, "speech", name, strconv.Itoa(i)+".wav")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, path, spoken(rng, word))
		}
	}
	write(t, filepath.Join(root, "speech", "right", "notes.txt"), []byte("of the recordings"))
	write(t, filepath.Join(root, "keywords.tflite"), read(t, "testdata/keywords.tflite"))
	text := string(read(t, "../../config/samples/keyword-spotting.yaml"))
	text = regexp.MustCompile(`(?m)^  artifacts: .*\n`).ReplaceAllString(strings.ReplaceAll(text, "pvc://voice/", root+"/"), "")
	manifest, out := filepath.Join(root, "pipeline.yaml"), filepath.Join(root, "out")
	write(t, manifest, []byte(text))
	stdout, said, code := espalier(t.Context(), "run", manifest, "-o", out)
	if code != 0 || !strings.Contains(said, "left out: right/notes.txt") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, said)
	}
	result, err := v1alpha1.Decode(read(t, filepath.Join(out, "result.json")))
	if err != nil {
		t.Fatal(err)
	}
	leaf := filepath.Join(out, "leaves", result.Status.Selected.Stage+".tflite")
	evaluated, said, code := espalier(t.Context(), "evaluate", leaf, "--dataset", filepath.Join(root, "speech"), "--output", "json")
	var about struct{ Metrics map[string]float64 }
	if err := json.Unmarshal([]byte(evaluated), &about); code != 0 || err != nil || about.Metrics["Accuracy"] < 0.95 {
		t.Errorf("exit code %d, %v\n%s%s", code, err, evaluated, said)
	}
}
