package stage

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/walk"
)

// made is when a pipeline was, so many seconds after another.
func made(seconds int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 11, 27, 12, 0, seconds, 0, time.UTC))
}

// publication is what result.json says of a publication.
func publication(uid types.UID, seconds int, generation int64, attempt int32, hash string) *v1alpha1.OptimizationPipeline {
	p := &v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{UID: uid, Generation: generation, CreationTimestamp: made(seconds)}}
	p.Status.Stages = []v1alpha1.StageStatus{{Name: walk.Publish, State: v1alpha1.StageCompleted, Attempt: attempt, InputHash: hash}}
	return p
}

// place is the home of an order in a store of its own.
func place(t *testing.T, order *Order) *home {
	t.Helper()
	store, err := artifact.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	order.Namespace, order.Pipeline = "ns", "p"
	return homeOf(order, store, slog.New(slog.DiscardHandler))
}

// has puts a file there, whatever else is.
func (h *home) has(t *testing.T, name string, content any) {
	t.Helper()
	data, ok := content.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(content); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.store.Publish(t.Context(), h.path+"/"+name, data); err != nil {
		t.Fatal(err)
	}
}

func TestAPublicationStopsWhereALaterOneIs(t *testing.T) {
	order := func() *Order {
		return &Order{UID: "a", Created: made(10), Attempt: 2, Status: &v1alpha1.OptimizationPipelineStatus{ObservedGeneration: 5}}
	}
	tests := map[string]struct {
		found *v1alpha1.OptimizationPipeline
		want  string
	}{
		"an earlier attempt":                  {publication("a", 10, 5, 1, ""), ""},
		"the same":                            {publication("a", 10, 5, 2, ""), ""},
		"a later attempt":                     {publication("a", 10, 5, 3, ""), "newer, of generation 5 and attempt 3, not 5 and 2"},
		"a later generation":                  {publication("a", 10, 6, 1, ""), "newer, of generation 6"},
		"a pipeline of the name before it":    {publication("b", 9, 9, 9, ""), ""},
		"one made in the same second":         {publication("b", 10, 9, 9, ""), ""},
		"a pipeline of the name made after":   {publication("b", 11, 1, 1, ""), "of a later pipeline of the name, made at 2026-11-27T12:00:11Z, not 2026-11-27T12:00:10Z"},
		"of a version that did not say when":  {&v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{UID: "b"}}, ""},
		"a result that tells of no publisher": {&v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{UID: "a"}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := place(t, order())
			if err := h.put(t.Context(), ReportFile, []byte("mine")); err != nil {
				t.Fatal(err)
			}
			h.has(t, ResultFile, tt.found) // since this one began
			err := h.put(t.Context(), SelectedFile, []byte("mine"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if _, got := h.store.GetPublished(t.Context(), h.path+"/"+SelectedFile); errors.Is(got, artifact.ErrNotFound) != (err != nil) {
				t.Errorf("it is there: %v", got)
			}
		})
	}
}

func TestOnlyLeavesThatWerePublishedAreWithdrawn(t *testing.T) {
	digest := func(text string) string { return artifact.Digest([]byte(text)) }
	stands := publication("a", 0, 1, 1, "")
	stands.Annotations = map[string]string{leavesAnnotation: DigestFile(digest("before")) + " " + DigestFile(digest("gone"))}
	stands.Status.Selected = &v1alpha1.Selected{Digest: digest("selected")}
	stands.Status.Published = &v1alpha1.Published{Digest: digest("published")}
	var files []string
	for _, text := range []string{"before", "selected", "published", "foreign"} {
		files = append(files, DigestFile(digest(text)))
	}
	files = append(files, LeafFile("prune"), SelectedFile, ReportFile, ResultFile)
	want := slices.Concat(files[:3], files[4:6])
	if diff := cmp.Diff(want, listed(stands, files)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(files[4:6], listed(nil, files)); diff != "" {
		t.Errorf("without a result: %s", diff)
	}
}

// The name for the selected leaf is written last: without it an order was not carried out.
func TestAnOrderIsCarriedOutWhenTheSelectedLeafIsThere(t *testing.T) {
	leaf := []byte("leaf")
	tests := map[string]struct {
		selected, stands bool // a leaf, or that of an earlier generation
		pointer          []byte
		done             bool
	}{
		"the selected leaf is there":                 {true, false, leaf, true},
		"another is":                                 {true, false, []byte("another"), false},
		"none is":                                    {true, false, nil, false},
		"none was selected, and one is":              {false, false, leaf, false},
		"none was selected, and none is":             {false, false, nil, true},
		"none was selected, and an earlier one is":   {false, true, leaf, true},
		"an earlier one stands that lies elsewhere":  {false, true, nil, true},
		"a leaf was selected in place of an earlier": {true, true, []byte("earlier"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := place(t, &Order{UID: "a", InputHash: "h"})
			result := publication("a", 0, 1, 1, "h")
			if tt.selected {
				result.Status.Selected = &v1alpha1.Selected{Digest: artifact.Digest(leaf)}
			}
			if tt.stands {
				result.Status.Published = &v1alpha1.Published{Digest: artifact.Digest([]byte("earlier"))}
			}
			h.has(t, ResultFile, result)
			if tt.pointer != nil {
				h.has(t, SelectedFile, tt.pointer)
			}
			outcome := &Outcome{}
			err := published(t.Context(), h.order, h.store, outcome)
			if (err == nil) != tt.done || err != nil && !errors.Is(err, errNoResult) || (outcome.URI != "") != tt.done {
				t.Errorf("%v, at %q", err, outcome.URI)
			}
		})
	}
}

func TestTheSelectedLeafIsHandedOverLast(t *testing.T) {
	h := place(t, &Order{})
	digest, err := h.store.PutBlob(t.Context(), []byte("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Publication{Store: h.store, Selected: true, Pipeline: publication("a", 0, 1, 1, "")}
	p.Pipeline.Status.Stages = nil
	p.Pipeline.Status.Selected = &v1alpha1.Selected{Digest: digest}
	var names []string
	if err := p.Files(t.Context(), func(name string, _ []byte) error { names = append(names, name); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{DigestFile(digest), ReportFile, ResultFile, SelectedFile}, names); diff != "" {
		t.Error(diff)
	}
}

func TestAResultInAnotherStoreSaysWhereTheLeafWas(t *testing.T) {
	h := place(t, &Order{Attempt: 1, InputHash: "h", Status: &v1alpha1.OptimizationPipelineStatus{
		ObservedGeneration: 2,
		Published:          &v1alpha1.Published{Generation: 1, Stage: "prune", Digest: artifact.Digest(nil), URI: "s3://old/ns/p/leaf.tflite"},
		Stages: []v1alpha1.StageStatus{{Name: walk.Baseline, State: v1alpha1.StageCompleted, Attempt: 1, Leaf: &v1alpha1.Leaf{
			Digest: artifact.Digest([]byte("x")), Metrics: []v1alpha1.MetricValue{{Name: "CompressedBytes", Value: "9"}}}}},
	}})
	most := v1alpha1.Decimal("1")
	h.order.Spec.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.CompressedBytes, Max: &most}}
	status := concluded(h.order, h.store, h.uri())
	for _, c := range status.Conditions {
		if c.Type == v1alpha1.ConditionPublished && strings.Contains(c.Message, "it was published in another store, where s3://old/ns/p/leaf.tflite") {
			return
		}
	}
	t.Errorf("%+v", status.Conditions)
}
