package panics_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/panics"
)

func TestAPanicOfAGoroutineArrivesWithTheOperatorsName(t *testing.T) {
	defer func() {
		p := panics.Of(recover())
		if want := "internal error in operator 3 ADD: boom"; p.Error() != want {
			t.Errorf("got %q, want %q", p.Error(), want)
		}
	}()
	var relay panics.Relay
	var group sync.WaitGroup
	group.Go(func() {
		defer relay.Catch()
		defer panics.Name(func() string { return "the whole" })
		func() {
			defer panics.Name(func() string { return "operator 3 ADD" })
			panic("boom")
		}()
	})
	group.Wait()
	relay.Throw()
	t.Error("no panic")
}

func TestWithoutAPanicNothingIsThrown(t *testing.T) {
	var relay panics.Relay
	func() { defer relay.Catch() }()
	relay.Throw()
}

func TestGoReturnsTheFirstErrorByNumber(t *testing.T) {
	var done atomic.Int64
	err := panics.Go(4, func(i int) error {
		done.Add(1)
		if i > 1 {
			return fmt.Errorf("%d failed", i)
		}
		return nil
	})
	if err == nil || err.Error() != "2 failed" || done.Load() != 4 {
		t.Errorf("%v, %d done", err, done.Load())
	}
	if err := panics.Go(0, func(int) error { return errors.New("called") }); err != nil {
		t.Error(err)
	}
}

func TestAPanicGoesOnWhereGoWasCalled(t *testing.T) {
	defer func() {
		if p := panics.Of(recover()); p.Value != "boom" {
			t.Errorf("got %v", p)
		}
	}()
	_ = panics.Go(2, func(i int) error {
		if i == 1 {
			panic("boom")
		}
		return nil
	})
	t.Error("no panic")
}

func TestEachReturnsTheFirstErrorByOutput(t *testing.T) {
	if err := panics.Each(9, func() error { return nil }, func(o int) error {
		if o == 3 || o == 7 {
			return fmt.Errorf("output %d", o)
		}
		return nil
	}); err == nil || err.Error() != "output 3" {
		t.Error(err)
	}
	seen := make([]bool, 9)
	if err := panics.Each(len(seen), func() error { return nil }, func(o int) error { seen[o] = true; return nil }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]bool{true, true, true, true, true, true, true, true, true}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestEachEndsWhereItIsInterrupted(t *testing.T) {
	stop := errors.New("stop")
	var done atomic.Int64
	err := panics.Each(1000, func() error {
		if done.Load() >= 10 {
			return stop
		}
		return nil
	}, func(int) error { done.Add(1); return nil })
	if !errors.Is(err, stop) || done.Load() > 100 {
		t.Errorf("%v after %d outputs", err, done.Load())
	}
}
