package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gocloud.dev/blob"
)

// resumptions of one transfer, each where the one before broke off.
const resumptions = 4

// resumingReader reads an object to its end though connections break. Errors are explained.
type resumingReader struct {
	ctx    context.Context
	bucket *blob.Bucket
	key    string
	at     string // for errors

	reader *blob.Reader
	done   int64
	broken int
}

// openResuming begins to read an object.
func openResuming(ctx context.Context, b *blob.Bucket, key, at string) (*resumingReader, error) {
	reader, err := b.NewReader(ctx, key, nil)
	if err != nil {
		return nil, explain(at, err)
	}
	return &resumingReader{ctx: ctx, bucket: b, key: key, at: at, reader: reader}, nil
}

// size is the object's.
func (r *resumingReader) size() int64 { return r.reader.Size() }

func (r *resumingReader) Read(p []byte) (int, error) {
	for {
		n, err := r.reader.Read(p)
		r.done += int64(n)
		if err == nil || errors.Is(err, io.EOF) { // one that came too soon is io.ErrUnexpectedEOF
			return n, err
		}
		if err = explain(r.at, err); !errors.Is(err, ErrTemporary) || r.broken == resumptions {
			return n, err
		}
		r.broken++
		if err := r.again(); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// again opens the object where the transfer broke off. Another object of that name would be of another size, or be found out by its
// digest.
func (r *resumingReader) again() error {
	select {
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-time.After(time.Duration(r.broken) * 100 * time.Millisecond):
	}
	next, err := r.bucket.NewRangeReader(r.ctx, r.key, r.done, -1, nil)
	if err != nil {
		return explain(r.at, err)
	}
	if next.Size() != r.size() {
		_ = next.Close()
		return fmt.Errorf("%s: %w: it changed while it was read", r.at, ErrTemporary)
	}
	_ = r.reader.Close()
	r.reader = next
	return nil
}

func (r *resumingReader) Close() error { return r.reader.Close() }
