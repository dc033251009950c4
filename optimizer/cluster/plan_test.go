package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

func TestPlan(t *testing.T) {
	dear := 30.0
	k := []weight.Kernel{
		{Tensor: 1, Name: "net/stem/Conv2D", Op: schema.BuiltinOperatorCONV_2D, Shape: []int{8, 3, 3, 3}},
		{Tensor: 4, Name: "net/dw/depthwise", Op: schema.BuiltinOperatorDEPTHWISE_CONV_2D, Shape: []int{1, 3, 3, 8}, Axis: 3},
		{Tensor: 7, Name: "net/head/MatMul", Op: schema.BuiltinOperatorFULLY_CONNECTED, Shape: []int{10, 50}},
	}
	tests := map[string]struct {
		clusters  int
		rules     []Rule
		want      []Target
		wantNotes int
		wantErr   string
	}{
		"by default all but depthwise":       {16, nil, []Target{{k[0], 16, 1}, {k[2], 16, 1}}, 1, ""},
		"a rule includes a depthwise kernel": {16, []Rule{{Layers: "*dw*", Clusters: 32}}, []Target{{k[0], 16, 1}, {k[1], 32, 1}, {k[2], 16, 1}}, 0, ""},
		"the first rule that matches counts": {16, []Rule{{Layers: "*head*", Clusters: 8}, {Layers: "*", Skip: true}}, []Target{{k[2], 8, 1}}, 2, ""},
		"a rule prices bits":                 {16, []Rule{{Layers: "*head*", Entropy: &dear}}, []Target{{k[0], 16, 1}, {k[2], 16, 30}}, 1, ""},
		"a rule that matches nothing":        {16, []Rule{{Layers: "*haed*"}}, nil, 0, `"net/head/MatMul"`},
		"everything skipped":                 {16, []Rule{{Layers: "*", Skip: true}}, nil, 0, "nothing to cluster"},
		"two clusters":                       {2, nil, []Target{{k[0], 2, 1}, {k[2], 2, 1}}, 1, ""},
		"as many as there are codes":         {255, nil, []Target{{k[0], 255, 1}, {k[2], 255, 1}}, 1, ""},
		"one more":                           {256, nil, nil, 0, "256 clusters; possible are 2 to 255"},
		"one cluster":                        {1, nil, nil, 0, "1 clusters"},
		"too many clusters by rule":          {16, []Rule{{Layers: "*", Clusters: 300}}, nil, 0, "300 clusters"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, notes, err := NewPlan(k, Options{Clusters: test.clusters, Entropy: 1}, test.rules)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error %v, want one with %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(notes) != test.wantNotes {
				t.Errorf("notes %q, want %d", notes, test.wantNotes)
			}
		})
	}
}
