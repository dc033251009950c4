package tflite

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Encoding says of a constant how the file holds it.
type Encoding struct {
	Subgraph int
	Tensor   int // of the model as Read gives it
	Kind     encode.Kind
	Bytes    int // as it lies in the file, with its table and metadata
}

// pair is a constant as DECODE reads it, and what it is decoded to.
type pair struct {
	subgraph           int
	encoded, ancillary int32
	decoded            int32
	form               string // type, shape and quantization of what it is decoded to
}

// decode makes constants of what DECODE operators decode, without the operators; of constants that several operators decode anew
// there is one. Operators with a kind of an application's own stay.
func (m *Model) decode() error {
	seen := map[pair]int32{}
	var found []Encoding
	var tensors []*schema.TensorT
	for s, g := range m.Subgraphs {
		var kept []*schema.OperatorT
		for i, o := range g.Operators {
			_, custom := m.Op(o)
			if custom != encode.Operator {
				kept = append(kept, o)
				continue
			}
			pairs, err := m.pairs(s, i, o)
			if err != nil {
				return err
			}
			if pairs == nil {
				kept = append(kept, o)
				continue
			}
			for _, p := range pairs {
				to := p.decoded
				p.decoded = 0
				if first, ok := seen[p]; ok && !slices.Contains(g.Outputs, to) {
					replaceInputs(g, to, first)
					continue
				}
				seen[p] = to
				t := g.Tensors[to]
				data, err := m.decoded(g, p, t)
				if err != nil {
					return wrong(tensorName(s, int(to), t), "%v", err)
				}
				ancillary := m.Data(g.Tensors[p.ancillary])
				kind, _, _ := encode.KindOf(ancillary)
				m.SetData(t, data)
				tensors = append(tensors, t)
				found = append(found, Encoding{Subgraph: s, Kind: kind, Bytes: len(m.Data(g.Tensors[p.encoded])) + len(ancillary)})
			}
		}
		g.Operators = kept
	}
	if len(found) == 0 {
		return nil
	}
	Compact(m)
	for i, e := range found {
		if e.Tensor = slices.Index(m.Subgraphs[e.Subgraph].Tensors, tensors[i]); e.Tensor >= 0 {
			m.Encoded = append(m.Encoded, e)
		}
	}
	return m.Check()
}

// bareEncoded takes the scales from encoded tensors, which TFLM's own tool leaves there: what they hold is bytes.
func (m *Model) bareEncoded() {
	for _, g := range m.Subgraphs {
		for _, o := range g.Operators {
			if int(o.OpcodeIndex) >= len(m.OperatorCodes) {
				continue
			}
			if _, custom := m.Op(o); custom != encode.Operator {
				continue
			}
			for _, t := range o.Inputs {
				if t >= 0 && int(t) < len(g.Tensors) && g.Tensors[t].Type == schema.TensorTypeUINT8 {
					g.Tensors[t].Quantization = nil
				}
			}
		}
	}
}

// pairs are those of an operator; nil if it has one of a kind that is not known.
func (m *Model) pairs(s, i int, o *schema.OperatorT) ([]pair, error) {
	g, where := m.Subgraphs[s], inSubgraph(s, fmt.Sprintf("operator %d %q", i, encode.Operator))
	if len(o.Outputs) == 0 || len(o.Inputs) != 2*len(o.Outputs) {
		return nil, wrong(where, "%d inputs and %d outputs, want two inputs for each output", len(o.Inputs), len(o.Outputs))
	}
	pairs, known := make([]pair, 0, len(o.Outputs)), true
	for k, to := range o.Outputs {
		p := pair{s, o.Inputs[2*k], o.Inputs[2*k+1], to, ""}
		if to < 0 || p.encoded < 0 || p.ancillary < 0 || !m.IsConst(g.Tensors[p.encoded]) || !m.IsConst(g.Tensors[p.ancillary]) {
			return nil, wrong(where, "pair %d is not two constants and what they are decoded to", k)
		}
		_, is, err := encode.KindOf(m.Data(g.Tensors[p.ancillary]))
		if err != nil {
			return nil, wrong(where, "pair %d: %v", k, err)
		}
		known = known && is
		t := g.Tensors[to]
		p.form = fmt.Sprint(t.Type, t.Shape)
		if q := t.Quantization; q != nil {
			p.form += fmt.Sprint(q.Scale, q.ZeroPoint, q.QuantizedDimension)
		}
		pairs = append(pairs, p)
	}
	if !known {
		return nil, nil
	}
	return pairs, nil
}

// replaceInputs has the operators of a subgraph read another tensor.
func replaceInputs(g *schema.SubGraphT, from, to int32) {
	for _, o := range g.Operators {
		for k, t := range o.Inputs {
			if t == from {
				o.Inputs[k] = to
			}
		}
	}
}

// decoded is the data of a constant.
func (m *Model) decoded(g *schema.SubGraphT, p pair, t *schema.TensorT) ([]byte, error) {
	layout, err := LayoutOf(t)
	if err != nil {
		return nil, err
	}
	return encode.Decode(m.Data(g.Tensors[p.encoded]), m.Data(g.Tensors[p.ancillary]), layout)
}

// LayoutOf is what DECODE knows of a tensor.
func LayoutOf(t *schema.TensorT) (encode.Layout, error) {
	bits, ok := TypeSize(t.Type)
	n, err := NumElements(t.Shape)
	if err != nil || !ok || bits < 8 {
		return encode.Layout{}, fmt.Errorf("DECODE makes no %s%v", t.Type, t.Shape)
	}
	l := encode.Layout{Width: bits / 8, Count: n, Channels: 1, Rank: len(t.Shape)}
	q := t.Quantization
	if q == nil || len(q.Scale) == 0 {
		return l, nil
	}
	l.Channels = len(q.Scale)
	switch axis := int(q.QuantizedDimension); {
	case l.Channels > 1 && axis == len(t.Shape)-1:
		l.Last = true
	case axis != 0:
		return l, fmt.Errorf("DECODE reads scales on the first or last dimension, not on %d of %v", axis, t.Shape)
	}
	for c, zero := range q.ZeroPoint {
		if zero != 0 && l.Zero == nil {
			l.Zero = make([]int, l.Channels)
		}
		if zero != 0 {
			l.Zero[c] = int(zero)
		}
	}
	return l, nil
}
