package answer

import (
	"math"
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
	image, vector, pair := []int32{1, 4, 4, 1}, []int32{1, 8}, []int32{1, 2}
	point := func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 1)) }
	heads := func(b *tflitetest.Builder, x int32) {
		b.Output(b.Softmax("a", dense(b, "la", x, 4)))
		b.Output(b.Softmax("b", dense(b, "lb", x, 4)))
	}
	seen := func(least, most float64) []Seen { return []Seen{{Least: least, Most: most}} }
	explained := func(rest float64) []Seen { return []Seen{{Least: -2, Most: 2, Unexplained: rest}} }
	oneHot := []Target{{Name: "y", Shape: []int{3}, Bits: true, Whole: true, OneHot: true, Most: 1}}
	spread := func(values ...float64) []Target {
		return []Target{{Name: "y", Shape: []int{2}, Least: -3, Most: 3, Spread: values}}
	}
	levels := func(t Target) []Target {
		t.Name, t.Shape = "y", []int{4, 4}
		return []Target{t}
	}
	tests := map[string]struct {
		input   []int32
		end     func(b *tflitetest.Builder, x int32)
		targets []Target
		choices []Choice
		seen    []Seen
		want    string // lines of the outputs, or of the error
		wantErr string
	}{
		"a softmax and labels":                      {vector, soft(4), label(4), nil, nil, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"a softmax over two":                        {vector, soft(2), label(2), nil, nil, "p: one of 2 classes (softmax), cross-entropy with y", ""},
		"a softmax without labels":                  {vector, soft(4), nil, nil, nil, "p: one of 4 classes (softmax), distilled from the original", ""},
		"logits and labels":                         {vector, plain(4), label(4), nil, nil, "y: one of 4 classes (logits), cross-entropy with y", ""},
		"one sigmoid":                               {vector, sigmoid(1), label(2), nil, nil, "p: yes or no (sigmoid), binary cross-entropy with y", ""},
		"one sigmoid and bits":                      {vector, sigmoid(1), bits(1), nil, nil, "p: yes or no (sigmoid), binary cross-entropy with y", ""},
		"one logit":                                 {vector, plain(1), label(2), nil, nil, "y: yes or no (logits), binary cross-entropy with y", ""},
		"one value from 0 to 1":                     {vector, plain(1), label(2), nil, []Seen{{Least: 0, Most: 0.9}}, "y: yes or no (probabilities), squared error with y", ""},
		"several sigmoids":                          {vector, sigmoid(3), bits(3), nil, nil, "p: 3 labels, each yes or no (sigmoid), binary cross-entropy with y", ""},
		"several sigmoids and one label":            {vector, sigmoid(3), label(3), nil, nil, "p: one of 3 classes (sigmoid), binary cross-entropy with y", ""},
		"labels of −1 for a sigmoid":                {vector, sigmoid(1), []Target{{Name: "y", Least: -1, Most: 1, Whole: true}}, nil, nil, "", "values from -1 to 1, output p ends in a sigmoid and gives 0 to 1"},
		"a mask of one sigmoid a pixel":             {image, mask, bits(4, 4), nil, nil, "p: one of 2 classes at each of 16 positions (sigmoid), binary cross-entropy with y", ""},
		"a mask of integers":                        {image, segments, []Target{{Name: "y", Shape: []int{4, 4}, Classes: 3}}, nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"a mask of floats":                          {image, segments, []Target{{Name: "y", Shape: []int{4, 4}, Whole: true, Most: 2}}, nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"a mask, one-hot":                           {image, segments, bits(4, 4, 3), nil, nil, "p: one of 3 classes at each of 16 positions (softmax), cross-entropy with y", ""},
		"one label for many pixels":                 {image, segments, label(3), nil, nil, "", "target y has one label a sample, output p 3 values at each of 16 positions"},
		"numbers":                                   {vector, plain(2), numbers(2), nil, nil, "y: 2 values, squared error with y", ""},
		"a class that is said to be a number":       {vector, soft(4), []Target{{Name: "y", Whole: true, Most: 3, Numbers: true}}, nil, nil, "", "dataset.target is Values, but output p tells 4 classes apart: leave dataset.target out"},
		"one-hot that is said to be numbers":        {vector, soft(4), []Target{{Name: "y", Shape: []int{4}, Bits: true, Whole: true, OneHot: true, Most: 1, Numbers: true}}, nil, nil, "", "leave dataset.target out"},
		"shares of classes":                         {vector, soft(4), []Target{{Name: "y", Shape: []int{4}, Most: 0.9, Numbers: true}}, nil, nil, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"bits that are said to be numbers":          {vector, plain(3), []Target{{Name: "y", Shape: []int{3}, Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, []Seen{{Least: -9, Most: 9}}, "y: 3 values, squared error with y", ""},
		"a bit that is said to be a number":         {vector, plain(1), []Target{{Name: "y", Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, nil, "y: 1 value, squared error with y", ""},
		"bits for sigmoids that are numbers":        {vector, sigmoid(3), []Target{{Name: "y", Shape: []int{3}, Bits: true, Whole: true, Most: 1, Numbers: true}}, nil, nil, "p: 3 values, binary cross-entropy with y", ""},
		"maps that peak":                            {image, points, maps(1, 0.09), nil, nil, "y: 3 heatmaps of 16 places, each with a keypoint where it peaks, squared error with y (dataset.target Values says numbers)", ""},
		"maps of sigmoids":                          {image, func(b *tflitetest.Builder, x int32) { b.Output(logistic(b, pixels(b, "y", x, 3))) }, maps(0.8, 0.05), nil, nil, "p: 3 heatmaps of 16 places, each with a keypoint where it peaks, binary cross-entropy with y (dataset.target Values says numbers)", ""},
		"images":                                    {image, points, maps(1, 0.11), nil, nil, "y: 48 values, squared error with y", ""},
		"maps above 1":                              {image, points, maps(1.5, 0.09), nil, nil, "y: 48 values, squared error with y", ""},
		"maps said to be numbers":                   {image, points, maps(1, 0.05), []Choice{{Name: "y", Loss: MeanSquaredError}}, nil, "y: 48 values, squared error with y", ""},
		"too few numbers":                           {vector, plain(2), numbers(3), nil, nil, "", "target y has 3 values a sample, output y 2 values"},
		"too many classes":                          {vector, soft(4), label(9), nil, nil, "", "labels up to 8 (y), output p has 4 classes"},
		"three classes and one value":               {vector, sigmoid(1), label(3), nil, nil, "", "3 classes (y), output p one value"},
		"an autoencoder":                            {vector, plain(8), nil, nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.1}}, "y: its input again, 8 values, squared error against the input", ""},
		"a forecast of its input's size":            {vector, plain(8), nil, nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.9}}, "y: 8 values, distilled from the original (its input has as many values: taken for numbers; outputs with loss CrossEntropy says class scores)", ""},
		"an autoencoder and labels":                 {vector, plain(8), label(2), nil, []Seen{{Least: -2, Most: 2, Unexplained: 0.1}}, "y: its input again, 8 values, squared error against the input; y tells anomalies", ""},
		"an autoencoder and samples strange to it":  {vector, plain(8), label(2), nil, []Seen{{Least: -9, Most: 2, Unexplained: 4}}, "y: its input again, 8 values, squared error against the input; y tells anomalies", ""},
		"as many outputs as inputs, not alike":      {vector, plain(8), label(8), nil, []Seen{{Least: -9, Most: 2, Unexplained: 4}}, "y: one of 8 classes (logits), cross-entropy with y", ""},
		"an embedding":                              {vector, plain(4), nil, nil, []Seen{{Least: -1, Most: 1, Unit: true}}, "y: an embedding of 4 values, distilled from the original", ""},
		"an embedding and labels":                   {vector, plain(4), label(3), nil, []Seen{{Least: -1, Most: 1, Unit: true}}, "", "labels of classes say nothing of it"},
		"a plain vector without labels":             {vector, plain(4), nil, nil, nil, "y: one of 4 classes (logits), distilled from the original (taken for class scores; outputs with loss MeanSquaredError says numbers)", ""},
		"a plain vector that is said to be one":     {vector, plain(4), nil, []Choice{{Name: "y", Loss: MeanSquaredError}}, nil, "y: 4 values, distilled from the original", ""},
		"an output that is not there":               {vector, plain(4), nil, []Choice{{Name: "z"}}, nil, "", `no output "z"; it has y`},
		"one value that never changes":              {vector, plain(1), label(2), nil, seen(0.5, 0.5), "y: yes or no (logits), binary cross-entropy with y", ""},
		"one value from 0 to 1 itself":              {vector, plain(1), label(2), nil, seen(0, 1), "y: yes or no (probabilities), squared error with y", ""},
		"one value of length 1 is no embedding":     {vector, plain(1), nil, nil, []Seen{{Least: -1, Most: 1, Unit: true}}, "y: 1 value, distilled from the original", ""},
		"three classes and one plain value":         {vector, plain(1), label(3), nil, nil, "", "3 classes (y), output y one value"},
		"a bit near 0 and 1":                        {vector, plain(1), bits(), nil, seen(-0.5, 1.5), "y: yes or no (logits), squared error with y", ""},
		"a bit as far as −1":                        {vector, plain(1), bits(), nil, seen(-1, 1.5), "y: yes or no (logits), binary cross-entropy with y", ""},
		"a bit as far as 2":                         {vector, plain(1), bits(), nil, seen(-0.5, 2), "y: yes or no (logits), binary cross-entropy with y", ""},
		"a bit of which nothing was seen":           {vector, plain(1), bits(), nil, nil, "y: yes or no (logits), binary cross-entropy with y", ""},
		"a class near 0 and 1":                      {vector, plain(1), label(2), nil, seen(-0.5, 1.5), "y: yes or no (logits), binary cross-entropy with y", ""},
		"a mask of plain values":                    {image, point, bits(4, 4), nil, nil, "y: one of 2 classes at each of 16 positions (logits), binary cross-entropy with y", ""},
		"bits of plain values":                      {vector, plain(3), bits(3), nil, nil, "y: 3 values, squared error with y", ""},
		"bits below −1.5":                           {vector, plain(3), bits(3), nil, seen(-2, 1), "y: 3 labels, each yes or no (logits), binary cross-entropy with y", ""},
		"bits above 2.5":                            {vector, plain(3), bits(3), nil, seen(-1, 3), "y: 3 labels, each yes or no (logits), binary cross-entropy with y", ""},
		"bits just between":                         {vector, plain(3), bits(3), nil, seen(-1.5, 2.5), "y: 3 values, squared error with y", ""},
		"bits from 0 to 1":                          {vector, plain(3), bits(3), nil, seen(0, 1), "y: 3 labels, each yes or no (probabilities), squared error with y", ""},
		"two classes at each value, far apart":      {vector, plain(3), []Target{{Name: "y", Shape: []int{3}, Classes: 2}}, nil, seen(-9, 9), "y: 3 labels, each yes or no (logits), binary cross-entropy with y", ""},
		"two classes at each value, from 0 to 1":    {vector, plain(3), []Target{{Name: "y", Shape: []int{3}, Classes: 2}}, nil, seen(0, 1), "y: 3 labels, each yes or no (probabilities), squared error with y", ""},
		"numbers that are far apart":                {vector, plain(2), numbers(2), nil, seen(-9, 9), "y: 2 values, squared error with y", ""},
		"numbers from 0 to 1":                       {vector, plain(2), numbers(2), nil, seen(0, 1), "y: 2 values, squared error with y", ""},
		"bits that are said to have cross-entropy":  {vector, plain(3), bits(3), []Choice{{Name: "y", Loss: BinaryCrossEntropy}}, nil, "y: 3 labels, each yes or no (logits), binary cross-entropy with y", ""},
		"one-hot of which nothing was seen":         {vector, plain(3), oneHot, nil, nil, "y: one of 3 classes (logits), cross-entropy with y", ""},
		"one-hot and logits":                        {vector, plain(3), oneHot, nil, seen(-9, 9), "y: one of 3 classes (logits), cross-entropy with y", ""},
		"one-hot and neither":                       {vector, plain(3), oneHot, nil, seen(-1, 2), "y: 3 values, squared error with y", ""},
		"one-hot and chances":                       {vector, plain(3), oneHot, nil, []Seen{{Most: 0.9, Simplex: true}}, "y: one of 3 classes (probabilities), squared error with y", ""},
		"one-hot and values from 0 to 1":            {vector, plain(3), oneHot, nil, seen(0, 0.9), "y: 3 labels, each yes or no (probabilities), squared error with y", ""},
		"chances and labels":                        {vector, plain(4), label(4), nil, []Seen{{Most: 0.9, Simplex: true}}, "y: one of 4 classes (probabilities), squared error with y", ""},
		"a softmax that was seen":                   {vector, soft(4), label(4), nil, []Seen{{Most: 0.9, Simplex: true}}, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"a mask of halves":                          {image, segments, levels(Target{Most: 1.5}), nil, nil, "", "target y has 16 values a sample, output p 3 values at each of 16 positions"},
		"a mask with −1":                            {image, segments, levels(Target{Whole: true, Least: -1, Most: 2}), nil, nil, "", "target y has 16 values a sample"},
		"a mask of floats with a class too many":    {image, segments, levels(Target{Whole: true, Most: 3}), nil, nil, "", "target y has 16 values a sample"},
		"a mask of another size":                    {image, segments, []Target{{Name: "y", Shape: []int{8}, Whole: true, Most: 2}}, nil, nil, "", "target y has 8 values a sample"},
		"labels of another size":                    {image, segments, []Target{{Name: "y", Shape: []int{8}, Classes: 3}}, nil, nil, "", "target y has 8 labels a sample"},
		"a mask that is said to be numbers":         {image, segments, levels(Target{Whole: true, Most: 2, Numbers: true}), nil, nil, "", "dataset.target is Values"},
		"sigmoids and classes of each":              {vector, sigmoid(3), []Target{{Name: "y", Shape: []int{3}, Classes: 4}}, nil, nil, "", "target y has classes up to 3, output p says yes or no of each value"},
		"sigmoids and one number":                   {vector, sigmoid(3), numbers(), nil, nil, "", "target y has one value a sample, output p 3 values"},
		"sigmoids and too many classes":             {vector, sigmoid(3), label(4), nil, nil, "", "labels up to 3 (y), output p has 3 classes"},
		"values that differ in spread":              {vector, plain(2), spread(1, 65), nil, nil, "y: 2 values, squared error with y (its numbers differ in spread by 65 times, and int8 has one scale for all: the smallest are lost, unless the last layer stays float (keepFloat) or they are outputs of their own)", ""},
		"values that differ as much as they may":    {vector, plain(2), spread(1, 64), nil, nil, "y: 2 values, squared error with y", ""},
		"images as flat as maps just are not":       {image, points, maps(1, 0.1), nil, nil, "y: 48 values, squared error with y", ""},
		"an autoencoder and three classes":          {vector, plain(8), label(3), nil, explained(0.1), "y: one of 8 classes (logits), cross-entropy with y", ""},
		"an autoencoder and one number":             {vector, plain(8), numbers(), nil, explained(0.1), "", "target y has one value a sample, output y 8 values"},
		"two values of two are no autoencoder":      {pair, plain(2), label(2), nil, explained(0.1), "y: one of 2 classes (logits), cross-entropy with y", ""},
		"two values of two without labels":          {pair, plain(2), nil, nil, explained(0.9), "y: one of 2 classes (logits), distilled from the original (taken for class scores; outputs with loss MeanSquaredError says numbers)", ""},
		"an image again":                            {image, point, label(2), nil, explained(0.4), "y: its input again, 16 values, squared error against the input; y tells anomalies", ""},
		"an image again of which nothing was seen":  {image, point, label(2), nil, nil, "y: its input again, 16 values, squared error against the input; y tells anomalies", ""},
		"an image half of which is new":             {image, point, label(2), nil, explained(0.5), "", "target y has one label a sample, output y 16 values"},
		"an image made from another":                {image, point, nil, nil, explained(0.9), "y: 16 values, distilled from the original", ""},
		"a vector half of which is new":             {vector, plain(8), nil, nil, explained(0.5), "y: 8 values, distilled from the original (its input has as many values: taken for numbers; outputs with loss CrossEntropy says class scores)", ""},
		"a vector of which nothing was seen":        {vector, plain(8), nil, nil, nil, "y: its input again, 8 values, squared error against the input", ""},
		"an image again, by a sigmoid":              {image, mask, nil, nil, explained(0.4), "p: its input again, 16 values, squared error against the input", ""},
		"the same with labels":                      {image, mask, label(2), nil, explained(0.4), "p: its input again, 16 values, squared error against the input; y tells anomalies", ""},
		"half of it new":                            {image, mask, nil, nil, explained(0.5), "p: one of 2 classes at each of 16 positions (sigmoid), distilled from the original", ""},
		"half of it new, with labels":               {image, mask, label(2), nil, explained(0.5), "", "target y has one label a sample, output p 16 values"},
		"a mask of which nothing was seen":          {image, mask, nil, nil, nil, "p: one of 2 classes at each of 16 positions (sigmoid), distilled from the original", ""},
		"one number for four":                       {vector, plain(4), []Target{{Name: "y"}}, nil, nil, "", "target y has one value a sample, output y 4 values: give one that fits, or dataset.target None"},
		"one label for a mask":                      {image, mask, label(2), nil, nil, "", "target y has one label a sample, output p 16 values"},
		"two sigmoids of two values":                {pair, sigmoid(2), nil, nil, explained(0.1), "p: 2 labels, each yes or no (sigmoid), distilled from the original", ""},
		"two sigmoids of two values and a label":    {pair, sigmoid(2), label(2), nil, explained(0.1), "p: one of 2 classes (sigmoid), binary cross-entropy with y", ""},
		"sigmoids of fewer values than the input":   {vector, sigmoid(3), nil, nil, explained(0.1), "p: 3 labels, each yes or no (sigmoid), distilled from the original", ""},
		"fewer sigmoids, and a label":               {vector, sigmoid(3), label(2), nil, explained(0.1), "p: one of 3 classes (sigmoid), binary cross-entropy with y", ""},
		"chances without labels":                    {vector, plain(4), nil, nil, []Seen{{Most: 1, Simplex: true}}, "y: one of 4 classes (probabilities), distilled from the original", ""},
		"one value that is always 1, or nearly":     {vector, plain(1), nil, nil, []Seen{{Least: 0.99, Most: 1, Simplex: true}}, "y: 1 value, distilled from the original", ""},
		"a plain vector that is said to be scores":  {vector, plain(8), nil, []Choice{{Name: "y", Loss: CrossEntropy}}, nil, "y: one of 8 classes (logits), distilled from the original", ""},
		"a plain vector that is said to be labels":  {vector, plain(8), nil, []Choice{{Name: "y", Loss: BinaryCrossEntropy}}, nil, "y: 8 labels, each yes or no (logits), distilled from the original", ""},
		"a softmax that is said to be scores":       {vector, soft(8), nil, []Choice{{Name: "p", Loss: CrossEntropy}}, nil, "p: one of 8 classes (softmax), distilled from the original", ""},
		"a sigmoid that is said to be labels":       {vector, sigmoid(1), nil, []Choice{{Name: "p", Loss: BinaryCrossEntropy}}, nil, "p: yes or no (sigmoid), distilled from the original", ""},
		"an output that stays as it is, alone":      {vector, plain(4), label(4), []Choice{{Name: "y", Loss: None}}, nil, "y: one of 4 classes (logits), not trained (taken for class scores; outputs with loss MeanSquaredError says numbers)", ""},
		"of two heads the first takes the label":    {vector, heads, label(4), nil, nil, "a: one of 4 classes (softmax), cross-entropy with y\nb: one of 4 classes (softmax), distilled from the original", ""},
		"what is left goes to the head that is":     {vector, heads, []Target{{Name: "y_a", Classes: 4}, {Name: "z", Classes: 4}}, nil, nil, "a: one of 4 classes (softmax), cross-entropy with y_a\nb: one of 4 classes (softmax), cross-entropy with z", ""},
		"the last target by name":                   {vector, heads, []Target{{Name: "z", Classes: 4}, {Name: "y_a", Classes: 4}}, nil, nil, "a: one of 4 classes (softmax), cross-entropy with y_a\nb: one of 4 classes (softmax), cross-entropy with z", ""},
		"targets that are chosen":                   {vector, heads, []Target{{Name: "y_a", Classes: 4}, {Name: "y_b", Classes: 4}}, []Choice{{Name: "a", Target: "y_b"}, {Name: "b", Target: "a"}}, nil, "a: one of 4 classes (softmax), cross-entropy with y_b\nb: one of 4 classes (softmax), cross-entropy with y_a", ""},
		"a target that is chosen for the second":    {vector, heads, label(4), []Choice{{Name: "b", Target: "y"}}, nil, "a: one of 4 classes (softmax), distilled from the original\nb: one of 4 classes (softmax), cross-entropy with y", ""},
		"a target that is not there":                {vector, heads, []Target{{Name: "y_a", Classes: 4}, {Name: "z", Classes: 4}}, []Choice{{Name: "a", Target: "c"}}, nil, "", `the dataset has no target "c" for output a; it has y_a, z`},
		"a target that is chosen and does not suit": {vector, heads, label(9), []Choice{{Name: "a", Target: "y"}}, nil, "", "labels up to 8 (y), output a has 4 classes"},
		"more targets than heads":                   {vector, soft(4), []Target{{Name: "y", Classes: 4}, {Name: "z", Classes: 4}}, nil, nil, "p: one of 4 classes (softmax), cross-entropy with y", ""},
		"numbers go where no classes are told": {vector, func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("a", dense(b, "la", x, 2)))
			b.Output(dense(b, "b", x, 2))
		}, numbers(2), nil, nil, "a: one of 2 classes (softmax), distilled from the original\nb: 2 values, squared error with y", ""},
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

func TestWhatIsAboveTheThresholdIsYes(t *testing.T) {
	for name, tc := range map[string]struct {
		end    func(b *tflitetest.Builder, x int32)
		target Target
		seen   []Seen
		want   float32
	}{
		"a sigmoid":           {func(b *tflitetest.Builder, x int32) { b.Output(logistic(b, pixels(b, "y", x, 1))) }, Target{Shape: []int{4, 4}, Bits: true, Most: 1}, nil, 0.5},
		"logits":              {func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 1)) }, Target{Shape: []int{4, 4}, Bits: true, Most: 1}, nil, 0},
		"values from 0 to 1":  {func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 1)) }, Target{Shape: []int{4, 4}, Bits: true, Most: 1}, []Seen{{Most: 1}}, 0.5},
		"values around these": {func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 1)) }, Target{Shape: []int{4, 4}, Bits: true, Most: 1}, []Seen{{Least: -0.5, Most: 1.5}}, 0.5},
		"maps that peak": {func(b *tflitetest.Builder, x int32) { b.Output(pixels(b, "y", x, 3)) },
			Target{Shape: []int{4, 4, 3}, Most: 0.8, Mean: []float64{0.01, 0.01, 0.01}, Spread: []float64{1, 1, 1}}, nil, 0.2},
	} {
		t.Run(name, func(t *testing.T) {
			outputs, err := Describe(build(t, []int32{1, 4, 4, 1}, tc.end), []Target{tc.target}, nil, tc.seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := outputs[0].Threshold; got != tc.want {
				t.Errorf("threshold %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAnOutputIsItsInputAgainInTheSameShape(t *testing.T) {
	describe := func(end func(b *tflitetest.Builder, x int32)) Output {
		outputs, err := Describe(build(t, []int32{1, 2, 4, 1}, end), nil, nil, []Seen{{Unexplained: 0.1}})
		if err != nil {
			t.Fatal(err)
		}
		return outputs[0]
	}
	flat := func(b *tflitetest.Builder, x int32) int32 { return dense(b, "y", b.Flatten("f", x), 8) }
	shaped := func(b *tflitetest.Builder, x int32, name string, shape ...int32) int32 {
		return b.Op(name, schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: shape}, shape, flat(b, x), b.Ints("shape", shape...))
	}
	for name, tc := range map[string]struct {
		end   func(b *tflitetest.Builder, x int32)
		kind  Kind
		input int
	}{
		"the same shape":              {func(b *tflitetest.Builder, x int32) { b.Output(shaped(b, x, "r", 1, 2, 4, 1)) }, Reconstruction, 0},
		"the same shape but for ones": {func(b *tflitetest.Builder, x int32) { b.Output(shaped(b, x, "r", 1, 2, 1, 4)) }, Reconstruction, 0},
		"as many values, as a vector": {func(b *tflitetest.Builder, x int32) { b.Output(flat(b, x)) }, Classes, 0},
		"as many values, turned":      {func(b *tflitetest.Builder, x int32) { b.Output(shaped(b, x, "r", 1, 4, 2, 1)) }, Values, 0},
		"the first of two inputs": {func(b *tflitetest.Builder, x int32) {
			b.Output(b.Add("sum", shaped(b, x, "r", 1, 2, 4, 1), b.Input("other", 1, 2, 4, 1), tflitetest.None))
		}, Reconstruction, 0},
		"the second of two inputs": {func(b *tflitetest.Builder, x int32) {
			b.Output(b.Add("sum", flat(b, x), b.Input("other", 1, 8), tflitetest.None))
		}, Reconstruction, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if o := describe(tc.end); o.Kind != tc.kind || o.Input != tc.input {
				t.Errorf("%s of input %d, want %s of input %d", o.Kind, o.Input, tc.kind, tc.input)
			}
		})
	}
}

func TestOutputsAreNamedByTheSignature(t *testing.T) {
	b := tflitetest.New()
	y := dense(b, "y", b.Input("x", 1, 8), 4)
	b.Output(y)
	m := b.Model()
	signature := func(graph uint32, name string, tensor int32) *schema.SignatureDefT {
		return &schema.SignatureDefT{SubgraphIndex: graph, Outputs: []*schema.TensorMapT{{Name: name, TensorIndex: uint32(tensor)}}}
	}
	for name, tc := range map[string]struct {
		signatures []*schema.SignatureDefT
		want       string
	}{
		"its own":                   {[]*schema.SignatureDefT{signature(0, "scores", y)}, "scores"},
		"that of another graph":     {[]*schema.SignatureDefT{signature(1, "scores", y)}, "y"},
		"that of another tensor":    {[]*schema.SignatureDefT{signature(0, "scores", y+1)}, "y"},
		"one without names, a next": {[]*schema.SignatureDefT{signature(0, "", y), signature(0, "scores", y)}, "scores"},
		"none":                      {nil, "y"},
	} {
		t.Run(name, func(t *testing.T) {
			m.SignatureDefs = tc.signatures
			g, err := ir.Parse(m, 0)
			if err != nil {
				t.Fatal(err)
			}
			outputs, err := Describe(g, nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := outputs[0].Name; got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestLossesOfSeveralOutputsAreComparable(t *testing.T) {
	heads := func(n int) func(b *tflitetest.Builder, x int32) {
		return func(b *tflitetest.Builder, x int32) {
			b.Output(b.Softmax("class", dense(b, "a", x, 4)))
			if n > 1 {
				b.Output(logistic(b, dense(b, "b", x, 1)))
				b.Output(dense(b, "box", x, 2))
			}
		}
	}
	targets := []Target{{Name: "class", Classes: 4}, {Name: "p", Classes: 2}, {Name: "box", Shape: []int{2}, Least: -3, Most: 3}}
	seen := []Seen{{}, {}, {Spread: []float64{2, 4}}}
	for name, tc := range map[string]struct {
		heads   int
		choices []Choice
		scales  []float64
		spread  []float64
	}{
		"three": {3, nil, []float64{1 / math.Log(4), 1 / math.Ln2, 1}, []float64{2, 4}},
		"two":   {3, []Choice{{Name: "class", Loss: None}}, []float64{1, 1 / math.Ln2, 1}, []float64{2, 4}},
		"one":   {1, nil, []float64{1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			outputs, err := Describe(build(t, []int32{1, 8}, heads(tc.heads)), targets[:tc.heads], tc.choices, seen)
			if err != nil {
				t.Fatal(err)
			}
			var scales []float64
			for _, o := range outputs {
				scales = append(scales, o.Scale)
			}
			if diff := cmp.Diff(tc.scales, scales); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.spread, outputs[len(outputs)-1].Spread); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSpreadsToDivideBy(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct{ spread, want []float64 }{
		{nil, nil}, {[]float64{0, 0}, nil}, {[]float64{inf, math.NaN()}, nil}, {[]float64{2, 3}, []float64{2, 3}},
		{[]float64{2, 0, 4, inf, math.NaN(), 6}, []float64{2, 4, 4, 4, 4, 6}},
	} {
		if diff := cmp.Diff(tc.want, usable(tc.spread)); diff != "" {
			t.Errorf("%v: %s", tc.spread, diff)
		}
	}
}

func TestWhatIsTrainedAndWhatIsDistilled(t *testing.T) {
	for name, tc := range map[string]struct {
		o                  Output
		trained, distilled bool
	}{
		"with a target":    {Output{Loss: CrossEntropy, Weight: 1, Target: 0}, true, false},
		"without":          {Output{Loss: CrossEntropy, Weight: 1, Target: -1}, true, true},
		"its input again":  {Output{Loss: MeanSquaredError, Weight: 1, Target: -1, Kind: Reconstruction}, true, false},
		"without a loss":   {Output{Loss: None, Weight: 1, Target: -1}, false, false},
		"without a weight": {Output{Loss: CrossEntropy, Target: -1}, false, false},
	} {
		if got := tc.o.Trained(); got != tc.trained {
			t.Errorf("%s: trained %v", name, got)
		}
		if got := tc.o.Distilled(); got != tc.distilled {
			t.Errorf("%s: distilled %v", name, got)
		}
	}
}

func TestTheMainOutputHasATarget(t *testing.T) {
	if got := Main([]Output{{Kind: Values, Target: -1}, {Kind: Values, Target: 0}}); got != 1 {
		t.Errorf("the output with the first target is not the main one, but %d", got)
	}
	outputs := []Output{{Kind: Values, Target: -1}, {Kind: Values, Target: 1}, {Kind: Classes, Classes: 3, Target: 0}, {Kind: Binary, Classes: 2, Target: -1}}
	for n, want := range map[int]int{4: 2, 2: 1, 1: 0} {
		if got := Main(outputs[:n]); got != want {
			t.Errorf("of the first %d: output %d, want %d", n, got, want)
		}
	}
}

func TestMomentsOfFarNumbers(t *testing.T) {
	m := NewMoments(2)
	if diff := cmp.Diff([][]float64{{0, 0}, {0, 0}}, [][]float64{m.Mean(), m.Spread()}); diff != "" {
		t.Errorf("of no rows (-want +got):\n%s", diff)
	}
	m.Add([]float32{1e6, 0.01, 1e6 + 2, 0.03})
	if diff := cmp.Diff([]float64{1, 0.01}, m.Spread(), cmp.Comparer(func(x, y float64) bool { return x-y < 1e-6 && y-x < 1e-6 })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Add([]float32{1e6 + 4, 0.05})
	near := cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) < 1e-6 })
	if diff := cmp.Diff([]float64{1e6 + 2, 0.03}, m.Mean(), near); diff != "" {
		t.Errorf("mean (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{math.Sqrt(8. / 3), 0.02 * math.Sqrt(2./3)}, m.Spread(), near); diff != "" {
		t.Errorf("spread (-want +got):\n%s", diff)
	}
}
