package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"regexp"
	"strings"
)

// Store is a content-addressed store. It is safe for concurrent use, by several processes too.
type Store struct {
	objects objects
	address string // as given, for people
	domain  string // folder of results and checkpoints below theirs; empty: none
}

// In returns the store as one namespace's: its results and checkpoints are its own, blobs, which are checked against their names, are
// shared. Close the store itself, not this.
func (s *Store) In(namespace string) *Store {
	of := *s
	of.domain = "/" + namespace
	return &of
}

// OpenFolder opens a store in a folder, which is made if it is not there.
func OpenFolder(path string) (*Store, error) {
	f, err := openFolder(path)
	if err != nil {
		return nil, err
	}
	return &Store{objects: f, address: path}, nil
}

// Close frees what the store holds.
func (s *Store) Close() error { return s.objects.close() }

// String is the store's address.
func (s *Store) String() string { return s.address }

// Digest returns "sha256:" and the hexadecimal SHA-256 of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return digestOf(sum[:])
}

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// The store's folders.
const (
	blobs       = "blobs/sha256"
	results     = "stages"
	checkpoints = "checkpoints"
)

var digestPattern = regexp.MustCompile(`^sha256:([0-9a-f]{64})$`)

// key is where a digest's content lies below a folder of the store.
func key(folder, digest, suffix string) (string, error) {
	m := digestPattern.FindStringSubmatch(digest)
	if m == nil {
		return "", fmt.Errorf("%q is not a digest: want sha256: and 64 hexadecimal digits", digest)
	}
	return folder + "/" + m[1] + suffix, nil
}

// BlobName is where the content of a digest lies below a store's address.
func BlobName(digest string) string { return blobs + "/" + strings.TrimPrefix(digest, "sha256:") }

// PutBlob stores data and returns its digest. What is there already, whole, is not written again.
func (s *Store) PutBlob(ctx context.Context, data []byte) (string, error) {
	digest := Digest(data)
	return digest, s.put(ctx, digest, bytes.NewReader(data))
}

