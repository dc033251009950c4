package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// walkTree calls visit with every folder and file below a folder, in the order of their names, apart from hidden ones. Links are what they
// lead to, except that one to a folder that it lies in is left out.
func walkTree(folder string, visit func(path string, folder bool) error) error {
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	return walkLinked(folder, []string{real}, visit)
}

// walkLinked walks a folder. above are the real paths of it and of those that it lies in.
func walkLinked(folder string, above []string, visit func(path string, folder bool) error) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path, below := filepath.Join(folder, e.Name()), filepath.Join(above[len(above)-1], e.Name())
		isFolder := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			if isFolder, err = leadsToFolder(path); err != nil {
				return err
			}
			if isFolder {
				if below, err = filepath.EvalSymlinks(path); err != nil {
					return err
				}
			}
		}
		if isFolder && slices.Contains(above, below) {
			continue
		}
		if err := visit(path, isFolder); err != nil {
			return err
		}
		if isFolder {
			if err := walkLinked(path, append(slices.Clip(above), below), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// leadsToFolder reports whether a link leads to a folder.
func leadsToFolder(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("%s leads nowhere: mend the link, or take it out", path)
	}
	return info.IsDir(), nil
}

// isFolder reports whether a folder's entry is a folder, by a link or not.
func isFolder(root string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(root, e.Name()))
	return err == nil && info.IsDir()
}
