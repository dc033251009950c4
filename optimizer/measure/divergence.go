package measure

import (
	"bytes"
	"context"
	"errors"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/target"
)

// Divergence says how often a model answers otherwise by the arithmetic of a target's runtime than by LiteRT's.
type Divergence struct {
	Samples       int `json:"samples"`       // that were compared
	SamplesDiffer int `json:"samplesDiffer"` // of which a value of an output differs
	Values        int `json:"values"`        // of all outputs of those samples
	ValuesDiffer  int `json:"valuesDiffer"`
}

// divergenceSamples are compared at most.
const divergenceSamples = 256

// Diverges compares a model's outputs, value by value, on the first samples of a source, 256 at most; of sequences that are too long to be unrolled, on
// their first steps. It is nil where the target computes as LiteRT, and where LiteRT does not run what the target does.
func Diverges(ctx context.Context, model []byte, source dataset.Source, t *target.Target) (*Divergence, error) {
	options := arithmetic(t)
	if options == nil {
		return nil, nil
	}
	source, err := beginningsOf(source, model)
	if err != nil {
		return nil, err
	}
	here, err := load("the", model, source)
	var foreign *integer.UnsupportedError
	if errors.As(err, &foreign) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there, err := integer.Compile(here.model, 0, options...)
	if err != nil {
		return nil, err
	}
	inputs, _, err := sampleSizes(here.graph, source)
	if err != nil {
		return nil, err
	}
	d := &Divergence{Samples: min(source.Len(), divergenceSamples)}
	x := room(inputs, 1)
	for i := range d.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := source.Read(i, x); err != nil {
			return nil, err
		}
		for _, exec := range []*integer.Executor{here.exec, there} {
			exec.Reset()
			for k := range x {
				if err := exec.SetInput(k, x[k]); err != nil {
					return nil, err
				}
			}
			if err := exec.Run(); err != nil {
				return nil, err
			}
		}
		before := d.ValuesDiffer
		for k, output := range here.graph.Outputs {
			a, b := here.exec.OutputBytes(k), there.OutputBytes(k)
			values := here.graph.Numel(output)
			size := len(a) / max(values, 1)
			for j := range values {
				d.ValuesDiffer += count(!bytes.Equal(a[j*size:(j+1)*size], b[j*size:(j+1)*size]))
			}
			d.Values += values
		}
		d.SamplesDiffer += count(d.ValuesDiffer > before)
	}
	return d, nil
}
