package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/train"
)

func TestFiguresAreRounded(t *testing.T) {
	for _, test := range []struct {
		value string
		room  int
		want  string
	}{
		{"0.123456", 7, "0.12346"}, {"0.9", 7, "0.9"}, {"-0.012345", 7, "-0.0123"}, {"123456.789", 7, "123457"}, {"12345678", 7, "12345678"},
		{"99.96", 1, "100"}, {"0.6", 1, "1"}, {"1042", 1, "1042"}, {"-", 7, "-"},
		{"1.23456789e+18", 7, "1.235e+18"}, {"9e+17", 7, "9e+17"},
	} {
		if got := rounded(test.value, test.room); got != test.want {
			t.Errorf("%s in %d characters: %s, want %s", test.value, test.room, got, test.want)
		}
	}
}

func TestTheTableFitsTheTerminal(t *testing.T) {
	result := &stage.Result{
		Metrics: []v1alpha1.MetricValue{
			{Name: "Accuracy", Value: "0.912345678"}, {Name: "AccuracyDrop", Value: "-0.0123456"}, {Name: "Agreement", Value: "0.987654321"}, {Name: "CompressedBytes", Value: "1234567"},
			{Name: "FileBytes", Value: "2345678"}, {Name: "Sparsity", Value: "0.512345"}, {Name: "Clusters", Value: "255"}, {Name: "LatencyMicros", Value: "1234.75"},
			{Name: "MeanSquaredError/box", Value: "0.000123"}, {Name: "MeanSquaredError/another", Value: "0.000456"}, {Name: "MeanSquaredError/third", Value: "0.000789"},
		},
	}
	for width, below := range map[int]string{0: "", 130: "", 100: "", 80: "  CODES 255, µs 1235\n"} {
		var out bytes.Buffer
		v := newView(&ioStreams{Out: &out, Err: io.Discard, width: width}, &v1alpha1.OptimizationPipelineSpec{Stages: []v1alpha1.Stage{{Name: "prune"}}})
		v.Leaf("prune", result, false)
		for _, line := range strings.Split(out.String(), "\n") {
			if width > 0 && utf8.RuneCountInString(line) > width {
				t.Errorf("%d columns: a line of %d:\n%s", width, utf8.RuneCountInString(line), out.String())
			}
		}
		for _, value := range []string{"0.91235", "-0.0123", "0.98765", "1234567", "2345678", "0.51235", "255", "1235", "another MeanSquaredError 0.000456", "no constraints"} {
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), value) {
				t.Errorf("%d columns: %s is not shown:\n%s", width, value, out.String())
			}
		}
		if below != "" && !strings.Contains(out.String(), below) {
			t.Errorf("%d columns: want %q in\n%s", width, below, out.String())
		}
	}
}

func TestTheTableHasColumnsOfTheDevice(t *testing.T) {
	result := &stage.Result{Metrics: []v1alpha1.MetricValue{
		{Name: "Accuracy", Value: "0.912345678"}, {Name: "AccuracyDrop", Value: "-0.0123456"}, {Name: "Agreement", Value: "0.987654321"}, {Name: "CompressedBytes", Value: "1234567"},
		{Name: "FileBytes", Value: "2345678"}, {Name: "FlashBytes", Value: "2345670"}, {Name: "ArenaBytes", Value: "96123"}, {Name: "npu_cycles", Value: "123456789"}, {Name: "LatencyMicros", Value: "1234.75"},
	}}
	spec := &v1alpha1.OptimizationPipelineSpec{Target: v1alpha1.Target{Runtime: "TFLM"}, Measurements: []v1alpha1.Measurement{{Name: "npu_cycles"}}}
	for _, width := range []int{0, 80, 100, 130} {
		for _, s := range []*v1alpha1.OptimizationPipelineSpec{spec, {}} {
			var out bytes.Buffer
			newView(&ioStreams{Out: &out, Err: io.Discard, width: width}, s).Leaf("prune", result, false)
			for _, line := range strings.Split(out.String(), "\n") {
				if width > 0 && utf8.RuneCountInString(line) > width {
					t.Errorf("%d columns: a line of %d:\n%s", width, utf8.RuneCountInString(line), out.String())
				}
			}
			for _, figure := range []string{"ARENA", "96123", "NPU_CYCLES", "123456789"} {
				if strings.Contains(out.String(), figure) != (s == spec) {
					t.Errorf("%d columns: %s, with a device %v:\n%s", width, figure, s == spec, out.String())
				}
			}
		}
	}
}

