package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestStagesInProcessesOfTheirOwnMakeWhatRunMakes(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("")
	if !d.Finished || !d.Ready || d.Selected != "pcqat" {
		t.Fatalf("%+v", d)
	}
	const home = "s3://compressed/kws/ns/corners/"
	want := c.local()
	for _, name := range []string{"baseline", "prune", "pqat", "cluster", "pcqat"} {
		if string(c.get(home+"leaves/"+name+".tflite")) != want["leaves/"+name+".tflite"] {
			t.Errorf("the leaf of %s is another than run's", name)
		}
	}
	if string(c.get(home+"leaf.tflite")) != want["leaves/pcqat.tflite"] {
		t.Error("leaf.tflite is not the selected leaf")
	}
	if page := c.get(home + "report.html"); !bytes.Contains(page, []byte("pcqat")) || bytes.Contains(page, []byte("publish")) {
		t.Errorf("the report has %d bytes", len(page))
	}
	var published, local v1alpha1.OptimizationPipeline
	for from, into := range map[string]*v1alpha1.OptimizationPipeline{string(c.get(home + "result.json")): &published, want["result.json"]: &local} {
		if err := json.Unmarshal([]byte(from), into); err != nil {
			t.Fatal(err)
		}
	}
	if s, p := published.Status.Selected, published.Status.Published; s == nil || p == nil || s.Stage != "pcqat" || s.URI != home+stage.DigestFile(s.Digest) || p.URI != s.URI {
		t.Errorf("selected: %+v, published: %+v", s, p)
	} else if artifact.Digest(c.get(s.URI)) != s.Digest {
		t.Errorf("%s has another digest", s.URI)
	}
	timeless := func(m []v1alpha1.MetricValue) []v1alpha1.MetricValue {
		return slices.DeleteFunc(slices.Clone(m), func(v v1alpha1.MetricValue) bool { return v.Name == "LatencyMicros" })
	}
	for i, s := range local.Status.Stages {
		p := published.Status.Stages[i]
		if diff := cmp.Diff(timeless(s.Leaf.Metrics), timeless(p.Leaf.Metrics)); diff != "" || p.State != v1alpha1.StageCompleted {
			t.Errorf("%s is %s and measured otherwise (-run +stage):\n%s", s.Name, p.State, diff)
		}
	}
	if diff := cmp.Diff(local.Status.Baseline, published.Status.Baseline); diff != "" {
		t.Errorf("baseline (-run +stage):\n%s", diff)
	}
	if last := published.Status.Stages[len(published.Status.Stages)-1]; last.Name != walk.Publish || last.State != v1alpha1.StageCompleted {
		t.Errorf("published as %+v", last)
	}
	if ready := published.Status.Conditions[0]; ready.Status != "True" {
		t.Errorf("published while %+v", ready)
	}
}

// A stage whose leaf the device lacks fails alone, before it trains: the baseline says so in its log, and the others run.
func TestAStageWhoseLeafTheDeviceLacksFailsAlone(t *testing.T) {
	c := newFakeOperator(t, func(spec *v1alpha1.OptimizationPipelineSpec) {
		most := v1alpha1.Decimal("1")
		spec.Target = v1alpha1.Target{Runtime: "TFLM"}
		spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: &most}}
		spec.Stages[1].Quantize.Weights = "Int4"
	})
	o, code, log := c.start(c.order(c.decide(), walk.Baseline)).wait()
	c.record(o, code, log)
	if !strings.Contains(log, `it fails when its turn comes, unless an earlier leaf is taken`) {
		t.Errorf("the baseline's log:\n%s", log)
	}
	o, code, log = c.start(c.order(c.run("pqat"), "pqat")).wait()
	if code != 3 || o.Reason != stage.ReasonModel || !strings.Contains(o.Message, "a leaf does not run on tflm: FULLY_CONNECTED (dense)") || strings.Contains(log, `"training"`) {
		t.Errorf("exit code %d, %+v\n%s", code, o, log)
	}
}

func TestASecondAttemptReusesTheResultWithoutTheDataset(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("pqat")
	c.record(c.start(c.order(d, "pqat")).wait())
	c.put("s3://models", "team/corners/data.npz", []byte("gone"))
	o, code, log := c.start(c.order(d, "pqat")).wait()
	if code != 0 || !o.Reused || o.Leaf.Digest != c.facts.Stages["pqat"].Leaf.Digest {
		t.Errorf("exit code %d, %+v\n%s", code, o, log)
	}
	if strings.Contains(log, `"fetched"`) {
		t.Errorf("something was fetched:\n%s", log)
	}
}

// long makes training long enough to be stopped.
func long(spec *v1alpha1.OptimizationPipelineSpec) {
	epochs := int32(120)
	spec.Stages[0].Training.Epochs = &epochs
	spec.Stages = spec.Stages[:1]
}

// checkpointed waits until a stage has saved a checkpoint.
func (c *fakeOperator) checkpointed(hash string) {
	c.t.Helper()
	s := c.store("s3://compressed/kws")
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if _, err := s.LoadCheckpoint(c.t.Context(), hash); err == nil {
			return
		}
	}
	c.t.Fatal("no checkpoint came")
}

func TestAStoppedStageGoesOnToTheSameBytes(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"by SIGTERM": syscall.SIGTERM, "by SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			c := newFakeOperator(t, long)
			d := c.run("prune")
			order := c.order(d, "prune")
			p := c.start(order)
			c.checkpointed(order.InputHash)
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if signal == syscall.SIGTERM {
				o, code, log := p.wait()
				if code != 130 || o.Reason != stage.ReasonInterrupted {
					t.Fatalf("exit code %d, %+v\n%s", code, o, log)
				}
			} else {
				_ = p.cmd.Wait()
			}
			o, code, log := c.start(order).wait()
			c.record(o, code, log)
			if first := firstStep(t, log); first < 10 || !strings.Contains(log, `"msg":"resumed"`) {
				t.Errorf("it began anew, at step %d", first)
			}
			if _, err := c.store("s3://compressed/kws").LoadCheckpoint(t.Context(), order.InputHash); !errors.Is(err, artifact.ErrNotFound) {
				t.Errorf("the checkpoint is still there: %v", err)
			}
			if want := artifact.Digest([]byte(c.local()["leaves/prune.tflite"])); o.Leaf.Digest != want {
				t.Errorf("leaf %s, run makes %s", o.Leaf.Digest, want)
			}
		})
	}
}

// firstStep is the step of the first line of progress.
func firstStep(t *testing.T, log string) int {
	t.Helper()
	for line := range strings.Lines(log) {
		var l struct {
			Msg  string
			Step int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "training" {
			return l.Step
		}
	}
	t.Fatalf("no progress:\n%s", log)
	return 0
}

func TestTwoProcessesWithOneOrderAreHarmless(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("prune")
	order := c.order(d, "prune")
	var both sync.WaitGroup
	outcomes := make([]*stage.Outcome, 2)
	for i := range outcomes {
		p := c.start(order)
		both.Go(func() {
			var code int
			var log string
			if outcomes[i], code, log = p.wait(); code != 0 {
				t.Errorf("exit code %d, %+v\n%s", code, outcomes[i], log)
			}
		})
	}
	both.Wait()
	if outcomes[0].Leaf.Digest != outcomes[1].Leaf.Digest || outcomes[0].Model != outcomes[1].Model {
		t.Errorf("%+v\n%+v", outcomes[0], outcomes[1])
	}
}
