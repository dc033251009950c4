package float

import (
	"testing"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Every operator of the table is run here, or says why not; what has a gradient is among the cases that check it.
func TestEveryOperatorRunsOrSaysWhyNot(t *testing.T) {
	checked := map[schema.BuiltinOperator]bool{}
	for _, c := range allCases() {
		m := c.model()
		for _, o := range m.Subgraph().Operators {
			code, _ := m.Op(o)
			checked[code] = true
		}
	}
	for _, o := range op.All() {
		if (builders[o.Code] != nil) != (o.NoForward == "") {
			t.Errorf("%s: runs: %v, but the table says %q", o.Code, (builders[o.Code] != nil), o.NoForward)
		}
		if o.NoGradient == "" && !checked[o.Code] {
			t.Errorf("%s: no case checks its gradient", o.Code)
		}
	}
	for code := range builders {
		if op.Lookup(code) == nil {
			t.Errorf("%s is compiled here, but is not in the table", code)
		}
	}
}
