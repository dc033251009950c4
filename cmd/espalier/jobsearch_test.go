package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// walked carries out whatever is decided, as Jobs do, until an order fails or nothing is left.
func (c *claimOperator) walked() (walk.Decision, *stage.Outcome) {
	c.t.Helper()
	for {
		d := walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
		if len(d.Start) == 0 {
			return d, nil
		}
		order := c.order(d, d.Start[0])
		order.Attempt = d.Stage(order.Stage).Attempt
		o, code := c.do(order, "stage", "--workers=1")
		if code != 0 {
			return d, o
		}
		if o.Baseline != nil {
			c.facts.Baseline = o.Baseline
		}
		c.facts.Stages[order.Stage] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: order.Attempt, InputHash: order.InputHash, Model: o.Model, Leaf: o.Leaf, Reused: o.Reused, Message: o.Message}
	}
}

// TestASearchInAClusterFindsWhatRunFinds has one stage make all trials, with the leaf, the pages and the stages that run ends with.
func TestASearchInAClusterFindsWhatRunFinds(t *testing.T) {
	c := newClaimOperator(t)
	path := project(t)
	write(t, path, []byte(goalOf(t)+"  training: {epochs: 1, batchSize: 32, learningRate: \"3e-3\"}\n"))
	local, tried, _, _ := searched(t, path, filepath.Join(t.TempDir(), "out"))

	goal := decode(t, path).Spec
	goal.Model, goal.Dataset.ModelSource, goal.Artifacts = c.pipeline.Spec.Model, c.pipeline.Spec.Dataset.ModelSource, c.pipeline.Spec.Artifacts
	c.pipeline.Spec = search.Whole(&goal)
	d, failed := c.walked()
	if failed != nil || !d.Ready || d.Selected != walk.Search {
		t.Fatalf("%+v\n%+v", failed, d)
	}
	if got, want := d.Status(c.facts, walk.Shown{}).Stages[1].Message, walk.Truncate(tried.Ended, v1alpha1.MaxStageMessage); got != want || want == "" {
		t.Errorf("the status says that the search ended since %q, want %q", got, want)
	}
	home := filepath.Join(c.claims, "work", "out", "ns", "corners")
	found, s, err := stage.ReadResult(read(t, filepath.Join(home, stage.ResultFile)))
	if err != nil || s == nil {
		t.Fatalf("%v, %+v", err, s)
	}
	if diff := cmp.Diff(tried.Plan, s.Plan); diff != "" {
		t.Errorf("other trials than run's (-run +cluster):\n%s", diff)
	}
	taken := found.Status.Selected
	if taken.Stage != local.Status.Selected.Stage || taken.Digest != local.Status.Selected.Digest || taken.Digest != c.facts.Stages[walk.Search].Leaf.Digest {
		t.Errorf("it found %+v, run %+v", taken, local.Status.Selected)
	}
	if page := string(read(t, filepath.Join(home, stage.ReportFile))); !strings.Contains(page, "is the first") || !strings.Contains(page, "trial-02") {
		t.Error("the report does not say what was tried")
	}
	leaf := filepath.Join(home, "leaf.tflite")
	beside, err := historyOf(read(t, leaf), leaf, "")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(beside.history, "\n"); !strings.Contains(text, taken.Stage+": ") || strings.Contains(text, walk.Search) {
		t.Errorf("the model card says of the published leaf:\n%s", text)
	}
	object := c.pipeline.DeepCopy()
	object.Status = d.Status(c.facts, walk.Shown{StoredURI: func(digest string) string { return digest }})
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	of := filepath.Join(t.TempDir(), "object.json")
	write(t, of, content)
	if live, err := historyOf(read(t, leaf), leaf, of); err != nil || !slices.Contains(live.history, "search: the stages that it found are in found.yaml, published beside the leaf") {
		t.Errorf("of the object in the cluster: %q, %v", live.history, err)
	}
	for _, trial := range s.Trials {
		read(t, filepath.Join(home, stage.LeafFile(trial.Stage.Name)))
	}
	plain := decode(t, filepath.Join(home, stage.FoundFile))
	if diff := cmp.Diff(s.Manifest.Spec.Stages, plain.Spec.Stages); diff != "" || len(plain.Spec.Stages) == 0 || plain.Spec.Search != nil {
		t.Errorf("found.yaml is not what was found:\n%s", diff)
	}

	c.pipeline.Spec = plain.Spec
	c.facts.Stages = map[string]walk.Fact{walk.Baseline: c.facts.Stages[walk.Baseline]}
	if d, failed = c.walked(); failed != nil || c.facts.Stages[d.Selected].Leaf.Digest != taken.Digest || !c.facts.Stages[d.Selected].Reused {
		t.Errorf("its stages make another leaf, or make it again: %+v, %+v", failed, d)
	}
}

