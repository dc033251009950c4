package report

import (
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// Layer describes the weights of one layer in one model.
type Layer struct {
	Name       string `json:"name"` // of the weight tensor
	Op         string `json:"op"`
	Output     int    `json:"output"` // the operator's output tensor; −1: none
	Shape      []int  `json:"shape"`
	Type       string `json:"type"`
	Weights    int    `json:"weights"`
	Zeros      int    `json:"zeros"`
	Codes      int    `json:"codes,omitempty"` // distinct integers; 0: float weights that are not clustered
	Bytes      int    `json:"bytes"`
	Compressed int    `json:"compressed"` // under DEFLATE level 9, alone
	// SNR is the signal-to-noise ratio of the weights against the original's, in dB; nil: equal, or no original.
	SNR *float64 `json:"snr,omitempty"`
	// OutputSNR is that of the layer's output over samples, where it was measured.
	OutputSNR *float64 `json:"outputSNR,omitempty"`
	Density   Density  `json:"density"`
}

// Layers describes the kernels of a model, in the order of its operators. original, which may be nil, is the float model they
// came from; its kernels are matched by their order, or by their names where the gates of LSTMs are kernels of their own. Layers of a
// model without names take those of the kernels that they match.
func Layers(m, original *tflite.Model) ([]Layer, error) {
	states := map[int]weight.State{}
	findings, err := weight.Load(m, weight.DefaultThresholds)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		states[f.Tensor] = f.State
	}
	kernels := weight.Kernels(m)
	var before []weight.Kernel
	if original != nil {
		before = weight.Kernels(original)
	}
	out := make([]Layer, 0, len(kernels))
	for i, k := range kernels {
		l, values, err := describe(m, k, states[k.Tensor])
		if err != nil {
			return nil, err
		}
		if m.Bare && len(before) == len(kernels) {
			l.Name = before[i].Name
		}
		reference, err := l.reference(original, before, i, len(kernels))
		if err != nil {
			return nil, err
		}
		l.SNR = snr(reference, values)
		l.Output = outputOf(m, k.Tensor)
		out = append(out, l)
	}
	return out, nil
}

// reference are the values that layer i of so many has in the original, of whose kernels they are; nil if that is not known.
func (l *Layer) reference(original *tflite.Model, kernels []weight.Kernel, i, layers int) ([]float64, error) {
	if len(kernels) == layers && layers > 0 {
		values, _, err := measure.Constant(original, kernels[i].Tensor)
		return values, err
	}
	name, gate := l.part()
	at := slices.IndexFunc(kernels, func(k weight.Kernel) bool { return k.Name == name })
	if at < 0 || slices.ContainsFunc(kernels[at+1:], func(k weight.Kernel) bool { return k.Name == name }) {
		return nil, nil
	}
	values, _, err := measure.Constant(original, kernels[at].Tensor)
	if err != nil || gate < 0 {
		return values, err
	}
	size := len(values) / len(ir.LSTMGates)
	return values[gate*size:][:size], nil
}

// of is the name of the float model's weights that a layer holds; of an LSTM's gate, those of all its gates.
func (l *Layer) of() string {
	name, _ := l.part()
	return name
}

// part is of, and which gate of these weights the layer is; −1: all.
func (l *Layer) part() (name string, gate int) {
	if l.Op == schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM.String() {
		for gate, of := range ir.LSTMGates {
			if name, ok := strings.CutSuffix(l.Name, "_"+of); ok {
				return name, gate
			}
		}
	}
	return l.Name, -1
}

// outputOf is the output of the operator whose weights a tensor is.
func outputOf(m *tflite.Model, tensor int) int {
	g := m.Subgraph()
	for _, o := range g.Operators {
		if len(o.Inputs) > 1 && int(o.Inputs[1]) == tensor && len(o.Outputs) > 0 {
			return int(o.Outputs[0])
		}
	}
	return -1
}

// describe looks at one kernel; values are what its weights stand for.
func describe(m *tflite.Model, k weight.Kernel, s weight.State) (Layer, []float64, error) {
	t := m.Subgraph().Tensors[k.Tensor]
	values, stored, err := measure.Constant(m, k.Tensor)
	if err != nil {
		return Layer{}, nil, err
	}
	data := m.Data(t)
	l := Layer{Name: k.Name, Op: k.Op.String(), Shape: k.Shape, Type: t.Type.String(), Weights: len(values), Bytes: len(data),
		Compressed: measure.CompressedSize(data)}
	switch {
	case t.Type == schema.TensorTypeINT4:
		l.Density = CodeDensity(stored, int4Span)
	case t.Type == schema.TensorTypeINT8:
		l.Density = CodeDensity(stored, codeSpan)
	case t.Type == schema.TensorTypeFLOAT32 && s.Clustered():
		floats, err := m.Float32s(t)
		if err != nil {
			return Layer{}, nil, err
		}
		codes, err := s.Codes(floats)
		if err != nil {
			return Layer{}, nil, err
		}
		wide := make([]int64, len(codes))
		for i, c := range codes {
			wide[i] = int64(c)
		}
		l.Density = CodeDensity(wide, codeSpan)
	default:
		floats := make([]float32, len(values))
		for i, v := range values {
			floats[i] = float32(v)
		}
		l.Density = LayerDensity(floats, k.Shape, k.Axis)
	}
	if l.Density.Discrete {
		l.Codes = l.Density.codes()
	}
	for _, v := range values {
		if v == 0 {
			l.Zeros++
		}
	}
	return l, values, nil
}

// snr is 10·log₁₀(Σx² / Σ(x−y)²); nil where they are equal or cannot be compared.
func snr(x, y []float64) *float64 {
	if len(x) != len(y) || len(x) == 0 {
		return nil
	}
	a, b := make([]float32, len(x)), make([]float32, len(y))
	equal := true
	for i := range x {
		a[i], b[i] = float32(x[i]), float32(y[i])
		equal = equal && a[i] == b[i]
	}
	if equal {
		return nil
	}
	v := weight.SNR(a, b)
	v = max(v, -999)
	return &v
}
