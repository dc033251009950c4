// Package panics carries a panic from where it happens to where somebody waits for it, and names the operator it happened in. A
// panic is always a bug; commands make one line of it, tests let it through.
package panics

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Panic is a panic on its way.
type Panic struct {
	Where string // the operator, "" if none was being computed
	Value any
	Stack []byte // of the goroutine it happened in
}

func (p *Panic) Error() string {
	if p.Where == "" {
		return fmt.Sprintf("internal error: %v", p.Value)
	}
	return fmt.Sprintf("internal error in %s: %v", p.Where, p.Value)
}

// Of returns a recovered value as a Panic.
func Of(value any) *Panic {
	if err, ok := value.(error); ok {
		var known *Panic
		if errors.As(err, &known) {
			return known
		}
	}
	return &Panic{Value: value, Stack: debug.Stack()}
}

// Name is to be deferred: a panic goes on with the name of where it happened, unless it has one.
func Name(where func() string) {
	if value := recover(); value != nil {
		p := Of(value)
		if p.Where == "" {
			p.Where = where()
		}
		panic(p)
	}
}

// Relay carries the first panic of goroutines to the one that waits for them.
type Relay struct {
	mutex sync.Mutex
	first *Panic
}

// Catch is to be deferred by the goroutines.
func (r *Relay) Catch() {
	if value := recover(); value != nil {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.first == nil {
			r.first = Of(value)
		}
	}
}

// Throw goes on with the panic that was caught, if there was one, when all goroutines are done.
func (r *Relay) Throw() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if p := r.first; p != nil {
		r.first = nil
		panic(p)
	}
}

// Go calls do(0) … do(n−1) side by side and waits for all. It returns the first error, by number; a panic goes on here.
func Go(n int, do func(i int) error) error {
	failed := make([]error, n)
	var group sync.WaitGroup
	var lost Relay
	for i := range n {
		group.Go(func() {
			defer lost.Catch()
			failed[i] = do(i)
		})
	}
	group.Wait()
	lost.Throw()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// Each is Go with as many side by side as there are processors, until it is interrupted.
func Each(n int, interrupted func() error, do func(i int) error) error {
	failed := make([]error, n)
	var next atomic.Int64
	var group sync.WaitGroup
	var lost Relay
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			defer lost.Catch()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if failed[i] = interrupted(); failed[i] == nil {
					failed[i] = do(i)
				}
			}
		})
	}
	group.Wait()
	lost.Throw()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