// TestASearchWithHelpersFindsWhatItFindsAlone has Jobs make trials ahead of the search, one of which is lost while it works.
func TestASearchWithHelpersFindsWhatItFindsAlone(t *testing.T) {
	found := map[int32]*stage.Result{}
	for _, parallelism := range []int32{1, 3} {
		c := newClaimOperator(t)
		path := project(t)
		write(t, path, []byte(goalOf(t)+"  training: {epochs: 1, batchSize: 32, learningRate: \"3e-3\"}\n"))
		goal := decode(t, path).Spec
		goal.Model, goal.Dataset.ModelSource, goal.Artifacts = c.pipeline.Spec.Model, c.pipeline.Spec.Dataset.ModelSource, c.pipeline.Spec.Artifacts
		goal.RunPolicy.Parallelism = &parallelism
		c.pipeline.Spec = search.Whole(&goal)
		o, code := c.do(c.order(walk.Decide(&c.pipeline.Spec, c.facts, time.Now()), walk.Baseline), "stage", "--workers=1")
		if code != 0 {
			t.Fatalf("exit code %d: %+v", code, o)
		}
		c.facts.Baseline = o.Baseline
		c.facts.Stages[walk.Baseline] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, Leaf: o.Leaf}
		order := c.order(walk.Decide(&c.pipeline.Spec, c.facts, time.Now()), walk.Search)
		var made atomic.Int32 // by helpers
		var jobs sync.WaitGroup
		for number := range parallelism - 1 {
			own := *order
			own.Helper = number + 1
			ctx, lose := context.WithCancel(t.Context())
			jobs.Go(func() {
				job := c.job(func(f func() error) error {
					if number == 0 && made.Load() > 0 {
						lose()
					}
					err := f()
					if err == nil {
						made.Add(1)
					}
					return err
				})
				if _, err := job.Run(ctx, &own); (err != nil) != (ctx.Err() != nil) {
					t.Errorf("helper %d: %v", own.Helper, err)
				}
				lose()
			})
		}
		outcome, err := c.job(func(f func() error) error {
			time.Sleep(200 * time.Millisecond) // helpers are no slower than the search, whatever else this machine does
			return f()
		}).Run(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		jobs.Wait()
		if parallelism > 1 && made.Load() < 3 || outcome.Reused {
			t.Errorf("%d trials were made by helpers; reused: %t", made.Load(), outcome.Reused)
		}
		all := files(t, filepath.Join(c.claims, "work", "out"))
		for name := range all {
			if strings.HasPrefix(name, "notes/") || strings.HasPrefix(name, "checkpoints/") && parallelism == 1 {
				t.Errorf("%s is left", name)
			}
		}
		found[parallelism] = &stage.Result{}
		content := read(t, filepath.Join(c.claims, "work", "out", "stages", "ns", strings.TrimPrefix(order.InputHash, "sha256:")+".json"))
		if err := json.Unmarshal(content, found[parallelism]); err != nil {
			t.Fatal(err)
		}
	}
	alone, helped := found[1], found[3]
	if diff := cmp.Diff(alone.Searched.Plan, helped.Searched.Plan); diff != "" || alone.Leaf != helped.Leaf || alone.Searched.Taken != helped.Searched.Taken {
		t.Errorf("leaf %s of %s, with helpers %s of %s:\n%s", alone.Leaf, alone.Searched.Taken, helped.Leaf, helped.Searched.Taken, diff)
	}
	for i := range alone.Searched.Made {
		a, h := alone.Searched.Made[i], helped.Searched.Made[i]
		if a.InputHash != h.InputHash || a.State != h.State || a.Reused != h.Reused || a.Leaf != nil && a.Leaf.Digest != h.Leaf.Digest {
			t.Errorf("%+v, with helpers %+v", a, h)
		}
	}
}

// job carries out orders in this process, each run of a stage within guard.
func (c *claimOperator) job(guard func(func() error) error) *stage.Job {
	return &stage.Job{Claims: c.claims, Cache: c.t.TempDir(), Workers: 1, PollEvery: 10 * time.Millisecond, Guard: guard, Log: slog.New(slog.DiscardHandler)}
}

