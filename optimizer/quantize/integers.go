package quantize

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// Integers chooses the integers of every layer's weights in m, by tensor: those given, else the model's own values quantized. Scales too
// small for a bias to fit int32 are raised, which the notes say.
func (p *Plan) Integers(m *tflite.Model, params []Params, given map[int]Weights) (weights map[int]Weights, notes []string, err error) {
	floors := p.scaleFloors(m, params)
	weights = map[int]Weights{}
	for _, l := range p.Layers {
		if _, ok := weights[l.Weight]; ok { // of a layer that shares the tensor
			continue
		}
		shape := p.Graph.Tensors[l.Weight].Shape
		w, ok := given[l.Weight]
		if !ok {
			if w, err = Symmetric(l.Name, p.Constant(m, l.Weight), shape, l.Axis, l.Most(), l.Scales, floors[l.Weight]); err != nil {
				return nil, nil, fmt.Errorf("layer %q: %w", l.Name, err)
			}
		}
		if err := w.check(shape, l.Axis); err != nil {
			return nil, nil, fmt.Errorf("layer %q: %w", l.Name, err)
		}
		if w.Int4 != l.Int4 {
			return nil, nil, fmt.Errorf("layer %q: its integers are of another width than planned", l.Name)
		}
		w, raised := w.withFloor(floors[l.Weight], l.Scales, product(shape[l.Axis+1:]))
		if len(raised) > 0 {
			notes = append(notes, fmt.Sprintf("layer %q: scales of channels %v raised, so that their biases fit int32", l.Name, raised))
		}
		weights[l.Weight] = w
	}
	return weights, notes, nil
}

// scaleFloors returns by weight tensor, which layers may share, the scales that biases need at least.
func (p *Plan) scaleFloors(m *tflite.Model, params []Params) map[int][]float32 {
	floors := map[int][]float32{}
	for _, l := range p.Layers {
		if l.Bias != None && !p.Nodes[l.Node].Wide { // biases of int16 layers are int64
			floor := scaleFloor(p.Constant(m, l.Bias), params[p.InputGroup(l)].Scale)
			floors[l.Weight] = maxima(floors[l.Weight], floor)
		}
	}
	return floors
}

func maxima(a, b []float32) []float32 {
	if a == nil {
		return b
	}
	for i := range a {
		a[i] = max(a[i], b[i])
	}
	return a
}

// Stored returns the integers that an earlier stage chose for the weights of m, by tensor index: those of the layers whose
// state (weight.ReadState) is clustered.
func (p *Plan) Stored(m *tflite.Model) (map[int]Weights, error) {
	states, err := weight.ReadState(m)
	if err != nil {
		return nil, err
	}
	weights := map[int]Weights{}
	for _, l := range p.Layers {
		s, ok := states[l.Weight]
		if !ok || !s.Clustered() {
			continue
		}
		codes, scale, err := s.CodesWithin(p.Constant(m, l.Weight), l.Most())
		if err != nil {
			return nil, fmt.Errorf("clustered weights %q: %w", l.Name, err)
		}
		weights[l.Weight] = Weights{Codes: codes, Scale: scale, Int4: l.Int4}
	}
	return weights, nil
}

// CheckIntegers reports integers that do not stand for the weights of m: those of a layer further than half a step from its values, unless
// these lie beyond the largest code of int4, which clips.
// Where a scale was raised for the sake of a bias and the codes kept, the integers mean larger weights, which is no error as long as they
// have the weights' signs: beside that bias they hardly count.
func (p *Plan) CheckIntegers(m *tflite.Model, params []Params, weights map[int]Weights) error {
	floors := p.scaleFloors(m, params)
	for _, l := range p.Layers {
		w, shape := weights[l.Weight], p.Graph.Tensors[l.Weight].Shape
		inner := product(shape[l.Axis+1:])
		values := w.Values(shape, l.Axis)
		for i, v := range p.Constant(m, l.Weight) {
			channel := i / inner % shape[l.Axis]
			scale := w.scaleOf(channel, shape[l.Axis])
			step := float64(scale)
			allowed := 0.5001 * step
			if floor := floors[l.Weight]; floor != nil && scale <= weight.CompactScale(floor[channel]) {
				allowed += math.Abs(float64(values[i]))
			}
			clipped := w.Int4 && (int(w.Codes[i]) >= weight.MaxCode4 && v > values[i] || int(w.Codes[i]) <= -weight.MaxCode4 && v < values[i])
			if d := math.Abs(float64(v) - float64(values[i])); !(d <= allowed) && !clipped {
				return fmt.Errorf("layer %q: weight %d is %v, its integer means %v, more than half a step of %v away", l.Name, i, v, values[i], step)
			}
		}
	}
	return nil
}

// Constant returns the values that a float32 constant of the plan's graph has in m, which is the planned model or a later version
// of it, with other weights. What the graph computed from constants (see dropFolded) has its value at the time of planning.
func (p *Plan) Constant(m *tflite.Model, t int) []float32 {
	if tensor := m.Subgraph().Tensors[t]; m.IsConst(tensor) {
		if values, err := m.Float32s(tensor); err == nil {
			return values
		}
	}
	return p.Graph.Tensors[t].Float32s()
}
