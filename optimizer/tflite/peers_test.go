package tflite

import (
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/op"
)

// The versions written are those the converter writes, for every operator of its own files, float and int8. In 16×8 files it counts
// them before activations become int16; files of odd scales are of hack/peers/odd_scales.py.
func TestVersionsAreTheConverters(t *testing.T) {
	files, err := filepath.Glob("../exec/integer/testdata/operators/*.tflite")
	if err != nil || len(files) < 80 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_16x8.tflite") || strings.HasPrefix(filepath.Base(file), "odd_") {
			continue
		}
		m, err := ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range m.Subgraph().Operators {
			code, _ := m.Op(o)
			if op.Lookup(code) == nil { // written out as others before anything is written
				continue
			}
			want := m.OperatorCodes[o.OpcodeIndex].Version
			if got, ok := m.operatorVersion(m.Subgraph(), o); !ok || got != want {
				t.Errorf("%s: %s version %d, the converter writes %d", filepath.Base(file), code, got, want)
			}
		}
	}
}
