package answer

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/dataset"
)

// samples is a source of targets: [sample][target][value].
type samples struct {
	targets []dataset.Target
	truths  [][][]float32
	fails   int // of this sample nothing can be read; -1: none
}

func (s samples) Len() int                    { return len(s.truths) }
func (s samples) Inputs() []dataset.Array     { return nil }
func (s samples) Targets() []dataset.Target   { return s.targets }
func (s samples) Read(int, [][]float32) error { return nil }
func (s samples) Truth(i int, y [][]float32) error {
	if i == s.fails {
		return errors.New("torn")
	}
	for k := range y {
		copy(y[k], s.truths[i][k])
	}
	return nil
}

func TestSurvey(t *testing.T) {
	value := func(shape ...int) dataset.Target { return dataset.Target{Name: "y", Shape: shape, Kind: dataset.Value} }
	rows := func(rows ...[]float32) (out [][][]float32) {
		for _, row := range rows {
			out = append(out, [][]float32{row})
		}
		return out
	}
	for name, tc := range map[string]struct {
		target dataset.Target
		truths [][][]float32
		want   Target
	}{
		"bits": {value(2), rows([]float32{0, 0}, []float32{1, 1}), Target{Bits: true, Whole: true, Most: 1, Mean: []float64{0.5, 0.5}, Spread: []float64{0.5, 0.5}}},
		"one-hot": {value(2), rows([]float32{0, 1}, []float32{1, 0}),
			Target{Bits: true, Whole: true, OneHot: true, Most: 1, Mean: []float64{0.5, 0.5}, Spread: []float64{0.5, 0.5}}},
		"one-hot at each position": {value(2, 2), rows([]float32{0, 1, 1, 0}), Target{Bits: true, Whole: true, OneHot: true, Most: 1, Mean: []float64{0.5, 0.5}, Spread: []float64{0.5, 0.5}}},
		"one-hot at one position":  {value(2, 2), rows([]float32{0, 1, 1, 1}), Target{Bits: true, Whole: true, Most: 1, Mean: []float64{0.5, 1}, Spread: []float64{0.5, 0}}},
		"not one-hot at first":     {value(2), rows([]float32{1, 1}, []float32{1, 0}), Target{Bits: true, Whole: true, Most: 1, Mean: []float64{1, 0.5}, Spread: []float64{0, 0.5}}},
		"a single bit":             {value(), rows([]float32{0}, []float32{1}), Target{Bits: true, Whole: true, Most: 1, Mean: []float64{0.5}, Spread: []float64{0.5}}},
		"whole numbers":            {value(), rows([]float32{-1}, []float32{1}, []float32{3}), Target{Whole: true, Least: -1, Most: 3, Mean: []float64{1}, Spread: []float64{math.Sqrt(8. / 3)}}},
		"ones and minus ones":      {value(2), rows([]float32{2, -1}), Target{Whole: true, Least: -1, Most: 2, Mean: []float64{2, -1}, Spread: []float64{0, 0}}},
		"halves":                   {value(), rows([]float32{0.5}, []float32{1}), Target{Least: 0.5, Most: 1, Mean: []float64{0.75}, Spread: []float64{0.25}}},
		"halves at first only":     {value(), rows([]float32{0.5}, []float32{0}, []float32{1}), Target{Most: 1, Mean: []float64{0.5}, Spread: []float64{math.Sqrt(1. / 6)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Survey(samples{[]dataset.Target{tc.target}, tc.truths, -1})
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Name, tc.want.Shape = "y", tc.target.Shape
			if diff := cmp.Diff([]Target{tc.want}, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClassesAreToldByTheirNumber(t *testing.T) {
	class := dataset.Target{Name: "class", Kind: dataset.Class, Classes: 3}
	number := dataset.Target{Name: "number", Kind: dataset.Value, Numbers: true}
	only, err := Survey(samples{[]dataset.Target{class}, make([][][]float32, 2), 0})
	if err != nil {
		t.Fatalf("classes need no look at samples: %v", err)
	}
	want := Target{Name: "class", Classes: 3}
	if diff := cmp.Diff([]Target{want}, only); diff != "" {
		t.Error(diff)
	}
	truths := [][][]float32{{{0}, {4}}, {{2}, {6}}}
	both, err := Survey(samples{[]dataset.Target{class, number}, truths, -1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Target{want, {Name: "number", Numbers: true, Whole: true, Least: 4, Most: 6, Mean: []float64{5}, Spread: []float64{1}}}, both); diff != "" {
		t.Error(diff)
	}
	if _, err := Survey(samples{[]dataset.Target{number}, truths, 1}); err == nil {
		t.Error("a sample that cannot be read passes")
	}
}

// Of many samples those that are looked at lie all over the source.
func TestASurveyGoesToTheEndOfTheSource(t *testing.T) {
	truths := make([][][]float32, 2*surveyed)
	for i := range truths {
		truths[i] = [][]float32{{float32(i)}}
	}
	got, err := Survey(samples{[]dataset.Target{{Name: "y", Kind: dataset.Value}}, truths, -1})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Least != 0 || got[0].Most != 2*surveyed-2 {
		t.Errorf("from %v to %v", got[0].Least, got[0].Most)
	}
}
