package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
)

// claimOperator carries out orders in this process, on a claim that is a folder.
type claimOperator struct {
	t        *testing.T
	claims   string
	pipeline *v1alpha1.OptimizationPipeline
	facts    walk.Facts
}

func newClaimOperator(t *testing.T) *claimOperator {
	t.Helper()
	manifest, claims := project(t), t.TempDir()
	for _, name := range []string{"model.tflite", "data.npz"} {
		path := filepath.Join(claims, "work", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, read(t, filepath.Join(filepath.Dir(manifest), name)))
	}
	c := &claimOperator{t: t, claims: claims, pipeline: decode(t, manifest)}
	spec := &c.pipeline.Spec
	spec.Model.URI, spec.Dataset.URI = "pvc://work/model.tflite", "pvc://work/data.npz"
	spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://work/out"}}
	c.facts = walk.Facts{Stages: map[string]walk.Fact{}, Publish: true, Versions: &walk.Versions{Algorithm: optimizer.AlgorithmVersion}}
	return c
}

func (c *claimOperator) order(d walk.Decision, name string) *stage.Order {
	s := d.Stage(name)
	o := &stage.Order{Namespace: "ns", Pipeline: "corners", Stage: name, Attempt: 1, InputHash: s.InputHash, Parent: s.Parent,
		AlgorithmVersion: optimizer.AlgorithmVersion, Spec: c.pipeline.Spec, CacheBytes: 1 << 20}
	if name != walk.Baseline {
		o.Pinned = c.facts.Baseline
	}
	if name == walk.Publish {
		status := d.Status(c.facts, walk.Shown{Generation: 1, Now: time.Now(), AlgorithmVersion: optimizer.AlgorithmVersion})
		o.Status = &status
	}
	return o
}

// do carries out an order with a command of `espalier`.
func (c *claimOperator) do(o *stage.Order, command ...string) (*stage.Outcome, int) {
	c.t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		c.t.Fatal(err)
	}
	folder := c.t.TempDir()
	termination := filepath.Join(folder, "termination-log")
	c.t.Setenv(stage.OrderEnv, string(text))
	c.t.Setenv("TMPDIR", folder)
	_, log, code := espalier(c.t.Context(), append(command, "--claims", c.claims, "--cache", folder, "--termination", termination)...)
	outcome, err := stage.ParseOutcome(string(read(c.t, termination)))
	if err != nil {
		c.t.Fatalf("%v: %v\n%s", command, err, log)
	}
	return outcome, code
}

// TestReadingAStageAnswersAsItDidAndNeverRunsOrWrites reads every stage of a walk before and after it ran.
func TestReadingAStageAnswersAsItDidAndNeverRunsOrWrites(t *testing.T) {
	c := newClaimOperator(t)
	var last *stage.Order
	for d := walk.Decide(&c.pipeline.Spec, c.facts, time.Now()); len(d.Start) > 0; d = walk.Decide(&c.pipeline.Spec, c.facts, time.Now()) {
		for _, name := range d.Start {
			order := c.order(d, name)
			before := files(t, c.claims)
			if o, code := c.do(order, "stage", "read"); code != 6 || o.Reason != walk.ReasonResultsLost {
				t.Errorf("%s, which has not run, was read: %d, %+v", name, code, o)
			}
			if diff := cmp.Diff(before, files(t, c.claims)); diff != "" {
				t.Errorf("reading %s wrote:\n%s", name, diff)
			}
			ran, code := c.do(order, "stage", "--workers=1")
			if code != 0 {
				t.Fatalf("%s: %+v", name, ran)
			}
			before = files(t, c.claims)
			answer, code := c.do(order, "stage", "read")
			ran.Reused = name != walk.Publish
			if diff := cmp.Diff(ran, answer); diff != "" || code != 0 {
				t.Errorf("%s is read otherwise than it ran (-ran +read), exit code %d:\n%s", name, code, diff)
			}
			if diff := cmp.Diff(before, files(t, c.claims)); diff != "" {
				t.Errorf("reading %s wrote:\n%s", name, diff)
			}
			if ran.Baseline != nil {
				c.facts.Baseline = ran.Baseline
			}
			c.facts.Stages[name] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, InputHash: order.InputHash, Model: ran.Model, Leaf: ran.Leaf}
			if ran.Leaf != nil {
				last = order
			}
		}
	}
	if s := c.facts.Stages[walk.Publish]; s.State != v1alpha1.StageCompleted {
		t.Fatalf("the walk did not end: %+v", s)
	}
	leaf := filepath.Join(c.claims, "work", "out", "blobs", "sha256", strings.TrimPrefix(c.facts.Stages[last.Stage].Leaf.Digest, "sha256:"))
	write(t, leaf, []byte("damaged"))
	before := files(t, c.claims)
	if o, _ := c.do(last, "stage", "read"); o.Reason != walk.ReasonResultsLost {
		t.Errorf("a result whose leaf is damaged was read: %+v", o)
	}
	if diff := cmp.Diff(before, files(t, c.claims)); diff != "" {
		t.Errorf("reading a damaged result changed the store:\n%s", diff)
	}
}
