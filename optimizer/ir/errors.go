package ir

import "fmt"

// Error is an operator that breaks the rules of its type, with the operator's index and type in its text.
type Error struct {
	Index  int    // of the operator
	Op     string // `operator 3 CONV_2D`
	Reason string
}

func (e *Error) Error() string { return e.Op + ": " + e.Reason }

// BatchError says that a graph cannot be proven right for a batch size other than the file's. Callers that can, parse again
// with batch 0.
type BatchError struct {
	Index            int    // of the operator, -1 if an input is the reason
	Op               string // the operator, or the input
	Batch, FileBatch int
	Reason           string
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%s: %s, so batch %d is not possible; use the file's batch, %d", e.Op, e.Reason, e.Batch, e.FileBatch)
}
