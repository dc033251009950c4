package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/test/controlplane"
)

var errKilled = errors.New("killed")

// fate is what happens to a controller at one of its writes.
type fate struct {
	at    int  // the write, from 1; 0: none
	after bool // the write reaches the server
	once  bool // only that write fails, and the controller lives
	panic bool // by panicking
}

// killer sees to a controller's fate.
type killer struct {
	fate
	mu    sync.Mutex
	count int
	dead  bool
	died  chan struct{}
}

func newKiller(f fate) *killer { return &killer{fate: f, died: make(chan struct{})} }

func (k *killer) write(do func() error) error {
	k.mu.Lock()
	if k.dead {
		k.mu.Unlock()
		return errKilled
	}
	k.count++
	hit := k.count == k.at
	k.dead = hit && !k.once
	k.mu.Unlock()
	if !hit {
		return do()
	}
	if k.after {
		if err := do(); err != nil {
			return err
		}
	}
	close(k.died)
	if k.panic {
		panic(errKilled)
	}
	return errKilled
}

// tweak gives a controller a client that kills it.
func (k *killer) tweak(_ *Options, o *ctrl.Options, _ *Reconciler) {
	o.NewClient = func(config *rest.Config, options client.Options) (client.Client, error) {
		c, err := client.NewWithWatch(config, options)
		if err != nil {
			return nil, err
		}
		return interceptor.NewClient(c, interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.CreateOption) error {
				return k.write(func() error { return c.Create(ctx, object, o...) })
			},
			Delete: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.DeleteOption) error {
				return k.write(func() error { return c.Delete(ctx, object, o...) })
			},
			Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, o ...client.PatchOption) error {
				return k.write(func() error { return c.Patch(ctx, object, patch, o...) })
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, o ...client.SubResourcePatchOption) error {
				return k.write(func() error { return c.SubResource(sub).Patch(ctx, object, patch, o...) })
			},
		}), nil
	}
}

// summary is what must be the same whatever happened on the way.
func summary(p *v1alpha1.OptimizationPipeline) []string {
	out := []string{p.Status.Progress, p.Status.Selected.Stage, p.Status.Selected.URI[strings.LastIndex(p.Status.Selected.URI, "/"):]}
	for _, s := range p.Status.Stages {
		hash := s.InputHash
		if s.Name == walk.Publish {
			hash = "" // names the world
		}
		out = append(out, fmt.Sprintf("%s %s attempt %d %s", s.Name, s.State, s.Attempt, hash))
	}
	return out
}

// TestAControllerKilledAtAnyWriteIsReplacedWithoutATrace kills a controller before and after each of its writes; another goes on.
func TestAControllerKilledAtAnyWriteIsReplacedWithoutATrace(t *testing.T) {
	t.Parallel()
	fresh := func(t *testing.T) *world {
		w := newWorld(t)
		w.metrics["cluster"] = "400"
		return w
	}
	expiring := func(w *world) bool { // none is an orphan
		return !slices.ContainsFunc(w.jobs("p", ""), func(j batchv1.Job) bool { return j.Spec.TTLSecondsAfterFinished == nil })
	}
	quiet := newKiller(fate{})
	w := fresh(t)
	w.run(quiet.tweak)
	w.pipeline("p", bytes("500"))
	want := summary(w.settled("p", walk.ReasonConstraintsMet))
	w.eventually("the Jobs to be about to expire", func() bool { return expiring(w) })
	if quiet.count < 10 {
		t.Fatalf("only %d writes", quiet.count)
	}
	t.Logf("%d writes", quiet.count)
	for name, mode := range map[string]fate{
		"killed before": {}, "killed after": {after: true}, "fails before": {once: true}, "panics after": {once: true, after: true, panic: true},
	} {
		for at := 1; at <= quiet.count; at++ {
			if testing.Short() && at%5 != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s write %d", name, at), func(t *testing.T) {
				t.Parallel()
				w, k := fresh(t), mode
				k.at = at
				killing := newKiller(k)
				first := w.run(killing.tweak)
				w.pipeline("p", bytes("500"))
				select {
				case <-killing.died:
				case <-time.After(30 * time.Second):
					t.Skip("this walk took fewer writes")
				}
				if !k.once {
					first.stop()
					w.run()
				}
				if diff := cmp.Diff(want, summary(w.settled("p", walk.ReasonConstraintsMet))); diff != "" {
					t.Errorf("it ended otherwise:\n%s", diff)
				}
				if diff := cmp.Diff(map[string]int{"baseline": 1, "prune": 1, "cluster": 1, "publish": 1}, w.ran()); diff != "" {
					t.Errorf("stages ran more than once:\n%s", diff)
				}
				w.eventually("the Jobs to be about to expire", func() bool { return expiring(w) })
			})
		}
	}
}

func TestTwoControllersAtOnceDoNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics["pcqat"] = "400"
	w.run()
	w.run()
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		w.pipeline(name, bytes("500"))
	}
	for _, name := range names {
		p := w.settled(name, walk.ReasonConstraintsMet)
		for _, s := range p.Status.Stages {
			if s.Attempt != 1 {
				t.Errorf("%s: stage %s has %d attempts", name, s.Name, s.Attempt)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"baseline": 4, "prune": 4, "cluster": 4, "pcqat": 4, "publish": 4}, w.ran()); diff != "" {
		t.Errorf("runs:\n%s", diff)
	}
}

func TestAJobDeletedByHandIsReplaced(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]metav1.DeletionPropagation{
		"in the background": metav1.DeletePropagationBackground, "in the foreground": metav1.DeletePropagationForeground,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == "prune" && o.Attempt == 1} }
			w.run()
			w.pipeline("p")
			p := w.until("p", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
				return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
			})
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: stageStatus(&p.Status, "prune").Job}}
			if err := w.client.Delete(t.Context(), job, client.PropagationPolicy(policy)); err != nil {
				t.Fatal(err)
			}
			p = w.settled("p", walk.ReasonAllStagesRun)
			if got := stageStatus(&p.Status, "prune"); got.Attempt != 2 || got.State != v1alpha1.StageCompleted {
				t.Errorf("prune is %s as attempt %d", got.State, got.Attempt)
			}
			if got := w.ran()["baseline"]; got != 1 {
				t.Errorf("baseline ran %d times", got)
			}
		})
	}
}

func TestALostResultIsFoundInTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run()
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == "prune"} }
	w.pipeline("p")
	w.until("p", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
	})
	r.stop() // nobody looks while the stage ends and its pod goes
	job := w.jobs("p", "prune")[0]
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		t.Fatal(err)
	}
	order := w.played[len(w.played)-1]
	w.end(t.Context(), &pods.Items[0], &order, act{})
	w.eventually("the Job to be complete", func() bool {
		return w.jobs("p", "prune")[0].Status.Succeeded == 1 && !child{job: ptr.To(w.jobs("p", "prune")[0])}.inFlight()
	})
	if err := w.client.Delete(t.Context(), &pods.Items[0]); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.play = nil
	w.mu.Unlock()
	w.eventually("the pod to go", func() bool {
		err := w.client.Get(t.Context(), client.ObjectKeyFromObject(&pods.Items[0]), &corev1.Pod{})
		return client.IgnoreNotFound(err) == nil && err != nil
	})
	w.run()
	p := w.settled("p", walk.ReasonAllStagesRun)
	if got := stageStatus(&p.Status, "prune"); got.Attempt != 1 || !got.Reused || w.reads["prune"] != 1 {
		t.Errorf("prune: attempt %d, reused %v, read %d times", got.Attempt, got.Reused, w.reads["prune"])
	}
	for hash, n := range w.computed {
		if n > 1 {
			t.Errorf("%s was computed %d times", hash, n)
		}
	}
}

