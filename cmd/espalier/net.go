package main

import (
	"fmt"
	"os"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/panics"
)

// caught says whether a panic becomes an error. main sets it; tests run without, for a panic is a bug.
var caught bool

// stackEnv asks for the stack of a panic.
const stackEnv = "ESPALIER_STACK"

// guarded runs f and makes an error of a panic that names the operator it happened in.
func guarded(f func() error) (err error) {
	if caught {
		defer func() {
			if value := recover(); value != nil {
				err = report(panics.Of(value))
			}
		}()
	}
	return f()
}

func report(p *panics.Panic) error {
	hint := "run again with " + stackEnv + "=1 for the place in the code"
	if os.Getenv(stackEnv) != "" {
		hint = "its place in the code is above"
		fmt.Fprintf(os.Stderr, "%v\n\n%s\n", p.Value, p.Stack)
	}
	return fault.As(fault.Internal, fmt.Errorf("%w: this is a bug of espalier, please report it with the model or its `espalier inspect` (%s)", p, hint))
}