// PutStream stores what r yields and returns its digest. The content passes through a temporary file, as its name is known only at its
// end.
func (s *Store) PutStream(ctx context.Context, r io.Reader) (digest string, err error) {
	spool, err := os.CreateTemp("", "espalier-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(spool.Name()) }()
	defer spool.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(spool, sum), readerWithContext{ctx, r}); err != nil {
		return "", err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	digest = digestOf(sum.Sum(nil))
	return digest, s.put(ctx, digest, spool)
}

// put stores content under its digest unless it is there, whole.
func (s *Store) put(ctx context.Context, digest string, r io.Reader) error {
	name, err := key(blobs, digest, "")
	if err != nil {
		return err
	}
	if err := s.CheckBlob(ctx, digest); err == nil || errors.Is(err, ErrTemporary) {
		return err
	}
	return s.objects.write(ctx, name, r, false)
}

// OpenBlob returns a reader of the content of a digest. Where the content is not what the digest says, the read that comes to the end
// fails with ErrDamaged.
func (s *Store) OpenBlob(ctx context.Context, digest string) (io.ReadCloser, error) {
	name, err := key(blobs, digest, "")
	if err != nil {
		return nil, err
	}
	r, err := s.objects.read(ctx, name)
	if err != nil {
		return nil, err
	}
	return &verifyingReader{ReadCloser: r, sum: sha256.New(), digest: digest}, nil
}

// GetBlob returns the content of a digest, verified.
func (s *Store) GetBlob(ctx context.Context, digest string) ([]byte, error) {
	r, err := s.OpenBlob(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// CheckBlob reports whether the content of a digest is there and whole: nil, ErrNotFound, ErrDamaged, or what kept it from finding out.
func (s *Store) CheckBlob(ctx context.Context, digest string) error {
	r, err := s.OpenBlob(ctx, digest)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// verifyingReader checks content against its digest at its end.
type verifyingReader struct {
	io.ReadCloser
	sum    hash.Hash
	digest string
}

func (v *verifyingReader) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF {
		if got := digestOf(v.sum.Sum(nil)); got != v.digest {
			return n, fmt.Errorf("%s is %w: its content has digest %s", v.digest, ErrDamaged, got)
		}
	}
	return n, err
}

// Referrer is a result that names blobs. GetResult returns it only if they are all there and whole.
type Referrer interface{ Blobs() []string }

// PutResult commits a stage's result under the hash of its inputs and returns the result that counts: this one, or the one that was
// there first.
func PutResult[T any](ctx context.Context, s *Store, hash string, result *T) (*T, error) {
	name, err := key(results+s.domain, hash, ".json")
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	for range 5 {
		err := s.objects.write(ctx, name, bytes.NewReader(data), true)
		if err == nil {
			return result, nil
		}
		if !errors.Is(err, errPresent) {
			return nil, fmt.Errorf("store the result of %s: %w", hash, err)
		}
		first, err := GetResult[T](ctx, s, hash)
		if !errors.Is(err, ErrNotFound) { // else it was no good, and is gone now
			return first, err
		}
	}
	return nil, fmt.Errorf("%s: %w: the result of %s is there when written and not when read", s, ErrTemporary, hash)
}

// GetResult returns the result committed under a hash, or ErrNotFound. A result that cannot be read, or whose blobs are missing or
// damaged, counts as not there, and is removed unless the store is for reading alone.
func GetResult[T any](ctx context.Context, s *Store, hash string) (*T, error) {
	name, err := key(results+s.domain, hash, ".json")
	if err != nil {
		return nil, err
	}
	data, err := s.readAll(ctx, name)
	if err != nil {
		return nil, err
	}
	var result T
	err = json.Unmarshal(data, &result)
	if r, ok := any(&result).(Referrer); ok && err == nil {
		err = s.checkBlobs(ctx, r.Blobs())
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
			return nil, err
		}
	}
	if err != nil {
		if removing := s.DeleteResult(ctx, hash); removing != nil {
			return nil, removing
		}
		return nil, fmt.Errorf("the result of %s is no good: %w: %w", hash, err, ErrNotFound)
	}
	return &result, nil
}

func (s *Store) checkBlobs(ctx context.Context, digests []string) error {
	for _, digest := range digests {
		if !digestPattern.MatchString(digest) {
			return fmt.Errorf("%q is no digest: %w", digest, ErrDamaged)
		}
		if err := s.CheckBlob(ctx, digest); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readAll(ctx context.Context, name string) ([]byte, error) {
	r, err := s.objects.read(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// GetPublished returns what was published under a name for people, or ErrNotFound.
func (s *Store) GetPublished(ctx context.Context, name string) ([]byte, error) {
	if err := publishable(name); err != nil {
		return nil, err
	}
	return s.readAll(ctx, name)
}

// DeleteResult removes a result that turned out to be damaged, unless the store is for reading alone.
func (s *Store) DeleteResult(ctx context.Context, hash string) error {
	if _, fixed := s.objects.(readOnly); fixed {
		return nil
	}
	name, err := key(results+s.domain, hash, ".json")
	if err != nil {
		return err
	}
	return s.objects.remove(ctx, name)
}

// SaveCheckpoint stores what write writes as the checkpoint of a stage.
func (s *Store) SaveCheckpoint(ctx context.Context, hash string, write func(io.Writer) error) error {
	name, err := key(checkpoints+s.domain, hash, "")
	if err != nil {
		return err
	}
	var content parts
	sum := sha256.New()
	if err := write(io.MultiWriter(&content, sum)); err != nil {
		return err
	}
	if err := s.objects.write(ctx, name, io.MultiReader(bytes.NewReader(sum.Sum(nil)), content.reader()), false); err != nil {
		return fmt.Errorf("store the checkpoint: %w", err)
	}
	return nil
}

// parts hold what is written to them. They grow without copying what they hold, of which a buffer would need room for twice or more.
type parts [][]byte

const partSize = 1 << 20

func (p *parts) Write(data []byte) (int, error) {
	n := len(data)
	for len(data) > 0 {
		last := len(*p) - 1
		if last < 0 || len((*p)[last]) == cap((*p)[last]) {
			*p = append(*p, make([]byte, 0, partSize))
			last++
		}
		part := (*p)[last]
		room := min(len(data), cap(part)-len(part))
		(*p)[last], data = append(part, data[:room]...), data[room:]
	}
	return n, nil
}

func (p *parts) reader() io.Reader {
	var readers []io.Reader
	for _, part := range *p {
		readers = append(readers, bytes.NewReader(part))
	}
	return io.MultiReader(readers...)
}

// LoadCheckpoint returns the checkpoint of a stage, or ErrNotFound; a damaged one counts as none.
func (s *Store) LoadCheckpoint(ctx context.Context, hash string) ([]byte, error) {
	name, err := key(checkpoints+s.domain, hash, "")
	if err != nil {
		return nil, err
	}
	data, err := s.readAll(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(data) < sha256.Size || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data[:sha256.Size]) {
		return nil, ErrNotFound
	}
	return data[sha256.Size:], nil
}

// DeleteCheckpoint removes a stage's checkpoint, if there is one.
func (s *Store) DeleteCheckpoint(ctx context.Context, hash string) error {
	name, err := key(checkpoints+s.domain, hash, "")
	if err != nil {
		return err
	}
	return s.objects.remove(ctx, name)
}
