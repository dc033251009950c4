package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dataset is an opened dataset. A split that the dataset does not have is another one, as Notes say; Train is nil if there is
// none. Close it when done.
type Dataset struct {
	Train, Validation, Test Source
	// Format is how it is stored.
	Format Format
	// Digest is "sha256:" and the hexadecimal SHA-256 of the file or, for a folder, of its files' paths, lengths and contents
	// in the order of their slash-separated paths; files that are no part of the dataset are not covered.
	Digest string
	// ClassNames are the names of the classes, nil if they have none.
	ClassNames []string
	// Notes say what the reader decided where neither data nor Spec did.
	Notes []string

	files files
}

// Open opens the dataset at a path: a file or a folder. The Spec says what the path does not. Errors name the array, file or
// sample at fault and the remedy.
func Open(path string, spec Spec) (*Dataset, error) {
	d := &Dataset{}
	if err := d.open(path, &spec); err != nil {
		d.Close()
		return nil, fmt.Errorf("dataset %w", err)
	}
	return d, nil
}

// Close closes the dataset's files; its Sources must not be read any more.
func (d *Dataset) Close() error { return d.files.Close() }

func (d *Dataset) open(path string, spec *Spec) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := spec.check(); err != nil {
		return err
	}
	if d.Format, err = recognise(path, info, spec.Format); err != nil {
		return err
	}
	readers := map[Format]func(*files, string, *Spec) (*parts, error){
		NPZ: npzParts, Arrays: arraysParts, IDX: idxParts, TFRecord: recordParts, Images: imagesParts}
	found, err := readers[d.Format](&d.files, path, spec)
	if err != nil {
		return err
	}
	if err := d.assemble(found, spec); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	d.Digest, err = digest(path, info, found.files)
	return err
}

// Fit checks that the dataset's samples fit a model: inputs are the shapes of one sample of its inputs. Dimensions of 1 may differ, as
// in [28, 28] and [28, 28, 1]. Whether targets fit outputs is for package answer to say.
func (d *Dataset) Fit(inputs [][]int) error {
	if len(inputs) != 1 {
		return fmt.Errorf("the model has %d inputs; models of more than one input are not supported", len(inputs))
	}
	for _, s := range []Source{d.Train, d.Validation, d.Test} {
		if s == nil {
			continue
		}
		if err := fitShape(s.Shape(), inputs[0]); err != nil {
			return err
		}
	}
	return nil
}

func fitShape(have, want []int) error {
	isOne := func(d int) bool { return d == 1 }
	if slices.Equal(slices.DeleteFunc(slices.Clone(have), isOne), slices.DeleteFunc(slices.Clone(want), isOne)) {
		return nil
	}
	if numel(have) == numel(want) {
		return fmt.Errorf("samples have shape %v, the model's input is %v: preprocessing.reshape: %s",
			have, want, strings.ReplaceAll(fmt.Sprint(want), " ", ", "))
	}
	return fmt.Errorf("samples have shape %v (%d values), the model's input is %v (%d values); preprocessing.resize, crop and "+
		"channels change it", have, numel(have), want, numel(want))
}

// check refuses values that are none of the declared ones.
func (s *Spec) check() error {
	if s.Format != "" && !slices.Contains(formats, s.Format) {
		return fmt.Errorf("format %q is not one of %v", s.Format, formats)
	}
	if s.Target != "" && !slices.Contains(targets, s.Target) {
		return fmt.Errorf("target %q is not one of %v", s.Target, targets)
	}
	if l := s.Stored.Layout; l != "" && l != ChannelsLast && l != ChannelsFirst {
		return fmt.Errorf("stored.layout %q is not one of [%s %s]", l, ChannelsLast, ChannelsFirst)
	}
	if _, ok := littleKinds[s.Stored.Type]; s.Stored.Type != "" && !ok {
		return fmt.Errorf("stored.type %q is not one of Uint8, Int8, Uint16, Int16, Int32, Int64, Float16, Float32, Float64", s.Stored.Type)
	}
	if s.Classes < 0 || s.Classes > maxClasses {
		return fmt.Errorf("classes is %d; it is at least 1 and at most %d", s.Classes, maxClasses)
	}
	return nil
}

