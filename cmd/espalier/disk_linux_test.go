package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
)

// TestAFullDiskIsStorageAndLeavesNoHalfFile runs into a file system of 64 KB.
func TestAFullDiskIsStorageAndLeavesNoHalfFile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", out, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root to mount a small file system: %v", err)
	}
	defer syscall.Unmount(out, 0)
	_, stderr, code := espalier(context.Background(), "run", project(t), "-o", out)
	if code != 6 || !strings.Contains(stderr, "the disk is full: make room") {
		t.Errorf("exit code %d, want 6\n%s", code, stderr)
	}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch _, damaged := tflite.ReadFile(path); {
		case strings.HasSuffix(path, ".tflite") && damaged != nil:
			t.Errorf("half a file was left: %v", damaged)
		case strings.HasPrefix(d.Name(), "."):
			t.Errorf("a temporary file was left: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
