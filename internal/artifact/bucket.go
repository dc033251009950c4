package artifact

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// bucket keeps objects in a bucket of the blob library.
type bucket struct {
	bucket *blob.Bucket
	uri    string
}

func (b *bucket) close() error { return b.bucket.Close() }

// at names an object in errors.
func (b *bucket) at(key string) string { return b.uri + "/" + key }

func (b *bucket) read(ctx context.Context, key string) (io.ReadCloser, error) {
	return openResuming(ctx, b.bucket, key, b.at(key))
}

func (b *bucket) write(ctx context.Context, key string, r io.Reader, ifAbsent bool) error {
	err := b.upload(ctx, key, r, ifAbsent)
	if seeker, ok := r.(io.Seeker); ok && ifAbsent && codeOf(err) == "NotImplemented" {
		if _, err := seeker.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return b.writeUnlessSeen(ctx, key, r)
	}
	if ifAbsent && (gcerrors.Code(err) == gcerrors.FailedPrecondition || codeOf(err) == "ConditionalRequestConflict") {
		return errPresent
	}
	return explain(b.at(key), err)
}

// writeUnlessSeen is for servers that cannot write on a condition. Two writers at the same moment may both succeed there, and the last
// one counts.
func (b *bucket) writeUnlessSeen(ctx context.Context, key string, r io.Reader) error {
	present, err := b.bucket.Exists(ctx, key)
	if err != nil {
		return explain(b.at(key), err)
	}
	if present {
		return errPresent
	}
	return explain(b.at(key), b.upload(ctx, key, r, false))
}

// upload writes one object. A context that ends before Close makes the library give up what was sent so far.
func (b *bucket) upload(ctx context.Context, key string, r io.Reader, ifAbsent bool) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	w, err := b.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: ifAbsent})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		abandon()
		return errors.Join(err, ignoreCanceled(w.Close()))
	}
	return w.Close()
}

func (b *bucket) remove(ctx context.Context, key string) error {
	err := b.bucket.Delete(ctx, key)
	if err == nil || gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return explain(b.at(key), err)
}

func (b *bucket) list(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	pages := b.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := pages.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return nil, explain(b.at(prefix), err)
		}
		keys = append(keys, o.Key)
	}
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) || gcerrors.Code(err) == gcerrors.Canceled {
		return nil
	}
	return err
}
