package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
)

// leavesAnnotation is, in result.json, the names of the leaves that the pipeline has put beside it under their digests.
const leavesAnnotation = "espalier.dev/leaves"

// home is where a pipeline's order publishes.
type home struct {
	order *Order
	store *artifact.Store
	path  string
	log   *slog.Logger
	kept  []string // what was put there, and what stays
}

func homeOf(order *Order, store *artifact.Store, log *slog.Logger) *home {
	return &home{order: order, store: store, path: Home(order.Namespace, order.Pipeline), log: log}
}

func (h *home) uri() string { return h.store.String() + "/" + h.path }

// publish writes what was found where people look for it, and removes what an earlier answer left there. The leaf before stays under the
// name that holds its digest until the next time: somebody may have noted that a moment ago.
func (j *Job) publish(ctx context.Context, order *Order, store *artifact.Store, outcome *Outcome, log *slog.Logger) error {
	if order.Status == nil {
		return fault.As(fault.Spec, fmt.Errorf("%s: status is missing: publish needs it", OrderEnv))
	}
	h := homeOf(order, store, log)
	outcome.URI = h.uri()
	found := &Publication{Store: store, Tool: j.Tool, Selected: true}
	err := h.publish(ctx, found)
	if errors.Is(err, artifact.ErrNotFound) || errors.Is(err, artifact.ErrDamaged) {
		err = found.lost(ctx, h.path, err)
	}
	return fault.As(fault.Storage, err)
}

func (h *home) publish(ctx context.Context, found *Publication) error {
	stands, err := h.stands(ctx)
	if err != nil {
		return err
	}
	files, err := h.store.Published(ctx, h.path)
	if err != nil {
		return err
	}
	order, status := h.order, concluded(h.order, h.store, h.uri())
	if before := order.Status.Published; before != nil {
		h.kept = append(h.kept, DigestFile(before.Digest))
	}
	if status.Published != nil && status.Selected == nil { // that of an earlier generation, where this one came to no answer
		h.kept = append(h.kept, SelectedFile)
	}
	earlier := listed(stands, files)
	own := slices.Concat(earlier, h.kept)
	if status.Selected != nil {
		own = append(own, DigestFile(status.Selected.Digest))
	}
	found.Pipeline = &v1alpha1.OptimizationPipeline{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: order.Namespace, Name: order.Pipeline, UID: order.UID, CreationTimestamp: order.Created, Generation: order.Status.ObservedGeneration,
		},
		Spec:   order.Spec,
		Status: status,
	}
	if err := found.expand(ctx); err != nil {
		return err
	}
	if names := digestFiles(own); len(names) > 0 {
		found.Pipeline.Annotations = map[string]string{leavesAnnotation: strings.Join(names, " ")}
	}
	put := func(name string, content []byte) error { return h.put(ctx, name, content) }
	if err := found.Files(ctx, put); err != nil {
		return err
	}
	gone := slices.DeleteFunc(earlier, func(name string) bool { return slices.Contains(h.kept, name) })
	return h.store.Withdraw(ctx, h.path, gone)
}

// put writes a file, unless a later order was carried out since the last one.
func (h *home) put(ctx context.Context, name string, content []byte) error {
	if _, err := h.stands(ctx); err != nil {
		return err
	}
	at, err := h.store.Publish(ctx, h.path+"/"+name, content)
	if err == nil {
		h.log.Info("published", "uri", at, "bytes", len(content))
		h.kept = append(h.kept, name)
	}
	return err
}

