package controllers

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

var dawn = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// asks is a ticket of namespace/name/stage, whose pipeline is so many seconds old at dawn.
func asks(path string, age int, changes ...func(*ticket)) ticket {
	parts := strings.Split(path, "/")
	t := ticket{ticketKey: ticketKey{types.NamespacedName{Namespace: parts[0], Name: parts[1]}, parts[2]}, created: dawn.Add(-time.Duration(age) * time.Second)}
	for _, change := range changes {
		change(&t)
	}
	return t
}

func priority(n int32) func(*ticket) { return func(t *ticket) { t.priority = n } }

func claims(names ...string) func(*ticket) { return func(t *ticket) { t.claims = names } }

func exempt(t *ticket) { t.exempt = true }

// taken has claims of places and of tickets before count, by name alone.
func taken(by ...string) func(ticket, []ticket) bool {
	return func(t ticket, before []ticket) bool {
		for _, c := range t.claims {
			if slices.Contains(by, c) || slices.ContainsFunc(before, func(b ticket) bool { return slices.Contains(b.claims, c) }) {
				return true
			}
		}
		return false
	}
}

func paths(list []ticket) []string {
	out := []string{}
	for _, t := range list {
		out = append(out, t.pipeline.Namespace+"/"+t.pipeline.Name+"/"+t.stage)
	}
	return out
}

