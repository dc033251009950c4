package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

var noon = metav1.NewTime(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))

// job makes a Job of stage prune; its pods are given newest first.
func jobWith(condition batchv1.JobConditionType, reason string, pods ...*corev1.Pod) child {
	c := child{pods: pods, job: &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: "j", Labels: map[string]string{StageLabel: "prune", AttemptLabel: "2"}, Annotations: map[string]string{InputHashAnnotation: "h"},
	}, Status: batchv1.JobStatus{StartTime: &noon}}}
	if condition != "" {
		c.job.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Reason: reason, Message: "because", LastTransitionTime: noon}}
	}
	return c
}

func podIn(phase corev1.PodPhase, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{Status: corev1.PodStatus{Phase: phase}}
	for _, change := range changes {
		change(p)
	}
	return p
}

func ended(code int32, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: containerName, Image: "image", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, StartedAt: noon, FinishedAt: noon},
		}}}
	}
}

func disrupted(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason})
	}
}

func said(o stage.Outcome) string {
	data, err := o.Marshal()
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestFactOfAJob(t *testing.T) {
	leaf := &v1alpha1.Leaf{Digest: digest("l"), Metrics: []v1alpha1.MetricValue{{Name: "Accuracy", Value: "0.9"}}}
	good := said(stage.Outcome{Stage: "prune", InputHash: "h", Model: digest("m"), Leaf: leaf})
	deleting := func(c child) child { c.job.DeletionTimestamp = &noon; return c }
	failedAt := func(c child, at time.Time) child {
		c.job.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at)
		return c
	}
	suspended := func(c child) child {
		c.job.Spec.Suspend, c.job.Labels[QueueLabel] = ptr.To(true), "lab"
		return c
	}
	type want struct {
		State   v1alpha1.StageState
		Reason  string
		Message string // part of it
		Retry   bool
		Model   string
	}
	searches := func(c child) child { c.job.Labels[StageLabel] = walk.Search; return c }
	told := func(name string) *corev1.Pod {
		return podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: name, InputHash: "h", Leaf: leaf, Message: "all trials were made"})))
	}
	readBy := func(c, reader child) child { c.reader = &reader; return c }
	elsewhere := func(c child, ready int32) child {
		c.job.Spec.ManagedBy, c.job.Status.Ready = ptr.To("example.com/other"), &ready
		return c
	}
	sinceNoon := func(c child) child { c.ran = &noon; return c }
	unscheduled := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	}
	failedFor := batchv1.JobReasonBackoffLimitExceeded
	tests := map[string]struct {
		child child
		want  want
	}{
		"it has no pod yet":  {jobWith("", ""), want{State: v1alpha1.StageQueued}},
		"its pod is pending": {jobWith("", "", podIn(corev1.PodPending)), want{State: v1alpha1.StageQueued}},
		"its pod runs":       {jobWith("", "", podIn(corev1.PodRunning)), want{State: v1alpha1.StageRunning}},
		"its node is not heard of": {jobWith("", "", podIn(corev1.PodRunning, func(p *corev1.Pod) {
			p.Spec.NodeName = "edge-7"
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
		})), want{v1alpha1.StageRunning, "NodeNotReady", "node edge-7 does not answer", false, ""}},
		"its container is not ready": {jobWith("", "", podIn(corev1.PodRunning, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: corev1.ContainersReady, Status: corev1.ConditionFalse}}
		})), want{State: v1alpha1.StageRunning}},
		"its pod ended well":                    {jobWith("", "", podIn(corev1.PodSucceeded, ended(0, "Completed", good))), want{State: v1alpha1.StageCompleted, Model: digest("m")}},
		"it is complete":                        {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", good))), want{State: v1alpha1.StageCompleted, Model: digest("m")}},
		"a search says why it ended":            {searches(jobWith(batchv1.JobComplete, "", told(walk.Search))), want{State: v1alpha1.StageCompleted, Message: "all trials were made"}},
		"other stages have nothing to say":      {jobWith(batchv1.JobComplete, "", told("prune")), want{State: v1alpha1.StageCompleted}},
		"it is complete, its pod is gone":       {jobWith(batchv1.JobComplete, ""), want{}},
		"its result is about to be read":        {readBy(jobWith(batchv1.JobComplete, ""), jobWith("", "")), want{v1alpha1.StageQueued, "", "is read from the store", false, ""}},
		"its result cannot be read yet":         {readBy(jobWith(batchv1.JobComplete, ""), jobWith("", "", podIn(corev1.PodPending, unscheduled))), want{v1alpha1.StageQueued, "Unschedulable", "is read from the store; no node", false, ""}},
		"its result is being read":              {readBy(jobWith(batchv1.JobComplete, ""), jobWith("", "", podIn(corev1.PodRunning))), want{v1alpha1.StageRunning, "", "is read from the store", false, ""}},
		"its result was read":                   {readBy(jobWith(batchv1.JobComplete, ""), jobWith("", "", podIn(corev1.PodSucceeded, ended(0, "", good)))), want{State: v1alpha1.StageCompleted, Model: digest("m")}},
		"its result is not there":               {readBy(jobWith(batchv1.JobComplete, ""), jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(6, "", said(stage.Outcome{Stage: "prune", Reason: walk.ReasonResultsLost, Message: "no result"}))))), want{v1alpha1.StageFailed, "ResultLost", "no result", true, ""}},
		"who read it is gone too":               {readBy(jobWith(batchv1.JobComplete, ""), jobWith(batchv1.JobComplete, "")), want{v1alpha1.StageFailed, "ResultLost", "its pod is gone too", true, ""}},
		"what failed left nothing":              {readBy(jobWith(batchv1.JobFailed, failedFor), jobWith(batchv1.JobFailed, failedFor)), want{v1alpha1.StageFailed, "PodLost", "because", true, ""}},
		"what failed left a result":             {readBy(jobWith(batchv1.JobFailed, failedFor), jobWith("", "", podIn(corev1.PodSucceeded, ended(0, "", good)))), want{State: v1alpha1.StageCompleted, Model: digest("m")}},
		"it runs elsewhere":                     {elsewhere(jobWith("", ""), 1), want{v1alpha1.StageRunning, "", "example.com/other", false, ""}},
		"it waits elsewhere":                    {elsewhere(jobWith("", ""), 0), want{v1alpha1.StageQueued, "", "example.com/other", false, ""}},
		"it is being deleted":                   {deleting(jobWith("", "", podIn(corev1.PodRunning))), want{State: v1alpha1.StageStopping}},
		"it is complete and being deleted":      {deleting(jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", good)))), want{State: v1alpha1.StageCompleted, Model: digest("m")}},
		"it failed and is being deleted":        {deleting(jobWith(batchv1.JobFailed, failedFor)), want{v1alpha1.StageFailed, "PodLost", "because", true, ""}},
		"it failed because it is being deleted": {deleting(failedAt(jobWith(batchv1.JobFailed, failedFor), noon.Add(time.Minute))), want{State: v1alpha1.StageStopping}},
		"a queue holds it back":                 {suspended(jobWith("", "")), want{v1alpha1.StageQueued, "Queued", "queue lab", false, ""}},
		"a pod that failed may be replaced yet": {jobWith("", "", podIn(corev1.PodFailed, ended(1, "Error", ""))), want{State: v1alpha1.StageRunning}},
		"a disrupted pod is being replaced":     {jobWith("", "", podIn(corev1.PodFailed, disrupted("DeletionByTaintManager"))), want{v1alpha1.StageQueued, "Disrupted", "DeletionByTaintManager", false, ""}},
		"a replaced pod runs":                   {jobWith("", "", podIn(corev1.PodRunning), podIn(corev1.PodFailed, disrupted("x"))), want{State: v1alpha1.StageRunning}},
		"scheduling gates": {jobWith("", "", podIn(corev1.PodPending, func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated}}
		})), want{v1alpha1.StageQueued, "SchedulingGated", "gates", false, ""}},

		"a failure that says what it is": {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(6, "Error", said(stage.Outcome{Stage: "prune", Reason: "AccessDenied", Message: "no such key"})))),
			want{v1alpha1.StageFailed, "AccessDenied", "no such key", true, ""}},
		"a final exit code":                          {jobWith(batchv1.JobFailed, batchv1.JobReasonPodFailurePolicy, podIn(corev1.PodFailed, ended(3, "Error", said(stage.Outcome{Stage: "prune", Reason: "InvalidModel", Message: "x"})))), want{v1alpha1.StageFailed, "InvalidModel", "x", false, ""}},
		"a final exit code whose pod is gone":        {jobWith(batchv1.JobFailed, batchv1.JobReasonPodFailurePolicy), want{v1alpha1.StageFailed, "StageFailed", "because", false, ""}},
		"the input changed":                          {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(1, "Error", said(stage.Outcome{Stage: "prune", Reason: walk.ReasonInputChanged, Message: "x"})))), want{v1alpha1.StageFailed, "InputChanged", "x", false, ""}},
		"a crash is told by its exit code":           {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(2, "Error", "panic: oh\ngoroutine 1"))), want{v1alpha1.StageFailed, "StageFailed", "exit code 2 and without an answer; its log says more: kubectl -n", true, ""}},
		"a reason that no stage gives":               {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(1, "Error", said(stage.Outcome{Stage: "prune", Reason: "Hacked", Message: "x"})))), want{v1alpha1.StageFailed, "StageFailed", "x", true, ""}},
		"a message in several lines":                 {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(1, "Error", said(stage.Outcome{Stage: "prune", Reason: "NotFound", Message: "a\n\x1b[31mb\x00"})))), want{v1alpha1.StageFailed, "NotFound", "a [31mb", true, ""}},
		"a reason that is no word":                   {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(1, "Error", said(stage.Outcome{Stage: "prune", Reason: "not a word", Message: "x"})))), want{v1alpha1.StageFailed, "StageFailed", "x", true, ""}},
		"out of memory":                              {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, ended(137, "OOMKilled", ""))), want{v1alpha1.StageFailed, "OOMKilled", "limits.memory", true, ""}},
		"evicted":                                    {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, func(p *corev1.Pod) { p.Status.Reason = "Evicted" })), want{v1alpha1.StageFailed, "Evicted", "evicted", true, ""}},
		"the node refused the pod":                   {jobWith(batchv1.JobFailed, failedFor, podIn(corev1.PodFailed, func(p *corev1.Pod) { p.Status.Reason = "NodeAffinity" })), want{v1alpha1.StageFailed, "PodLost", "NodeAffinity", true, ""}},
		"its pod is gone":                            {jobWith(batchv1.JobFailed, failedFor), want{}},
		"it took too long":                           {jobWith(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, podIn(corev1.PodFailed, ended(130, "", ""))), want{v1alpha1.StageFailed, "DeadlineExceeded", "raise it", false, ""}},
		"it was never started":                       {jobWith(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, podIn(corev1.PodFailed)), want{}},
		"it never had a pod":                         {jobWith(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded), want{}},
		"it took too long, and its pod is gone":      {sinceNoon(jobWith(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)), want{v1alpha1.StageFailed, "DeadlineExceeded", "raise it", false, ""}},
		"an answer of another stage":                 {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "x", InputHash: "h", Leaf: leaf})))), want{v1alpha1.StageFailed, "BadOutcome", "of another stage", true, ""}},
		"an answer of other inputs":                  {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "i", Leaf: leaf})))), want{v1alpha1.StageFailed, "BadOutcome", "other inputs", true, ""}},
		"no answer":                                  {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", ""))), want{v1alpha1.StageFailed, "BadOutcome", "is image an image of espalier?", true, ""}},
		"an answer without a leaf":                   {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "h"})))), want{v1alpha1.StageFailed, "BadOutcome", "no leaf", true, ""}},
		"an answer that no status could hold":        {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "h", Leaf: &v1alpha1.Leaf{Digest: leaf.Digest, Metrics: []v1alpha1.MetricValue{{Name: "A", Value: "NaN"}}}})))), want{v1alpha1.StageFailed, "BadOutcome", "decimals", true, ""}},
		"a learning rate that is none":               {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "h", Leaf: leaf, LearningRate: "<b>"})))), want{v1alpha1.StageFailed, "BadOutcome", "learning rate", true, ""}},
		"an answer of fewer samples than it changed": {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "h", Leaf: &v1alpha1.Leaf{Digest: leaf.Digest, Samples: 3, Changed: 4}})))), want{v1alpha1.StageFailed, "BadOutcome", "samples", true, ""}},
		"an answer with a metric twice":              {jobWith(batchv1.JobComplete, "", podIn(corev1.PodSucceeded, ended(0, "", said(stage.Outcome{Stage: "prune", InputHash: "h", Leaf: &v1alpha1.Leaf{Digest: leaf.Digest, Metrics: []v1alpha1.MetricValue{{Name: "A", Value: "1"}, {Name: "A", Value: "1"}}}})))), want{v1alpha1.StageFailed, "BadOutcome", "each once", true, ""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := tt.child.fact()
			got := want{f.State, f.Reason, f.Message, f.Retry, f.Model}
			if tt.want.Message != "" && strings.Contains(f.Message, tt.want.Message) {
				got.Message = tt.want.Message
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s\n%s", f.Message, diff)
			}
			if f.Attempt != 2 || f.InputHash != "h" || f.State != "" && f.Job != "j" {
				t.Errorf("fact %+v", f)
			}
		})
	}
}

