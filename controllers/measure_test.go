package controllers

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

var velaImage = "registry.example/vela@sha256:" + strings.Repeat("0", 64)

// measured has a compiler measure leaves.
func measured(p *v1alpha1.OptimizationPipeline) {
	p.Spec.Measurements = []v1alpha1.Measurement{{
		Name: "npu_vela", Image: velaImage, Command: []string{"vela-json", "$(HOME)"}, Metrics: []v1alpha1.MeasuredMetric{{Name: "npu_cycles"}, {Name: "npu_bytes"}},
	}}
}

func TestAMeasurementRunsBesideTheStageWithNothingOfItsOwn(t *testing.T) {
	secrets := func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "payroll"}
		p.Spec.Model.URI = "pvc://models/m.tflite"
	}
	pod := built(t, "prune", measured, secrets).Spec.Template.Spec
	if len(pod.InitContainers) != 2 || len(pod.Containers) != 1 {
		t.Fatalf("%d and %d containers", len(pod.InitContainers), len(pod.Containers))
	}
	lend, beside := pod.InitContainers[0], pod.InitContainers[1]
	if lend.Image != pod.Containers[0].Image || lend.RestartPolicy != nil || !slices.Equal(lend.Args, []string{"stage", "lend", "/measure/bin"}) {
		t.Errorf("what lends the program: %+v", lend)
	}
	if beside.Name != "measure-npu-vela" || beside.Image != velaImage || beside.RestartPolicy == nil || *beside.RestartPolicy != corev1.ContainerRestartPolicyAlways ||
		!slices.Equal(beside.Command, []string{"/measure/bin/espalier", "stage", "measure", "npu_vela"}) {
		t.Errorf("what measures: %+v", beside)
	}
	for _, c := range pod.InitContainers {
		if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 {
			t.Errorf("security of %s: %+v", c.Name, s)
		}
		for _, m := range c.VolumeMounts {
			if !strings.HasPrefix(m.Name, "measure-") || c.Name == beside.Name && !m.ReadOnly && m.MountPath != "/tmp" {
				t.Errorf("%s has %+v", c.Name, m)
			}
		}
		if data, err := json.Marshal(c); err != nil || strings.Contains(string(data), "payroll") || strings.Contains(string(data), "ESPALIER_") {
			t.Errorf("%s is told too much: %s", c.Name, data)
		}
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		if strings.HasPrefix(m.MountPath, "/measure/answers/") && !m.ReadOnly {
			t.Error("the stage writes where a stranger's program does")
		}
	}
	for name, job := range map[string]*corev1.PodSpec{"publish": &built(t, "publish", measured).Spec.Template.Spec, "without": &built(t, "prune").Spec.Template.Spec} {
		if len(job.InitContainers) > 0 || len(job.Volumes) != 1 {
			t.Errorf("%s: %d init containers, %d volumes", name, len(job.InitContainers), len(job.Volumes))
		}
	}
}

// onBoard has a board measure leaves too, in Jobs of its own.
func onBoard(p *v1alpha1.OptimizationPipeline) {
	p.Spec.Measurements = append(p.Spec.Measurements, v1alpha1.Measurement{Name: "board_cycles", Image: velaImage, Command: []string{"/flash"}, Job: &v1alpha1.MeasurementJob{
		NodeSelector: map[string]string{"example.com/board": "m55"}, Tolerations: []corev1.Toleration{{Key: "board", Operator: corev1.TolerationOpExists}},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"example.com/serial": resource.MustParse("1")}},
	}})
}

