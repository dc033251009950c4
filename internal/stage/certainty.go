package stage

import (
	"fmt"
	"math"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/measure"
)

// doubts are the constraints without a confidence that metrics meet while their interval reaches past the bound, each with how many
// samples would tell.
func doubts(constraints []v1alpha1.Constraint, metrics measure.Metrics, evidence interval.Evidence) []string {
	var out []string
	for _, c := range constraints {
		name := measure.Name(c.Metric)
		in, ok := evidence.Of(string(name), metrics[name], interval.Default)
		if _, measured := metrics[name]; !ok || !measured || c.Output != "" || c.Confidence != nil {
			continue
		}
		n := &numbers{}
		least, most := n.float(c.Min, math.Inf(-1)), n.float(c.Max, math.Inf(1))
		value := metrics[name]
		if n.err != nil || value < least || value > most || in.Low >= least && in.High <= most {
			continue
		}
		bound, limit := fmt.Sprintf("min %g", least), least
		if in.High > most {
			bound, limit = fmt.Sprintf("max %g", most), most
		}
		text := fmt.Sprintf("%s meets %s with %.4f, but %d samples leave it between %.4f and %.4f with 95 %% confidence", name, bound, value, evidence.Samples, in.Low, in.High)
		if wanted := interval.Wanted(value, limit, in, evidence.Samples); wanted > 0 {
			text += fmt.Sprintf("; about %d would tell", wanted)
		}
		out = append(out, text)
	}
	return out
}

// Tellable warns of constraints that so few samples decide that a leaf which answers all of them well would not surely meet them. Where
// a constraint asks for a confidence that no leaf at all could show, it is an error.
func (p *Prepared) Tellable(constraints []v1alpha1.Constraint) (warnings []string, err error) {
	if main := &p.Outputs[answer.Main(p.Outputs)]; main.Kind != answer.Classes && main.Kind != answer.Binary {
		return nil, nil // samples with many answers tell more; how much, their answers show
	}
	for i, c := range constraints {
		warning, err := tellable(c, p.Deciding().Len())
		switch {
		case err != nil:
			return nil, err
		case warning == "":
		case c.Confidence != nil && c.Metric != v1alpha1.AccuracyDrop: // a leaf may be better than the model
			return nil, fault.As(fault.Spec, fmt.Errorf("spec.constraints[%d]: %s; take more for validation, lower confidence or leave it out", i, warning))
		default:
			warnings = append(warnings, fmt.Sprintf("spec.constraints[%d]: %s", i, warning))
		}
	}
	return warnings, nil
}

// tellable says what so many samples cannot tell of a constraint; "" where they can.
func tellable(c v1alpha1.Constraint, samples int) (string, error) {
	n := &numbers{}
	confidence := n.float(c.Confidence, interval.Default)
	which, value, bound, side := "a leaf that answers all of them as the model does", 0.0, c.Max, "max"
	switch c.Metric {
	case v1alpha1.Accuracy:
		which, value, bound, side = "a leaf that is right in all of them", 1, c.Min, "min"
	case v1alpha1.Agreement:
		value, bound, side = 1, c.Min, "min"
	}
	limit := n.float(bound, 0)
	in, ok := interval.Evidence{Samples: samples}.Of(string(c.Metric), value, confidence)
	if n.err != nil || !ok || c.Output != "" || bound == nil || side == "min" && in.Low >= limit || side == "max" && in.High <= limit {
		return "", n.err
	}
	least, end := interval.Least(string(c.Metric), limit, confidence), in.Low
	if side == "max" {
		end = in.High
	}
	if least == 0 && c.Confidence == nil {
		return "", nil // no number of samples would show it, nor is that asked for
	}
	text := fmt.Sprintf("%d samples are too few to tell %s %s %g: with confidence %g, %s may have %.4f", samples, c.Metric, side, limit, confidence, which, end)
	if least > 0 {
		text += fmt.Sprintf("; %d would do for that, more for any other", interval.RoundUp(float64(least)))
	}
	return text, nil
}
