package dataset

import (
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
	name    string
	columns listColumns
	paths   [4][]string // by split, slash-separated, below the root
	labels  [4][]string
	single  bool // without a word on splits
}

type listings []*listing

// listColumns are the columns of a list; −1 where there is none.
type listColumns struct {
	file, label, split int
	named              bool     // the label's is, by its heading or dataset.labels
	headings           []string // nil: none
}

// findListings reads the lists of files in a folder: .csv files that have a column of the names of files. others are tables that have none.
func (f *files) findListings(root string, entries []fs.DirEntry, m *media, spec *Spec) (out listings, others []string, err error) {
	seen := map[string]listed{}
	for _, e := range entries {
		if isFolder(root, e) || strings.HasPrefix(e.Name(), ".") || !isTable(e.Name()) {
			continue
		}
		l := &listing{name: e.Name()}
		switch known, err := f.readListing(root, l, m, spec, seen); {
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", filepath.Join(root, e.Name()), err)
		case known:
			out = append(out, l)
		default:
			others = append(others, e.Name())
		}
	}
	return out, others, nil
}

// listed is where a file was listed first, and with which label.
type listed struct {
	list, label string
	line        int
}

// readListing reads a list of files; false if the table is none.
func (f *files) readListing(root string, l *listing, m *media, spec *Spec, seen map[string]listed) (bool, error) {
	_, of := divide("x_" + tableStem(l.name))
	c := &columns{path: filepath.Join(root, l.name)}
	head, err := f.firstRows(c)
	if err != nil || len(head) == 0 {
		return false, err
	}
	if l.columns.file, l.columns.headings = m.fileColumn(root, tableStem(l.name), head); l.columns.file < 0 {
		return false, nil
	}
	if err := l.columns.others(head, spec); err != nil {
		return false, err
	}
	l.single = of == undivided && l.columns.split < 0
	known, heads := words{}, l.columns.headings != nil
	only := slices.Repeat([]bool{true}, len(head[0]))
	err = f.eachRow(c, func(row []string, line int) error {
		if heads {
			heads = false
			return nil
		}
		for k := range row {
			only[k] = only[k] && splitCalled(row[k]) != undivided
		}
		at := of
		if k := l.columns.split; k >= 0 {
			if at = splitCalled(row[k]); at == undivided {
				return fmt.Errorf("line %d: %q is no split; call them train, validation and test", line, row[k])
			}
		}
		path, err := m.resolve(root, tableStem(l.name), strings.TrimSpace(row[l.columns.file]))
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		l.paths[at] = append(l.paths[at], path)
		label := ""
		if k := l.columns.label; k >= 0 {
			if label = known.keep(strings.TrimSpace(row[k])); label == "" {
				return fmt.Errorf("line %d, column %d: %w", line, k+1, errEmptyLabel)
			}
			l.labels[at] = append(l.labels[at], label)
		}
		same := filepath.Clean(path)
		before, again := seen[same]
		if again && label != "" && before.label != "" && before.label != label {
			return fmt.Errorf("line %d: %s has label %s, in %s, line %d, %s: which is it?", line, path, label, before.list, before.line, before.label)
		}
		if !again {
			seen[same] = listed{l.name, label, line}
		}
		return nil
	})
	if err == nil && of == undivided {
		err = l.columns.splitsUnheaded(only)
	}
	return true, err
}

// fileColumn is the column of the names of files, −1 if there is none, and the headings if the first row is of such: the column that is
// headed so, else one that names a file.
func (m *media) fileColumn(root, folder string, rows [][]string) (int, []string) {
	names := func(field string) bool {
		_, found := m.find(root, folder, strings.TrimSpace(field))
		return found || m.reads(strings.TrimSpace(field))
	}
	first, second := rows[0], rows[len(rows)-1]
	if at := slices.IndexFunc(first, m.reads); at >= 0 {
		return at, nil
	}
	headings := make([]string, len(first))
	for k := range first {
		headings[k] = strings.TrimSpace(first[k])
	}
	at := -1
	for k := range headings { // of two that are headed so, such as path and filename, the one that names a file
		if headed(headings[k:k+1], fileColumns) == 0 && (at < 0 || !names(second[at]) && names(second[k])) {
			at = k
		}
	}
	switch {
	case at >= 0:
		return at, headings
	case slices.ContainsFunc(first, names):
		return slices.IndexFunc(first, names), nil
	case slices.ContainsFunc(second, names):
		return slices.IndexFunc(second, names), headings
	}
	return -1, nil
}

