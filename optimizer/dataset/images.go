package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The files of images, and pictures that cannot be read.
var (
	imageFiles = []string{".png", ".jpg", ".jpeg", ".webp", ".bmp"}
	unread     = []string{".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm"}
)

// imagesParts reads a folder of images.
func imagesParts(f *files, root string, spec *Spec) (*parts, error) {
	sizes := &sizes{} // of all splits
	return mediaParts(f, root, &media{
		what: "images", extensions: imageFiles, unread: unread, remedy: "convert them to PNG",
		store: func(root string, paths []string) store { return &imageStore{root: root, paths: paths, sizes: sizes} },
		measure: func(path string) error {
			shape, err := measureFile(path)
			if err == nil {
				sizes.add(shape)
			}
			return err
		},
	}, spec)
}

// imageStore is a store of one image file a sample.
type imageStore struct {
	root  string
	paths []string // slash-separated, below root
	sizes *sizes   // of the images of all splits
}

func (s *imageStore) len() int          { return len(s.paths) }
func (s *imageStore) shape() []int      { return s.sizes.common }
func (s *imageStore) varying() *sizes   { return s.sizes }
func (s *imageStore) path(i int) string { return filepath.Join(s.root, filepath.FromSlash(s.paths[i])) }

func (s *imageStore) name(i int) string {
	if i >= len(s.paths) {
		return s.root
	}
	return s.path(i)
}

func (s *imageStore) read(i int, into *sample) error {
	data, err := os.ReadFile(s.path(i))
	if err != nil {
		return err
	}
	if err := decodeImage(data, into); err != nil {
		return fmt.Errorf("%s: %w", s.path(i), err)
	}
	return nil
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
	var head [12]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return nil, errors.New("is no image: it has fewer than 12 bytes")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return measure(head[:], file)
}
