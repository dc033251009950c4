package main

import (
	"strings"
	"testing"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/panics"
)

func TestThePanicNetNamesTheOperatorInOneLine(t *testing.T) {
	caught = true
	defer func() { caught = false }()
	err := guarded(func() error {
		defer panics.Name(func() string { return "operator 7 RESHAPE" })
		var nothing []int
		_ = nothing[3]
		return nil
	})
	text := fault.Line(err)
	for _, want := range []string{"internal error in operator 7 RESHAPE: ", "index out of range", "please report it"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	if code := fault.ExitCode(err); code != 1 {
		t.Errorf("exit code is %d, want 1", code)
	}
}

func TestTestsRunWithoutThePanicNet(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the panic was caught")
		}
	}()
	_ = guarded(func() error { panic("boom") })
}
