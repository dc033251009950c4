package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

func TestLeavesForADeviceAreMeasuredByItsRuntime(t *testing.T) {
	path := project(t)
	write(t, path, []byte(strings.Replace(manifest, "  stages:", "  target: {runtime: TFLM, device: cortex-m4}\n  stages:", 1)))
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if code != 0 {
		t.Fatal(stderr)
	}
	d, err := target.Find(target.TFLM, "cortex-m4")
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.ReadFile(filepath.Join(out, "leaves", "pcqat.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := target.MemoryOf(m, d)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(out, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Status struct {
			Stages []struct {
				Name string
				Leaf struct {
					Metrics []struct{ Name, Value string }
				}
			}
		}
	}
	if err := json.Unmarshal(content, &result); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range result.Status.Stages {
		for _, v := range s.Leaf.Metrics {
			if s.Name == "pcqat" && v.Name == "ArenaBytes" {
				found = true
				if v.Value != strconv.Itoa(memory.Bytes) {
					t.Errorf("ArenaBytes %s, the device takes %d", v.Value, memory.Bytes)
				}
			}
		}
	}
	if !found {
		t.Errorf("no ArenaBytes of the last leaf in\n%s\n%s", content, stdout)
	}
	if want := "target   cortex-m4: Arm Cortex-M4"; !strings.Contains(stderr, want) {
		t.Errorf("nothing says %q\n%s", want, stderr)
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "leaves are for cortex-m4: metrics are measured as TFLM computes there"; !strings.Contains(string(page), want) {
		t.Errorf("the report does not say %q", want)
	}
	bundled(t, out, filepath.Join(filepath.Dir(path), "data.npz"), memory.Bytes)
}

// bundled makes bundles of the last leaf of a run, and reads what its model card tells.
func bundled(t *testing.T, out, data string, arena int) {
	t.Helper()
	leaf, firmware := filepath.Join(out, "leaves", "pcqat.tflite"), filepath.Join(out, "firmware")
	stdout, stderr, code := espalier(context.Background(), "bundle", leaf, "--target", "cortex-m4", "-o", firmware)
	if code != 0 || !strings.Contains(stdout, "an arena of "+strconv.Itoa(arena)+" bytes on cortex-m4, 4 test vectors") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	content, err := os.ReadFile(leaf)
	if err != nil {
		t.Fatal(err)
	}
	card := string(read(t, filepath.Join(firmware, "MODEL_CARD.md")))
	for _, want := range []string{fmt.Sprintf("sha256:%x", sha256.Sum256(content)), "- prune: prune {", "- pcqat: quantize ", "from the model sha256:", "| Accuracy |", "on the validation split"} {
		if !strings.Contains(card, want) {
			t.Errorf("the model card does not say %q:\n%s", want, card)
		}
	}
	if strings.Contains(card, "| ArenaBytes |") || !regexp.MustCompile(`\| LatencyMicros \| [0-9.]+ on the computer of the run, not on the device \|`).MatchString(card) {
		t.Errorf("the model card has the run's arena beside the device's, or its latency as if it were the device's:\n%s", card)
	}
	if array := string(read(t, filepath.Join(firmware, "src", "pcqat_data.h"))); !strings.Contains(array, fmt.Sprintf("kModelBytes = %d;", len(content))) {
		t.Error(array)
	}
	archive := filepath.Join(out, "firmware.zip")
	if stdout, stderr, code = espalier(context.Background(), "bundle", leaf, "--target", "esp32-s3", "--name", "corners", "-o", archive, "--dataset", data, "--vectors", "9"); code != 0 || !strings.Contains(stdout, "9 test vectors") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if file, err := r.Open("corners/MODEL_CARD.md"); err != nil {
		t.Error(err)
	} else if card, err := io.ReadAll(file); err != nil || !strings.Contains(string(card), "on 96 samples") || !strings.Contains(string(card), "9 test vectors, samples of the dataset") {
		t.Errorf("%v: %s", err, card)
	}
	for _, args := range [][]string{{"bundle", leaf, "-o", archive}, {"bundle", leaf, "--target", "cortex-m4"}, {"bundle", leaf, "--target", "cortex-m4", "-o", archive, "--vectors", "0"},
		{"bundle", leaf, "--target", "cortex-m4", "-o", archive, "--name", "9!!"}, {"bundle", leaf, "--target", "cortex-m4", "-o", archive, "--dataset-spec", "{}"},
		{"bundle", leaf, "--target", "cortex-m4", "-o", archive, "--result", leaf}} {
		if _, stderr, code := espalier(context.Background(), args...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
	if _, stderr, code := espalier(context.Background(), "bundle", leaf, "--target", "cortex-m4", "-o", firmware); code != 6 || !strings.Contains(stderr, "name another folder") {
		t.Errorf("over a folder: exit code %d: %s", code, stderr)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	if _, stderr, code := espalier(context.Background(), "bundle", leaf, "--target", "cortex-m4", "-o", archive); code != 2 || !strings.Contains(stderr, `SOURCE_DATE_EPOCH="today": want seconds`) {
		t.Errorf("a date that is none: exit code %d, %s", code, stderr)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if _, stderr, code := espalier(context.Background(), "bundle", leaf, "--target", "litert", "-o", archive); code != 2 || !strings.Contains(stderr, "name one of") {
		t.Errorf("for LiteRT: exit code %d: %s", code, stderr)
	}
}

func TestALeafThatDoesNotRunOnItsDeviceFails(t *testing.T) {
	folder := "../../test/testdata/cases/22-rfft-audio-front-end"
	text, err := os.ReadFile(filepath.Join(folder, "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pipeline.yaml")
	for _, name := range []string{"model.tflite", "data.npz"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(filepath.Dir(path), name), content)
	}
	write(t, path, []byte(strings.Replace(string(text), "  stages:", "  target: {runtime: TFLM}\n  stages:", 1)))
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
	if code != 3 || !strings.Contains(stderr, "does not run on tflm") || !strings.Contains(stderr, "RFFT2D (") || !strings.Contains(stderr, "compute the spectrum before the network") || strings.Contains(stderr, "baseline") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TFLM's fully connected kernel takes one scale for weights of 4 bits. A stage whose leaf it lacks is one that a walk may never come to: only where it
// has to come to it, or to none other, does nothing run.
func TestAStagesOwnLeafIsCheckedBeforeAnythingIsTrained(t *testing.T) {
	path := project(t)
	const lacking = "{name: pcqat, quantize: {weights: Int4}}"
	text := strings.Replace(manifest, "  stages:", "  target: {runtime: TFLM}\n  stages:", 1)
	bytes := func(most string) string { return "  constraints: [{metric: CompressedBytes, max: " + most + "}]\n" }
	const refusal = "a leaf does not run on tflm: FULLY_CONNECTED (dense): its weights have a scale for each of 4 channels, and must have one for the whole tensor"
	for name, c := range map[string]struct {
		manifest string
		code     int
		began    bool   // anything ran
		want     string // on standard error
	}{
		"without constraints every stage has to run": {strings.Replace(text, "{name: pcqat, quantize: {}}", lacking, 1), 3, false, `espalier: spec.stages[3] "pcqat": ` + refusal},
		"it runs":         {strings.Replace(text, "{name: pcqat, quantize: {}}", "{name: pcqat, from: prune, quantize: {weights: Int4, perTensorDense: true}, training: {epochs: 0}}", 1), 0, true, ""},
		"no stage's runs": {text[:strings.Index(text, "  - ")] + "  - " + lacking + "\n" + bytes("1000000"), 3, false, `espalier: spec.stages[0] "pcqat": ` + refusal},
		"an earlier leaf is taken": {strings.Replace(text, "{name: pcqat, quantize: {}}", lacking, 1) + bytes("1000000"), 0, true,
			`note     spec.stages[3] "pcqat": ` + refusal + `: give fully connected layers one scale (perTensorDense: true), or this one weights: Int8; it fails when its turn comes, unless an earlier leaf is taken`},
		"its turn comes": {strings.Replace(text, "{name: pcqat, quantize: {}}", lacking, 1) + bytes("1"), 3, true, "pcqat        failed: " + refusal},
	} {
		write(t, path, []byte(c.manifest))
		stdout, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
		if code != c.code || strings.Contains(stderr, "started") != c.began || !strings.Contains(stderr, c.want) || c.want == "" && strings.Contains(stderr, refusal) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, stdout, stderr)
		}
		if strings.Contains(stderr, "pcqat        epoch") {
			t.Errorf("%s: it was trained:\n%s", name, stderr)
		}
	}
}

func TestAnAcceleratorThatStaysUnusedIsNamed(t *testing.T) {
	path := project(t)
	for leaf, unused := range map[string]bool{"{activations: Int16}": true, "{activations: Int8}": false} {
		begin, _, _ := strings.Cut(manifest, "  stages:")
		write(t, path, []byte(begin+"  target: {device: edgetpu}\n  leaf: "+leaf+"\n  stages: [{name: prune, prune: {sparsity: 0.5}, training: {epochs: 0}}]\n"))
		out := filepath.Join(t.TempDir(), "out")
		_, stderr, code := espalier(context.Background(), "run", path, "-o", out)
		said := "Edge TPU stays unused, all "
		if code != 0 || strings.Contains(stderr, "note     prune: "+said) != unused || strings.Contains(string(read(t, filepath.Join(out, "report.html"))), said) != unused ||
			strings.Contains(stderr, "give it activations of 8 bits (activations: Int8)") != unused {
			t.Errorf("%s: exit code %d\n%s", leaf, code, stderr)
		}
	}
}

func TestATargetThatIsNotThereIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"{runtime: TFLM, device: cortex-m99}": "no target is named",
		"{device: cortex-m4}":                 "cortex-m4 runs TFLM in the catalogue, not LiteRT",
	} {
		path := project(t)
		write(t, path, []byte(strings.Replace(manifest, "  stages:", "  target: "+text+"\n  stages:", 1)))
		_, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", text, code, stderr)
		}
	}
}

// FlashBytes is of targets whose runtime reads the file itself.
func TestABoundOnFlashThatIsNotTheFilesIsRefused(t *testing.T) {
	for _, text := range []string{"", "  target: {runtime: LiteRT}\n", "  target: {runtime: TFLM, device: ethos-u55}\n"} {
		path := project(t)
		write(t, path, []byte(strings.Replace(manifest, "  stages:", text+"  constraints: [{metric: FlashBytes, max: 1000000}]\n  stages:", 1)))
		_, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
		if code != 2 || !strings.Contains(stderr, "FlashBytes is of a target whose runtime reads the file where it lies in flash: name one with TFLM") {
			t.Errorf("%q: exit code %d: %s", text, code, stderr)
		}
	}
}

func TestABoundOnAnArenaThatNobodyKnowsIsRefused(t *testing.T) {
	path := project(t)
	write(t, path, []byte(strings.Replace(manifest, "  stages:", "  target: {runtime: TFLM, device: ethos-u55}\n  constraints: [{metric: ArenaBytes, max: 1000000}]\n  stages:", 1)))
	_, stderr, code := espalier(context.Background(), "run", path, "-o", filepath.Join(t.TempDir(), "out"))
	if code != 2 || !strings.Contains(stderr, "the arena of ethos-u55 is not in the catalogue: leave ArenaBytes out") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestABundleMeasuresAsTheRunDid has samples that are not as the network takes them, and clusters that the leaf alone does not tell.
func TestABundleMeasuresAsTheRunDid(t *testing.T) {
	path := project(t)
	text := string(read(t, path))
	write(t, path, []byte(strings.Replace(text, "{uri: data.npz", `{preprocessing: {scale: "0.5"}, uri: data.npz`, 1)))
	if string(read(t, path)) == text {
		t.Fatal("the manifest's dataset is written otherwise")
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, stderr, code := espalier(context.Background(), "run", path, "-o", out); code != 0 && code != 5 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	leaf, data, result := filepath.Join(out, "leaves", "pcqat.tflite"), filepath.Join(filepath.Dir(path), "data.npz"), filepath.Join(out, "result.json")
	measured, stderr, code := espalier(context.Background(), "evaluate", leaf, "--dataset", data, "--pipeline", result)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	p := decode(t, result)
	clusters := walk.Value(p.Status.Stages[len(p.Status.Stages)-1].Leaf.Metrics, v1alpha1.Clusters)
	if _, told, _ := strings.Cut(measured, "Clusters"); strings.Fields(told)[0] != clusters {
		t.Errorf("the run counted %s clusters:\n%s", clusters, measured)
	}
	firmware := filepath.Join(out, "firmware")
	if _, stderr, code = espalier(context.Background(), "bundle", leaf, "--target", "cortex-m4", "-o", firmware, "--dataset", data); code != 0 || !strings.Contains(stderr, "prepared as "+result+" says") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	_, accuracy, _ := strings.Cut(measured, "Accuracy")
	card := string(read(t, filepath.Join(firmware, "MODEL_CARD.md")))
	for _, want := range []string{"| Accuracy | " + strings.Fields(accuracy)[0] + " on ", "| Clusters | " + clusters + " |"} {
		if !strings.Contains(card, want) {
			t.Errorf("the card does not say %q:\n%s\n%s", want, card, measured)
		}
	}
}

// An attention network with a GELU, which TFLM lacks: its leaves for a device have it written by others, and run there.
func TestANetworkWithAnOperatorThatADeviceLacksHasLeavesForIt(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"model.tflite", "data.npz", "pipeline.yaml"} {
		content, err := os.ReadFile(filepath.Join("../../test/testdata/cases/36-attention-layernorm", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "pipeline.yaml" {
			content = []byte(strings.Replace(string(content), "  stages:", "  target: {runtime: TFLM, device: cortex-m4}\n  stages:", 1))
		}
		write(t, filepath.Join(folder, name), content)
	}
	out := filepath.Join(folder, "out")
	if _, stderr, code := espalier(context.Background(), "run", filepath.Join(folder, "pipeline.yaml"), "-o", out); code != 0 {
		t.Fatal(stderr)
	}
	leaves, err := filepath.Glob(filepath.Join(out, "leaves", "*.tflite"))
	if err != nil || len(leaves) < 2 {
		t.Fatalf("%d leaves: %v", len(leaves), err)
	}
	for _, leaf := range leaves {
		if said, err := call("check", leaf, "--target", "cortex-m4"); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(leaf), err, said)
		}
	}
	report, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil || !strings.Contains(string(report), "is written as MUL, MUL, ADD, MUL, LOGISTIC, MUL: TFLM has no kernel for it") {
		t.Errorf("the report does not say that the GELU was written by others: %v", err)
	}
}
