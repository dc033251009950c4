package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// shards are the files of a dataset that may be many: their names or those of the folders they lie in tell their split.
type shards struct {
	folder string
	names  []string    // all, below the folder
	of     [3][]string // by split
	single bool        // none tells its split: all are of the first
}

// findShards finds the files at a path: one, or those of a folder that is says are such.
func findShards(path, what string, is func(name string) bool) (*shards, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return &shards{folder: filepath.Dir(path), names: []string{filepath.Base(path)}, of: [3][]string{{filepath.Base(path)}}, single: true}, nil
	}
	s := &shards{folder: path}
	if err := walkTree(path, func(file string, folder bool) error {
		if below, err := filepath.Rel(path, file); !folder && is(file) {
			s.names = append(s.names, below)
			return err
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if len(s.names) == 0 {
		return nil, fmt.Errorf("%s holds no %s files", path, what)
	}
	var without []string
	for _, name := range s.names {
		if at := shardSplit(name); at != undivided {
			s.of[at] = append(s.of[at], name)
		} else {
			without = append(without, name)
		}
	}
	switch {
	case len(without) == 0:
	case len(without) < len(s.names):
		return nil, fmt.Errorf("%s: does %s belong to train, validation or test? Its name says nothing, others' do", path, without[0])
	default:
		s.single, s.of[0] = true, without
	}
	if len(s.of[0])+len(s.of[2]) == 0 {
		return nil, fmt.Errorf("%s has validation samples only; call those to train with train-…", path)
	}
	return s, nil
}

// shardSplit is the split that a file's name tells, else the folder next above that tells one.
func shardSplit(name string) int {
	if at := splitOf(filepath.Base(name)); at != undivided {
		return at
	}
	folders := strings.Split(filepath.ToSlash(filepath.Dir(name)), "/")
	for _, folder := range slices.Backward(folders) {
		if at := splitCalled(folder); at != undivided {
			return at
		}
	}
	return undivided
}

// harvest is what the shards of one split hold.
type harvest struct {
	inputs []store
	labels []*array // by name of labels
}

// parts reads every split; labels are named once the first is read.
func (s *shards) parts(spec *Spec, read func(split []string) (*harvest, error), labels func() []*stem) (*parts, error) {
	found := &parts{files: s.names, single: s.single}
	slots := []**part{&found.train, &found.validation, &found.test}
	for at, names := range s.of {
		if len(names) == 0 {
			continue
		}
		h, err := read(names)
		if err != nil {
			return nil, err
		}
		*slots[at] = &part{inputs: h.inputs, raw: h.labels}
	}
	return found, found.tell(labels(), spec)
}
