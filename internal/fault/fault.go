// Package fault classifies errors by what has to change before a retry can succeed. The class decides the exit code of every
// command, and the exit code of a stage's container decides whether its Job is tried again (podFailurePolicy).
package fault

import (
	"context"
	"errors"
	"syscall"
)

// Class says who can mend a failure.
type Class int

const (
	// Internal is anything unforeseen, a broken invariant among them. A retry may help.
	Internal Class = iota + 1
	// Spec is a wrong command line or manifest: nothing happens until it is edited.
	Spec
	// Model is a model that cannot be read, run or compressed.
	Model
	// Dataset is a dataset that cannot be read or does not fit the model.
	Dataset
	// Constraints is a finished walk in which no leaf meets every constraint.
	Constraints
	// Storage is an artifact, model or dataset that could not be reached or written: disk full, bad credentials, no such bucket.
	Storage
	// Training is a run whose loss or weights stopped being finite.
	Training
	// Measurement is a program of spec.measurements that failed, or printed something else than it is to.
	Measurement
)

// Interrupted is the exit code after Ctrl-C or SIGTERM, as shells report SIGINT.
const Interrupted = 130

// codes are the documented exit codes (docs/cli.md). 2 to 4 and 7 are final: the same inputs fail the same way.
var codes = map[Class]int{Internal: 1, Spec: 2, Model: 3, Dataset: 4, Constraints: 5, Storage: 6, Training: 7, Measurement: 8}

// FinalCodes are the exit codes of failures that no retry mends.
func FinalCodes() []int32 { return []int32{2, 3, 4, 7} }

// Error is an error with its class.
type Error struct {
	Class Class
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// As gives err a class unless it already has one. A nil err stays nil.
func As(class Class, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	return &Error{Class: class, Err: err}
}

// ClassOf returns the class of err: what As gave it, Storage for a full disk, else Internal.
func ClassOf(err error) Class {
	var known *Error
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Storage
	case errors.As(err, &known):
		return known.Class
	default:
		return Internal
	}
}

// ExitCode is the exit code a process ends with because of err; 0 when err is nil.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return Interrupted
	default:
		return codes[ClassOf(err)]
	}
}
