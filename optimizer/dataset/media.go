package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// media is what files may hold, one a sample.
type media struct {
	what       string   // such as images
	extensions []string // of files that are read
	unread     []string // of files of the kind that are not
	remedy     string   // for those
	// store holds the files of a split, which begin below root.
	store func(root string, paths []string) store
	// measure looks at a file before it is needed.
	measure func(path string) error
}

// mediaParts reads a folder of files: by split and class, or as .csv files in it list them.
func mediaParts(f *files, root string, m *media, spec *Spec) (*parts, error) {
	if inputs := spec.inputs(); len(inputs) > 1 {
		return nil, fmt.Errorf("%s is a folder of %s, which are one input; the network has %d (%s): give a .npz or a folder of arrays, x_train_%s …",
			root, m.what, len(inputs), list(inputs), inputs[0].name())
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	lists, err := f.findListings(root, entries, m, spec)
	if err != nil {
		return nil, err
	}
	if len(lists) > 0 {
		return lists.parts(root, m, spec)
	}
	folders := [3]string{}
	for _, e := range entries {
		for i, names := range splitNames {
			if e.IsDir() && slices.Contains(names, strings.ToLower(e.Name())) {
				if folders[i] != "" {
					return nil, fmt.Errorf("%s has both %s and %s, which are the same split; put their %s into one", root, folders[i], e.Name(), m.what)
				}
				folders[i] = e.Name()
			}
		}
	}
	found := &parts{single: folders == [3]string{}}
	if found.single {
		folders[0] = "."
	}
	var trees [3]*mediaTree
	for i, folder := range folders {
		if folder == "" {
			continue
		}
		if trees[i], err = m.walk(root, folder); err != nil {
			return nil, err
		}
		if others := trees[i].others; len(others) > 0 {
			return nil, fmt.Errorf("%s: %d files are of formats that are not read (%s): %s, or take them out", filepath.Join(root, folder), len(others),
				strings.Join(others[:min(len(others), 5)], ", "), m.remedy)
		}
		found.files = append(found.files, trees[i].paths...)
		found.names = append(found.names, trees[i].classes...)
	}
	slices.Sort(found.names)
	found.names = slices.Compact(found.names)
	if len(found.files) == 0 {
		return nil, fmt.Errorf("%s holds no %s files, neither in itself nor by class", root, strings.Join(m.extensions, ", "))
	}
	for i, tree := range trees {
		if tree != nil {
			found.notes = append(found.notes, tree.lacks(m.what, folders[i], trees[:])...)
		}
	}
	slots := []**part{&found.train, &found.validation, &found.test}
	for i, tree := range trees {
		if tree != nil && len(tree.paths) > 0 {
			*slots[i] = tree.part(m.store(root, tree.paths), found.names, spec)
		}
	}
	if found.train == nil && found.test == nil {
		return nil, fmt.Errorf("%s has validation %s only; put those to train with in %s", root, m.what, filepath.Join(root, "train"))
	}
	return found, nil
}

// mediaTree is the files of one split.
type mediaTree struct {
	paths   []string // sorted, slash-separated, below the root
	class   []string // of each; empty where it lies in no class's folder
	classes []string // that have files
	folders []string // that a class's files may lie in
	others  []string // files of formats that are not read
}

// walk finds the files below root/folder. The first folder below it is the class.
func (m *media) walk(root, folder string) (*mediaTree, error) {
	tree := &mediaTree{}
	base := filepath.Join(root, folder)
	loose := 0
	err := filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != base && strings.HasPrefix(e.Name(), ".") {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if e.IsDir() && filepath.Dir(path) == base && path != base {
			tree.folders = append(tree.folders, e.Name())
		}
		within, _ := filepath.Rel(base, path)
		within = filepath.ToSlash(within)
		suffix := strings.ToLower(filepath.Ext(path))
		if !e.IsDir() && slices.Contains(m.unread, suffix) {
			tree.others = append(tree.others, within)
		}
		if e.IsDir() || !slices.Contains(m.extensions, suffix) {
			return nil
		}
		if err := m.measure(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		class, _, nested := strings.Cut(within, "/")
		if !nested {
			class = ""
			loose++
		} else if !slices.Contains(tree.classes, class) {
			tree.classes = append(tree.classes, class)
		}
		below, _ := filepath.Rel(root, path)
		tree.paths, tree.class = append(tree.paths, filepath.ToSlash(below)), append(tree.class, class)
		return nil
	})
	if err == nil && loose > 0 && len(tree.classes) > 0 {
		err = fmt.Errorf("%s has %d %s beside the folders of its classes; move them into one", base, loose, m.what)
	}
	return tree, err
}

// lacks names the classes, of this split or another, that the split has no files of.
func (t *mediaTree) lacks(what, folder string, all []*mediaTree) []string {
	var without []string
	for _, tree := range all {
		if tree == nil {
			continue
		}
		for _, class := range append(slices.Clone(tree.folders), tree.classes...) {
			if !slices.Contains(t.classes, class) && !slices.Contains(without, class) {
				without = append(without, class)
			}
		}
	}
	if len(t.paths) == 0 || len(t.classes) == 0 || len(without) == 0 {
		return nil
	}
	slices.Sort(without)
	return []string{fmt.Sprintf("%s has no %s of class %s", folder, what, strings.Join(without, ", "))}
}

func (t *mediaTree) part(samples store, names []string, spec *Spec) *part {
	p := &part{inputs: []store{samples}}
	if len(t.classes) == 0 || spec.Target == None {
		return p
	}
	labels := &target{Target: Target{Name: "y", Kind: Class, Classes: max(len(names), spec.Classes)}}
	for _, class := range t.class {
		i, _ := slices.BinarySearch(names, class)
		labels.classes = append(labels.classes, int32(i))
	}
	p.targets = []*target{labels}
	return p
}

// recogniseMedia tells by the first file below a folder what it is of, nothing if there is none.
func recogniseMedia(root string) Format {
	var found Format
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error { // what cannot be walked is said when it is read
		switch suffix := strings.ToLower(filepath.Ext(path)); {
		case err != nil:
			return err
		case path != root && strings.HasPrefix(e.Name(), ".") && e.IsDir():
			return filepath.SkipDir
		case e.IsDir(), strings.HasPrefix(e.Name(), "."):
		case slices.Contains(recordingFiles, suffix):
			found = Audio
			return filepath.SkipAll
		case slices.Contains(imageFiles, suffix):
			found = Images
			return filepath.SkipAll
		}
		return nil
	})
	return found
}
