package dataset

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// arraysParts reads a folder of array files named as the arrays of a .npz file would be, or one file of samples with its labels
// in a .csv file of the same name beside it.
func arraysParts(f *files, path string, spec *Spec) (*parts, error) {
	folder, named, err := arrayFiles(path, spec)
	if err != nil {
		return nil, err
	}
	found, tables := catalogue{}, map[string]*table{}
	var notes []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		file := filepath.Join(folder, named[name])
		e := &entry{name: name, file: named[name]}
		switch extension(file) {
		case ".npy":
			e.open = func() (*array, error) { return f.openNPY(file) }
			if header, err := f.headerNPY(file); err == nil { // else opening it, if it is needed, says why
				e.dims, e.kind = header.dims, header.kind
			}
		case ".bin":
			e.open = func() (*array, error) { return f.openRaw(file, &spec.Stored) }
			e.dims, e.kind = append([]int{0}, spec.Stored.Shape...), littleKinds[spec.Stored.Type]
		case ".csv":
			t, said, err := f.readTable(file)
			if err == nil {
				tables[name], notes = t, append(notes, said...)
				continue
			}
			e.open = func() (*array, error) { return nil, err } // if it is needed
		}
		found.add(e)
	}
	encodeTables(tables, func(name string, a *array, names []string) {
		found.add(&entry{name: name, file: named[name], dims: a.dims, kind: a.kind, names: names, open: func() (*array, error) { return a, nil }})
	})
	made, err := found.assemble(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	made.notes = append(made.notes, notes...)
	return made, nil
}

// extension returns a file's extension in lower case, without .gz.
func extension(name string) string {
	return filepath.Ext(strings.TrimSuffix(strings.ToLower(name), ".gz"))
}

// arrayFiles finds array files by the name of their array.
func arrayFiles(path string, spec *Spec) (folder string, named map[string]string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	named = map[string]string{}
	if !info.IsDir() {
		folder = filepath.Dir(path)
		base := filepath.Base(path)
		if len(spec.inputs()) > 1 {
			return "", nil, fmt.Errorf("%s is one array; the network has %d inputs (%s): give a folder of x_train_%s.npy …, or a .npz", path,
				len(spec.inputs()), list(spec.inputs()), spec.inputs()[0].name())
		}
		sample := spec.declared(0)
		if sample == "" {
			sample = "x"
		}
		named[sample] = base
		stem := base[:strings.LastIndex(strings.ToLower(base), extension(base))]
		if _, err := os.Stat(filepath.Join(folder, stem+".csv")); err == nil {
			labels := spec.Labels
			if labels == "" {
				labels = "y"
			}
			named[labels] = stem + ".csv"
		}
		return folder, named, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		ext := extension(e.Name())
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || ext != ".npy" && ext != ".bin" && ext != ".csv" {
			continue
		}
		name := e.Name()[:strings.LastIndex(strings.ToLower(e.Name()), ext)]
		if named[name] != "" {
			return "", nil, fmt.Errorf("%s has both %s and %s", path, named[name], e.Name())
		}
		named[name] = e.Name()
	}
	return path, named, nil
}

// headerNPY reads the header of a .npy file, compressed or not.
func (f *files) headerNPY(path string) (*npyHeader, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	return readNPYHeader(file)
}

// openNPY opens a .npy file, compressed or not.
func (f *files) openNPY(path string) (*array, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	header, err := readNPYHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	size, err := byteSize(path, header.kind, header.dims)
	if err != nil {
		return nil, err
	}
	data, start, err := f.elements(file, header.size, size)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return newArray(path, header.kind, header.dims, data, start, size)
}

// openRaw opens a file of bare elements, whose type and shape the Spec gives.
func (f *files) openRaw(path string, stored *Stored) (*array, error) {
	if stored.Type == "" || len(stored.Shape) == 0 {
		return nil, fmt.Errorf("%s is raw data: stored.type and stored.shape (of one sample) say what it holds", path)
	}
	k := littleKinds[stored.Type]
	row, err := byteSize(path, k, append([]int{1}, stored.Shape...))
	if err != nil {
		return nil, err
	}
	file, size, err := f.whole(path)
	if err != nil {
		return nil, err
	}
	if row == 0 || size%row != 0 {
		return nil, fmt.Errorf("%s has %d bytes, no multiple of the %d of one %s sample of shape %v: truncated, or another stored.shape?",
			path, size, row, stored.Type, stored.Shape)
	}
	return newArray(path, k, append([]int{int(size / row)}, stored.Shape...), file, 0, size)
}

// whole opens a file of unknown length, decompressed, to be read at random.
func (f *files) whole(path string) (io.ReaderAt, int64, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, 0, err
	}
	if !file.compressed {
		return file.file, file.size, nil
	}
	size, err := io.Copy(io.Discard, file) // the length first: it says whether memory will do
	if err != nil {
		return nil, 0, fmt.Errorf("%s %w", path, damaged(err))
	}
	again, err := f.open(path)
	if err != nil {
		return nil, 0, err
	}
	data, err := f.spool(again, size, again.size)
	if err != nil {
		return nil, 0, fmt.Errorf("%s %w", path, err)
	}
	return data, size, nil
}
