package integer

import (
	"testing"

	"espalier.dev/espalier/optimizer/op"
)

// What a leaf holds in int8 has to run in int8.
func TestEveryInt8FormRuns(t *testing.T) {
	for _, o := range op.All() {
		if o.Int16 != nil && !RunsInt16(o.Code) {
			t.Errorf("%s has an int16 form, but is not compiled here", o.Code)
		}
		if o.Int8.Rule != op.Float && o.Int8.Rule != op.Opaque && !RunsInt8(o.Code) {
			t.Errorf("%s has an int8 form, but is not compiled here", o.Code)
		}
	}
	for code := range operators {
		if op.Lookup(code) == nil {
			t.Errorf("%s is compiled here, but is not in the table", code)
		}
	}
}
