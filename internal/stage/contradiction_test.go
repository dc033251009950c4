package stage

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/walk"
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
