package controllers

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// child is a Job of a pipeline, with its pods.
type child struct {
	job    *batchv1.Job
	pods   []*corev1.Pod // newest first
	ran    *metav1.Time  // since when the status has it run; nil: it never did
	reader *child        // the Job that reads what it left in the store; nil where there is none

	measurers []child // Jobs that measure the leaf that it made
}

// Reasons that a Job or pod gives a stage, besides Kubernetes's own words for them (OOMKilled, Evicted, ImagePullBackOff …).
const (
	reasonResultLost     = "ResultLost"
	reasonBadOutcome     = "BadOutcome"
	reasonPodLost        = "PodLost"
	reasonJobLost        = "JobLost"
	reasonDisrupted      = "Disrupted"
	reasonNotStarted     = "NotStarted"
	reasonNodeNotReady   = "NodeNotReady"
	reasonNodeLost       = "NodeLost"
	reasonUnschedulable  = "Unschedulable"
	reasonImagePull      = "ImagePullBackOff"
	reasonOOMKilled      = "OOMKilled"
	reasonEvicted        = "Evicted"
	reasonWaitForVolume  = "WaitingForVolume"
	reasonInFlightLimit  = "InFlightLimit"
	reasonJobNameTaken   = "JobNameTaken"
	reasonQuotaExceeded  = "QuotaExceeded"
	reasonPodSecurity    = "PodSecurity"
	reasonServiceAccount = "ServiceAccountMissing"
	reasonFailedCreate   = "FailedCreate"
	reasonFailedMount    = "FailedMount"
	reasonStageFailed    = walk.ReasonStageFailed
)

func (c child) stage() string { return c.job.Labels[StageLabel] }

