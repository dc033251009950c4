package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// TestAMeasurementRunsBesideAStage has a program of another image measure leaves, and one that its image has not.
func TestAMeasurementRunsBesideAStage(t *testing.T) {
	host, _, _ := strings.Cut(mended(t, "measured", "unmeasured"), "/")
	image := weighing(t, host)
	measured := func(namespace, command string) *v1alpha1.OptimizationPipeline {
		return plain(t, namespace, func(s *v1alpha1.OptimizationPipelineSpec) {
			most := v1alpha1.Decimal("1000000")
			s.Measurements = []v1alpha1.Measurement{{Name: "weight", Image: image, Command: []string{command}, Retries: ptr.To[int32](0), TimeoutSeconds: ptr.To[int32](20)}}
			s.Constraints = []v1alpha1.Constraint{{Metric: "weight", Max: &most}}
			s.RunPolicy.Retries, s.Selection.Strategy = ptr.To[int32](0), v1alpha1.SelectBest
		})
	}
	p, lacks := measured("measured", "/weigh"), measured("unmeasured", "/absent")
	ready(t, p)
	for _, name := range []string{walk.Baseline, p.Spec.Stages[0].Name} {
		if m := stageOf(p, name).Leaf.Metrics; metric(m, "weight") == "" || metric(m, "weight") != metric(m, "FileBytes") {
			t.Errorf("%s: %v", name, m)
		}
	}
	for _, pod := range pods(t, p, p.Spec.Stages[0].Name) {
		if i := slices.IndexFunc(pod.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == "measure-weight" }); i < 0 ||
			pod.Status.InitContainerStatuses[i].State.Terminated == nil || pod.Status.InitContainerStatuses[i].RestartCount != 0 || pod.Status.Phase != corev1.PodSucceeded {
			t.Errorf("pod %s: %s, %+v", pod.Name, pod.Status.Phase, pod.Status.InitContainerStatuses)
		}
	}
	took, c := says(t, lacks, walk.ReasonInvalidSpec, 2*time.Minute)
	t.Logf("%s after %s: %s", c.Reason, took, c.Message)
	if !strings.Contains(c.Message, "measurement weight: there is no such command") {
		t.Errorf("%s", c.Message)
	}
}

// weighing is the image of a program that measures leaves, for nodes of both kinds.
func weighing(t *testing.T, registry string) string {
	t.Helper()
	var programs []string
	for _, arch := range []string{"amd64", "arm64"} {
		program := filepath.Join(t.TempDir(), "weigh-"+arch)
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./test/e2e/testdata/weigh")
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		programs = append(programs, program)
	}
	image, err := push(registry+"/weigh:1", t.Name(), programs...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestAMeasurementRunsOnAnotherNodeThanItsStage has leaves measured where the stages do not run.
func TestAMeasurementRunsOnAnotherNodeThanItsStage(t *testing.T) {
	host, _, _ := strings.Cut(mended(t, "gateway"), "/")
	image := weighing(t, host)
	p := plain(t, "gateway", func(s *v1alpha1.OptimizationPipelineSpec) {
		most := v1alpha1.Decimal("1000000")
		s.Measurements = []v1alpha1.Measurement{{Name: "weight", Image: image, Command: []string{"/weigh"},
			Job: &v1alpha1.MeasurementJob{NodeSelector: map[string]string{corev1.LabelHostname: edgeNode}}}}
		s.Constraints = []v1alpha1.Constraint{{Metric: "weight", Max: &most}}
		s.Selection.Strategy = v1alpha1.SelectBest
	})
	ready(t, p)
	for _, name := range []string{walk.Baseline, p.Spec.Stages[0].Name} {
		if m := stageOf(p, name).Leaf.Metrics; metric(m, "weight") == "" || metric(m, "weight") != metric(m, "FileBytes") {
			t.Errorf("%s: %v", name, m)
		}
		for _, pod := range pods(t, p, name) {
			if pod.Spec.NodeName == edgeNode != (len(pod.Spec.InitContainers) > 0) {
				t.Errorf("pod %s on %s has %d init containers", pod.Name, pod.Spec.NodeName, len(pod.Spec.InitContainers))
			}
		}
		if n := len(jobs(t, p, name)); n != 2 {
			t.Errorf("%s took %d Jobs", name, n)
		}
	}
}

// TestASearchRunsAsOneStage has a goal and no stages.
func TestASearchRunsAsOneStage(t *testing.T) {
	mended(t, "searched")
	p := plain(t, "searched", func(s *v1alpha1.OptimizationPipelineSpec) {
		least := v1alpha1.Decimal("0.9")
		s.Stages, s.Training.Epochs = nil, ptr.To[int32](0)
		s.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.Agreement, Min: &least}}
		s.Search = &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes, MaxTrials: ptr.To[int32](6)}
	})
	ready(t, p)
	if p.Status.Selected.Stage != walk.Search || len(jobs(t, p, walk.Search)) != 1 {
		t.Fatalf("selected %+v of %d Jobs", p.Status.Selected, len(jobs(t, p, walk.Search)))
	}
	home := p.Spec.Artifacts.URI + "/" + stage.Home(p.Namespace, p.Name) + "/"
	found, err := v1alpha1.Decode(read(t, stored(home+stage.FoundFile)))
	if err != nil {
		t.Fatal(err)
	}
	edit(t, p, func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Search, s.Stages, s.Selection = nil, found.Spec.Stages, found.Spec.Selection
	})
	before := p.Status.Selected.Digest
	ready(t, p)
	if last := stageOf(p, p.Status.Selected.Stage); p.Status.Selected.Digest != before || !last.Reused {
		t.Errorf("what was found makes %+v: %+v", p.Status.Selected, last)
	}
	t.Log(fmt.Sprint(len(found.Spec.Stages), " stages found"))
}

