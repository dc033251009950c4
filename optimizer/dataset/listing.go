package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The headings of the columns of a list of files, besides labelColumns.
var (
	fileColumns  = []string{"filename", "file", "file_name", "filepath", "file_path", "path", "image", "image_path", "audio", "wav", "fname"}
	splitColumns = []string{"split", "subset", "set"}
)

// listing is a .csv file that lists files and their labels, in the order of its rows.
type listing struct {
	name   string
	paths  [4][]string // by split, slash-separated, below the root
	labels [4][]string
	single bool // without a word on splits
}

type listings []*listing

// findListings reads the lists of files in a folder: .csv files that have a column of the names of files.
func (f *files) findListings(root string, entries []fs.DirEntry, m *media, spec *Spec) (listings, error) {
	var out listings
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !isTable(e.Name()) {
			continue
		}
		l := &listing{name: e.Name()}
		switch known, err := f.readListing(root, l, m, spec); {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", filepath.Join(root, e.Name()), err)
		case known:
			out = append(out, l)
		}
	}
	return out, nil
}

// readListing reads a list of files; false if the table is none.
func (f *files) readListing(root string, l *listing, m *media, spec *Spec) (bool, error) {
	_, of := divide("x_" + tableStem(l.name))
	l.single = of == undivided
	file, label, split := -1, -1, -1
	rows, other := 0, errors.New("is no list of files")
	err := f.eachRow(&columns{path: filepath.Join(root, l.name)}, func(row []string, _ int) error {
		if file < 0 {
			if file = headed(row, fileColumns); file >= 0 {
				label, split = headed(row, labelColumns), headed(row, splitColumns)
				if spec.Labels != "" {
					if label = headed(row, []string{spec.Labels}); label < 0 {
						return fmt.Errorf("has no column %q (dataset.labels); there are %s", spec.Labels, short(row))
					}
				}
				if label < 0 && len(row) == 2 {
					label = 1 - file
				}
				l.single = l.single && split < 0
				return nil
			}
			if !slices.Contains(m.extensions, strings.ToLower(filepath.Ext(strings.TrimSpace(row[0])))) {
				return other
			}
			if file = 0; len(row) == 2 { // no headings
				label = 1
			}
		}
		rows++
		at := of
		if split >= 0 {
			if at = splitCalled(row[split]); at == undivided {
				return fmt.Errorf("row %d: %q is no split; call them train, validation and test", rows, row[split])
			}
		}
		path, err := m.resolve(root, tableStem(l.name), strings.TrimSpace(row[file]))
		if err != nil {
			return fmt.Errorf("row %d: %w", rows, err)
		}
		l.paths[at] = append(l.paths[at], path)
		if label >= 0 {
			l.labels[at] = append(l.labels[at], strings.TrimSpace(row[label]))
		}
		return nil
	})
	if errors.Is(err, other) || file < 0 && err == nil {
		return false, nil
	}
	return true, err
}

// headed is the column that has one of several headings, −1 if none has.
func headed(row, names []string) int {
	return slices.IndexFunc(row, func(field string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(strings.TrimSpace(field), name) })
	})
}

// splitCalled is the split that a word means.
func splitCalled(word string) int {
	for i, names := range splitNames {
		if slices.Contains(names, strings.ToLower(strings.TrimSpace(word))) {
			return i
		}
	}
	return undivided
}

// resolve finds a listed file below the root, or below the folder that has the list's name.
func (m *media) resolve(root, folder, name string) (string, error) {
	name = filepath.ToSlash(name)
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf("%q is no file of the folder; write paths relative to it", name)
	}
	for _, path := range []string{name, folder + "/" + name} {
		full := filepath.Join(root, filepath.FromSlash(path))
		if _, err := os.Stat(full); err == nil {
			if err := m.measure(full); err != nil {
				return "", fmt.Errorf("%s: %w", full, err)
			}
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no file %s in %s", name, root)
}

// parts makes the splits of lists.
func (all listings) parts(root string, m *media, spec *Spec) (*parts, error) {
	found := &parts{single: len(all) == 1 && all[0].single}
	labels, labelled := map[string]*table{}, spec.Target != None
	var paths [4][]string
	for _, l := range all {
		found.files = append(found.files, l.name)
		if len(all) > 1 && l.single {
			return nil, fmt.Errorf("%s is of no split, beside other lists: call them train.csv, validation.csv and test.csv", filepath.Join(root, l.name))
		}
		for at, listed := range l.paths {
			if len(listed) == 0 {
				continue
			}
			if paths[at] != nil {
				return nil, fmt.Errorf("%s and another list have files of the same split; put them into one", filepath.Join(root, l.name))
			}
			paths[at] = listed
			found.files = append(found.files, listed...)
			if labelled = labelled && len(l.labels[at]) > 0; labelled {
				t := tableOf(l.labels[at])
				t.title = filepath.Join(root, l.name)
				labels["y"+splitSuffix(at)] = t
			}
		}
	}
	slots := []**part{&found.train, &found.validation, &found.test, &found.train}
	for at, listed := range paths {
		if listed != nil {
			*slots[at] = &part{inputs: []store{m.store(root, listed)}}
		}
	}
	if found.train == nil && found.test == nil {
		return nil, fmt.Errorf("%s lists no %s to train with or to test", root, m.what)
	}
	if !labelled {
		return found, nil
	}
	named := catalogue{}
	encodeTables(labels, func(name string, a *array, classes []string) {
		named.add(&entry{name: name, dims: a.dims, kind: a.kind, names: classes})
		_, at := divide(name)
		(*slots[at]).raw = []*array{a}
	})
	return found, found.tell([]*stem{named["y"]}, spec)
}
