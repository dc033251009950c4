package target

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Span is from the least to the most of what was measured.
type Span struct {
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
}

// Cycles are those of the processor's clock that the int8 operators of a network take, as far as their kinds were measured and published. A
// device's memory and the other operators come on top: no latency.
type Cycles struct {
	Span
	Covered float64 `json:"covered"` // the share of the network's multiplications
}

// CyclesOf counts what the operators of a model take by the catalogue's published measurements; nil where there are none of its operators.
func (t *Target) CyclesOf(m *tflite.Model) (*Cycles, error) {
	if len(t.Cycles) == 0 {
		return nil, nil
	}
	g, err := ir.Parse(m, 1)
	if err != nil {
		return nil, err
	}
	var c Cycles
	covered := 0.0
	for i := range g.Nodes {
		n := &g.Nodes[i]
		each, known := t.Cycles[n.Op.String()]
		if in := g.Input(n, 0); !known || in == nil || in.Type != schema.TensorTypeINT8 {
			continue
		}
		multiplications := float64(g.MultiplicationsOf(n))
		c.Least += each.Least * multiplications
		c.Most += each.Most * multiplications
		covered += multiplications
	}
	if covered == 0 {
		return nil, nil
	}
	c.Least, c.Most = math.Round(c.Least), math.Round(c.Most)
	c.Covered = covered / float64(g.Multiplications())
	return &c, nil
}