func TestSinceWhenAJobWaitsToStart(t *testing.T) {
	after := func(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(d)) }
	created := func(d time.Duration) func(*corev1.Pod) { return func(p *corev1.Pod) { p.CreationTimestamp = after(d) } }
	tests := map[string]struct {
		pods []*corev1.Pod
		want time.Duration
	}{
		"it has no pod":     {nil, 0},
		"its pod waits":     {[]*corev1.Pod{podIn(corev1.PodPending, created(time.Minute))}, time.Minute},
		"its pod is over":   {[]*corev1.Pod{podIn(corev1.PodFailed, created(time.Minute), ended(1, "", ""))}, time.Minute},
		"its pod ran long":  {[]*corev1.Pod{podIn(corev1.PodFailed, ended(1, "", ""), func(p *corev1.Pod) { terminated(p).FinishedAt = after(5 * time.Hour) })}, 5 * time.Hour},
		"it was disrupted":  {[]*corev1.Pod{podIn(corev1.PodFailed, disrupted("x"), func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = after(6 * time.Hour) })}, 6 * time.Hour},
		"another one waits": {[]*corev1.Pod{podIn(corev1.PodPending, created(7*time.Hour)), podIn(corev1.PodFailed, disrupted("x"))}, 7 * time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := jobWith("", "", tt.pods...).waitsSince(); got != noon.Add(tt.want) {
				t.Errorf("since %s, want %s", got, noon.Add(tt.want))
			}
		})
	}
}

