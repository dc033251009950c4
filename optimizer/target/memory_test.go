package target

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// recorded is what TFLM allocates for a model: bytes of activations (by its wheel), bytes of the arena that are used in the end, and
// the smallest arena that can be allocated in, a multiple of 16 (built for 32 bits; hack/peers/tflm32.cc).
type recorded struct {
	Activations int `json:"activations"`
	Used        int `json:"used32"`
	Arena       int `json:"arena32"`
}

func goldens(t *testing.T) map[string]recorded {
	t.Helper()
	file, err := os.Open("testdata/allocations.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]recorded{}
	if err := json.NewDecoder(unpacked).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMemoryIsWhatTFLMAllocates(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(modelFile(t, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := MemoryOf(m, d)
			if err != nil {
				t.Fatal(err)
			}
			if got.Planned != want.Activations {
				t.Errorf("activations %d bytes, TFLM plans %d", got.Planned, want.Activations)
			}
			used := got.Planned + got.Structures + got.Variables
			if used < want.Used || used > want.Used+15 && len(got.Notes) == 0 {
				t.Errorf("%d bytes used, TFLM uses %d (%v)", used, want.Used, got.Notes)
			}
			if got.Bytes < want.Arena || got.Bytes > want.Arena+2128 {
				t.Errorf("an arena of %d bytes, the smallest that TFLM allocates in is %d", got.Bytes, want.Arena)
			}
		})
	}
}

// modelFile finds a model of the goldens: a case of the repository, or of the material.
func modelFile(t *testing.T, name string) string {
	if own := filepath.Join("../../test/testdata", name); strings.HasPrefix(name, "cases/") {
		return own
	}
	return testmaterial.Path(t, name)
}

// Figures of two boards (mcufit-bench, results/results.jsonl): never less is promised, and at most 2,128 bytes more.
func TestMemoryIsEnoughOnBoards(t *testing.T) {
	for _, c := range []struct {
		model, target string
		bytes         int
	}{
		{"person_detect", "cortex-m4", 82740}, {"person_detect", "esp32", 82300},
		{"kws_ref_model", "cortex-m4", 24164}, {"kws_ref_model", "esp32", 22780},
		{"pretrainedResnet_quant", "cortex-m4", 55188}, {"pretrainedResnet_quant", "esp32", 54364},
		{"ad01_int8", "cortex-m4", 2596}, {"ad01_int8", "esp32", 2380},
	} {
		d, err := Lookup(c.target)
		if err != nil {
			t.Fatal(err)
		}
		m, err := tflite.ReadFile(testmaterial.Path(t, "models/"+c.model+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := MemoryOf(m, d)
		if err != nil {
			t.Fatal(err)
		}
		if got.Bytes < c.bytes || got.Bytes > c.bytes+2128 {
			t.Errorf("%s on %s: %d bytes, the board took %d", c.model, c.target, got.Bytes, c.bytes)
		}
	}
}

func TestOffsetsOfTheFileAreKept(t *testing.T) {
	d, err := Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	m := oneOperator(schema.BuiltinOperatorRELU, nil, tensor(schema.TensorTypeINT8, 0, 1, 32), tensor(schema.TensorTypeINT8, 0, 1, 16))
	plan := func(offsets ...int32) error {
		words := append([]int32{1, 0, int32(len(offsets))}, offsets...)
		m.SetMetadata(offlinePlan, tflite.Int32Bytes(words))
		got, err := MemoryOf(m, d)
		if err == nil && got.Planned != 1024+16 {
			t.Errorf("planned %d bytes, want the output at 1024", got.Planned)
		}
		return err
	}
	if err := plan(-1, 1024); err != nil {
		t.Error(err)
	}
	if err := plan(0); err == nil || !strings.Contains(err.Error(), "2 tensors") {
		t.Errorf("a plan of one offset for two tensors: %v", err)
	}
}

// Order and gaps of the planner, by hand: sizes descending, alike ones last to first, the first gap that is wide enough.
func TestGreedyPlacesAsTFLM(t *testing.T) {
	place := func(buffers ...*buffer) []int {
		size := greedy(buffers)
		out := []int{size}
		for _, b := range buffers {
			out = append(out, b.offset)
		}
		return out
	}
	if diff := cmp.Diff([]int{64, 32, 0, 0}, place(
		&buffer{size: 32, first: 0, last: 1, offline: -1}, &buffer{size: 32, first: 1, last: 2, offline: -1}, &buffer{size: 16, first: 3, last: 3, offline: -1})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{112, 0, 64, 96, 48}, place(
		&buffer{size: 48, first: 0, last: 5, offline: -1}, &buffer{size: 32, first: 0, last: 1, offline: 64}, &buffer{size: 16, first: 0, last: 5, offline: -1}, &buffer{size: 16, first: 0, last: 5, offline: -1})); diff != "" {
		t.Error(diff)
	}
}
