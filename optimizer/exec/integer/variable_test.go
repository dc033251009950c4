package integer_test

import (
	"errors"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestVariablesAreRefusedWithWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		assigned bool
		want     []string
	}{
		"a state":               {true, []string{`operator 1 VAR_HANDLE`, `keeps its state in variable "h"`, "one more input", "one more output"}},
		"one that is read only": {false, []string{`operator 1 VAR_HANDLE`, `only reads variable "h"`, "signature_keys"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 8)
			b.Op("once", schema.BuiltinOperatorCALL_ONCE, schema.BuiltinOptionsCallOnceOptions, &schema.CallOnceOptionsT{}, []int32{})
			handle := b.Op("handle", schema.BuiltinOperatorVAR_HANDLE, schema.BuiltinOptionsVarHandleOptions, &schema.VarHandleOptionsT{SharedName: "h"}, []int32{})
			b.Tensor(handle).Type = schema.TensorTypeRESOURCE
			state := b.Op("read", schema.BuiltinOperatorREAD_VARIABLE, schema.BuiltinOptionsReadVariableOptions, &schema.ReadVariableOptionsT{}, []int32{1, 8}, handle)
			y := b.Op("sum", schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, []int32{1, 8}, x, state)
			if test.assigned {
				b.Op("assign", schema.BuiltinOperatorASSIGN_VARIABLE, schema.BuiltinOptionsAssignVariableOptions, &schema.AssignVariableOptionsT{}, []int32{}, handle, y)
			}
			b.Output(y)
			m := b.Model()
			m.Subgraph().Operators[0].Outputs = nil // as the converter writes CALL_ONCE
			_, err := integer.Compile(m, 0)
			var refused *integer.UnsupportedError
			if !errors.As(err, &refused) {
				t.Fatalf("%v is no refusal", err)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}
