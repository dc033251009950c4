package sensitivity

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// clusters are the levels of a layer as Level{clusters, error, bits}.
func clusters(l Layer) []Level { return l.Cluster }

func TestTheCheapestLevelsThatFitArePicked(t *testing.T) {
	keepOrDrop := func(weights int, error float64) Layer {
		return Layer{Weights: weights, Cluster: []Level{{1, 0, 1}, {0, error, 0}}}
	}
	either := func(weights int) Layer {
		return Layer{Weights: weights, Cluster: []Level{{2, 0, 2}, {1, 1, 1}}}
	}
	hollow := func(weights int) Layer { // its middle level lies above the line between the others, so that no price reaches it
		return Layer{Weights: weights, Cluster: []Level{{3, 0, 3}, {2, 6, 2}, {1, 10, 1}}}
	}
	tests := map[string]struct {
		layers []Layer
		budget float64
		want   []float64 // levels
	}{
		"all fits":                           {[]Layer{keepOrDrop(3, 1), keepOrDrop(5, 1)}, 8, []float64{1, 1}},
		"nothing fits":                       {[]Layer{hollow(1)}, 0.5, []float64{1}},
		"a bit costs as many as weights":     {[]Layer{keepOrDrop(1, 1), keepOrDrop(10, 0.5)}, 10, []float64{1, 0}},
		"the price is just high enough":      {[]Layer{{Weights: 58, Cluster: []Level{{1, 0, 0.1}, {0, 7, 0}}}, keepOrDrop(4, 6), keepOrDrop(4, 6)}, 8, []float64{0, 1, 1}},
		"of equal levels the first":          {[]Layer{{Weights: 1, Cluster: []Level{{8, 1, 1}, {7, 1, 1}}}}, 1, []float64{8}},
		"what is left buys a level":          {[]Layer{hollow(1)}, 2, []float64{2}},
		"what is left buys two":              {[]Layer{either(2), either(2), either(2)}, 10, []float64{2, 2, 1}},
		"what is left buys one, not two":     {[]Layer{either(2), either(2), either(2)}, 9.9, []float64{2, 1, 1}},
		"what is left buys what gains most":  {[]Layer{hollow(1), {Weights: 1, Cluster: []Level{{3, 0, 3}, {2, 12, 2}, {1, 20, 1}}}}, 3, []float64{1, 2}},
		"what is left does not buy too much": {[]Layer{hollow(4)}, 7.9, []float64{1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []float64
			for _, v := range cheapest(tt.layers, clusters, tt.budget) {
				got = append(got, v.Level)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPlanSaysWhatItComesTo(t *testing.T) {
	layers := []Layer{{Name: "a", Weights: 30}, {Name: "b", Weights: 10}, {Name: "c", Weights: 10}}
	p := Plan{Level: 16}
	p.settle(layers, []Level{{16, 1, 3}, {4, 2, 1}, {64, 4, 5}})
	want := Plan{Level: 16, Base: 16, Rules: []Rule{{"b", 4}, {"c", 64}}, Error: 7, Bits: (30*3 + 10*1 + 10*5) / 50.0}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("of levels that as many layers have, the one for all (-want +got):\n%s", diff)
	}
	p.settle(layers, []Level{{4, 2, 1}, {16, 1, 3}, {4, 2, 1}})
	want = Plan{Level: 16, Base: 4, Rules: []Rule{{"b", 16}}, Error: 5, Bits: (30*1 + 10*3 + 10*1) / 50.0}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("the level that most layers have (-want +got):\n%s", diff)
	}
}

// sensitive and dull are layers that lose much and little by zeros.
func sensitive(name string, weights int) Layer {
	return Layer{Name: name, Weights: weights, Prune: []Level{{0.25, 0, 0.75}, {0.5, 10, 0.5}, {0.75, 40, 0.25}}}
}

func dull(name string, weights int) Layer {
	return Layer{Name: name, Weights: weights, Prune: []Level{{0.25, 0, 0.75}, {0.5, 0.1, 0.5}, {0.75, 0.4, 0.25}}}
}

func TestAsManyRulesAsAStageMayHaveAreKept(t *testing.T) {
	var layers []Layer
	for i := range MostRules {
		layers = append(layers, sensitive(fmt.Sprint("sensitive", i), MostRules+1))
	}
	for i := range MostRules + 1 {
		layers = append(layers, dull(fmt.Sprint("dull", i), MostRules))
	}
	plan, err := Allocate(layers, "prune", 0.5)
	if err != nil || len(plan.Rules) != MostRules || plan.Base != 0.75 || plan.Bits != 0.5 || plan.EvenBits != 0.5 {
		t.Fatalf("%d rules, base %v, %v bits of %v: %v", len(plan.Rules), plan.Base, plan.Bits, plan.EvenBits, err)
	}
	if want := 0.4 * (MostRules + 1); math.Abs(plan.Error-want) > 1e-9 {
		t.Errorf("error %v, want %v", plan.Error, want)
	}
}

func TestTheLargestLayersHaveRules(t *testing.T) {
	levels := func(layers []Layer) (out []float64) {
		for _, v := range restricted(layers, techniques["prune"], 0.5) {
			out = append(out, v.Level)
		}
		return out
	}
	var layers []Layer
	for range 2 {
		layers = append(layers, sensitive("", 1))
	}
	for i := range MostRules / 2 {
		layers = append(layers, sensitive("", 100+i), dull("", 100+i))
	}
	want := append([]float64{0.5, 0.5}, slices.Repeat([]float64{0.25, 0.75}, MostRules/2)...)
	if diff := cmp.Diff(want, levels(layers)); diff != "" {
		t.Errorf("small layers first (-want +got):\n%s", diff)
	}
	for i := range layers { // of equal ones the first
		layers[i].Weights = 100
	}
	if got := levels(layers); got[0] == 0.5 || got[1] == 0.5 || !slices.Equal(got[MostRules:], []float64{0.5, 0.5}) {
		t.Errorf("of layers that are equally large: %v", got)
	}
}

func TestTheLevelForAllStaysWhereNoOtherIsBetter(t *testing.T) {
	plan, err := Allocate([]Layer{{Name: "a", Weights: 1, Cluster: []Level{{4, 1, 1}, {16, 1, 3}}}}, "cluster", 16)
	if err != nil || plan.Base != 16 || plan.Rules != nil || plan.Bits != 3 {
		t.Errorf("%+v, %v", plan, err)
	}
}

func TestRulesNameLayersByTheirPattern(t *testing.T) {
	long := strings.Repeat("net/batch_normalization/FusedBatchNormV3;", 10)
	plan, err := Allocate([]Layer{sensitive(long+"first", 200), sensitive("a?", 200), dull("ab", 100), dull("c", 100), dull("d", 100), dull("e", 100)}, "prune", 0.5)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range plan.Rules {
		names = append(names, r.Layer)
	}
	if tail := (long + "first")[len(long+"first")-LongestPattern+1:]; !slices.Contains(names, "*"+tail) || !slices.Contains(names, "a?") {
		t.Errorf("rules %q", names) // "a?" is the name of one layer and fits another: no pattern is its own
	}
}

func TestChannelsArePaidByMultiplications(t *testing.T) {
	out := func(error float64) []Level {
		return []Level{{0.25, error, 0.75}, {0.5, 4 * error, 0.5}, {0.75, 9 * error, 0.25}}
	}
	layers := []Layer{
		{Name: "early", Weights: 1, Kept: true, Channels: out(1), Multiplications: 1000},
		{Name: "late", Weights: 1000, Channels: out(0.9), Multiplications: 10},
		{Name: "tied to early", Weights: 500},
	}
	plan, err := Allocate(layers, "channels", 0.25)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing taken out of late costs 10 × ¼ multiplications, which early's next level would pay for 100 times over.
	want := Plan{Technique: "channels", Level: 0.25, Base: 0.25, Error: 1.9, Even: 1.9, Bits: 0.75, EvenBits: 0.75}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	layers[0].Multiplications, layers[1].Channels = 10, out(0.001)
	layers[1].Multiplications = 20
	plan, err = Allocate(layers, "channels", 0.25)
	if err != nil || plan.Error >= plan.Even || !slices.Contains(append(plan.Rules, Rule{"", plan.Base}), Rule{"early", 0}) && plan.Base != 0 {
		t.Errorf("early keeps its channels: %+v, %v", plan, err)
	}
	for technique, want := range map[string]string{"channels": "no layer has channels that can be taken out", "prune": "there is no layer to prune that is not left alone or clustered already"} {
		if _, err := Allocate(layers[2:], technique, 0.25); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", technique, err, want)
		}
	}
}

func TestMaskedWeightsStayZeroAtEveryLevel(t *testing.T) {
	k := kernelOf("dense", schema.BuiltinOperatorFULLY_CONNECTED)
	w := tensorOf(t, k, 1)
	mask := make([]uint8, w.Len())
	for i := range mask {
		mask[i] = uint8(i % 2)
	}
	if err := w.SetMask(mask); err != nil {
		t.Fatal(err)
	}
	before := w.Values()
	slopes := make([]float32, w.Len())
	for i := range slopes {
		slopes[i] = 1
	}
	l, err := Of(k, w, w.Channels(), slopes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Apply(w, cluster.Options{Clusters: 4, Entropy: cluster.DefaultEntropy}); err != nil {
		t.Fatal(err)
	}
	if got, want := l.Cluster[len(l.Cluster)-1].Error, cost(slopes, before, w.Values()); got != want {
		t.Errorf("4 clusters cost %v, want %v", got, want)
	}
}
