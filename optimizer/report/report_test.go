package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/train"
)

// metrics makes the metrics of a made-up model.
func metrics(accuracy float64, compressed int, more ...measure.Value) []measure.Value {
	return append([]measure.Value{{Name: measure.Accuracy, Value: measure.Format(accuracy)}, {Name: measure.CompressedBytes, Value: fmt.Sprint(compressed)}}, more...)
}

// layers makes layers of made-up weights: continuous, or on n codes; a share of them zero.
func layers(count, n int, zeros float64) []Layer {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var out []Layer
	for i := range count {
		size := 400 << (i % 6)
		values, codes := make([]float32, size), make([]int64, size)
		for j := range values {
			v := r.NormFloat64()
			if r.Float64() < zeros {
				v = 0
			}
			values[j] = float32(v)
			if n > 0 {
				codes[j] = int64(math.Round(v/4*float64(n)/2) * 254 / float64(n))
			}
		}
		l := Layer{Name: fmt.Sprintf("network/block_%d/separable/conv2d/Conv2D", i), Op: "CONV_2D", Shape: []int{10, size / 10}, Weights: size, Bytes: size, Compressed: size / 2,
			Density: LayerDensity(values, []int{10, size / 10}, 0)}
		if n > 0 {
			l.Density = CodeDensity(codes, codeSpan)
			l.Codes = l.Density.codes()
		}
		l.Zeros = l.Density.Zeros
		snr := 30 - float64(i)
		l.SNR, l.OutputSNR = &snr, &snr
		out = append(out, l)
	}
	return out
}

// broad is a walk of many stages of which none satisfies.
func broad() *Data {
	d := &Data{
		Pipeline: "a-pipeline-with-quite-a-long-name-as-kubernetes-allows-them", Split: "validation",
		Verdict:     Verdict{Outcome: Missed, Stage: "pcqat-of-a-stage-with-a-very-long-name-1", Reason: "CompressedBytes is 215000, 15000 above max 200000."},
		Constraints: []Constraint{{Metric: measure.Accuracy, Min: "0.85"}, {Metric: measure.CompressedBytes, Max: "200000"}, {Metric: measure.FileBytes, Max: "600000"}},
		Notes:       []string{"no test samples: figures are of the validation samples", "operator 7 CUSTOM \"ethos-u\" was carried through untouched"},
		Stages: []Stage{{Name: "baseline", Kind: Baseline, State: StateCompleted, Metrics: metrics(0.881, 1521031), Layers: layers(30, 0, 0),
			Leaf: &Leaf{Technique: "PTQ", Metrics: metrics(0.877, 437574, measure.Value{Name: measure.FileBytes, Value: "500672"}, measure.Value{Name: measure.MeanSquaredError, Value: "0.001234"}), Layers: layers(30, 254, 0)}}},
	}
	for i := range 5 {
		prune, cluster := fmt.Sprintf("prune-%d", i), fmt.Sprintf("cluster-after-%d", i)
		size := 312314 - 1000*i
		d.Stages = append(d.Stages,
			Stage{Name: prune, Kind: "prune", Input: "model", State: StateCompleted, Settings: "sparsity 0.5 · global budget · polynomial · 4 epochs", Metrics: metrics(0.88-0.01*float64(i), 800000), Layers: layers(30, 0, 0.5),
				Leaf: &Leaf{Technique: "PTQ", Metrics: metrics(0.877-0.01*float64(i), size), Layers: layers(30, 254, 0.5)}, Seconds: 125},
			Stage{Name: cluster, Kind: "cluster", Input: prune, State: StateCompleted, Reused: true, Layers: layers(30, 16, 0.5), Leaf: &Leaf{Technique: "PTQ", Metrics: metrics(0.87, size-60000), Layers: layers(30, 16, 0.5)}},
			Stage{Name: fmt.Sprintf("pcqat-of-a-stage-with-a-very-long-name-%d", i), Kind: "quantize", Final: true, Input: cluster, State: StateCompleted, Seconds: 8000,
				Leaf: &Leaf{Technique: "PCQAT", Metrics: metrics(0.861+0.004*float64(i), size-90000-5000*i), Layers: layers(30, 16, 0.5)}})
	}
	d.Stages = append(d.Stages, Stage{Name: "broken", Kind: "quantize", Final: true, State: StateFailed, Message: "loss is NaN at layer network/block_3: lower the learning rate"})
	d.judge()
	for i := range d.Stages {
		if leaf := d.Stages[i].Leaf; leaf != nil {
			for k := range leaf.Missed {
				leaf.Missed[k].Text = "too large <by far> & \"more\""
			}
		}
	}
	return d
}

