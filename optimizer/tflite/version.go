package tflite

import (
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// minRuntimeVersion is the metadata entry that names the oldest runtime with every operator version of the file: 16 bytes,
// zero padded (LiteRT, tflite/converter/tools/versioning/runtime_version.cc).
const minRuntimeVersion = "min_runtime_version"

// setVersions gives every operator the lowest version whose kernel takes its types and options, as LiteRT's
// tflite/converter/tools/versioning/op_version.cc rules. Operators that are not in the table keep the file's version. The
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
		if r := runtimes[opVersion{next.BuiltinCode, next.Version}]; newer(r, runtime) {
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
		if _, ok := runtimes[opVersion{c.BuiltinCode, c.Version}]; !ok {
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

type opVersion struct {
	op      schema.BuiltinOperator
	version int32
}

// runtimes lists the first TensorFlow release with an operator version, for the operators of operatorVersion.
var runtimes = map[opVersion]string{
	{schema.BuiltinOperatorADD, 1}: "1.5.0", {schema.BuiltinOperatorADD, 2}: "1.14.0",
	{schema.BuiltinOperatorSUB, 1}: "1.6.0", {schema.BuiltinOperatorSUB, 2}: "1.14.0", {schema.BuiltinOperatorSUB, 3}: "2.3.0",
	{schema.BuiltinOperatorMUL, 1}: "1.5.0", {schema.BuiltinOperatorMUL, 2}: "1.14.0",
	{schema.BuiltinOperatorAVERAGE_POOL_2D, 1}: "1.5.0", {schema.BuiltinOperatorAVERAGE_POOL_2D, 2}: "1.14.0",
	{schema.BuiltinOperatorMAX_POOL_2D, 1}: "1.5.0", {schema.BuiltinOperatorMAX_POOL_2D, 2}: "1.14.0",
	{schema.BuiltinOperatorCONV_2D, 1}: "1.5.0", {schema.BuiltinOperatorCONV_2D, 2}: "1.14.0", {schema.BuiltinOperatorCONV_2D, 3}: "1.14.0",
	{schema.BuiltinOperatorDEPTHWISE_CONV_2D, 1}: "1.5.0", {schema.BuiltinOperatorDEPTHWISE_CONV_2D, 2}: "1.12.0", {schema.BuiltinOperatorDEPTHWISE_CONV_2D, 3}: "1.14.0",
	{schema.BuiltinOperatorFULLY_CONNECTED, 1}: "1.5.0", {schema.BuiltinOperatorFULLY_CONNECTED, 4}: "1.14.0", {schema.BuiltinOperatorFULLY_CONNECTED, 5}: "2.0.0",
	{schema.BuiltinOperatorRESHAPE, 1}: "1.5.0",
	{schema.BuiltinOperatorSOFTMAX, 1}: "1.5.0", {schema.BuiltinOperatorSOFTMAX, 2}: "1.14.0",
	{schema.BuiltinOperatorLOGISTIC, 1}: "1.14.0", {schema.BuiltinOperatorLOGISTIC, 2}: "1.14.0",
	{schema.BuiltinOperatorTANH, 1}: "1.14.0", {schema.BuiltinOperatorTANH, 2}: "1.14.0",
	{schema.BuiltinOperatorCONCATENATION, 1}: "1.5.0", {schema.BuiltinOperatorCONCATENATION, 2}: "1.14.0",
	{schema.BuiltinOperatorMEAN, 1}: "1.6.0", {schema.BuiltinOperatorMEAN, 2}: "1.14.0",
	{schema.BuiltinOperatorPAD, 1}: "1.5.0", {schema.BuiltinOperatorPAD, 2}: "1.14.0",
	{schema.BuiltinOperatorQUANTIZE, 1}: "1.14.0", {schema.BuiltinOperatorQUANTIZE, 2}: "2.2.0",
	{schema.BuiltinOperatorDEQUANTIZE, 1}: "1.13.1", {schema.BuiltinOperatorDEQUANTIZE, 2}: "1.14.0",
	{schema.BuiltinOperatorRELU, 1}: "1.5.0", {schema.BuiltinOperatorRELU, 2}: "2.1.0",
	{schema.BuiltinOperatorRELU6, 1}: "1.5.0", {schema.BuiltinOperatorRELU6, 2}: "1.14.0",
	{schema.BuiltinOperatorRELU_N1_TO_1, 1}: "1.5.0",
	{schema.BuiltinOperatorHARD_SWISH, 1}:   "1.15.0",
	{schema.BuiltinOperatorSHAPE, 1}:        "1.10.0",
	{schema.BuiltinOperatorPACK, 1}:         "1.11.0", {schema.BuiltinOperatorPACK, 2}: "1.14.0",
	{schema.BuiltinOperatorSTRIDED_SLICE, 1}: "1.6.0", {schema.BuiltinOperatorSTRIDED_SLICE, 2}: "1.14.0",
	{schema.BuiltinOperatorTRANSPOSE, 1}: "1.6.0", {schema.BuiltinOperatorTRANSPOSE, 2}: "1.14.0",
	{schema.BuiltinOperatorSQUEEZE, 1}: "1.6.0", {schema.BuiltinOperatorSQUEEZE, 2}: "2.5.0",
	{schema.BuiltinOperatorEXPAND_DIMS, 1}: "1.10.0",
}

// int8Versions holds the operators whose only distinction here is the type: version 1 for float, this one for int8.
var int8Versions = map[schema.BuiltinOperator]int32{
	schema.BuiltinOperatorADD: 2, schema.BuiltinOperatorMUL: 2, schema.BuiltinOperatorAVERAGE_POOL_2D: 2,
	schema.BuiltinOperatorMAX_POOL_2D: 2, schema.BuiltinOperatorCONCATENATION: 2, schema.BuiltinOperatorMEAN: 2,
	schema.BuiltinOperatorSUM: 2, schema.BuiltinOperatorPAD: 2, schema.BuiltinOperatorPADV2: 2,
	schema.BuiltinOperatorSOFTMAX: 2, schema.BuiltinOperatorLOG_SOFTMAX: 2, schema.BuiltinOperatorLOGISTIC: 2, schema.BuiltinOperatorTANH: 2,
	schema.BuiltinOperatorRELU: 2, schema.BuiltinOperatorRELU6: 2,
	schema.BuiltinOperatorL2_NORMALIZATION: 2, schema.BuiltinOperatorTRANSPOSE: 2, schema.BuiltinOperatorSTRIDED_SLICE: 2,
	schema.BuiltinOperatorSPLIT: 2, schema.BuiltinOperatorMAXIMUM: 2, schema.BuiltinOperatorMINIMUM: 2, schema.BuiltinOperatorSPACE_TO_DEPTH: 2,
	schema.BuiltinOperatorSQUEEZE: 2,
}

// operatorVersion returns the version an operator needs, if the rules are known for it and its types.
func (m *Model) operatorVersion(g *schema.SubGraphT, o *schema.OperatorT) (int32, bool) {
	code, _ := m.Op(o)
	input := typeAt(g, o.Inputs, 0)
	switch code {
	case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOperatorFULLY_CONNECTED:
		return weightedVersion(code, g, o)
	case schema.BuiltinOperatorTRANSPOSE_CONV:
		data, bias := typeAt(g, o.Inputs, 2), len(o.Inputs) > 3 && o.Inputs[3] >= 0
		options, _ := optionsOf[schema.TransposeConvOptionsT](o)
		switch {
		case options != nil && options.FusedActivationFunction != schema.ActivationFunctionTypeNONE:
			return 4, true
		case bias:
			return 3, true
		case data == schema.TensorTypeINT8:
			return 2, true
		}
		return 1, data == schema.TensorTypeFLOAT32
	case schema.BuiltinOperatorQUANTIZE:
		if q := quantizationAt(g, o.Inputs); q != nil && input != schema.TensorTypeFLOAT32 {
			return 2, input == schema.TensorTypeINT8 || input == schema.TensorTypeUINT8
		}
		return 1, input == schema.TensorTypeFLOAT32
	case schema.BuiltinOperatorDEQUANTIZE:
		if input == schema.TensorTypeINT8 {
			return 2, true
		}
		return 1, input == schema.TensorTypeUINT8
	case schema.BuiltinOperatorSUB:
		if input == schema.TensorTypeINT8 {
			return 2, true
		}
		return 1, input == schema.TensorTypeFLOAT32
	case schema.BuiltinOperatorRESHAPE, schema.BuiltinOperatorHARD_SWISH, schema.BuiltinOperatorRELU_N1_TO_1:
		return 1, input == schema.TensorTypeFLOAT32 || input == schema.TensorTypeINT8
	}
	v, ok := int8Versions[code]
	switch {
	case ok && input == schema.TensorTypeINT8 && !tooDeep(g, o):
		return v, true
	default:
		return 0, false
	}
}

// tooDeep reports operands beyond four dimensions, which raise several operators' versions.
func tooDeep(g *schema.SubGraphT, o *schema.OperatorT) bool {
	for _, t := range o.Inputs {
		if t >= 0 && len(g.Tensors[t].Shape) > 4 {
			return true
		}
	}
	return false
}

func weightedVersion(code schema.BuiltinOperator, g *schema.SubGraphT, o *schema.OperatorT) (int32, bool) {
	input, weight := typeAt(g, o.Inputs, 0), typeAt(g, o.Inputs, 1)
	quantized := input == schema.TensorTypeINT8 && weight == schema.TensorTypeINT8
	plain := input == schema.TensorTypeFLOAT32 && weight == schema.TensorTypeFLOAT32
	if !quantized && !plain || g.Tensors[o.Inputs[1]].Sparsity != nil {
		return 0, false
	}
	switch code {
	case schema.BuiltinOperatorCONV_2D:
		if options, _ := optionsOf[schema.Conv2DOptionsT](o); options == nil || options.QuantizedBiasType != 0 {
			return 0, false
		}
		if quantized {
			return 3, true
		}
		return 1, true
	case schema.BuiltinOperatorDEPTHWISE_CONV_2D:
		options, _ := optionsOf[schema.DepthwiseConv2DOptionsT](o)
		switch {
		case options == nil:
			return 0, false
		case quantized:
			return 3, true
		case options.DilationHFactor != 1 || options.DilationWFactor != 1:
			return 2, true
		}
		return 1, true
	default:
		options, _ := optionsOf[schema.FullyConnectedOptionsT](o)
		switch {
		case options == nil || options.WeightsFormat != 0 || options.QuantizedBiasType != 0:
			return 0, false
		case options.KeepNumDims:
			return 5, true
		case quantized:
			return 4, true
		case len(o.Inputs) == 2 || o.Inputs[2] < 0:
			return 6, true // no bias
		}
		return 1, true
	}
}

func typeAt(g *schema.SubGraphT, inputs []int32, i int) schema.TensorType {
	if i >= len(inputs) || inputs[i] < 0 {
		return -1
	}
	return g.Tensors[inputs[i]].Type
}

func quantizationAt(g *schema.SubGraphT, inputs []int32) *schema.QuantizationParametersT {
	if len(inputs) == 0 || inputs[0] < 0 {
		return nil
	}
	return g.Tensors[inputs[0]].Quantization
}

// optionsOf returns an operator's builtin options as their type; ok is false if they are absent or of another type.
func optionsOf[T any](o *schema.OperatorT) (options *T, ok bool) {
	if o.BuiltinOptions == nil {
		return nil, false
	}
	options, ok = o.BuiltinOptions.Value.(*T)
	return options, ok
}
