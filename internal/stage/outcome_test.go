package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
)

func TestReasonsNameTheCause(t *testing.T) {
	tests := map[string]struct {
		err    error
		reason string
		code   int
	}{
		"stopped":                          {errors.Join(context.Canceled, fault.As(fault.Storage, artifact.ErrTemporary)), ReasonInterrupted, 130},
		"a model that changed":             {fault.As(fault.Model, fmt.Errorf("model: %w", ErrInputChanged)), walk.ReasonInputChanged, 3},
		"a dataset that changed":           {fault.As(fault.Dataset, fmt.Errorf("dataset: %w", ErrInputChanged)), walk.ReasonInputChanged, 4},
		"another version":                  {fault.As(fault.Spec, errVersion), ReasonVersion, 2},
		"wrong credentials":                {fault.As(fault.Storage, artifact.ErrDenied), ReasonDenied, 6},
		"too little room":                  {fault.As(fault.Spec, artifact.ErrTooLarge), ReasonCache, 2},
		"a server that is away":            {fault.As(fault.Storage, artifact.ErrTemporary), ReasonUnavailable, 6},
		"a damaged blob":                   {fault.As(fault.Storage, artifact.ErrDamaged), ReasonDamaged, 6},
		"a model that is lost":             {fault.As(fault.Storage, fmt.Errorf("%w: %w", errLost, artifact.ErrNotFound)), ReasonDamaged, 6},
		"a missing object":                 {fault.As(fault.Model, artifact.ErrNotFound), ReasonNotFound, 3},
		"a full disk":                      {fmt.Errorf("write: %w", syscall.ENOSPC), ReasonStorage, 6},
		"a wrong spec":                     {fault.As(fault.Spec, errors.New("x")), ReasonSpec, 2},
		"a wrong model":                    {fault.As(fault.Model, errors.New("x")), ReasonModel, 3},
		"a wrong dataset":                  {fault.As(fault.Dataset, errors.New("x")), ReasonDataset, 4},
		"training that diverged":           {fault.As(fault.Training, errors.New("x")), ReasonTraining, 7},
		"a broken invariant":               {errors.New("x"), ReasonInternal, 1},
		"a class that wraps something odd": {fault.As(fault.Storage, errors.New("x")), ReasonStorage, 6},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Reason(tt.err); got != tt.reason {
				t.Errorf("reason %s, want %s", got, tt.reason)
			}
			if got := fault.ExitCode(tt.err); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
}

func TestAFailuresOutcomeAlwaysFits(t *testing.T) {
	order := &Order{Stage: strings.Repeat("s", 40), InputHash: artifact.Digest(nil)}
	for _, text := range []string{"short", strings.Repeat("é", 5000), strings.Repeat("<", 5000), strings.Repeat("\x00", 5000), strings.Repeat("\xff", 5000), "one\ntwo\t three"} {
		o := failure(order, errors.New(text))
		data, err := o.Marshal()
		if err != nil {
			t.Errorf("%.10q: %v", text, err)
			continue
		}
		back, err := ParseOutcome(string(data))
		if err != nil || cmp.Diff(o, back) != "" || !utf8.ValidString(back.Message) || strings.Contains(back.Message, "\n") {
			t.Errorf("%.10q: %+v, %v", text, back, err)
		}
	}
}

func TestTheLargestOutcomeFits(t *testing.T) {
	metrics := make([]v1alpha1.MetricValue, 11)
	for i := range metrics {
		metrics[i] = v1alpha1.MetricValue{Name: strings.Repeat("n", 20), Value: strings.Repeat("9", 20)}
	}
	digest := artifact.Digest(nil)
	o := &Outcome{Stage: walk.Baseline, InputHash: digest, Reused: true, Model: digest, Leaf: &v1alpha1.Leaf{Digest: digest, Metrics: metrics},
		Baseline: &v1alpha1.Baseline{ModelDigest: digest, DatasetDigest: digest, Metrics: metrics}, URI: strings.Repeat("u", 1024)}
	if _, err := o.Marshal(); err != nil {
		t.Error(err)
	}
	o.URI = strings.Repeat("u", 4096)
	if _, err := o.Marshal(); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("one that does not: %v", err)
	}
}

func TestTerminationMessagesThatAreNoneAreRefused(t *testing.T) {
	for _, message := range []string{"", "{}", "panic: oh", `{"stage":"prune"`, `{"stage":"prune","password":"hunter2"}`, `{"stage":"prune"} password=hunter2`,
		`{"stage":"prune","message":"` + strings.Repeat("x", MaxOutcome) + `"}`} {
		if o, err := ParseOutcome(message); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.80q is %+v, %v", message, o, err)
		}
	}
}
