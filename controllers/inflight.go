package controllers

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"espalier.dev/espalier/internal/walk"
)

// publishStage ends a walk.
const publishStage = walk.Publish

// places bounds the Jobs in flight across the cluster and gives a claim that only one node may mount to one Job at a time. It is kept in
// memory and told anew at every reconcile, the first time by everything the cache holds: what is in flight and what wants to start. Who
// is served next is choose's to say.
type places struct {
	limit int                        // 0: none
	wake  func(types.NamespacedName) // has a pipeline reconciled, without waiting

	mu    sync.Mutex
	held  map[types.NamespacedName][]place // Jobs in flight, by pipeline
	queue []ticket                         // in order
}

// place is what a Job in flight takes up.
type place struct {
	job    string
	claims []string // it mounts; of the pipeline's namespace
	exempt bool     // a queue counts it
}

type ticketKey struct {
	pipeline types.NamespacedName
	stage    string
}

func newPlaces(limit int, wake func(types.NamespacedName)) *places {
	return &places{limit: limit, wake: wake, held: map[types.NamespacedName][]place{}}
}

// observe tells what a pipeline has in flight and which stages it wants to start, and wakes those who may go on because of it. Both are
// told at once: a stage that follows another one asks for its place before anybody else is woken. Places of Jobs that were just created,
// and that nobody has seen yet, are kept.
func (s *places) observe(pipeline types.NamespacedName, inFlight []place, unseen []string, wanted []ticket) {
	s.mu.Lock()
	for _, p := range s.held[pipeline] {
		if slices.Contains(unseen, p.job) {
			inFlight = append(inFlight, p)
		}
	}
	s.hold(pipeline, inFlight)
	s.queue = slices.DeleteFunc(s.queue, func(t ticket) bool { return t.pipeline == pipeline })
	for _, t := range wanted {
		s.enqueue(t)
	}
	woken := s.woken(pipeline)
	s.mu.Unlock()
	s.wakeUp(woken)
}

// acquire takes a place for a stage's Job. Where there is none the stage waits, and reason and message say for what.
func (s *places) acquire(t ticket, job string) (reason, message string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(q ticket) bool { return q.ticketKey == t.ticketKey }
	if !slices.ContainsFunc(s.queue, same) {
		s.enqueue(t)
	}
	if slices.ContainsFunc(s.ready(), same) {
		s.queue = slices.DeleteFunc(s.queue, same)
		s.held[t.pipeline] = append(s.held[t.pipeline], place{job: job, claims: t.claims, exempt: t.exempt})
		return "", "", true
	}
	if claim, by := s.blocked(t, nil); claim != "" {
		return reasonWaitForVolume, fmt.Sprintf("claim %s can be mounted by one node at a time, and Job %s has it", claim, by), false
	}
	return reasonInFlightLimit, fmt.Sprintf("%d Jobs are in flight in the cluster, as many as the operator allows: %s", s.limit, s.holders(t.pipeline.Namespace)), false
}

// spare takes a place that nobody waits for, if there is one.
func (s *places) spare(pipeline types.NamespacedName, p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit > 0 && !p.exempt && (s.count() >= s.limit || len(s.ready()) > 0) {
		return false
	}
	s.held[pipeline] = append(s.held[pipeline], p)
	return true
}

// release gives a Job's place back: it was not created after all.
func (s *places) release(pipeline types.NamespacedName, job string) {
	s.mu.Lock()
	s.hold(pipeline, slices.DeleteFunc(slices.Clone(s.held[pipeline]), func(p place) bool { return p.job == job }))
	woken := s.woken(pipeline)
	s.mu.Unlock()
	s.wakeUp(woken)
}

// withdraw takes a pipeline out of the queue until it asks again, so that nobody waits for one that cannot be looked at.
func (s *places) withdraw(pipeline types.NamespacedName) {
	s.mu.Lock()
	before := len(s.queue)
	s.queue = slices.DeleteFunc(s.queue, func(t ticket) bool { return t.pipeline == pipeline })
	var woken []types.NamespacedName
	if len(s.queue) < before {
		woken = s.woken(pipeline)
	}
	s.mu.Unlock()
	s.wakeUp(woken)
}

