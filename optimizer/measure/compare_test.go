package measure

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func TestActivationsAreComparedAsRealValues(t *testing.T) {
	tests := map[string]struct {
		kind schema.TensorType
		zero int32
		raw  []byte
		want []float64
	}{
		"int8":                     {schema.TensorTypeINT8, -1, []byte{0xff, 3, 0x80}, []float64{0, 2, -63.5}},
		"uint8":                    {schema.TensorTypeUINT8, 128, []byte{128, 0, 255}, []float64{0, -64, 63.5}},
		"int16":                    {schema.TensorTypeINT16, 0, []byte{1, 0, 0xff, 0xff, 0, 0x80}, []float64{0.5, -0.5, -16384}},
		"float32":                  {schema.TensorTypeFLOAT32, 0, []byte{0, 0, 0x80, 0x3f}, []float64{1}},
		"whole numbers of no kind": {schema.TensorTypeINT32, 0, []byte{1, 0, 0, 0}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tensor := &ir.Tensor{Type: tt.kind}
			if tt.kind != schema.TensorTypeFLOAT32 {
				tensor.Quant = &ir.Quant{Scale: []float32{0.5}, ZeroPoint: []int32{tt.zero}}
			}
			if diff := cmp.Diff(tt.want, activation(nil, tensor, tt.raw)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
