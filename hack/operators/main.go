// Command operators writes docs/operators.md: every operator of the table (optimizer/op) and what can be done with it.
//
//	go run ./hack/operators FILE
//
//go:generate go run . ../../docs/operators.md
package main

import (
	"fmt"
	"os"
	"strings"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/operators FILE")
		os.Exit(1)
	}
	if err := os.WriteFile(os.Args[1], []byte(page()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "operators:", err)
		os.Exit(1)
	}
}

const intro = `<!-- Written by hack/operators. Do not edit: run go generate ./hack/operators. -->
# Operators

What can be done with each operator of a network. **Float** is the forward pass, of training and of what a leaf keeps in float; **gradient**
says whether training reaches what lies before it. **int8** is the operator's form in a leaf: where it has none it is computed in
float, between a DEQUANTIZE and a QUANTIZE, as converters do. **Runs int8** says whether a file that has it in int8 can be run and
measured. **int16** and **runs int16** say the same of int16 activations with int8 weights (16×8); what has no such form stays float.
**Weights** are those that are pruned and clustered; with int4 they can have 4 bits. An operator that is not listed, or a custom one, is not run: a network with
it is refused by name, unless all that it computes from is known when the model is read, as a shape is. Then it is a constant: BROADCAST_ARGS, FILL and RANGE too.

| operator | float | gradient | int8 | runs int8 | int16 | runs int16 | weights | note |
|---|---|---|---|---|---|---|---|---|
`

// page is the document.
func page() string {
	var b strings.Builder
	b.WriteString(intro)
	for _, o := range op.All() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", o.Code, unless(o.NoForward), unless(o.NoGradient), form(o),
			runs(o, integer.RunsInt8), yes(o.Int16 != nil && o.Int8.Rule != op.Float), runs(o, integer.RunsInt16), weights(o), o.Note)
	}
	return b.String()
}

// unless is yes, or no and why.
func unless(why string) string {
	if why == "" {
		return "yes"
	}
	return "no: " + why
}

// form says how a leaf holds an operator.
func form(o *op.Op) string {
	switch o.Int8.Rule {
	case op.Float:
		return "no: " + o.Int8.Why
	case op.Same:
		return "yes, one scale for inputs and outputs"
	case op.Fixed:
		return fmt.Sprintf("yes, output scale 1/%g, zero point %d", 1/o.Int8.Output.Scale, o.Int8.Output.ZeroPoint)
	case op.Opaque:
		return "takes any type"
	case op.Reads:
		return "yes, reads codes"
	case op.Weighted:
		return "yes, a scale for each output channel"
	default:
		return "yes"
	}
}

func runs(o *op.Op, does func(schema.BuiltinOperator) bool) string {
	if o.Int8.Rule == op.Opaque {
		return "folded"
	}
	return yes(does(o.Code))
}

func yes(does bool) string {
	if does {
		return "yes"
	}
	return "no"
}

// weights says what becomes of an operator's constants.
func weights(o *op.Op) string {
	if o.Weights == nil {
		return "–"
	}
	text := "yes"
	if o.Weights.Kind == op.Depthwise {
		text = "where a rule names them"
	}
	if o.Weights.Int4 > 0 {
		text += ", int4"
	}
	return text
}
