// Package testmaterial finds the models, data and goldens that tests use. Those made for this project are in the repository
// (test/testdata/material); others' are not.
package testmaterial

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a file of the material, given relative to its root: the repository's own part, else ESPALIER_MATERIAL, or
// ../shared/material beside the module. Without it the test is skipped, saying so.
func Path(t testing.TB, name string) string {
	t.Helper()
	own, root := roots(t)
	if path := filepath.Join(own, name); exists(path) {
		return path
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs the material: %v (set ESPALIER_MATERIAL)", err)
	}
	return path
}

// Glob returns the files of the material that match any of the patterns, each from the repository's own part if that has any; none is
// a skip.
func Glob(t testing.TB, patterns ...string) []string {
	t.Helper()
	own, root := roots(t)
	var out []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(own, pattern))
		if err == nil && len(found) == 0 {
			found, err = filepath.Glob(filepath.Join(root, pattern))
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	if len(out) == 0 {
		t.Skipf("needs the material: no %v in %s (set ESPALIER_MATERIAL)", patterns, root)
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// roots are the folder of the repository's own material and that of all.
func roots(t testing.TB) (own, all string) {
	t.Helper()
	all = os.Getenv("ESPALIER_MATERIAL")
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if exists(filepath.Join(folder, "go.mod")) {
			if all == "" {
				all = filepath.Join(folder, "..", "shared", "material")
			}
			return filepath.Join(folder, "test", "testdata", "material"), all
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Skip("needs the material: no go.mod above the working directory (set ESPALIER_MATERIAL)")
		}
		folder = parent
	}
}
