package stage

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/measure"
)

func TestAnEditedResultIsNotBelieved(t *testing.T) {
	ctx, leaf := t.Context(), bytes.Repeat([]byte("leaf"), 100)
	tests := map[string]struct {
		edit func(*Result)
		want string // part of what is said; empty: it is believed
	}{
		"as it was committed": {func(*Result) {}, ""},
		"another latency":     {func(r *Result) { r.setLatency("7") }, ""},
		"a smaller file":      {func(r *Result) { r.Metrics[0].Value = "100" }, "FileBytes"},
		"a smaller archive":   {func(r *Result) { r.Metrics[1].Value = "1" }, "CompressedBytes"},
		"no sizes":            {func(r *Result) { r.Metrics = nil }, "FileBytes"},
		"no room for sizes": {func(r *Result) {
			r.Metrics = nil
			for i := range v1alpha1.MaxMetrics {
				r.Metrics = append(r.Metrics, v1alpha1.MetricValue{Name: fmt.Sprintf("Accuracy/%d", i), Value: "1"})
			}
		}, ""},
		"another technique's": {func(r *Result) { r.Technique = "prune" }, "technique prune"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			store, err := artifact.OpenFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			digest, err := store.PutBlob(ctx, leaf)
			if err != nil {
				t.Fatal(err)
			}
			result := &Result{Technique: walk.Baseline, Leaf: digest, Metrics: (&Runner{Spec: &v1alpha1.OptimizationPipelineSpec{}}).values(measure.Metrics{
				measure.FileBytes: float64(len(leaf)), measure.CompressedBytes: float64(measure.CompressedSize(leaf)), measure.LatencyMicros: 5,
			})}
			tt.edit(result)
			hash, warned := artifact.Digest([]byte(name)), ""
			if _, err := artifact.PutResult(ctx, store, hash, result); err != nil {
				t.Fatal(err)
			}
			r := &Runner{Spec: &v1alpha1.OptimizationPipelineSpec{}, Store: store, Warn: func(_ string, err error) { warned = err.Error() }}
			err = r.check(ctx, settings{name: walk.Baseline}, hash, result)
			_, there := artifact.GetResult[Result](ctx, store, hash)
			if believed := tt.want == ""; (err == nil) != believed || (there == nil) != believed || !strings.Contains(warned, tt.want) {
				t.Errorf("%v, there: %v, said %q", err, there, warned)
			}
		})
	}
}

// What a person should see of a stage is said again where its result is reused, and what that leaves open, of the constraints as they are now.
func TestWhatIsToBeSeenOfAResultIsSaidWhenItIsReused(t *testing.T) {
	ctx := t.Context()
	leaf, err := os.ReadFile("../../test/testdata/cases/08-streaming-state-int8/model.tflite")
	if err != nil {
		t.Fatal(err)
	}
	store, err := artifact.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	digest, err := store.PutBlob(ctx, leaf)
	if err != nil {
		t.Fatal(err)
	}
	spec, hash := &v1alpha1.OptimizationPipelineSpec{}, artifact.Digest([]byte("of"))
	values := (&Runner{Spec: spec}).values(measure.Metrics{
		measure.Accuracy: 0.96, measure.FileBytes: float64(len(leaf)), measure.CompressedBytes: float64(measure.CompressedSize(leaf)), measure.LatencyMicros: 5,
	})
	result := &Result{Technique: walk.Baseline, Leaf: digest, Metrics: values, Evidence: interval.Evidence{Samples: 100},
		Notes: []string{"decided", "undone"}, Warnings: []string{"undone"}}
	if _, err := artifact.PutResult(ctx, store, hash, result); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		least v1alpha1.Decimal
		want  []string
	}{
		{"0.5", []string{"baseline: undone"}},
		{"0.95", []string{"baseline: undone", "baseline: Accuracy meets min 0.95 with 0.9600, but 100 samples leave it between 0.9077 and 0.9864 with 95 % confidence; about 1800 would tell"}},
	} {
		spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.Accuracy, Min: &c.least}}
		var said []string
		r := &Runner{Spec: spec, Store: store, Warn: func(stage string, err error) { said = append(said, stage+": "+err.Error()) }}
		if _, err := r.committed(ctx, settings{name: walk.Baseline}, hash); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, said); diff != "" {
			t.Error(diff)
		}
		said, r.ReadOnly = nil, true
		if _, err := r.committed(ctx, settings{name: walk.Baseline}, hash); err != nil || said != nil {
			t.Errorf("of a result that is only read: %q, %v", said, err)
		}
	}
}
