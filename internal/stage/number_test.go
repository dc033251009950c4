package stage

import (
	"strconv"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
)

func TestNumbersFitAStatusAndStayWhatTheyAre(t *testing.T) {
	for v, want := range map[float64]string{
		0.123456: "0.123456", 1234567.5: "1234567.5", 1234567890123.25: "1234567890123.25"[:16], 12345678901234.5: "12345678901234.5",
		1.23456789012e18: "1.23456789e+18", -9.87654321012e18: "-9.87654321e+18", 1e200: "9.00000000e+99",
	} {
		got := shortNumber(v)
		if got != want || len(got) > v1alpha1.MaxMetricValue {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
		if _, err := v1alpha1.ParseDecimal(got); err != nil {
			t.Errorf("%s is no decimal of a constraint: %v", got, err)
		}
		if back, err := strconv.ParseFloat(got, 64); err != nil || v < 1e100 && (back/v < 0.99999 || back/v > 1.00001) {
			t.Errorf("%s is not %g", got, v)
		}
	}
}
