package artifact

import (
	"io/fs"
	"path/filepath"
)

// contained refuses a file or folder of a claim of which a link leads out of the claim: who may write to the claim could read through it
// what only the container may, such as credentials.
func (a address) contained() error {
	if a.claim == "" {
		return nil
	}
	claim, err := filepath.EvalSymlinks(a.claim)
	if err != nil {
		return explain(a.uri, err)
	}
	check := func(path string) error {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return explain(a.uri, err)
		}
		if below, err := filepath.Rel(claim, real); err != nil || !filepath.IsLocal(below) {
			return badAddress("%s: the link %s leads out of the claim: put what it leads to into the claim", a.uri, filepath.Base(path))
		}
		return nil
	}
	if err := check(a.local); err != nil {
		return err
	}
	return filepath.WalkDir(a.local, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return explain(a.uri, err)
		}
		if e.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		return check(path)
	})
}