func (c child) attempt() int32 {
	n, err := strconv.ParseInt(c.job.Labels[AttemptLabel], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// of reports whether the Job was created under this generation and rerun token.
func (c child) of(generation int64, rerun string) bool {
	return c.job.Annotations[GenerationAnnotation] == strconv.FormatInt(generation, 10) && c.job.Annotations[TokenAnnotation] == rerun
}

func (c child) deleting() bool { return c.job.DeletionTimestamp != nil }

func (c child) condition(t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range c.job.Status.Conditions {
		if k := &c.job.Status.Conditions[i]; k.Type == t && k.Status == corev1.ConditionTrue {
			return k
		}
	}
	return nil
}

// inFlight reports whether a pod of the Job runs, or may yet.
func (c child) inFlight() bool {
	return c.condition(batchv1.JobComplete) == nil && c.condition(batchv1.JobFailed) == nil
}

// reads reports whether the Job reads the result of another.
func (c child) reads() bool { return c.job.Labels[ReaderLabel] != "" }

// measures is the measurement that the Job makes of the leaf of another, "" of any other Job.
func (c child) measures() string {
	if c.job.Labels[MeasuresLabel] == "" {
		return ""
	}
	return c.job.Labels[MeasurementLabel]
}

// follows is the name of the Job that this one follows, "" of a Job that runs a stage.
func (c child) follows() string {
	return cmp.Or(c.job.Labels[ReaderLabel], c.job.Labels[MeasuresLabel])
}

// measurer is the Job that makes a measurement of the leaf, nil where there is none.
func (c child) measurer(name string) *child {
	i := slices.IndexFunc(c.measurers, func(m child) bool { return m.measures() == name })
	if i < 0 {
		return nil
	}
	return &c.measurers[i]
}

// unseen are the Jobs that follow this one, and were made so lately that nobody has seen them yet.
func (c child) unseen() []child {
	var out []child
	for _, f := range append(slices.Clone(c.measurers), c) {
		if f.reader != nil && f.reader.job.UID == "" {
			out = append(out, *f.reader)
		}
		if f.job.UID == "" {
			out = append(out, f)
		}
	}
	return out
}

// elsewhere reports whether another controller than Kubernetes's has the Job run, in another cluster for instance: its pods are not known here.
func (c child) elsewhere() bool {
	return v1alpha1.Or(c.job.Spec.ManagedBy, batchv1.JobControllerName) != batchv1.JobControllerName
}

// readable reports whether what the Job made may be in the store, though no pod of it says so.
func (c child) readable() bool {
	k := c.condition(batchv1.JobFailed)
	return c.unexplained() && (k == nil || k.Reason != batchv1.JobReasonDeadlineExceeded && k.Reason != batchv1.JobReasonPodFailurePolicy)
}

// unexplained reports whether the Job is over and none of its pods says how.
func (c child) unexplained() bool {
	ended := func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}
	return !c.inFlight() && !c.deleting() && !slices.ContainsFunc(c.pods, ended)
}

// suspended reports whether a queue holds the Job back.
func (c child) suspended() bool { return c.job.Spec.Suspend != nil && *c.job.Spec.Suspend }

// queued reports whether a queue counts the Job: it has held it back, or does, or it runs elsewhere. A label alone is anybody's to set.
func (c child) queued() bool {
	if c.elsewhere() {
		return true
	}
	if c.job.Labels[QueueLabel] == "" {
		return false
	}
	return c.suspended() || slices.ContainsFunc(c.job.Status.Conditions, func(k batchv1.JobCondition) bool { return k.Type == batchv1.JobSuspended })
}

// fact is what the Job and its pods say of the stage.
func (c child) fact() walk.Fact {
	f := walk.Fact{Attempt: c.attempt(), InputHash: c.job.Annotations[InputHashAnnotation], Job: c.job.Name, Started: c.started()}
	if c.awaits() != "" {
		return c.measured(f)
	}
	switch succeeded := c.succeeded(); {
	case succeeded != nil:
		c.completed(&f, succeeded)
	case c.readable() && c.reader == nil:
		return c.nothing() // before it is read
	case c.readable():
		c.read(&f)
	case c.neverStarted():
		return c.nothing()
	case c.failedByItself():
		c.failed(&f, c.condition(batchv1.JobFailed))
	case c.deleting():
		f.State, f.Started = v1alpha1.StageStopping, nil
	default:
		c.underWay(&f)
	}
	return f
}

// nothing is the fact of an attempt that came to nothing, or of which nothing is known: the stage may start again, and did not fail.
func (c child) nothing() walk.Fact {
	return walk.Fact{Attempt: c.attempt(), InputHash: c.job.Annotations[InputHashAnnotation]}
}

// ended is the pod that says well what the Job came to: its own, or that of its reader; nil where none does.
func (c child) ended() *corev1.Pod {
	if pod := c.succeeded(); pod != nil || c.reader == nil {
		return pod
	}
	return c.reader.succeeded()
}

// said is what the Job came to, nil where that is not known or cannot be used.
func (c child) said() *stage.Outcome {
	pod := c.ended()
	if pod == nil {
		return nil
	}
	o, err := stage.ParseOutcome(terminated(pod).Message)
	if err != nil || checkOutcome(o, c.stage(), c.job.Annotations[InputHashAnnotation]) != nil {
		return nil
	}
	return o
}

// awaits is the measurement that has to follow the Job before its attempt is over, "" for none.
func (c child) awaits() string {
	pod := c.ended()
	if pod == nil || !strings.Contains(terminated(pod).Message, `"awaits"`) { // which spares reading it
		return ""
	}
	if o := c.said(); o != nil {
		return o.Awaits
	}
	return ""
}

// awaited is the last Job of the attempt that came to something, and the measurement that has to follow it, "" for none. measurer is the Job
// that makes that; nil: there is none yet.
func (c child) awaited() (last child, measurement string, measurer *child) {
	last = c
	for range len(c.measurers) + 1 { // no measurement is made twice
		name := last.awaits()
		if name == "" {
			return last, "", nil
		}
		m := c.measurer(name)
		if m == nil || m.said() == nil {
			return last, name, m
		}
		last = *m
	}
	return last, "", nil
}

// lacks is what has to follow a stage's Job for its attempt to be over, and has not begun.
func (c child) lacks() (next following, lacks bool) {
	if c.readable() && c.reader == nil {
		return following{job: c.job.Name, reads: true}, true
	}
	switch _, measurement, m := c.awaited(); {
	case measurement == "":
		return following{}, false
	case m == nil:
		return following{job: c.job.Name, measures: measurement, pinned: c.baseline()}, true
	case m.readable() && m.reader == nil:
		return following{job: m.job.Name, reads: true, measures: measurement}, true
	}
	return following{}, false
}

// measured is what the Jobs that measure the leaf say of the attempt.
func (c child) measured(f walk.Fact) walk.Fact {
	last, measurement, m := c.awaited()
	switch {
	case measurement == "":
		last.completed(&f, last.ended())
		return f
	case m == nil:
		return c.nothing() // before it is measured
	}
	by := m.fact()
	if by.State == "" {
		return c.nothing()
	}
	f.State, f.Retry, f.Started, f.Ended, f.Reason, f.Message = by.State, by.Retry, by.Started, by.Ended, by.Reason, by.Message
	if by.State != v1alpha1.StageFailed {
		f.Message = fmt.Sprintf("measurement %s is made of its leaf by Job %s", measurement, m.job.Name)
		if by.Message != "" {
			f.Message += "; " + by.Message
		}
	}
	return f
}

// underWayNow is the Job of the attempt that is not over: this one, or the last that follows it.
func (c child) underWayNow() child {
	at := c
	if _, _, m := c.awaited(); m != nil {
		at = *m
	}
	if at.reader != nil {
		at = *at.reader
	}
	return at
}

// read is what the Job that reads the result says of it.
func (c child) read(f *walk.Fact) {
	r := c.reader.fact()
	switch r.State {
	case v1alpha1.StageCompleted:
		c.completed(f, c.reader.succeeded())
		if c.job.Status.CompletionTime != nil {
			f.Ended = c.job.Status.CompletionTime
		}
	case v1alpha1.StageFailed, "":
		if k := c.condition(batchv1.JobFailed); k != nil {
			c.failed(f, k)
			return
		}
		f.State, f.Retry, f.Ended, f.Reason = v1alpha1.StageFailed, true, cmp.Or(r.Ended, c.job.Status.CompletionTime), reasonResultLost
		f.Message = "no pod of its Job is here, and Job " + c.reader.job.Name + " could not read the result: " + cmp.Or(r.Message, "its pod is gone too")
	default:
		f.State, f.Started, f.Reason, f.Message = r.State, r.Started, r.Reason, "its Job is over and no pod of it is here: the result is read from the store"
		if r.Message != "" {
			f.Message += "; " + r.Message
		}
	}
}

// neverStarted reports whether the Job's own deadline passed before anything of it ran.
func (c child) neverStarted() bool {
	k := c.condition(batchv1.JobFailed)
	return k != nil && k.Reason == batchv1.JobReasonDeadlineExceeded && c.ran == nil && !slices.ContainsFunc(c.pods, ran)
}

// started is when the container of the Job's newest pod started, by the node's clock, but not before the pod was there. Before that it is when
// the Job did.
func (c child) started() *metav1.Time {
	for _, pod := range c.pods {
		s := containerStatus(pod)
		if s == nil {
			continue
		}
		var at metav1.Time
		switch {
		case s.State.Running != nil:
			at = s.State.Running.StartedAt
		case s.State.Terminated != nil:
			at = s.State.Terminated.StartedAt
		}
		if !at.IsZero() {
			if at.Before(&pod.CreationTimestamp) {
				at = pod.CreationTimestamp
			}
			return &at
		}
	}
	return c.job.Status.StartTime
}

// failedByItself reports whether the Job failed, and not because it was deleted: whoever deletes what has failed does not undo that.
func (c child) failedByItself() bool {
	k := c.condition(batchv1.JobFailed)
	return k != nil && (!c.deleting() || !k.LastTransitionTime.After(c.job.DeletionTimestamp.Time))
}

// succeeded returns the pod that ended well. It counts as soon as it is seen: the Job says so a little later.
func (c child) succeeded() *corev1.Pod {
	i := slices.IndexFunc(c.pods, func(p *corev1.Pod) bool {
		s := terminated(p)
		return p.Status.Phase == corev1.PodSucceeded && s != nil && s.ExitCode == 0
	})
	if i < 0 {
		return nil
	}
	return c.pods[i]
}

// completed reads the outcome from the pod that ended well.
func (c child) completed(f *walk.Fact, pod *corev1.Pod) {
	end := terminated(pod)
	f.State, f.Ended = v1alpha1.StageCompleted, timeOf(end.FinishedAt)
	outcome, err := stage.ParseOutcome(end.Message)
	if err == nil {
		err = checkOutcome(outcome, c.stage(), f.InputHash)
	}
	if err == nil && outcome.Awaits != "" {
		err = errors.New("it awaits a measurement that was made")
	}
	if err != nil {
		f.State, f.Retry, f.Reason = v1alpha1.StageFailed, true, reasonBadOutcome
		f.Message = fmt.Sprintf("its container ended well but its answer cannot be used: %s; is %s an image of espalier?", err, image(pod))
		return
	}
	f.Reused, f.Model, f.Leaf, f.LearningRate = outcome.Reused, outcome.Model, outcome.Leaf, outcome.LearningRate
	f.Epochs, f.Earlier = outcome.Epochs, outcome.Earlier
	if c.stage() == walk.Search {
		f.Message = walk.Truncate(outcome.Message, v1alpha1.MaxStageMessage)
		if outcome.Reason == walk.EndedByTrials || outcome.Reason == walk.EndedByMinutes {
			f.Reason = outcome.Reason
		}
	}
}

// baseline returns what a baseline's Job pinned, nil where it is not over.
func (c child) baseline() *v1alpha1.Baseline {
	if c.stage() != walk.Baseline {
		return nil
	}
	outcome := c.said()
	if outcome == nil {
		return nil
	}
	return outcome.Baseline
}

// failed says why the Job failed, and whether another attempt may help.
func (c child) failed(f *walk.Fact, condition *batchv1.JobCondition) {
	f.State, f.Ended = v1alpha1.StageFailed, timeOf(condition.LastTransitionTime)
	if condition.Reason == batchv1.JobReasonDeadlineExceeded {
		f.Reason = walk.ReasonDeadline
		f.Message = "the attempt took longer than activeDeadlineSeconds; raise it, and the next attempt resumes from the checkpoint"
		return
	}
	f.Retry = condition.Reason != batchv1.JobReasonPodFailurePolicy
	f.Reason, f.Message = reasonPodLost, "its pod is gone: "+condition.Message
	for _, pod := range c.pods {
		if pod.Status.Phase == corev1.PodFailed {
			c.diagnoseFailure(f, pod)
			return
		}
	}
	if !f.Retry { // the pod is gone, but its exit code was final
		f.Reason, f.Message = reasonStageFailed, condition.Message
	}
}

// diagnoseFailure says why a pod failed.
func (c child) diagnoseFailure(f *walk.Fact, pod *corev1.Pod) {
	end := terminated(pod)
	switch {
	case pod.Status.Reason == reasonEvicted:
		f.Reason, f.Message = reasonEvicted, "the node evicted its pod: "+sentence(pod.Status.Message)+"; if it is the cache volume, raise cacheSizeLimit"
		return
	case end == nil:
		f.Reason, f.Message = reasonPodLost, "its pod failed before its container ended: "+sentence(pod.Status.Reason+" "+pod.Status.Message)
		return
	}
	if end.Reason == reasonOOMKilled {
		f.Reason = reasonOOMKilled
		f.Message = "its container took more memory than its limit; raise spec.template.resources.limits.memory, or lower batchSize"
		return
	}
	outcome, err := stage.ParseOutcome(end.Message)
	if err != nil || outcome.Message == "" { // a crash: its exit code, 2 of every panic, means nothing, and what it wrote is nobody's word
		f.Retry, f.Reason = true, reasonStageFailed
		f.Message = fmt.Sprintf("its container ended with exit code %d and without an answer; its log says more: kubectl -n %s logs %s", end.ExitCode, pod.Namespace, pod.Name)
		return
	}
	f.Reason, f.Message = reasonStageFailed, outcome.Message
	switch c.stage() {
	case walk.Publish:
		f.Lost = outcome.Lost
	case walk.Baseline:
		f.Earlier = outcome.Earlier
	}
	if slices.Contains(stage.Reasons, outcome.Reason) {
		f.Reason = outcome.Reason
	}
	if c.job.Annotations[ForeignAnnotation] != "" { // a container of whoever wrote the pipeline
		f.Message = fmt.Sprintf("its container ended with exit code %d; its log says more: kubectl -n %s logs %s", end.ExitCode, pod.Namespace, pod.Name)
	}
	f.Retry = !slices.Contains(fault.FinalCodes(), end.ExitCode) && f.Reason != walk.ReasonInputChanged
	if f.Reason == walk.ReasonVersion { // nodes get the right image, or the operator its version
		f.Retry = true
		f.Message = fmt.Sprintf("its image is of another version than the operator: take template.image out or move it along, or name the operator's by digest; node %s ran %s", pod.Spec.NodeName, image(pod))
	}
}

// underWay says how far an attempt has come.
func (c child) underWay(f *walk.Fact) {
	f.State = v1alpha1.StageQueued
	if c.suspended() {
		f.Started, f.Reason, f.Message = nil, walk.ReasonQueued, "its Job is held back until the queue admits it"
		if queue := c.job.Labels[QueueLabel]; queue != "" {
			f.Message = fmt.Sprintf("waits for queue %s to admit it", queue)
		}
		return
	}
	if c.elsewhere() {
		f.Started, f.Message = nil, "runs where "+*c.job.Spec.ManagedBy+" has it run"
		if v1alpha1.Or(c.job.Status.Ready, 0) > 0 {
			f.State, f.Started = v1alpha1.StageRunning, c.ran
		}
		return
	}
	pod := c.live()
	switch {
	case pod != nil && pod.Status.Phase == corev1.PodRunning:
		f.State = v1alpha1.StageRunning
		if nodeSilent(pod) {
			f.Reason = reasonNodeNotReady
			f.Message = fmt.Sprintf("its node %s does not answer; the stage goes on if it comes back within nodeLostSeconds, else the next attempt resumes from the checkpoint", pod.Spec.NodeName)
		}
	case pod != nil:
		f.Reason, f.Message = diagnosePending(pod)
	case len(c.pods) > 0:
		if f.Reason, f.Message = c.disruption(); f.Reason == "" {
			f.State = v1alpha1.StageRunning // over, and the Job is about to say so
		}
	}
	if f.State == v1alpha1.StageQueued {
		f.Started = nil // shown with Running: not for a while that no person waits for
	}
}

// live returns the newest pod that is not over, nil where there is none.
func (c child) live() *corev1.Pod {
	for _, pod := range c.pods {
		if pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
			return pod
		}
	}
	return nil
}

