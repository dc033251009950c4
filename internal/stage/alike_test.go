package stage

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
)

// level is a source whose sample i has the value i throughout, but for the last.
type level struct {
	dataset.Source
	inputs []dataset.Array
	n      int
	last   float32
}

func (l level) Len() int                { return l.n }
func (l level) Inputs() []dataset.Array { return l.inputs }
func (l level) Read(i int, x [][]float32) error {
	for _, values := range x {
		for k := range values {
			if values[k] = float32(i) / float32(l.n); i == l.n-1 {
				values[k] = l.last
			}
		}
	}
	return nil
}

func TestALeafThatAnswersAllSamplesAlikeIsToldWhy(t *testing.T) {
	leaf, err := os.ReadFile("../../optimizer/exec/integer/testdata/recurrent/svdf_int8.tflite")
	if err != nil {
		t.Fatal(err)
	}
	m, err := tflite.Read(leaf)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	scale := &g.Tensors[g.Inputs[0]].Quant.Scale[0]
	wide := m.Clone()
	wide.Subgraph().Tensors[g.Inputs[0]].Quantization.Scale = []float32{*scale * 1e6}
	outlying, err := wide.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	none := int32(0)
	still := v1alpha1.Training{Epochs: &none}
	one, two := []answer.Output{{Name: "a"}}, []answer.Output{{Name: "a"}, {Name: "b"}}
	for name, c := range map[string]struct {
		stage    *v1alpha1.Stage
		training v1alpha1.Training
		leaf     []byte
		outputs  []answer.Output
		alike    []measure.Alike
		want     string
	}{
		"nothing":           {nil, still, leaf, one, nil, ""},
		"the baseline":      {nil, still, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; 8 bits may be too few for it: try leaf: {equalize: true} or {activations: Int16}"},
		"sparsity":          {&v1alpha1.Stage{Prune: &v1alpha1.Prune{}}, v1alpha1.Training{}, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; try less prune.sparsity or a smaller training.learningRate"},
		"channels":          {&v1alpha1.Stage{Prune: &v1alpha1.Prune{Structure: v1alpha1.PruneChannels}}, still, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; try a smaller prune.channels"},
		"multiplications":   {&v1alpha1.Stage{Prune: &v1alpha1.Prune{Structure: v1alpha1.PruneChannels, Multiplications: new(v1alpha1.Decimal("0.5"))}}, still, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; try a greater prune.multiplications"},
		"clusters":          {&v1alpha1.Stage{Cluster: &v1alpha1.Cluster{}}, still, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; try more clusters"},
		"training in int8":  {&v1alpha1.Stage{Quantize: &v1alpha1.Quantize{}}, v1alpha1.Training{}, leaf, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "answers all samples alike: 90 of 200 otherwise than the model does; try a smaller training.learningRate or an earlier stage that takes less away"},
		"one of outputs":    {nil, still, leaf, two, []measure.Alike{{Output: "b", Otherwise: 90}}, "output b answers all samples alike: 90 of 200 otherwise than the model does; 8 bits may be too few for it: try leaf: {equalize: true} or {activations: Int16}"},
		"a range too large": {&v1alpha1.Stage{Prune: &v1alpha1.Prune{}}, still, outlying, one, []measure.Alike{{Output: "a", Otherwise: 90}}, "while nearly all samples lie within 0.01 to 0.985: leave the training samples beyond that out, or set leaf: {calibration: {method: Percentile, percentile: 99}}"},
	} {
		t.Run(name, func(t *testing.T) {
			source := level{inputs: []dataset.Array{{Name: "x", Shape: []int{6}}}, n: 200, last: 5000}
			r := &Runner{Prepared: &Prepared{Data: &dataset.Dataset{Test: source}, Outputs: c.outputs}}
			got, err := r.deadened(settings{stage: c.stage, training: c.training}, c.alike, c.leaf)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(got, "\n")
			if name == "a range too large" && strings.HasPrefix(text, "answers all samples alike: 90 of 200 otherwise than the model does; its input x is quantized for ") {
				text = text[strings.Index(text, "while"):]
			}
			if diff := cmp.Diff(c.want, text); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Leaving samples out helps against those that lie far outside; not where no int8 range could be narrower.
func TestWhatAnInputIsQuantizedForAndWhatHelps(t *testing.T) {
	const leave, shift = "leave the training samples beyond that out", "have them shifted and scaled before the network"
	for name, c := range map[string]struct {
		reach inputReach
		want  string // "" where the range is as it should be
	}{
		"samples that fill it":   {inputReach{"x", -5, 5, -4, 4}, ""},
		"outliers":               {inputReach{"x", -1e4, 1e4, -5, 5}, leave},
		"outliers on one side":   {inputReach{"x", 0, 1e4, 0.5, 5}, leave},
		"samples far from 0":     {inputReach{"x", 0, 10010, 9990, 10009}, shift},
		"samples far below 0":    {inputReach{"x", -10010, 0, -10009, -9990}, shift},
		"far from 0 and further": {inputReach{"x", 0, 40000, 9990, 10009}, leave},
		"too small":              {inputReach{"x", -5.6e-7, 4.4e-7, -5e-12, 4e-12}, shift},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.reach.outlying(); got != (c.want != "") {
				t.Errorf("outlying is %v", got)
			}
			if got := c.reach.String(); !strings.Contains(got, c.want) {
				t.Errorf("%q does not say %q", got, c.want)
			}
		})
	}
}
