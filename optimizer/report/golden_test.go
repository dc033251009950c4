package report

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/train"
)

var update = flag.Bool("update", false, "write the golden pages of testdata anew: look at them in a browser")

// ramp are weights that lie the denser the nearer they are to zero, a share of them zero: of every `keep` one is left.
func ramp(n, keep int) []float32 {
	out := make([]float32, n)
	for i := range out {
		if i%keep == 0 {
			v := float32(i*37%101-50) / 64
			out[i] = v * v * v
		}
	}
	return out
}

// continuous and discrete are layers of float weights and of codes.
func continuous(name, op string, shape []int, keep int) Layer {
	values := ramp(shape[0]*shape[1], keep)
	d := LayerDensity(values, shape, 0)
	return Layer{Name: name, Op: op, Shape: shape, Weights: len(values), Zeros: d.Zeros, Bytes: 4 * len(values), Compressed: 3 * len(values), Density: d}
}

func discrete(name, op string, shape []int, keep, step int, snr float64) Layer {
	codes := make([]int64, shape[0]*shape[1])
	for i, v := range ramp(len(codes), keep) {
		codes[i] = int64(v*256) / int64(step) * int64(step)
	}
	d := CodeDensity(codes, codeSpan)
	return Layer{Name: name, Op: op, Shape: shape, Weights: len(codes), Zeros: d.Zeros, Codes: d.codes(), Bytes: len(codes), Compressed: len(codes) / step, SNR: &snr, OutputSNR: &snr, Density: d}
}

// walk is a walk with a stage of every kind and a leaf of every fate, and a search whose trials are some of its stages.
func walk() *Data {
	conv, dense := []int{16, 27}, []int{10, 144}
	float := func(keep int) []Layer {
		return []Layer{continuous("net/conv/Conv2D", "CONV_2D", conv, keep), continuous("net/dense/MatMul", "FULLY_CONNECTED", dense, keep)}
	}
	codes := func(keep, step int, snr float64) []Layer {
		return []Layer{discrete("net/conv/Conv2D", "CONV_2D", conv, keep, step, snr), discrete("net/dense/MatMul", "FULLY_CONNECTED", dense, keep, step, snr-3)}
	}
	file := func(name string, size int) *File {
		return &File{Path: name + ".tflite", Digest: "sha256:" + strings.Repeat("0a1b", 16), Bytes: size}
	}
	leaf := func(technique string, accuracy float64, compressed int, layers []Layer) *Leaf {
		drop := measure.Value{Name: measure.AccuracyDrop, Value: measure.Format(0.95 - accuracy)}
		return &Leaf{Technique: technique, Metrics: metrics(accuracy, compressed, drop, measure.Value{Name: measure.FileBytes, Value: strconv.Itoa(compressed + 9000)}, measure.Value{Name: "energy", Value: strconv.Itoa(compressed / 100)}),
			Layers: layers, File: file("leaves/"+technique, compressed+9000)}
	}
	d := &Data{
		Pipeline: "keywords", Split: "validation", Tool: "espalier", Verdict: Verdict{Outcome: Met, Stage: "pcqat", Reason: "It is the first leaf that does."},
		Model: Input{URI: "keywords.tflite", Digest: "sha256:3f", Facts: []string{"2 operators"}}, Dataset: Input{URI: "words/", Facts: []string{"12 classes"}},
		Constraints: []Constraint{{Metric: measure.AccuracyDrop, Max: "0.02"}, {Metric: measure.CompressedBytes, Max: "12000"}},
		Units:       map[measure.Name]string{"energy": "µJ"},
		Notes:       []string{"no test samples"},
		Decisions:   []Decision{{"baseline", "leaf rejected", "too large"}, {"pcqat", "selected", ""}},
		Stages: []Stage{
			{Name: "baseline", Kind: Baseline, State: StateCompleted, Seconds: 2, Metrics: metrics(0.95, 80000), Layers: float(1), Leaf: leaf("PTQ", 0.9452, 21000, codes(1, 1, 40))},
			{Name: "prune", Kind: "prune", Input: "model", State: StateCompleted, Settings: "sparsity 0.5 · global budget · polynomial", Seconds: 125, Metrics: metrics(0.947, 41000), Layers: float(2),
				Model: file("models/prune", 80000), Leaf: leaf("PTQ", 0.941, 15000, codes(2, 1, 12)), Epochs: []Epoch{{0.9, -1}, {0.4, -1}, {0.3, -1}, {0.5, -1}},
				Rates: &train.RangeTest{Rate: 5e-4, Start: 0.5, Trials: []train.Trial{{Rate: 1e-4, Loss: 0.4}, {Rate: 1e-3, Loss: 0.2}, {Rate: 1e-2, Loss: 1.4}, {Rate: 1e-1, Loss: 40}, {Rate: 1, Loss: -1}}}},
			{Name: "pqat", Kind: "quantize", Final: true, Input: "prune", State: StateCompleted, Seconds: 6100, Leaf: leaf("PQAT", 0.944, 14500, codes(2, 1, 12))},
			{Name: "cluster", Kind: "cluster", Input: "prune", State: StateCompleted, Reused: true, Layers: codes(2, 16, 9), Leaf: leaf("PTQ", 0.926, 9100, codes(2, 16, 9))},
			{Name: "pcqat", Kind: "quantize", Final: true, Input: "cluster", State: StateCompleted, Leaf: leaf("PCQAT", 0.938, 9000, codes(2, 16, 9))},
			{Name: "coarse", Kind: "cluster", Input: "model", State: StateCompleted, Leaf: leaf("PTQ", 0.89, 6100, codes(1, 32, 5))},
			{Name: "fine", Kind: "cluster", Input: "model", State: StateCompleted, Leaf: leaf("PTQ", 0.9385, 11000, nil)},
			{Name: "later", Kind: "cluster", Input: "model", State: StateSkipped},
			{Name: "broken", Kind: "quantize", Final: true, Input: "coarse", State: StateFailed, Message: "loss is NaN: lower the learning rate, or clip the gradients"},
			{Name: "running", Kind: "quantize", Final: true, Input: "coarse", State: "Running"},
		},
		Search: &Search{Metric: measure.CompressedBytes, Tried: "5 by the price of a bit", Ended: "no price is left to try",
			Trials: []Trial{{"fine", "is the first"}, {"coarse", "goes on"}, {"pcqat", "lies between"}, {"broken", "lies between"}, {"later", "has no price"}},
			Prices: []Priced{{Layer: "net/conv/Conv2D", Share: 0.5, Price: "12.3"}, {Layer: "net/dense/MatMul", Price: "3"}}},
	}
	d.judge()
	best := d.stage("pcqat").Leaf
	best.Selected = true
	best.Test = metrics(0.93, 9000)
	best.Intervals, best.Samples = []Interval{{measure.Accuracy, "0.92", "0.951", "0.95"}}, 1000
	return d
}

