package measure

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
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

func TestAnswersMetrics(t *testing.T) {
	classified := func(labels, classes []int32) *Answers {
		a := &Answers{Task: Classification}
		for i, c := range classes {
			a.answers = append(a.answers, answer{label: labels[i], class: c})
		}
		return a
	}
	scores := func(labels []int32, scores ...float32) *Answers {
		a := &Answers{Task: Reconstruction, scored: true}
		for i, s := range scores {
			a.answers = append(a.answers, answer{label: labels[i], class: -1, score: s, error: float64(s)})
		}
		return a
	}
	unlabelled := []int32{-1, -1, -1, -1}
	tests := map[string]struct {
		of, original *Answers
		want         Metrics
	}{
		"accuracy is the share of right answers":      {classified([]int32{0, 1, 2, 3}, []int32{0, 1, 2, 0}), nil, Metrics{Accuracy: 0.75}},
		"a drop is against the original":              {classified([]int32{0, 1, 2, 3}, []int32{0, 1, 2, 0}), classified([]int32{0, 1, 2, 3}, []int32{0, 1, 2, 3}), Metrics{Accuracy: 0.75, AccuracyDrop: 0.25, Agreement: 0.75}},
		"agreement counts wrong answers too":          {classified([]int32{0, 1, 2, 3}, []int32{3, 2, 1, 0}), classified([]int32{0, 1, 2, 3}, []int32{3, 2, 1, 1}), Metrics{Accuracy: 0, AccuracyDrop: 0, Agreement: 0.75}},
		"agreement needs no labels":                   {classified(unlabelled, []int32{3, 2, 1, 0}), classified(unlabelled, []int32{3, 2, 1, 0}), Metrics{Agreement: 1}},
		"an original on other samples does not count": {classified(unlabelled, []int32{3, 2, 1, 0}), classified(unlabelled, []int32{3}), Metrics{}},
		"scores that part the classes have AUC 1":     {scores([]int32{0, 1, 0, 1}, 1, 3, 2, 4), nil, Metrics{AUC: 1, MeanSquaredError: 2.5}},
		"ties count half":                             {scores([]int32{0, 1, 0, 1}, 1, 1, 1, 1), nil, Metrics{AUC: 0.5, MeanSquaredError: 1}},
		"one pair of four is the wrong way":           {scores([]int32{0, 1, 0, 1}, 1, 2, 3, 4), nil, Metrics{AUC: 0.75, MeanSquaredError: 2.5}},
		"one class has no AUC":                        {scores([]int32{0, 0}, 1, 2), nil, Metrics{MeanSquaredError: 1.5}},
		"no labels, no AUC":                           {scores(unlabelled, 1, 2), nil, Metrics{MeanSquaredError: 1.5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.of.Metrics(tt.original)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the confusion matrix has a row for each label", func(t *testing.T) {
		got := classified([]int32{0, 1, 1, 0}, []int32{0, 1, 0, 0}).Confusion(2)
		if diff := cmp.Diff([][]int{{2, 0}, {1, 1}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// fake is a source without samples.
type fake struct {
	dataset.Source
	classes int
}

func (f fake) Classes() int { return f.classes }

func TestTask(t *testing.T) {
	ending := func(op schema.BuiltinOperator) *ir.Graph {
		return &ir.Graph{Tensors: []ir.Tensor{{Producer: -1}, {Producer: 0}, {Producer: 1}}, Outputs: []int{2},
			Nodes: []ir.Node{{Op: op, Inputs: []int{0}}, {Op: schema.BuiltinOperatorDEQUANTIZE, Inputs: []int{1}}}}
	}
	tests := map[string]struct {
		last                     schema.BuiltinOperator
		classes, inputs, outputs int
		want                     form
		wantErr                  string
	}{
		"an output a class is classification":          {schema.BuiltinOperatorSOFTMAX, 10, 784, 10, form{task: Classification, outputs: 10}, ""},
		"so it is without labels":                      {schema.BuiltinOperatorFULLY_CONNECTED, 0, 784, 10, form{task: Classification, outputs: 10}, ""},
		"one output after LOGISTIC is a probability":   {schema.BuiltinOperatorLOGISTIC, 2, 784, 1, form{task: Binary, outputs: 1, threshold: 0.5}, ""},
		"one output of anything else is a logit":       {schema.BuiltinOperatorFULLY_CONNECTED, 2, 784, 1, form{task: Binary, outputs: 1}, ""},
		"as many outputs as inputs is an autoencoder":  {schema.BuiltinOperatorFULLY_CONNECTED, 2, 640, 640, form{task: Reconstruction, outputs: 640}, ""},
		"unless there is a class for each":             {schema.BuiltinOperatorFULLY_CONNECTED, 10, 10, 10, form{task: Classification, outputs: 10}, ""},
		"or a SOFTMAX":                                 {schema.BuiltinOperatorSOFTMAX, 0, 10, 10, form{task: Classification, outputs: 10}, ""},
		"more classes than outputs is a wrong dataset": {schema.BuiltinOperatorSOFTMAX, 12, 784, 10, form{task: Classification, outputs: 10}, "labels up to 11, the model has 10 outputs"},
		"one output cannot tell three classes":         {schema.BuiltinOperatorLOGISTIC, 3, 784, 1, form{task: Binary, outputs: 1, threshold: 0.5}, "3 classes, the model one output"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := taskOf(ending(tt.last), fake{classes: tt.classes}, tt.inputs, tt.outputs)
			if (tt.wantErr == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
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
}

func TestQuantile(t *testing.T) {
	times := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0.5: 5, 0.9: 9, 0.99: 10} {
		if got := quantile(times, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestRunErrors(t *testing.T) {
	model := material(t, "models/mnist_cnn_float.tflite")
	fsdd := open(t, "fsdd/fsdd_mfcc.npz", dataset.Spec{})
	if _, err := Run(context.Background(), model, fsdd.Test, Options{}); err == nil || !strings.Contains(err.Error(), "[49 10 1]") || !strings.Contains(err.Error(), "reshape") {
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

func (s noise) Len() int                        { return s.n }
func (s noise) Shape() []int                    { return []int{s.size} }
func (s noise) Classes() int                    { return 2 }
func (s noise) Target(i int, y []float32) error { return dataset.ErrNoTarget }
func (s noise) Read(i int, x []float32) (int, error) {
	for j := range x {
		x[j] = float32(math.Sin(float64(i*j))) * 3
	}
	return max(0, 1-i%3), nil
}