// TestTrialsThatTheStoreLostAreMadeAgain has a store that lost what one trial made, and then what the search came to.
func TestTrialsThatTheStoreLostAreMadeAgain(t *testing.T) {
	c := newClaimOperator(t)
	path := project(t)
	write(t, path, []byte(strings.Replace(goalOf(t), "  search:", "  training: {epochs: 0}\n  search:", 1)))
	goal := decode(t, path).Spec
	goal.Model, goal.Dataset.ModelSource, goal.Artifacts = c.pipeline.Spec.Model, c.pipeline.Spec.Dataset.ModelSource, c.pipeline.Spec.Artifacts
	c.pipeline.Spec = search.Whole(&goal)
	if d, failed := c.walked(); failed != nil || !d.Ready {
		t.Fatalf("%+v\n%+v", failed, d)
	}
	out := filepath.Join(c.claims, "work", "out")
	before := files(t, out)
	found, _, err := stage.ReadResult(read(t, filepath.Join(out, "ns", "corners", stage.ResultFile)))
	if err != nil {
		t.Fatal(err)
	}
	lost := found.Status.Stages[2] // a trial
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if strings.Contains(name, strings.TrimPrefix(lost.InputHash, "sha256:")) {
			if err := os.Remove(filepath.Join(out, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := c.facts.Stages[walk.Publish]
	delete(c.facts.Stages, walk.Publish)
	_, failed := c.walked()
	if failed == nil || failed.Reason != walk.ReasonResultsLost || !cmp.Equal(failed.Lost, map[string]int32{walk.Search: 1}) {
		t.Fatalf("%s is lost, and publish says %+v", lost.Name, failed)
	}
	c.facts.Stages[walk.Publish] = walk.Fact{State: v1alpha1.StageFailed, Attempt: 1, InputHash: done.InputHash, Reason: failed.Reason, Lost: failed.Lost, Retry: true}
	c.facts.TakeBack(&c.pipeline.Spec)
	if d, failed := c.walked(); failed != nil || !d.Ready || c.facts.Stages[walk.Search].Attempt != 2 {
		t.Fatalf("%+v\n%+v", failed, d)
	}
	again, _, err := stage.ReadResult(read(t, filepath.Join(out, "ns", "corners", stage.ResultFile)))
	if err != nil {
		t.Fatal(err)
	}
	if again.Status.Selected.Digest != found.Status.Selected.Digest {
		t.Error("another leaf was found")
	}
	after := files(t, out)
	for name := range before {
		if _, there := after[name]; !there && strings.HasPrefix(name, "stages/") {
			t.Errorf("%s is still lost", name)
		}
	}
}

// TestASearchThatIsNotNeededIsPublishedAsOne has a baseline that will do.
func TestASearchThatIsNotNeededIsPublishedAsOne(t *testing.T) {
	c := newClaimOperator(t)
	goal := c.pipeline.Spec
	most := v1alpha1.Decimal("1e6")
	goal.Stages, goal.Search, goal.Selection = nil, &v1alpha1.Search{}, v1alpha1.Selection{}
	goal.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.FileBytes, Max: &most}}
	c.pipeline.Spec = search.Whole(&goal)
	if d, failed := c.walked(); failed != nil || !d.Ready || d.Selected != walk.Baseline {
		t.Fatalf("%+v\n%+v", failed, d)
	}
	home := filepath.Join(c.claims, "work", "out", "ns", "corners")
	content := read(t, filepath.Join(home, stage.ResultFile))
	found, s, err := stage.ReadResult(content)
	if err != nil || s == nil || len(found.Spec.Stages) > 0 || strings.Contains(string(content), `"stages": [`+"\n      {\n        \"name\": \"search\"") {
		t.Errorf("%v: %s", err, content)
	}
	read(t, filepath.Join(home, stage.ReportFile))
}

// TestWhatASearchMadeIsReadAndNotMadeAgain has a Job that reads, which has neither model nor dataset, look for a search that the store lacks.
func TestWhatASearchMadeIsReadAndNotMadeAgain(t *testing.T) {
	for _, name := range []string{"", "cycles"} {
		c := newClaimOperator(t)
		most := v1alpha1.Decimal("100")
		c.pipeline.Spec.Search, c.pipeline.Spec.Stages = &v1alpha1.Search{}, []v1alpha1.Stage{{Name: walk.Search}}
		c.pipeline.Spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: &most}}
		order := c.order(walk.Decide(&c.pipeline.Spec, c.facts, time.Now()), walk.Baseline)
		o, code := c.do(order, "stage", "--workers=1")
		if code != 0 {
			t.Fatalf("exit code %d: %+v", code, o)
		}
		c.facts.Baseline = o.Baseline
		c.facts.Stages[walk.Baseline] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, Leaf: o.Leaf}
		if name != "" {
			c.pipeline.Spec.Measurements = []v1alpha1.Measurement{{Name: name, Image: "registry.example.com/tool@sha256:" + strings.Repeat("0", 64), Command: []string{"/tool"}}}
		}
		order = c.order(walk.Decide(&c.pipeline.Spec, c.facts, time.Now()), walk.Search)
		order.Spec.Model.URI = "pvc://away/model.tflite"
		if o, _ = c.do(order, "stage", "read"); o.Reason != walk.ReasonResultsLost {
			t.Errorf("measured by %q: %s: %s", name, o.Reason, o.Message)
		}
	}
}
