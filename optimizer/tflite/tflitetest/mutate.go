package tflitetest

import (
	"reflect"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Mutate changes a model as fuzz data says, four bytes a change: shapes, types, quantization, constants, operator codes, options,
// inputs and outputs. What comes out is a tree that may or may not pass Check; every index stays within reach of a mistake.
func Mutate(m *tflite.Model, data []byte) {
	g := m.Subgraph()
	if len(g.Tensors) == 0 || len(g.Operators) == 0 {
		return
	}
	for ; len(data) >= 4; data = data[4:] {
		what, which, where, value := data[0], int(data[1]), int(data[2]), int64(int8(data[3]))
		if data[3]&1 == 1 { // odd values are large
			value <<= data[2] % 40
		}
		t, o := g.Tensors[which%len(g.Tensors)], g.Operators[which%len(g.Operators)]
		switch what % 9 {
		case 0:
			if len(t.Shape) > 0 {
				t.Shape[where%len(t.Shape)] = int32(value)
			}
		case 1:
			t.Shape = append(t.Shape, int32(value))
		case 2:
			t.Type = schema.TensorType(value & 31)
		case 3:
			mutateQuantization(t, where, value)
		case 4:
			if c := m.Data(t); len(c) > 0 {
				c = append([]byte(nil), c...)
				c[where%len(c)] = byte(value)
				m.SetData(t, c)
			}
		case 5:
			m.OperatorCodes[int(o.OpcodeIndex)%len(m.OperatorCodes)].BuiltinCode = schema.BuiltinOperator(uint8(value))
			m.OperatorCodes[int(o.OpcodeIndex)%len(m.OperatorCodes)].DeprecatedBuiltinCode = 0
		case 6:
			if o.BuiltinOptions != nil {
				mutateField(reflect.ValueOf(o.BuiltinOptions.Value), where, value)
			}
		case 7:
			if len(o.Inputs) > 0 {
				o.Inputs[where%len(o.Inputs)] = int32(value % int64(len(g.Tensors)+1))
			}
		default:
			o.Inputs = append(o.Inputs, int32(value%int64(len(g.Tensors)+1)))
		}
	}
}

func mutateQuantization(t *schema.TensorT, where int, value int64) {
	switch q := t.Quantization; {
	case q == nil:
		t.Quantization = &schema.QuantizationParametersT{Scale: []float32{0.5}, ZeroPoint: []int64{value}}
	case where%3 == 0 && len(q.Scale) > 0:
		q.Scale[0] = float32(value) / 64
	case where%3 == 1 && len(q.ZeroPoint) > 0:
		q.ZeroPoint[0] = value
	default:
		q.QuantizedDimension = int32(value)
	}
}

// mutateField sets a number, flag or list of an options struct.
func mutateField(options reflect.Value, where int, value int64) {
	if options.Kind() != reflect.Pointer || options.IsNil() || options.Elem().Kind() != reflect.Struct || options.Elem().NumField() == 0 {
		return
	}
	switch f := options.Elem().Field(where % options.Elem().NumField()); f.Kind() {
	case reflect.Bool:
		f.SetBool(value&2 != 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.SetInt(value)
	case reflect.Float32:
		f.SetFloat(float64(value) / 8)
	case reflect.Slice:
		if f.Type().Elem().Kind() == reflect.Int32 {
			f.Set(reflect.ValueOf([]int32{int32(value), -1}))
		}
	}
}

// Rotate has a tensor be the first of a model, and those before it the last: the same network.
func Rotate(m *tflite.Model, first int) {
	g := m.Subgraph()
	count := len(g.Tensors)
	g.Tensors = slices.Concat(g.Tensors[first:], g.Tensors[:first])
	move := func(list []int32) {
		for i, at := range list {
			if at >= 0 {
				list[i] = int32((int(at) - first + count) % count)
			}
		}
	}
	move(g.Inputs)
	move(g.Outputs)
	for _, o := range g.Operators {
		move(o.Inputs)
		move(o.Outputs)
	}
}
