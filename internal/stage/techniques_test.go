package stage

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/lineage"
)

// Every registered technique can be written in a manifest, and both sides agree on what it yields.
func TestManifestsReachEveryTechnique(t *testing.T) {
	stages := map[string]*v1alpha1.Stage{
		"fineTune": {FineTune: &v1alpha1.FineTune{}}, "prune": {Prune: &v1alpha1.Prune{Sparsity: "0.5"}}, "cluster": {Cluster: &v1alpha1.Cluster{Clusters: 8}}, "quantize": {Quantize: &v1alpha1.Quantize{}},
	}
	for _, k := range lineage.Kinds {
		s := stages[k.Name]
		if s == nil {
			t.Errorf("%s: no example here", k.Name)
			continue
		}
		technique, err := techniqueOf(s)
		if err != nil {
			t.Fatal(err)
		}
		if name, _ := s.Technique(); name != k.Name || technique.Kind().Name != k.Name {
			t.Errorf("%s: the manifest calls it %s, the library %s", k.Name, name, technique.Kind().Name)
		}
		if s.Final() != k.Final || k.Typical().Kind().Name != k.Name {
			t.Errorf("%s: final %v in the manifest, %v in the library", k.Name, s.Final(), k.Final)
		}
	}
	if len(techniques) != len(lineage.Kinds) {
		t.Errorf("%d techniques are converted, %d registered", len(techniques), len(lineage.Kinds))
	}
}

// What a manifest says of channels is what is done.
func TestChannelsAreThoseOfTheManifest(t *testing.T) {
	share, none := 0.25, false
	stage := &v1alpha1.Stage{Prune: &v1alpha1.Prune{
		Structure: v1alpha1.PruneChannels, Multiplications: new(v1alpha1.Decimal("0.5")), Branches: true, Reconstruct: &none,
		Rules: []v1alpha1.PruneRule{{Layers: "stem*", Skip: true}, {Layers: "*", Channels: new(v1alpha1.Decimal("0.25"))}},
	}}
	got, err := techniqueOf(stage)
	if err != nil {
		t.Fatal(err)
	}
	want := lineage.Channels{
		Options:  channel.Options{Multiplications: 0.5, Rules: []channel.Rule{{Layers: "stem*", Skip: true}, {Layers: "*", Share: &share}}},
		Branches: true, Reconstruct: lineage.Off,
	}
	if d := cmp.Diff(lineage.Technique(want), got); d != "" {
		t.Error(d)
	}
}
