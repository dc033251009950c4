package tflite

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Normalise rewrites, in place, what only some runtimes accept into what the format's specification says, and returns one note
// for every kind of change:
//
//   - uint8 quantization becomes int8: data and zero points move by 128, which changes no value;
//   - a per-channel bias whose quantized dimension names the weights' axis gets dimension 0;
//   - a quantized tensor without zero points gets zeros;
//   - int8 and int4 constants of an operator with float activations (hybrid, dynamic-range quantization) become float;
//   - float weights that a DEPTHWISE_CONV_2D and operators of other kinds share become two tensors: in int8 their scales are along other axes;
//   - float16 or int8 constants behind a DEQUANTIZE become the float32 constants that it computes, so that they train.
//
// What cannot be rewritten is a FormatError that says what to do instead.
func Normalise(m *Model) (notes []string, err error) {
	counts := map[string]int{}
	for s, g := range m.Subgraphs {
		for i, t := range g.Tensors {
			if err := m.normaliseTensor(tensorName(s, i, t), t, counts); err != nil {
				return nil, err
			}
		}
		if err := m.dequantizeHybrid(s, g, counts); err != nil {
			return nil, err
		}
		if err := m.dequantizeTables(s, g, counts); err != nil {
			return nil, err
		}
		if err := m.foldDequantize(s, g, counts); err != nil {
			return nil, err
		}
		m.addBiases(g, counts)
		m.divideWeights(g, counts)
	}
	if counts[noteFolded]+counts[noteTable] > 0 {
		Compact(m) // of what was dequantized
	}
	for _, kind := range []string{noteUint8, noteBias, noteZero, noteHybrid, noteTable, noteFolded, noteBiasless, noteDivided} {
		if n := counts[kind]; n > 0 {
			notes = append(notes, fmt.Sprintf(kind, n))
		}
	}
	return notes, nil
}

const (
	noteUint8    = "%d uint8 tensors converted to int8"
	noteBias     = "%d biases had the weights' quantized dimension; set to 0"
	noteZero     = "%d quantized tensors had no zero points; set to 0"
	noteHybrid   = "%d integer weights of float operators dequantized (hybrid quantization)"
	noteTable    = "%d int8 tables of a float network dequantized (hybrid quantization)"
	noteBiasless = "%d convolutions without a bias have one of zeros: LiteRT wants it"
	noteDivided  = "%d weights of depthwise convolutions are those of other operators too, which have scales along another axis: a copy of its own each"
	noteFolded   = "%d constants behind a DEQUANTIZE stored as float32 (float16 or integer weights)"
)

func (m *Model) normaliseTensor(where string, t *schema.TensorT, counts map[string]int) error {
	q := t.Quantization
	if q == nil || len(q.Scale) == 0 {
		return nil
	}
	if q.Details != nil && q.Details.Type != schema.QuantizationDetailsNONE {
		return wrong(where, "blockwise or custom quantization: convert the float model instead")
	}
	for c, scale := range q.Scale {
		if scale <= 0 && m.IsConst(t) {
			return wrong(where, "scale %d is %v, where it must be above 0: convert the float model instead", c, scale)
		}
	}
	if len(q.Scale) > 1 && len(t.Shape) == 1 && q.QuantizedDimension != 0 {
		q.QuantizedDimension = 0
		counts[noteBias]++
	}
	if len(q.ZeroPoint) == 0 {
		q.ZeroPoint = make([]int64, len(q.Scale))
		counts[noteZero]++
	}
	if t.Type == schema.TensorTypeUINT8 {
		if data := m.Data(t); len(data) > 0 {
			moved := make([]byte, len(data))
			for i, b := range data {
				moved[i] = b ^ 0x80
			}
			m.SetData(t, moved)
			m.Unsigned = true
		}
		for i := range q.ZeroPoint {
			q.ZeroPoint[i] -= 128
		}
		t.Type = schema.TensorTypeINT8
		counts[noteUint8]++
	}
	return nil
}

// dequantizeHybrid turns the integer constants of operators that read float activations into float.
func (m *Model) dequantizeHybrid(s int, g *schema.SubGraphT, counts map[string]int) error {
	for _, o := range g.Operators {
		n, err := m.DequantizeOperands(s, o)
		if err != nil {
			return err
		}
		counts[noteHybrid] += n
	}
	return nil
}