// nodeSilent reports whether the node of a pod that runs is not heard of: Kubernetes then takes Ready from the pod, whose containers were
// ready when last seen. A pod with conditions of its own may miss those.
func nodeSilent(pod *corev1.Pod) bool {
	if len(pod.Spec.ReadinessGates) > 0 {
		return false
	}
	ready, containers := podCondition(pod, corev1.PodReady), podCondition(pod, corev1.ContainersReady)
	return ready.Status == corev1.ConditionFalse && containers.Status == corev1.ConditionTrue
}

// silentSince is since when the node of the pod that runs is not heard of, nil where it is.
func (c child) silentSince() *metav1.Time {
	pod := c.live()
	if pod == nil || pod.Status.Phase != corev1.PodRunning || !nodeSilent(pod) {
		return nil
	}
	return timeOf(podCondition(pod, corev1.PodReady).LastTransitionTime)
}

// abandonedAt is when nobody waits any more for a Job's pod to end: its node has not answered for so long, or the Job is not gone for so
// long after it should be.
func (c child) abandonedAt(limit time.Duration) (at time.Time, doubtful bool) {
	if since := c.silentSince(); since != nil {
		return since.Add(limit), true
	}
	if !c.deleting() {
		return at, false
	}
	grace := v1alpha1.Or(c.job.Spec.Template.Spec.TerminationGracePeriodSeconds, v1alpha1.DefaultTermination)
	return c.job.DeletionTimestamp.Add(time.Duration(grace)*time.Second + limit), true
}

