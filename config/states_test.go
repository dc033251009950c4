package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// noon is when decisions are made.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// state is one that the controller can show a pipeline in.
type state struct {
	change  func(*v1alpha1.OptimizationPipelineSpec)
	stages  map[string]walk.Fact // beside a completed baseline
	earlier bool                 // the status is of the generation before
	before  bool                 // the generation before published a leaf
	unseen  bool                 // the API server's default status
	reason  string               // of Ready
	argo    string               // health in Argo CD
	kstatus string               // in kstatus: Flux, kubectl wait's like
}

// done is a completed stage with a leaf of so many bytes.
func done(bytes string) walk.Fact {
	return walk.Fact{
		State: v1alpha1.StageCompleted, Attempt: 1, Job: "keyword-spotting-x", Leaf: &v1alpha1.Leaf{
			Digest: "sha256:" + strings.Repeat("ab", 32), Metrics: []v1alpha1.MetricValue{
				{Name: "Accuracy", Value: "0.961"}, {Name: "CompressedBytes", Value: bytes}, {Name: "FileBytes", Value: "240000"},
			},
		},
	}
}

// found is a baseline that found files of an earlier pipeline.
func found(f walk.Fact, files int32) walk.Fact {
	f.Earlier = files
	return f
}

func failed(reason, message string) walk.Fact {
	return walk.Fact{State: v1alpha1.StageFailed, Attempt: 1, Job: "keyword-spotting-x", Reason: reason, Message: message}
}

func held(reason, message string) walk.Fact {
	return walk.Fact{State: v1alpha1.StageQueued, Reason: reason, Message: message}
}

func need(m v1alpha1.Metric, most string) func(*v1alpha1.OptimizationPipelineSpec) {
	return func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Constraints = []v1alpha1.Constraint{{Metric: m, Max: ptr.To(v1alpha1.Decimal(most))}}
	}
}

func suspend(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Suspend = true }

func unconstrained(s *v1alpha1.OptimizationPipelineSpec) { s.Constraints = nil }

var (
	running      = walk.Fact{State: v1alpha1.StageRunning, Attempt: 1, Job: "keyword-spotting-x"}
	queued       = walk.Fact{State: v1alpha1.StageQueued, Attempt: 1, Job: "keyword-spotting-x"}
	published    = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, Job: "keyword-spotting-x"}
	otherVersion = walk.Fact{
		State: v1alpha1.StageFailed, Attempt: 9, Job: "keyword-spotting-x", Retry: true, Reason: walk.ReasonVersion,
		Message: "its image is of another version than the operator", Ended: ptr.To(metav1.NewTime(noon)),
	}
	evicted = walk.Fact{
		State: v1alpha1.StageFailed, Attempt: 1, Job: "keyword-spotting-x", Retry: true, Reason: "Evicted",
		Message: "the node evicted its pod", Ended: ptr.To(metav1.NewTime(noon)),
	}
)

