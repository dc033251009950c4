package stage

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
)

func TestTheTimeOfATrialThatFailedCounts(t *testing.T) {
	ended := thisSecond()
	started := metav1.NewTime(ended.Add(-90 * time.Second))
	l := &Walk{facts: walk.Facts{Stages: map[string]walk.Fact{"trial-01": {State: v1alpha1.StageFailed, Started: &started, Ended: &ended}}}}
	if got := l.trials()["trial-01"]; got.Seconds != 90 || got.Leaf != nil {
		t.Errorf("%+v", got)
	}
}

func TestASearchThatPlansNothingMoreIsAnError(t *testing.T) {
	trial := search.Trial{Stage: v1alpha1.Stage{Name: "trial-01"}}
	for name, tt := range map[string]struct {
		plan search.Plan
		want string
	}{
		"a trial more": {search.Plan{Trials: []search.Trial{trial, trial}}, ""},
		"ended":        {search.Plan{Trials: []search.Trial{trial}, Ended: "over"}, ""},
		"neither":      {search.Plan{Trials: []search.Trial{trial}}, "waits for the last of its 1 trials"},
	} {
		if err := stuck(1, &tt.plan); (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
