package controllers

import (
	"sync"
	"time"
)

// queuesKnown is how long what is known of Kueue stands.
const queuesKnown = time.Minute

// queues tells whether Kueue is in the cluster: the label of a queue is anybody's to set, and without Kueue nobody counts its Jobs.
type queues struct {
	look func() bool // whether the API server knows Kueue's kinds

	mu   sync.Mutex
	at   time.Time
	seen bool
}

func (q *queues) there(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at.IsZero() || now.Sub(q.at) >= queuesKnown {
		q.at, q.seen = now, q.look != nil && q.look()
	}
	return q.seen
}

// absent says that a Job of a queue was not held back: its kinds are there, but Kueue is not at work.
func (q *queues) absent(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at, q.seen = now, false
}