func TestTheTableHasTheMetricThatLeavesAreChosenBy(t *testing.T) {
	result := &stage.Result{Metrics: []v1alpha1.MetricValue{{Name: "Agreement", Value: "1"}, {Name: "ArenaBytes", Value: "96123"}, {Name: "Multiplications", Value: "1000"}}}
	most := v1alpha1.Decimal("100000")
	for name, spec := range map[string]*v1alpha1.OptimizationPipelineSpec{
		"minimized": {Search: &v1alpha1.Search{Minimize: v1alpha1.ArenaBytes}}, "bounded": {Constraints: []v1alpha1.Constraint{{Metric: v1alpha1.ArenaBytes, Max: &most}}},
		"an objective": {Selection: v1alpha1.Selection{Objective: v1alpha1.ArenaBytes}},
	} {
		var out bytes.Buffer
		newView(&ioStreams{Out: &out, Err: io.Discard}, spec).Leaf("prune", result, false)
		if !strings.Contains(out.String(), "96123") {
			t.Errorf("%s: the table does not show it:\n%s", name, out.String())
		}
	}
}

func TestALongVerdictStandsBelowItsRow(t *testing.T) {
	row, verdict := strings.Repeat("x", 60), strings.Repeat("Accuracy is 0.91, at least 0.95 is asked for; ", 4)
	for _, width := range []int{80, 100, 130} {
		got := beside(row, verdict, width)
		if !strings.HasPrefix(got, row+"\n  Accuracy") {
			t.Errorf("%d columns: the verdict is not below:\n%s", width, got)
		}
		for _, line := range strings.Split(got, "\n") {
			if utf8.RuneCountInString(line) > width {
				t.Errorf("%d columns: a line of %d", width, utf8.RuneCountInString(line))
			}
		}
		if strings.Join(strings.Fields(got), " ") != row+" "+strings.TrimSpace(verdict) {
			t.Errorf("%d columns: words were lost:\n%s", width, got)
		}
	}
	for _, width := range []int{0, 80} {
		if got, want := beside(row, "no constraints", width), row+"  no constraints\n"; got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
}

// A board may find a figure of one leaf and none of another.
func TestAMeasurementThatIsNullOfTheFirstLeafIsShownOfTheNext(t *testing.T) {
	var out bytes.Buffer
	v := newView(&ioStreams{Out: &out, Err: io.Discard}, &v1alpha1.OptimizationPipelineSpec{Measurements: []v1alpha1.Measurement{{Name: "cycles"}, {Name: "watts"}}})
	v.Leaf("baseline", &stage.Result{Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}, {Name: "watts", Value: "2"}}}, false)
	v.Leaf("prune", &stage.Result{Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.8"}, {Name: "cycles", Value: "123"}}}, false)
	want := `LEAF            ACCURACY     WATTS  VERDICT
baseline             0.9         2  no constraints
prune                0.8         -  no constraints
  CYCLES 123
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// Rows that are written just before the bars end are on the terminal, and so is what is said after that.
func TestTheLastRowIsPrinted(t *testing.T) {
	for range 5 {
		var out strings.Builder
		v := &view{streams: &ioStreams{Out: &out, Err: &out, terminalOut: true}, active: map[string]*activity{}}
		v.bars = mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh(), mpb.WithRefreshRate(20*time.Millisecond))
		v.Begin("prune")
		v.Begin("interrupted")
		v.End("prune")
		v.print("the last row\n")
		v.close()
		v.Say("said after %s", "it")
		if text := out.String(); !strings.Contains(text, "the last row\n") || !strings.HasSuffix(text, "said after it\n") {
			t.Fatalf("printed %q", text)
		}
	}
}

func TestReconstructionIsToldOnce(t *testing.T) {
	var told strings.Builder
	v := newView(&ioStreams{Out: io.Discard, Err: &told}, &v1alpha1.OptimizationPipelineSpec{})
	v.Begin("narrow")
	for range 3 { // once for each choice of channels
		for layer := range 4 {
			v.progress("narrow", train.Progress{Layer: layer + 1, Layers: 4})
		}
	}
	if got := strings.Count(told.String(), "reconstructed 4 layers"); got != 1 {
		t.Errorf("said %d times:\n%s", got, &told)
	}
}