// DequantizeOperands turns the int8 and int4 constants that an operator of subgraph s reads beside float activations into float, and returns how
// many there were: the weights of hybrid quantization, of which a fused recurrent layer has several. Errors are FormatErrors.
func (m *Model) DequantizeOperands(s int, o *schema.OperatorT) (count int, err error) {
	g := m.Subgraphs[s]
	code, _ := m.Op(o)
	known := op.Lookup(code)
	if known == nil || typeAt(g, o.Inputs, known.Find(op.Data)) != schema.TensorTypeFLOAT32 {
		return 0, nil
	}
	for slot, w := range o.Inputs {
		if !IsInt8s(typeAt(g, o.Inputs, slot)) {
			continue
		}
		t := g.Tensors[w]
		if known.Slot(slot) != op.Weight && !(m.IsConst(t) && scaled(t)) {
			continue
		}
		values, err := m.dequantized(tensorName(s, int(w), t), t)
		if err != nil {
			return 0, err
		}
		m.SetData(t, Float32Bytes(values))
		t.Type, t.Quantization = schema.TensorTypeFLOAT32, nil
		count++
	}
	return count, nil
}

// dequantizeTables turns int8 tables into float whose rows GATHER takes and DEQUANTIZE makes float, as dynamic range quantization leaves
// embeddings. An int8 network, one with any other quantized activation, keeps them.
func (m *Model) dequantizeTables(s int, g *schema.SubGraphT, counts map[string]int) error {
	rows := map[int32]int32{} // by what GATHER gives of it, the table
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		if code == schema.BuiltinOperatorGATHER && len(o.Inputs) > 1 && len(o.Outputs) == 1 && o.Inputs[0] >= 0 && o.Outputs[0] >= 0 {
			if table := g.Tensors[o.Inputs[0]]; m.IsConst(table) && IsInt8s(table.Type) && scaled(table) {
				rows[o.Outputs[0]] = o.Inputs[0]
			}
		}
	}
	for i, t := range g.Tensors {
		if _, ok := rows[int32(i)]; !ok && !m.IsConst(t) && scaled(t) {
			return nil
		}
	}
	dequantized := map[int32]int32{} // by what DEQUANTIZE gives, what it reads
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		for _, t := range o.Inputs {
			if _, ok := rows[t]; ok && (code != schema.BuiltinOperatorDEQUANTIZE || slices.Contains(g.Outputs, t) || slices.Contains(g.Outputs, o.Outputs[0])) {
				return nil
			}
		}
		if code == schema.BuiltinOperatorDEQUANTIZE && len(o.Inputs) == 1 && len(o.Outputs) == 1 {
			if _, ok := rows[o.Inputs[0]]; ok {
				dequantized[o.Outputs[0]] = o.Inputs[0]
			}
		}
	}
	if len(dequantized) == 0 {
		return nil
	}
	for t, table := range rows {
		w := g.Tensors[table]
		if IsInt8s(w.Type) {
			values, err := m.dequantized(tensorName(s, int(table), w), w)
			if err != nil {
				return err
			}
			m.SetData(w, Float32Bytes(values))
			w.Type, w.Quantization = schema.TensorTypeFLOAT32, nil
			counts[noteTable]++
		}
		g.Tensors[t].Type, g.Tensors[t].Quantization = schema.TensorTypeFLOAT32, nil
	}
	g.Operators = slices.DeleteFunc(g.Operators, func(o *schema.OperatorT) bool {
		if len(o.Outputs) != 1 {
			return false
		}
		_, gone := dequantized[o.Outputs[0]]
		return gone
	})
	for _, o := range g.Operators {
		for k, t := range o.Inputs {
			if from, ok := dequantized[t]; ok {
				o.Inputs[k] = from
			}
		}
	}
	return nil
}

// addBiases gives every CONV_2D without a bias one of zeros, since LiteRT's kernel takes none without.
func (m *Model) addBiases(g *schema.SubGraphT, counts map[string]int) {
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		if code != schema.BuiltinOperatorCONV_2D || len(o.Inputs) < 2 || len(o.Inputs) > 2 && o.Inputs[2] >= 0 || o.Inputs[0] < 0 || o.Inputs[1] < 0 {
			continue
		}
		x, w := g.Tensors[o.Inputs[0]], g.Tensors[o.Inputs[1]]
		if len(w.Shape) != 4 {
			continue
		}
		bias := &schema.TensorT{Name: w.Name + "_bias", Shape: []int32{w.Shape[0]}, HasRank: true}
		switch n := int(w.Shape[0]); {
		case w.Type == schema.TensorTypeFLOAT32 && x.Type == schema.TensorTypeFLOAT32:
			bias.Buffer = m.AddBuffer(make([]byte, 4*n))
		case IsInt8s(w.Type) && x.Type == schema.TensorTypeINT8 && scaled(w) && scaled(x):
			q := &schema.QuantizationParametersT{ZeroPoint: make([]int64, len(w.Quantization.Scale))}
			for _, s := range w.Quantization.Scale {
				q.Scale = append(q.Scale, s*x.Quantization.Scale[0])
			}
			bias.Type, bias.Quantization, bias.Buffer = schema.TensorTypeINT32, q, m.AddBuffer(make([]byte, 4*n))
		default:
			continue
		}
		g.Tensors = append(g.Tensors, bias)
		o.Inputs = append(slices.Clone(o.Inputs[:2]), int32(len(g.Tensors)-1))
		counts[noteBiasless]++
	}
}

