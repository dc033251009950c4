package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob/memblob"
)

// result is a stage's result that names a blob.
type result struct{ Leaf, By string }

func (r *result) Blobs() []string {
	if r.Leaf == "" {
		return nil
	}
	return []string{r.Leaf}
}

func open(t *testing.T) (*Store, string) {
	t.Helper()
	folder := t.TempDir()
	s, err := OpenFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, folder
}

// memory is a store in a bucket of the blob library.
func memory(t *testing.T) *Store {
	t.Helper()
	s := &Store{objects: &bucket{memblob.OpenBucket(nil), "mem://bucket"}, address: "mem://bucket"}
	t.Cleanup(func() { s.Close() })
	return s
}

// exercise checks what every store does.
func exercise(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	digest, err := s.PutBlob(ctx, []byte("a leaf"))
	if err != nil {
		t.Fatal(err)
	}
	if digest != Digest([]byte("a leaf")) {
		t.Errorf("digest %s", digest)
	}
	if data, err := s.GetBlob(ctx, digest); err != nil || string(data) != "a leaf" {
		t.Errorf("got %q, %v", data, err)
	}
	if again, err := s.PutStream(ctx, strings.NewReader("a leaf")); err != nil || again != digest {
		t.Errorf("as a stream: %s, %v", again, err)
	}
	if empty, err := s.PutStream(ctx, strings.NewReader("")); err != nil || s.CheckBlob(ctx, empty) != nil {
		t.Errorf("an empty blob: %v", err)
	}
	absent := Digest([]byte("absent"))
	if _, err := s.GetBlob(ctx, absent); !errors.Is(err, ErrNotFound) {
		t.Errorf("a blob that is not there: %v, want ErrNotFound", err)
	}

	hash := Digest([]byte("inputs"))
	if _, err := GetResult[result](ctx, s, hash); !errors.Is(err, ErrNotFound) {
		t.Errorf("no result yet: %v, want ErrNotFound", err)
	}
	for _, by := range []string{"first", "second"} {
		if got, err := PutResult(ctx, s, hash, &result{digest, by}); err != nil || got.By != "first" {
			t.Errorf("putting the %s: got %+v, %v", by, got, err)
		}
	}
	if err := s.DeleteResult(ctx, hash); err != nil {
		t.Error(err)
	}
	if got, err := PutResult(ctx, s, hash, &result{absent, "blind"}); err != nil || got.By != "blind" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := PutResult(ctx, s, hash, &result{digest, "third"}); err != nil || got.By != "third" {
		t.Errorf("a result whose blobs are missing still counts: got %+v, %v", got, err)
	}

	if _, err := s.LoadCheckpoint(ctx, hash); !errors.Is(err, ErrNotFound) {
		t.Errorf("no checkpoint yet: %v, want ErrNotFound", err)
	}
	for _, state := range []string{"state 1", "state 2"} {
		if err := s.SaveCheckpoint(ctx, hash, func(w io.Writer) error { _, err := io.WriteString(w, state); return err }); err != nil {
			t.Fatal(err)
		}
		if data, err := s.LoadCheckpoint(ctx, hash); err != nil || string(data) != state {
			t.Errorf("got %q, %v, want %s", data, err, state)
		}
	}
	for range 2 {
		if err := s.DeleteCheckpoint(ctx, hash); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.LoadCheckpoint(ctx, hash); !errors.Is(err, ErrNotFound) {
		t.Errorf("after deleting: %v, want ErrNotFound", err)
	}

	notes, err := s.Notes(hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "another"} {
		if err := notes.Write(ctx, "a.json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := notes.Read(ctx, "a.json"); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %s", got, err, text)
		}
	}
	for range 2 {
		if err := notes.Remove(ctx, "a.json"); err != nil {
			t.Error(err)
		}
	}
	if _, err := notes.Read(ctx, "a.json"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after removing: %v, want ErrNotFound", err)
	}
	if _, err := s.Notes("../stages"); err == nil {
		t.Error("a path was taken for a digest")
	}
}

func TestNotesHaveAnEnd(t *testing.T) {
	s, _ := open(t)
	notes, err := s.Notes(Digest([]byte("inputs")))
	if err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]error{maxNote: nil, maxNote + 1: ErrDamaged} {
		if err := notes.Write(t.Context(), "a.json", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if got, err := notes.Read(t.Context(), "a.json"); !errors.Is(err, want) || err == nil && len(got) != size {
			t.Errorf("a note of %d bytes: %d, %v", size, len(got), err)
		}
	}
}

func TestAFolderKeepsBlobsResultsAndCheckpoints(t *testing.T) { s, _ := open(t); exercise(t, s) }

func TestABucketKeepsBlobsResultsAndCheckpoints(t *testing.T) { exercise(t, memory(t)) }

