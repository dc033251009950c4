package answer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// build makes a graph; end finishes it from an input of the given shape.
func build(t *testing.T, input []int32, end func(b *tflitetest.Builder, x int32)) *ir.Graph {
	t.Helper()
	b := tflitetest.New()
	end(b, b.Input("x", input...))
	g, err := ir.Parse(b.Model(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func dense(b *tflitetest.Builder, name string, x, outputs int32) int32 {
	inputs := b.Shape(x)[1]
	return b.Dense(name, x, make([]float32, inputs*outputs), make([]float32, outputs), outputs, tflitetest.None)
}

func pixels(b *tflitetest.Builder, name string, x, channels int32) int32 {
	shape := b.Shape(x)
	return b.Conv(name, x, make([]float32, channels*shape[3]), make([]float32, channels), channels, 1, 1, 1, schema.PaddingSAME, tflitetest.None)
}

func logistic(b *tflitetest.Builder, x int32) int32 {
	return b.Unary("p", schema.BuiltinOperatorLOGISTIC, x)
}

// The kinds of networks that people bring, and what they are told to be.
func TestDescribe(t *testing.T) {
	plain := func(n int32) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) { b.Output(dense(b, "y", x, n)) }
	}
	soft := func(n int32) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) { b.Output(b.Softmax("p", dense(b, "y", x, n))) }
	}
	sigmoid := func(n int32) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) { b.Output(logistic(b, dense(b, "y", x, n))) }
	}
	mask := func(b *tflitetest.Builder, x int32) { b.Output(logistic(b, pixels(b, "y", x, 1))) }
	segments := func(b *tflitetest.Builder, x int32) { b.Output(b.Softmax("p", pixels(b, "y", x, 3))) }
	label := func(n int) []Target { return []Target{{Name: "y", Classes: n}} }
	numbers := func(shape ...int) []Target {
		return []Target{{Name: "y", Shape: shape, Least: -3, Most: 3, Spread: []float64{1, 1}}}
	}
	bits := func(shape ...int) []Target {
		return []Target{{Name: "y", Shape: shape, Bits: true, Whole: true, Most: 1}}
	}
	maps := func(most, mean float64) []Target {
		return []Target{{Name: "y", Shape: []int{4, 4, 3}, Most: most, Mean: []float64{mean, mean / 2, mean}, Spread: []float64{0.1, 0.1, 0.1}}}
	}
	points := func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 3)) }
	image, vector := []int32{1, 4, 4, 1}, []int32{1, 8}
	tests := map[string]struct {
		input   []int32
		end     func(b *tflitetest.Builder, x int32)
		targets []Target
		choices []Choice
		seen    []Seen
		want    string // lines of the outputs, or of the error
		wantErr string
	}{
		"a softmax and labels":                     {vector, soft(4), label(4), nil, nil, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"a softmax over two":                       {vector, soft(2), label(2), nil, nil, "p: one of 2 classes (softmax), cross-entropy with y", ""},
		"a softmax without labels":                 {vector, soft(4), nil, nil, nil, "p: one of 4 classes (softmax), distilled from the original", ""},
		"logits and labels":                        {vector, plain(4), label(4), nil, nil, "y: one of 4 classes (logits), cross-entropy with y", ""},
		"one sigmoid":                              {vector, sigmoid(1), label(2), nil, nil, "p: yes or no (sigmoid), binary cross-entropy with y", ""},
		"one sigmoid and bits":                     {vector, sigmoid(1), bits(1), nil, nil, "p: yes or no (sigmoid), binary cross-entropy with y", ""},
		"one logit":                                {vector, plain(1), label(2), nil, nil, "y: yes or no (logits), binary cross-entropy with y", ""},
		"one value from 0 to 1":                    {vector, plain(1), label(2), nil, []Seen{{Least: 0, Most: 0.9}}, "y: yes or no (probabilities), squared error with y", ""},
		"several sigmoids":                         {vector, sigmoid(3), bits(3), nil, nil, "p: 3 labels, each yes or no (sigmoid), binary cross-entropy with y", ""},
		"several sigmoids and one label":           {vector, sigmoid(3), label(3), nil, nil, "p: one of 3 classes (sigmoid), binary cross-entropy with y", ""},
		"labels of −1 for a sigmoid":               {vector, sigmoid(1), []Target{{Name: "y", Least: -1, Most: 1, Whole: true}}, nil, nil, "", "values from -1 to 1, output p ends in a sigmoid and gives 0 to 1"},
		"a mask of one sigmoid a pixel":            {image, mask, bits(4, 4), nil, nil, "p: one of 2 classes at each of 16 positions (sigmoid), binary cross-entropy with y", ""},
		"a mask of integers":                       {image, segments, []Target{{Name: "y", Shape: []int{4, 4}, Classes: 3}}, nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"a mask of floats":                         {image, segments, []Target{{Name: "y", Shape: []int{4, 4}, Whole: true, Most: 2}}, nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"a mask, one-hot":                          {image, segments, bits(4, 4, 3), nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"one label for many pixels":                {image, segments, label(3), nil, nil, "", "target y has one label a sample, output p 3 values at each of 16 positions"},
		"numbers":                                  {vector, plain(2), numbers(2), nil, nil, "y: 2 values, squared error with y", ""},
		"a class that is said to be a number":      {vector, soft(4), []Target{{Name: "y", Whole: true, Most: 3, Numbers: true}}, nil, nil, "", "dataset.target is Values, but output p tells 4 classes apart: leave dataset.target out"},
		"one-hot that is said to be numbers":       {vector, soft(4), []Target{{Name: "y", Shape: []int{4}, Bits: true, Whole: true, OneHot: true, Most: 1, Numbers: true}}, nil, nil, "", "leave dataset.target out"},
		"shares of classes":                        {vector, soft(4), []Target{{Name: "y", Shape: []int{4}, Most: 0.9, Numbers: true}}, nil, nil, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"bits that are said to be numbers":         {vector, plain(3), []Target{{Name: "y", Shape: []int{3}, Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, []Seen{{Least: -9, Most: 9}}, "y: 3 values, squared error with y", ""},
		"a bit that is said to be a number":        {vector, plain(1), []Target{{Name: "y", Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, nil, "y: 1 value, squared error with y", ""},
		"bits for sigmoids that are numbers":       {vector, sigmoid(3), []Target{{Name: "y", Shape: []int{3}, Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, nil, "p: 3 values, binary cross-entropy with y", ""},
		"maps that peak":                           {image, points, maps(1, 0.09), nil, nil, "y: 3 heatmaps of 16 places, each with a keypoint where it peaks, squared error with y (dataset.target Values says numbers)", ""},
		"maps of sigmoids":                         {image, func(b *tflitetest.Builder, x int32) { b.Output(logistic(b, pixels(b, "y", x, 3))) }, maps(0.8, 0.05), nil, nil, "p: 3 heatmaps of 16 places, each with a keypoint where it peaks, binary cross-entropy with y (dataset.target Values says numbers)", ""},
		"images":                                   {image, points, maps(1, 0.11), nil, nil, "y: 48 values, squared error with y", ""},
		"maps above 1":                             {image, points, maps(1.5, 0.09), nil, nil, "y: 48 values, squared error with y", ""},
		"maps said to be numbers":                  {image, points, maps(1, 0.05), []Choice{{Name: "y", Loss: MeanSquaredError}}, nil, "y: 48 values, squared error with y", ""},
		"too few numbers":                          {vector, plain(2), numbers(3), nil, nil, "", "target y has 3 values a sample, output y 2 values"},
		"too many classes":                         {vector, soft(4), label(9), nil, nil, "", "labels up to 8 (y), output p has 4 classes"},
		"three classes and one value":              {vector, sigmoid(1), label(3), nil, nil, "", "3 classes (y), output p one value"},
		"an autoencoder":                           {vector, plain(8), nil, nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.1}}, "y: its input again, 8 values, squared error against the input", ""},
		"a forecast of its input's size":           {vector, plain(8), nil, nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.9}}, "y: 8 values, distilled from the original (its input has as many values: taken for numbers; outputs with loss CrossEntropy says class scores)", ""},
		"an autoencoder and labels":                {vector, plain(8), label(2), nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.1}}, "y: its input again, 8 values, squared error against the input; y tells anomalies", ""},
		"an autoencoder and samples strange to it": {vector, plain(8), label(2), nil, []Seen{{Least: -9, Most: 2, Unexplained: 4}}, "y: its input again, 8 values, squared error against the input; y tells anomalies", ""},
		"as many outputs as inputs, not alike":     {vector, plain(8), label(8), nil, []Seen{{Least: -9, Most: 2, Unexplained: 4}}, "y: one of 8 classes (logits), cross-entropy with y", ""},
		"an embedding":                             {vector, plain(4), nil, nil, []Seen{{Least: -1, Most: 1, Unit: true}}, "y: an embedding of 4 values, distilled from the original", ""},
		"an embedding and labels":                  {vector, plain(4), label(3), nil, []Seen{{Least: -1, Most: 1, Unit: true}}, "", "labels of classes say nothing of it"},
		"a plain vector without labels":            {vector, plain(4), nil, nil, nil, "y: one of 4 classes (logits), distilled from the original (taken for class scores; outputs with loss MeanSquaredError says numbers)", ""},
		"a plain vector that is said to be one":    {vector, plain(4), nil, []Choice{{Name: "y", Loss: MeanSquaredError}}, nil, "y: 4 values, distilled from the original", ""},
		"an output that is not there":              {vector, plain(4), nil, []Choice{{Name: "z"}}, nil, "", `no output "z"; it has y`},
		"two heads": {vector, func(b *tflitetest.Builder, x int32) {
			b.Output(dense(b, "box", x, 4))
			b.Output(b.Softmax("cls", dense(b, "logits", x, 4)))
		}, label(4), []Choice{{Name: "box", Weight: 2}}, nil, "box: 4 values, distilled from the original, weight 2\ncls: one of 4 classes (softmax), cross-entropy with y", ""},
		"an input and a constant beside a head": {vector, func(b *tflitetest.Builder, x int32) {
			b.Output(x)
			b.Output(b.Const("scores", []float32{1, 2, 3}, 3))
			b.Output(b.Softmax("cls", dense(b, "logits", x, 4)))
		}, label(4), nil, nil, "x: its input again, 8 values, not trained (the input x as it is)\nscores: 3 values, not trained (a constant)\ncls: one of 4 classes (softmax), cross-entropy with y", ""},
		"two heads by name": {vector, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("a", dense(b, "la", x, 4)))
			b.Output(b.Softmax("b", dense(b, "lb", x, 4)))
		}, []Target{{Name: "y_b", Classes: 4}, {Name: "y_a", Classes: 4}}, nil, nil, "a: one of 4 classes (softmax), cross-entropy with y_a\nb: one of 4 classes (softmax), cross-entropy with y_b", ""},
		"a head that is not trained": {vector, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("a", dense(b, "la", x, 4)))
			b.Output(dense(b, "b", x, 2))
		}, label(4), []Choice{{Name: "b", Loss: None}}, nil, "a: one of 4 classes (softmax), cross-entropy with y\nb: 2 values, not trained", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			outputs, err := Describe(build(t, tt.input, tt.end), tt.targets, tt.choices, tt.seen)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for i := range outputs {
				lines = append(lines, outputs[i].String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheMainOutputHasATarget(t *testing.T) {
	outputs := []Output{{Kind: Values, Target: -1}, {Kind: Values, Target: 1}, {Kind: Classes, Classes: 3, Target: 0}, {Kind: Binary, Classes: 2, Target: -1}}
	for n, want := range map[int]int{4: 2, 2: 1, 1: 0} {
		if got := Main(outputs[:n]); got != want {
			t.Errorf("of the first %d: output %d, want %d", n, got, want)
		}
	}
}

func TestMomentsOfFarNumbers(t *testing.T) {
	m := NewMoments(2)
	m.Add([]float32{1e6, 0.01, 1e6 + 2, 0.03})
	if diff := cmp.Diff([]float64{1, 0.01}, m.Spread(), cmp.Comparer(func(x, y float64) bool { return x-y < 1e-6 && y-x < 1e-6 })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
