package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"
)

// Cache is where Fetch puts what it brings.
type Cache struct {
	// Dir is a folder, made if it is not there.
	Dir string
	// MaxBytes bounds what one Fetch brings; 0: no bound. What is there already is not counted.
	MaxBytes int64
}

// Fetched is a model or dataset at a local path.
type Fetched struct {
	// Path of the file or folder; its last element is that of the address.
	Path string
	// Digest is the SHA-256 of what was brought: of a file's content; of a folder, of its files' digests and paths in order. Empty
	// where the address is local: nothing was read.
	Digest string
	// Bytes is the size of what was brought.
	Bytes int64
}

// Fetch makes the file or folder at an address available at a local path: a path, file:// or pvc:// address where it is, anything else
// streamed into the cache. A second Fetch of what did not change brings nothing.
func Fetch(ctx context.Context, uri string, o Options, cache Cache) (Fetched, error) {
	a, err := parse(uri, o)
	if err != nil {
		return Fetched{}, err
	}
	if a.local != "" {
		if _, err := os.Stat(a.local); err != nil {
			return Fetched{}, explain(uri, err)
		}
		return Fetched{Path: a.local}, a.contained()
	}
	b, err := a.open(ctx, o)
	if err != nil {
		return Fetched{}, err
	}
	defer b.Close()
	return a.fetch(ctx, b, cache)
}

// fetch brings what the address names in its bucket.
func (a address) fetch(ctx context.Context, b *blob.Bucket, cache Cache) (Fetched, error) {
	objects, err := a.list(ctx, b)
	if errors.Is(err, ErrNotFound) {
		return Fetched{}, fmt.Errorf("%s: %w: there is neither an object of that name nor one below it", a.uri, err)
	}
	if err != nil {
		return Fetched{}, explain(a.uri, err)
	}
	f := &fetch{address: a, bucket: b, objects: objects, cache: cache}
	return f.run(ctx)
}

// object is one to fetch.
type object struct {
	key      string
	path     string // below the cache's entry, with slashes
	size     int64
	version  string // changes with the content
	modified time.Time
}

// list returns the object an address names, or those below it.
func (a address) list(ctx context.Context, b *blob.Bucket) ([]object, error) {
	base := path.Base("/" + strings.TrimSuffix(a.key, "/"))
	if a.key != "" && !strings.HasSuffix(a.key, "/") {
		attributes, err := b.Attributes(ctx, a.key)
		if err == nil {
			return []object{{key: a.key, path: base, size: attributes.Size, version: attributes.ETag, modified: attributes.ModTime}}, nil
		}
		if gcerrors.Code(err) != gcerrors.NotFound {
			return nil, a.reason(ctx, b, err)
		}
	}
	if base == "/" {
		base = a.bucket
	}
	return below(ctx, b, a.folder(), base)
}

// reason finds out why a place refuses to describe an object: that answer has no body, the one to a listing has.
func (a address) reason(ctx context.Context, b *blob.Bucket, err error) error {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMovedPermanently:
		if _, listing := b.List(&blob.ListOptions{Prefix: a.key}).Next(ctx); listing != nil && !errors.Is(listing, io.EOF) {
			return listing
		}
	}
	return err
}

// folder is the prefix of the objects below the address.
func (a address) folder() string {
	if a.key == "" {
		return ""
	}
	return strings.TrimSuffix(a.key, "/") + "/"
}

// below lists the objects whose keys begin with prefix, in order.
func below(ctx context.Context, b *blob.Bucket, prefix, base string) ([]object, error) {
	var objects []object
	pages := b.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := pages.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		relative := strings.TrimPrefix(o.Key, prefix)
		if relative == "" || strings.HasSuffix(relative, "/") { // a folder's own marker
			continue
		}
		if !filepath.IsLocal(filepath.FromSlash(relative)) {
			return nil, fmt.Errorf("the key %q is no path", o.Key)
		}
		objects = append(objects, object{key: o.Key, path: base + "/" + relative, size: o.Size, version: hex.EncodeToString(o.MD5), modified: o.ModTime})
	}
	if len(objects) == 0 {
		return nil, ErrNotFound
	}
	slices.SortFunc(objects, func(x, y object) int { return cmp.Compare(x.path, y.path) })
	return objects, nil
}

