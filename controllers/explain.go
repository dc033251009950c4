package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
)

const (
	// patienceJob and patiencePod are how long a Job may have no pod, and a pod no running container, before its events are read.
	patienceJob = 5 * time.Second
	patiencePod = 10 * time.Second
	// askAgain is how long an explanation stands.
	askAgain = time.Minute
	// recentEvent is how old a warning may be that still explains something.
	recentEvent = 5 * time.Minute
)

// explanations are what events said of Jobs that do not get going. Reading them is the one thing that is not read from a cache, so it is
// done once a minute a Job at most, and a few times a second in all.
type explanations struct {
	limit *rate.Limiter

	mu    sync.Mutex
	known map[types.UID]explanation
}

type explanation struct {
	at              time.Time
	reason, message string
}

func newExplanations() *explanations {
	return &explanations{limit: rate.NewLimiter(5, 10), known: map[types.UID]explanation{}}
}

func (e *explanations) of(uid types.UID, now time.Time) (explanation, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, known := e.known[uid]
	return k, known && now.Sub(k.at) < askAgain
}

func (e *explanations) set(uid types.UID, k explanation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for u, old := range e.known {
		if k.at.Sub(old.at) > 2*askAgain {
			delete(e.known, u)
		}
	}
	e.known[uid] = k
}

// explain says why Jobs have no running pod for long, where neither the Job nor the pod itself does.
func (r *Reconciler) explain(ctx context.Context, v *view) error {
	for _, c := range v.seen.all() {
		fact := v.facts.Stages[c.stage()]
		if fact.State != v1alpha1.StageQueued || fact.Reason != "" || !c.is(fact.Job) || !c.inFlight() || c.elsewhere() {
			continue
		}
		who, since, patience := client.Object(c.job), c.job.CreationTimestamp.Time, patienceJob
		if c.job.Status.StartTime != nil {
			since = c.job.Status.StartTime.Time // a queue may have admitted it long after it was created
		}
		if pod := c.live(); pod != nil {
			who, since, patience = pod, pod.CreationTimestamp.Time, patiencePod
		}
		if wait := patience - v.now.Sub(since); wait > 0 {
			v.lookAgain(wait)
			continue
		}
		k, err := r.explained(ctx, v, who)
		if err != nil {
			return err
		}
		fact.Reason, fact.Message = k.reason, k.message
		v.facts.Stages[c.stage()] = fact
	}
	return nil
}

// explained reads the newest telling event of a Job or pod, unless that was done lately.
func (r *Reconciler) explained(ctx context.Context, v *view, who client.Object) (explanation, error) {
	k, fresh := r.explanations.of(who.GetUID(), v.now)
	if fresh {
		v.lookAgain(askAgain - v.now.Sub(k.at))
		return k, nil
	}
	if !r.explanations.limit.AllowN(v.now, 1) {
		v.lookAgain(patienceJob)
		return k, nil
	}
	var list corev1.EventList
	if err := r.Live.List(ctx, &list, client.InNamespace(who.GetNamespace()), client.MatchingFields{"involvedObject.uid": string(who.GetUID())}); err != nil {
		return k, fmt.Errorf("list the events of %s: %w", who.GetName(), err)
	}
	k = newest(list.Items, v.now)
	r.explanations.set(who.GetUID(), k)
	v.lookAgain(askAgain)
	return k, nil
}

// newest returns what the newest warning that means something says.
func newest(events []corev1.Event, now time.Time) explanation {
	k := explanation{at: now}
	var last time.Time
	for i := range events {
		e := &events[i]
		at := eventTime(e)
		reason, message := diagnoseEvent(e.Reason, e.Message)
		if e.Type != corev1.EventTypeWarning || reason == "" || now.Sub(at) > recentEvent || at.Before(last) {
			continue
		}
		last, k.reason, k.message = at, reason, message
	}
	return k
}

// eventTime is when an event last happened.
func eventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	default:
		return e.EventTime.Time
	}
}
