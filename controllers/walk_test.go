package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

func TestAChainRunsUntilALeafMeetsTheConstraints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["cluster"] = "400"
	w.run()
	w.pipeline("chain", bytes("500"))
	p := w.settled("chain", walk.ReasonConstraintsMet)
	if diff := cmp.Diff(map[string]int{"baseline": 1, "prune": 1, "cluster": 1, "publish": 1}, w.ran()); diff != "" {
		t.Errorf("runs:\n%s", diff)
	}
	if got := p.Status.Selected; got == nil || got.Stage != "cluster" || got.URI != "s3://artifacts/here/"+w.namespace+"/chain/leaf.tflite" {
		t.Errorf("selected %+v", got)
	}
	if got := stageStatus(&p.Status, "pcqat").State; got != v1alpha1.StageSkipped {
		t.Errorf("pcqat is %s", got)
	}
	if p.Status.Progress != "2/3" || p.Status.Baseline == nil {
		t.Errorf("progress %s, baseline %v", p.Status.Progress, p.Status.Baseline)
	}
}
