package stage

import (
	"slices"

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
type blank struct{ inputs []dataset.Array }

// blankFor returns a sample for a network's inputs, of one step if it keeps state.
func blankFor(content []byte) (blank, error) {
	m, err := tflite.Read(content)
	if err != nil {
		return blank{}, err
	}
	states, err := m.States()
	if err != nil {
		return blank{}, err
	}
	g, b := m.Subgraph(), blank{}
	for _, t := range g.Inputs {
		if slices.ContainsFunc(states, func(pair [2]int) bool { return pair[0] == int(t) }) {
			continue
		}
		in := dataset.Array{Name: g.Tensors[t].Name, Shape: []int{}}
		for i, d := range g.Tensors[t].Shape {
			if i > 0 {
				in.Shape = append(in.Shape, int(d))
			}
		}
		b.inputs = append(b.inputs, in)
	}
	return b, nil
}

func (b blank) Len() int                  { return 1 }
func (b blank) Inputs() []dataset.Array   { return b.inputs }
func (b blank) Targets() []dataset.Target { return nil }

func (b blank) Read(_ int, x [][]float32) error {
	for _, values := range x {
		for i := range values {
			values[i] = 1
		}
	}
	return nil
}

func (b blank) Truth(int, [][]float32) error { return nil }