func TestChoose(t *testing.T) {
	tests := map[string]struct {
		queue []ticket
		free  int
		held  map[string]int
		taken []string
		want  []string
	}{
		"nobody":               {free: 3, want: []string{}},
		"the oldest pipeline":  {queue: []ticket{asks("a/new/s", 1), asks("a/old/s", 9)}, free: 1, want: []string{"a/old/s"}},
		"its stages, in order": {queue: []ticket{asks("a/p/y", 1, func(t *ticket) { t.index = 0 }), asks("a/p/x", 1, func(t *ticket) { t.index = 1 })}, free: 2, want: []string{"a/p/y", "a/p/x"}},
		"what ends a walk before what goes on with an older one": {
			queue: []ticket{asks("a/old/s", 9), asks("a/new/publish", 1)}, free: 1, want: []string{"a/new/publish"},
		},
		"priority before age":           {queue: []ticket{asks("a/old/s", 9), asks("a/urgent/s", 1, priority(1))}, free: 1, want: []string{"a/urgent/s"}},
		"priority before publishing":    {queue: []ticket{asks("a/old/publish", 9), asks("a/urgent/s", 1, priority(1))}, free: 1, want: []string{"a/urgent/s"}},
		"who is in no hurry comes last": {queue: []ticket{asks("a/old/s", 9, priority(-1)), asks("b/new/s", 1)}, free: 1, held: map[string]int{"b": 5}, want: []string{"b/new/s"}},
		"the namespace that has least": {
			queue: []ticket{asks("a/old/s", 9), asks("b/new/s", 1)}, free: 1, held: map[string]int{"a": 2, "b": 1}, want: []string{"b/new/s"},
		},
		"namespaces in turn": {
			queue: []ticket{asks("a/1/s", 9), asks("a/2/s", 8), asks("a/3/s", 7), asks("b/4/s", 1), asks("b/5/s", 1)}, free: 4,
			want: []string{"a/1/s", "b/4/s", "a/2/s", "b/5/s"},
		},
		"who needs no place": {queue: []ticket{asks("a/1/s", 9), asks("a/q/s", 1, exempt)}, free: 0, want: []string{"a/q/s"}},
		"a claim is for one": {queue: []ticket{asks("a/1/s", 9, claims("c")), asks("a/2/s", 8, claims("c")), asks("a/3/s", 7)}, free: 3, want: []string{"a/1/s", "a/3/s"}},
		"who waits for a claim does not take a place": {
			queue: []ticket{asks("a/1/s", 9, claims("c")), asks("a/2/s", 8)}, free: 1, taken: []string{"c"}, want: []string{"a/2/s"},
		},
		"no bound": {queue: []ticket{asks("a/1/s", 9), asks("a/2/s", 8)}, free: unbounded, want: []string{"a/1/s", "a/2/s"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			slices.SortFunc(tt.queue, ticket.compare)
			if diff := gocmp.Diff(tt.want, paths(choose(tt.queue, tt.free, tt.held, taken(tt.taken...)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestChooseIsFairWhateverAsks holds what choose promises over random queues.
func TestChooseIsFairWhateverAsks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 2000 {
		var queue []ticket
		for i := range random.IntN(30) {
			stage := []string{"s", publishStage}[random.IntN(2)]
			x := asks(fmt.Sprintf("%c/%d/%s", 'a'+rune(random.IntN(4)), i, stage), random.IntN(10), priority(int32(random.IntN(3))))
			x.exempt = random.IntN(8) == 0
			queue = append(queue, x)
		}
		held := map[string]int{"a": random.IntN(5), "b": random.IntN(5)}
		free := random.IntN(12)
		slices.SortFunc(queue, ticket.compare)
		chosen := choose(queue, free, held, taken())

		shuffled := slices.Clone(queue)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		slices.SortFunc(shuffled, ticket.compare)
		if diff := gocmp.Diff(paths(chosen), paths(choose(shuffled, free, held, taken()))); diff != "" {
			t.Fatalf("round %d: the order of asking counts:\n%s", round, diff)
		}
		placed := map[string]int{}
		n := 0
		for _, c := range chosen {
			if !c.exempt {
				n++
				placed[c.pipeline.Namespace]++
			}
		}
		waiting := slices.DeleteFunc(slices.Clone(queue), func(q ticket) bool {
			return slices.ContainsFunc(chosen, func(c ticket) bool { return c.ticketKey == q.ticketKey })
		})
		if n > free || n < free && len(waiting) > 0 {
			t.Fatalf("round %d: %d of %d places given, %d wait", round, n, free, len(waiting))
		}
		for _, q := range waiting {
			if q.exempt {
				t.Fatalf("round %d: %v waits and needs no place", round, paths([]ticket{q}))
			}
			for _, c := range chosen {
				if c.exempt {
					continue
				}
				if q.urgency(c) < 0 || q.pipeline.Namespace == c.pipeline.Namespace && q.compare(c) < 0 {
					t.Fatalf("round %d: %v passed %v", round, paths([]ticket{c}), paths([]ticket{q}))
				}
				// taking the place of one as urgent would leave its namespace with less than that one's
				mine, theirs := held[q.pipeline.Namespace]+placed[q.pipeline.Namespace], held[c.pipeline.Namespace]+placed[c.pipeline.Namespace]
				if q.urgency(c) == 0 && mine < theirs-1 && placed[c.pipeline.Namespace] == 1 {
					t.Fatalf("round %d: %v waits with %d places, %v has %d", round, paths([]ticket{q}), mine, paths([]ticket{c}), theirs)
				}
			}
		}
	}
}

// run simulates pipelines of so many Jobs, a second each, at a bound. It returns when each was done and in what order Jobs started.
type simulated struct {
	done    map[types.NamespacedName]int
	started []ticket
	seconds int
}

func simulate(pipelines []types.NamespacedName, jobs, bound int, order func(queue []ticket, free int, held map[string]int) []ticket, late map[int]types.NamespacedName) simulated {
	out := simulated{done: map[types.NamespacedName]int{}}
	var queue []ticket
	stage := map[types.NamespacedName]int{}
	ask := func(p types.NamespacedName, created int) {
		name := fmt.Sprintf("s%d", stage[p])
		if stage[p] == jobs-1 {
			name = publishStage
		}
		queue = append(queue, ticket{ticketKey: ticketKey{p, name}, created: dawn.Add(time.Duration(created) * time.Second)})
	}
	ages := map[types.NamespacedName]int{}
	for i, p := range pipelines {
		ages[p] = i - len(pipelines)
		ask(p, ages[p])
	}
	var inFlight []ticket
	for now := 0; len(queue) > 0 || len(inFlight) > 0; now++ {
		if p, comes := late[now]; comes {
			ages[p] = now
			ask(p, now)
		}
		for _, t := range inFlight {
			if stage[t.pipeline]++; stage[t.pipeline] == jobs {
				out.done[t.pipeline], out.seconds = now, now
				continue
			}
			ask(t.pipeline, ages[t.pipeline])
		}
		inFlight = order(queue, bound, map[string]int{})
		queue = slices.DeleteFunc(queue, func(q ticket) bool {
			return slices.ContainsFunc(inFlight, func(c ticket) bool { return c.ticketKey == q.ticketKey })
		})
		out.started = append(out.started, inFlight...)
	}
	return out
}

func inOrder(queue []ticket, free int, held map[string]int) []ticket {
	sorted := slices.Clone(queue)
	slices.SortFunc(sorted, ticket.compare)
	return choose(sorted, free, held, taken())
}

// inTheOrderOfAsking is what the operator did before.
func inTheOrderOfAsking(queue []ticket, free int, _ map[string]int) []ticket {
	return slices.Clone(queue[:min(free, len(queue))])
}

func TestThreeHundredPipelinesFinishOneAfterAnother(t *testing.T) {
	const pipelines, jobs, bound = 300, 6, 10
	var names []types.NamespacedName
	for i := range pipelines {
		names = append(names, types.NamespacedName{Namespace: "a", Name: fmt.Sprintf("p%03d", i)})
	}
	share := func(s simulated) (first, median float64) {
		var at []int
		for _, n := range s.done {
			at = append(at, n)
		}
		slices.Sort(at)
		return float64(at[0]) / float64(s.seconds), float64(at[len(at)/2]) / float64(s.seconds)
	}
	before, after := simulate(names, jobs, bound, inTheOrderOfAsking, nil), simulate(names, jobs, bound, inOrder, nil)
	wasFirst, wasMedian := share(before)
	first, median := share(after)
	t.Logf("before: first %.3f, median %.3f of %d s; now: first %.3f, median %.3f of %d s", wasFirst, wasMedian, before.seconds, first, median, after.seconds)
	if wasFirst < 0.8 {
		t.Errorf("in the order of asking the first is done at %.2f: the test shows nothing", wasFirst)
	}
	if first > 0.1 || median > 0.6 || float64(after.seconds) > 1.03*float64(before.seconds) {
		t.Errorf("first at %.3f, median at %.3f of %d s, %d s before", first, median, after.seconds, before.seconds)
	}

	stranger := types.NamespacedName{Namespace: "b", Name: "late"}
	withLate := simulate(names, jobs, bound, inOrder, map[int]types.NamespacedName{20: stranger})
	at := slices.IndexFunc(withLate.started, func(t ticket) bool { return t.pipeline == stranger })
	if at < 20*bound || at >= 20*bound+3 {
		t.Errorf("a pipeline of another namespace that came when %d Jobs had started is the %dth", 20*bound, at+1)
	}
	if n := withLate.done[stranger]; n > 20+jobs {
		t.Errorf("it is done after %d s, with %d Jobs of a second", n-20, jobs)
	}
	oldest := slices.MinFunc(names, func(x, y types.NamespacedName) int { return cmp.Compare(after.done[x], after.done[y]) })
	if oldest != names[0] {
		t.Errorf("%s is done first", oldest)
	}
}

func TestWhoIsInAHurryIsDoneFirst(t *testing.T) {
	const pipelines, jobs, bound = 300, 6, 10
	var names []types.NamespacedName
	for i := range pipelines {
		names = append(names, types.NamespacedName{Namespace: "a", Name: fmt.Sprintf("p%03d", i)})
	}
	hurried, patient := names[pipelines-1], names[0]
	got := simulate(names, jobs, bound, func(queue []ticket, free int, held map[string]int) []ticket {
		for i := range queue {
			switch queue[i].pipeline {
			case hurried:
				queue[i].priority = 1
			case patient:
				queue[i].priority = -1
			}
		}
		return inOrder(queue, free, held)
	}, nil)
	if n := got.done[hurried]; n != jobs {
		t.Errorf("the youngest, which is in a hurry, is done after %d s, with %d Jobs of a second", n, jobs)
	}
	if n := got.done[patient]; n != got.seconds {
		t.Errorf("the oldest, which is not, is done after %d of %d s", n, got.seconds)
	}
}