// divideWeights gives a DEPTHWISE_CONV_2D weights of its own where operators of other kinds have them too.
func (m *Model) divideWeights(g *schema.SubGraphT, counts map[string]int) {
	depthwise := func(o *schema.OperatorT) bool {
		code, _ := m.Op(o)
		return code == schema.BuiltinOperatorDEPTHWISE_CONV_2D && len(o.Inputs) > 1
	}
	copies := map[int32]int32{}
	for _, o := range g.Operators {
		if !depthwise(o) || o.Inputs[1] < 0 {
			continue
		}
		w := o.Inputs[1]
		t := g.Tensors[w]
		others := func(o *schema.OperatorT) bool { return !depthwise(o) && slices.Contains(o.Inputs, w) }
		if t.Type != schema.TensorTypeFLOAT32 || !m.IsConst(t) || !slices.ContainsFunc(g.Operators, others) {
			continue
		}
		if _, there := copies[w]; !there {
			own := *t
			own.Name, own.Buffer = t.Name+"_depthwise", m.AddBuffer(slices.Clone(m.Data(t)))
			g.Tensors = append(g.Tensors, &own)
			copies[w] = int32(len(g.Tensors) - 1)
			counts[noteDivided]++
		}
		o.Inputs = slices.Clone(o.Inputs)
		o.Inputs[1] = copies[w]
	}
}

// scaled reports whether a tensor is quantized.
func scaled(t *schema.TensorT) bool { return t.Quantization != nil && len(t.Quantization.Scale) > 0 }

// foldDequantize replaces the DEQUANTIZE of a constant by its result. One whose result the subgraph returns stays.
func (m *Model) foldDequantize(s int, g *schema.SubGraphT, counts map[string]int) error {
	kept := make([]*schema.OperatorT, 0, len(g.Operators))
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		if code != schema.BuiltinOperatorDEQUANTIZE || len(o.Inputs) != 1 || len(o.Outputs) != 1 || o.Inputs[0] < 0 || slices.Contains(g.Outputs, o.Outputs[0]) {
			kept = append(kept, o)
			continue
		}
		from, to := g.Tensors[o.Inputs[0]], g.Tensors[o.Outputs[0]]
		var values []float32
		var err error
		switch {
		case !m.IsConst(from) || to.Type != schema.TensorTypeFLOAT32:
		case from.Type == schema.TensorTypeFLOAT16:
			values, err = m.Float32s(from)
		case IsInt8s(from.Type):
			values, err = m.dequantized(tensorName(s, int(o.Inputs[0]), from), from)
		}
		if err != nil {
			return err
		}
		if values == nil {
			kept = append(kept, o)
			continue
		}
		m.SetData(to, Float32Bytes(values))
		counts[noteFolded]++
	}
	g.Operators = kept
	return nil
}

// dequantized returns scale·(q − zero point) of a constant int8 or int4 tensor.
func (m *Model) dequantized(where string, t *schema.TensorT) ([]float32, error) {
	q := t.Quantization
	codes, err := m.Int8s(t)
	if err != nil || q == nil || len(q.Scale) == 0 || len(codes) == 0 {
		return nil, wrong(where, "integer weights without data or scales")
	}
	inner, channels := 1, len(q.Scale)
	if channels > 1 {
		for _, d := range t.Shape[q.QuantizedDimension+1:] {
			inner *= int(d)
		}
	}
	values := make([]float32, len(codes))
	for i, code := range codes {
		c := i / inner % channels
		zero := int64(0)
		if len(q.ZeroPoint) > 0 {
			zero = q.ZeroPoint[min(c, len(q.ZeroPoint)-1)]
		}
		values[i] = q.Scale[c] * float32(int64(code)-zero)
	}
	return values, nil
}
