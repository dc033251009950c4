package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
)

// A search's Job is as any stage's. Where the pipeline allows more than one, others make trials beside it, ahead of it: helpers. Nothing is asked of
// them: they are there while the search runs, in places that nobody waits for, and what becomes of them is nobody's business.

const (
	// helpersKey is what setbacks know helpers by.
	helpersKey = "helpers of " + walk.Search
	// helpersLook is how often it is looked whether somebody waits for the places of helpers.
	helpersLook = 10 * time.Second
)

// help makes of a stage's Job one that makes trials beside it. The stage's Job owns it, so that it goes with that; but it does not control it,
// or Kueue would take the one for a part of the other and not count it.
func (a attempt) help(job *batchv1.Job) {
	own := map[string]string{HelpsLabel: a.after.job, HelperLabel: strconv.Itoa(int(a.after.helps))}
	job.Labels, job.Spec.Template.Labels = with(job.Labels, own), with(job.Spec.Template.Labels, own)
	job.Name = a.after.name(a.pipeline, a.stage.Name, a.stage.InputHash, a.stage.Attempt)
	job.OwnerReferences = []metav1.OwnerReference{{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Name: a.after.job, UID: a.after.uid}}
}

// helps is the name of the Job that this one helps, "" of any other Job.
func (c child) helps() string {
	name := c.job.Labels[HelpsLabel]
	if !slices.ContainsFunc(c.job.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Job" && o.Name == name }) {
		return ""
	}
	return name
}

// number is a helper's, from 1.
func (c child) number() int32 {
	n, err := strconv.ParseInt(c.job.Labels[HelperLabel], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// helpers lists the Jobs that help a pipeline's search, with their pods.
func (r *Reconciler) helpers(ctx context.Context, p *v1alpha1.OptimizationPipeline) ([]child, error) {
	if p.Spec.Search == nil {
		return nil, nil
	}
	all, err := r.jobs(ctx, client.InNamespace(p.Namespace), client.MatchingLabels{PipelineLabel: p.Name, StageLabel: walk.Search})
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(all, func(c child) bool { return c.helps() == "" })
	for i := range out {
		r.created.forget(client.ObjectKeyFromObject(out[i].job))
		if out[i].pods, err = podsOf(ctx, r.Client, out[i].job, client.MatchingFields{ownerIndex: string(out[i].job.UID)}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// searching is the Job of a search that runs here, and is to go on; nil where there is none.
func (v *view) searching() *child {
	fact := v.facts.Stages[walk.Search]
	if v.pipeline.Spec.Search == nil || fact.State != v1alpha1.StageRunning {
		return nil
	}
	for i := range v.seen.children {
		c := &v.seen.children[i]
		if c.stage() == walk.Search && c.job.Name == fact.Job && c.inFlight() && c.succeeded() == nil && !c.deleting() && !c.elsewhere() && !v.pointless(*c) {
			return c
		}
	}
	return nil
}

// help has as many Jobs help a search as its pipeline allows, and no others. They give way where somebody waits for a place.
func (r *Reconciler) help(ctx context.Context, v *view) error {
	leader, want := v.searching(), int32(0)
	if leader != nil && !v.contended {
		want = search.Helpers(&v.pipeline.Spec)
	}
	there := map[int32]bool{}
	for _, h := range v.seen.helpers {
		if n := h.number(); leader != nil && h.helps() == leader.job.Name && n > 0 && n <= want && !h.deleting() {
			there[n] = true
			if r.places.limit > 0 && h.inFlight() {
				v.lookAgain(helpersLook)
			}
			continue
		}
		if !h.inFlight() {
			continue
		}
		if r.places.limit > 0 {
			v.lookAgain(retryTaken) // its place is free once it is gone
		}
		if h.deleting() {
			continue
		}
		if err := r.stop(ctx, h); err != nil {
			return err
		}
	}
	for n := int32(1); n <= want; n++ {
		if there[n] {
			continue
		}
		if err := r.startHelper(ctx, v, leader, n); err != nil {
			return err
		}
	}
	return nil
}

// helperOf is what makes a helper of an attempt's Job.
func helperOf(leader *child, number int32) following {
	return following{job: leader.job.Name, uid: leader.job.UID, helps: number}
}

// startHelper creates a helper, if there is a place that nobody waits for. What keeps it from being created is tried again after a while.
func (r *Reconciler) startHelper(ctx context.Context, v *view, leader *child, number int32) error {
	p, after := v.pipeline, helperOf(leader, number)
	if b, waits := r.setbacks.pending(setbackKey{p.UID, helpersKey}, p.Generation, v.rerun, v.now); waits {
		v.lookAgain(b.until.Sub(v.now))
		return nil
	}
	s := *v.decision.Stage(walk.Search)
	s.Attempt, s.InputHash = leader.attempt(), leader.job.Annotations[InputHashAnnotation]
	key := types.NamespacedName{Namespace: p.Namespace, Name: after.name(p, s.Name, s.InputHash, s.Attempt)}
	if r.created.recent(key, v.now) {
		return nil
	}
	job, err := r.build(v, &s, after)
	if err != nil {
		r.setBack(v, helpersKey, "", "", maxSetback)
		return nil
	}
	claims, err := r.exclusive(ctx, job)
	if err != nil {
		return err
	}
	if len(claims) > 0 { // the search has them
		r.setBack(v, helpersKey, "", "", maxSetback)
		return nil
	}
	at := client.ObjectKeyFromObject(p)
	if !r.places.spare(at, place{job: job.Name, exempt: job.Labels[QueueLabel] != "" && r.queues.there(v.now)}) {
		v.lookAgain(helpersLook)
		return nil
	}
	r.created.add(key, r.Clock.Now())
	err = r.Client.Create(ctx, job)
	if err == nil {
		return nil
	}
	r.created.forget(key)
	r.places.release(at, job.Name)
	switch {
	case apierrors.IsAlreadyExists(err): // it is on its way out
		v.lookAgain(retryTaken)
		return nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		reason, message := diagnoseRejection(sentence(err.Error()))
		r.Events.Eventf(p, nil, corev1.EventTypeWarning, reason, "Walk", "the search goes on without helper %d: %s", number, message)
		r.setBack(v, helpersKey, reason, message, retryRejected)
		return nil
	}
	return fmt.Errorf("create Job %s: %w", job.Name, err)
}

// unseenHelpers are the names of those that were just created.
func (r *Reconciler) unseenHelpers(v *view) []string {
	leader := v.searching()
	if leader == nil {
		return nil
	}
	var out []string
	for n := int32(1); n <= search.MostHelpers; n++ {
		name := helperOf(leader, n).name(v.pipeline, walk.Search, leader.job.Annotations[InputHashAnnotation], leader.attempt())
		if r.created.recent(types.NamespacedName{Namespace: v.pipeline.Namespace, Name: name}, v.now) {
			out = append(out, name)
		}
	}
	return out
}