func (c child) abandoned(limit time.Duration, now time.Time) bool {
	at, doubtful := c.abandonedAt(limit)
	return doubtful && !at.After(now)
}

// leave makes an attempt that is abandoned one that came to nothing.
func (c child) leave(f walk.Fact, limit time.Duration, now time.Time) walk.Fact {
	at := c.underWayNow()
	underWay := f.State == v1alpha1.StageRunning || f.State == v1alpha1.StageStopping
	if !underWay || !at.abandoned(limit, now) {
		return f
	}
	return c.nothing()
}

// podCondition returns a pod's condition of a type, an empty one where it has none.
func podCondition(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if k := &pod.Status.Conditions[i]; k.Type == t {
			return k
		}
	}
	return &corev1.PodCondition{}
}

// disruption names what ended the last pod of a Job that goes on with another, nothing where that is not known.
func (c child) disruption() (reason, message string) {
	if k := podCondition(c.pods[0], corev1.DisruptionTarget); k.Status == corev1.ConditionTrue {
		return reasonDisrupted, fmt.Sprintf("its pod was disrupted (%s); another one resumes from the checkpoint", k.Reason)
	}
	return "", ""
}

// image is that of the stage's container, with what the node has under that name.
func image(pod *corev1.Pod) string {
	s := containerStatus(pod)
	switch {
	case s == nil || s.Image == "":
		return "its image"
	case s.ImageID == "" || s.ImageID == s.Image:
		return s.Image
	}
	return fmt.Sprintf("%s (%s)", s.Image, s.ImageID[strings.LastIndex(s.ImageID, "@")+1:])
}

