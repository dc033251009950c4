package stage

import (
	"testing"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/train"
)

func TestEpochsAreGivenOrSought(t *testing.T) {
	for name, c := range map[string]struct {
		of     v1alpha1.Training
		epochs int
		seek   bool
		time   time.Duration
		words  string
	}{
		"neither":  {v1alpha1.Training{}, v1alpha1.DefaultEpochs, false, 0, "3 epochs"},
		"given":    {v1alpha1.Training{Epochs: ptr(int32(7))}, 7, false, 0, "7 epochs"},
		"at most":  {v1alpha1.Training{MaxEpochs: ptr(int32(30))}, 30, true, 0, "5 epochs, found,"},
		"in time":  {v1alpha1.Training{MaxMinutes: ptr(v1alpha1.Decimal("1.5"))}, v1alpha1.MostEpochs, true, 90 * time.Second, "5 epochs, found,"},
		"the less": {v1alpha1.Training{MaxEpochs: ptr(int32(30)), MaxMinutes: ptr(v1alpha1.Decimal("2"))}, 30, true, 2 * time.Minute, "5 epochs, found,"},
	} {
		got, err := training(c.of)
		if err != nil || got.Epochs != c.epochs || got.Seek != c.seek || got.MaxTime != c.time {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		done := &train.Result{}
		if c.seek {
			done.Sought = &train.Sought{All: 5, Most: 30}
		}
		s := settings{stage: &v1alpha1.Stage{Quantize: &v1alpha1.Quantize{}}, training: c.of}
		if got := s.words(done); len(got) < len(c.words) || got[len(got)-len(c.words):] != c.words {
			t.Errorf("%s: in words %q, want %q at the end", name, got, c.words)
		}
	}
}