// states are all there are: one for each reason that Ready can have, and those without a decision. Stages are prune and pqat; the
// constraint is CompressedBytes of at most 90000.
var states = map[string]state{
	"new":                       {unseen: true, argo: "Progressing", kstatus: "InProgress"},
	"edited":                    {earlier: true, stages: map[string]walk.Fact{"prune": done("80000"), "publish": published}, reason: walk.ReasonConstraintsMet, argo: "Progressing", kstatus: "InProgress"},
	"edited-stage":              {before: true, stages: map[string]walk.Fact{"prune": running}, reason: walk.ReasonProgressing, argo: "Progressing", kstatus: "InProgress"},
	"withdrawn":                 {before: true, stages: map[string]walk.Fact{"prune": done("95000"), "pqat": done("99000"), "publish": published}, reason: walk.ReasonNotMet, argo: "Degraded", kstatus: "Failed"},
	"made-anew":                 {stages: map[string]walk.Fact{"baseline": found(done("120000"), 8), "prune": running}, reason: walk.ReasonProgressing, argo: "Progressing", kstatus: "InProgress"},
	"progressing":               {stages: map[string]walk.Fact{"prune": running}, reason: walk.ReasonProgressing, argo: "Progressing", kstatus: "InProgress"},
	"queued":                    {stages: map[string]walk.Fact{"prune": queued}, reason: walk.ReasonQueued, argo: "Progressing", kstatus: "InProgress"},
	"unschedulable":             {stages: map[string]walk.Fact{"prune": held("Unschedulable", "no node takes its pod")}, reason: "Unschedulable", argo: "Progressing", kstatus: "InProgress"},
	"waiting-for-volume":        {stages: map[string]walk.Fact{"prune": held("WaitingForVolume", "claim models is in use")}, reason: "WaitingForVolume", argo: "Progressing", kstatus: "InProgress"},
	"retrying":                  {stages: map[string]walk.Fact{"prune": evicted}, reason: walk.ReasonRetrying, argo: "Progressing", kstatus: "InProgress"},
	"version-mismatch":          {stages: map[string]walk.Fact{"prune": otherVersion}, reason: walk.ReasonVersion, argo: "Progressing", kstatus: "InProgress"},
	"stopping":                  {stages: map[string]walk.Fact{"prune": done("80000"), "pqat": running}, reason: walk.ReasonStopping, argo: "Progressing", kstatus: "InProgress"},
	"publishing":                {stages: map[string]walk.Fact{"prune": done("80000"), "publish": running}, reason: walk.ReasonPublishing, argo: "Progressing", kstatus: "InProgress"},
	"suspending":                {change: suspend, stages: map[string]walk.Fact{"prune": running}, reason: walk.ReasonSuspended, argo: "Progressing", kstatus: "InProgress"},
	"suspended":                 {change: suspend, reason: walk.ReasonSuspended, argo: "Suspended", kstatus: "InProgress"},
	"constraints-met":           {stages: map[string]walk.Fact{"prune": done("80000"), "publish": published}, reason: walk.ReasonConstraintsMet, argo: "Healthy", kstatus: "Current"},
	"all-stages-run":            {change: unconstrained, stages: map[string]walk.Fact{"prune": done("95000"), "pqat": done("99000"), "publish": published}, reason: walk.ReasonAllStagesRun, argo: "Healthy", kstatus: "Current"},
	"constraints-not-met":       {stages: map[string]walk.Fact{"prune": done("95000"), "pqat": done("99000"), "publish": published}, reason: walk.ReasonNotMet, argo: "Degraded", kstatus: "Failed"},
	"constraints-cannot-be-met": {change: need(v1alpha1.FileBytes, "200000"), stages: map[string]walk.Fact{"publish": published}, reason: walk.ReasonCannotBeMet, argo: "Degraded", kstatus: "Failed"},
	"stage-failed":              {stages: map[string]walk.Fact{"prune": failed("", "its container ended with exit code 1"), "publish": published}, reason: walk.ReasonStageFailed, argo: "Degraded", kstatus: "Failed"},
	"out-of-memory":             {stages: map[string]walk.Fact{"prune": failed("OOMKilled", "its container took more memory than its limit"), "publish": published}, reason: "OOMKilled", argo: "Degraded", kstatus: "Failed"},
	"deadline-exceeded":         {stages: map[string]walk.Fact{"baseline": failed(walk.ReasonDeadline, "the attempt took longer than activeDeadlineSeconds")}, reason: walk.ReasonDeadline, argo: "Degraded", kstatus: "Failed"},
	"baseline-failed":           {stages: map[string]walk.Fact{"baseline": failed("", "its container ended with exit code 1")}, reason: walk.ReasonBaselineFailed, argo: "Degraded", kstatus: "Failed"},
	"invalid-spec":              {stages: map[string]walk.Fact{"baseline": failed(walk.ReasonInvalidSpec, "spec.artifacts is missing")}, reason: walk.ReasonInvalidSpec, argo: "Degraded", kstatus: "Failed"},
	"invalid-model":             {stages: map[string]walk.Fact{"baseline": failed(walk.ReasonInvalidModel, "model s3://models/ds_cnn_l.tflite: the file is truncated")}, reason: walk.ReasonInvalidModel, argo: "Degraded", kstatus: "Failed"},
	"invalid-dataset":           {stages: map[string]walk.Fact{"baseline": failed(walk.ReasonInvalidDataset, "dataset s3://datasets/speech.npz has no training samples")}, reason: walk.ReasonInvalidDataset, argo: "Degraded", kstatus: "Failed"},
	"input-changed":             {stages: map[string]walk.Fact{"prune": failed(walk.ReasonInputChanged, "s3://models/ds_cnn_l.tflite has another digest"), "publish": published}, reason: walk.ReasonInputChanged, argo: "Degraded", kstatus: "Failed"},
	"results-lost":              {stages: map[string]walk.Fact{"prune": failed(walk.ReasonResultsLost, "what it made is not in the store any more"), "publish": published}, reason: walk.ReasonResultsLost, argo: "Degraded", kstatus: "Failed"},
	"publish-failed":            {stages: map[string]walk.Fact{"prune": done("80000"), "publish": failed("AccessDenied", "may not write to s3://compressed")}, reason: walk.ReasonPublishFailed, argo: "Degraded", kstatus: "Failed"},
}