// containerStatus returns what is known of the stage's container, nil where that is nothing.
func containerStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == containerName {
			return s
		}
	}
	return nil
}

// terminated returns how the stage's container ended, nil while it has not.
func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if s := containerStatus(pod); s != nil {
		return s.State.Terminated
	}
	return nil
}

// ran reports whether the stage's container ever started.
func ran(pod *corev1.Pod) bool {
	s := containerStatus(pod)
	return s != nil && (s.State.Running != nil || s.State.Terminated != nil && !s.State.Terminated.StartedAt.IsZero())
}

var (
	digestPattern      = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	reasonPattern      = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`) // of Kubernetes
	measurementPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,26}$`)
	metricPattern      = regexp.MustCompile(`^[A-Za-z][^\pC\pZ]*$`) // of an output with its name: MeanSquaredError/box
)

// checkOutcome reports an answer that is not of this attempt, or that no status could hold.
func checkOutcome(o *stage.Outcome, name, inputHash string) error {
	if o.Stage != name || o.InputHash != inputHash {
		return errors.New("it is of another stage or of other inputs")
	}
	if name == walk.Publish {
		return nil
	}
	if o.Leaf == nil || !digestPattern.MatchString(o.Leaf.Digest) {
		return fmt.Errorf("it names no leaf")
	}
	if o.Leaf.Samples < 0 || o.Leaf.Changed < 0 || o.Leaf.Changed > o.Leaf.Samples {
		return errors.New("the samples that its leaf changed are not among those it was measured on")
	}
	if o.Awaits != "" && !measurementPattern.MatchString(o.Awaits) {
		return errors.New("what it awaits is no measurement")
	}
	if o.Model != "" && !digestPattern.MatchString(o.Model) {
		return errors.New("its model is no digest")
	}
	if _, err := v1alpha1.ParseDecimal(o.LearningRate); o.LearningRate != "" && (err != nil || len(o.LearningRate) > v1alpha1.MaxMetricValue) {
		return errors.New("its learning rate is no decimal")
	}
	if o.Epochs < 0 || o.Epochs > v1alpha1.MostEpochs {
		return errors.New("nobody asked for so many epochs")
	}
	metrics := [][]v1alpha1.MetricValue{o.Leaf.Metrics}
	if name == walk.Baseline {
		if o.Baseline == nil || !digestPattern.MatchString(o.Baseline.ModelDigest) || !digestPattern.MatchString(o.Baseline.DatasetDigest) {
			return fmt.Errorf("it pins no model and dataset")
		}
		metrics = append(metrics, o.Baseline.Metrics)
	}
	for _, list := range metrics {
		if err := checkMetrics(list); err != nil {
			return err
		}
	}
	return nil
}

func checkMetrics(list []v1alpha1.MetricValue) error {
	seen := map[string]bool{}
	for _, m := range list {
		if _, err := v1alpha1.ParseDecimal(m.Value); err != nil || len(m.Value) > v1alpha1.MaxMetricValue || len(m.Name) > v1alpha1.MaxMetricName ||
			!metricPattern.MatchString(m.Name) || seen[m.Name] {
			return errors.New("its metrics are not names and decimals, each once")
		}
		seen[m.Name] = true
	}
	if len(list) > v1alpha1.MaxMetrics {
		return fmt.Errorf("%d metrics", len(list))
	}
	return nil
}

// timeOf is nil for no time.
func timeOf(t metav1.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// sentence is a text on one line, without a full stop.
func sentence(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ". ")
}