func TestADisruptedPodIsReplacedWithinTheAttempt(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]string{"node drained": "EvictionByEvictionAPI", "node gone": "DeletionByPodGC", "preempted": "PreemptionByScheduler"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			seen := 0
			w.play = func(o *stage.Order, _ *corev1.Pod) act {
				w.mu.Lock()
				defer w.mu.Unlock()
				if o.Stage != "prune" {
					return act{}
				}
				if seen++; seen > 1 {
					return act{}
				}
				now := metav1.Now()
				return act{status: &corev1.PodStatus{Phase: corev1.PodFailed,
					Conditions: []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now}},
					ContainerStatuses: []corev1.ContainerStatus{{Name: containerName, State: corev1.ContainerState{
						Terminated: &corev1.ContainerStateTerminated{ExitCode: 130, FinishedAt: now}}}},
				}}
			}
			w.run()
			w.pipeline("p")
			p := w.settled("p", walk.ReasonAllStagesRun)
			if got := stageStatus(&p.Status, "prune"); got.Attempt != 1 || got.State != v1alpha1.StageCompleted {
				t.Errorf("prune is %s as attempt %d", got.State, got.Attempt)
			}
			if seen != 2 {
				t.Errorf("%d pods", seen)
			}
		})
	}
}

func TestAJobOfSomebodyElseIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = true })
	hash := walk.BaselineHash(&p.Spec, walk.Versions{Algorithm: "7"})
	squatter := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: jobName(p, walk.Baseline, hash, 1)}, Spec: batchv1.JobSpec{
		Suspend:  ptr.To(true),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "none"}}}},
	}}
	if err := w.client.Create(t.Context(), squatter); err != nil {
		t.Fatal(err)
	}
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Version = "7" })
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Suspend = false })
	p = w.waits("p", reasonJobNameTaken)
	if got := stageStatus(&p.Status, walk.Baseline); !strings.Contains(got.Message, squatter.Name) {
		t.Errorf("it does not say which: %s", got.Message)
	}
	if err := w.client.Delete(t.Context(), squatter, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.settled("p", walk.ReasonAllStagesRun)
}

// lagging gives a controller a cache whose pods are for ever as they were before they ended, as it is for a while when the watch of
// Jobs is back before that of pods.
func lagging(_ *Options, o *ctrl.Options, _ *Reconciler) {
	o.NewClient = func(config *rest.Config, options client.Options) (client.Client, error) {
		c, err := client.NewWithWatch(config, options)
		if err != nil {
			return nil, err
		}
		return interceptor.NewClient(c, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				err := c.List(ctx, list, o...)
				if pods, ok := list.(*corev1.PodList); ok {
					for i := range pods.Items {
						pods.Items[i].Status = corev1.PodStatus{Phase: corev1.PodRunning}
					}
				}
				return err
			},
		}), nil
	}
}

func TestAnOutcomeThatTheCacheHasNotYetIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		if o.Stage == "pcqat" {
			return act{exit: 137, reason: reasonOOMKilled}
		}
		return act{}
	}
	w.run(lagging)
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) { p.Spec.RunPolicy.Retries = ptr.To[int32](0) })
	p := w.until("p", "over", func(p *v1alpha1.OptimizationPipeline) bool {
		return meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionReconciling)
	})
	for _, s := range p.Status.Stages {
		if s.Attempt > 1 {
			t.Errorf("stage %s took %d attempts", s.Name, s.Attempt)
		}
	}
	if got := stageStatus(&p.Status, "pcqat"); got.State != v1alpha1.StageFailed || !strings.HasPrefix(got.Message, reasonOOMKilled) {
		t.Errorf("pcqat is %s: %s", got.State, got.Message)
	}
}

