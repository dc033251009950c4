package artifact

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"
)

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLocalAddressesAreFetchedWhereTheyAre(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "models", "a.tflite"), "model")
	o := Options{Base: root, ClaimRoot: root}
	for _, uri := range []string{"models/a.tflite", filepath.Join(root, "models/a.tflite"), "file://" + root + "/models/a.tflite", "pvc://models/a.tflite"} {
		got, err := Fetch(t.Context(), uri, o, Cache{Dir: "/nowhere"})
		if err != nil || got.Path != filepath.Join(root, "models", "a.tflite") {
			t.Errorf("%s: %+v, %v", uri, got, err)
		}
	}
	if _, err := Fetch(t.Context(), "models/b.tflite", o, Cache{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "models/b.tflite") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// fetchesFoldersOnce checks that folders and files of a store at uri are fetched.
func fetchesFoldersOnce(t *testing.T, s *Store, uri string, fetch func(uri string, cache Cache) (Fetched, error)) {
	t.Helper()
	for name, content := range map[string]string{"team/mnist/train.idx": "train", "team/mnist/test/a.idx": "test", "team/mnist2/no.idx": "no"} {
		if _, err := s.Publish(t.Context(), name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	cache := Cache{Dir: filepath.Join(t.TempDir(), "cache"), MaxBytes: 9}
	first, err := fetch(uri+"/team/mnist", cache)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(first.Path) != "mnist" || first.Bytes != 9 || !strings.HasPrefix(first.Digest, "sha256:") {
		t.Errorf("%+v", first)
	}
	for name, want := range map[string]string{"train.idx": "train", "test/a.idx": "test"} {
		if data, err := os.ReadFile(filepath.Join(first.Path, name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if files := filesBelow(t, first.Path); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
	if err := os.WriteFile(filepath.Join(first.Path, "mark"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := fetch(uri+"/team/mnist/", cache)
	if err != nil || again.Digest != first.Digest {
		t.Errorf("with a slash: %+v, %v", again, err)
	}
	again, err = fetch(uri+"/team/mnist", cache)
	if err != nil || again != first {
		t.Errorf("again: %+v, %v, want %+v", again, err, first)
	}
	if _, err := os.Stat(filepath.Join(again.Path, "mark")); err != nil {
		t.Error("it was brought again")
	}
	if _, err := s.Publish(t.Context(), "team/mnist/train.idx", []byte("other")); err != nil {
		t.Fatal(err)
	}
	if changed, err := fetch(uri+"/team/mnist", cache); err != nil || changed.Digest == first.Digest {
		t.Errorf("after a change: %+v, %v", changed, err)
	}
	if _, err := fetch(uri+"/team/mnist", Cache{Dir: t.TempDir(), MaxBytes: 8}); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "template.cacheSizeLimit") {
		t.Errorf("more than there is room for: %v", err)
	}
	if _, err := fetch(uri+"/team/nothing", cache); !errors.Is(err, ErrNotFound) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if whole, err := fetch(uri, Cache{Dir: t.TempDir()}); err != nil || whole.Bytes != 11 {
		t.Errorf("the whole bucket: %+v, %v", whole, err)
	}
}

func TestABucketFetchesFoldersOnce(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	s := &Store{objects: &bucket{b, "mem://data"}, address: "mem://data"}
	fetchesFoldersOnce(t, s, "mem://data", func(uri string, cache Cache) (Fetched, error) {
		key := strings.TrimPrefix(strings.TrimPrefix(uri, "mem://data"), "/")
		return address{uri: uri, scheme: "mem", bucket: "data", key: key}.fetch(t.Context(), b, cache)
	})
}

func TestAFetchThatFailsLeavesNothing(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	if err := b.WriteAll(t.Context(), "a", bytes.Repeat([]byte("x"), 1000), nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fetch{
		address: address{uri: "mem://b/", scheme: "mem", bucket: "b"}, bucket: b, cache: Cache{Dir: dir},
		objects: []object{{key: "a", path: "b/a", size: 1000}, {key: "gone", path: "b/gone", size: 1}},
	}
	if _, err := f.run(t.Context()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "mem://b/gone") {
		t.Errorf("an object that went away: %v", err)
	}
	f.objects = []object{{key: "a", path: "a", size: 999}}
	if _, err := f.run(t.Context()); !errors.Is(err, ErrTemporary) || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("an object that changed: %v", err)
	}
	if files := filesBelow(t, dir); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}

func TestKeysThatAreNoPathsAreNotFetched(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	if err := b.WriteAll(t.Context(), "data/../../etc/passwd", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	a := address{uri: "mem://b/data", scheme: "mem", bucket: "b", key: "data"}
	if _, err := a.list(t.Context(), b); err == nil || !strings.Contains(err.Error(), "is no path") {
		t.Errorf("got %v", err)
	}
}

// A link in a claim may lead to what is in the claim, and nowhere else: not to the container's secrets.
func TestALinkOutOfAClaimIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		link, to, uri string
		refused       bool
	}{
		"to a file of the claim":      {"models/b.tflite", "a.tflite", "pvc://models/b.tflite", false},
		"to a folder of the claim":    {"models/again", "data", "pvc://models/again", false},
		"to a file outside":           {"models/b.tflite", "../secrets/key", "pvc://models/b.tflite", true},
		"to a folder outside":         {"models/b", "../secrets", "pvc://models/b/key", true},
		"outside, below a dataset":    {"models/data/2.png", "../../secrets/key", "pvc://models/data", true},
		"to another claim, in a tree": {"models/data/more", "../../other", "pvc://models/data", true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, file := range []string{"models/a.tflite", "models/data/1.png", "secrets/key", "other/x"} {
				writeFile(t, filepath.Join(root, file), "x")
			}
			if err := os.Symlink(tt.to, filepath.Join(root, tt.link)); err != nil {
				t.Skip(err)
			}
			_, err := Fetch(t.Context(), tt.uri, Options{ClaimRoot: root}, Cache{})
			if tt.refused != errors.Is(err, ErrBadAddress) || !tt.refused && err != nil {
				t.Errorf("%v", err)
			}
			if tt.refused && (err == nil || !strings.Contains(err.Error(), "leads out of the claim")) {
				t.Errorf("%v does not say why", err)
			}
		})
	}
}
