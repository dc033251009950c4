package target

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// leafOf is a leaf of operators that each read what the one before makes, int8 before the first DEQUANTIZE and behind a QUANTIZE.
func leafOf(codes ...schema.BuiltinOperator) *tflite.Model {
	b := tflitetest.New()
	at, float := b.Input("x", 1, 4), false
	kind := func(t int32) {
		if !float {
			b.SetType(t, schema.TensorTypeINT8)
			b.Quantize(t, 0, 0, 0.1)
		}
	}
	kind(at)
	for i, code := range codes {
		switch code {
		case schema.BuiltinOperatorDEQUANTIZE:
			float = true
		case schema.BuiltinOperatorQUANTIZE:
			float = false
		}
		at = b.Op(fmt.Sprintf("net/%d", i), code, schema.BuiltinOptionsNONE, nil, []int32{1, 4}, at)
		kind(at)
	}
	b.Output(at)
	return b.Model()
}

// Of a leaf's operators in float those that cannot be int8 say why and what to do, and the conversions and others in float beside them, for whose
// sake they are.
func TestFloatIslandsNameTheirCause(t *testing.T) {
	const (
		dq, q, elu, exp, logistic, relu = schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOperatorQUANTIZE, schema.BuiltinOperatorELU,
			schema.BuiltinOperatorEXP, schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorRELU
		cumsum = schema.BuiltinOperatorCUMSUM
	)
	for name, c := range map[string]struct {
		codes []schema.BuiltinOperator
		want  string // by operator: the one for whose sake it is not on the accelerator, itself, or "." if it is there
	}{
		"an operator between conversions":      {[]schema.BuiltinOperator{relu, dq, elu, q, relu}, ". 2 2 2 ."},
		"the nearest of two":                   {[]schema.BuiltinOperator{dq, elu, logistic, logistic, exp, q}, "1 1 1 4 4 4"},
		"one after the other":                  {[]schema.BuiltinOperator{dq, elu, q, dq, cumsum, q}, "1 1 1 4 4 4"},
		"one that was kept float":              {[]schema.BuiltinOperator{dq, logistic, q}, "1 1 1"},
		"beside one that was kept float":       {[]schema.BuiltinOperator{dq, logistic, elu, q}, "2 2 2 2"},
		"conversions of inputs and of outputs": {[]schema.BuiltinOperator{dq, q, relu, dq}, "0 1 . 3"},
		"nothing in float":                     {[]schema.BuiltinOperator{relu, logistic}, ". ."},
	} {
		for _, device := range []string{"ethos-u55", "ethos-u85", "stm32n6", "stm32mp2", "hexagon"} {
			d, err := Lookup(device)
			if err != nil {
				t.Fatal(err)
			}
			r := Check(leafOf(c.codes...), d)
			var got []string
			for i, p := range r.Operators {
				switch {
				case p.Because != nil:
					got = append(got, fmt.Sprint(*p.Because))
					because := r.Operators[*p.Because]
					if p.Remedy != because.Remedy || !strings.Contains(p.Reason, "for the sake of "+because.Name+" ("+because.Layer+")") {
						t.Errorf("%s on %s: %s", name, device, p)
					}
				case p.Reason != "":
					got = append(got, fmt.Sprint(i))
				default:
					got = append(got, ".")
				}
				known := op.Lookup(c.codes[i])
				if stays := known.Int8.Instead != ""; stays && (!strings.HasSuffix(p.Reason, "it stays float, as "+known.Int8.Why) || p.Remedy != known.Int8.Instead) ||
					!stays && p.Because == nil && strings.Contains(p.Reason, "stays float") {
					t.Errorf("%s on %s: %s", name, device, p)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s on %s: %s", name, device, diff)
			}
		}
	}
}

// What is before the first operator that is not there counts on an Edge TPU; a conversion is not there for the sake of another.
func TestWhatStandsBehindAnIslandNamesItsCause(t *testing.T) {
	d, err := Lookup("edgetpu")
	if err != nil {
		t.Fatal(err)
	}
	r := Check(leafOf(schema.BuiltinOperatorRELU, schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOperatorELU, schema.BuiltinOperatorQUANTIZE, schema.BuiltinOperatorRELU), d)
	last := r.Operators[4]
	if last.Place != OnProcessor || last.Because == nil || *last.Because != 2 || !strings.Contains(last.Reason, "it stands behind ELU (net/2), which is not") {
		t.Errorf("%s: %v", last, last.Because)
	}
}

// A remedy names operators that every accelerator takes.
func TestRemediesOfFloatOperatorsRunOnAccelerators(t *testing.T) {
	names := regexp.MustCompile(`[A-Z][A-Z0-9_]{2,}`)
	for _, o := range op.All() {
		for _, word := range names.FindAllString(o.Int8.Instead, -1) {
			for _, d := range All() {
				if d.Accelerator != nil && !d.Takes(schema.EnumValuesBuiltinOperator[word], schema.TensorTypeINT8) {
					t.Errorf("%s: %s is not on %s: %q", o.Code, word, d.Name, o.Int8.Instead)
				}
			}
		}
	}
}
