package measure

import (
	"encoding/json"
	"strconv"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
)

// Overlay is a number for each operator of a model, as Model Explorer lays it over its graph: per-node data, keyed by the tensors that operators make
// (GraphNodeData in src/server/package/src/model_explorer/node_data_builder.py at c0f8dba of google-ai-edge/model-explorer).
type Overlay struct {
	Name     string                  `json:"name"`
	Results  map[string]overlayValue `json:"results"`
	Gradient []overlayStop           `json:"gradient"`
}

type overlayValue struct {
	Value float64 `json:"value"`
}

// overlayStop is the colour at a place between the least value (0) and the largest (1).
type overlayStop struct {
	Stop  float64 `json:"stop"`
	Color string  `json:"bgColor"`
}

// Overlays are the overlays of model B of a comparison, by the name of a file and, in it, by the name of an operator's output, of a model without names by the number of the operator: error, what each activation is off (signal-to-noise ratio in decibels; equal ones have
// none); zeros, how many of the weights are zero, in percent; codes, how many values the weights have.
func (c *Comparison) Overlays(b []byte) (map[string]*Overlay, error) {
	m, err := tflite.Read(b)
	if err != nil {
		return nil, err
	}
	pale, strong := "#ffffff", "#d7301f"
	made := func(name, low, high string) *Overlay {
		return &Overlay{Name: name, Results: map[string]overlayValue{}, Gradient: []overlayStop{{0, low}, {1, high}}}
	}
	noise, zeros, codes := made("signal to noise, dB", strong, pale), made("zeros, %", pale, "#2171b5"), made("distinct weights", "#238b45", pale)
	constants := map[int]ConstantDifference{}
	for _, k := range c.Constants {
		constants[k.B] = k
	}
	nodes := map[int]string{} // of the outputs of operators: as Model Explorer calls them
	for i, o := range m.Subgraph().Operators {
		for _, t := range o.Outputs {
			if nodes[int(t)] = m.Subgraph().Tensors[t].Name; m.Bare {
				nodes[int(t)] = strconv.Itoa(i)
			}
		}
		code, _ := m.Op(o)
		known := op.Lookup(code)
		if known == nil || known.Weights == nil || len(o.Outputs) == 0 {
			continue
		}
		at := known.Find(op.Weight)
		if at < 0 || at >= len(o.Inputs) || o.Inputs[at] < 0 {
			continue
		}
		if k, ok := constants[int(o.Inputs[at])]; ok {
			name := nodes[int(o.Outputs[0])]
			zeros.Results[name], codes.Results[name] = overlayValue{100 * float64(k.ZerosB) / float64(k.Elements)}, overlayValue{float64(k.CodesB)}
		}
	}
	for _, l := range c.Layers {
		if l.Decibel == nil {
			continue
		}
		name := l.Name
		if m.Bare {
			name = nodes[l.B]
		}
		noise.Results[name] = overlayValue{*l.Decibel}
	}
	out := map[string]*Overlay{"zeros.json": zeros, "codes.json": codes}
	if c.Samples > 0 {
		out["error.json"] = noise
	}
	return out, nil
}

// JSON is an overlay as its file holds it.
func (o *Overlay) JSON() ([]byte, error) { return json.MarshalIndent(o, "", "  ") }
