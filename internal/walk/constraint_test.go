package walk

import (
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

func TestJudgeComparesDecimalsExactly(t *testing.T) {
	tests := map[string]struct {
		constraint v1alpha1.Constraint
		value      string
		want       string
	}{
		"equal is enough":            {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.961")}, "0.961000", ""},
		"a millionth is missing":     {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.961")}, "0.960999", "Accuracy is 0.960999, 0.000001 below min 0.961"},
		"less than that is missing":  {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.9610000001")}, "0.961", "Accuracy is 0.961, less than 0.000001 below min 0.9610000001"},
		"above the maximum":          {v1alpha1.Constraint{Metric: "Accuracy", Max: dec("90000")}, "91000", "Accuracy is 91000, 1000 above max 90000"},
		"both bounds, within":        {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("1"), Max: dec("2")}, "1.5", ""},
		"both bounds, below":         {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("1"), Max: dec("2")}, "0.5", "Accuracy is 0.5, 0.5 below min 1"},
		"both bounds, above":         {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("1"), Max: dec("2")}, "3", "Accuracy is 3, 1 above max 2"},
		"exponents":                  {v1alpha1.Constraint{Metric: "Accuracy", Max: dec("1e-3")}, "0.001", ""},
		"binary floats would differ": {v1alpha1.Constraint{Metric: "Accuracy", Max: dec("0.3")}, "0.30", ""},
		"a negative drop":            {v1alpha1.Constraint{Metric: "Accuracy", Max: dec("-0.01")}, "-0.005", "Accuracy is -0.005, 0.005 above max -0.01"},
		"a metric that is not known": {v1alpha1.Constraint{Metric: "AUC", Min: dec("1")}, "1", "AUC could not be measured on this dataset"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			missed := Judge([]v1alpha1.Constraint{tt.constraint}, &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: tt.value}}})
			got := ""
			if len(missed) > 0 {
				got = missed[0].String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestShortfallsAreSharesOfTheBoundTheyMiss(t *testing.T) {
	tests := map[string]struct {
		constraint v1alpha1.Constraint
		value      string
		want       *big.Rat
	}{
		"of max":                        {v1alpha1.Constraint{Metric: "Clusters", Max: dec("100")}, "110", big.NewRat(1, 10)},
		"of min, though there is a max": {v1alpha1.Constraint{Metric: "Clusters", Min: dec("10"), Max: dec("100")}, "9", big.NewRat(1, 10)},
		"of a hundredth, where it is 0": {v1alpha1.Constraint{Metric: "Clusters", Max: dec("0")}, "0.001", big.NewRat(1, 10)},
		"not measured: far away":        {v1alpha1.Constraint{Metric: "AUC", Min: dec("0.5")}, "1", big.NewRat(1_000_000, 1)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			missed := Judge([]v1alpha1.Constraint{tt.constraint}, &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{{Name: "Clusters", Value: tt.value}}})
			if len(missed) != 1 || missed[0].relative().Cmp(tt.want) != 0 {
				t.Errorf("got %v, want %v", missed, tt.want)
			}
		})
	}
}

