package controllers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/internal/walk"
)

// counter counts a controller's requests to the API server, by verb and resource, events and watches left out, and its looks at
// pipelines.
type counter struct {
	mu       sync.Mutex
	requests map[string]int
	looks    int
}

func (c *counter) RoundTrip(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		path := strings.Split(r.URL.Path, "/")
		kind := path[len(path)-1]
		switch {
		case strings.HasSuffix(r.URL.Path, "/status"):
			kind = "status"
		case strings.Contains(r.URL.Path, "/jobs"):
			kind = "jobs"
		}
		if r.URL.Query().Get("watch") == "" && kind != "events" && strings.Contains(r.URL.Path, "/namespaces/") {
			c.mu.Lock()
			c.requests[r.Method+" "+kind]++
			c.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tweak has a controller counted.
func (c *counter) tweak(_ *Options, _ *ctrl.Options, r *Reconciler) {
	if r != nil {
		r.Client = looking{r.Client, c}
	}
}

type looking struct {
	client.Client
	c *counter
}

func (l looking) Get(ctx context.Context, key client.ObjectKey, object client.Object, o ...client.GetOption) error {
	l.c.mu.Lock()
	l.c.looks++
	l.c.mu.Unlock()
	return l.Client.Get(ctx, key, object, o...)
}

func (c *counter) now() (map[string]int, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.requests), c.looks
}

// TestAHealthyStageCostsOneCreateAndAtMostThreeStatusPatches, and is looked at a few times. docs/scale.md has what that comes to.
func TestAHealthyStageCostsOneCreateAndAtMostThreeStatusPatches(t *testing.T) {
	w := newWorld(t)
	c := &counter{requests: map[string]int{}}
	w.config = rest.CopyConfig(w.config)
	w.config.Wrap(c.RoundTrip)
	w.run(c.tweak)
	const pipelines = 5
	w.pipeline("first")
	w.settled("first", walk.ReasonAllStagesRun) // the caches are filled
	time.Sleep(2 * time.Second)
	before, lookedBefore := c.now()
	for i := range pipelines {
		w.pipeline(fmt.Sprint("p", i))
	}
	for i := range pipelines {
		w.settled(fmt.Sprint("p", i), walk.ReasonAllStagesRun)
	}
	time.Sleep(2 * time.Second)
	after, looks := c.now()
	for kind, n := range before {
		after[kind] -= n
	}
	const stages = pipelines * 5 // baseline, prune, cluster, pcqat, publish
	t.Logf("%d stages: %v, %d Reconciles", stages, after, looks-lookedBefore)
	patches := after["PATCH status"]
	delete(after, "PATCH status")
	if diff := cmp.Diff(map[string]int{"POST jobs": stages, "PATCH jobs": stages}, after); diff != "" {
		t.Errorf("requests besides status patches:\n%s", diff)
	}
	if patches > 3*stages {
		t.Errorf("%d status patches for %d stages", patches, stages)
	}
	if n := looks - lookedBefore; n > 5*stages {
		t.Errorf("%d Reconciles for %d stages", n, stages)
	}
	time.Sleep(3 * time.Second)
	rest, again := c.now()
	for kind, n := range before {
		rest[kind] -= n
	}
	delete(rest, "PATCH status")
	if diff := cmp.Diff(after, rest); diff != "" || again != looks {
		t.Errorf("at rest, pipelines are looked at %d times; requests:\n%s", again-looks, diff)
	}
}