// pipeline is what the API server holds of a pipeline in this state.
func (s state) pipeline(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	p := &v1alpha1.OptimizationPipeline{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: "keyword-spotting", Namespace: "lab", Generation: 2},
	}
	p.Spec.Model.URI, p.Spec.Dataset.URI = "s3://models/ds_cnn_l.tflite", "s3://datasets/speech.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://compressed"}}
	p.Spec.Stages = []v1alpha1.Stage{{Name: "prune", Prune: &v1alpha1.Prune{Sparsity: "0.5"}}, {Name: "pqat", Quantize: &v1alpha1.Quantize{}}}
	need(v1alpha1.CompressedBytes, "90000")(&p.Spec)
	if s.change != nil {
		s.change(&p.Spec)
	}
	facts := walk.Facts{Publish: true, Stages: map[string]walk.Fact{"baseline": done("120000")}}
	maps.Copy(facts.Stages, s.stages)
	home := func(digest string) string { return "s3://compressed/lab/keyword-spotting/" + stage.DigestFile(digest) }
	if s.before {
		leaf := done("80000").Leaf
		facts.Published = &v1alpha1.Published{Generation: 1, Stage: "prune", Digest: leaf.Digest, URI: home(leaf.Digest), Metrics: leaf.Metrics}
	}
	decision := walk.Decide(&p.Spec, facts, noon)
	shown := walk.Shown{Generation: 2, Now: noon, AlgorithmVersion: "1", PublishedURI: home, StoredURI: func(digest string) string { return "s3://compressed/" + artifact.BlobName(digest) }}
	if s.earlier {
		shown.Generation = 1
	}
	p.Status = decision.Status(facts, shown)
	if s.unseen {
		p.Status = v1alpha1.OptimizationPipelineStatus{ObservedGeneration: -1}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		t.Fatal(err)
	}
	delete(content["metadata"].(map[string]any), "creationTimestamp")
	return &unstructured.Unstructured{Object: content}
}

// condition reads one, as "status reason".
func condition(t *testing.T, p *unstructured.Unstructured, kind string) (status, reason string) {
	t.Helper()
	list, _, err := unstructured.NestedSlice(p.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c := c.(map[string]any); c["type"] == kind {
			return c["status"].(string), c["reason"].(string)
		}
	}
	return "", ""
}

func TestTheStatesAreWhatTheyAreCalled(t *testing.T) {
	for name, s := range states {
		if _, reason := condition(t, s.pipeline(t), v1alpha1.ConditionReady); reason != s.reason {
			t.Errorf("%s has the reason %q, want %q", name, reason, s.reason)
		}
	}
}

// reasons are the constants of a package that name reasons, by identifier. Files are matched by pattern.
func reasons(t *testing.T, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	constant := regexp.MustCompile(`(?m)^\s*([rR]eason[A-Z]\w*)\s*=\s*"(\w+)"`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
			out[m[1]] = m[2]
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s names no reasons", pattern)
	}
	return out
}

func TestEveryReasonOfTheWalkHasAState(t *testing.T) {
	of := map[string]bool{}
	for _, s := range states {
		p := s.pipeline(t)
		for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionConstraintsMet, v1alpha1.ConditionPublished} {
			_, reason := condition(t, p, kind)
			of[reason] = true
		}
	}
	for name, reason := range reasons(t, "../internal/walk/*.go") {
		if !of[reason] {
			t.Errorf("no state shows %s (%s)", name, reason)
		}
	}
}

// sorted are the names of the states.
func sorted() []string { return slices.Sorted(maps.Keys(states)) }

// example is where a state is written down for people.
func example(name string) string { return fmt.Sprintf("argocd/testdata/%s.yaml", name) }
