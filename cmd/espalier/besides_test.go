package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

// TestAStageHasItsLeafMeasuredByTheContainerBesideIt carries out the order of a baseline with `espalier stage measure` serving beside it.
func TestAStageHasItsLeafMeasuredByTheContainerBesideIt(t *testing.T) {
	c := newClaimOperator(t)
	requests, answers := t.TempDir(), t.TempDir()
	scratch := filepath.Join(answers, "packer")
	if err := os.Mkdir(scratch, 0o777); err != nil {
		t.Fatal(err)
	}
	image := "registry.example/packer@sha256:" + strings.Repeat("0", 64)
	c.pipeline.Spec.Measurements = []v1alpha1.Measurement{{Name: "packer", Image: image, Command: []string{"sh", "-c", `echo '{"metrics": {"packer": '$(gzip < "$0" | wc -c)'}}'`}}}
	served := make(chan string, 1)
	ctx := t.Context()
	go func() {
		_, stderr, _ := espalier(ctx, "stage", "measure", "packer", "--requests", requests, "--scratch", scratch)
		served <- stderr
	}()
	d := walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
	order := c.order(d, walk.Baseline)
	run := []string{"--workers=1", "--requests", requests, "--answers", answers}
	o, code := c.do(order, append([]string{"stage"}, run...)...)
	if code != 0 || o.Leaf == nil || walk.Value(o.Leaf.Metrics, "packer") == "" {
		t.Fatalf("exit code %d, %+v", code, o)
	}
	c.facts.Baseline = o.Baseline
	c.facts.Stages[walk.Baseline] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, InputHash: order.InputHash, Leaf: o.Leaf}
	d = walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
	order = c.order(d, "prune")
	if o, code = c.do(order, append([]string{"stage"}, run...)...); code != 0 || walk.Value(o.Leaf.Metrics, "packer") == "" {
		t.Fatalf("exit code %d, %+v", code, o)
	}
	if again, code := c.do(order, "stage", "read"); code != 0 || walk.Value(again.Leaf.Metrics, "packer") != walk.Value(o.Leaf.Metrics, "packer") {
		t.Errorf("read again: exit code %d, %+v", code, again)
	}

	c.pipeline.Spec.Measurements[0].Command, c.pipeline.Spec.Measurements[0].Retries = []string{"sh", "-c", "echo Password; echo Password >&2; exit 3"}, new(int32)
	d = walk.Decide(&c.pipeline.Spec, walk.Facts{Stages: map[string]walk.Fact{}, Versions: c.facts.Versions}, time.Now())
	o, code = c.do(c.order(d, walk.Baseline), append([]string{"stage"}, run...)...)
	if code != 8 || o.Reason != "MeasurementFailed" || !strings.Contains(o.Message, "measurement packer: it ended with exit code 3") || strings.Contains(o.Message, "Password") {
		t.Errorf("a program that fails: exit code %d, %+v", code, o)
	}
}
