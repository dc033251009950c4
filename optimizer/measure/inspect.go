package measure

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// Inspection describes a model file.
type Inspection struct {
	FileBytes       int     `json:"fileBytes"`
	CompressedBytes int     `json:"compressedBytes"`
	ArenaBytes      int     `json:"arenaBytes,omitempty"` // 0 where the model cannot be run here
	ConstantBytes   int     `json:"constantBytes"`
	Sparsity        float64 `json:"sparsity"` // as the metric
	Multiplications int64   `json:"multiplications"`
	// Unsupported says why the model cannot be run here, "" if it can.
	Unsupported string     `json:"unsupported,omitempty"`
	Operators   []Operator `json:"operators"`
	Tensors     []Tensor   `json:"tensors"`
	// Bare says that the file has no names of inner tensors: theirs are by the operators.
	Bare     bool     `json:"bare,omitempty"`
	Findings []string `json:"findings,omitempty"` // what the weights are held to: zeros, clusters
	Metadata []string `json:"metadata,omitempty"` // names of metadata entries
	// Preprocessing says how the inputs are made (dataset.Made), where the file has it.
	Preprocessing json.RawMessage `json:"preprocessing,omitempty"`
	Subgraphs     int             `json:"subgraphs"`
	// States are the names of what the network keeps from one step to the next: variables, or inputs that the file pairs with outputs.
	States []string `json:"states,omitempty"`
	// Signatures of the file, those of other subgraphs too.
	Signatures []Signature `json:"signatures,omitempty"`
}

// Signature is a function of the file that a caller can name.
type Signature struct {
	Name     string `json:"name"`
	Subgraph int    `json:"subgraph"` // 0 is the primary one, which the rest describes
	Inputs   []Port `json:"inputs"`
	Outputs  []Port `json:"outputs"`
}

// Port is an input or output of a signature.
type Port struct {
	Name   string `json:"name"`
	Tensor int    `json:"tensor"` // its index in the signature's subgraph
	Type   string `json:"type"`
	Shape  []int  `json:"shape"` // -1 where the size is open
}

// Operator is one operator of the primary subgraph.
type Operator struct {
	Index           int    `json:"index"`
	Name            string `json:"name"`
	Version         int    `json:"version"`
	Inputs          []int  `json:"inputs"`
	Outputs         []int  `json:"outputs"`
	Multiplications int64  `json:"multiplications,omitempty"` // of one sample
}

