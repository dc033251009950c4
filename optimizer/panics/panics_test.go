package panics_test

import (
	"sync"
	"testing"

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