func TestBetterFollowsTheMetricsDirection(t *testing.T) {
	tests := map[string]struct {
		objective v1alpha1.Metric
		a, b      string
		want      bool
	}{
		"fewer bytes":                     {v1alpha1.CompressedBytes, "9", "10", true},
		"more bytes":                      {v1alpha1.CompressedBytes, "10", "9", false},
		"as many bytes":                   {v1alpha1.CompressedBytes, "10", "10.0", false},
		"more accuracy":                   {v1alpha1.Accuracy, "0.91", "0.9", true},
		"measured is better than not":     {v1alpha1.Accuracy, "0", "", true},
		"not measured is never better":    {v1alpha1.Accuracy, "", "0", false},
		"neither is measured: not better": {v1alpha1.Accuracy, "", "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := better(tt.objective, tt.a, tt.b); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAConfidenceBindsTheEndOfTheInterval(t *testing.T) {
	leaf := func(samples, changed int32) *v1alpha1.Leaf {
		return &v1alpha1.Leaf{Samples: samples, Changed: changed, Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "AccuracyDrop", Value: "0.004"}, {Name: "Agreement", Value: "1"}}}
	}
	tests := map[string]struct {
		constraint v1alpha1.Constraint
		leaf       *v1alpha1.Leaf
		want, ask  string
	}{
		"few samples": {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.89"), Confidence: dec("0.95")}, leaf(1000, 0),
			"Accuracy is 0.9, but 1000 samples leave it down to 0.8803 with confidence 0.95, 0.0097 below min 0.89; about 3700 would tell", "more validation samples narrow the interval; else try more epochs, less sparsity or distillation"},
		"many samples":    {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.89"), Confidence: dec("0.95")}, leaf(4000, 0), "", ""},
		"less confidence": {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.89"), Confidence: dec("0.5")}, leaf(1000, 0), "", ""},
		"the value misses too": {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.91"), Confidence: dec("0.5")}, leaf(1000, 0),
			"Accuracy is 0.9, but 1000 samples leave it down to 0.8933 with confidence 0.5, 0.0167 below min 0.91", "try more epochs, less sparsity or distillation"},
		"an upper bound": {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.1"), Max: dec("0.91"), Confidence: dec("0.95")}, leaf(1000, 0),
			"Accuracy is 0.9, but 1000 samples leave it up to 0.9174 with confidence 0.95, 0.0074 above max 0.91; about 3300 would tell", "more validation samples narrow the interval; else try more epochs, less sparsity or distillation"},
		"a drop that few samples changed": {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: dec("0.01"), Confidence: dec("0.95")}, leaf(1000, 4), "", ""},
		"a drop that many samples changed": {v1alpha1.Constraint{Metric: "AccuracyDrop", Max: dec("0.01"), Confidence: dec("0.95")}, leaf(1000, 40),
			"AccuracyDrop is 0.004, but 1000 samples leave it up to 0.0165 with confidence 0.95, 0.0065 above max 0.01; about 4300 would tell", "more validation samples narrow the interval; else try more epochs, less sparsity or distillation"},
		"not recorded": {v1alpha1.Constraint{Metric: "Agreement", Min: dec("0.9"), Confidence: dec("0.95")}, leaf(0, 0),
			"Agreement is 1, but of how many samples was not recorded, so that its confidence cannot be told", "set the annotation espalier.dev/rerun to a new value to have it measured again"},
		"no confidence": {v1alpha1.Constraint{Metric: "Accuracy", Min: dec("0.9")}, leaf(10, 0), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ask := "", ""
			if missed := Judge([]v1alpha1.Constraint{tt.constraint}, tt.leaf); len(missed) > 0 {
				got, ask = missed[0].String(), missed[0].advise(settings{nearer: []string{"more epochs", "less sparsity", "distillation"}})
			}
			if got != tt.want || ask != tt.ask {
				t.Errorf("got %q (%s)\nwant %q (%s)", got, ask, tt.want, tt.ask)
			}
		})
	}
}

func TestASearchIsNotToldOfStages(t *testing.T) {
	for metric := range advised() {
		for _, encoded := range []bool{false, true} {
			of := settings{searched: true, encoded: encoded, training: "more training.epochs", nearer: []string{"more clusters"}}
			if got := (Shortfall{Constraint: v1alpha1.Constraint{Metric: metric}, Value: "1", By: "1"}).advise(of); got == "" || strings.Contains(got, "stage") || strings.Contains(got, "clusters") {
				t.Errorf("%s, encoded %v: %q", metric, encoded, got)
			}
		}
	}
}