func TestWhenAJobIsLeft(t *testing.T) {
	silent := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: noon}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
		}
	}
	stopped := func(c child) child { c.job.DeletionTimestamp = &noon; return c }
	tests := map[string]struct {
		child child
		after time.Duration // 0: never
	}{
		"it runs":                           {jobWith("", "", podIn(corev1.PodRunning)), 0},
		"it has readiness gates":            {jobWith("", "", podIn(corev1.PodRunning, silent, func(p *corev1.Pod) { p.Spec.ReadinessGates = make([]corev1.PodReadinessGate, 1) })), 0},
		"its node is silent":                {jobWith("", "", podIn(corev1.PodRunning, silent)), 10 * time.Minute},
		"it is stopped, its node is silent": {stopped(jobWith("", "", podIn(corev1.PodRunning, silent))), 10 * time.Minute},
		"its pod does not end":              {stopped(jobWith("", "", podIn(corev1.PodRunning))), 11 * time.Minute},
		"it does not go":                    {stopped(jobWith("", "", podIn(corev1.PodFailed))), 11 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at, doubtful := tt.child.abandonedAt(10 * time.Minute)
			if doubtful != (tt.after > 0) || doubtful && at != noon.Add(tt.after) {
				t.Errorf("at %s (%v), want %s", at, doubtful, noon.Add(tt.after))
			}
			before, after := noon.Add(tt.after-time.Second), noon.Add(tt.after)
			if got := tt.child.leave(tt.child.fact(), 10*time.Minute, before); got.State == "" {
				t.Errorf("left too early: %s", got.Message)
			}
			if got := tt.child.leave(tt.child.fact(), 10*time.Minute, after); (got.State == "") != doubtful || got.Attempt != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestFailuresCountSinceTheSpecChanged(t *testing.T) {
	failed := func(attempt, generation, hash, rerun string) child {
		c := jobWith(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded, podIn(corev1.PodFailed, ended(1, "Error", "")))
		c.job.Name, c.job.Labels[AttemptLabel] = "j"+attempt, attempt
		c.job.Annotations = map[string]string{InputHashAnnotation: hash, GenerationAnnotation: generation, TokenAnnotation: rerun}
		return c
	}
	tests := map[string]struct {
		jobs         []child
		wantState    v1alpha1.StageState
		wantFailures int32
	}{
		"all of this spec":                   {[]child{failed("1", "3", "h", ""), failed("2", "3", "h", "")}, v1alpha1.StageFailed, 2},
		"some of another spec":               {[]child{failed("1", "2", "h", ""), failed("2", "3", "h", "")}, v1alpha1.StageFailed, 1},
		"some of other inputs":               {[]child{failed("1", "3", "i", ""), failed("2", "3", "h", "")}, v1alpha1.StageFailed, 1},
		"the last of another spec":           {[]child{failed("1", "2", "h", ""), failed("2", "2", "h", "")}, "", 0},
		"the last under another rerun token": {[]child{failed("1", "3", "h", "before"), failed("2", "3", "h", "before")}, "", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := chainPipeline("ns", "p")
			p.Generation = 3
			o := &observation{children: tt.jobs}
			facts := o.facts(p, "", noon.Time)
			if f := facts.Stages["prune"]; f.State != tt.wantState || f.Failures != tt.wantFailures || f.Attempt != 2 {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestARecordedOutcomeStandsWhateverBecomesOfItsJob(t *testing.T) {
	p := chainPipeline("ns", "p")
	p.Generation = 3
	p.Status = v1alpha1.OptimizationPipelineStatus{ObservedGeneration: 3, Stages: []v1alpha1.StageStatus{
		{Name: "prune", State: v1alpha1.StageCompleted, Attempt: 2, Job: "j", InputHash: "h", Model: &v1alpha1.Artifact{Digest: "m"}},
	}}
	for name, c := range map[string]child{
		"its pod is gone":     jobWith(batchv1.JobComplete, ""),
		"it failed after all": jobWith(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded),
		"it is being deleted": func() child { c := jobWith("", ""); c.job.DeletionTimestamp = &noon; return c }(),
	} {
		t.Run(name, func(t *testing.T) {
			facts := (&observation{children: []child{c}}).facts(p, "", noon.Time)
			if f := facts.Stages["prune"]; f.State != v1alpha1.StageCompleted || f.Model != "m" {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestDiagnoses(t *testing.T) {
	wait := func(reason, message string) func() (string, string) {
		return func() (string, string) {
			return diagnoseWaiting(&corev1.ContainerStateWaiting{Reason: reason, Message: message}, "img")
		}
	}
	event := func(reason, message string) func() (string, string) {
		return func() (string, string) { return diagnoseEvent(reason, message) }
	}
	beside := func() (string, string) {
		waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}
		return diagnosePending(&corev1.Pod{Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "lend-espalier"}, {Name: "measure-vela", Image: "img", State: waiting}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: containerName, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}},
		}})
	}
	const pull = "image img cannot be had: not found; check spec.template.image and imagePullSecrets"
	tests := map[string]struct {
		diagnose    func() (string, string)
		wantReason  string
		wantMessage string
	}{
		"a container that is being made":   {wait("ContainerCreating", ""), "", ""},
		"an image, first word":             {wait("ErrImagePull", "not found"), "ImagePullBackOff", pull},
		"an image, second word":            {wait("ImagePullBackOff", `Back-off pulling image "img": ErrImagePull: not found`), "ImagePullBackOff", pull},
		"an image, of an older Kubernetes": {wait("ImagePullBackOff", `Back-off pulling image "img"`), "ImagePullBackOff", "image img cannot be had; check"},
		"the image of a measurement":       {beside, "ImagePullBackOff", "check the image of measure-vela and spec.measurements"},
		"an image's name":                  {wait("InvalidImageName", "bad"), "ImagePullBackOff", "bad"},
		"a configuration":                  {wait("CreateContainerConfigError", "x"), "CreateContainerConfigError", "x"},
		"a word that is none":              {wait("some thing", "x"), "NotStarted", "some thing x"},
		"a quota":                          {event("FailedCreate", `pods "p" is forbidden: exceeded quota: q`), "QuotaExceeded", "quota q"},
		"pod security":                     {event("FailedCreate", `pods "p" is forbidden: violates PodSecurity "restricted:latest"`), "PodSecurity", "restricted"},
		"a service account":                {event("FailedCreate", `error looking up service account ns/x: serviceaccount "x" not found`), "ServiceAccountMissing", "spec.template.serviceAccountName"},
		"another rejection":                {event("FailedCreate", "webhook says no"), "FailedCreate", "webhook says no"},
		"a mount":                          {event("FailedMount", `secret "s" not found`), "FailedMount", `secret "s"`},
		"an event that means nothing":      {event("BackOff", "x"), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reason, message := tt.diagnose()
			if reason != tt.wantReason || !strings.Contains(message, strings.TrimPrefix(tt.wantMessage, "quota ")) {
				t.Errorf("%s: %s; want %s: …%s…", reason, message, tt.wantReason, tt.wantMessage)
			}
		})
	}
}

func TestTheNewestTellingWarningExplains(t *testing.T) {
	at := func(age time.Duration, kind, reason, message string) corev1.Event {
		return corev1.Event{Type: kind, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(noon.Add(-age))}
	}
	series := corev1.Event{Type: corev1.EventTypeWarning, Reason: "FailedMount", Message: "series", Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(noon.Time)}}
	tests := map[string]struct {
		events []corev1.Event
		want   string
	}{
		"none":                   {nil, ""},
		"the newest":             {[]corev1.Event{at(time.Minute, "Warning", "FailedMount", "old"), at(time.Second, "Warning", "FailedMount", "new"), at(time.Hour, "Warning", "FailedMount", "older")}, "new"},
		"not one that is over":   {[]corev1.Event{at(time.Hour, "Warning", "FailedMount", "old")}, ""},
		"not what is normal":     {[]corev1.Event{at(0, "Normal", "FailedMount", "x")}, ""},
		"a series by its newest": {[]corev1.Event{at(time.Second, "Warning", "FailedMount", "x"), series}, "series"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newest(tt.events, noon.Time); tt.want == "" && got.message != "" || !strings.Contains(got.message, tt.want) {
				t.Errorf("%+v, want %q", got, tt.want)
			}
		})
	}
}
