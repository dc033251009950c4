package train

import (
	"sync"
	"sync/atomic"

	"espalier.dev/espalier/optimizer/panics"
)

// crew is the goroutines of a Trainer beside the caller's. They stay for as long as a Run, so that a step starts none.
type crew struct {
	wake []chan struct{} // by worker but the first; closed to dismiss it
	work func(w *worker, i int)
	n    int // calls of work
	next atomic.Int64
	busy sync.WaitGroup
	lost panics.Relay // of helpers
}

// hire starts a goroutine for every worker but the first; the result ends them. Within another hire it does nothing.
func (t *Trainer) hire() (dismiss func()) {
	if t.crew != nil {
		return func() {}
	}
	c := &crew{}
	t.crew = c
	for _, w := range t.workers[1:] {
		wake := make(chan struct{})
		c.wake = append(c.wake, wake)
		go func() {
			for range wake {
				c.assist(w)
			}
		}()
	}
	return func() {
		for _, wake := range c.wake {
			close(wake)
		}
		t.crew = nil
	}
}

// parallel calls work for i = 0 … n−1, each once, on the trainer's workers.
func (t *Trainer) parallel(n int, work func(w *worker, i int)) {
	c := t.crew
	c.work, c.n = work, n
	c.next.Store(0)
	helpers := c.wake[:max(min(n, len(t.workers))-1, 0)]
	c.busy.Add(len(helpers))
	for _, wake := range helpers {
		wake <- struct{}{}
	}
	c.help(t.workers[0])
	c.busy.Wait()
	c.lost.Throw()
}

func (c *crew) assist(w *worker) {
	defer c.busy.Done()
	defer c.lost.Catch()
	c.help(w)
}

func (c *crew) help(w *worker) {
	for {
		i := int(c.next.Add(1)) - 1
		if i >= c.n {
			return
		}
		c.work(w, i)
	}
}
