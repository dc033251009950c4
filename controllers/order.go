package controllers

import (
	"cmp"
	"math"
	"strings"
	"time"
)

// ticket is a stage that wants to start.
type ticket struct {
	ticketKey
	priority int32     // of the pipeline, as far as the installation lets it count
	created  time.Time // the pipeline
	index    int       // among the stages that the pipeline wants to start
	exempt   bool      // a queue counts it
	claims   []string  // it mounts and may not share
	woken    bool      // its pipeline was, and is about to ask again
	follows  bool      // an attempt that it ends, instead of starting one
}

// urgency puts what ends a walk, and what ends a step, before what begins another, within a priority.
func (t ticket) urgency(o ticket) int {
	begins := func(t ticket) int {
		if t.stage == publishStage || t.follows {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(o.priority, t.priority), cmp.Compare(begins(t), begins(o)))
}

// compare is the order of tickets where namespaces have the same share: the more urgent, then the older pipeline, then the earlier stage.
// It depends on nothing but the objects, so that it is the same after a restart.
func (t ticket) compare(o ticket) int {
	return cmp.Or(
		t.urgency(o), t.created.Compare(o.created), strings.Compare(t.pipeline.Namespace, o.pipeline.Namespace),
		strings.Compare(t.pipeline.Name, o.pipeline.Name), cmp.Compare(t.index, o.index), strings.Compare(t.stage, o.stage),
	)
}

// unbounded are the free places where there is no bound.
const unbounded = math.MaxInt

// choose returns the tickets that may start now: those that need no place, and of the others as many as places are free. Of equally urgent
// ones the namespace that has the fewest places comes first, of those its oldest pipeline. The queue is in order; who is blocked holds up
// nobody.
func choose(queue []ticket, free int, held map[string]int, blocked func(t ticket, before []ticket) bool) []ticket {
	var chosen []ticket
	for _, t := range queue {
		if (t.exempt || free == unbounded) && !blocked(t, chosen) {
			chosen = append(chosen, t)
		}
	}
	if free == unbounded {
		return chosen
	}
	share := map[string]int{}
	for ns, n := range held {
		share[ns] = n
	}
	for start := 0; start < len(queue) && free > 0; {
		end := start + 1
		for end < len(queue) && queue[start].urgency(queue[end]) == 0 {
			end++
		}
		for _, t := range takeTurns(queue[start:end], free, share, blocked, chosen) {
			chosen = append(chosen, t)
			free--
		}
		start = end
	}
	return chosen
}

// takeTurns chooses among equally urgent tickets, and counts what it chooses into the shares.
func takeTurns(queue []ticket, free int, share map[string]int, blocked func(t ticket, before []ticket) bool, before []ticket) []ticket {
	lines := map[string][]ticket{} // by namespace, in order
	for _, t := range queue {
		if !t.exempt {
			lines[t.pipeline.Namespace] = append(lines[t.pipeline.Namespace], t)
		}
	}
	var chosen []ticket
	for len(chosen) < free && len(lines) > 0 {
		var next string
		for ns, line := range lines {
			if next == "" || cmp.Or(cmp.Compare(share[ns], share[next]), line[0].compare(lines[next][0])) < 0 {
				next = ns
			}
		}
		t := lines[next][0]
		if lines[next] = lines[next][1:]; len(lines[next]) == 0 {
			delete(lines, next)
		}
		if blocked(t, append(before[:len(before):len(before)], chosen...)) {
			continue
		}
		chosen = append(chosen, t)
		share[next]++
	}
	return chosen
}
