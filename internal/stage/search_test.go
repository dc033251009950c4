package stage

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
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