// others finds the columns of labels and of splits.
func (c *listColumns) others(rows [][]string, spec *Spec) error {
	c.label, c.split = headed(c.headings, labelColumns), headed(c.headings, splitColumns)
	if spec.Target == None {
		c.label = -1
		return nil
	}
	if spec.Labels != "" {
		if c.headings == nil {
			return fmt.Errorf("has no headings, so that no column is called %q (dataset.labels)", spec.Labels)
		}
		if c.label = headed(c.headings, []string{spec.Labels}); c.label < 0 {
			return fmt.Errorf("has no column %q (dataset.labels); there are %s", spec.Labels, short(c.headings))
		}
	}
	if c.named = c.label >= 0; c.named {
		return nil
	}
	var left []int
	for k := range rows[0] {
		switch {
		case k == c.file || k == c.split || k == 0 && c.headings != nil && c.headings[0] == "": // the row numbers that pandas writes
		case c.headings == nil && c.split < 0 && len(rows[0]) > 2 && !slices.ContainsFunc(rows, func(row []string) bool { return splitCalled(row[k]) == undivided }):
			c.split = k
		default:
			left = append(left, k)
		}
	}
	switch {
	case len(left) == 0:
	case len(left) == 1:
		c.label = left[0]
	case c.headings == nil:
		return fmt.Errorf("has %d columns and no headings: head them filename, label and split", len(rows[0]))
	default:
		return fmt.Errorf("which column is the label? Head it `label`, or name it in dataset.labels; there are %s", short(c.headings))
	}
	return nil
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

// resolve finds and measures a listed file.
func (m *media) resolve(root, folder, name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(filepath.ToSlash(name))) {
		return "", fmt.Errorf("%q is no file of the folder; write paths relative to it", name)
	}
	path, found := m.find(root, folder, name)
	if !found {
		return "", fmt.Errorf("there is no file %s in %s: add it, or take the row out", name, root)
	}
	full := filepath.Join(root, filepath.FromSlash(path))
	if err := m.measure(full); err != nil {
		return "", fmt.Errorf("%s: %w", full, err)
	}
	return path, nil
}

// find finds a listed file below the root, or below the folder that has the list's name; its extension may be left out, and folders may be parted as
// Windows does.
func (m *media) find(root, folder, name string) (string, bool) {
	if name = filepath.ToSlash(name); name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", false
	}
	extensions := []string{""}
	if !m.reads(name) {
		extensions = append(extensions, m.extensions...)
	}
	for _, path := range []string{name, folder + "/" + name} {
		for _, extension := range extensions {
			info, err := os.Stat(filepath.Join(root, filepath.FromSlash(path+extension)))
			if err == nil && info.Mode().IsRegular() {
				return strings.Clone(path + extension), true
			}
		}
	}
	if strings.Contains(name, `\`) {
		return m.find(root, folder, strings.ReplaceAll(name, `\`, "/"))
	}
	return "", false
}

// parts makes the splits of lists.
func (all listings) parts(root string, m *media, spec *Spec) (*parts, error) {
	found := &parts{single: len(all) == 1 && all[0].single}
	labels := map[string]*table{}
	var without *listing // that has no labels
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
			if len(l.labels[at]) == 0 {
				without = l
				continue
			}
			t := tableOf(l.labels[at])
			t.title = filepath.Join(root, l.name)
			labels["y"+splitSuffix(at)] = t
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
	found.notes = repeated(paths[:])
	switch {
	case spec.Target == None:
		return found, nil
	case len(labels) == 0:
		found.notes = append(found.notes, fmt.Sprintf("%s has no column of labels", without.name))
		return found, nil
	case without != nil:
		return nil, fmt.Errorf("%s has no column of labels, other lists have: add it, or set dataset.target to None to do without", filepath.Join(root, without.name))
	}
	named := catalogue{}
	encodeTables(labels, func(name string, a *array, classes []string) {
		named.add(&entry{name: name, dims: a.dims, kind: a.kind, names: classes})
		_, at := divide(name)
		(*slots[at]).raw = []*array{a}
	})
	if err := found.tell([]*stem{named["y"]}, spec); err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	return found, nil
}

// repeated notes files that are in two splits.
func repeated(splits [][]string) []string {
	of := map[string]int{}
	n, first := 0, ""
	for at, paths := range splits {
		for _, path := range paths {
			path = filepath.Clean(path)
			if before, listed := of[path]; listed && before != at {
				if n++; n == 1 {
					first = path
				}
			}
			of[path] = at
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s in two splits, such as %s: figures are of what was trained on", several(n, "files"), first)}
}