// heatMap is a layer with all levels, one with some, and one with none.
func heatMap() *Sensitivity {
	full := sensitivity.Layer{Name: "net/conv/Conv2D", Op: "CONV_2D", Weights: 432, Int8: 2e-5}
	for i, s := range sensitivity.Sparsities {
		full.Prune = append(full.Prune, sensitivity.Level{Level: s, Error: 1e-4 * math.Pow(2, float64(i)), Bits: 1 - s})
	}
	for i, n := range sensitivity.Clusters {
		full.Cluster = append(full.Cluster, sensitivity.Level{Level: float64(n), Error: 1e-5 * math.Pow(3, float64(i))})
	}
	for i, s := range sensitivity.Channels {
		full.Channels = append(full.Channels, sensitivity.Level{Level: s, Error: 0.01 * float64(i+1)})
	}
	part := full
	part.Name, part.Op, part.Kept, part.Channels, part.Cluster = "net/depthwise/depthwise", "DEPTHWISE_CONV_2D", true, nil, full.Cluster[:3]
	return &Sensitivity{Model: "keywords.tflite", Samples: 256, Tool: "espalier", Layers: []sensitivity.Layer{full, part, {Name: "net/dense/MatMul", Op: "FULLY_CONNECTED", Weights: 1440, Int8: 0.3}},
		Plans: []sensitivity.Plan{{Technique: "cluster", Level: 16, Base: 12, Error: 0.1, Even: 0.25, Bits: 2.5, EvenBits: 3, Rules: []sensitivity.Rule{{Layer: "net/dense/MatMul", Level: 32}}}}}
}

// What lies where, and what stands there, is as it was. The pages lie in testdata, with the style sheet beside them instead of in them.
func TestPagesAreAsTheyWere(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"walk":        func(b *bytes.Buffer) error { return Write(b, walk()) },
		"sensitivity": func(b *bytes.Buffer) error { return WriteSensitivity(b, heatMap()) },
	} {
		t.Run(name, func(t *testing.T) {
			var page bytes.Buffer
			if err := write(&page); err != nil {
				t.Fatal(err)
			}
			wellFormed(t, page.String())
			got := regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllLiteralString(page.String(), `<link rel="stylesheet" href="../page.css">`)
			got = strings.ReplaceAll(got, "><", ">\n<")
			path := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			wanted, lines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			if len(wanted) != len(lines) {
				t.Fatalf("(-golden +page; -update writes it anew)\n%s", cmp.Diff(wanted, lines))
			}
			for i := range lines {
				if !alike(wanted[i], lines[i]) {
					t.Errorf("line %d is %s\nwant %s (-update writes the page anew)", i+1, lines[i], wanted[i])
				}
			}
		})
	}
}

var number = regexp.MustCompile(`-?\d+(\.\d+)?`)

// alike says that two lines are the same but for how processors round the last place of a coordinate.
func alike(a, b string) bool {
	if a == b {
		return true
	}
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	if len(x) != len(y) || number.ReplaceAllString(a, "#") != number.ReplaceAllString(b, "#") {
		return false
	}
	for i := range x {
		v, _ := strconv.ParseFloat(x[i], 64)
		w, _ := strconv.ParseFloat(y[i], 64)
		if math.Abs(v-w) > 0.011 {
			return false
		}
	}
	return true
}