// TestASearchWithHelpersFindsTheLeafThatItFindsAlone has two Jobs make trials beside a search, over S3.
func TestASearchWithHelpersFindsTheLeafThatItFindsAlone(t *testing.T) {
	mended(t, "alone", "helped")
	goal := func(namespace string, parallelism int32) *v1alpha1.OptimizationPipeline {
		return plain(t, namespace, func(s *v1alpha1.OptimizationPipelineSpec) {
			least := v1alpha1.Decimal("0.9")
			s.Stages, s.Training.Epochs = nil, ptr.To[int32](0)
			s.Constraints = []v1alpha1.Constraint{{Metric: v1alpha1.Agreement, Min: &least}}
			s.Search = &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes, MaxTrials: ptr.To[int32](5)}
			s.RunPolicy.Parallelism = &parallelism
		})
	}
	alone, helped := goal("alone", 1), goal("helped", 3)
	ready(t, helped)
	ready(t, alone)
	var ahead, helpers int
	for _, pod := range pods(t, helped, walk.Search) {
		if pod.Labels["espalier.dev/helper"] != "" {
			helpers++
			continue
		}
		out, err := kubectl(t.Context(), "-n", pod.Namespace, "logs", pod.Name)
		if err != nil {
			t.Error(err)
		}
		ahead += strings.Count(out, `"msg":"trial made ahead"`)
	}
	if ahead == 0 {
		t.Error("no trial was made ahead")
	}
	plan := func(p *v1alpha1.OptimizationPipeline) *stage.Searched {
		_, s, err := stage.ReadResult(read(t, stored(p.Spec.Artifacts.URI+"/"+stage.Home(p.Namespace, p.Name)+"/"+stage.ResultFile)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, three := plan(alone), plan(helped)
	if diff := cmp.Diff(one.Plan, three.Plan); diff != "" || alone.Status.Selected.Digest != helped.Status.Selected.Digest {
		t.Errorf("%s alone, with helpers %s:\n%s", alone.Status.Selected.Digest, helped.Status.Selected.Digest, diff)
	}
	took := func(p *v1alpha1.OptimizationPipeline) time.Duration {
		s := stageOf(p, walk.Search)
		return s.CompletionTime.Sub(s.StartTime.Time)
	}
	t.Logf("%d trials: %s alone; %s with helpers, who made %d of them ahead; %d pods of theirs are left", len(one.Trials), took(alone), took(helped), ahead, helpers)
}