// contended reports whether somebody waits because the places are taken.
func (s *places) contended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == 0 || s.count() < s.limit {
		return false
	}
	return slices.ContainsFunc(s.queue, func(t ticket) bool {
		claim, _ := s.blocked(t, nil)
		return !t.exempt && claim == ""
	})
}

// woken returns the pipelines that there are places for now, besides the one that is reconciled. Each is woken once: then it asks again.
func (s *places) woken(besides types.NamespacedName) []types.NamespacedName {
	now := map[ticketKey]bool{}
	for _, t := range s.ready() {
		now[t.ticketKey] = true
	}
	var out []types.NamespacedName
	for i := range s.queue {
		t := &s.queue[i]
		if !now[t.ticketKey] || t.woken || t.pipeline == besides {
			continue
		}
		t.woken = true
		if !slices.Contains(out, t.pipeline) {
			out = append(out, t.pipeline)
		}
	}
	return out
}

func (s *places) wakeUp(pipelines []types.NamespacedName) {
	for _, p := range pipelines {
		s.wake(p)
	}
}

func (s *places) hold(pipeline types.NamespacedName, jobs []place) {
	if len(jobs) == 0 {
		delete(s.held, pipeline)
		return
	}
	s.held[pipeline] = jobs
}

func (s *places) enqueue(t ticket) {
	at, _ := slices.BinarySearchFunc(s.queue, t, ticket.compare)
	s.queue = slices.Insert(s.queue, at, t)
}

// ready returns the tickets that there are places for now, in order.
func (s *places) ready() []ticket {
	if len(s.queue) == 0 {
		return nil
	}
	free, held := unbounded, map[string]int{}
	if s.limit > 0 {
		free = max(s.limit-s.count(), 0)
		for pipeline, jobs := range s.held {
			for _, p := range jobs {
				if !p.exempt {
					held[pipeline.Namespace]++
				}
			}
		}
	}
	return choose(s.queue, free, held, func(t ticket, before []ticket) bool {
		claim, _ := s.blocked(t, before)
		return claim != ""
	})
}

// blocked returns a claim of the ticket's that somebody has, and who; "" where there is none.
func (s *places) blocked(t ticket, before []ticket) (claim, by string) {
	if len(t.claims) == 0 {
		return "", ""
	}
	for pipeline, jobs := range s.held {
		if pipeline.Namespace != t.pipeline.Namespace {
			continue
		}
		for _, p := range jobs {
			for _, c := range p.claims {
				if slices.Contains(t.claims, c) {
					return c, p.job
				}
			}
		}
	}
	for _, b := range before {
		for _, c := range b.claims {
			if b.pipeline.Namespace == t.pipeline.Namespace && slices.Contains(t.claims, c) {
				return c, "of " + b.pipeline.Name
			}
		}
	}
	return "", ""
}

// holders says who has the places: by name in the namespace that asks, by number elsewhere, where names are nobody's business.
func (s *places) holders(namespace string) string {
	const most = 3
	var names []string
	elsewhere := 0
	for pipeline, jobs := range s.held {
		for _, p := range jobs {
			switch {
			case p.exempt:
			case pipeline.Namespace == namespace:
				names = append(names, pipeline.Name)
			default:
				elsewhere++
			}
		}
	}
	slices.Sort(names)
	here := len(names)
	names = slices.Compact(names)
	text := fmt.Sprintf("%d of this namespace", here)
	if len(names) > most {
		names = append(names[:most:most], "…")
	}
	if here > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	return fmt.Sprintf("%s, %d of others", text, elsewhere)
}

// count returns the Jobs in flight that count.
func (s *places) count() int {
	n := 0
	for _, jobs := range s.held {
		for _, p := range jobs {
			if !p.exempt {
				n++
			}
		}
	}
	return n
}

// numbers returns how many Jobs are in flight and how many stages wait, for metrics.
func (s *places) numbers() (inFlight, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, jobs := range s.held {
		inFlight += len(jobs)
	}
	return inFlight, len(s.queue)
}
