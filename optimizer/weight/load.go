package weight

import (
	"fmt"
	"math"
	"strings"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Kernel is a constant weight operand of an operator in the primary subgraph.
type Kernel struct {
	Tensor int
	Name   string
	Op     schema.BuiltinOperator
	Shape  []int
	Axis   int // of the output channels
}

// Depthwise reports whether the kernel is a depthwise convolution's, which rules leave alone unless they name it.
func (k Kernel) Depthwise() bool {
	known := op.Lookup(k.Op)
	return known != nil && known.Weights != nil && known.Weights.Kind == op.Depthwise
}

// Kernels lists the constant weights of convolutions, depthwise and transposed convolutions, fully connected layers and LSTMs, in the
// order of the operators, each tensor once.
func Kernels(m *tflite.Model) []Kernel {
	var kernels []Kernel
	g, seen := m.Subgraph(), map[int32]bool{}
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		known := op.Lookup(code)
		if known == nil {
			continue
		}
		slots, axis := known.WeightSlots()
		for _, slot := range slots {
			if len(o.Inputs) <= slot || o.Inputs[slot] < 0 || seen[o.Inputs[slot]] {
				continue
			}
			t := g.Tensors[o.Inputs[slot]]
			if !m.IsConst(t) || axis >= len(t.Shape) {
				continue
			}
			seen[o.Inputs[slot]] = true
			k := Kernel{Tensor: int(o.Inputs[slot]), Name: t.Name, Op: code, Axis: axis}
			for _, d := range t.Shape {
				k.Shape = append(k.Shape, int(d))
			}
			kernels = append(kernels, k)
		}
	}
	return kernels
}

// Names lists kernels for a message, the first dozen.
func Names(kernels []Kernel) string {
	if len(kernels) == 0 {
		return "no convolution or fully connected weights"
	}
	var list []string
	for _, k := range kernels[:min(12, len(kernels))] {
		list = append(list, fmt.Sprintf("%q", k.Name))
	}
	if len(kernels) > 12 {
		list = append(list, "…")
	}
	return "weights " + strings.Join(list, ", ")
}

// Finding is what the weights of one tensor of a file are held to, and how that is known.
type Finding struct {
	Kernel
	State State
	// Recorded says that espalier's own metadata told; otherwise the state was recognised in the values.
	Recorded bool
	// SNR is the signal-to-noise ratio, in dB, of the state's scale·code against the file's weights; +Inf when exact.
	SNR float64
}

// Binds reports whether the weights are held to anything: a record lists some that were free when the file was written.
func (f Finding) Binds() bool { return f.State.Pruned() > 0 || f.State.Clustered() }

// String says in words what was found.
func (f Finding) String() string {
	text := fmt.Sprintf("weights %q", f.Name)
	if n := f.State.Pruned(); n > 0 {
		text += fmt.Sprintf(": %.1f%% zeros", 100*float64(n)/float64(len(f.State.Mask)))
	}
	if f.State.Clustered() {
		text += fmt.Sprintf(": %d clusters, scope %s", f.State.Clusters, f.State.Scope)
		if !math.IsInf(f.SNR, 1) {
			text += fmt.Sprintf(", as integers at %.1f dB", f.SNR)
		}
	}
	if f.Recorded {
		return text + " (recorded)"
	}
	return text + " (recognised)"
}

// Load finds what a model's kernels are held to: from the metadata if espalier wrote it, which is exact, else by recognising
// zeros and clusters in float and integer weights. Tensors held to nothing are left out.
func Load(m *tflite.Model, by Thresholds) ([]Finding, error) {
	states, err := ReadState(m)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, k := range Kernels(m) {
		if states != nil {
			if s, ok := states[k.Tensor]; ok {
				findings = append(findings, Finding{Kernel: k, State: s, Recorded: true, SNR: math.Inf(1)})
			}
			continue
		}
		f, err := k.recognise(m, by)
		if err != nil {
			return nil, err
		}
		if f != nil {
			findings = append(findings, *f)
		}
	}
	return findings, nil
}

// MostlyClustered reports whether more than half of the weights that are clustered by default are in the given tensors. Then the network
// was clustered, and its clusters count; else single kernels hold few values for another reason.
func MostlyClustered(kernels []Kernel, clustered map[int]bool) bool {
	among, all := 0, 0
	for _, k := range kernels {
		if k.Depthwise() {
			continue
		}
		size := 1
		for _, d := range k.Shape {
			size *= d
		}
		all += size
		if clustered[k.Tensor] {
			among += size
		}
	}
	return 2*among > all
}

// recognise finds what a kernel of a foreign file is held to; nil if nothing.
func (k Kernel) recognise(m *tflite.Model, by Thresholds) (*Finding, error) {
	t := m.Subgraph().Tensors[k.Tensor]
	f := &Finding{Kernel: k, SNR: math.Inf(1)}
	var ok bool
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		values, err := m.Float32s(t)
		if err != nil {
			return nil, err
		}
		if f.State, ok = Recognise(values, k.Shape, k.Axis, by); !ok {
			return nil, nil
		}
		f.State.Found = f.State.Clustered()
		w, err := FromState(k.Name, values, f.State)
		if err != nil {
			return nil, err
		}
		f.SNR = SNR(values, w.Values())
	case schema.TensorTypeINT8, schema.TensorTypeINT4:
		if t.Quantization == nil {
			return nil, nil
		}
		codes, exact, err := k.codes(m, t)
		if err != nil {
			return nil, err
		}
		if f.State, ok = RecogniseCodes(codes, t.Quantization.Scale, k.Shape, k.Axis, by); !ok {
			return nil, nil
		}
		f.State.Found = f.State.Clustered()
		if !exact { // the values are no codes times scales: they can be held to their zeros only
			f.State = State{Shape: f.State.Shape, Axis: f.State.Axis, Mask: f.State.Mask}
			if f.State.Mask == nil {
				return nil, nil
			}
		}
	default:
		return nil, nil
	}
	return f, nil
}

// codes are the integers of an int8 or int4 kernel with their zero points taken off; exact says that none had to be clamped to ±127.
func (k Kernel) codes(m *tflite.Model, t *schema.TensorT) (codes []int8, exact bool, err error) {
	if codes, err = m.Int8s(t); err != nil {
		return nil, false, err
	}
	g, err := checkGeometry(k.Shape, k.Axis, len(codes))
	if err != nil {
		return nil, false, fmt.Errorf("weights %q: %w", k.Name, err)
	}
	zeros := t.Quantization.ZeroPoint
	exact = true
	for i, q := range codes {
		code := int64(q)
		if len(zeros) > 0 {
			code -= zeros[g.channel(i)%len(zeros)]
		}
		exact = exact && code >= -MaxCode && code <= MaxCode
		codes[i] = int8(min(max(code, -MaxCode), MaxCode))
	}
	return codes, exact, nil
}

// SNR is the signal-to-noise ratio of approximation against values, 10·log₁₀(Σ v² / Σ (v − a)²), in dB.
func SNR(values, approximation []float32) float64 {
	var signal, noise float64
	for i, v := range values {
		d := float64(v) - float64(approximation[i])
		signal, noise = signal+float64(v)*float64(v), noise+d*d
	}
	if noise == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(signal/noise)
}
