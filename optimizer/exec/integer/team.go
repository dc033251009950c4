package integer

import (
	"runtime"
	"sync"
	"sync/atomic"

	"espalier.dev/espalier/optimizer/kernel"
)

// divisible is a runner whose output rows can be computed side by side.
type divisible interface {
	runner
	// rows returns how many output rows there are, all images together, and the multiplications of one.
	rows() (count, products int)
	// runRows computes rows from to to−1.
	runRows(m *memory, s *kernel.Int8Scratch, from, to int)
}

// leastProducts is the work for which a second goroutine is worth its while: about ten microseconds.
const leastProducts = 1 << 17

// team computes the rows of one operator on several goroutines. Whoever is there takes shares: a helper that comes late finds none
// left, and nobody waits for it. Helpers spin for a while, since operators are microseconds apart, and then sleep.
type team struct {
	scratch []kernel.Int8Scratch // of the helpers
	memory  *memory

	// what is being computed; written while nobody has a share, read by those who do
	work  divisible
	count int // rows

	left, done atomic.Int32 // shares to be taken, and finished
	asleep     atomic.Int32
	mutex      sync.Mutex // of closed, for those asleep
	wake       *sync.Cond
	closed     bool
}

// newTeam starts the helpers of an executor of so many threads.
func newTeam(threads int, m *memory) *team {
	t := &team{scratch: make([]kernel.Int8Scratch, threads-1), memory: m}
	t.wake = sync.NewCond(&t.mutex)
	for i := range t.scratch {
		go t.help(&t.scratch[i])
	}
	return t
}

// close ends the helpers.
func (t *team) close() {
	t.mutex.Lock()
	t.closed = true
	t.mutex.Unlock()
	t.wake.Broadcast()
}

// run computes work with everybody's help.
func (t *team) run(work divisible, count int) {
	shares := int32(len(t.scratch) + 1)
	t.work, t.count = work, count
	t.done.Store(0)
	t.left.Store(shares)
	if t.asleep.Load() > 0 {
		t.mutex.Lock()
		t.mutex.Unlock() //nolint:staticcheck // whoever was about to sleep sleeps now, and hears the call
		t.wake.Broadcast()
	}
	for t.share(&t.memory.scratch) {
	}
	for spins := 1; t.done.Load() < shares; spins++ {
		if spins%(1<<14) == 0 { // not often: it takes longer than most operators
			runtime.Gosched()
		}
	}
}

// share takes and computes a share; false if none is left.
func (t *team) share(s *kernel.Int8Scratch) bool {
	if t.left.Load() <= 0 {
		return false
	}
	i := int(t.left.Add(-1))
	if i < 0 {
		return false
	}
	n := len(t.scratch) + 1
	if from, to := i*t.count/n, (i+1)*t.count/n; from < to {
		t.work.runRows(t.memory, s, from, to)
	}
	t.done.Add(1)
	return true
}

// patience is how often a helper looks for work before it sleeps: some hundred microseconds.
const patience = 1 << 18

func (t *team) help(s *kernel.Int8Scratch) {
	for spins := 0; spins < patience; spins++ {
		if t.share(s) {
			spins = 0
		}
		if spins != patience-1 {
			continue
		}
		t.mutex.Lock()
		t.asleep.Add(1)
		for t.left.Load() <= 0 && !t.closed {
			t.wake.Wait()
		}
		t.asleep.Add(-1)
		closed := t.closed
		t.mutex.Unlock()
		if closed {
			return
		}
		spins = 0
	}
}

// SetThreads makes every Run use so many goroutines, the caller's included, where an operator is large enough: CONV_2D,
// DEPTHWISE_CONV_2D and FULLY_CONNECTED in int8. The results are the same bytes. An executor with more than one must be closed.
func (e *Executor) SetThreads(n int) {
	e.Close()
	if n > 1 {
		e.team = newTeam(n, &e.memory)
	}
}

// Close ends the goroutines of SetThreads. The executor can still be used, on one.
func (e *Executor) Close() {
	if e.team != nil {
		e.team.close()
		e.team = nil
	}
}

// run computes one node.
func (e *Executor) run(s *step) error {
	if e.team != nil {
		if work, ok := s.runner.(divisible); ok {
			if count, products := work.rows(); count > 1 && count*products >= leastProducts {
				e.team.run(work, count)
				return nil
			}
		}
	}
	return s.runner.run(&e.memory)
}
