package stage

import (
	"fmt"
	"math"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/measure"
)

// confidence of the intervals that are noted.
const confidence = 0.95

// intervalsNote says how far metrics of so few samples can be trusted; "" without any.
func intervalsNote(in map[measure.Name]measure.Interval, samples int) string {
	var parts []string
	for _, name := range []measure.Name{measure.Accuracy, measure.AccuracyDrop, measure.Agreement} {
		if i, ok := in[name]; ok {
			parts = append(parts, fmt.Sprintf("%s %.4f to %.4f", name, i.Low, i.High))
		}
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("95 %% confidence on %d samples: %s", samples, strings.Join(parts, ", "))
}

// doubts are the constraints that metrics meet while their interval reaches past the bound, each with how many samples would tell.
// An interval narrows with the root of the number of samples.
func doubts(constraints []v1alpha1.Constraint, metrics measure.Metrics, in map[measure.Name]measure.Interval, samples int) []string {
	var out []string
	for _, c := range constraints {
		name := measure.Name(c.Metric)
		i, ok := in[name]
		if !ok || c.Output != "" {
			continue
		}
		n := &numbers{}
		least, most := n.float(c.Min, math.Inf(-1)), n.float(c.Max, math.Inf(1))
		value := metrics[name]
		if n.err != nil || value < least || value > most || i.Low >= least && i.High <= most {
			continue
		}
		bound, margin, half := fmt.Sprintf("min %g", least), value-least, value-i.Low
		if i.High > most {
			bound, margin, half = fmt.Sprintf("max %g", most), most-value, i.High-value
		}
		text := fmt.Sprintf("%s meets %s with %.4f, but %d samples leave it between %.4f and %.4f with 95 %% confidence", name, bound, value, samples, i.Low, i.High)
		if wanted := float64(samples) * math.Pow(half/margin, 2); wanted < 1e7 {
			text += fmt.Sprintf("; about %d would tell", roundUp(wanted))
		}
		out = append(out, text)
	}
	return out
}

// roundUp rounds up to two digits.
func roundUp(n float64) int {
	unit := math.Pow(10, max(math.Floor(math.Log10(n))-1, 0))
	return int(math.Ceil(n/unit) * unit)
}
