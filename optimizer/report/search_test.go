package report

import (
	"bytes"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/measure"
)

func TestASearchIsDrawnTrialByTrialAndItsPricesLayerByLayer(t *testing.T) {
	leaf := func(selected bool, missed ...Shortfall) *Leaf {
		return &Leaf{Technique: "PTQ", Selected: selected, Missed: missed, Metrics: []measure.Value{{Name: measure.CompressedBytes, Value: "1000"}},
			Layers: []Layer{{Name: "a/kernel", Op: "CONV_2D", Weights: 100, Zeros: 25, Codes: 7, Compressed: 30}, {Name: "kept/kernel", Op: "CONV_2D", Weights: 9}}}
	}
	d := &Data{
		Pipeline: "p", Verdict: Verdict{Outcome: Met, Stage: "trial-01"}, Constraints: []Constraint{{Metric: measure.Agreement, Min: "0.97"}},
		Stages: []Stage{
			{Name: "baseline", Kind: Baseline, State: StateCompleted},
			{Name: "trial-01", Kind: "cluster", Settings: "32 clusters, entropy 10", State: StateCompleted, Leaf: leaf(true)},
			{Name: "trial-02", Kind: "cluster", State: StateCompleted, Leaf: leaf(false, Shortfall{Text: "too far"})},
			{Name: "trial-03", Kind: "cluster", State: StateFailed, Message: "it diverged"},
		},
		Search: &Search{Metric: measure.CompressedBytes, Tried: "3 by the price of a bit, 10 to 30", Ended: "no price is left to try",
			Trials: []Trial{{"trial-01", "is the first"}, {"trial-02", "goes on"}, {"trial-03", "lies between"}},
			Prices: []Priced{{Layer: "a/kernel", Share: 0.5, Price: "12.3"}, {Layer: "gone", Share: 1, Price: "1"}}},
	}
	var out bytes.Buffer
	if err := Write(&out, d); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	wellFormed(t, page)
	_, section, _ := strings.Cut(page, `<section id="search">`)
	section, _, _ = strings.Cut(section, "</section>")
	for text, times := range map[string]int{
		`class="dot selected"`: 2, `class="dot missed"`: 2, // wide and narrow
		"3 trials: 3 by the price of a bit, 10 to 30. ": 1, "The search ended: no price is left to try.": 1, "trial-01: 32 clusters, entropy 10, 1,000 B": 2, ">12.3<": 1, "0.5 ×": 1, ">7<": 1, "25.0 %": 1, ">2.40<": 1, "kept": 0, "gone": 0,
	} {
		if n := strings.Count(section, text); n != times {
			t.Errorf("%q is there %d times, want %d", text, n, times)
		}
	}
	d.Search = nil
	out.Reset()
	if err := Write(&out, d); err != nil || strings.Contains(out.String(), `id="search"`) {
		t.Errorf("a pipeline with stages of its own shows a search: %v", err)
	}
}

func TestTimesHasNoExponent(t *testing.T) {
	for v, want := range map[float64]string{1234: "1234 ×", 10: "10 ×", 12.4: "12 ×", 9.94: "9.9 ×", 0.5: "0.5 ×"} {
		if got := times(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}

func TestWhatASearchMinimizesIsAmongTheLargeNumbersAndOnCards(t *testing.T) {
	metrics := func(n string) []measure.Value {
		return []measure.Value{{Name: measure.Agreement, Value: "0.98"}, {Name: measure.FileBytes, Value: "2000"}, {Name: measure.CompressedBytes, Value: "1000"}, {Name: measure.ArenaBytes, Value: "640"}, {Name: measure.Multiplications, Value: n}}
	}
	d := &Data{
		Pipeline: "p", Verdict: Verdict{Outcome: Met, Stage: "trial-01"}, Search: &Search{Metric: measure.Multiplications},
		Constraints: []Constraint{{Metric: measure.Agreement, Min: "0.97"}, {Metric: measure.ArenaBytes, Max: "700"}, {Metric: measure.Multiplications, Max: "9000"}},
		Stages: []Stage{
			{Name: "baseline", Kind: Baseline, State: StateCompleted, Metrics: []measure.Value{{Name: measure.CompressedBytes, Value: "4000"}}, Leaf: &Leaf{Technique: "PTQ", Metrics: metrics("8000")}},
			{Name: "trial-01", Kind: "prune", State: StateCompleted, Leaf: &Leaf{Technique: "PTQ", Selected: true, Metrics: metrics("1234")}},
		},
	}
	var labels []string
	for _, f := range d.headFigures(d.Stages[1].Leaf) {
		labels = append(labels, f.Label+" "+f.Value+": "+f.Note)
	}
	want := "Agreement 98.00 %: |Multiplications 1,234: a sample; baseline 8,000|Arena 640 B: |Compressed 1,000 B: 4.0× smaller than float|File 2,000 B: "
	if got := strings.Join(labels, "|"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for metric, want := range map[measure.Name]string{measure.Multiplications: "98.00 % · 1,234 multiplications", measure.CompressedBytes: "98.00 % · 1,000 B", measure.ArenaBytes: "98.00 % · 640 B", measure.FlashBytes: "98.00 %"} {
		d.Search.Metric = metric
		if got := d.figures(d.Stages[1].Leaf.Metrics); got != want {
			t.Errorf("%s: %q, want %q", metric, got, want)
		}
	}
}
