package tflite_test

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// twoSignatures is a model of two subgraphs; the second calls a third.
func twoSignatures(keys ...string) *tflite.Model {
	m := &tflite.Model{ModelT: &schema.ModelT{Version: 3, Buffers: []*schema.BufferT{{}}}}
	m.OperatorCodes = []*schema.OperatorCodeT{{BuiltinCode: schema.BuiltinOperatorCALL_ONCE, Version: 1}}
	for i := range 3 {
		m.Subgraphs = append(m.Subgraphs, &schema.SubGraphT{Tensors: []*schema.TensorT{{Name: "x", Shape: []int32{1, int32(4 + i)}}}, Inputs: []int32{0}, Outputs: []int32{0}})
	}
	m.Subgraphs[1].Operators = []*schema.OperatorT{{BuiltinOptions: &schema.BuiltinOptionsT{
		Type: schema.BuiltinOptionsCallOnceOptions, Value: &schema.CallOnceOptionsT{InitSubgraphIndex: 0},
	}}}
	for i, key := range keys {
		m.SignatureDefs = append(m.SignatureDefs, &schema.SignatureDefT{
			SignatureKey: key, SubgraphIndex: uint32(i), Inputs: []*schema.TensorMapT{{Name: "x"}}, Outputs: []*schema.TensorMapT{{Name: "y"}},
		})
	}
	return m
}

func TestSelect(t *testing.T) {
	for name, test := range map[string]struct {
		keys  []string
		key   string
		width int32  // of the primary subgraph's input
		says  string // in the note or the error
		fails bool
	}{
		"a chosen signature":         {[]string{"decode", "encode"}, "encode", 5, `"encode" is worked on; carried through as they are: "decode" (x [1 4])`, false},
		"the first":                  {[]string{"decode", "encode"}, "decode", 4, `"decode" is worked on; carried through as they are: "encode" (x [1 5])`, false},
		"the only one, chosen":       {[]string{"decode"}, "decode", 4, "", false},
		"the default":                {[]string{"decode", "serving_default"}, "", 5, `"serving_default" is worked on`, false},
		"none of two":                {[]string{"decode", "encode"}, "", 4, `the model has 2 signatures, "decode" (x [1 4]), "encode" (x [1 5]): say which to work on (model.signature)`, true},
		"the only one":               {[]string{"decode"}, "", 4, "", false},
		"an unknown one":             {[]string{"decode"}, "nope", 4, `no signature "nope"; it has "decode"`, true},
		"one of a model without any": {nil, "nope", 4, "the model has no signatures", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := twoSignatures(test.keys...)
			note, moved, err := tflite.Select(m, test.key)
			said := note
			if err != nil {
				said = err.Error()
			}
			if (err != nil) != test.fails || !strings.Contains(said, test.says) || (said == "") != (test.says == "") {
				t.Errorf("says %q, want %q", said, test.says)
			}
			if got := m.Subgraph().Tensors[0].Shape[1]; got != test.width || moved != (test.width == 5) {
				t.Errorf("the primary subgraph's input has %d values (moved %v), want %d", got, moved, test.width)
			}
			for i, s := range m.SignatureDefs {
				if got := m.Subgraphs[s.SubgraphIndex].Tensors[0].Shape[1]; got != int32(4+i) {
					t.Errorf("signature %q now names the subgraph of width %d", s.SignatureKey, got)
				}
			}
			if moved {
				if called := m.Subgraph().Operators[0].BuiltinOptions.Value.(*schema.CallOnceOptionsT).InitSubgraphIndex; called != 1 {
					t.Errorf("CALL_ONCE names subgraph %d, want 1", called)
				}
			}
		})
	}
}
