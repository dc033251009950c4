package stage

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/train"
)

// TestEveryTrialOfASearchLogsItsTraining has one log for trainings that follow each other.
func TestEveryTrialOfASearchLogsItsTraining(t *testing.T) {
	var text bytes.Buffer
	l := &progressLog{log: slog.New(slog.NewTextHandler(&text, nil))}
	for _, stage := range []string{"trial-01", "trial-01", "trial-02"} {
		l.tell(stage, train.Progress{Resumed: 3, Steps: 9, Test: &train.RangeTest{Rate: 0.1}})
	}
	for _, message := range []string{"msg=resumed", `msg="learning rate found"`, "msg=training"} {
		if n := strings.Count(text.String(), message); n != 2 {
			t.Errorf("%s stands %d times, want once a stage:\n%s", message, n, text.String())
		}
	}
}
