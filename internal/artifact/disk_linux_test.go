package artifact

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"gocloud.dev/blob/memblob"
)

// smallDisk mounts a file system of 64 KB.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, 0) })
	return folder
}

func TestAFullDiskLeavesNothingHalfWritten(t *testing.T) {
	folder := smallDisk(t)
	s, err := OpenFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("x"), 100<<10)
	if _, err := s.PutBlob(t.Context(), large); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("a blob: %v", err)
	}
	hash := Digest([]byte("inputs"))
	if err := s.SaveCheckpoint(t.Context(), hash, func(w io.Writer) error { _, err := w.Write([]byte("good")); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveCheckpoint(t.Context(), hash, func(w io.Writer) error { _, err := w.Write(large); return err }); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a checkpoint: %v", err)
	}
	if data, err := s.LoadCheckpoint(t.Context(), hash); err != nil || string(data) != "good" {
		t.Errorf("the checkpoint before: %q, %v", data, err)
	}
	if files := filesBelow(t, folder); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
}

func TestAFullDiskEndsAFetch(t *testing.T) {
	folder := smallDisk(t)
	b := memblob.OpenBucket(nil)
	defer b.Close()
	if err := b.WriteAll(t.Context(), "a", bytes.Repeat([]byte("x"), 100<<10), nil); err != nil {
		t.Fatal(err)
	}
	f := &fetch{address: address{uri: "mem://b/a"}, bucket: b, cache: Cache{Dir: folder}, objects: []object{{key: "a", path: "a", size: 100 << 10}}}
	if _, err := f.run(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if files := filesBelow(t, folder); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}