// Nobody is told to have a search try more that was not ended by how much it may try.
func TestAHigherBoundIsAdvisedWhereItEndedTheSearch(t *testing.T) {
	search := func(trials int32) *v1alpha1.OptimizationPipelineSpec {
		return &v1alpha1.OptimizationPipelineSpec{Search: &v1alpha1.Search{MaxTrials: &trials}, Constraints: []v1alpha1.Constraint{{Metric: "CompressedBytes", Max: dec("100")}}}
	}
	for name, tt := range map[string]struct {
		trials int32
		ended  string // the reason
		want   string
	}{
		"it tried all that there is":  {24, "", ""},
		"trials ran out":              {3, EndedByTrials, "search.maxTrials"},
		"no more trials are possible": {v1alpha1.MostTrials, EndedByTrials, ""},
		"minutes ran out":             {24, EndedByMinutes, "search.maxMinutes"},
	} {
		facts := Facts{Stages: map[string]Fact{
			Baseline: {State: v1alpha1.StageCompleted, Leaf: &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{{Name: "CompressedBytes", Value: "200"}}}},
			Search:   {Reason: tt.ended, Message: "it says why"},
		}}
		got := Decide(search(tt.trials), facts, time.Time{}).Message
		if strings.Contains(got, "a higher") != (tt.want != "") || !strings.Contains(got, tt.want) || !strings.Contains(got, "looser") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// advised are metrics that there is advice on, of files and of answers.
func advised() map[v1alpha1.Metric]string {
	all := maps.Clone(advice)
	maps.Copy(all, unmeasured)
	return all
}

func TestNobodyIsToldToEncodeWhatIsEncoded(t *testing.T) {
	for metric := range advised() {
		for _, searched := range []bool{false, true} {
			missed := Shortfall{Constraint: v1alpha1.Constraint{Metric: metric}, Value: "1", By: "1"}
			if got := missed.advise(settings{searched: searched, encoded: true}); strings.Contains(got, "Auto") {
				t.Errorf("%s, searched %v: %q", metric, searched, got)
			}
			if got := missed.advise(settings{searched: searched}); strings.Contains(got, "None") {
				t.Errorf("%s, searched %v: %q", metric, searched, got)
			}
		}
	}
}

// What is advised for a leaf's answers is of what the leaf came of: nobody is told to prune less who pruned nothing, or to train more than is allowed.
func TestAdviceOnAnswersIsOfTheLeafsOwnStages(t *testing.T) {
	spec := func(training string, stages ...string) *v1alpha1.OptimizationPipelineSpec {
		p, err := v1alpha1.Decode([]byte("{apiVersion: espalier.dev/v1alpha1, kind: OptimizationPipeline, metadata: {name: a}, spec: {model: {uri: m}, dataset: {uri: d}, training: {" + training +
			"}, stages: [" + strings.Join(stages, ", ") + "]}}"))
		if err != nil {
			t.Fatal(err)
		}
		return &p.Spec
	}
	prune, cluster, pcqat := "{name: prune, prune: {sparsity: 0.5}}", "{name: cluster, cluster: {clusters: 8}}", "{name: pcqat, quantize: {}}"
	for name, c := range map[string]struct {
		spec   *v1alpha1.OptimizationPipelineSpec
		leaf   string
		epochs int32 // that the validation loss came to
		want   string
	}{
		"the baseline":            {spec("", prune), Baseline, 0, "try leaf: {reconstruct: true, equalize: true}, leaf: {activations: Int16} or a quantize stage from model, which trains"},
		"beside one that trains":  {spec("", pcqat), Baseline, 0, "try leaf: {reconstruct: true, equalize: true} or leaf: {activations: Int16}"},
		"pruned":                  {spec("", prune, cluster, pcqat), "prune", 0, "try more epochs, less sparsity or distillation"},
		"pruned and clustered":    {spec("distillation: {weight: 1}", prune, cluster, pcqat), "pcqat", 0, "try more epochs, more clusters or less sparsity"},
		"quantized alone":         {spec("", "{name: cluster, cluster: {clusters: 8}}", "{name: qat, from: model, quantize: {}}"), "qat", 0, "try more epochs or distillation"},
		"channels":                {spec("epochs: 0", "{name: narrow, prune: {structure: Channels, channels: 0.3}}"), "narrow", 0, "try training (epochs above 0) or fewer channels cut"},
		"all epochs allowed":      {spec("maxEpochs: 20", prune), "prune", 20, "try a larger training.maxEpochs, less sparsity or distillation"},
		"fewer than were allowed": {spec("maxEpochs: 20", prune), "prune", 7, "try less sparsity or distillation"},
		"all minutes allowed":     {spec("maxMinutes: 20", prune), "prune", 7, "try a larger training.maxMinutes, less sparsity or distillation"},
		"nothing to change":       {spec("maxEpochs: 20, distillation: {}", "{name: qat, quantize: {}}"), "qat", 7, "try a looser constraint"},
	} {
		w := &walk{spec: c.spec, at: map[string]*Stage{c.leaf: {Name: c.leaf, fact: Fact{Epochs: c.epochs}}}}
		missed := Shortfall{Constraint: v1alpha1.Constraint{Metric: v1alpha1.AccuracyDrop}, Value: "1", By: "1"}
		if got := missed.advise(w.settingsOf(c.leaf)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A leaf of which channels are cut is not told to cut channels, but more of them, and not to raise a sparsity that no stage of it has.
func TestAdviceOnSizesKnowsOfChannels(t *testing.T) {
	p, err := v1alpha1.Decode([]byte("{apiVersion: espalier.dev/v1alpha1, kind: OptimizationPipeline, metadata: {name: a}, spec: {model: {uri: m}, dataset: {uri: d}, stages: [" +
		"{name: half, from: model, prune: {structure: Channels, multiplications: 0.5}}, {name: thin, from: model, prune: {structure: Channels, multiplications: 0.5, branches: true}}, {name: narrow, from: model, prune: {structure: Channels, channels: 0.3}}, {name: zeros, prune: {sparsity: 0.5}}, {name: other, from: model, prune: {sparsity: 0.5}}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	const more, cut = "more channels cut (prune.channels, or rules for single layers)", "prune.structure Channels makes it so"
	for name, c := range map[string]struct {
		leaf   string
		metric v1alpha1.Metric
		want   string
		not    string
	}{
		"multiplications":             {"narrow", v1alpha1.Multiplications, more, cut},
		"the file":                    {"narrow", v1alpha1.FileBytes, more, cut},
		"the arena, further on":       {"zeros", v1alpha1.ArenaBytes, more, cut},
		"of what is left of all":      {"half", v1alpha1.Multiplications, "more channels cut (a smaller prune.multiplications) make it so", "prune.channels"},
		"time, of what is left":       {"half", v1alpha1.LatencyMicros, "(a smaller prune.multiplications) make it so; prune.branches saves more of it", "prune.channels"},
		"time, without branches":      {"thin", v1alpha1.LatencyMicros, "(a smaller prune.multiplications) make it so", "prune.branches"},
		"time, of shares of channels": {"narrow", v1alpha1.LatencyMicros, more, "prune.branches"},
		"compressed, of what is left": {"half", v1alpha1.CompressedBytes, "try more channels cut (a smaller prune.multiplications), more", "prune.channels"},
		"compressed":                  {"zeros", v1alpha1.CompressedBytes, more, cut},
		"zeros where there are none":  {"narrow", v1alpha1.Sparsity, "add a prune stage with a sparsity", "raise"},
		"zeros where there are":       {"zeros", v1alpha1.Sparsity, "raise the sparsity", "add"},
		"the arena, no channels cut":  {"other", v1alpha1.ArenaBytes, cut, more},
		"compressed, no channels cut": {"other", v1alpha1.CompressedBytes, "try more sparsity", more},
	} {
		w := &walk{spec: &p.Spec, at: map[string]*Stage{c.leaf: {Name: c.leaf}}}
		got := Shortfall{Constraint: v1alpha1.Constraint{Metric: c.metric}, Value: "1", By: "1"}.advise(w.settingsOf(c.leaf))
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s: %q, want %q and not %q", name, got, c.want, c.not)
		}
	}
}

func TestAdviceOnTheBaselineNamesTheStageThatCutsChannels(t *testing.T) {
	p, err := v1alpha1.Decode([]byte("{apiVersion: espalier.dev/v1alpha1, kind: OptimizationPipeline, metadata: {name: p}, spec: {model: {uri: m.tflite}, dataset: {uri: d.npz}, stages: [" +
		"{name: zeros, prune: {sparsity: 0.5}}, {name: half, from: model, prune: {structure: Channels, multiplications: 0.5}}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	answers, mults := Shortfall{Constraint: v1alpha1.Constraint{Metric: v1alpha1.AccuracyDrop}}, Shortfall{Constraint: v1alpha1.Constraint{Metric: v1alpha1.Multiplications}, Value: "2", By: "1"}
	for _, c := range []struct {
		verdicts map[string][]Shortfall
		leaf     string
		want     string
	}{
		{nil, "baseline", "prune.structure Channels makes it so"},
		{map[string][]Shortfall{"zeros": {mults}}, "baseline", "prune.structure Channels makes it so"},
		{map[string][]Shortfall{"half": {answers}}, "baseline", "half cuts enough of them, but misses what else is asked for: cut fewer there (a larger prune.multiplications)"},
		{map[string][]Shortfall{"half": {answers}}, "zeros", "half cuts enough of them, but misses what else is asked for: cut fewer there (a larger prune.multiplications)"},
		{map[string][]Shortfall{"half": {answers, mults}}, "baseline", "more channels cut than by half (a smaller prune.multiplications) make it so"},
		{map[string][]Shortfall{"half": {mults}}, "half", "more channels cut (a smaller prune.multiplications) make it so"},
	} {
		w := &walk{spec: &p.Spec, at: map[string]*Stage{c.leaf: {Name: c.leaf}}}
		w.d.Verdicts = c.verdicts
		if got, want := mults.advise(w.settingsOf(c.leaf)), "only fewer channels take fewer multiplications: "+c.want; got != want {
			t.Errorf("%s with %v: %q, want %q", c.leaf, c.verdicts, got, want)
		}
	}
}

func TestIntervalsHaveTheConfidenceThatIsAskedFor(t *testing.T) {
	leaf := &v1alpha1.Leaf{Samples: 1000, Changed: 40, Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "AccuracyDrop", Value: "0"}, {Name: "FileBytes", Value: "7"}}}
	constraints := []v1alpha1.Constraint{{Metric: "AccuracyDrop", Max: dec("0.01")}, {Metric: "AccuracyDrop", Max: dec("0.02"), Confidence: dec("0.5")}}
	want := []v1alpha1.MetricInterval{
		{Name: "Accuracy", Low: "0.8803", High: "0.9174", Confidence: "0.95"},
		{Name: "AccuracyDrop", Low: "-0.0043", High: "0.0043", Confidence: "0.5"},
	}
	if diff := cmp.Diff(want, Intervals(constraints, leaf)); diff != "" {
		t.Error(diff)
	}
	if got := Intervals(nil, &v1alpha1.Leaf{Metrics: leaf.Metrics}); got != nil {
		t.Errorf("without samples: %v", got)
	}
}
