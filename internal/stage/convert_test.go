package stage

import (
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/target"
)

// What the API says of devices without the catalogue is what the catalogue says.
func TestDevicesOfOneScaleAreThoseOfTheCatalogue(t *testing.T) {
	for _, d := range target.All() {
		if got := (v1alpha1.Target{Runtime: string(d.Runtime), Device: d.Name}).OneScale(); got != d.PerTensor() {
			t.Errorf("%s: one scale %t, in the catalogue %t", d.Name, got, d.PerTensor())
		}
	}
}
