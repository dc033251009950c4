package walk

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/interval"
)

// Shortfall is a constraint a leaf misses.
type Shortfall struct {
	Constraint v1alpha1.Constraint
	Value      string // measured; empty where the metric was not measured
	By         string // how much is missing, a decimal of at most six places
	// End is the end of the value's interval that misses, where the constraint has a confidence; empty otherwise.
	End string
	// Samples that the interval follows from, and about how many would tell; 0 where they are not known, or the value misses itself.
	Samples, Wanted int

	above bool     // of max, and not below min
	by    *big.Rat // exact; nil where the metric was not measured
}

// String reads as a sentence: `CompressedBytes is 91000, 1000 above max 90000`.
func (s Shortfall) String() string {
	switch {
	case s.Value == "" && s.Constraint.Metric.Measured():
		return fmt.Sprintf("%s is not known: its measurement found none of this leaf", s.name())
	case s.Value == "":
		return fmt.Sprintf("%s could not be measured on this dataset", s.name())
	case s.By == "":
		return fmt.Sprintf("%s is %s, but of how many samples was not recorded, so that its confidence cannot be told", s.name(), s.Value)
	case s.End != "":
		word, sign, bound := "down", "below min", s.Constraint.Min
		if s.above {
			word, sign, bound = "up", "above max", s.Constraint.Max
		}
		text := fmt.Sprintf("%s is %s, but %d samples leave it %s to %s with confidence %s, %s %s %s", s.name(), s.Value, s.Samples, word, s.End, *s.Constraint.Confidence, s.By, sign, *bound)
		if s.Wanted > 0 {
			text += fmt.Sprintf("; about %d would tell", s.Wanted)
		}
		return text
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

// Share is what is missing of a metric that is a share of the answers; 0 of others.
func (s Shortfall) Share() float64 {
	switch s.Constraint.Metric {
	case v1alpha1.Accuracy, v1alpha1.AccuracyDrop, v1alpha1.Agreement, v1alpha1.AUC, v1alpha1.MeanIoU, v1alpha1.F1:
		if s.by != nil {
			v, _ := s.by.Float64()
			return v
		}
	}
	return 0
}

// Judge returns the constraints that a leaf misses, in order. Values are compared as decimals, exactly; of a constraint with a confidence
// the ends of the value's interval, to four places, are. A metric that was not measured misses, and so does a confidence that cannot be told.
func Judge(constraints []v1alpha1.Constraint, leaf *v1alpha1.Leaf) []Shortfall {
	var missed []Shortfall
	for _, c := range constraints {
		text := Value(leaf.Metrics, v1alpha1.Metric(c.Metric.Of(c.Output)))
		if text == "" {
			missed = append(missed, Shortfall{Constraint: c})
			continue
		}
		value := decimal(text)
		low, high := value, value
		var in v1alpha1.MetricInterval
		if c.Confidence != nil {
			var known bool
			if in, known = intervalOf(leaf, c.Metric, *c.Confidence); !known {
				missed = append(missed, Shortfall{Constraint: c, Value: text})
				continue
			}
			low, high = decimal(in.Low), decimal(in.High)
		}
		below, above := new(big.Rat), new(big.Rat)
		if c.Min != nil {
			below.Sub(decimal(string(*c.Min)), low)
		}
		if c.Max != nil {
			above.Sub(high, decimal(string(*c.Max)))
		}
		switch {
		case below.Sign() > 0:
			s := Shortfall{Constraint: c, Value: text, By: short(below), by: below}
			missed = append(missed, s.unsure(leaf, in.Low, *c.Min))
		case above.Sign() > 0:
			s := Shortfall{Constraint: c, Value: text, By: short(above), by: above, above: true}
			missed = append(missed, s.unsure(leaf, in.High, *c.Max))
		}
	}
	return missed
}

// unsure adds what a confidence asks more than the value.
func (s Shortfall) unsure(leaf *v1alpha1.Leaf, end string, bound v1alpha1.Decimal) Shortfall {
	if s.Constraint.Confidence == nil {
		return s
	}
	s.End, s.Samples = end, int(leaf.Samples)
	if value, limit := decimal(s.Value), decimal(string(bound)); s.meets() {
		confidence, _ := decimal(string(*s.Constraint.Confidence)).Float64()
		v, _ := value.Float64()
		l, _ := limit.Float64()
		s.Wanted = evidence(leaf).Wanted(string(s.Constraint.Metric), v, l, confidence)
	}
	return s
}

// meets reports whether the value meets the bound that its interval misses.
func (s Shortfall) meets() bool {
	if s.above {
		return decimal(s.Value).Cmp(decimal(string(*s.Constraint.Max))) <= 0
	}
	return decimal(s.Value).Cmp(decimal(string(*s.Constraint.Min))) >= 0
}

func evidence(leaf *v1alpha1.Leaf) interval.Evidence {
	return interval.Evidence{Samples: int(leaf.Samples), Changed: int(leaf.Changed)}
}

// intervalOf is the interval of a metric of the main output; known is false of metrics without, and where no samples were recorded.
func intervalOf(leaf *v1alpha1.Leaf, metric v1alpha1.Metric, confidence v1alpha1.Decimal) (out v1alpha1.MetricInterval, known bool) {
	text := Value(leaf.Metrics, metric)
	if text == "" {
		return out, false
	}
	value, _ := decimal(text).Float64()
	share, _ := decimal(string(confidence)).Float64()
	in, known := evidence(leaf).Of(string(metric), value, share)
	return v1alpha1.MetricInterval{Name: string(metric), Low: places(in.Low), High: places(in.High), Confidence: string(confidence)}, known
}

// Intervals are those of a leaf's metrics that have one, each with the confidence that a constraint asks for, else the default.
func Intervals(constraints []v1alpha1.Constraint, leaf *v1alpha1.Leaf) []v1alpha1.MetricInterval {
	var out []v1alpha1.MetricInterval
	for _, metric := range []v1alpha1.Metric{v1alpha1.Accuracy, v1alpha1.AccuracyDrop, v1alpha1.Agreement} {
		confidence := v1alpha1.Decimal(strconv.FormatFloat(interval.Default, 'f', -1, 64))
		for _, c := range constraints {
			if c.Metric == metric && c.Confidence != nil {
				confidence = *c.Confidence
				break
			}
		}
		if in, known := intervalOf(leaf, metric, confidence); known {
			out = append(out, in)
		}
	}
	return out
}

// places writes the end of an interval.
func places(v float64) string {
	text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 4, 64), "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
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
