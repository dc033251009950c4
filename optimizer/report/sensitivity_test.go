package report

import (
	"bytes"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/sensitivity"
)

func TestTheHeatMapShowsEveryLevelOfEveryLayer(t *testing.T) {
	levels := func(n int, by float64) (out []sensitivity.Level) {
		for i := range n {
			out = append(out, sensitivity.Level{Level: float64(i), Error: by * float64(i+1)})
		}
		return out
	}
	prunes, clusters, channels := len(sensitivity.Sparsities), len(sensitivity.Clusters), len(sensitivity.Channels)
	s := &Sensitivity{Model: "<model>.tflite", Samples: 256, Notes: []string{"a & b"}, Layers: []sensitivity.Layer{
		{Name: "first/kernel", Op: "CONV_2D", Weights: 100, Prune: levels(prunes, 1e-6), Cluster: levels(clusters, 1e-3), Channels: levels(channels, 1e-2), Int8: 1e-7},
		{Name: "depth/kernel", Op: "DEPTHWISE_CONV_2D", Weights: 9, Kept: true, Prune: levels(prunes, 0.1), Cluster: levels(clusters, 0), Int8: 1e-7},
		{Name: "clustered/kernel", Op: "FULLY_CONNECTED", Weights: 10},
	}, Plans: []sensitivity.Plan{{Technique: "prune", Level: 0.5, Base: 0.6, Error: 0.1, Even: 0.2, Rules: []sensitivity.Rule{{Layer: `a "b"`, Level: 0.3}}}, {Technique: "cluster", Level: 16, Base: 16}, {Technique: "channels", Level: 0.25, Base: 0.375, Error: 0.1, Even: 0.2, Rules: []sensitivity.Rule{{Layer: "stem", Level: 0}}}}}
	var out bytes.Buffer
	if err := WriteSensitivity(&out, s); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	wellFormed(t, page)
	if n := strings.Count(page, `<rect class="cell`); n != 3*(prunes+clusters+channels+1) {
		t.Errorf("%d cells", n)
	}
	if n := strings.Count(page, `class="cell none"`); n != prunes+clusters+2*channels {
		t.Errorf("%d cells without a level", n)
	}
	for _, want := range []string{"&lt;model&gt;", "a &amp; b", "first", "depth *", "Rules for 50 % zeros", "instead of 0.2", "No rules do better", "Rules for 25 % of the channels out", "25 % of the channels out: 0.02", `class="cell h7"`, `class="cell h0"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got, want := PlanStage(s.Plans[0]), "- name: prune\n  prune:\n    sparsity: \"0.6\"\n    rules:\n    - {layers: \"a \\\"b\\\"\", sparsity: \"0.3\"}\n"; got != want {
		t.Errorf("the stage is\n%swant\n%s", got, want)
	}
	if got, want := PlanStage(s.Plans[2]), "- name: channels\n  prune:\n    structure: Channels\n    reconstruct: true\n    channels: \"0.375\"\n    rules:\n    - {layers: \"stem\", channels: \"0\"}\n"; got != want {
		t.Errorf("the stage is\n%swant\n%s", got, want)
	}
}

func TestColoursSpanTheErrors(t *testing.T) {
	layers := []sensitivity.Layer{{Int8: 1e-4, Prune: []sensitivity.Level{{Error: 1e-2}, {Error: 1e3}, {Error: 0}}}}
	low, step := heatScale(layers)
	if heatClass(1e-4, low, step) != 0 || heatClass(0, low, step) != 0 || heatClass(1e3, low, step) != heatClasses-1 || heatClass(1e-2, low, step) <= 0 {
		t.Errorf("from %v by %v", low, step)
	}
	if low, step := heatScale(nil); heatClass(0, low, step) != 0 {
		t.Error("nothing has a colour")
	}
}