func render(t *testing.T, d *Data) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, d); err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("ESPALIER_REPORT"); dir != "" {
		name := strings.NewReplacer("/", "-", " ", "-", ",", "").Replace(t.Name())
		if err := os.WriteFile(filepath.Join(dir, name+".html"), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// wellFormed checks that every opened element is closed. The page has no others than void ones that XML would not take.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	page = regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`<meta [^>]*>|<!DOCTYPE html>| open>| download>| download=""`).ReplaceAllStringFunc(page, func(m string) string {
		if strings.HasSuffix(m, ">") && !strings.HasPrefix(m, "<") {
			return ">"
		}
		return ""
	})
	decoder := xml.NewDecoder(strings.NewReader(page))
	decoder.Entity = xml.HTMLEntity
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrite(t *testing.T) {
	tests := map[string]struct {
		data *Data
		want []string
		not  []string
	}{
		"nothing has run": {&Data{Pipeline: "new"}, []string{"The walk is not over", "Nothing has run yet"}, []string{"<table"}},
		"nothing satisfies": {broad(), []string{"No leaf meets every constraint", "The nearest is pcqat-of-a-stage", "✗ Compressed 437.6 &gt; 200.0 kB",
			"6 smaller layers", "block_3/separable/conv2d", "too large &lt;by far&gt;", "2 min 05 s", "2 h 13 min", "Completed, reused", "output SNR"}, []string{"<by far>"}},
		"hostile names are text": {&Data{Pipeline: "<script>alert(1)</script>", Stages: []Stage{{Name: "baseline", State: StateCompleted, Metrics: metrics(1, 10),
			Leaf: &Leaf{Technique: "</text><script>", Metrics: metrics(1, 5), File: &File{Path: "javascript:alert(1)"}}}, {Name: `"><b>`, State: StateCompleted, Kind: "quantize", Final: true,
			Leaf: &Leaf{Metrics: metrics(0.5, 3), File: &File{Path: "../../etc/passwd"}}}}}, []string{"&lt;script&gt;"}, []string{"<script", "javascript:", "etc/passwd", "<b>\">"}},
		"a stage failed": {&Data{Pipeline: "p", Verdict: Verdict{Outcome: Failed, Stage: "prune", Reason: "loss is NaN."}, Stages: []Stage{
			{Name: "baseline", State: StateCompleted, Metrics: metrics(1, 10)}, {Name: "prune", Kind: "prune", State: StateFailed, Message: "loss is NaN"}}},
			[]string{"Stage prune failed", "✗ loss is NaN"}, nil},
		"no constraints": {&Data{Pipeline: "p", Verdict: Verdict{Outcome: Met, Stage: "qat"}, Stages: []Stage{{Name: "baseline", State: StateCompleted},
			{Name: "qat", Kind: "quantize", Final: true, State: StateCompleted, Leaf: &Leaf{Technique: "QAT", Selected: true, Metrics: metrics(0.5, 9), File: &File{Path: "leaves/a b.tflite", Bytes: 1234}}}}},
			[]string{"qat is the last leaf", `href="leaves/a%20b.tflite"`, "1,234 B"}, []string{"Drop"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			page := render(t, tt.data)
			for _, text := range tt.want {
				if !strings.Contains(page, text) {
					t.Errorf("the page does not say %q", text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(page, text) {
					t.Errorf("the page says %q", text)
				}
			}
			if found := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(|@import|<script|<link`).FindString(page); found != "" {
				t.Errorf("the page loads something: %s", found)
			}
			if strings.Contains(page, "ZgotmplZ") || regexp.MustCompile(`="[^"]*(NaN|Inf)`).MatchString(page) {
				t.Error("the page has numbers that are none, or text the template refused")
			}
			wellFormed(t, page)
		})
	}
}

func TestDataSurvivesJSON(t *testing.T) {
	want := broad()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Data
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTreeHasNoOverlaps(t *testing.T) {
	for name, d := range map[string]*Data{"broad": broad()} {
		root := d.tree()
		root.arrange(0, 0)
		var all []*node
		root.walk(func(n *node) { all = append(all, n) })
		for i, a := range all {
			for _, b := range all[i+1:] {
				if a.depth == b.depth && a.y < b.y+b.h && b.y < a.y+a.h {
					t.Errorf("%s: %s and %s overlap", name, a.title, b.title)
				}
			}
		}
	}
}

func TestHuman(t *testing.T) {
	tests := []struct {
		name        measure.Name
		value, want string
	}{
		{measure.Accuracy, "0.961", "96.10 %"}, {measure.AccuracyDrop, "0.0123", "1.23 pp"}, {measure.AccuracyDrop, "-0.0017", "−0.17 pp"},
		{measure.CompressedBytes, "84211", "84,211 B"}, {measure.FileBytes, "512", "512 B"}, {measure.Sparsity, "0.5", "50.0 %"}, {measure.Clusters, "16", "16"},
		{measure.LatencyMicros, "310.25", "310 µs"}, {measure.LatencyMicros, "1234567", "1,234,567 µs"}, {measure.AUC, "0.87", "0.8700"}, {measure.MeanSquaredError, "0.001234", "0.00123"}, {measure.Accuracy, "?", "?"},
		{measure.MeanSquaredError, "1e15", "1e+15"}, {measure.MeanSquaredError, "-2.5e30", "−2.5e+30"}, {measure.MeanSquaredError, "999999999999999", "999,999,999,999,999"},
	}
	for _, tt := range tests {
		if got := human(tt.name, tt.value); got != tt.want {
			t.Errorf("%s %s is %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}

func TestBriefShortfall(t *testing.T) {
	tests := []struct {
		of   Shortfall
		want string
	}{
		{Shortfall{Constraint: Constraint{Metric: measure.CompressedBytes, Max: "90000"}, Value: "91000"}, "Compressed 91,000 > 90,000 B"},
		{Shortfall{Constraint: Constraint{Metric: measure.Accuracy, Min: "0.9"}, Value: "0.89"}, "Accuracy 89.00 < 90.00 %"},
		{Shortfall{Constraint: Constraint{Metric: measure.AccuracyDrop, Max: "0.01", Confidence: "0.95"}, Value: "0.004", End: "0.016"}, "Drop may be 1.60 > 1.00 pp"},
		{Shortfall{Constraint: Constraint{Metric: measure.AUC, Min: "0.9", Max: "1"}}, "AUC not measured"},
		{Shortfall{Constraint: Constraint{Metric: measure.Multiplications, Max: "1800000"}, Value: "3440512"}, "Mults 3,440,512 > 1,800,000"},
		{Shortfall{Constraint: Constraint{Metric: measure.Multiplications, Max: "8e6"}, Value: "123440512"}, "Mults 123.44 > 8.00 M"},
		{Shortfall{Constraint: Constraint{Metric: measure.Multiplications, Max: "12000000"}, Value: "12000001"}, "Mults 12,000,001 > 12,000,000"},
	}
	for _, tt := range tests {
		if got := tt.of.brief(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestIntervalsStandBeneathTheirFigures(t *testing.T) {
	values := func(accuracy string) []measure.Value {
		return []measure.Value{{Name: measure.Accuracy, Value: accuracy}, {Name: measure.CompressedBytes, Value: "5"}}
	}
	leaf := &Leaf{Technique: "PTQ", Metrics: values("0.9"), Test: values("0.91"), Samples: 1000,
		Intervals: []Interval{{measure.Accuracy, "0.8803", "0.9174", "0.95"}}, TestIntervals: []Interval{{measure.Accuracy, "0.891", "0.9264", "0.95"}}}
	d := &Data{Pipeline: "p", Constraints: []Constraint{{Metric: measure.Accuracy, Min: "0.88", Confidence: "0.95"}}, Stages: []Stage{{Name: "baseline", State: StateCompleted, Metrics: values("0.9"), Leaf: leaf}}}
	page := render(t, d)
	wellFormed(t, page)
	for _, want := range []string{"90.00 %<small>88.03 – 91.74 %</small><small>test 91.00 %, 89.10 – 92.64 %</small>", "with confidence 0.95, as 1000 samples tell", "Accuracy ≥ 88.00 %, confidence 0.95"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	leaf.Intervals, leaf.TestIntervals, leaf.Samples = nil, nil, 0
	if page := render(t, d); strings.Contains(page, "samples tell") || strings.Contains(page, "88.03") {
		t.Error("a leaf without intervals shows some")
	}
}

func TestADeviceHasColumns(t *testing.T) {
	values := []measure.Value{{Name: measure.Accuracy, Value: "0.9"}, {Name: measure.FlashBytes, Value: "46176"}, {Name: measure.ArenaBytes, Value: "24164"}, {Name: "npu_cycles", Value: "123456"}}
	d := &Data{Pipeline: "p", Device: &Device{"ethos-u55", "Arm Ethos-U55"}, Units: map[measure.Name]string{"npu_cycles": "cycles"}, Verdict: Verdict{Outcome: Met, Stage: "baseline"},
		Stages: []Stage{{Name: "baseline", State: StateCompleted, Metrics: values[:1], Leaf: &Leaf{Technique: "PTQ", Metrics: values, Runs: "12 of 14 on Ethos-U55"}}}}
	page := render(t, d)
	wellFormed(t, page)
	for _, want := range []string{"npu_cycles, cycles</th>", "Runs on ethos-u55</th>", "12 of 14 on Ethos-U55", "are those of Arm Ethos-U55", "as ethos-u55 takes it", "123,456", "<dt>target</dt>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	d.Device, d.Units = nil, nil
	if page := render(t, d); strings.Contains(page, "Runs on") || strings.Contains(page, "takes it") {
		t.Error("without a device there are columns of one")
	}
}

func TestDensity(t *testing.T) {
	d := LayerDensity([]float32{1, 0.5, 0, -1, 10, 5, 0, 0}, []int{2, 4}, 0)
	if d.Zeros != 3 || d.Counts[254] != 2 || d.Counts[0] != 1 || d.Counts[127+64] != 2 || d.total() != 8 || d.Discrete {
		t.Errorf("channels are not divided by their own scale: %+v", d)
	}
	c := CodeDensity([]int64{-127, 0, 0, 5}, codeSpan)
	if c.Zeros != 2 || c.codes() != 3 || !c.Discrete {
		t.Errorf("%+v", c)
	}
	if c := CodeDensity([]int64{-8, -7, 0, 1, 7}, int4Span); c.codes() != 5 || c.Zeros != 1 {
		t.Errorf("of int4: %+v", c)
	}
	var counts [255]float64
	counts[100], counts[130] = 500, 500
	total := 0.0
	for _, v := range smooth(counts[:]) {
		total += v
	}
	if math.Abs(total-1000) > 1 {
		t.Errorf("smoothing makes 1000 weights %v", total)
	}
	if nothing := (Density{}).chart("none"); !strings.Contains(string(nothing), "</svg>") {
		t.Errorf("an empty density: %s", nothing)
	}
}

func TestTrialsOfLearningRatesAreDrawn(t *testing.T) {
	d := &Data{Pipeline: "p", Stages: []Stage{{Name: "baseline", Kind: Baseline}, {Name: "prune", Kind: "prune", Rates: &train.RangeTest{
		Rate: 5e-4, Start: 0.5, Trials: []train.Trial{{Rate: 1e-4, Loss: 0.4}, {Rate: 1e-3, Loss: 0.2}, {Rate: 1e-2, Loss: 40}, {Rate: 1e-1, Loss: -1}},
	}}}}
	e := d.stageLog()[1]
	if e.Found != "rate 0.0005 found" {
		t.Errorf("says %q", e.Found)
	}
	for _, want := range []string{"loss by learning rate: 1e-04 0.4 1e-03 0.2 1e-02 40 1e-01 diverged", "circle"} {
		if !strings.Contains(string(e.Tried), want) {
			t.Errorf("%s lacks %q", e.Tried, want)
		}
	}
	if n := strings.Count(string(e.Tried), "L"); n != 2 {
		t.Errorf("the line has %d segments, want 2: a trial without a loss ends it", n)
	}
}