func TestBlobsAreVerifiedOnReading(t *testing.T) {
	s, folder := open(t)
	ctx := t.Context()
	digest, err := s.PutBlob(ctx, []byte("a leaf"))
	if err != nil {
		t.Fatal(err)
	}
	hash := Digest([]byte("inputs"))
	if _, err := PutResult(ctx, s, hash, &result{Leaf: digest}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
	if err := os.WriteFile(file, []byte("tampered"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetBlob(ctx, digest); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged blob: got %v", err)
	}
	if _, err := GetResult[result](ctx, s, hash); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a result whose blob is damaged: got %v", err)
	}
	if _, err := s.PutBlob(ctx, []byte("a leaf")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetBlob(ctx, digest); err != nil {
		t.Errorf("storing it again does not mend it: %v", err)
	}
}

func TestADamagedResultIsRemovedAndMadeAnew(t *testing.T) {
	s, folder := open(t)
	ctx := t.Context()
	hash := Digest([]byte("inputs"))
	file := filepath.Join(folder, "stages", strings.TrimPrefix(hash, "sha256:")+".json")
	for _, content := range []string{"", "{", `{"Leaf":1}`, `{"Leaf":"no digest"}`} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := PutResult(ctx, s, hash, &result{By: "me"}); err != nil || got.By != "me" {
			t.Errorf("over %q: got %+v, %v", content, got, err)
		}
	}
}

func TestACheckpointComesBackHoweverItWasWritten(t *testing.T) {
	s, _ := open(t)
	ctx, hash := t.Context(), Digest([]byte("stage"))
	for _, sizes := range [][]int{nil, {0}, {1}, {partSize}, {partSize + 1}, {700_001, 1, 700_001, partSize, 3*partSize + 7}} {
		var want []byte
		err := s.SaveCheckpoint(ctx, hash, func(w io.Writer) error {
			for k, size := range sizes {
				piece := make([]byte, size)
				for i := range piece {
					piece[i] = byte(i*7 + k)
				}
				if n, err := w.Write(piece); n != size || err != nil {
					return fmt.Errorf("%d of %d bytes: %w", n, size, err)
				}
				want = append(want, piece...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.LoadCheckpoint(ctx, hash); err != nil || !bytes.Equal(got, want) {
			t.Errorf("pieces of %v bytes: %d of %d bytes come back, %v", sizes, len(got), len(want), err)
		}
	}
}

func TestADamagedCheckpointCountsAsNone(t *testing.T) {
	s, folder := open(t)
	ctx := t.Context()
	hash := Digest([]byte("inputs"))
	if err := s.SaveCheckpoint(ctx, hash, func(w io.Writer) error { _, err := w.Write([]byte("state")); return err }); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "checkpoints", strings.TrimPrefix(hash, "sha256:"))
	for _, size := range []int64{34, 0} {
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		if _, err := s.LoadCheckpoint(ctx, hash); !errors.Is(err, ErrNotFound) {
			t.Errorf("truncated to %d bytes: got %v, want ErrNotFound", size, err)
		}
	}
}

func TestNamesCannotLeaveTheStore(t *testing.T) {
	s, folder := open(t)
	if _, err := s.GetBlob(t.Context(), "sha256:../../etc/passwd"); err == nil {
		t.Error("a path was taken for a digest")
	}
	for _, name := range []string{"../ns/name/leaf.tflite", "ns/../../name/leaf.tflite", "/ns/name/leaf.tflite", "ns/name/../leaf.tflite", "ns/leaf.tflite", "leaf.tflite", "a/b/c", "blobs/sha256/leaf.tflite", ""} {
		if _, err := s.Publish(t.Context(), name, []byte("x")); err == nil {
			t.Errorf("%q was published", name)
		}
		if _, err := s.GetPublished(t.Context(), name); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q was looked for: %v", name, err)
		}
	}
	if files := filesBelow(t, filepath.Dir(folder)); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}

func TestPublishingReplaces(t *testing.T) {
	s, folder := open(t)
	for _, content := range []string{"old", "new"} {
		uri, err := s.Publish(t.Context(), "ns/name/leaves/pqat.tflite", []byte(content))
		if err != nil || uri != folder+"/ns/name/leaves/pqat.tflite" {
			t.Fatalf("%s, %v", uri, err)
		}
		if data, err := os.ReadFile(uri); err != nil || string(data) != content {
			t.Errorf("%q, %v", data, err)
		}
	}
}

// withdraws checks that what is published can be taken back.
func withdraws(t *testing.T, s *Store) {
	t.Helper()
	digest := strings.Repeat("0a", 32)
	for _, name := range []string{"ns/name/leaf.tflite", "ns/name/leaf-" + digest + ".tflite", "ns/name/leaf-mine.tflite", "ns/name/report.html", "ns/name/leaves/a.tflite", "ns/name/leaves/b.tflite", "ns/name/leaves/notes.txt", "ns/name/model.tflite", "ns/name2/leaf.tflite"} {
		if _, err := s.Publish(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	files, err := s.Published(t.Context(), "ns/name")
	slices.Sort(files)
	if want := []string{"leaf-" + digest + ".tflite", "leaf.tflite", "leaves/a.tflite", "leaves/b.tflite", "report.html"}; err != nil || !cmp.Equal(files, want) {
		t.Errorf("published: %v, %v, want %v", files, err, want)
	}
	for _, folder := range []string{"ns/name", "ns/other"} {
		leaves := []string{"leaf.tflite", "leaf-" + digest + ".tflite", "leaf-mine.tflite", "leaves/a.tflite", "leaves/c.tflite", "report.html"}
		if err := s.Withdraw(t.Context(), folder, leaves); err != nil {
			t.Fatal(err)
		}
	}
	left, err := s.objects.list(t.Context(), "ns/")
	if want := []string{"ns/name/leaf-mine.tflite", "ns/name/leaves/b.tflite", "ns/name/leaves/notes.txt", "ns/name/model.tflite", "ns/name/report.html", "ns/name2/leaf.tflite"}; err != nil || !cmp.Equal(left, want) {
		t.Errorf("left: %v, %v, want %v", left, err, want)
	}
	for _, folder := range []string{"", "ns", "ns/..", "blobs/sha256"} {
		if err := s.Withdraw(t.Context(), folder, nil); err == nil {
			t.Errorf("%q was withdrawn", folder)
		}
	}
}

func TestWhatWasPublishedCanBeWithdrawn(t *testing.T) {
	s, _ := open(t)
	withdraws(t, s)
	withdraws(t, memory(t))
}

func filesBelow(t *testing.T, folder string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAWriteThatFailsLeavesNothing(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("half of it"), iotest.ErrReader(errors.New("the wire broke")))
	t.Run("folder", func(t *testing.T) {
		s, folder := open(t)
		if err := s.objects.write(t.Context(), "ns/name/leaf.tflite", broken, false); err == nil || !strings.Contains(err.Error(), "the wire broke") {
			t.Errorf("got %v", err)
		}
		if files := filesBelow(t, folder); len(files) > 0 {
			t.Errorf("left: %v", files)
		}
	})
	t.Run("bucket", func(t *testing.T) {
		s := memory(t)
		if err := s.objects.write(t.Context(), "ns/name/leaf.tflite", broken, false); err == nil || !strings.Contains(err.Error(), "the wire broke") {
			t.Errorf("got %v", err)
		}
		if _, err := s.objects.read(t.Context(), "ns/name/leaf.tflite"); !errors.Is(err, ErrNotFound) {
			t.Errorf("left: %v", err)
		}
	})
	t.Run("a context that ends", func(t *testing.T) {
		s, folder := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		reader := io.MultiReader(strings.NewReader("half of it"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }))
		if err := s.objects.write(ctx, "ns/name/leaf.tflite", reader, false); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if files := filesBelow(t, folder); len(files) > 0 {
			t.Errorf("left: %v", files)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// firstOfMany has many writers commit a result for one hash at once.
func firstOfMany(t *testing.T, open func() *Store) {
	t.Helper()
	const writers = 8
	for round := range 5 {
		hash := Digest([]byte{byte(round)})
		results := make([]*result, writers)
		var all sync.WaitGroup
		for i := range writers {
			s := open()
			all.Go(func() {
				got, err := PutResult(t.Context(), s, hash, &result{By: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
				}
				results[i] = got
			})
		}
		all.Wait()
		for _, r := range results {
			if r == nil || *r != *results[0] {
				t.Fatalf("round %d: one has %+v, another %+v", round, results[0], r)
			}
		}
	}
}

func TestTheFirstOfManyWritersWins(t *testing.T) {
	folder := t.TempDir()
	firstOfMany(t, func() *Store {
		s, err := OpenFolder(folder)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestManyWritersOfOneBlobAreHarmless(t *testing.T) {
	s, folder := open(t)
	content := bytes.Repeat([]byte("leaf"), 1<<16)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			digest, err := s.PutBlob(t.Context(), content)
			if err == nil {
				err = s.CheckBlob(t.Context(), digest)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if files := filesBelow(t, folder); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
}

func TestAFolderOfAnotherUserIsDenied(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may do everything")
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	s, err := OpenFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutBlob(t.Context(), []byte("x")); !errors.Is(err, ErrDenied) {
		t.Errorf("got %v", err)
	}
}
