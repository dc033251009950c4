package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// objects is a place of named objects. Writes are atomic: a reader sees the old content, the new, or nothing, and a write that fails
// leaves nothing behind. Errors are explained.
type objects interface {
	// read returns the content of key.
	read(ctx context.Context, key string) (io.ReadCloser, error)
	// write stores what r yields under key. With ifAbsent, what is there already stays, and errPresent says so.
	write(ctx context.Context, key string, r io.Reader, ifAbsent bool) error
	// remove deletes key; one that is not there is no error.
	remove(ctx context.Context, key string) error
	// list returns the keys that begin with prefix, which ends in a slash.
	list(ctx context.Context, prefix string) ([]string, error)
	close() error
}

// readOnly are objects that stay as they are.
type readOnly struct{ objects }

func (r readOnly) write(_ context.Context, key string, _ io.Reader, _ bool) error {
	return fmt.Errorf("%s is not written: the store is opened for reading", key)
}

func (r readOnly) remove(_ context.Context, key string) error {
	return fmt.Errorf("%s is not removed: the store is opened for reading", key)
}

// errPresent says that an object was there already.
var errPresent = errors.New("present already")
