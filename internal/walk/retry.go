package walk

import (
	"fmt"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

const (
	// maxBackoff bounds the wait between two attempts.
	maxBackoff = time.Hour
	// maxSkew is how far a clock that tells when an attempt ended may be ahead. Beyond that its word does not count.
	maxSkew = time.Minute
)

// retriesOf are how often what failed is tried again. What was lost is made again once in any case.
func retriesOf(spec *v1alpha1.OptimizationPipelineSpec, f Fact) int32 {
	retries := v1alpha1.Or(spec.RunPolicy.Retries, v1alpha1.DefaultRetries)
	if f.Reason == ReasonResultsLost {
		return max(retries, 1)
	}
	return retries
}

// failed decides between another attempt and giving up.
func (w *walk) failed(s *Stage) {
	retries, mended := retriesOf(w.spec, s.fact), s.fact.Reason == ReasonVersion // elsewhere than in the pipeline, sooner or later
	if !s.fact.Retry || s.fact.failures() > retries && !mended {
		s.State = v1alpha1.StageFailed
		s.Message = cause(s.fact.Reason, s.fact.Message)
		return
	}
	s.State = v1alpha1.StagePending
	last := s.fact.Attempt
	if s.fact.LastFailure != nil {
		last = s.fact.LastFailure.Attempt
	}
	if mended {
		s.Reason, s.Message = s.fact.Reason, fmt.Sprintf("attempt %d failed and is followed by another: %s", last, s.fact.Message)
		return
	}
	s.Message = fmt.Sprintf("attempt %d failed, retry %d of %d: %s", last, s.fact.failures(), retries, cause(s.fact.Reason, s.fact.Message))
	s.Reason = ReasonRetrying
}

// retryAt is when the next attempt may start.
func (w *walk) retryAt(s *Stage) time.Time {
	if s.fact.Ended == nil || s.fact.Ended.Sub(w.now) > maxSkew {
		return time.Time{}
	}
	wait := time.Duration(v1alpha1.Or(w.spec.RunPolicy.BackoffSeconds, v1alpha1.DefaultBackoffSeconds)) * time.Second
	if s.fact.Reason == ReasonVersion { // tried without end: not without a pause
		wait = max(wait, time.Second)
	}
	for range s.fact.failures() - 1 {
		wait = min(2*wait, maxBackoff)
	}
	return s.fact.Ended.Add(wait)
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