// Tensor describes one tensor of the primary subgraph. What is counted of values is there for constants only.
type Tensor struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Role  Role   `json:"role"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
	// ShapeSignature is the shape with -1 where the file leaves the size open; absent where it leaves none.
	ShapeSignature []int   `json:"shapeSignature,omitempty"`
	Elements       int     `json:"elements"`
	Bytes          int     `json:"bytes"`
	Zeros          int     `json:"zeros"`    // elements that stand for 0
	Distinct       int     `json:"distinct"` // stored values
	Min            float64 `json:"min"`      // real values
	Max            float64 `json:"max"`
	Scales         int     `json:"scales,omitempty"` // 1, or one an index of dimension Axis
	Axis           int     `json:"axis,omitempty"`
	ScaleMin       float64 `json:"scaleMin,omitempty"`
	ScaleMax       float64 `json:"scaleMax,omitempty"`
	// ZeroPoint of the tensor, or of its first channel.
	ZeroPoint int `json:"zeroPoint,omitempty"`
	// Encoding is how a constant lies in the file, where TFLM's DECODE operator decodes it: LUT, Huffman, Prune.
	Encoding    string `json:"encoding,omitempty"`
	StoredBytes int    `json:"storedBytes,omitempty"` // that it takes so, with table and metadata
}

// Constant reports whether the tensor's values are in the file.
func (t Tensor) Constant() bool {
	return t.Role != RoleInput && t.Role != RoleOutput && t.Role != RoleActivation
}

// Role is what a tensor is for.
type Role string

// The roles.
const (
	RoleInput      Role = "input"
	RoleOutput     Role = "output"
	RoleActivation Role = "activation"
	RoleKernel     Role = "kernel"    // of a convolution or fully connected layer: prunable by default
	RoleDepthwise  Role = "depthwise" // kernel
	RoleBias       Role = "bias"
	RoleConstant   Role = "constant"
)

// Inspect describes a model file. A model with operators that cannot be run here is described all the same.
func Inspect(model []byte) (*Inspection, error) {
	m, err := tflite.Read(model)
	if err != nil {
		return nil, err
	}
	out := &Inspection{FileBytes: len(model), CompressedBytes: CompressedSize(model), Subgraphs: len(m.Subgraphs)}
	g, err := ir.Parse(m, 0)
	if err != nil {
		if out.Unsupported = err.Error(); ir.OpenSizes(m) {
			out.Unsupported = "at the sizes in the file, " + out.Unsupported
		}
		if g, err = ir.Outline(m); err != nil {
			return nil, err
		}
	}
	if out.Sparsity, err = sparsity(m); err != nil {
		return nil, err
	}
	out.Signatures = signatures(m)
	exec, err := integer.Compile(m, 0)
	if err == nil {
		err = ir.NeverSet(m)
	}
	within := err != nil && out.Unsupported == "" // loops, branches or fused layers, which run once they are written out
	if err == nil {
		out.ArenaBytes = exec.ArenaBytes()
	}
	findings, err := weight.Load(m, weight.DefaultThresholds)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		if f.Binds() {
			out.Findings = append(out.Findings, f.String())
		}
	}
	for _, b := range m.Buffers {
		if b != nil {
			out.ConstantBytes += len(b.Data)
		}
	}
	for _, entry := range m.ModelT.Metadata {
		out.Metadata = append(out.Metadata, entry.Name)
		var line bytes.Buffer
		if data, _ := m.Metadata(entry.Name); entry.Name == dataset.PreprocessingMetadata && json.Compact(&line, data) == nil {
			out.Preprocessing = line.Bytes()
		}
	}
	if step, err := stream.Open(m); err == nil && step != nil { // what it cannot do with state, a run says
		for _, s := range step.States {
			out.States = append(out.States, s.Name)
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		o := Operator{Index: n.Index, Name: n.Op.String(), Version: n.Version, Inputs: n.Inputs, Outputs: n.Outputs, Multiplications: g.MultiplicationsOf(n)}
		if n.Custom != "" {
			o.Name = n.Custom
		}
		out.Multiplications += o.Multiplications
		out.Operators = append(out.Operators, o)
	}
	if within {
		if err := out.countWrittenOut(m); err != nil {
			out.Unsupported = err.Error()
		}
	}
	roles := rolesOf(m, g)
	for i := range m.Subgraph().Tensors {
		t, err := describe(m, i, roles[i], g.Tensors[i].Shape)
		if err != nil {
			return nil, err
		}
		out.Tensors = append(out.Tensors, t)
	}
	out.Bare = m.Bare
	for _, e := range m.Encoded {
		if e.Subgraph == 0 {
			t := &out.Tensors[e.Tensor]
			t.Encoding, t.StoredBytes = e.Kind.String(), e.Bytes
		}
	}
	return out, nil
}

// signatures lists the signatures of a file.
func signatures(m *tflite.Model) []Signature {
	var out []Signature
	for _, s := range m.SignatureDefs {
		ports := func(list []*schema.TensorMapT) []Port {
			named := make([]Port, 0, len(list))
			for _, p := range list {
				t := m.Subgraphs[s.SubgraphIndex].Tensors[p.TensorIndex]
				shape := openShape(t)
				if shape == nil {
					shape = ints(t.Shape)
				}
				named = append(named, Port{p.Name, int(p.TensorIndex), t.Type.String(), shape})
			}
			return named
		}
		out = append(out, Signature{s.SignatureKey, int(s.SubgraphIndex), ports(s.Inputs), ports(s.Outputs)})
	}
	return out
}

// openShape is a tensor's shape with -1 where its size is open; nil if it has no open size.
func openShape(t *schema.TensorT) []int {
	if len(t.ShapeSignature) != len(t.Shape) || !slices.Contains(t.ShapeSignature, -1) {
		return nil
	}
	return ints(t.ShapeSignature)
}

func ints(dims []int32) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = int(d)
	}
	return out
}

// countWrittenOut counts what lies within the loops, branches and fused recurrent layers of a model that has some, with the arena that it
// takes, and says why it cannot be run with them written out; nil if it can.
func (out *Inspection) countWrittenOut(m *tflite.Model) error {
	m = m.Clone()
	if _, err := tflite.Normalise(m); err != nil {
		return err
	}
	if _, err := ir.Specialize(m, nil); err != nil {
		return err
	}
	g, err := ir.Parse(m, 0)
	if err != nil {
		return err
	}
	exec, err := integer.Compile(m, 0)
	if err != nil {
		return err
	}
	out.Multiplications, out.ArenaBytes = g.Multiplications(), exec.ArenaBytes()
	out.Sparsity, err = sparsity(m)
	return err
}

// rolesOf tells the role of every tensor.
func rolesOf(m *tflite.Model, g *ir.Graph) []Role {
	roles := make([]Role, len(m.Subgraph().Tensors))
	for i, t := range m.Subgraph().Tensors {
		if roles[i] = RoleActivation; m.IsConst(t) {
			roles[i] = RoleConstant
		}
	}
	for _, k := range weight.Kernels(m) {
		if roles[k.Tensor] = RoleKernel; k.Depthwise() {
			roles[k.Tensor] = RoleDepthwise
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		known := op.Lookup(n.Op)
		if known == nil || known.Weights == nil {
			continue
		}
		if bias := g.Input(n, known.Find(op.Bias)); bias != nil && roles[bias.Index] == RoleConstant {
			roles[bias.Index] = RoleBias
		}
	}
	for _, i := range g.Inputs {
		roles[i] = RoleInput
	}
	for _, i := range g.Outputs {
		if roles[i] == RoleActivation {
			roles[i] = RoleOutput
		}
	}
	return roles
}

// describe looks at one tensor.
func describe(m *tflite.Model, index int, role Role, shape []int) (Tensor, error) {
	raw := m.Subgraph().Tensors[index]
	t := Tensor{Index: index, Name: raw.Name, Role: role, Type: raw.Type.String(), Shape: slices.Clone(shape), ShapeSignature: openShape(raw), Elements: numel(shape)}
	bits, _ := tflite.TypeSize(raw.Type)
	t.Bytes = (t.Elements*bits + 7) / 8
	if q := raw.Quantization; q != nil && len(q.Scale) > 0 {
		t.Scales, t.Axis = len(q.Scale), int(q.QuantizedDimension)
		t.ScaleMin, t.ScaleMax = float64(slices.Min(q.Scale)), float64(slices.Max(q.Scale))
		if len(q.ZeroPoint) > 0 {
			t.ZeroPoint = int(q.ZeroPoint[0])
		}
	}
	if !m.IsConst(raw) {
		return t, nil
	}
	t.Bytes = len(m.Data(raw))
	values, stored, err := realValues(m, index)
	if errors.Is(err, errNoNumbers) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	t.Elements = len(values)
	t.Distinct = distinct(stored)
	for i, v := range values {
		if v == 0 {
			t.Zeros++
		}
		if i == 0 {
			t.Min, t.Max = v, v
		}
		t.Min, t.Max = min(t.Min, v), max(t.Max, v)
	}
	return t, nil
}

var errNoNumbers = errors.New("no numbers")

// realValues returns the values a constant stands for, and what is stored (the bits, for floats).
func realValues(m *tflite.Model, index int) (values []float64, stored []int64, err error) {
	raw := m.Subgraph().Tensors[index]
	data := m.Data(raw)
	switch raw.Type {
	case schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT16:
		floats, err := m.Float32s(raw)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range floats {
			if v == 0 {
				v = 0 // negative zero is zero
			}
			values, stored = append(values, float64(v)), append(stored, int64(math.Float32bits(v)))
		}
		return values, stored, nil
	case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeINT4:
		c, err := codesOf(m, index)
		if err != nil {
			return nil, nil, err
		}
		return c.real(raw.Quantization), c.values, nil
	case schema.TensorTypeINT16, schema.TensorTypeINT32, schema.TensorTypeINT64:
		size := map[schema.TensorType]int{schema.TensorTypeINT16: 2, schema.TensorTypeINT32: 4, schema.TensorTypeINT64: 8}[raw.Type]
		c := &codes{inner: 1}
		for ; len(data) >= size; data = data[size:] {
			var wide [8]byte
			copy(wide[:], data[:size])
			shift := 64 - 8*size
			c.values = append(c.values, int64(binary.LittleEndian.Uint64(wide[:]))<<shift>>shift)
		}
		if q := raw.Quantization; q != nil && len(q.Scale) > 1 {
			for _, d := range raw.Shape[min(int(q.QuantizedDimension)+1, len(raw.Shape)):] {
				c.inner *= int(d)
			}
		}
		return c.real(raw.Quantization), c.values, nil
	default:
		return nil, nil, errNoNumbers
	}
}

// real dequantizes codes; without a quantization they stand for themselves.
func (c *codes) real(q *schema.QuantizationParametersT) []float64 {
	out := make([]float64, len(c.values))
	for i, v := range c.values {
		scale, zero := 1.0, int64(0)
		if q != nil && len(q.Scale) > 0 {
			scale = float64(q.Scale[i/c.inner%len(q.Scale)])
		}
		if q != nil && len(q.ZeroPoint) > 0 {
			zero = q.ZeroPoint[i/c.inner%len(q.ZeroPoint)]
		}
		out[i] = float64(v-zero) * scale
	}
	return out
}

// Constant returns the real values of a constant tensor of the primary subgraph and what is stored, the codes where it is
// quantized; nil for other tensors.
func Constant(m *tflite.Model, index int) (values []float64, codes []int64, err error) {
	if index < 0 || index >= len(m.Subgraph().Tensors) {
		return nil, nil, fmt.Errorf("tensor %d of %d", index, len(m.Subgraph().Tensors))
	}
	if !m.IsConst(m.Subgraph().Tensors[index]) {
		return nil, nil, nil
	}
	values, codes, err = realValues(m, index)
	if errors.Is(err, errNoNumbers) {
		err = nil
	}
	return values, codes, err
}
