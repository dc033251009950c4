package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// What a manifest leaves out means what a Go program leaves out, and what docs/manifest.md says that it means.
func TestTheManifestsDefaultsAreTheLibrarys(t *testing.T) {
	empty, err := training(v1alpha1.Training{})
	if err != nil {
		t.Fatal(err)
	}
	written, err := training(v1alpha1.Training{}.Defaulted())
	if err != nil {
		t.Fatal(err)
	}
	library := train.DefaultConfig()
	library.FindRate, library.LearningRate = true, 0 // as its comment says
	for name, got := range map[string]train.Config{"left out": empty, "written out": written} {
		if diff := cmp.Diff(library, got); diff != "" {
			t.Errorf("training, defaults %s (-library +manifest):\n%s", name, diff)
		}
	}
	half := v1alpha1.Prune{Sparsity: "0.5"}
	for name, section := range map[string]v1alpha1.Prune{"left out": half, "written out": half.Defaulted()} {
		technique, err := pruneTechnique(section)
		if err != nil {
			t.Fatal(err)
		}
		for _, steps := range []int{1, 7, 1000} {
			want, err := prune.Schedule{}.Resolve(steps)
			if err != nil {
				t.Fatal(err)
			}
			got, err := technique.(lineage.Prune).Schedule.Resolve(steps)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("schedule, defaults %s (-library +manifest):\n%s", name, diff)
			}
		}
		if s := technique.(lineage.Prune).Scope; s != "" && s != prune.Layer {
			t.Errorf("scope %q", s)
		}
	}
	eight := v1alpha1.Cluster{Clusters: 8}
	for name, section := range map[string]v1alpha1.Cluster{"left out": eight, "written out": eight.Defaulted()} {
		technique, err := clusterTechnique(section)
		if err != nil {
			t.Fatal(err)
		}
		got := technique.(lineage.Cluster)
		if got.Entropy != cluster.DefaultEntropy || got.Scope != "" && got.Scope != weight.Shared || got.Measure {
			t.Errorf("cluster, defaults %s: %+v", name, got)
		}
	}
	for name, section := range map[string]v1alpha1.Quantize{"left out": {}, "written out": v1alpha1.Quantize{}.Defaulted()} {
		technique, err := quantizeTechnique(section)
		if err != nil {
			t.Fatal(err)
		}
		if got := technique.(lineage.Quantize); got.Ranges != "" && got.Ranges != train.Tracked || got.Free {
			t.Errorf("quantize, defaults %s: %+v", name, got)
		}
	}
	for name, section := range map[string]v1alpha1.LeafOptions{"left out": {}, "written out": v1alpha1.LeafOptions{}.Defaulted()} {
		got, err := leafOptions(section)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lineage.LeafOptions{Samples: lineage.DefaultSamples}, got); diff != "" {
			t.Errorf("leaf, defaults %s (-library +manifest):\n%s", name, diff)
		}
	}
	wide, err := leafOptions(v1alpha1.LeafOptions{Activations: "Int16", Rules: []v1alpha1.LeafRule{{Layers: "head*", Activations: "Int8"}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []lineage.LeafRule{{Layers: "head*", Activations: lineage.Activations8}}; wide.Activations != lineage.Activations16 || !cmp.Equal(want, wide.Rules) {
		t.Errorf("int16 but for a layer: %+v", wide)
	}
	packed, err := leafOptions(v1alpha1.LeafOptions{Weights: "Int4", Rules: []v1alpha1.LeafRule{{Layers: "head*", Weights: "Int8"}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []lineage.LeafRule{{Layers: "head*", Weights: lineage.Weights8}}; packed.Weights != lineage.Weights4 || !cmp.Equal(want, packed.Rules) {
		t.Errorf("int4 but for a layer: %+v", packed)
	}
	encoded, err := leafOptions(v1alpha1.LeafOptions{Encode: "Huffman"})
	if err != nil || !cmp.Equal([]encode.Kind{encode.Huffman}, encoded.Encode.Kinds()) {
		t.Errorf("encoded: %+v, %v", encoded, err)
	}
	searched, err := leafOptions(v1alpha1.LeafOptions{Calibration: v1alpha1.Calibration{Method: "OutputError"}})
	if err != nil || searched.Calibration.Method != quantize.OutputError {
		t.Errorf("calibration %v (%v)", searched.Calibration, err)
	}
	percentile, err := leafOptions(v1alpha1.LeafOptions{Calibration: v1alpha1.Calibration{Method: "Percentile"}.Defaulted()})
	if err != nil {
		t.Fatal(err)
	}
	if got := percentile.Calibration.Percentile; got != quantize.DefaultPercentile {
		t.Errorf("percentile %v, the library's %v", got, quantize.DefaultPercentile)
	}
}
