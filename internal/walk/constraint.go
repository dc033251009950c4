package walk

import (
	"fmt"
	"math/big"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
)

// Shortfall is a constraint a leaf misses.
type Shortfall struct {
	Constraint v1alpha1.Constraint
	Value      string // measured; empty where the metric was not measured
	By         string // how much is missing, a decimal of at most six places

	above bool     // of max, and not below min
	by    *big.Rat // exact; nil where the metric was not measured
}

// String reads as a sentence: `CompressedBytes is 91000, 1000 above max 90000`.
func (s Shortfall) String() string {
	switch {
	case s.Value == "":
		return fmt.Sprintf("%s could not be measured on this dataset", s.name())
	case s.above:
		return fmt.Sprintf("%s is %s, %s above max %s", s.name(), s.Value, s.By, *s.Constraint.Max)
	default:
		return fmt.Sprintf("%s is %s, %s below min %s", s.name(), s.Value, s.By, *s.Constraint.Min)
	}
}

// name is the metric's, and the output's where one is named.
func (s Shortfall) name() string { return s.Constraint.Metric.Of(s.Constraint.Output) }

// relative is the shortfall as a share of the bound, or of a hundredth where the bound is smaller, so that drops and sizes compare. A
// metric that was not measured is further away than any that was.
func (s Shortfall) relative() *big.Rat {
	if s.by == nil {
		return big.NewRat(1_000_000, 1)
	}
	bound := s.Constraint.Min
	if s.above {
		bound = s.Constraint.Max
	}
	size := new(big.Rat).Abs(decimal(string(*bound)))
	if least := big.NewRat(1, 100); size.Cmp(least) < 0 {
		size = least
	}
	return new(big.Rat).Quo(s.by, size)
}

// Judge returns the constraints that metrics miss, in order. Values are compared as decimals, exactly. A metric that was not measured
// misses.
func Judge(constraints []v1alpha1.Constraint, metrics []v1alpha1.MetricValue) []Shortfall {
	var missed []Shortfall
	for _, c := range constraints {
		text := Value(metrics, v1alpha1.Metric(c.Metric.Of(c.Output)))
		if text == "" {
			missed = append(missed, Shortfall{Constraint: c})
			continue
		}
		value := decimal(text)
		below, above := new(big.Rat), new(big.Rat)
		if c.Min != nil {
			below.Sub(decimal(string(*c.Min)), value)
		}
		if c.Max != nil {
			above.Sub(value, decimal(string(*c.Max)))
		}
		switch {
		case below.Sign() > 0:
			missed = append(missed, Shortfall{Constraint: c, Value: text, By: short(below), by: below})
		case above.Sign() > 0:
			missed = append(missed, Shortfall{Constraint: c, Value: text, By: short(above), by: above, above: true})
		}
	}
	return missed
}

// Value returns a metric's value, "" where it was not measured.
func Value(metrics []v1alpha1.MetricValue, name v1alpha1.Metric) string {
	for _, m := range metrics {
		if m.Name == string(name) {
			return m.Value
		}
	}
	return ""
}

// better reports whether value a of an objective is strictly better than b; an unmeasured one never is.
func better(objective v1alpha1.Metric, a, b string) bool {
	if a == "" || b == "" {
		return a != "" && b == ""
	}
	order := decimal(a).Cmp(decimal(b))
	if objective.HigherIsBetter() {
		return order > 0
	}
	return order < 0
}

// decimal parses what the schema has checked and what was measured; 0 if it is no number after all.
func decimal(text string) *big.Rat {
	r, err := v1alpha1.ParseDecimal(text)
	if err != nil {
		return new(big.Rat)
	}
	return r
}

// short formats with at most six places and no trailing zeros. What is less than that is not nothing.
func short(r *big.Rat) string {
	text := strings.TrimRight(strings.TrimRight(r.FloatString(6), "0"), ".")
	if text == "0" && r.Sign() > 0 {
		return "less than 0.000001"
	}
	return text
}
