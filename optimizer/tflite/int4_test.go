package tflite

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

func TestInt4IsTwoAByteLowerHalfFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		values []int8
		data   []byte
	}{
		"every code":      {[]int8{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7}, []byte{0x98, 0xba, 0xdc, 0xfe, 0x10, 0x32, 0x54, 0x76}},
		"an odd number":   {[]int8{1, -1, 7}, []byte{0xf1, 0x07}},
		"a single code":   {[]int8{-7}, []byte{0x09}},
		"nothing at all ": {[]int8{}, []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.data, Int4Bytes(tc.values)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.values, Int8s(schema.TensorTypeINT4, tc.data, len(tc.values))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInt8sAreAsManyAsAskedForAndThere(t *testing.T) {
	data := []byte{1, 0xff, 3}
	for n, want := range map[int][]int8{0: {}, 2: {1, -1}, 3: {1, -1, 3}, 9: {1, -1, 3}} {
		if diff := cmp.Diff(want, Int8s(schema.TensorTypeINT8, data, n)); diff != "" {
			t.Errorf("%d: %s", n, diff)
		}
	}
}

// Versions of operators with int4 weights are those that have the kernels, whatever the file says (op_version.cc; FULLY_CONNECTED without a
// bias is version 6 there, of which no kernel knows int4).
func TestVersionsOfInt4Weights(t *testing.T) {
	want := map[string]int32{"conv_a8": 7, "conv_grouped_a8": 7, "depthwise_a8": 7, "fc_a8": 10, "fc_nobias_a8": 10, "fc_one_scale_a8": 10, "aeq_fc_a16": 13, "aeq_conv_a8": 7}
	for name, version := range want {
		m, err := ReadFile(filepath.Join("../exec/integer/testdata/int4", name+".tflite"))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range m.Subgraph().Operators {
			if got, ok := m.operatorVersion(m.Subgraph(), o); !ok || got != version {
				t.Errorf("%s: version %d, %v, want %d", name, got, ok, version)
			}
		}
	}
}
