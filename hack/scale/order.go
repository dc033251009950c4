package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// measureOrder walks many pipelines that want few places, with one of another namespace that comes when a third of them is done, and a manager
// that is replaced when a half is.
func measureOrder(ctx context.Context, o options, c client.Client, n *nodes, restart func() error) error {
	start := time.Now()
	for i := range o.pipelines {
		if err := c.Create(ctx, pipeline(many, fmt.Sprintf("p%04d", i), o.jobs)); err != nil {
			return err
		}
	}
	if err := n.await(ctx, many, o.pipelines/3); err != nil {
		return err
	}
	late := types.NamespacedName{Namespace: few, Name: "late"}
	before := n.starts()
	if err := c.Create(ctx, pipeline(late.Namespace, late.Name, o.jobs)); err != nil {
		return err
	}
	if err := n.await(ctx, many, o.pipelines/2); err != nil {
		return err
	}
	if err := restart(); err != nil {
		return err
	}
	if err := n.await(ctx, many, o.pipelines); err != nil {
		return err
	}
	if err := n.await(ctx, few, 1); err != nil {
		return err
	}
	place := slices.Index(n.starts()[len(before):], late) + 1
	first, median, last, behind := finishes(n.times(many), start)
	fmt.Println("| pipelines × Jobs | in flight | first Ready | median Ready | makespan | late pipeline's first pod | most places behind its turn |\n|---|---|---|---|---|---|---|")
	fmt.Printf("| %d × %d | %d | %.3f | %.3f | %.1f s | %d. | %d |\n", o.pipelines, o.jobs, o.inFlight,
		first.Seconds()/last.Seconds(), median.Seconds()/last.Seconds(), last.Seconds(), place, behind)
	return nil
}

// finishes says when the first, the middle and the last pipeline came to its end, and by how many places at most one of them came later than
// those created after it.
func finishes(done map[string]time.Time, start time.Time) (first, median, last time.Duration, behind int) {
	names := slices.SortedFunc(maps.Keys(done), func(a, b string) int {
		if c := done[a].Compare(done[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	for turn, name := range slices.Sorted(maps.Keys(done)) { // by name, which is by creation
		behind = max(behind, slices.Index(names, name)-turn)
	}
	at := func(i int) time.Duration { return done[names[i]].Sub(start) }
	return at(0), at(len(names) / 2), at(len(names) - 1), behind
}

// starts are the pipelines whose pods started, in their order.
func (n *nodes) starts() []types.NamespacedName {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.started)
}

// times are when the pipelines of a namespace came to their end.
func (n *nodes) times(namespace string) map[string]time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.done[namespace])
}
