package controllers

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// places bounds the Jobs in flight across the cluster and gives a claim that only one node may mount to one Job at a time. It is kept in
// memory: what is in flight is told anew at every reconcile, the first time by everything the cache holds. Who waits is served in the
// order of asking; who waits for a claim does not hold up the others.
type places struct {
	limit int                        // 0: none
	wake  func(types.NamespacedName) // has a pipeline reconciled, without waiting

	mu     sync.Mutex
	held   map[types.NamespacedName][]place // Jobs in flight, by pipeline
	queue  []ticket
	queued map[ticketKey]bool
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

// ticket is a stage that wants to start.
type ticket struct {
	ticketKey
	exempt bool
	claims []string // it mounts and may not share
}

func newPlaces(limit int, wake func(types.NamespacedName)) *places {
	return &places{limit: limit, wake: wake, held: map[types.NamespacedName][]place{}, queued: map[ticketKey]bool{}}
}

// observe tells what a pipeline has in flight and which stages it still wants to start, and wakes those who may go on because of it.
// Places of Jobs that were just created, and that nobody has seen yet, are kept.
func (s *places) observe(pipeline types.NamespacedName, inFlight []place, unseen, wanted []string) {
	s.mu.Lock()
	for _, p := range s.held[pipeline] {
		if slices.Contains(unseen, p.job) {
			inFlight = append(inFlight, p)
		}
	}
	if len(inFlight) == 0 {
		delete(s.held, pipeline)
	} else {
		s.held[pipeline] = inFlight
	}
	s.withdraw(func(t ticket) bool { return t.pipeline == pipeline && !slices.Contains(wanted, t.stage) })
	ready := s.ready()
	s.mu.Unlock()
	for _, t := range ready {
		if t.pipeline != pipeline {
			s.wake(t.pipeline)
		}
	}
}

// acquire takes a place for a stage's Job. Where there is none the stage waits, and reason and message say for what.
func (s *places) acquire(t ticket, job string) (reason, message string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.queued[t.ticketKey] {
		s.queue, s.queued[t.ticketKey] = append(s.queue, t), true
	}
	if slices.ContainsFunc(s.ready(), func(r ticket) bool { return r.ticketKey == t.ticketKey }) {
		s.withdraw(func(q ticket) bool { return q.ticketKey == t.ticketKey })
		s.held[t.pipeline] = append(s.held[t.pipeline], place{job: job, claims: t.claims, exempt: t.exempt})
		return "", "", true
	}
	if claim, by := s.blocked(t, nil); claim != "" {
		return reasonWaitForVolume, fmt.Sprintf("claim %s can be mounted by one node at a time, and Job %s has it", claim, by), false
	}
	return reasonInFlightLimit, fmt.Sprintf("%d Jobs are in flight in the cluster, as many as the operator allows", s.limit), false
}

// ready returns the tickets that there are places for now, in order.
func (s *places) ready() []ticket {
	if len(s.queue) == 0 {
		return nil
	}
	free := s.limit - s.count()
	var ready []ticket
	for _, t := range s.queue {
		if claim, _ := s.blocked(t, ready); claim != "" {
			continue
		}
		if !t.exempt && s.limit > 0 {
			if free <= 0 {
				continue
			}
			free--
		}
		ready = append(ready, t)
	}
	return ready
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

// withdraw removes tickets from the queue.
func (s *places) withdraw(which func(ticket) bool) {
	s.queue = slices.DeleteFunc(s.queue, func(t ticket) bool {
		if !which(t) {
			return false
		}
		delete(s.queued, t.ticketKey)
		return true
	})
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