// TestTheAPIServerMayRestart needs a control plane of its own.
func TestTheAPIServerMayRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane of its own")
	}
	own := controlplane.Start(t, controlplane.Options{ControllerManager: true})
	w := newWorldOn(t, own.Config)
	r := w.run()
	hang := true
	w.play = func(o *stage.Order, _ *corev1.Pod) act {
		w.mu.Lock()
		defer w.mu.Unlock()
		return act{hang: hang && o.Stage == "prune"}
	}
	w.pipeline("p")
	w.until("p", "running prune", func(p *v1alpha1.OptimizationPipeline) bool {
		return stageStatus(&p.Status, "prune").State == v1alpha1.StageRunning
	})
	if err := own.StopServer(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := own.StartServer(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	hang = false
	w.mu.Unlock()
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{StageLabel: "prune"}); err != nil {
		t.Fatal(err)
	}
	order := w.played[slices.IndexFunc(w.played, func(o stage.Order) bool { return o.Stage == "prune" })]
	w.end(t.Context(), &pods.Items[0], &order, act{})
	p := w.settled("p", walk.ReasonAllStagesRun)
	for _, s := range p.Status.Stages {
		if s.Attempt != 1 {
			t.Errorf("stage %s took %d attempts", s.Name, s.Attempt)
		}
	}
	r.stop()
}

// behind is a client whose cache has new Jobs, but everything else only as it was.
type behind struct {
	client.Client
	pipeline v1alpha1.OptimizationPipeline
	jobs     batchv1.JobList
	pods     corev1.PodList
}

func (b *behind) Get(ctx context.Context, key client.ObjectKey, object client.Object, o ...client.GetOption) error {
	if p, ok := object.(*v1alpha1.OptimizationPipeline); ok {
		b.pipeline.DeepCopyInto(p)
		return nil
	}
	return b.Client.Get(ctx, key, object, o...)
}

func (b *behind) List(ctx context.Context, list client.ObjectList, o ...client.ListOption) error {
	if err := b.Client.List(ctx, list, o...); err != nil {
		return err
	}
	switch list := list.(type) {
	case *batchv1.JobList:
		for i := range list.Items {
			for j := range b.jobs.Items {
				if list.Items[i].UID == b.jobs.Items[j].UID {
					list.Items[i] = b.jobs.Items[j]
				}
			}
		}
	case *corev1.PodList:
		for i := range list.Items {
			for j := range b.pods.Items {
				if list.Items[i].UID == b.pods.Items[j].UID {
					list.Items[i] = b.pods.Items[j]
				}
			}
		}
	}
	return nil
}

func TestAControllerWhoseCacheIsBehindStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(o *stage.Order, _ *corev1.Pod) act { return act{hang: o.Stage == "prune" || o.Stage == "cluster"} }
	w.run()
	w.pipeline("p")
	running := func(name string) *v1alpha1.OptimizationPipeline {
		return w.until("p", "running "+name, func(p *v1alpha1.OptimizationPipeline) bool {
			return stageStatus(&p.Status, name).State == v1alpha1.StageRunning
		})
	}
	late := &behind{pipeline: *running("prune")}
	for _, list := range []client.ObjectList{&late.jobs, &late.pods} {
		if err := w.client.List(t.Context(), list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
	}
	prune := slices.IndexFunc(late.pods.Items, func(p corev1.Pod) bool { return p.Labels[StageLabel] == "prune" })
	w.mu.Lock()
	order := w.played[len(w.played)-1]
	w.mu.Unlock()
	w.end(t.Context(), &late.pods.Items[prune], &order, act{})
	running("cluster")
	before := w.jobs("p", "cluster")

	second := w.run(func(_ *Options, _ *ctrl.Options, r *Reconciler) {
		if r != nil {
			late.Client, r.Client = r.Client, late
		}
	})
	w.eventually("the late controller to look", func() bool {
		_, err := second.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&late.pipeline)})
		return err == nil
	})
	after := w.jobs("p", "cluster")
	if len(after) != 1 || after[0].UID != before[0].UID || after[0].DeletionTimestamp != nil {
		t.Errorf("the Job of cluster was stopped: %+v", after)
	}
}
