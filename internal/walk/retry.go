package walk

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

// maxBackoff bounds the wait between two attempts.
const maxBackoff = time.Hour

// retriesOf are how often what failed is tried again. What was lost is made again once in any case.
func retriesOf(spec *v1alpha1.OptimizationPipelineSpec, f Fact) int32 {
	retries := v1alpha1.Or(spec.RunPolicy.Retries, v1alpha1.DefaultRetries)
	if f.Reason == ReasonResultsLost {
		return max(retries, 1)
	}
	return retries
}

// mended reports whether it failed for what is mended elsewhere than in the pipeline, sooner or later: it is tried again without end, and
// counts against no retry.
func (f Fact) mended() bool { return f.State == v1alpha1.StageFailed && f.Reason == ReasonVersion }

var triedPattern = regexp.MustCompile(`^tried (\d+) times: `)

// mismatches returns how many attempts, one after the other, failed for the version of their image. The last one's message says it.
func mismatches(last *v1alpha1.StageFailure) int32 {
	if last == nil {
		return 0
	}
	reason, message := splitCause(last.Message)
	if reason != ReasonVersion {
		return 0
	}
	m := triedPattern.FindStringSubmatch(message)
	if m == nil {
		return 1
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return 1
	}
	return int32(n)
}

// failed decides between another attempt and giving up.
func (w *walk) failed(s *Stage) {
	retries, mended := retriesOf(w.spec, s.fact), s.fact.mended()
	if !s.fact.Retry || s.fact.failures() > retries && !mended {
		s.State = v1alpha1.StageFailed
		s.Message = cause(s.fact.Reason, s.fact.Message)
		return
	}
	s.State = v1alpha1.StagePending
	last := s.fact.Attempt
	if s.fact.LastFailure != nil {
		last = s.fact.LastFailure.Attempt
		s.fact.LastFailure = w.notAhead(*s.fact.LastFailure)
	}
	if mended {
		s.Reason, s.Message = s.fact.Reason, fmt.Sprintf("attempt %d failed and is followed by another: %s", last, s.fact.Message)
		return
	}
	s.Message = fmt.Sprintf("attempt %d failed, retry %d of %d: %s", last, s.fact.failures(), retries, cause(s.fact.Reason, s.fact.Message))
	s.Reason = ReasonRetrying
}

// notAhead has a failure be of now where a clock that is ahead says later: that is recorded, and the pause counts from it.
func (w *walk) notAhead(f v1alpha1.StageFailure) *v1alpha1.StageFailure {
	if f.Time != nil && f.Time.After(w.now) {
		now := metav1.NewTime(w.now)
		f.Time = &now
	}
	return &f
}

// retryAt is when the next attempt may start.
func (w *walk) retryAt(s *Stage) time.Time {
	ended := s.fact.Ended
	if last := s.fact.LastFailure; last != nil {
		ended = last.Time
	}
	if ended == nil {
		return time.Time{}
	}
	wait := time.Duration(v1alpha1.Or(w.spec.RunPolicy.BackoffSeconds, v1alpha1.DefaultBackoffSeconds)) * time.Second
	times := s.fact.failures()
	if s.fact.mended() { // not without a pause
		wait, times = max(wait, time.Second), mismatches(s.fact.LastFailure)
	}
	for range times - 1 {
		wait = max(wait, min(2*wait, maxBackoff)) // one that was asked for may be longer
	}
	if ended.After(w.now) {
		return w.now.Add(wait)
	}
	return ended.Add(wait)
}

// backingOff reports whether it is too early for the next attempt, and has the decision made again when it is not.
func (w *walk) backingOff(s *Stage) bool {
	if s.fact.State != v1alpha1.StageFailed {
		return false
	}
	at := w.retryAt(s)
	if !at.After(w.now) {
		return false
	}
	w.again(at)
	return true
}

// overdue fails an attempt that takes longer than it may, and has it stopped.
func (w *walk) overdue(s *Stage) {
	if s.State != v1alpha1.StageRunning || s.fact.Started == nil {
		return
	}
	deadline := w.spec.Deadline(s.Name)
	if at := s.fact.Started.Add(deadline); at.After(w.now) {
		w.again(at)
		return
	}
	s.State, s.Reason = v1alpha1.StageFailed, ReasonDeadline
	s.fact.Message = fmt.Sprintf("attempt %d took longer than activeDeadlineSeconds, %d; raise it, and the next attempt resumes from the checkpoint", s.fact.Attempt, int64(deadline.Seconds()))
	s.Message = cause(ReasonDeadline, s.fact.Message)
	w.d.Stop = append(w.d.Stop, s.Name)
}

// again has the decision made again at a time, or earlier.
func (w *walk) again(at time.Time) {
	if w.d.Again.IsZero() || at.Before(w.d.Again) {
		w.d.Again = at
	}
}
