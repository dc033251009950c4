package report

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/train"
)

var near = cmpopts.EquateApprox(1e-9, 1e-12)

func TestAxesLeaveAMargin(t *testing.T) {
	tests := map[string]struct {
		values    []float64
		log       bool
		low, high float64
		isLog     bool
	}{
		"a tenth":                      {[]float64{20, 10}, false, 9, 21, false},
		"a hundredth where all equal":  {[]float64{-50, -50}, false, -50.5, -49.5, false},
		"something where all are zero": {[]float64{0}, false, -1e-6, 1e-6, false},
		"four times are not many":      {[]float64{1, 4}, true, 0.7, 4.3, false},
		"more than four times":         {[]float64{1, 1024}, true, math.Pow(2, -0.8), 1024 * math.Pow(2, 0.8), true},
		"zero has no logarithm":        {[]float64{0, 100}, true, -10, 110, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAxis(tt.values, 5, 105, tt.log)
			if diff := cmp.Diff(axis{tt.low, tt.high, tt.isLog, 5, 105}, a, cmp.AllowUnexported(axis{}), near); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if low, high := a.at(a.low), a.at(a.high); math.Abs(low-5) > 1e-9 || math.Abs(high-105) > 1e-9 {
				t.Errorf("from %v to %v", low, high)
			}
		})
	}
	if at := (axis{1, 100, true, 0, 10}).at(10); math.Abs(at-5) > 1e-9 {
		t.Errorf("10 between 1 and 100 is at %v", at)
	}
	if at := (axis{10, 30, false, 100, 0}).at(15); at != 75 {
		t.Errorf("15 between 10 and 30, downwards, is at %v", at)
	}
}