func TestAMeasurementsOwnJobHasTheBoardAndNothingElse(t *testing.T) {
	p := chainPipeline("ns", "p", measured, onBoard, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.CredentialsSecretRef, p.Spec.Dataset.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "payroll"}, &v1alpha1.LocalReference{Name: "samples"}
		p.Spec.Model.URI = "pvc://models/m.tflite"
		p.Spec.Template.NodeSelector = &map[string]string{"only": "here"}
		p.Labels = map[string]string{QueueLabel: "tenants"}
	})
	make := func(after following) *batchv1.Job {
		job, err := attempt{pipeline: p, stage: &walk.Stage{Name: "prune", Attempt: 2, InputHash: digest("in")}, own: "espalier:test", image: "espalier:test", after: after}.job()
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	beside := make(following{})
	for _, c := range beside.Spec.Template.Spec.InitContainers {
		if c.Name == "measure-board-cycles" {
			t.Error("what has a Job of its own is measured beside the stage")
		}
	}
	job := make(following{job: beside.Name, measures: "board_cycles"})
	pod := job.Spec.Template.Spec
	if job.Name == beside.Name || job.Labels[MeasuresLabel] != beside.Name || job.Labels[MeasurementLabel] != "board_cycles" || job.Labels[QueueLabel] != "tenants" || job.Spec.TTLSecondsAfterFinished != nil {
		t.Errorf("%s: %v", job.Name, job.Labels)
	}
	if !maps.Equal(pod.NodeSelector, map[string]string{"example.com/board": "m55"}) || len(pod.Tolerations) != 1 || pod.Containers[0].Resources.Requests.Cpu().MilliValue() > 50 {
		t.Errorf("it goes to %v, %v with %v", pod.NodeSelector, pod.Tolerations, pod.Containers[0].Resources)
	}
	if len(pod.InitContainers) != 2 || pod.InitContainers[1].Name != "measure-board-cycles" || pod.InitContainers[1].Resources.Limits.Name("example.com/serial", resource.DecimalSI).Value() != 1 {
		t.Fatalf("%+v", pod.InitContainers)
	}
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim != nil || v.Projected != nil && v.Name != "artifacts-credentials" {
			t.Errorf("it has %s", v.Name)
		}
	}
	for _, m := range pod.InitContainers[1].VolumeMounts {
		if !strings.HasPrefix(m.Name, "measure-") {
			t.Errorf("the measurement has %s", m.Name)
		}
	}
	order, err := stage.ParseOrder(pod.Containers[0].Env[0].Value)
	if err != nil || order.Measure != "board_cycles" {
		t.Errorf("%v: %+v", err, order)
	}
	if reader := make(following{job: job.Name, reads: true, measures: "board_cycles"}); reader.Name == job.Name || reader.Labels[ReaderLabel] != job.Name || len(reader.Spec.Template.Spec.InitContainers) > 0 {
		t.Errorf("who reads: %v", reader.Labels)
	}
}

