package prune

import (
	"fmt"
	"math"
)

// Kind is how sparsity rises.
type Kind string

const (
	// Constant is the final sparsity from Begin on.
	Constant Kind = "Constant"
	// Polynomial rises from 0 at Begin to the final sparsity at End, fast at first: by the third power (Zhu and Gupta, arXiv 1710.01878).
	Polynomial Kind = "Polynomial"
)

// Schedule says at which training steps masks are chosen anew, and how sparse. Steps count from 0.
type Schedule struct {
	Kind  Kind // empty means Polynomial
	Begin int  // first step that prunes
	End   int  // last step that chooses; 0: Begin for Constant and in a run of fewer than ShortRun steps, else half of the run; negative or past the run: its end
	Every int  // steps between choices; 0 means DefaultEvery
}

// DefaultEvery is the steps between choices, where the schedule does not say.
const DefaultEvery = 10

// ShortRun is the number of steps below which zeros come all at once, where the schedule does not say when: what weights gain by going one after
// the other is less than what the steps afterwards give back.
const ShortRun = 300

// Resolve returns the schedule for a run of so many steps, defaults filled in and confined to the run.
func (s Schedule) Resolve(steps int) (Schedule, error) {
	if s.Kind == "" {
		s.Kind = Polynomial
	}
	if s.Every == 0 {
		s.Every = DefaultEvery
	}
	switch {
	case s.Kind != Constant && s.Kind != Polynomial:
		return s, fmt.Errorf("schedule %q is neither %s nor %s", s.Kind, Constant, Polynomial)
	case s.Every < 0:
		return s, fmt.Errorf("%d steps between choices of a mask", s.Every)
	case s.Begin < 0:
		return s, fmt.Errorf("schedule begins at step %d", s.Begin)
	case s.End > 0 && s.End < s.Begin:
		return s, fmt.Errorf("schedule ends at step %d, before it begins at %d", s.End, s.Begin)
	}
	switch {
	case s.End < 0:
		s.End = steps
	case s.End == 0 && (s.Kind == Constant || steps < ShortRun):
		s.End = s.Begin
	case s.End == 0:
		s.End = max(s.Begin, steps/2)
	}
	s.Begin, s.End = min(s.Begin, steps), min(s.End, steps)
	return s, nil
}

// Sparsity at a step of a resolved schedule, on the way to a final one.
func (s Schedule) Sparsity(step int, final float64) float64 {
	if s.Kind == Constant || s.End <= s.Begin {
		return final
	}
	p := min(max(float64(step-s.Begin)/float64(s.End-s.Begin), 0), 1)
	return final - final*math.Pow(1-p, 3)
}

// Due reports whether a resolved schedule chooses masks before the given step.
func (s Schedule) Due(step int) bool {
	return step >= s.Begin && step <= s.End && ((step-s.Begin)%s.Every == 0 || step == s.End)
}