// recognise tells the format by the path.
func recognise(path string, info fs.FileInfo, declared Format) (Format, error) {
	if declared != "" {
		if folder := declared == IDX || declared == Images; folder && !info.IsDir() {
			return "", fmt.Errorf("%s is a file; format %s is a folder", path, declared)
		}
		if declared == NPZ && info.IsDir() {
			return "", fmt.Errorf("%s is a folder; format NPZ is a file", path)
		}
		return declared, nil
	}
	if !info.IsDir() {
		return recogniseFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	if len(entries) == 0 {
		return "", fmt.Errorf("%s is an empty folder", path)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "idx") && strings.Contains(e.Name(), "-ubyte") {
			return IDX, nil
		}
	}
	for _, e := range entries {
		if f, err := recogniseFile(e.Name()); err == nil && !e.IsDir() && (f == TFRecord || f == Arrays) {
			return f, nil
		}
	}
	return Images, nil
}

func recogniseFile(path string) (Format, error) {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".gz")
	switch {
	case strings.HasSuffix(name, ".npz"):
		return NPZ, nil
	case strings.HasSuffix(name, ".npy"), strings.HasSuffix(name, ".bin"):
		return Arrays, nil
	case strings.Contains(name, ".tfrecord"), strings.HasSuffix(name, ".tfrecords"):
		return TFRecord, nil
	default:
		return "", fmt.Errorf("%s has no known format; name one of %v in dataset.format", path, formats)
	}
}

// assemble checks the parts against each other and makes the splits.
func (d *Dataset) assemble(found *parts, spec *Spec) error {
	var first *part
	for _, p := range found.each() {
		if p == nil {
			continue
		}
		if p.samples.len() == 0 {
			return fmt.Errorf("%s is empty; give it samples or leave the split out", strings.TrimSuffix(p.samples.name(0), ": sample 0"))
		}
		if first == nil {
			first = p
		}
		if !slices.Equal(p.samples.shape(), first.samples.shape()) {
			return fmt.Errorf("%s has shape %v, %s has %v", p.samples.name(0), p.samples.shape(), first.samples.name(0), first.samples.shape())
		}
		if (p.targets == nil) != (first.targets == nil) && (p.labels != nil || first.labels != nil) {
			return fmt.Errorf("%s and %s have labels of different kinds; dataset.target says what they are", p.samples.name(0), first.samples.name(0))
		}
	}
	classCount, err := d.count(found, spec)
	if err != nil {
		return err
	}
	steps, err := newPipeline(spec, first.samples.shape(), variation(found))
	if err != nil {
		return err
	}
	augment, err := newAugmenter(spec)
	if err != nil {
		return err
	}
	err = d.divide(found, spec, func(p *part, index []int32) *view {
		v := &view{part: *p, index: index, count: len(index), classN: classCount, steps: steps}
		if index == nil {
			v.count = p.samples.len()
		}
		if p.labels == nil {
			v.classN = 0
		}
		return v
	})
	if v, ok := d.Train.(*view); ok && augment != nil {
		varied := *v // where splits are the same samples, only training varies
		varied.augment = augment
		d.Train = &varied
	}
	return err
}

// count returns the number of classes.
func (d *Dataset) count(found *parts, spec *Spec) (int, error) {
	declared := spec.Classes
	if found.names != nil {
		if declared > 0 && declared < len(found.names) {
			return 0, fmt.Errorf("there are %d classes, not %d: %s", len(found.names), declared, strings.Join(found.names, ", "))
		}
		declared, d.ClassNames = max(declared, len(found.names)), found.names
	}
	top, err := largest(declared, found.each()...)
	if err != nil || top < 0 {
		return 0, err
	}
	return max(declared, top+1), nil
}

// variation returns how the samples of varying stores differ; they share it.
func variation(found *parts) sizes {
	for _, p := range found.each() {
		if p == nil {
			continue
		}
		if v, ok := p.samples.(varying); ok {
			return *v.varying()
		}
	}
	return sizes{}
}

// digest hashes a file, or the files of a folder.
func digest(root string, info fs.FileInfo, files []string) (string, error) {
	sum := sha256.New()
	if !info.IsDir() && len(files) == 1 {
		if err := hashFile(sum, root); err != nil {
			return "", err
		}
		return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
	}
	if !info.IsDir() {
		root = filepath.Dir(root)
	}
	slices.Sort(files)
	for _, name := range slices.Compact(files) {
		path := filepath.Join(root, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d %s %d\n", len(name), name, info.Size())
		if err := hashFile(sum, path); err != nil {
			return "", err
		}
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func hashFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
