package leaf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// decodable are the operators whose weights DECODE may make as they run: the kernels of TFLM for them read nothing of the weights before.
var decodable = map[schema.BuiltinOperator]bool{
	schema.BuiltinOperatorCONV_2D: true, schema.BuiltinOperatorDEPTHWISE_CONV_2D: true, schema.BuiltinOperatorFULLY_CONNECTED: true,
	schema.BuiltinOperatorTRANSPOSE_CONV: true,
}

// What an encoded constant takes of a file beside its bytes: the encoded and the ancillary tensor, their buffers and what aligns them,
// and for each operator that reads it a DECODE and what it decodes to.
const (
	constantOverhead = 176
	readerOverhead   = 128
)

// constant is a weight tensor that can be encoded.
type constant struct {
	tensor  int32
	readers []int // operators, in order
	encoded encode.Encoded
}

// Encoded is a leaf whose weights lie encoded in its file.
type Encoded struct {
	Model *tflite.Model
	// Tensor are the leaf's tensors by those it had before; quantize.None of one that nothing used.
	Tensor []int
	Notes  []string // what was encoded, in one line
}

// Encode returns the leaf with its int8 weights encoded for TFLM's DECODE operator, each in the smallest of the kinds, where that makes
// the file smaller. One DECODE stands before each operator with such weights. m is not changed; tflite.Read gives its compacted form.
func Encode(m *tflite.Model, kinds ...encode.Kind) (*Encoded, error) {
	plain := m.Clone()
	e := &Encoded{Tensor: tflite.Compact(plain)}
	e.Model = plain.Clone()
	constants := 0
	for _, g := range e.Model.Subgraphs {
		list := constantsOf(e.Model, g, kinds)
		constants += len(list)
		insert(e.Model, g, list)
	}
	if constants == 0 {
		e.Notes = []string{"no weights are smaller encoded: the file has them as they are"}
		return e, nil
	}
	tflite.Compact(e.Model)
	read, err := e.read(plain)
	if err != nil {
		return nil, fmt.Errorf("encoded leaf: %w", err)
	}
	before, after := 0, 0
	for _, c := range read.Encoded {
		before, after = before+len(read.Data(read.Subgraphs[c.Subgraph].Tensors[c.Tensor])), after+c.Bytes
	}
	e.Notes = []string{fmt.Sprintf("the weights of %d tensors are encoded, %d bytes in place of %d: TFLM decodes them as it runs, LiteRT does not run the file", len(read.Encoded), after, before)}
	return e, nil
}

// read reads the encoded leaf and holds it to what was encoded.
func (e *Encoded) read(plain *tflite.Model) (*tflite.Model, error) {
	want, err := plain.Marshal()
	if err != nil {
		return nil, err
	}
	file, err := e.Model.Marshal()
	if err != nil {
		return nil, err
	}
	read, err := tflite.Read(file)
	if err != nil {
		return nil, err
	}
	got, err := read.Marshal()
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("it is not read as the leaf that it was made of")
	}
	return read, err
}

// constantsOf finds the weights of a subgraph that are smaller encoded.
func constantsOf(m *tflite.Model, g *schema.SubGraphT, kinds []encode.Kind) []constant {
	readers := map[int32][]int{}
	others := map[int32]bool{} // read as something else than such weights
	for i, o := range g.Operators {
		code, _ := m.Op(o)
		slot := -1
		if known := op.Lookup(code); known != nil && decodable[code] {
			slot = known.Find(op.Weight)
		}
		for k, t := range o.Inputs {
			if k == slot && t >= 0 {
				readers[t] = append(readers[t], i)
			} else {
				others[t] = true
			}
		}
	}
	var out []constant
	for i, t := range g.Tensors {
		at := int32(i)
		if len(readers[at]) == 0 || others[at] || t.Type != schema.TensorTypeINT8 || !m.IsConst(t) || slices.Contains(g.Outputs, at) || shared(m, t) {
			continue
		}
		layout, err := tflite.LayoutOf(t)
		if err != nil {
			continue
		}
		e, ok := encode.Smallest(m.Data(t), layout, kinds...)
		if ok && e.Bytes()+constantOverhead+readerOverhead*len(readers[at]) < layout.Count {
			out = append(out, constant{at, readers[at], e})
		}
	}
	return out
}

// shared reports whether other tensors have the data of t too: encoded, it would lie there once more.
func shared(m *tflite.Model, t *schema.TensorT) bool {
	for _, g := range m.Subgraphs {
		for _, other := range g.Tensors {
			if other != t && other.Buffer == t.Buffer {
				return true
			}
		}
	}
	return false
}

// insert puts the DECODE operators of a subgraph before the operators that read what they decode. The first to read a constant reads the
// tensor that it was, each further one a copy: what is decoded lives until the next operator has run.
func insert(m *tflite.Model, g *schema.SubGraphT, constants []constant) {
	if len(constants) == 0 {
		return
	}
	before := map[int]*schema.OperatorT{}
	code := uint32(len(m.OperatorCodes))
	m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{
		BuiltinCode: schema.BuiltinOperatorCUSTOM, DeprecatedBuiltinCode: int8(schema.BuiltinOperatorCUSTOM), CustomCode: encode.Operator, Version: 1,
	})
	add := func(t *schema.TensorT) int32 {
		g.Tensors = append(g.Tensors, t)
		return int32(len(g.Tensors) - 1)
	}
	stored := func(data []byte) int32 {
		return add(&schema.TensorT{Type: schema.TensorTypeUINT8, Shape: []int32{int32(len(data))}, Buffer: m.AddBuffer(data), HasRank: true})
	}
	for _, c := range constants {
		t := g.Tensors[c.tensor]
		t.Buffer = 0
		data, ancillary := stored(c.encoded.Data), stored(c.encoded.Ancillary)
		for i, reader := range c.readers {
			to := c.tensor
			if i > 0 {
				again := *t
				to = add(&again)
				inputs := g.Operators[reader].Inputs
				inputs[slices.Index(inputs, c.tensor)] = to
			}
			d := before[reader]
			if d == nil {
				d = &schema.OperatorT{OpcodeIndex: code}
				before[reader] = d
			}
			d.Inputs, d.Outputs = append(d.Inputs, data, ancillary), append(d.Outputs, to)
		}
	}
	var operators []*schema.OperatorT
	for i, o := range g.Operators {
		if d := before[i]; d != nil {
			operators = append(operators, d)
		}
		operators = append(operators, o)
	}
	g.Operators = operators
}
