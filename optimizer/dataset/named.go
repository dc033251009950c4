package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// npzParts reads the arrays of a .npz file.
func npzParts(f *files, path string, spec *Spec) (*parts, error) {
	found, err := f.catalogueNPZ(path)
	if err != nil {
		return nil, err
	}
	made, err := found.assemble(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	made.files = []string{filepath.Base(path)}
	return made, nil
}

// idxFile is the name of an IDX file: train-images-idx3-ubyte, train-images.idx3-ubyte.gz.
var idxFile = regexp.MustCompile(`^(train|validation|test|t10k)-(.+)[-.]idx\d+-ubyte(\.gz)?$`)

// idxParts reads a folder of IDX files as MNIST and its relatives come: images are the samples, labels the labels. Files of several
// inputs have the inputs' names instead of images.
func idxParts(f *files, folder string, spec *Spec) (*parts, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	found := catalogue{}
	for _, e := range entries {
		words := idxFile.FindStringSubmatch(e.Name())
		if e.IsDir() || words == nil {
			continue
		}
		what := words[2]
		switch {
		case what == "labels" && spec.Labels == "":
			what = "y"
		case what == "images" && len(spec.Samples) == 0:
			what = "x"
		}
		split := strings.Replace(words[1], "t10k", "test", 1)
		path := filepath.Join(folder, e.Name())
		entry, err := f.describeIDX(path)
		if err != nil {
			return nil, err
		}
		entry.name, entry.file = what+"_"+split, e.Name()
		found.add(entry)
	}
	if len(found) == 0 || len(spec.inputs()) == 1 && len(spec.Samples) == 0 && found["x"] == nil {
		return nil, fmt.Errorf("%s has no train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz]", folder)
	}
	made, err := found.assemble(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return made, nil
}

// describeIDX reads the header of an IDX file.
func (f *files) describeIDX(path string) (*entry, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	k, dims, _, err := readIDXHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &entry{dims: dims, kind: k, open: func() (*array, error) { return f.openIDX(path) }}, nil
}
