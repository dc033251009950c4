package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxSetback bounds the wait before a Job that was refused, or did not get going, is tried again.
	maxSetback = 5 * time.Minute
	// defaultStartGrace is how long a Job that cannot start keeps its place while others wait for one.
	defaultStartGrace = time.Minute
)

// setbacks remembers the stages whose Job was refused or gave its place back, and until when they are not tried again. They are kept in
// memory: after a restart each is tried once more, which costs a place for a short while.
type setbacks struct {
	mu sync.Mutex
	of map[setbackKey]setback
}

type setbackKey struct {
	pipeline types.UID
	stage    string
}

type setback struct {
	reason, message string
	generation      int64  // of the pipeline: another spec is tried at once
	rerun           string // token: so is another one of these
	until           time.Time
	wait            time.Duration
}

// add remembers a setback. Each waits twice as long as the one before, the first as long as it says.
func (s *setbacks) add(key setbackKey, b setback, now time.Time) setback {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[setbackKey]setback{}
	}
	for k, old := range s.of {
		if now.Sub(old.until) > 2*maxSetback {
			delete(s.of, k)
		}
	}
	if old, known := s.of[key]; known && old.generation == b.generation && old.rerun == b.rerun {
		b.wait = min(2*old.wait, maxSetback)
	}
	b.until = now.Add(b.wait)
	s.of[key] = b
	return b
}

// pending returns the setback that holds a stage back now.
func (s *setbacks) pending(key setbackKey, generation int64, rerun string, now time.Time) (setback, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, known := s.of[key]
	return b, known && b.generation == generation && b.rerun == rerun && now.Before(b.until)
}