func TestWhatFollowsAStageUntilItsLeafIsMeasured(t *testing.T) {
	hash := digest("in")
	job := func(name string, labels map[string]string) child {
		return child{job: &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: with(map[string]string{StageLabel: "prune", AttemptLabel: "1"}, labels),
			Annotations: map[string]string{InputHashAnnotation: hash}}}}
	}
	ended := func(c child, o stage.Outcome) child {
		o.Stage, o.InputHash = "prune", hash
		if o.Reason == "" {
			o.Leaf = &v1alpha1.Leaf{Digest: digest("leaf"), Metrics: o.Leaf.Metrics}
		}
		end := &corev1.ContainerStateTerminated{Message: said(o), FinishedAt: metav1.Now()}
		phase, condition := corev1.PodSucceeded, batchv1.JobComplete
		if o.Reason != "" {
			end.ExitCode, phase, condition = 8, corev1.PodFailed, batchv1.JobFailed
		}
		c.pods = []*corev1.Pod{{Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: containerName, State: corev1.ContainerState{Terminated: end}}}}}}
		c.job.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue}}
		return c
	}
	leaf := func(cycles, awaits string) stage.Outcome {
		o := stage.Outcome{Awaits: awaits, Leaf: &v1alpha1.Leaf{}}
		if cycles != "" {
			o.Leaf.Metrics = []v1alpha1.MetricValue{{Name: "board_cycles", Value: cycles}}
		}
		return o
	}
	ran := func() child { return ended(job("s", nil), leaf("", "board")) }
	measures := func(name string) child {
		return job("m-"+name, map[string]string{MeasuresLabel: "s", MeasurementLabel: name})
	}
	after := func(c child, measurers ...child) child { c.measurers = measurers; return c }
	gone := measures("board")
	gone.job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	for name, tt := range map[string]struct {
		of      child
		state   v1alpha1.StageState
		lacks   following
		message string
	}{
		"measured nowhere":         {ran(), "", following{job: "s", measures: "board"}, ""},
		"is being measured":        {after(ran(), measures("board")), v1alpha1.StageQueued, following{}, "measurement board is made of its leaf by Job m-board"},
		"measured":                 {after(ran(), ended(measures("board"), leaf("7", ""))), v1alpha1.StageCompleted, following{}, ""},
		"a second one follows":     {after(ran(), ended(measures("board"), leaf("7", "other"))), "", following{job: "s", measures: "other"}, ""},
		"both are made":            {after(ran(), ended(measures("other"), leaf("7", "")), ended(measures("board"), leaf("", "other"))), v1alpha1.StageCompleted, following{}, ""},
		"the board is away":        {after(ran(), ended(measures("board"), stage.Outcome{Reason: stage.ReasonMeasurement, Message: "measurement board failed 2 times"})), v1alpha1.StageFailed, following{}, "failed 2 times"},
		"what it said is gone":     {after(ran(), gone), "", following{job: "m-board", reads: true, measures: "board"}, ""},
		"it awaits itself forever": {after(ran(), ended(measures("board"), leaf("", "board"))), v1alpha1.StageFailed, following{}, "it awaits a measurement that was made"},
	} {
		t.Run(name, func(t *testing.T) {
			f := tt.of.fact()
			next, lacks := tt.of.lacks()
			if f.State != tt.state || !strings.Contains(f.Message, tt.message) || next != tt.lacks || lacks != (tt.lacks != following{}) {
				t.Errorf("%s %q, lacks %+v", f.State, f.Message, next)
			}
			if f.State == v1alpha1.StageCompleted && walk.Value(f.Leaf.Metrics, "board_cycles") != "7" || f.State != "" && f.Job != "s" {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestAMeasurementThatRunsIsNotStoppedForOneThatWaits(t *testing.T) {
	now := time.Now()
	job := func(name string, since time.Duration, phase corev1.PodPhase, state corev1.ContainerState) child {
		at := metav1.NewTime(now.Add(-since))
		return child{
			job:  &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: at, Labels: map[string]string{StageLabel: "prune", AttemptLabel: "1", MeasuresLabel: "s"}}},
			pods: []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at}, Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: containerName, State: state}}}}},
		}
	}
	v := &view{pipeline: &v1alpha1.OptimizationPipeline{}, now: now, contended: true, grace: time.Minute, facts: walk.Facts{Stages: map[string]walk.Fact{
		"prune": {State: v1alpha1.StageQueued, Job: "s", Reason: reasonUnschedulable},
	}}}
	if waits := job("board", 3*time.Hour, corev1.PodPending, corev1.ContainerState{}); !v.yields(waits) {
		t.Error("what waits keeps its place")
	}
	if runs := job("watts", 3*time.Hour, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}); v.yields(runs) {
		t.Error("what runs is stopped")
	}
}

func TestAMeasurementThatMakesNoJobEndsTheWalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = map[string]string{walk.Baseline: "900", "prune": "800", "cluster": "400", "pcqat": "300"}
	edited := make(chan struct{})
	w.play = func(order *stage.Order, _ *corev1.Pod) act {
		if order.Stage == "prune" && order.Measure == "" {
			<-edited
		}
		return act{}
	}
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Policy.Images = []string{"registry.example/*"} })
	w.pipeline("p", measured, onBoard)
	w.until("p", "prune to be under way", func(*v1alpha1.OptimizationPipeline) bool { return len(w.jobs("p", "prune")) > 0 })
	of := func(cpu string) func(*v1alpha1.OptimizationPipeline) {
		return func(p *v1alpha1.OptimizationPipeline) {
			p.Spec.Measurements[1].Job.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}, Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
		}
	}
	w.edit("p", of("2"))
	close(edited)
	p := w.settled("p", walk.ReasonStageFailed)
	if s := stageStatus(&p.Status, "prune"); s.State != v1alpha1.StageFailed || !strings.Contains(s.Message, "the job of spec.measurements board_cycles") {
		t.Errorf("%s: %s", s.State, s.Message)
	}
	w.edit("p", of("1"))
	p = w.settled("p", walk.ReasonAllStagesRun)
	if s := stageStatus(&p.Status, "prune"); s.State != v1alpha1.StageCompleted || walk.Value(s.Leaf.Metrics, "board_cycles") != "800" {
		t.Errorf("%+v", s)
	}
}

func TestLeavesAreMeasuredInJobsOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = map[string]string{walk.Baseline: "900", "prune": "800", "cluster": "400", "pcqat": "300"}
	failed := false
	w.play = func(order *stage.Order, pod *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		if order.Measure != "board_cycles" || order.Stage != "prune" || failed {
			return act{}
		}
		failed = true
		return act{exit: 8, message: said(stage.Outcome{Stage: order.Stage, InputHash: order.InputHash, Reason: stage.ReasonMeasurement, Message: "measurement board_cycles failed 2 times"})}
	}
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) {
		o.Policy.Images, o.MaxInFlight = []string{"registry.example/*"}, 1
	})
	most := v1alpha1.Decimal("500")
	w.pipeline("p", measured, onBoard, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Measurements = append(p.Spec.Measurements, v1alpha1.Measurement{Name: "watts", Image: velaImage, Command: []string{"/watts"}, Job: &v1alpha1.MeasurementJob{}})
		p.Spec.Constraints = []v1alpha1.Constraint{{Metric: "board_cycles", Max: &most}}
	})
	p := w.settled("p", walk.ReasonConstraintsMet)
	if s := p.Status.Selected; s == nil || s.Stage != "cluster" || walk.Value(s.Metrics, "board_cycles") != "400" {
		t.Fatalf("selected %+v", s)
	}
	if s := stageStatus(&p.Status, "prune"); s.Attempt != 2 {
		t.Errorf("prune, whose measurement failed once, is attempt %d", s.Attempt)
	}
	count := map[string]int{}
	for _, o := range w.played {
		count[o.Stage+" "+o.Measure]++
	}
	want := map[string]int{"baseline ": 1, "baseline board_cycles": 1, "baseline watts": 1, "prune ": 2, "prune board_cycles": 2, "prune watts": 1,
		"cluster ": 1, "cluster board_cycles": 1, "cluster watts": 1, "publish ": 1}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	for _, job := range w.jobs("p", "") {
		if job.Labels[MeasurementLabel] == "board_cycles" && job.Spec.Template.Spec.NodeSelector["example.com/board"] != "m55" {
			t.Errorf("%s goes to %v", job.Name, job.Spec.Template.Spec.NodeSelector)
		}
	}
	if err := w.client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.eventually("the Jobs to go with the pipeline", func() bool { return len(w.jobs("p", "")) == 0 })
}

func TestMeasurementsDecideInACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = map[string]string{walk.Baseline: "900", "prune": "800", "cluster": "400", "pcqat": "300"}
	allowed := func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Policy.Images = []string{"registry.example/*"} }
	w.run(allowed)
	most := v1alpha1.Decimal("500")
	w.pipeline("p", measured, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Constraints = []v1alpha1.Constraint{{Metric: "npu_cycles", Max: &most}}
	})
	p := w.settled("p", walk.ReasonConstraintsMet)
	if s := p.Status.Selected; s == nil || s.Stage != "cluster" || walk.Value(s.Metrics, "npu_cycles") != "400" {
		t.Fatalf("selected %+v", s)
	}
	runs := w.ran()["cluster"]
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { // another tool measures every leaf anew
		p.Spec.Measurements[0].Image = strings.Replace(velaImage, "@sha256:0", "@sha256:1", 1)
	})
	w.until("p", "measured anew", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 2 && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && w.ran()["cluster"] > runs
	})

	w.pipeline("other", measured, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Measurements[0].Image = strings.Replace(velaImage, "example", "hostile", 1)
	})
	if c := meta.FindStatusCondition(w.settled("other", walk.ReasonInvalidSpec).Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.Contains(c.Message, "--allowed-images") {
		t.Errorf("condition %+v", c)
	}
	if jobs := w.jobs("other", ""); len(jobs) > 0 {
		t.Errorf("%d Jobs were made", len(jobs))
	}
}
