package tflite_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// raw is a file written number by number.
type raw []byte

func (r raw) u32(values ...uint32) raw {
	for _, v := range values {
		r = binary.LittleEndian.AppendUint32(r, v)
	}
	return r
}

func (r raw) u16(values ...uint16) raw {
	for _, v := range values {
		r = binary.LittleEndian.AppendUint16(r, v)
	}
	return r
}

// file begins a file whose root table lies at a place.
func file(root uint32) raw { return append(raw{}.u32(root), "TFL3"...) }

// The verifier of the layout at its edges: the last byte that fits, and the first that does not.
func TestTheLayoutHoldsItsBounds(t *testing.T) {
	const sound = "schema version is 0, want 3" // what Check says of a model without fields
	back := func(n int32) uint32 { return uint32(n) }
	described := func(length uint32, text string) raw { // slot 3: a string
		return append(file(20).u16(12, 8, 0, 0, 0, 4).u32(12, 4, length), text...)
	}
	for name, c := range map[string]struct {
		data raw
		want string
	}{
		"no file":                       {raw("TFL3TFL"), "7 bytes are no model: the file is empty or truncated"},
		"no root":                       {file(8), "model: offset points outside the file: truncated? (byte 0)"},
		"a root at itself":              {file(0).u32(0, 0), "model: offset points outside the file: truncated? (byte 0)"},
		"a root that ends the file":     {file(12).u16(4, 4).u32(4), sound},
		"a root one byte too far":       {file(13).u16(4, 4).u32(4), "model: offset points outside the file: truncated? (byte 0)"},
		"a vtable at the end":           {file(8).u32(back(-4)).u16(4, 4), sound},
		"a vtable beyond the end":       {file(8).u32(back(-6)).u16(4, 4), "model: vtable lies outside the file (byte 8)"},
		"a vtable before the first":     {file(8).u32(9), "model: vtable lies outside the file (byte 8)"},
		"a vtable without its sizes":    {file(12).u16(2, 4).u32(4), "model: vtable of 2 bytes does not fit (byte 8)"},
		"a vtable of odd size":          {file(14).u16(5, 4, 0).u32(6), "model: vtable of 5 bytes does not fit (byte 8)"},
		"a vtable of one slot":          {file(14).u16(6, 4, 0).u32(6), sound},
		"a vtable that ends the file":   {file(8).u32(back(-4)).u16(6, 4, 0), sound},
		"a vtable longer than the file": {file(8).u32(back(-4)).u16(6, 4), "model: vtable of 6 bytes does not fit (byte 12)"},
		"a table of less than itself":   {file(12).u16(4, 3).u32(4), "model: table of 3 bytes does not fit in the file: truncated? (byte 12)"},
		"a table that ends the file":    {file(12).u16(4, 8).u32(4, 0), sound},
		"a table longer than the file":  {file(12).u16(4, 9).u32(4, 0), "model: table of 9 bytes does not fit in the file: truncated? (byte 12)"},
		"a field that ends its table":   {file(14).u16(6, 8, 4).u32(6, 3), "the model has no subgraph"},
		"a field beyond its table":      {file(14).u16(6, 8, 5).u32(6, 3), "model: field lies outside its table (byte 12)"},
		"a field before its table":      {file(14).u16(6, 8, 3).u32(6, 3), "model: field lies outside its table (byte 12)"},
		"a string that ends the file":   {described(3, "abc"), sound},
		"a string beyond the file":      {described(4, "abc"), "model.Description: 4 elements do not fit in the file: truncated? (byte 28)"},
		"a string of nothing":           {described(0, ""), sound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tflite.Read(c.data)
			var format *tflite.FormatError
			if !errors.As(err, &format) || err.Error() != "invalid .tflite: "+c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// A file that ends early is refused, wherever it ends.
func TestEveryPrefixOfAFileIsRefused(t *testing.T) {
	data := marshal(t, small())
	for n := range data {
		var format *tflite.FormatError
		if _, err := tflite.Read(data[:n:n]); !errors.As(err, &format) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(data), err)
		}
	}
}

func TestStatesPairInputsAndOutputs(t *testing.T) {
	build := func() *tflite.Model {
		b := tflitetest.New()
		x, h := b.Input("x", 1, 3), b.Input("h", 1, 4)
		y := b.Op("y", schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, &schema.FullyConnectedOptionsT{}, []int32{1, 4}, x, b.Const("w", make([]float32, 12), 4, 3))
		b.Output(b.Add("next", y, h, tflitetest.None))
		b.Output(b.Unary("whole", schema.BuiltinOperatorRELU, y))
		m := b.Model()
		g := m.Subgraph()
		m.SignatureDefs = []*schema.SignatureDefT{
			{SignatureKey: "serving_default", Inputs: []*schema.TensorMapT{{Name: "state", TensorIndex: uint32(g.Inputs[1])}}, Outputs: []*schema.TensorMapT{{Name: "new_state", TensorIndex: uint32(g.Outputs[0])}}},
		}
		return m
	}
	g := build().Subgraph()
	in, out := int(g.Inputs[1]), int(g.Outputs[0])
	for name, c := range map[string]struct {
		pairs  []tflite.StatePair
		change func(m *tflite.Model)
		want   [][2]int
		err    string
	}{
		"none":                  {},
		"by tensor":             {pairs: []tflite.StatePair{{Input: "h", Output: "next"}}, want: [][2]int{{in, out}}},
		"by signature":          {pairs: []tflite.StatePair{{Input: "state", Output: "new_state"}}, want: [][2]int{{in, out}}},
		"an unknown input":      {pairs: []tflite.StatePair{{Input: "g", Output: "next"}}, err: `the model has no input "g"; it has ["x" "state"]`},
		"an unknown output":     {pairs: []tflite.StatePair{{Input: "h", Output: "h"}}, err: `the model has no output "h"; it has ["new_state" "whole"]`},
		"an input's name":       {pairs: []tflite.StatePair{{Input: "new_state", Output: "next"}}, err: `the model has no input "new_state"; it has ["x" "state"]`},
		"one input twice":       {pairs: []tflite.StatePair{{Input: "h", Output: "next"}, {Input: "state", Output: "whole"}}, err: `the input "state" is that of two states (h)`},
		"another shape":         {pairs: []tflite.StatePair{{Input: "x", Output: "next"}}, err: `input "x" is FLOAT32 [1 3], output "next" FLOAT32 [1 4]: what a step gives is the next one's input, so they are alike`},
		"another type":          {pairs: []tflite.StatePair{{Input: "h", Output: "next"}}, change: func(m *tflite.Model) { m.Subgraph().Tensors[in].Type = schema.TensorTypeINT32 }, err: `input "h" is INT32 [1 4], output "next" FLOAT32 [1 4]: what a step gives is the next one's input, so they are alike`},
		"of another subgraph's": {pairs: []tflite.StatePair{{Input: "state", Output: "next"}}, change: func(m *tflite.Model) { m.SignatureDefs[0].SubgraphIndex = 1 }, err: `the model has no input "state"; it has ["x" "h"]`},
	} {
		t.Run(name, func(t *testing.T) {
			m := build()
			if c.change != nil {
				c.change(m)
			}
			if err := m.SetStates(c.pairs); fmt.Sprint(err) != c.err && (c.err != "" || err != nil) {
				t.Fatalf("got  %v\nwant %s", err, c.err)
			}
			got, err := m.States()
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if _, recorded := m.Metadata(tflite.StatesName); recorded != (c.want != nil) {
				t.Errorf("recorded: %t", recorded)
			}
		})
	}
	m := build()
	for _, data := range []string{`{`, `[{"input":"h","output":"next","more":1}]`, `[{"input":"g","output":"next"}]`} {
		m.SetMetadata(tflite.StatesName, []byte(data))
		if got, err := m.States(); err == nil {
			t.Errorf("%s is read as %v", data, got)
		}
	}
	for _, each := range []bool{true, false} {
		if m.SetEachStep(each); m.EachStep() != each {
			t.Errorf("each step: %t, want %t", !each, each)
		}
	}
}

func TestNewOpsTakeTheModelsCodes(t *testing.T) {
	m := small()
	codes, g := len(m.OperatorCodes), m.Subgraph()
	if m.Assigns() {
		t.Error("a model without variables sets one")
	}
	first := m.AddOp(g, schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsNONE, nil, []int32{0}, []int32{1})
	last := m.AddOp(g, schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOptionsAssignVariableOptions, &schema.AssignVariableOptionsT{}, nil, nil)
	if first.OpcodeIndex != 0 || first.BuiltinOptions != nil || len(m.OperatorCodes) != codes+1 || int(last.OpcodeIndex) != codes || last.BuiltinOptions.Type != schema.BuiltinOptionsAssignVariableOptions {
		t.Errorf("codes %d and %d of %d: %+v", first.OpcodeIndex, last.OpcodeIndex, len(m.OperatorCodes), last.BuiltinOptions)
	}
	if c := m.OperatorCodes[codes]; c.BuiltinCode != schema.BuiltinOperatorASSIGN_VARIABLE || c.DeprecatedBuiltinCode != 127 || c.Version != 1 {
		t.Errorf("%+v", c)
	}
	if g.Operators[len(g.Operators)-1] != last || !m.Assigns() {
		t.Error("the operator was not appended")
	}
}

func TestLayoutOfATensorIsWhatDecodeKnows(t *testing.T) {
	quantized := func(axis int32, zero []int64, scales ...float32) *schema.QuantizationParametersT {
		return &schema.QuantizationParametersT{Scale: scales, ZeroPoint: zero, QuantizedDimension: axis}
	}
	for name, c := range map[string]struct {
		tensor schema.TensorT
		want   encode.Layout
		err    string
	}{
		"floats":              {schema.TensorT{Type: schema.TensorTypeFLOAT32, Shape: []int32{2, 3}}, encode.Layout{Width: 4, Count: 6, Channels: 1, Rank: 2}, ""},
		"codes":               {schema.TensorT{Type: schema.TensorTypeINT8, Shape: []int32{2, 3}, Quantization: quantized(0, []int64{7}, 1)}, encode.Layout{Width: 1, Count: 6, Channels: 1, Rank: 2, Zero: []int{7}}, ""},
		"scales of rows":      {schema.TensorT{Type: schema.TensorTypeINT8, Shape: []int32{3, 2}, Quantization: quantized(0, []int64{0, 3, 5}, 1, 1, 1)}, encode.Layout{Width: 1, Count: 6, Channels: 3, Rank: 2, Zero: []int{0, 3, 5}}, ""},
		"scales of columns":   {schema.TensorT{Type: schema.TensorTypeINT8, Shape: []int32{2, 3}, Quantization: quantized(1, nil, 1, 1, 1)}, encode.Layout{Width: 1, Count: 6, Channels: 3, Rank: 2, Last: true}, ""},
		"zero points of zero": {schema.TensorT{Type: schema.TensorTypeINT8, Shape: []int32{2, 3}, Quantization: quantized(0, []int64{0, 0}, 1, 1)}, encode.Layout{Width: 1, Count: 6, Channels: 2, Rank: 2}, ""},
		"scales between":      {schema.TensorT{Type: schema.TensorTypeINT8, Shape: []int32{2, 3, 2}, Quantization: quantized(1, nil, 1, 1, 1)}, encode.Layout{}, "DECODE reads scales on the first or last dimension, not on 1 of [2 3 2]"},
		"four bits":           {schema.TensorT{Type: schema.TensorTypeINT4, Shape: []int32{2}}, encode.Layout{}, "DECODE makes no INT4[2]"},
		"strings":             {schema.TensorT{Type: schema.TensorTypeSTRING, Shape: []int32{2}}, encode.Layout{}, "DECODE makes no STRING[2]"},
	} {
		got, err := tflite.LayoutOf(&c.tensor)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: %v, want %s", name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %s%v", name, diff, err)
		}
	}
}

func TestOnlyWhatDecodeReadsLosesItsScales(t *testing.T) {
	b := tflitetest.New()
	stored := b.Raw("stored", schema.TensorTypeUINT8, []byte{1, 2}, 2)
	b.Quantize(stored, 0, 3, 0.5)
	b.Output(b.Custom("y", "Mine", []int32{1, 2}, b.Input("x", 1, 2), stored))
	m, err := tflite.Read(b.File())
	if err != nil || m.Subgraph().Tensors[stored].Quantization == nil || m.Subgraph().Tensors[stored].Quantization.Scale[0] != 0.5 {
		t.Errorf("the scale of another operator's tensor is gone (%v)", err)
	}
}