// fetch is one Fetch under way.
type fetch struct {
	address address
	bucket  *blob.Bucket
	objects []object
	cache   Cache
}

func (f *fetch) run(ctx context.Context) (Fetched, error) {
	root, _ := cutFirst(f.objects[0].path)
	entry := filepath.Join(f.cache.Dir, f.name())
	done := Fetched{Path: filepath.Join(entry, filepath.FromSlash(root)), Bytes: f.size()}
	if digest, err := os.ReadFile(filepath.Join(entry, digestFile)); err == nil {
		done.Digest = string(digest)
		return done, nil
	}
	if f.cache.MaxBytes > 0 && done.Bytes > f.cache.MaxBytes {
		return Fetched{}, fmt.Errorf("%s: %w: %d bytes, and there is room for %d: raise template.cacheSizeLimit", f.address.uri, ErrTooLarge, done.Bytes, f.cache.MaxBytes)
	}
	if err := os.MkdirAll(f.cache.Dir, 0o755); err != nil {
		return Fetched{}, explain(f.cache.Dir, err)
	}
	temporary, err := os.MkdirTemp(f.cache.Dir, ".fetching-*")
	if err != nil {
		return Fetched{}, explain(f.cache.Dir, err)
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	if done.Digest, err = f.download(ctx, temporary); err != nil {
		return Fetched{}, err
	}
	if err := os.WriteFile(filepath.Join(temporary, digestFile), []byte(done.Digest), 0o644); err != nil {
		return Fetched{}, explain(f.cache.Dir, err)
	}
	if err := os.Rename(temporary, entry); err != nil && !errors.Is(err, os.ErrExist) { // else another process was quicker
		return Fetched{}, explain(entry, err)
	}
	return done, nil
}

// digestFile, in a cache's entry, holds the digest of what was brought.
const digestFile = ".digest"

// name names the cache's entry by what the place says of its objects.
func (f *fetch) name() string {
	sum := sha256.New()
	fmt.Fprintln(sum, f.address.uri)
	for _, o := range f.objects {
		fmt.Fprintln(sum, o.key, o.size, o.version, o.modified.UnixNano())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (f *fetch) size() (bytes int64) {
	for _, o := range f.objects {
		bytes += o.size
	}
	return bytes
}

// parallelDownloads hides the latency of many small objects.
const parallelDownloads = 8

// download brings every object below dir and returns the digest of all.
func (f *fetch) download(ctx context.Context, dir string) (string, error) {
	digests := make([]string, len(f.objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDownloads)
	for i, o := range f.objects {
		group.Go(func() (err error) {
			digests[i], err = f.one(ctx, o, dir)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if len(digests) == 1 && !strings.Contains(f.objects[0].path, "/") {
		return digests[0], nil
	}
	sum := sha256.New()
	for i, o := range f.objects {
		_, relative := cutFirst(o.path)
		fmt.Fprintf(sum, "%s  %s\n", digests[i], relative)
	}
	return digestOf(sum.Sum(nil)), nil
}

// one brings one object and returns its digest.
func (f *fetch) one(ctx context.Context, o object, dir string) (string, error) {
	at := f.address.scheme + "://" + f.address.bucket + "/" + o.key
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r, err := openResuming(ctx, f.bucket, o.key, at)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if r.size() != o.size {
		return "", fmt.Errorf("%s: %w: it changed while it was read", at, ErrTemporary)
	}
	file := filepath.Join(dir, filepath.FromSlash(o.path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", explain(file, err)
	}
	w, err := os.Create(file)
	if err != nil {
		return "", explain(file, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), r)
	if closing := w.Close(); err == nil {
		err = closing
	}
	if err == nil && n != o.size {
		err = fmt.Errorf("%w: %d of %d bytes came", ErrTemporary, n, o.size)
	}
	return digestOf(sum.Sum(nil)), explain(at, err)
}

// cutFirst divides a path after its first element.
func cutFirst(name string) (first, rest string) {
	first, rest, _ = strings.Cut(name, "/")
	return first, rest
}