// stands is the result that is published now, nil where there is none. It is an error where that of a later order is: this one's node was cut
// off from the cluster for a while, but not from the store. What cannot be read is replaced.
func (h *home) stands(ctx context.Context) (*v1alpha1.OptimizationPipeline, error) {
	data, err := h.store.GetPublished(ctx, h.path+"/"+ResultFile)
	if errors.Is(err, artifact.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := &v1alpha1.OptimizationPipeline{}
	if json.Unmarshal(data, found) != nil {
		return nil, nil
	}
	return found, h.superseded(found)
}

func (h *home) superseded(found *v1alpha1.OptimizationPipeline) error {
	remedy := fmt.Sprintf("remove %s from %s", ResultFile, h.uri())
	if found.UID != h.order.UID {
		if created := h.order.Created; !created.IsZero() && created.Before(&found.CreationTimestamp) {
			return fmt.Errorf("what is published is of a later pipeline of the name, made at %s, not %s: if it is of another cluster, give each a store of its own, or %s",
				utc(found.CreationTimestamp), utc(created), remedy)
		}
		return nil
	}
	i := slices.IndexFunc(found.Status.Stages, func(s v1alpha1.StageStatus) bool { return s.Name == walk.Publish })
	if i < 0 {
		return nil
	}
	generation, attempt := h.order.Status.ObservedGeneration, found.Status.Stages[i].Attempt
	if found.Generation < generation || found.Generation == generation && attempt <= h.order.Attempt {
		return nil
	}
	return fmt.Errorf("what is published is newer, of generation %d and attempt %d, not %d and %d: if the pipeline was restored from a backup, %s",
		found.Generation, attempt, generation, h.order.Attempt, remedy)
}

func utc(t metav1.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// listed are those of a folder's files that publications before this one may have put there: leaves by stage, the selected one and, under
// their digests, those that the result names.
func listed(stands *v1alpha1.OptimizationPipeline, files []string) []string {
	var own []string
	if stands != nil {
		own = strings.Fields(stands.Annotations[leavesAnnotation])
		if s := stands.Status.Selected; s != nil {
			own = append(own, DigestFile(s.Digest))
		}
		if p := stands.Status.Published; p != nil {
			own = append(own, DigestFile(p.Digest))
		}
	}
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		return name != SelectedFile && path.Dir(name) != path.Dir(LeafFile("")) && !slices.Contains(own, name)
	})
}

// digestFiles are the names among some that hold a leaf's digest, each once.
func digestFiles(names []string) []string {
	out := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, "leaf-") })
	slices.Sort(out)
	return slices.Compact(out)
}

// published reports whether an order to publish was carried out: the result says of which order it is, and the name for the selected leaf,
// which is written last, stands for the leaf that it says.
func published(ctx context.Context, order *Order, store *artifact.Store, outcome *Outcome) error {
	h := homeOf(order, store, nil)
	data, err := store.GetPublished(ctx, h.path+"/"+ResultFile)
	if errors.Is(err, artifact.ErrNotFound) {
		err = fmt.Errorf("%w: %w", errNoResult, err)
	}
	if err != nil {
		return fault.As(fault.Storage, err)
	}
	var found v1alpha1.OptimizationPipeline
	if err := json.Unmarshal(data, &found); err != nil {
		return fault.As(fault.Storage, fmt.Errorf("%w: %s: %w", errNoResult, ResultFile, err))
	}
	if !slices.ContainsFunc(found.Status.Stages, func(s v1alpha1.StageStatus) bool {
		return s.Name == walk.Publish && s.State == v1alpha1.StageCompleted && s.InputHash == order.InputHash
	}) {
		return fault.As(fault.Storage, fmt.Errorf("%w: what is published is something else", errNoResult))
	}
	want, has := "", ""
	if s := found.Status.Selected; s != nil {
		want = s.Digest
	}
	switch leaf, err := store.GetPublished(ctx, h.path+"/"+SelectedFile); {
	case err == nil:
		has = artifact.Digest(leaf)
	case !errors.Is(err, artifact.ErrNotFound):
		return fault.As(fault.Storage, err)
	}
	if has != want && (want != "" || found.Status.Published == nil) { // that of an earlier generation stands where this one came to no answer
		return fault.As(fault.Storage, fmt.Errorf("%w: %s is not the leaf that %s says", errNoResult, SelectedFile, ResultFile))
	}
	outcome.URI = h.uri()
	return nil
}

// concluded is the status as it is once this order is carried out.
func concluded(order *Order, store *artifact.Store, home string) v1alpha1.OptimizationPipelineStatus {
	now, status := metav1.Now(), order.Status
	facts := walk.RecordedFacts(status, status.ObservedGeneration, status.Rerun)
	facts.Publish = true
	facts.Stages[walk.Publish] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: order.Attempt, InputHash: order.InputHash, Ended: &now}
	d := walk.Decide(&order.Spec, facts, now.Time)
	return d.Status(facts, walk.Shown{
		Generation: status.ObservedGeneration, Now: now.Time, Previous: status, AlgorithmVersion: status.AlgorithmVersion, Rerun: status.Rerun,
		StoredURI:    func(digest string) string { return store.String() + "/" + artifact.BlobName(digest) },
		PublishedURI: func(digest string) string { return home + "/" + DigestFile(digest) },
	})
}
