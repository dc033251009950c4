package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// TestALeafIsMeasuredInAnotherJobThanItsStage has one program beside the stage and two in Jobs of their own, which train nothing.
func TestALeafIsMeasuredInAnotherJobThanItsStage(t *testing.T) {
	c := newClaimOperator(t)
	folder := t.TempDir()
	requests, answers := filepath.Join(folder, "requests"), filepath.Join(folder, "answers")
	mkdir := func(path string) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(requests)
	ctx, cancel := context.WithCancel(t.Context())
	var served []chan struct{}
	tool := func(name, prints string) v1alpha1.Measurement {
		scratch, file, done := filepath.Join(answers, name), filepath.Join(folder, name+".sh"), make(chan struct{})
		mkdir(scratch)
		write(t, file, []byte("echo '{\"metrics\": {\""+name+"\": "+prints+"}}'\n"))
		go func() {
			defer close(done)
			espalier(ctx, "stage", "measure", name, "--requests", requests, "--scratch", scratch)
		}()
		served = append(served, done)
		return v1alpha1.Measurement{Name: name, Image: "tool@sha256:0", Command: []string{"sh", file}, Retries: ptr.To[int32](0)}
	}
	apart := func(m v1alpha1.Measurement) v1alpha1.Measurement { m.Job = &v1alpha1.MeasurementJob{}; return m }
	c.pipeline.Spec.Measurements = []v1alpha1.Measurement{apart(tool("board", "7")), tool("beside", "'$(wc -c < \"$1\")'"), apart(tool("watts", "null"))}
	t.Cleanup(func() {
		cancel()
		for _, done := range served {
			<-done
		}
	})
	run := []string{"stage", "--workers=1", "--requests", requests, "--answers", answers}

	d := walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
	order := c.order(d, walk.Baseline)
	o, code := c.do(order, run...)
	if code != 0 || o.Awaits != "board" || o.Baseline == nil || o.Reused {
		t.Fatalf("the baseline: %d, %+v", code, o)
	}
	if o, code := c.do(order, "stage", "read"); code != 0 || o.Awaits != "board" {
		t.Errorf("read: %d, %+v", code, o)
	}
	leaf, pinned := o.Leaf.Digest, o.Baseline
	measure := func(order stage.Order, name string) *stage.Outcome {
		t.Helper()
		order.Measure, order.Pinned = name, pinned
		order.Spec.Model.URI = "pvc://away/model.tflite" // nobody mounts it
		o, code := c.do(&order, run...)
		if code != 0 || o.Leaf.Digest != leaf && order.Stage == walk.Baseline {
			t.Fatalf("%s: %d, %+v", name, code, o)
		}
		return o
	}
	if o = measure(*order, "board"); o.Awaits != "watts" {
		t.Fatalf("after the board: %+v", o)
	}
	if o = measure(*order, "watts"); o.Awaits != "" || o.Baseline == nil || walk.Value(o.Leaf.Metrics, "board") != "7" || walk.Value(o.Leaf.Metrics, "beside") != walk.Value(o.Leaf.Metrics, "FileBytes") || walk.Value(o.Leaf.Metrics, "watts") != "" {
		t.Fatalf("after both: %+v, %+v", o, o.Leaf)
	}
	if again, code := c.do(order, run...); code != 0 || !again.Reused || again.Awaits != "" || walk.Value(again.Leaf.Metrics, "board") != "7" {
		t.Errorf("once more: %d, %+v", code, again)
	}
	if read, code := c.do(order, "stage", "read"); code != 0 || read.Awaits != "" || walk.Value(read.Leaf.Metrics, "board") != "7" {
		t.Errorf("read: %d, %+v", code, read)
	}

	c.facts.Baseline = pinned
	c.facts.Stages[walk.Baseline] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, InputHash: order.InputHash, Leaf: o.Leaf}
	d = walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
	order = c.order(d, d.Start[0])
	order.Measure = "board"
	if o, code := c.do(order, run...); code != 6 || o.Reason != walk.ReasonResultsLost {
		t.Errorf("a leaf that is not made was measured: %d, %+v", code, o)
	}
}
