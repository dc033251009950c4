package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAQuantizeStageOverridesLeafOptionsFieldByField(t *testing.T) {
	percentile, other, few, yes, no := Decimal("99"), Decimal("99.9"), int32(9), true, false
	given := LeafOptions{Calibration: Calibration{Method: "Percentile", Percentile: &percentile}, InputOutput: "Float32", PerTensorDense: &yes, KeepFloat: []string{"a"},
		Activations: "Int16", Rules: []LeafRule{{Layers: "head*", Activations: "Int8"}}}
	with := func(change func(*LeafOptions)) LeafOptions {
		o := given
		change(&o)
		return o
	}
	tests := map[string]struct {
		stage *Stage
		want  LeafOptions
	}{
		"the baseline":              {nil, given},
		"a prune stage":             {&Stage{Prune: &Prune{}}, given},
		"a cluster stage":           {&Stage{Cluster: &Cluster{}}, given},
		"a stage that says nothing": {&Stage{Quantize: &Quantize{}}, given},
		"other inputs and outputs":  {&Stage{Quantize: &Quantize{InputOutput: "Int8"}}, with(func(o *LeafOptions) { o.InputOutput = "Int8" })},
		"a scale a channel":         {&Stage{Quantize: &Quantize{PerTensorDense: &no}}, with(func(o *LeafOptions) { o.PerTensorDense = &no })},
		"other layers":              {&Stage{Quantize: &Quantize{KeepFloat: []string{"b"}}}, with(func(o *LeafOptions) { o.KeepFloat = []string{"b"} })},
		"no layers":                 {&Stage{Quantize: &Quantize{KeepFloat: []string{}}}, with(func(o *LeafOptions) { o.KeepFloat = []string{} })},
		"other activations":         {&Stage{Quantize: &Quantize{Activations: "Int8"}}, with(func(o *LeafOptions) { o.Activations = "Int8" })},
		"other weights":             {&Stage{Quantize: &Quantize{Weights: "Int4"}}, with(func(o *LeafOptions) { o.Weights = "Int4" })},
		"another encoding":          {&Stage{Quantize: &Quantize{Encode: "Auto"}}, with(func(o *LeafOptions) { o.Encode = "Auto" })},
		"names that stay":           {&Stage{Quantize: &Quantize{Names: "Keep"}}, with(func(o *LeafOptions) { o.Names = "Keep" })},
		"other rules":               {&Stage{Quantize: &Quantize{Rules: []LeafRule{{Layers: "b", Activations: "Int16"}}}}, with(func(o *LeafOptions) { o.Rules = []LeafRule{{Layers: "b", Activations: "Int16"}} })},
		"no rules":                  {&Stage{Quantize: &Quantize{Rules: []LeafRule{}}}, with(func(o *LeafOptions) { o.Rules = []LeafRule{} })},
		"other samples":             {&Stage{Quantize: &Quantize{Calibration: Calibration{Samples: &few}}}, with(func(o *LeafOptions) { o.Calibration.Samples = &few })},
		"another percentile": {&Stage{Quantize: &Quantize{Calibration: Calibration{Method: "Percentile", Percentile: &other}}},
			with(func(o *LeafOptions) { o.Calibration.Percentile = &other })},
		"another method, which has no percentile": {&Stage{Quantize: &Quantize{Calibration: Calibration{Method: "MSE"}}},
			with(func(o *LeafOptions) { o.Calibration = Calibration{Method: "MSE"} })},
	}
	for name, tt := range tests {
		spec := OptimizationPipelineSpec{Leaf: given}
		if diff := cmp.Diff(tt.want, spec.EffectiveLeaf(tt.stage)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if diff := cmp.Diff(given, spec.Leaf); diff != "" {
			t.Errorf("%s changed the pipeline:\n%s", name, diff)
		}
	}
}

func TestASearchForBytesOfTFLMLeavesNamesOut(t *testing.T) {
	small, answers := Constraint{Metric: FlashBytes}, Constraint{Metric: AccuracyDrop}
	for name, tt := range map[string]struct {
		runtime    string
		search     *Search
		constraint Constraint
		leaf, want string
	}{
		"flash":                   {"TFLM", &Search{Minimize: FlashBytes}, answers, "", DropNames},
		"compressed":              {"TFLM", &Search{Minimize: CompressedBytes}, answers, "", DropNames},
		"a constraint on bytes":   {"TFLM", &Search{}, small, "", DropNames},
		"names that are to stay":  {"TFLM", &Search{Minimize: FlashBytes}, small, "Keep", "Keep"},
		"arena":                   {"TFLM", &Search{Minimize: ArenaBytes}, answers, "", ""},
		"another runtime":         {"LiteRT", &Search{Minimize: CompressedBytes}, small, "", ""},
		"no runtime":              {"", &Search{Minimize: CompressedBytes}, small, "", ""},
		"stages":                  {"TFLM", nil, small, "", ""},
		"names that are left out": {"", nil, answers, DropNames, DropNames},
	} {
		spec := OptimizationPipelineSpec{Target: Target{Runtime: tt.runtime}, Search: tt.search, Constraints: []Constraint{tt.constraint}, Leaf: LeafOptions{Names: tt.leaf}}
		for _, stage := range []*Stage{nil, {Cluster: &Cluster{}}, {Quantize: &Quantize{}}} {
			if got := spec.EffectiveLeaf(stage).Names; got != tt.want {
				t.Errorf("%s: names %q, want %q", name, got, tt.want)
			}
		}
	}
}
