package measure

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
)

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{0.9610: "0.961", 84211: "84211", 0.0123456789: "0.012346", -0.0017: "-0.0017", 1e-9: "0", -1e-9: "0", 1: "1", 310.25: "310.25"} {
		if got := Format(v); got != want {
			t.Errorf("Format(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestValuesAreInOrder(t *testing.T) {
	got := Metrics{FileBytes: 5, Accuracy: 0.5, LatencyMicros: 1.5}.Values()
	if diff := cmp.Diff([]Value{{Accuracy, "0.5"}, {FileBytes, "5"}, {LatencyMicros, "1.5"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// said are the answers of one output, sample by sample; targets may be nil.
func said(o answer.Output, y, targets [][]float32) *Answers {
	if o.Name == "" {
		o.Name = "out"
	}
	o.Size, o.Target = len(y[0]), -1
	if targets != nil {
		o.Target = 0
	}
	if o.Width == 0 {
		o.Width = o.Size
	}
	c := newColumn(&o, len(y))
	for i := range y {
		var target []float32
		if targets != nil {
			target = targets[i]
		}
		c.read(i, make([]float32, o.Size), y[i], target)
	}
	return &Answers{Outputs: []answer.Output{o}, samples: len(y), columns: []*column{c}}
}

// rows makes samples of one value each.
func rows(values ...float32) [][]float32 {
	var out [][]float32
	for _, v := range values {
		out = append(out, []float32{v})
	}
	return out
}

// chosen makes scores of four classes whose largest is the class.
func chosen(classes ...int) [][]float32 {
	var out [][]float32
	for _, c := range classes {
		y := make([]float32, 4)
		y[c] = 1
		out = append(out, y)
	}
	return out
}

func TestAnswersMetrics(t *testing.T) {
	classes := answer.Output{Kind: answer.Classes, Classes: 4, Positions: 1, Indexed: true}
	binary := answer.Output{Kind: answer.Binary, Classes: 2, Positions: 1, Threshold: 0.5}
	again := answer.Output{Kind: answer.Reconstruction}
	labels := answer.Output{Kind: answer.MultiLabel, Classes: 2, Positions: 2, Threshold: 0.5}
	pixels := answer.Output{Kind: answer.PositionClasses, Classes: 3, Positions: 4, Activation: answer.Position, Indexed: true}
	values := answer.Output{Kind: answer.Values}
	embedding := answer.Output{Kind: answer.Embedding}
	keypoints := answer.Output{Kind: answer.Heatmaps, Width: 2, Threshold: 0.25}
	right := rows(0, 1, 2, 3)
	errors := [][]float32{{1, 1}, {2, 0}}
	tests := map[string]struct {
		of, original *Answers
		want         Metrics
	}{
		"accuracy is the share of right answers":      {said(classes, chosen(0, 1, 2, 0), right), nil, Metrics{Accuracy: 0.75}},
		"a drop is against the original":              {said(classes, chosen(0, 1, 2, 0), right), said(classes, chosen(0, 1, 2, 3), right), Metrics{Accuracy: 0.75, AccuracyDrop: 0.25, Agreement: 0.75}},
		"agreement counts wrong answers too":          {said(classes, chosen(3, 2, 1, 0), right), said(classes, chosen(3, 2, 1, 1), right), Metrics{Accuracy: 0, AccuracyDrop: 0, Agreement: 0.75}},
		"agreement needs no labels":                   {said(classes, chosen(3, 2, 1, 0), nil), said(classes, chosen(3, 2, 1, 0), nil), Metrics{Agreement: 1}},
		"an original on other samples does not count": {said(classes, chosen(3, 2, 1, 0), nil), said(classes, chosen(3), nil), Metrics{}},
		"yes is above a half":                         {said(binary, rows(0.4, 0.6, 0.6, 0.9), rows(0, 1, 0, 1)), nil, Metrics{Accuracy: 0.75, AUC: 0.875}},
		"scores that part the classes have AUC 1":     {said(binary, rows(0.1, 0.6, 0.2, 0.9), rows(0, 1, 0, 1)), nil, Metrics{Accuracy: 1, AUC: 1}},
		"ties count half":                             {said(binary, rows(1, 1, 1, 1), rows(0, 1, 0, 1)), nil, Metrics{Accuracy: 0.5, AUC: 0.5}},
		"one class has no AUC":                        {said(binary, rows(0, 0), rows(0, 0)), nil, Metrics{Accuracy: 1}},
		"an error is an anomaly's score":              {said(again, rows(1, 2), rows(0, 1)), nil, Metrics{AUC: 1, MeanSquaredError: 2.5}},
		"no labels, no AUC":                           {said(again, rows(1, 2), nil), nil, Metrics{MeanSquaredError: 2.5}},
		"labels count one by one":                     {said(labels, [][]float32{{0.9, 0.1}, {0.8, 0.2}, {0.1, 0.7}}, [][]float32{{1, 0}, {0, 0}, {0, 1}}), nil, Metrics{Accuracy: 5.0 / 6, F1: (2.0/3 + 1) / 2, AUC: 1}},
		"positions count one by one":                  {said(pixels, [][]float32{{0, 1, 1, 0}}, [][]float32{{0, 1, 0, 0}}), said(pixels, [][]float32{{0, 1, 2, 0}}, [][]float32{{0, 1, 0, 0}}), Metrics{Accuracy: 0.75, AccuracyDrop: 0, Agreement: 0.75, MeanIoU: (2.0/3 + 0.5) / 2}},
		"an error is relative to each target's spread": {said(values, [][]float32{{1000, 0.1}, {3000, 0.1}}, [][]float32{{1000, 0}, {3000, 0.2}}), nil,
			Metrics{MeanSquaredError: 0.005, RelativeError: math.Sqrt(0.5)}},
		"without a target an error is the original's": {said(values, [][]float32{{1, 1}, {2, 1}}, nil), said(values, errors, nil), Metrics{RelativeError: 1}},
		"keypoints lie where maps peak": {said(keypoints, [][]float32{{0.1, 0.9, 0.8, 0.3, 0.1, 0}, {0.2, 0, 0, 0.6, 0.9, 0}}, [][]float32{{0, 1, 1, 0, 0, 0}, {0, 1, 0, 0, 1, 0}}),
			said(keypoints, [][]float32{{0, 1, 1, 0, 0, 0}, {0, 1, 0, 0, 0, 0}}, [][]float32{{0, 1, 1, 0, 0, 0}, {0, 1, 0, 0, 1, 0}}),
			Metrics{Accuracy: 0.75, AccuracyDrop: 0, Agreement: 0.5, MeanSquaredError: (0.01 + 0.01 + 0.04 + 0.09 + 0.01 + 0.04 + 1 + 0.36 + 0.01) / 12}},
		"a map that peaks nowhere says so":    {said(keypoints, [][]float32{{0.1, 0.9, 0.2, 0.3}}, [][]float32{{0, 1, 0, 0}}), nil, Metrics{Accuracy: 1, MeanSquaredError: (0.01 + 0.01 + 0.04 + 0.09) / 4}},
		"embeddings agree by their direction": {said(embedding, [][]float32{{2, 0}, {0, 1}}, nil), said(embedding, [][]float32{{1, 0}, {1, 0}}, nil), Metrics{Agreement: 0.5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.of.Metrics(tt.original)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("metrics of other outputs carry their name", func(t *testing.T) {
		a := said(classes, chosen(0, 1), rows(0, 1))
		b := said(answer.Output{Kind: answer.Values, Name: "box"}, rows(1, 2), rows(1, 3))
		a.Outputs, a.columns = append(a.Outputs, b.Outputs...), append(a.columns, b.columns...)
		got := a.Metrics(nil).Values()
		if diff := cmp.Diff([]Value{{Accuracy, "1"}, {MeanSquaredError.Of("box"), "0.5"}, {RelativeError.Of("box"), "0.707107"}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if name := MeanSquaredError.Of("box"); name.Output() != "box" || name.Metric() != MeanSquaredError {
			t.Errorf("%s is of %q", name, name.Output())
		}
	})
}

func TestCodes(t *testing.T) {
	c := &codes{values: []int64{1, 1, 2, 5, 5, 5}, zeros: []int64{1, 5, 2}, inner: 2}
	if got := c.distinct(); got != 3 {
		t.Errorf("%d distinct codes, want 3", got)
	}
	if got := c.perChannel([]int{3, 2}, 0); got != 2 {
		t.Errorf("%d distinct codes a channel of rows, want 2", got)
	}
	var zeros []int
	for i := range c.values {
		if c.zero(i) {
			zeros = append(zeros, i)
		}
	}
	if diff := cmp.Diff([]int{0, 1, 3}, zeros); diff != "" {
		t.Errorf("zeros by the zero point of each row (-want +got):\n%s", diff)
	}
}

func TestCompressedSize(t *testing.T) {
	if got := CompressedSize(make([]byte, 100000)); got > 200 {
		t.Errorf("100,000 zeros take %d bytes", got)
	}
	// of two letters at random a match has thousands of candidates, of which level 9 tries four times as many as level 8
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1<<17)
	for i := range data {
		data[i] = byte(r.IntN(2))
	}
	sizes := map[int]int{}
	for _, level := range []int{8, flate.BestCompression} {
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Write(data); err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		sizes[level] = out.Len()
	}
	if got := CompressedSize(data); got != sizes[flate.BestCompression] || got == sizes[8] {
		t.Errorf("%d bytes; level 9 gives %d, level 8 %d", got, sizes[flate.BestCompression], sizes[8])
	}
}

func TestRunErrors(t *testing.T) {
	model := material(t, "models/mnist_cnn_float.tflite")
	fsdd := open(t, "fsdd/fsdd_mfcc.npz", dataset.Spec{})
	if _, err := Run(context.Background(), model, fsdd.Test, Options{}); err == nil || !strings.Contains(err.Error(), "[49 10 1]") || !strings.Contains(err.Error(), "preprocessing.resize") {
		t.Errorf("samples of another shape: %v", err)
	}
	if _, err := Run(context.Background(), model[:100], fsdd.Test, Options{}); err == nil {
		t.Error("a truncated model runs")
	}
	mnist := open(t, "mnist", dataset.Spec{})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, model, mnist.Test, Options{Workers: 2, Progress: func(done, _ int) {
		if done > 100 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}

func TestResultsDoNotDependOnWorkers(t *testing.T) {
	model := material(t, "models/ad01_int8.tflite")
	source := noise{n: 37, size: 640}
	var want Metrics
	for _, o := range []Options{{Workers: 1, Batch: 1}, {Workers: 4, Batch: 1}, {Workers: 3, Batch: 8}} {
		answers, err := Run(context.Background(), model, source, o)
		if err != nil {
			t.Fatal(err)
		}
		got := answers.Metrics(nil)
		if want == nil {
			want = got
		}
		if math.Float64bits(got[MeanSquaredError]) != math.Float64bits(want[MeanSquaredError]) || got[AUC] != want[AUC] {
			t.Errorf("%+v gives %v, not %v", o, got, want)
		}
	}
}

// noise is a source of made-up samples, every third one an anomaly.
type noise struct{ n, size int }

func (s noise) Len() int                { return s.n }
func (s noise) Inputs() []dataset.Array { return []dataset.Array{{Name: "x", Shape: []int{s.size}}} }
func (s noise) Targets() []dataset.Target {
	return []dataset.Target{{Name: "y", Kind: dataset.Class, Classes: 2}}
}
func (s noise) Read(i int, x [][]float32) error {
	for j := range x[0] {
		x[0][j] = float32(math.Sin(float64(i*j))) * 3
	}
	return nil
}
func (s noise) Truth(i int, y [][]float32) error {
	y[0][0] = float32(max(0, 1-i%3))
	return nil
}