func TestTicksAreRound(t *testing.T) {
	tests := map[string]struct {
		of   axis
		n    int
		want []float64
	}{
		"ones":                {axis{low: 0, high: 5}, 5, []float64{0, 1, 2, 3, 4, 5}},
		"twos":                {axis{low: 1, high: 10}, 5, []float64{2, 4, 6, 8, 10}},
		"two and a half":      {axis{low: 0.1, high: 12.4}, 5, []float64{2.5, 5, 7.5, 10}},
		"fives":               {axis{low: 0, high: 24}, 5, []float64{0, 5, 10, 15, 20}},
		"tens":                {axis{low: 3, high: 46}, 5, []float64{10, 20, 30, 40}},
		"below one":           {axis{low: -0.012, high: 0.024}, 5, []float64{-0.01, 0, 0.01, 0.02}},
		"a decade":            {axis{low: 1, high: 10, log: true}, 5, []float64{1, 2, 5, 10}},
		"two decades":         {axis{low: 1, high: 100, log: true}, 6, []float64{1, 2, 5, 10, 20, 50, 100}},
		"two, less room":      {axis{low: 1, high: 100, log: true}, 5, []float64{1, 3, 10, 30, 100}},
		"between the decades": {axis{low: 0.15, high: 25, log: true}, 6, []float64{0.2, 0.5, 1, 2, 5, 10, 20}},
		"many decades":        {axis{low: 0.01, high: 1e4, log: true}, 5, []float64{0.01, 0.1, 1, 10, 100, 1000, 10000}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.of.ticks(tt.n), near); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelsOfTicks(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{tick(measure.Accuracy, 0.9512, 0.019), "95.12 %"}, {tick(measure.Accuracy, 0.9512, 0.02), "95.1 %"}, {tick(measure.Agreement, 0.5, 1), "50.0 %"},
		{tick(measure.MeanSquaredError, 0.25, 0.01), "0.25"}, {tick(measure.AUC, 0.9, 0.01), "0.9"},
		{kilo(999), "999 B"}, {kilo(1000), "1 kB"}, {kilo(20500), "20.5 kB"}, {kilo(1e6), "1 MB"}, {kilo(2.5e6), "2.5 MB"},
		{num(1.256), "1.26"}, {num(20), "20"}, {num(-0.001), "0"}, {num(-1.5), "-1.5"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestConstraintsBoundThePlot(t *testing.T) {
	stages := []Stage{{Metrics: metrics(0.95, 10)}}
	none := math.NaN()
	tests := map[string]struct {
		constraints   []Constraint
		quality       measure.Name
		bytes, limits float64
	}{
		"none":                        {nil, measure.Accuracy, none, none},
		"size and accuracy":           {[]Constraint{{Metric: measure.CompressedBytes, Max: "900"}, {Metric: measure.Accuracy, Min: "0.9"}}, measure.Accuracy, 900, 0.9},
		"a least size is no bound":    {[]Constraint{{Metric: measure.CompressedBytes, Min: "900"}}, measure.Accuracy, none, none},
		"a most accuracy is none":     {[]Constraint{{Metric: measure.Accuracy, Max: "0.9"}}, measure.Accuracy, none, none},
		"a drop":                      {[]Constraint{{Metric: measure.AccuracyDrop, Max: "0.25"}}, measure.Accuracy, none, 0.7},
		"a drop where another counts": {[]Constraint{{Metric: measure.AccuracyDrop, Max: "0.25"}}, measure.AUC, none, none},
		"an error":                    {[]Constraint{{Metric: measure.MeanSquaredError, Max: "3"}}, measure.MeanSquaredError, none, 3},
		"a least error is none":       {[]Constraint{{Metric: measure.MeanSquaredError, Min: "3"}}, measure.MeanSquaredError, none, none},
		"of another metric":           {[]Constraint{{Metric: measure.AUC, Min: "0.5"}, {Metric: measure.MeanSquaredError, Max: "3"}}, measure.Accuracy, none, none},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bytes, limit := (&Data{Constraints: tt.constraints, Stages: stages}).bounds(tt.quality)
			if diff := cmp.Diff([]float64{tt.bytes, tt.limits}, []float64{bytes, limit}, cmpopts.EquateNaNs(), near); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, limit := (&Data{Constraints: []Constraint{{Metric: measure.AccuracyDrop, Max: "0.25"}}}).bounds(measure.Accuracy); !math.IsNaN(limit) {
		t.Errorf("a drop from nothing is %v", limit)
	}
}

func TestWhatConstraintsAllowIsShaded(t *testing.T) {
	x, y := axis{0, 100, false, 50, 250}, axis{0, 1, false, 200, 0}
	none := math.NaN()
	tests := map[string]struct {
		bytes, limit float64
		below        bool
		want         string
	}{
		"nothing":         {none, none, false, ""},
		"small":           {25, none, false, `<rect class="allowed" x="50" y="0" width="50" height="200" rx="0"/><line class="limit" x1="100" y1="0" x2="100" y2="200"/>`},
		"small, of error": {25, none, true, `<rect class="allowed" x="50" y="0" width="50" height="200" rx="0"/><line class="limit" x1="100" y1="0" x2="100" y2="200"/>`},
		"good":            {none, 0.75, false, `<rect class="allowed" x="50" y="0" width="200" height="50" rx="0"/><line class="limit" x1="50" y1="50" x2="250" y2="50"/>`},
		"of little error": {none, 0.75, true, `<rect class="allowed" x="50" y="50" width="200" height="150" rx="0"/><line class="limit" x1="50" y1="50" x2="250" y2="50"/>`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var d drawing
			d.region(x, y, tt.bytes, tt.limit, tt.below)
			if diff := cmp.Diff(tt.want, d.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheFrontJoinsWhatNothingBetters(t *testing.T) {
	points := []point{{x: 3, y: 5, px: 30, py: 5}, {x: 1, y: 2, px: 10, py: 2}, {x: 2, y: 1, px: 20, py: 1}, {x: 4, y: 5, px: 40, py: 5}, {x: 5, y: 9, px: 50, py: 9}, {x: 6, y: 0.5, px: 60, py: 0}}
	for higher, want := range map[bool]string{true: "M10 2H30V5H50V9", false: "M10 2H20V1H60V0"} {
		var d drawing
		d.front(points, higher)
		if want := `<path class="front" d="` + want + `"/>`; d.String() != want {
			t.Errorf("higher is better: %v: %s, want %s", higher, d.String(), want)
		}
	}
	var d drawing // of two as small the one that comes first
	d.front([]point{{x: 1, y: 1, px: 1, py: 1}, {x: 1, y: 1, px: 2, py: 2}}, true)
	if want := `<path class="front" d="M1 1"/>`; d.String() != want {
		t.Errorf("%s, want %s", d.String(), want)
	}
}

func TestBoxesThatTouchDoNotMeet(t *testing.T) {
	b := box{10, 10, 20, 20}
	for o, want := range map[box]bool{
		{12, 12, 18, 18}: true, {19, 19, 30, 30}: true, {0, 0, 11, 11}: true, {20, 10, 30, 20}: false, {0, 10, 10, 20}: false, {10, 20, 20, 30}: false, {10, 0, 20, 10}: false, {12, 30, 18, 40}: false,
	} {
		if b.meets(o) != want || o.meets(b) != want {
			t.Errorf("%v and %v meet: %v", b, o, !want)
		}
	}
}

// Every place that a name can have, taken one after the other.
func TestNamesOfPointsFindRoom(t *testing.T) {
	const name = "name" // 4 characters: 30.4 wide
	at := func(left, right, top, bottom float64, blocks ...box) string {
		p := []point{{name: name, status: "met", px: 100, py: 100}}
		for _, b := range blocks { // a point takes 6 to every side
			p = append(p, point{name: "a name that finds no room whatever side it goes", status: "other", px: (b.x1 + b.x2) / 2, py: (b.y1 + b.y2) / 2})
		}
		var d drawing
		d.labels(p, left, right, top, bottom)
		_, after, found := strings.Cut(d.String(), `<text class="name met`)
		if !found {
			return ""
		}
		text, _, _ := strings.Cut(after, ">")
		return text
	}
	above := box{94, 80, 106, 92}
	right, left, below := box{114, 94, 126, 106}, box{74, 94, 86, 106}, box{94, 108, 106, 120}
	for i, tt := range []struct{ got, want string }{
		{at(0, 300, 0, 300), ` middle" x="100" y="89"`},
		{at(0, 300, 0, 300, above), `" x="110" y="104"`},
		{at(0, 300, 0, 300, above, right), ` end" x="90" y="104"`},
		{at(0, 300, 0, 300, above, right, left), ` middle" x="100" y="120"`},
		{at(0, 300, 0, 300, box{90, 80, 102, 92}, right, left, below), `" x="105" y="90"`},
		{at(0, 300, 0, 300, box{100, 80, 112, 92}, right, left, box{90, 108, 102, 120}), `" x="105" y="119"`},
		{at(0, 300, 0, 300, box{100, 80, 112, 92}, right, left, box{100, 108, 112, 120}), ``},
		{at(84.8, 300, 0, 300), ` middle" x="100" y="89"`}, // the edges are just wide enough
		{at(84.9, 300, 0, 300), `" x="110" y="104"`},
		{at(0, 107.2, 0, 300), ` middle" x="100" y="89"`},
		{at(0, 107.1, 0, 300), ` end" x="90" y="104"`},
		{at(0, 300, 85, 300), ` middle" x="100" y="89"`},
		{at(0, 300, 86, 300), `" x="110" y="104"`},
		{at(0, 300, 85, 92), ` middle" x="100" y="89"`},
		{at(0, 300, 0, 91), ``},
	} {
		if tt.got != tt.want {
			t.Errorf("%d: %q, want %q", i, tt.got, tt.want)
		}
	}
}

func TestTheImportantPointsAreNamedFirst(t *testing.T) {
	var d drawing
	place := func(name, status string) point { return point{name: name, status: status, px: 100, py: 100} }
	d.labels([]point{place("a", "missed"), place("b", "met"), place("d", "selected"), place("e", "float")}, 0, 300, 0, 300)
	var order []string
	for _, part := range strings.Split(d.String(), `<text class="name `)[1:] {
		status, _, _ := strings.Cut(part, `"`)
		order = append(order, strings.TrimSuffix(strings.TrimSuffix(status, " middle"), " end"))
	}
	if diff := cmp.Diff([]string{"selected", "float", "met", "missed"}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSmoothingIsAGaussianOfSilvermansWidth(t *testing.T) {
	// At −w and w lie half of n codes each: σ = w, the quartiles lie 2w apart, and 2w/1.34 is more.
	const w, n = 40, 1000
	counts := make([]float64, 2*codeSpan+1)
	counts[codeSpan-w], counts[codeSpan+w] = n/2, n/2
	got := smooth(counts)
	width := 0.9 * w * math.Pow(n, -0.2)
	peak, aside := got[codeSpan+w], got[codeSpan+w+3]
	if want := math.Exp(-0.5 * 9 / (width * width)); math.Abs(aside/peak-want) > 1e-12 {
		t.Errorf("three codes aside is %v of the peak, want %v", aside/peak, want)
	}
	if want := n / 2 / (width * math.Sqrt(2*math.Pi)); math.Abs(peak/want-1) > 0.001 {
		t.Errorf("the peak is %v, want %v", peak, want)
	}
	reach := int(4 * width)
	if got[codeSpan+w+reach] == 0 || got[codeSpan+w+reach+1] != 0 || got[codeSpan-w-reach] == 0 || got[codeSpan-w-reach-1] != 0 {
		t.Errorf("it does not reach %d codes to both sides", reach)
	}
	// Of outliers the quartiles say how wide, not the deviation.
	clear(counts)
	counts[0], counts[2*codeSpan] = 10, 10
	for i := range 21 {
		counts[codeSpan-10+i] = 100
	}
	got = smooth(counts)
	total := 2120.0
	width = max(1.5, 0.9*(10/1.34)*math.Pow(total, -0.2)) // the quartiles are at −5 and 5
	if want := math.Exp(-0.5 * 4 / (width * width)); math.Abs(got[2]/got[0]-want) > 1e-9 {
		t.Errorf("two codes from an outlier is %v of it, want %v", got[2]/got[0], want)
	}
	clear(counts)
	counts[7] = 3 // one code: the least width
	got = smooth(counts)
	if want := math.Exp(-0.5 / (1.5 * 1.5)); math.Abs(got[8]/got[7]-want) > 1e-12 || got[7+7] != 0 || got[7+6] == 0 || got[0] != 0 || got[1] == 0 {
		t.Errorf("%v", got[:16])
	}
	for _, v := range smooth(make([]float64, 5)) {
		if v != 0 {
			t.Error("nothing is something")
		}
	}
}

func TestDensitiesOfCodes(t *testing.T) {
	at := func(pairs ...int) []int {
		counts := make([]int, 2*codeSpan+1)
		for i := 0; i < len(pairs); i += 2 {
			counts[pairs[i]+codeSpan] = pairs[i+1]
		}
		return counts
	}
	if diff := cmp.Diff(Density{at(-127, 2, -1, 1, 0, 2, 127, 2), 2, true}, CodeDensity([]int64{-200, -127, -1, 0, 0, 127, 128}, codeSpan)); diff != "" {
		t.Errorf("of int8 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Density{at(-127, 1, -111, 1, 0, 1, 15, 1, 111, 1), 1, true}, CodeDensity([]int64{-8, -7, 0, 1, 7}, int4Span)); diff != "" {
		t.Errorf("of int4 (-want +got):\n%s", diff)
	}
	values := []float32{2, 100, -1, 50, 0, 0.4, 1, -100} // of channel 0 the even ones
	if diff := cmp.Diff(Density{at(127, 2, -64, 1, 64, 2, 0, 1, 1, 1, -127, 1), 1, false}, LayerDensity(values, []int{4, 2}, 1)); diff != "" {
		t.Errorf("of channels along the last dimension (-want +got):\n%s", diff)
	}
	for _, axis := range []int{-1, 2} {
		if diff := cmp.Diff(Density{at(127, 1, 64, 2, 3, 1, -1, 1, 1, 1, 0, 1, -127, 1), 1, false}, LayerDensity([]float32{100, 50, 50.4, 2, -1, 0.5, 0, -100}, []int{4, 2}, axis)); diff != "" {
			t.Errorf("of one scale (-want +got):\n%s", diff)
		}
	}
	if d := LayerDensity(make([]float32, 4), []int{2, 2}, 0); d.Zeros != 4 || d.Counts[codeSpan] != 4 {
		t.Errorf("zeros: %+v", d)
	}
}

func TestChartsOfFewAndManyCodes(t *testing.T) {
	codes := func(n int) Density {
		var list []int64
		for i := range n {
			list = append(list, int64(i+1))
		}
		return CodeDensity(list, codeSpan)
	}
	for n, class := range map[int]string{1: "bars few", 64: "bars few", 65: "bars many", 120: "bars many"} {
		chart := string(codes(n).chart("c"))
		if !strings.Contains(chart, `class="`+class+`"`) {
			t.Errorf("%d codes are not drawn as %s: %s", n, class, chart)
		}
	}
	// Ends that outnumber all else are cut off where there are many codes, and drawn whole where there are few.
	many := codes(100)
	many.Counts[0], many.Counts[codeSpan+1] = 1000, 2
	if chart := string(many.chart("c")); !strings.Contains(chart, "M2 106v-87M128.99 106v-87M129.98 106v-43.5M") {
		t.Errorf("%s", chart)
	}
	few := codes(3)
	few.Counts[0] = 4
	if chart := string(few.chart("c")); !strings.Contains(chart, `d="M2 106v-87M128.99 106v-21.75M129.98 106v-21.75M130.98 106v-21.75"`) {
		t.Errorf("%s", chart)
	}
}

func TestZerosHaveABarOfTheirOwn(t *testing.T) {
	density := func(zeros, others, codes int) Density {
		d := Density{Counts: make([]int, 2*codeSpan+1), Zeros: zeros, Discrete: true}
		d.Counts[codeSpan] = zeros
		for i := range codes {
			d.Counts[i+1] = others
		}
		return d
	}
	for name, tt := range map[string]struct {
		of   Density
		bar  string
		text string
	}{
		"none":               {density(0, 5, 4), "", ""},
		"only":               {density(7, 0, 0), "v-87", "100 %"},
		"as many as a code":  {density(5, 5, 3), "v-87", "25 %"},
		"more than any code": {density(50, 5, 10), "v-87", "50 %"},
		"half a code":        {density(5, 10, 19), "v-43.5", ""},
		"a twentieth":        {density(10, 10, 19), "v-87", ""},
		"hardly any":         {density(1, 1000, 10), "v-1.2", ""},
	} {
		chart := string(tt.of.chart("c"))
		_, bar, found := strings.Cut(chart, `<path class="zero" d="M128 106`)
		bar, _, _ = strings.Cut(bar, `"`)
		_, text, _ := strings.Cut(chart, `<text class="zerolabel middle" x="128" y="13">`)
		text, _, _ = strings.Cut(text, "<")
		if bar != tt.bar || found != (tt.bar != "") || text != tt.text {
			t.Errorf("%s: a bar of %q, %q, want %q, %q", name, bar, text, tt.bar, tt.text)
		}
	}
}

func TestTrialsLieByTheLogarithmOfTheirRates(t *testing.T) {
	for name, tt := range map[string]struct {
		of         train.RangeTest
		line, mark string
	}{
		"a decade apart": {train.RangeTest{Rate: 1e-3, Start: 2, Trials: []train.Trial{{Rate: 1e-4, Loss: 1}, {Rate: 1e-3, Loss: 0}, {Rate: 1e-2, Loss: 3}}}, "M2 14L48 20L94 2", `cx="48" cy="20"`},
		"cut off":        {train.RangeTest{Rate: 1e-4, Start: 1, Trials: []train.Trial{{Rate: 1e-4, Loss: 0}, {Rate: 1e-2, Loss: 90}}}, "M2 20L94 2", `cx="2" cy="20"`},
		"taken below":    {train.RangeTest{Rate: 1e-5, Start: 1, Trials: []train.Trial{{Rate: 1e-4, Loss: 0}, {Rate: 1e-3, Loss: 2}, {Rate: 1e-2, Loss: -1}}}, "M32.67 20L63.33 2", `cx="2" cy="20"`},
		"only one":       {train.RangeTest{Rate: 1e-4, Start: 1, Trials: []train.Trial{{Rate: 1e-4, Loss: 1}}}, "M2 2", `cx="2" cy="20"`},
	} {
		drawn := string(trials(&tt.of))
		if !strings.Contains(drawn, `d="`+tt.line+`"`) || !strings.Contains(drawn, tt.mark) {
			t.Errorf("%s: %s, want %s and %s", name, drawn, tt.line, tt.mark)
		}
	}
}

func TestLossesOfEpochsAreALine(t *testing.T) {
	if spark([]Epoch{{Loss: 1}}) != "" {
		t.Error("one epoch is no line")
	}
	drawn := string(spark([]Epoch{{Loss: 3}, {Loss: 1}, {Loss: 2}}))
	for _, want := range []string{`d="M2 2L48 20L94 11"`, `cx="94" cy="11"`} {
		if !strings.Contains(drawn, want) {
			t.Errorf("%s lacks %s", drawn, want)
		}
	}
}

func TestSettingsBreakIntoTwoLines(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, " · ": nil, "sparsity 0.5": {"sparsity 0.5"}, "a · b": {"a · b"},
		strings.Repeat("x", 15) + " · " + strings.Repeat("y", 15):          {strings.Repeat("x", 15) + " · " + strings.Repeat("y", 15)}, // 33 characters
		strings.Repeat("x", 15) + " · " + strings.Repeat("ü", 15):          {strings.Repeat("x", 15) + " · " + strings.Repeat("ü", 15)},
		strings.Repeat("x", 15) + " · " + strings.Repeat("y", 16):          {strings.Repeat("x", 15), strings.Repeat("y", 16)},
		strings.Repeat("x", 30) + " · " + strings.Repeat("y", 30) + " · z": {strings.Repeat("x", 30), strings.Repeat("y", 30) + " · z"},
		"a · " + strings.Repeat("y", 32) + " · " + strings.Repeat("z", 32): {"a", strings.Repeat("y", 32) + " · " + strings.Repeat("z", 32)},
	} {
		if diff := cmp.Diff(want, wrap(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestCardsTallerThanWhatIsBehindThemPushItDown(t *testing.T) {
	tall := &node{figures: make([]string, 8), children: []*node{{}, {}}} // 178 high; its children 34 each
	next := tall.arrange(0, 10)
	first, second := tall.children[0], tall.children[1]
	if tall.y != 10 || next != 10+178+rowGap || first.y != 10+48 || second.y != first.y+34+rowGap || first.x != cardWidth+columnGap || first.depth != 1 {
		t.Errorf("the card at %v, those behind at %v and %v, next at %v", tall.y, first.y, second.y, next)
	}
	low := &node{children: []*node{{figures: make([]string, 2)}, {}}} // 34 high; its children 70 and 34
	next = low.arrange(0, 0)
	if low.y != (35+84+17)/2.0-17 || next != 70+34+2*rowGap {
		t.Errorf("the card at %v, next at %v", low.y, next)
	}
}

func TestTitlesOfCardsLeaveRoomForTheirTags(t *testing.T) {
	const title = "abcdefghijklmnopqrstuvwxyz"
	for tag, want := range map[string]string{"": "abcdefghijklmnopqrstuv…", "quantize": "abcdefghijklmn…"} {
		var d drawing
		d.card(&node{title: title, tag: tag}, 0, 0, cardWidth)
		if !strings.Contains(d.String(), ">"+want+"</text>") {
			t.Errorf("beside %q: %s, want %s", tag, d.String(), want)
		}
	}
}

func TestColoursOfTheHeatMapAreStepsOfAFactor(t *testing.T) {
	const low, step = 0.5, 2.0
	for error, want := range map[float64]int{0: 0, 0.5: 0, 0.6: 0, 0.8: 1, 1: 1, 1.3: 1, 1.6: 2, 2: 2, 64: 7, 1e9: 7} {
		if got := heatClass(error, low, step); got != want {
			t.Errorf("%v is of class %d, want %d", error, got, want)
		}
	}
	of := func(errors ...float64) []sensitivity.Layer {
		var out []sensitivity.Layer
		for _, e := range errors {
			out = append(out, sensitivity.Layer{Int8: e})
		}
		return out
	}
	for name, tt := range map[string]struct {
		layers    []sensitivity.Layer
		low, step float64
	}{
		"nothing":     {of(0), 1, 2},
		"seven steps": {of(0, 1, 128), 1, 2},
		"alike":       {of(3, 4), 3, 1.5},
		"far apart":   {of(1e-9, 10), 1e-5, math.Pow(10, 6.0/7)},
	} {
		low, step := heatScale(tt.layers)
		if diff := cmp.Diff([]float64{tt.low, tt.step}, []float64{low, step}, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSmallErrorsHaveNoFigureInTheHeatMap(t *testing.T) {
	for error, want := range map[float64]string{0.0005: "5e-4", 0.00049: "", 1.26: "1.3"} {
		drawn := string(heat([]sensitivity.Layer{{Name: "a", Int8: error}}, 1, 2))
		if !strings.HasSuffix(drawn, `>`+want+`</text></g></svg>`) {
			t.Errorf("%v: %s", error, drawn[len(drawn)-100:])
		}
	}
}

func TestASearchOfOneLeafHasNoCourse(t *testing.T) {
	for name, tt := range map[string]struct {
		trials []string
		metric measure.Name
		dots   int
	}{
		"one":                          {[]string{"fine"}, measure.CompressedBytes, 0},
		"one that has a leaf":          {[]string{"fine", "broken", "later", "unheard of"}, measure.CompressedBytes, 0},
		"two that have one":            {[]string{"fine", "broken", "pcqat"}, measure.CompressedBytes, 2},
		"nothing was measured of them": {[]string{"fine", "pcqat"}, measure.ArenaBytes, 0},
	} {
		d := walk()
		d.Search.Metric, d.Search.Trials = tt.metric, nil
		for _, stage := range tt.trials {
			d.Search.Trials = append(d.Search.Trials, Trial{Stage: stage})
		}
		if n := strings.Count(string(d.course("wide", 800, 300)), `<g class="dot`); n != tt.dots {
			t.Errorf("%s: %d dots, want %d", name, n, tt.dots)
		}
	}
}

func TestAPlotNeedsTwoPoints(t *testing.T) {
	d := &Data{Stages: []Stage{{Name: "baseline", Metrics: metrics(0.9, 100)}}}
	if d.scatter("wide", 800, 300) != "" {
		t.Error("one point is plotted")
	}
	d.Stages[0].Leaf = &Leaf{Technique: "PTQ", Metrics: metrics(0.9, 0)}
	if got := d.points(measure.Accuracy); len(got) != 1 {
		t.Errorf("a leaf of no bytes is a point: %+v", got)
	}
	d.Stages[0].Leaf.Metrics = metrics(0.9, 50)
	if got := d.points(measure.Accuracy); len(got) != 2 || got[1].name != "baseline PTQ" {
		t.Errorf("a leaf is no point: %+v", got)
	}
}

// A search of one trial has no course to draw, but decided on every layer.
func TestASearchOfOneTrialSaysWhatItDecided(t *testing.T) {
	d := walk()
	d.Search.Trials = d.Search.Trials[:1]
	var page strings.Builder
	if err := Write(&page, d); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{`<section id="search">`: true, ">price of a bit</th>": true, "Green dots": false} {
		if strings.Contains(page.String(), text) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
}

// Of what less is better of, the page says so, and what a constraint allows is below it.
func TestLessErrorIsBetter(t *testing.T) {
	at := func(bytes, quality string, name measure.Name) []measure.Value {
		return []measure.Value{{Name: measure.CompressedBytes, Value: bytes}, {Name: name, Value: quality}}
	}
	for name, better := range map[measure.Name]string{measure.RelativeError: "Down", measure.MeanSquaredError: "Down", measure.Accuracy: "Up"} {
		d := &Data{Stages: []Stage{{Name: "baseline", Kind: Baseline, Metrics: at("1000", "0.1", name), Leaf: &Leaf{Metrics: at("300", "0.2", name)}}, {Name: "a", Kind: "cluster", Leaf: &Leaf{Metrics: at("200", "0.3", name)}}}}
		c := Constraint{Metric: name, Max: "0.25"}
		if better == "Up" {
			c = Constraint{Metric: name, Min: "0.25"}
		}
		d.Constraints = []Constraint{c}
		var page bytes.Buffer
		if err := Write(&page, d); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(page.String(), better+" and to the left is better") {
			t.Errorf("%s: it is not said that %s is better", name, better)
		}
		m := regexp.MustCompile(`class="allowed" x="[^"]*" y="([^"]*)"[^>]*height="([^"]*)"`).FindStringSubmatch(string(d.scatter("wide", 860, 400)))
		if m == nil {
			t.Fatalf("%s: nothing is shaded", name)
		}
		top, _ := strconv.ParseFloat(m[1], 64)
		if (top > 100) != (better == "Down") {
			t.Errorf("%s: what is shaded begins at %v", name, top)
		}
	}
}
