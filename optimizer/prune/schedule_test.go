package prune

import (
	"math"
	"testing"
)

func TestThePolynomialScheduleIsZhuAndGuptas(t *testing.T) {
	s, err := Schedule{Begin: 100, End: 110, Every: 2}.Resolve(1000)
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[int]float64{90: 0, 100: 0, 102: 0.8 * (1 - 0.8*0.8*0.8), 105: 0.7, 110: 0.8, 500: 0.8} {
		if got := s.Sparsity(step, 0.8); math.Abs(got-want) > 1e-9 {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
}

func TestSchedulesAreDue(t *testing.T) {
	tests := map[string]struct {
		schedule Schedule
		steps    int
		due, not []int
	}{
		"constant, once":                      {Schedule{Kind: Constant}, 1000, []int{0}, []int{1, 100, 1000}},
		"constant, all through the run":       {Schedule{Kind: Constant, End: -1}, 1000, []int{0, 10, 900, 1000}, []int{1, 99}},
		"from begin to end (TFMOT's test)":    {Schedule{Begin: 100, End: 200, Every: 10}, 1000, []int{100, 110, 200}, []int{90, 99, 109, 111, 201, 210}},
		"polynomial, half of the run":         {Schedule{}, 1000, []int{0, 10, 500}, []int{600, 1000}},
		"the end is due off the beat":         {Schedule{End: 255}, 1000, []int{200, 255}, []int{260}},
		"a run shorter than the interval":     {Schedule{End: 4}, 8, []int{0, 4}, []int{5, 8}},
		"a short run, at once":                {Schedule{}, ShortRun - 1, []int{0}, []int{1, 10, 149}},
		"a run just long enough":              {Schedule{}, ShortRun, []int{0, 10, 150}, []int{160}},
		"an end past the run is the run's":    {Schedule{End: 5000}, 135, []int{0, 130, 135}, []int{134}},
		"a beginning past the run is its end": {Schedule{Begin: 500}, 100, []int{100}, []int{0, 99}},
		"every so many from the beginning":    {Schedule{Begin: 5, End: 30}, 1000, []int{5, 15, 25, 30}, []int{10, 20}},
		"one step that is begin and end":      {Schedule{Begin: 10, End: 10}, 1000, []int{10}, []int{9, 11}},
		"a run without steps":                 {Schedule{Kind: Polynomial}, 0, []int{0}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := test.schedule.Resolve(test.steps)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range test.due {
				if !s.Due(step) {
					t.Errorf("step %d is not due", step)
				}
			}
			for _, step := range test.not {
				if s.Due(step) {
					t.Errorf("step %d is due", step)
				}
			}
		})
	}
}

func TestBadSchedulesAreErrors(t *testing.T) {
	for name, s := range map[string]Schedule{
		"unknown kind":      {Kind: "Linear"},
		"begins before 0":   {Begin: -1},
		"ends before begin": {Begin: 10, End: 5},
		"negative interval": {Every: -5},
	} {
		if _, err := s.Resolve(1000); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
