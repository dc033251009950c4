package stage

import (
	"fmt"
	"math"
	"strconv"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/measure"
)

// doubts are what a result leaves open of constraints, each with how many samples would tell: those without a confidence that its metrics meet while
// their interval reaches past the bound and, of the baseline, those that so few samples decide that a leaf which answers all of them well would not
// surely meet them either.
func (r *Result) doubts(constraints []v1alpha1.Constraint) []string {
	var out []string
	for i, c := range constraints {
		if text := r.doubt(c); text != "" {
			out = append(out, text)
		} else if text, err := tellable(c, r.Classed); err == nil && text != "" {
			out = append(out, fmt.Sprintf("spec.constraints[%d]: %s", i, text))
		}
	}
	return out
}

// doubt is that of a constraint that metrics meet; "" where there is none.
func (r *Result) doubt(c v1alpha1.Constraint) string {
	if c.Output != "" || c.Confidence != nil {
		return ""
	}
	value, err := strconv.ParseFloat(walk.Value(r.Metrics, c.Metric), 64)
	in, ok := r.Evidence.Of(string(c.Metric), value, interval.Default)
	if err != nil || !ok {
		return ""
	}
	n := &numbers{}
	least, most := n.float(c.Min, math.Inf(-1)), n.float(c.Max, math.Inf(1))
	if n.err != nil || value < least || value > most || in.Low >= least && in.High <= most {
		return ""
	}
	bound, limit := fmt.Sprintf("min %g", least), least
	if in.High > most {
		bound, limit = fmt.Sprintf("max %g", most), most
	}
	text := fmt.Sprintf("%s meets %s with %.4f, but %d samples leave it between %.4f and %.4f with 95 %% confidence", c.Metric, bound, value, r.Evidence.Samples, in.Low, in.High)
	if wanted := r.Evidence.Wanted(string(c.Metric), value, limit, interval.Default); wanted > 0 {
		text += fmt.Sprintf("; about %d would tell", wanted)
	}
	return text
}

// classed are the samples that decide, where each has one class: samples with many answers tell more, and how much, their answers show.
func (p *Prepared) classed() int {
	if main := &p.Outputs[answer.Main(p.Outputs)]; main.Kind != answer.Classes && main.Kind != answer.Binary {
		return 0
	}
	return p.Deciding().Len()
}

// Guess asks of an output whose accuracy may be that of answers by chance whether samples are what the network takes; "" of another.
func Guess(o *answer.Output, accuracy interval.Interval) string {
	if o.Kind != answer.Classes || accuracy.High <= 0 || accuracy.Low*float64(o.Classes) > 1 {
		return ""
	}
	return fmt.Sprintf("Accuracy is what guessing among %d classes gives: is the dataset prepared as for training?", o.Classes)
}

// Guess asks so of the original. It wants an Answer.
func (p *Prepared) Guess() string {
	metrics := p.validation.Metrics(p.validation)
	guess := Guess(&p.Outputs[answer.Main(p.Outputs)], metrics.Intervals(p.validation.Evidence(nil))[measure.Accuracy])
	if guess == "" {
		return ""
	}
	return "the original's " + guess + " dataset.preprocessing says how"
}

// Known asks whether the original was trained with the samples that decide, of which it knows more than of test samples; "" where it does not. It
// wants an Answer.
func (p *Prepared) Known() string {
	if p.test == nil {
		return ""
	}
	accuracy := func(a *measure.Answers) (float64, interval.Interval) {
		metrics := a.Metrics(nil)
		return metrics[measure.Accuracy], metrics.Intervals(a.Evidence(nil))[measure.Accuracy]
	}
	value, decides := accuracy(p.validation)
	other, test := accuracy(p.test)
	return known(value, decides, other, test)
}

// known compares accuracies, with the intervals that they lie in, of the samples that decide and of test samples.
func known(value float64, decides interval.Interval, other float64, test interval.Interval) string {
	if test.High == 0 || decides.Low <= test.High {
		return ""
	}
	return fmt.Sprintf("the original is right in %.3g %% of the samples that decide and in %.3g %% of the test samples: it was most likely trained with the first, and verdicts promise more than other samples keep; give validation samples that it does not know", 100*value, 100*other)
}

// Tellable returns an error for the first constraint that asks for a confidence which no leaf at all could show. It wants an Answer.
func (p *Prepared) Tellable(constraints []v1alpha1.Constraint) error {
	for i, c := range constraints {
		text, err := tellable(c, p.classed())
		if err != nil {
			return err
		}
		if text != "" && c.Confidence != nil && (c.Metric != v1alpha1.AccuracyDrop || !surpassable(c, p.classed(), p.validation.Metrics(nil)[measure.Accuracy])) {
			return fault.As(fault.Spec, fmt.Errorf("spec.constraints[%d]: %s; take more for validation, lower confidence or leave it out", i, text))
		}
	}
	return nil
}

// surpassable reports whether a leaf that is right in all samples shows what a constraint on the drop asks for, where one that answers as the model
// does is too few samples' to show it.
func surpassable(c v1alpha1.Constraint, samples int, accuracy float64) bool {
	n := &numbers{}
	limit, confidence := n.float(c.Max, 0), n.float(c.Confidence, interval.Default)
	return interval.Drop(accuracy-1, math.Round((1-accuracy)*float64(samples)), float64(samples), confidence).High <= limit
}

// tellable says what so many samples cannot tell of a constraint; "" where they can, and of none.
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
	text := fmt.Sprintf("%d samples are too few to tell %s %s %g: with confidence %g, %s may have %.4f on others", samples, c.Metric, side, limit, confidence, which, end)
	if least > 0 {
		text += fmt.Sprintf("; %d would tell of such a leaf, more of any other", least)
	}
	return text, nil
}
