// Package artifact keeps what stages make, by content: models, leaves and reports as blobs named by their SHA-256, results named by the
// hash of a stage's inputs, and checkpoints of stages under way. A Store is a folder, a claim, or a bucket of S3, Google or Azure:
//
//	blobs/sha256/<digest>    models, leaves, reports
//	stages/<hash>.json       results; of a namespace: stages/<namespace>/<hash>.json
//	checkpoints/<hash>       training under way; likewise
//	<namespace>/<name>/…     what a pipeline published, by name
//
// Fetch brings a model or dataset from such a place to a local path.
//
// Invariants: an object appears whole or not at all, however a write ends; a blob's content is verified whenever it is read; the first
// result committed for a hash is the result, whoever computes it again; no name leads out of the store. Errors say what to do and are
// told apart by ErrNotFound, ErrDenied, ErrTemporary, ErrDamaged and ErrTooLarge.
package artifact
