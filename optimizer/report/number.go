package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/measure"
)

// minus is the sign people read, not the hyphen.
const minus = "−"

// human writes a metric's value, a decimal, for people: shares as percentages, drops as percentage points, bytes grouped.
func human(name measure.Name, value string) string {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return value
	}
	switch name.Metric() {
	case measure.Accuracy, measure.Agreement, measure.MeanIoU:
		return signed(fmt.Sprintf("%.2f %%", 100*v))
	case measure.AccuracyDrop:
		return signed(fmt.Sprintf("%.2f pp", 100*v))
	case measure.Sparsity:
		return fmt.Sprintf("%.1f %%", 100*v)
	case measure.FileBytes, measure.FlashBytes, measure.CompressedBytes, measure.ArenaBytes:
		return grouped(int(v)) + " B"
	case measure.LatencyMicros:
		return short(v) + " µs"
	case measure.Multiplications:
		return grouped(int(v))
	case measure.Clusters:
		return strconv.Itoa(int(v))
	case measure.AUC:
		return fmt.Sprintf("%.4f", v)
	default:
		return short(v)
	}
}

// short writes three significant digits, more of large integers.
func short(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case !(a < 1e15): // beyond what an integer says for certain
		return strings.ReplaceAll(strconv.FormatFloat(v, 'g', 3, 64), "-", minus)
	case a >= 1000:
		return grouped(int(math.Round(v)))
	case a >= 100:
		return signed(fmt.Sprintf("%.0f", v))
	default:
		return signed(strconv.FormatFloat(v, 'g', 3, 64))
	}
}

func signed(text string) string { return strings.Replace(text, "-", minus, 1) }

// grouped writes an integer with a comma every three digits.
func grouped(n int) string {
	if n < 0 {
		return minus + grouped(-n)
	}
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// label is a metric's heading.
func label(name measure.Name) string {
	if output := name.Output(); output != "" {
		return output + " " + label(name.Metric())
	}
	switch name {
	case measure.AccuracyDrop:
		return "Drop"
	case measure.MeanSquaredError:
		return "MSE"
	case measure.RelativeError:
		return "Relative error"
	case measure.MeanIoU:
		return "Mean IoU"
	case measure.FileBytes:
		return "File"
	case measure.FlashBytes:
		return "Flash"
	case measure.CompressedBytes:
		return "Compressed"
	case measure.ArenaBytes:
		return "Arena"
	case measure.LatencyMicros:
		return "Latency"
	default:
		return string(name)
	}
}

// bound writes a constraint: "AccuracyDrop ≤ 1.00 pp".
func (c Constraint) bound() string {
	var parts []string
	if c.Min != "" {
		parts = append(parts, "≥ "+human(c.Metric, c.Min))
	}
	if c.Max != "" {
		parts = append(parts, "≤ "+human(c.Metric, c.Max))
	}
	text := strings.Join(parts, " and ")
	if c.Confidence != "" {
		text += ", confidence " + c.Confidence
	}
	return text
}

// between writes an interval with its unit once: "86.03 – 90.01 %".
func between(in Interval) string {
	low, high := human(in.Metric, in.Low), human(in.Metric, in.High)
	if amount, unit, ok := strings.Cut(low, " "); ok && strings.HasSuffix(high, " "+unit) {
		low = amount
	}
	return low + " – " + high
}

// brief writes a shortfall in few words: "Compressed 91,000 > 90,000 B".
func (s Shortfall) brief() string {
	measured, shown := s.Value, label(s.Metric)
	if s.End != "" {
		measured, shown = s.End, shown+" may be"
	}
	v, err := strconv.ParseFloat(measured, 64)
	if err != nil {
		return shown + " not measured"
	}
	sign, limit := ">", s.Max
	if low, err := strconv.ParseFloat(s.Min, 64); err == nil && v < low {
		sign, limit = "<", s.Min
	}
	figure, of := human(s.Metric, measured), human(s.Metric, limit)
	if high, err := strconv.ParseFloat(limit, 64); err == nil && strings.HasSuffix(of, " B") && max(v, high) >= 1e5 {
		if a, b := fmt.Sprintf("%.1f kB", v/1e3), fmt.Sprintf("%.1f kB", high/1e3); a != b {
			figure, of = a, b
		}
	}
	if s.Metric == measure.Multiplications { // as the table on the command line has it
		shown = "Mults"
		if high, err := strconv.ParseFloat(limit, 64); err == nil && max(v, high) >= 1e7 {
			if a, b := fmt.Sprintf("%.2f M", v/1e6), fmt.Sprintf("%.2f M", high/1e6); a != b {
				figure, of = a, b
			}
		}
	}
	if amount, unit, ok := strings.Cut(of, " "); ok && strings.HasSuffix(figure, " "+unit) && amount != "" {
		figure = strings.TrimSuffix(figure, " "+unit) // one unit is enough
	}
	return fmt.Sprintf("%s %s %s %s", shown, figure, sign, of)
}

// percent writes a share.
func percent(part, whole int) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// duration writes seconds.
func duration(seconds int) string {
	switch {
	case seconds <= 0:
		return ""
	case seconds < 100:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 6000:
		return fmt.Sprintf("%d min %02d s", seconds/60, seconds%60)
	default:
		return fmt.Sprintf("%d h %02d min", seconds/3600, seconds/60%60)
	}
}
