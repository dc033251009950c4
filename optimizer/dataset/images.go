package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// imageFiles is a store of one image file a sample.
type imageFiles struct {
	root  string
	paths []string // slash-separated, below root
	sizes *sizes   // of the images of all splits
}

func (s *imageFiles) len() int          { return len(s.paths) }
func (s *imageFiles) shape() []int      { return s.sizes.common }
func (s *imageFiles) varying() *sizes   { return s.sizes }
func (s *imageFiles) path(i int) string { return filepath.Join(s.root, filepath.FromSlash(s.paths[i])) }

func (s *imageFiles) name(i int) string {
	if i >= len(s.paths) {
		return s.root
	}
	return s.path(i)
}

func (s *imageFiles) read(i int, into *sample) error {
	data, err := os.ReadFile(s.path(i))
	if err != nil {
		return err
	}
	if err := decodeImage(data, into); err != nil {
		return fmt.Errorf("%s: %w", s.path(i), err)
	}
	return nil
}

// imagesParts reads a folder of images, by split and class.
func imagesParts(_ *files, root string, spec *Spec) (*parts, error) {
	if inputs := spec.inputs(); len(inputs) > 1 {
		return nil, fmt.Errorf("%s is a folder of images, which are one input; the network has %d (%s): give a .npz or a folder of arrays, x_train_%s …",
			root, len(inputs), list(inputs), inputs[0].name())
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	folders := [3]string{}
	for _, e := range entries {
		for i, names := range splitNames {
			if e.IsDir() && slices.Contains(names, strings.ToLower(e.Name())) {
				if folders[i] != "" {
					return nil, fmt.Errorf("%s has both %s and %s, which are the same split; put their images into one", root, folders[i], e.Name())
				}
				folders[i] = e.Name()
			}
		}
	}
	found := &parts{single: folders == [3]string{}}
	if found.single {
		folders[0] = "."
	}
	sizes := &sizes{}
	var trees [3]*imageTree
	for i, folder := range folders {
		if folder == "" {
			continue
		}
		if trees[i], err = walkImages(root, folder, sizes); err != nil {
			return nil, err
		}
		if others := trees[i].others; len(others) > 0 {
			return nil, fmt.Errorf("%s: %d files are neither PNG nor JPEG (%s): convert them, or take them out", filepath.Join(root, folder), len(others),
				strings.Join(others[:min(len(others), 5)], ", "))
		}
		found.files = append(found.files, trees[i].paths...)
		found.names = append(found.names, trees[i].classes...)
	}
	slices.Sort(found.names)
	found.names = slices.Compact(found.names)
	if len(found.files) == 0 {
		return nil, fmt.Errorf("%s holds no .png, .jpg or .jpeg files, neither in itself nor by class", root)
	}
	for i, tree := range trees {
		if tree != nil {
			found.notes = append(found.notes, tree.lacks(folders[i], trees[:])...)
		}
	}
	slots := []**part{&found.train, &found.validation, &found.test}
	for i, tree := range trees {
		if tree != nil && len(tree.paths) > 0 {
			*slots[i] = tree.part(root, sizes, found.names, spec)
		}
	}
	if found.train == nil && found.test == nil {
		return nil, fmt.Errorf("%s has validation images only; put training images in %s", root, filepath.Join(root, "train"))
	}
	return found, nil
}

// imageTree is the images of one split.
type imageTree struct {
	paths   []string // sorted
	class   []string // of each; empty where it lies in no class's folder
	classes []string // that have images
	folders []string // that a class's images may lie in
	others  []string // pictures of formats that are not read
}

// unread are suffixes of pictures that cannot be read.
var unread = []string{".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm"}

// lacks names the classes, of this split or another, that the split has no images of.
func (t *imageTree) lacks(folder string, all []*imageTree) []string {
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
	return []string{fmt.Sprintf("%s has no images of class %s", folder, strings.Join(without, ", "))}
}

// walkImages finds the images below root/folder. The first folder below it is the class.
func walkImages(root, folder string, sizes *sizes) (*imageTree, error) {
	tree := &imageTree{}
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
		if !e.IsDir() && slices.Contains(unread, strings.ToLower(filepath.Ext(path))) {
			within, _ := filepath.Rel(base, path)
			tree.others = append(tree.others, filepath.ToSlash(within))
		}
		if ext := strings.ToLower(filepath.Ext(path)); e.IsDir() || ext != ".png" && ext != ".jpg" && ext != ".jpeg" {
			return nil
		}
		shape, err := measureFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		sizes.add(shape)
		below, _ := filepath.Rel(root, path)
		within, _ := filepath.Rel(base, path)
		class, _, nested := strings.Cut(filepath.ToSlash(within), "/")
		if !nested {
			class = ""
			loose++
		} else if !slices.Contains(tree.classes, class) {
			tree.classes = append(tree.classes, class)
		}
		tree.paths, tree.class = append(tree.paths, filepath.ToSlash(below)), append(tree.class, class)
		return nil
	})
	if err == nil && loose > 0 && len(tree.classes) > 0 {
		err = fmt.Errorf("%s has %d images beside the folders of its classes; move them into one", base, loose)
	}
	return tree, err
}

func (t *imageTree) part(root string, sizes *sizes, names []string, spec *Spec) *part {
	p := &part{inputs: []store{&imageFiles{root: root, paths: t.paths, sizes: sizes}}}
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

// measureFile reads an image's size from its header.
func measureFile(path string) ([]int, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, errors.New("is no file"))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var head [8]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return nil, errors.New("is no image: it has fewer than 8 bytes")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return measure(head[:], file)
}
