package tflite

import (
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// minRuntimeVersion is the metadata entry that names the oldest runtime with every operator version of the file: 16 bytes,
// zero padded (LiteRT, tflite/converter/tools/versioning/runtime_version.cc).
const minRuntimeVersion = "min_runtime_version"

// setVersions gives every operator the lowest version whose kernel takes its types and options, as LiteRT's
// tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc rules. Operators that are not in the table keep the file's version. The
// operator codes are replaced, not changed, so that the caller's model stays as it was.
func (m *Model) setVersions() {
	versions := make([]int32, len(m.OperatorCodes))
	known := make([]bool, len(m.OperatorCodes))
	for _, g := range m.Subgraphs {
		for _, o := range g.Operators {
			if v, ok := m.operatorVersion(g, o); ok {
				versions[o.OpcodeIndex] = max(versions[o.OpcodeIndex], v)
				known[o.OpcodeIndex] = true
			}
		}
	}
	codes := make([]*schema.OperatorCodeT, len(m.OperatorCodes))
	runtime := "1.5.0"
	for i, c := range m.OperatorCodes {
		next := *c
		if known[i] {
			next.Version = versions[i]
		}
		next.BuiltinCode = max(c.BuiltinCode, schema.BuiltinOperator(c.DeprecatedBuiltinCode))
		next.DeprecatedBuiltinCode = int8(min(next.BuiltinCode, schema.BuiltinOperatorPLACEHOLDER_FOR_GREATER_OP_CODES))
		codes[i] = &next
		if r := since(next.BuiltinCode, next.Version); newer(r, runtime) {
			runtime = r
		}
	}
	m.OperatorCodes = codes
	m.setRuntime(runtime)
}

// setRuntime rewrites the metadata entry where the file has one, never below what an operator that is not in the table may need.
func (m *Model) setRuntime(runtime string) {
	for i, entry := range m.ModelT.Metadata {
		if entry.Name != minRuntimeVersion {
			continue
		}
		old := strings.TrimRight(string(m.Buffers[entry.Buffer].Data), "\x00")
		if newer(old, runtime) && !m.allKnown() {
			runtime = old
		}
		if old == runtime {
			return
		}
		data := make([]byte, 16)
		copy(data, runtime)
		if entry.Buffer == 0 || m.users(entry.Buffer) > 1 { // somebody else's: the entry gets one of its own
			m.Buffers = append(slices.Clone(m.Buffers), &schema.BufferT{Data: data})
			m.ModelT.Metadata = slices.Clone(m.ModelT.Metadata)
			m.ModelT.Metadata[i] = &schema.MetadataT{Name: entry.Name, Buffer: uint32(len(m.Buffers) - 1)}
			continue
		}
		m.Buffers = slices.Clone(m.Buffers)
		m.Buffers[entry.Buffer] = &schema.BufferT{Data: data}
	}
}

func (m *Model) allKnown() bool {
	for _, c := range m.OperatorCodes {
		if since(c.BuiltinCode, c.Version) == "" {
			return false
		}
	}
	return true
}

// newer reports whether version a is later than b; an empty or unreadable a is not.
func newer(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		var p, q int
		if i < len(x) {
			p, _ = strconv.Atoi(x[i])
		}
		if i < len(y) {
			q, _ = strconv.Atoi(y[i])
		}
		if p != q {
			return p > q
		}
	}
	return false
}

// operatorVersion returns the version an operator needs; ok is false if the table does not say: for an operator that is not in
// it, and for types it leaves out.
func (m *Model) operatorVersion(g *schema.SubGraphT, o *schema.OperatorT) (version int32, ok bool) {
	code, _ := m.Op(o)
	known := op.Lookup(code)
	if known == nil {
		return 0, false
	}
	s := &op.Signature{Inputs: signature(g, o.Inputs), Outputs: signature(g, o.Outputs)}
	for _, t := range append(s.Inputs, s.Outputs...) {
		switch t.Type {
		case schema.TensorTypeUINT8, schema.TensorTypeSTRING:
			return 0, false
		case schema.TensorTypeINT16:
			if known.Int16 == nil {
				return 0, false
			}
			version = max(version, known.Int16.Version)
		case schema.TensorTypeINT4:
			if known.Weights == nil || known.Weights.Int4 == 0 {
				return 0, false
			}
			version = max(version, known.Weights.Int4)
		}
	}
	if o.BuiltinOptions != nil {
		s.Options = o.BuiltinOptions.Value
	}
	if known.Version == nil {
		return max(version, 1), true
	}
	return max(version, known.Version(s)), true
}

// signature describes operands.
func signature(g *schema.SubGraphT, tensors []int32) []op.Tensor {
	list := make([]op.Tensor, len(tensors))
	for i, t := range tensors {
		list[i].Type = -1
		if t < 0 {
			continue
		}
		list[i].Type, list[i].Shape = g.Tensors[t].Type, g.Tensors[t].Shape
		if q := g.Tensors[t].Quantization; q != nil {
			list[i].Scales = q.Scale
		}
	}
	return list
}

// since returns the first TensorFlow release with an operator version, "" where it is not known.
func since(code schema.BuiltinOperator, version int32) string {
	known := op.Lookup(code)
	if known == nil || version < 1 || int(version) > len(known.Since) {
		return ""
	}
	return known.Since[version-1]
}

func typeAt(g *schema.SubGraphT, inputs []int32, i int) schema.TensorType {
	if i < 0 || i >= len(inputs) || inputs[i] < 0 {
		return -1
	}
	return g.Tensors[inputs[i]].Type
}
