package quantize

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/weight"
)

// Params turns the ranges of the groups into what the file will hold. Fixed quantizations are taken as they are; scales are
// rounded up to 8 significant bits except where a model input is in the group, and are kept within what the integer kernels
// can multiply by. ranges that training moved give the same parameters here as in the file.
func (p *Plan) Params(ranges []Range) []Params {
	params := make([]Params, len(p.Groups))
	p.SetParams(params, ranges)
	return params
}

// SetParams is Params into a slice of one for each group.
func (p *Plan) SetParams(params []Params, ranges []Range) {
	for g := range p.Groups {
		params[g] = p.groupParams(g, ranges[g])
	}
	for i := range p.Graph.Nodes {
		if g, floor := p.kernelFloor(i, params); g != None && p.Groups[g].Fixed == nil && params[g].Scale < floor {
			if params[g].Wide {
				params[g].Scale = weight.CompactScale(floor)
				continue
			}
			r := ranges[g].widen()
			r.Max = r.Min + float32(floor*codes)
			params[g] = p.groupParams(g, r)
		}
	}
}

func (p *Plan) groupParams(g int, r Range) Params {
	switch group := &p.Groups[g]; {
	case group.Fixed != nil:
		return *group.Fixed
	case group.Cell:
		return r.CellParams()
	case group.Wide:
		return r.WideParams(group.Input)
	case group.Input:
		return r.Params()
	default:
		return r.CompactParams()
	}
}

// wideFloor is how much larger the least output scale of an int16 kernel is: sums have 15 more bits, not 20.
const wideFloor = 1 << 5

// kernelFloor returns the group whose scale a node bounds, and the bound; None if it bounds none.
func (p *Plan) kernelFloor(node int, params []Params) (group int, floor float32) {
	n, np := &p.Graph.Nodes[node], &p.Nodes[node]
	if !np.Int8 || np.LSTM != nil {
		return None, 0
	}
	known := RuleOf(n)
	if np.Wide && known.Int16.Bend > 0 {
		out := p.Tensor[n.Outputs[0]]
		return out, params[out].Scale + float32(known.Int16.Margin(float64(params[np.Operands[0]].Scale))/math.MaxInt16)
	}
	rule := known.Int8
	switch {
	case rule.OutputFloor > 0:
		share := rule.OutputFloor
		if np.Wide {
			share *= wideFloor
		}
		for _, g := range np.Operands {
			if g != None {
				floor = max(floor, params[g].Scale*share)
			}
		}
		return p.Tensor[n.Outputs[0]], floor
	case rule.InputFloor > 0 && !np.Wide:
		return np.Operands[0], rule.InputFloor
	default:
		return None, 0
	}
}

// CheckParams reports quantizations by group that are not the plan's, or that no file may hold.
func (p *Plan) CheckParams(params []Params) error {
	if len(params) != len(p.Groups) {
		return fmt.Errorf("%d quantizations for a plan of %d groups", len(params), len(p.Groups))
	}
	for g, q := range params {
		if err := q.Check(); err != nil {
			return fmt.Errorf("quantization of %s: %w", p.groupName(g), err)
		}
	}
	return nil
}

// groupName names a group by its first tensor.
func (p *Plan) groupName(g int) string {
	switch group := &p.Groups[g]; {
	case len(group.Tensors) > 0:
		return p.name(group.Tensors[0])
	case len(group.Sources) > 0:
		return p.name(group.Sources[0])
	default:
		return fmt.Sprintf("group %d", g)
	}
}

// Attach gives the network the fake quantization that the int8 file will compute with: one object a group, on every tensor
// with an int8 form and on constant operands. It returns the objects by group; training that moves ranges sets their fields
// (Range.Params, or Plan.Params for all). Weights are not touched: they are the caller's, as codes times scales.
func (p *Plan) Attach(net *float.Network, params []Params) ([]*float.ActQuant, error) {
	if len(net.Act) != len(p.Tensor) || len(params) != len(p.Groups) {
		return nil, fmt.Errorf("the plan is of another model: %d tensors and %d groups, the network has %d and %d were given", len(p.Tensor), len(p.Groups), len(net.Act), len(params))
	}
	acts := make([]*float.ActQuant, len(p.Groups))
	for g, q := range params {
		acts[g] = &float.ActQuant{Scale: q.Scale, ZeroPoint: q.ZeroPoint, Wide: q.Wide}
	}
	for t, g := range p.Tensor {
		if g != None {
			net.Act[t] = acts[g]
		}
	}
	for i := range p.Nodes {
		for slot, g := range p.Nodes[i].Operands {
			if t := p.Graph.Nodes[i].Inputs[slot]; g != None && p.Graph.Tensors[t].Const != nil {
				net.Act[t] = acts[g]
			}
		}
	}
	net.Refresh()
	return acts, nil
}

// ParamsOf reads the quantizations back from the objects of Attach.
func ParamsOf(acts []*float.ActQuant) []Params {
	params := make([]Params, len(acts))
	for g, a := range acts {
		params[g] = Params{Scale: a.Scale, ZeroPoint: a.ZeroPoint, Wide: a.Wide}
	}
	return params
}
