package dataset

import (
	"fmt"
	"io/fs"
	"os"
	"path"
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
	lists, others, err := f.findListings(root, entries, m, spec)
	if err != nil {
		return nil, err
	}
	if len(lists) > 0 {
		found, err := lists.parts(root, m, spec)
		if err == nil {
			err = m.unlisted(root, found)
		}
		return found, err
	}
	folders := [3]string{}
	for _, e := range entries {
		if at := splitCalled(e.Name()); at != undivided && isFolder(root, e) {
			if folders[at] != "" {
				return nil, fmt.Errorf("%s has both %s and %s, which are the same split; put their %s into one", root, folders[at], e.Name(), m.what)
			}
			folders[at] = e.Name()
		}
	}
	found := &parts{single: folders == [3]string{}}
	if len(spec.Samples) > 0 {
		found.notes = append(found.notes, fmt.Sprintf("dataset.samples is left out: the %s of a folder have no names of arrays", m.what))
	}
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
			return nil, fmt.Errorf("%s has %s of formats that are not read (%s): %s, or take them out", filepath.Join(root, folder), several(len(others), "files"),
				strings.Join(others[:min(len(others), 5)], ", "), m.remedy)
		}
		if found.single && spec.Target != None {
			if err := m.splitsForClasses(root, trees[i]); err != nil {
				return nil, err
			}
		}
		found.files = append(found.files, trees[i].paths...)
		found.names = append(found.names, trees[i].classes...)
	}
	slices.Sort(found.names)
	found.names = slices.Compact(found.names)
	if len(found.files) == 0 {
		return nil, fmt.Errorf("%s holds no %s files, neither in itself nor by class", root, strings.Join(m.extensions, ", "))
	}
	if len(others) > 0 {
		if len(found.names) == 0 && spec.Target != None {
			return nil, fmt.Errorf("%s lists no %s of the folder: head the column of their file names `filename` and the one of labels `label`; dataset.target None goes without labels, dataset.format Table reads tables beside %s",
				filepath.Join(root, others[0]), m.what, m.what)
		}
		found.notes = append(found.notes, fmt.Sprintf("%s lists no %s and is left out", strings.Join(others, ", "), m.what))
	}
	if len(found.names) == 0 && spec.Target == "" {
		found.notes = append(found.notes, fmt.Sprintf("the %s have no labels: a folder for each class, or a labels.csv with the columns filename and label, gives them (dataset.target: None says that none are meant)", m.what))
	}
	if !found.single {
		notes, err := m.beside(root, entries)
		if err != nil {
			return nil, err
		}
		found.notes = append(found.notes, notes...)
	}
	for i, tree := range trees {
		if tree != nil {
			found.notes = append(found.notes, tree.notes(m.what, folders[i], found.names)...)
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

// beside names what lies beside the folders of splits and is in none: a folder whose name is misspelt, or loose files.
func (m *media) beside(root string, entries []fs.DirEntry) ([]string, error) {
	var notes []string
	loose := 0
	for _, e := range entries {
		folder := isFolder(root, e)
		switch {
		case strings.HasPrefix(e.Name(), "."), folder && splitCalled(e.Name()) != undivided:
		case folder:
			n := 0
			if err := walkTree(filepath.Join(root, e.Name()), func(path string, folder bool) error {
				if !folder && m.reads(path) {
					n++
				}
				return nil
			}); err != nil {
				return nil, err
			}
			if n > 0 {
				notes = append(notes, fmt.Sprintf("%s is no split (train, validation or test) and is left out, with %s", e.Name(), several(n, m.what)))
			}
		case m.reads(e.Name()):
			loose++
		}
	}
	if loose > 0 {
		notes = append(notes, fmt.Sprintf("%s beside the folders of the splits: left out", several(loose, m.what)))
	}
	return notes, nil
}

// unlisted notes files below the root that no list names.
func (m *media) unlisted(root string, found *parts) error {
	listed := map[string]bool{}
	for _, name := range found.files {
		listed[path.Clean(name)] = true
	}
	n, first := 0, ""
	err := walkTree(root, func(file string, folder bool) error {
		below, _ := filepath.Rel(root, file)
		if below = filepath.ToSlash(below); folder || !m.reads(file) || listed[below] {
			return nil
		}
		if n++; n == 1 {
			first = below
		}
		return nil
	})
	if n > 0 {
		found.notes = append(found.notes, fmt.Sprintf("%s in no list: left out, such as %s", several(n, m.what), first))
	}
	return err
}

// reads reports whether a file has the extension of one that is read.
func (m *media) reads(path string) bool {
	return slices.Contains(m.extensions, strings.ToLower(filepath.Ext(path)))
}

// several is a number of things, named by their plural.
func several(n int, things string) string {
	return fmt.Sprintf("%d %s", n, plural(n, strings.TrimSuffix(things, "s"), things))
}

// mediaTree is the files of one split.
type mediaTree struct {
	paths   []string // sorted, slash-separated, below the root
	class   []string // of each; empty where it lies in no class's folder
	classes []string // that have files
	folders []string // that a class's files may lie in
	others  []string // files of formats that are not read
	strays  []string // other files in the folders of classes
}

// walk finds the files below root/folder. The first folder below it is the class.
func (m *media) walk(root, folder string) (*mediaTree, error) {
	tree := &mediaTree{}
	base := filepath.Join(root, folder)
	loose := 0
	err := walkTree(base, func(path string, folder bool) error {
		if folder && filepath.Dir(path) == base {
			tree.folders = append(tree.folders, filepath.Base(path))
		}
		within, _ := filepath.Rel(base, path)
		within = filepath.ToSlash(within)
		if !folder && slices.Contains(m.unread, strings.ToLower(filepath.Ext(path))) {
			tree.others = append(tree.others, within)
		}
		if !folder && !m.reads(path) && strings.Contains(within, "/") && !slices.Contains(m.unread, strings.ToLower(filepath.Ext(path))) {
			below, _ := filepath.Rel(root, path)
			tree.strays = append(tree.strays, filepath.ToSlash(below))
		}
		if folder || !m.reads(path) {
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
		err = fmt.Errorf("%s has %s beside the folders of its classes: move them into one, or list all in a labels.csv of filename and label", base, several(loose, m.what))
	}
	return tree, err
}

// notes names what the walk passed over: files that are not read, and the folders of classes that have none of names.
func (t *mediaTree) notes(what, folder string, names []string) []string {
	var out []string
	if n := len(t.strays); n > 0 {
		out = append(out, fmt.Sprintf("%s among the %s left out: %s", several(n, "other files"), what, short(t.strays)))
	}
	if len(t.classes) == 0 {
		return out
	}
	for _, class := range t.folders {
		if !slices.Contains(names, class) {
			out = append(out, fmt.Sprintf("the folder %s holds no %s: it is no class", path.Join(folder, class), what))
		}
	}
	return out
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

// recogniseMedia tells by the first recording or image below a folder what it is of, else by the first file that holds many samples; nothing if
// there is none.
func recogniseMedia(root string) Format {
	var found Format
	_ = walkTree(root, func(path string, folder bool) error { // what cannot be walked is said when it is read
		switch suffix := strings.ToLower(filepath.Ext(path)); {
		case folder:
		case slices.Contains(recordingFiles, suffix):
			found = Audio
			return filepath.SkipAll
		case slices.Contains(imageFiles, suffix):
			found = Images
			return filepath.SkipAll
		case found != "":
		case suffix == ".parquet":
			found = Parquet
		case isWebDataset(path):
			found = WebDataset
		}
		return nil
	})
	return found
}
