package stage

import (
	"errors"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
)

// setLatency replaces the latency among the metrics.
func (r *Result) setLatency(value string) {
	for i := range r.Metrics {
		if r.Metrics[i].Name == string(measure.LatencyMicros) && value != "" {
			r.Metrics[i].Value = value
		}
	}
}

// blank is a source of one sample, all ones. Integer arithmetic takes its time whatever the values: timing a leaf needs no dataset.
type blank struct{ shape []int }

// blankFor returns a sample for a network's only input.
func blankFor(content []byte) (blank, error) {
	m, err := tflite.Read(content)
	if err != nil {
		return blank{}, err
	}
	g := m.Subgraph()
	if len(g.Inputs) != 1 {
		return blank{}, errors.New("the leaf has more than one input")
	}
	b := blank{}
	for i, d := range g.Tensors[g.Inputs[0]].Shape {
		if i > 0 {
			b.shape = append(b.shape, int(d))
		}
	}
	return b, nil
}

func (b blank) Len() int     { return 1 }
func (b blank) Shape() []int { return b.shape }
func (b blank) Classes() int { return 0 }

func (b blank) Read(_ int, x []float32) (int, error) {
	for i := range x {
		x[i] = 1
	}
	return -1, nil
}

func (b blank) Target(int, []float32) error { return dataset.ErrNoTarget }
