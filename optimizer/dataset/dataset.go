package dataset

import (
	"cmp"
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
	// Made says how inputs are made of what is stored, of those that are not taken as they are.
	Made []Made
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
		NPZ: npzParts, Arrays: arraysParts, IDX: idxParts, TFRecord: recordParts, Table: tableParts, Images: imagesParts, Audio: recordingsParts,
		Parquet: parquetParts, WebDataset: webParts}
	found, err := readers[d.Format](&d.files, path, spec)
	if err != nil {
		return err
	}
	d.Notes = append(d.Notes, found.notes...)
	if err := d.assemble(found, spec); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	d.Digest, err = digest(path, info, found.files)
	return err
}

// Fit checks that the samples have the shapes of a network's inputs, without the batch. Dimensions of 1 may differ, as in [28, 28] and
// [28, 28, 1]. Whether targets fit outputs is for package answer to say.
func (d *Dataset) Fit(inputs [][]int) error {
	for _, s := range []Source{d.Train, d.Validation, d.Test} {
		if s == nil {
			continue
		}
		arrays := s.Inputs()
		if len(arrays) != len(inputs) {
			return fmt.Errorf("samples have %d inputs, the model has %d", len(arrays), len(inputs))
		}
		for k, in := range arrays {
			what := ""
			if len(inputs) > 1 {
				what = " " + in.Name
			}
			if err := FitShape(in, inputs[k], what); err != nil {
				return err
			}
		}
	}
	return nil
}

// FitShape returns a *FitError unless an array's samples are what an input takes, which is of a shape; input is " " and its name, or nothing.
func FitShape(a Array, want []int, input string) error {
	have := a.Shape
	if slices.Equal(withoutOnes(have), withoutOnes(want)) {
		return nil
	}
	if a.Features != "" { // whose order a reshape would spoil
		return &FitError{fmt.Errorf("%s features have shape %v, the model's input%s is %v: preprocessing.audio has to be as in its training, frameLength and frameStep for the one number, %s for the other",
			a.Features, have, input, want, map[bool]string{true: "coefficients", false: "melBands"}[a.Features == MFCC])}
	}
	if numel(have) == numel(want) {
		return &FitError{fmt.Errorf("samples have shape %v, the model's input%s is %v: preprocessing.reshape: %s",
			have, input, want, strings.ReplaceAll(fmt.Sprint(want), " ", ", "))}
	}
	if len(have) == len(want)+1 && slices.Equal(have[1:], want) {
		return &FitError{fmt.Errorf("samples have shape %v, the model's input%s is %v behind its first dimension, which is taken for the batch; "+
			"a network without a batch has to be converted with one, a first dimension of 1", have, input, want)}
	}
	remedy := "preprocessing.resize, crop and channels change it"
	if n := len(have) - 1; n == 2 && len(want) == 3 && slices.Equal(have[:n], want[:n]) && have[n] == 1 && want[n] == 3 {
		remedy = "they are gray: preprocessing.channels: RGB"
	} else if n == 2 && len(want) == 3 && slices.Equal(have[:n], want[:n]) && have[n] == 3 && want[n] == 1 {
		remedy = "they have colours: preprocessing.channels: Gray"
	}
	if len(withoutOnes(have)) < 2 {
		remedy = "are some of the values no part of the samples, or missing? (dataset.samples and dataset.labels say which are what)"
	}
	return &FitError{fmt.Errorf("samples have shape %v (%d values), the model's input%s is %v (%d values); %s", have, numel(have), input, want, numel(want), remedy)}
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
	if err := s.checkSamples(); err != nil {
		return err
	}
	if s.Classes < 0 || s.Classes > maxClasses {
		return fmt.Errorf("classes is %d; it is at least 1 and at most %d", s.Classes, maxClasses)
	}
	return nil
}

// recognise tells the format by the path.
func recognise(path string, info fs.FileInfo, declared Format) (Format, error) {
	if declared != "" {
		if folder := declared == IDX || declared == Images || declared == Audio; folder && !info.IsDir() {
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
		if f, err := recogniseFile(e.Name()); err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && (f == TFRecord || f == Arrays) {
			return f, nil
		}
	}
	return recogniseTables(path, entries), nil
}

// recogniseTables tells a folder of .csv files by their names: x_train.csv and y_train.csv are arrays, train.csv is a table unless there
// are images or recordings beside it, which it then may list.
func recogniseTables(root string, entries []fs.DirEntry) Format {
	tables := false
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !isTable(e.Name()) {
			continue
		}
		stem, _ := divide(tableStem(e.Name()))
		if slices.Contains(usualSamples, stem) || strings.HasPrefix(strings.ToLower(stem), "x_") {
			return Arrays
		}
		tables = true
	}
	if found := recogniseMedia(root); found != "" || !tables {
		return cmp.Or(found, Images)
	}
	return Table
}

func recogniseFile(path string) (Format, error) {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(path)), ".gz")
	switch {
	case strings.HasSuffix(name, ".npz"):
		return NPZ, nil
	case strings.HasSuffix(name, ".npy"), strings.HasSuffix(name, ".bin"):
		return Arrays, nil
	case strings.HasSuffix(name, ".csv"), strings.HasSuffix(name, ".tsv"):
		return Table, nil
	case strings.HasSuffix(name, ".parquet"):
		return Parquet, nil
	case isWebDataset(name):
		return WebDataset, nil
	case strings.Contains(name, ".tfrecord"), strings.HasSuffix(name, ".tfrecords"):
		return TFRecord, nil
	case slices.Contains(imageFiles, filepath.Ext(name)), slices.Contains(recordingFiles, filepath.Ext(name)):
		return "", fmt.Errorf("%s is one sample: a dataset is the folder that it lies in", path)
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
		if p.len() == 0 {
			return fmt.Errorf("%s is empty; give it samples or leave the split out", strings.TrimSuffix(p.name(0), ": sample 0"))
		}
		if first == nil {
			first = p
		}
		for k, s := range p.inputs {
			if other := first.inputs[k]; !slices.Equal(s.shape(), other.shape()) {
				return fmt.Errorf("%s has shape %v, %s has %v", s.name(0), s.shape(), other.name(0), other.shape())
			}
		}
	}
	if found.names != nil {
		if spec.Classes > 0 && spec.Classes < len(found.names) {
			return fmt.Errorf("there are %d classes, not %d as dataset.classes says: %s", len(found.names), spec.Classes, short(found.names))
		}
		d.ClassNames = found.names
		d.note("classes, in the order of their numbers: %s", short(found.names))
		o := spec.onlyOutput()
		if o != nil && o.size() == o.width() && o.width() > 1 && o.width() < len(found.names) {
			return tooManyNames(found.names, o)
		}
		if same := sameButCase(found.names); same != "" {
			d.note("%s differ only by case, and are classes of their own: if they are not meant to be, write them the same", same)
		}
		if o != nil && o.size() == o.width() && o.width() > max(len(found.names), spec.Classes) {
			d.note("the labels have %s, the network's output %d: where one has no samples, the numbers of those after it are other ones than the network's",
				fmt.Sprintf("%d %s", len(found.names), plural(len(found.names), "class", "classes")), o.width())
		}
	}
	inputs := spec.inputs()
	var names []string
	var steps []*pipeline
	for k, s := range first.inputs {
		one, err := spec.of(k)
		if err != nil {
			return err
		}
		if dropped := spec.arithmetic(); inputs[k].Integer && len(inputs) == 1 && dropped != "" {
			d.note("the network's input %q takes integers, which stay as they are: %s is not applied to it", inputs[k].name(), dropped)
		}
		whose := func(err error) error { return err } // says whose word an error is of
		if len(spec.Made) > 0 && spec.asStored() {
			made, err := madeOf(spec.Made, &inputs[k])
			if err != nil {
				return err
			}
			if made != nil && made.of(s, &inputs[k]) {
				whose = func(err error) error {
					return fmt.Errorf("input %s cannot be made as the model's file says: %w; say in preprocessing how it is made, scale: 1 if samples are as stored", inputs[k].name(), err)
				}
				if err := made.prepare(one); err != nil {
					return whose(err)
				}
				d.note("input %s is made as the model's file says: %s (preprocessing: {scale: 1} takes samples as they are)", inputs[k].name(), made)
			}
		}
		notes, err := found.listen(k, &inputs[k], one.Preprocessing.Audio)
		if err != nil {
			return whose(err)
		}
		d.Notes = append(d.Notes, notes...)
		s = first.inputs[k]
		if a, ok := s.(*array); ok && a.kind.name == Int8 && !inputs[k].Integer && one.asStored() {
			d.note("%s holds integers of 8 bits, which are taken as they are: where they stand for other numbers, stored.scale and stored.zeroPoint say which", strings.TrimSuffix(a.name(0), ": sample 0"))
		}
		made, err := newPipeline(one, s.shape(), variation(found, k))
		if err != nil {
			return whose(err)
		}
		if about := madeAs(inputs[k].name(), s, one, made); about != nil {
			d.Made = append(d.Made, *about)
		}
		names, steps = append(names, inputs[k].name()), append(steps, made)
	}
	augment, err := newAugmenter(spec)
	if err != nil {
		return err
	}
	err = d.divide(found, spec, func(p *part, index []int32) *view {
		v := &view{part: *p, index: index, count: len(index), names: names, steps: steps}
		if index == nil {
			v.count = p.len()
		}
		return v
	})
	if err != nil {
		return err
	}
	if v, ok := d.Train.(*view); ok && augment != nil {
		varied := *v // where splits are the same samples, only training varies
		varied.augment = augment
		d.Train = &varied
	}
	return nil
}

// of returns what the Spec says of input k alone: integers stay as they are, and of several inputs only those are prepared that
// preprocessing.inputs names.
func (s *Spec) of(k int) (*Spec, error) {
	inputs := s.inputs()
	one := *s
	for _, name := range s.Preprocessing.Inputs {
		if !slices.ContainsFunc(inputs, func(in Input) bool { return in.is(name) }) {
			return nil, fmt.Errorf("preprocessing.inputs names %q; the network has %s", name, list(inputs))
		}
	}
	prepared := len(inputs) == 1 || slices.ContainsFunc(s.Preprocessing.Inputs, inputs[k].is)
	if !prepared && len(s.Preprocessing.Inputs) == 0 && !s.asStored() && !inputs[k].Integer {
		real := slices.DeleteFunc(slices.Clone(inputs), func(in Input) bool { return in.Integer })
		if len(real) > 1 {
			return nil, fmt.Errorf("which of the inputs %s are preprocessing, stored and augmentation for? preprocessing.inputs: [%s] says so",
				list(real), real[0].name())
		}
		prepared = true
	}
	if !prepared {
		one.Preprocessing, one.Stored, one.Augmentation = Preprocessing{}, Stored{}, Augmentation{}
	}
	if inputs[k].Integer {
		one.Stored.Scale, one.Stored.ZeroPoint, one.Augmentation.Noise = "", 0, ""
		one.Preprocessing.Scale, one.Preprocessing.Offset, one.Preprocessing.Mean, one.Preprocessing.Std = "", "", nil, nil
	}
	return &one, nil
}

// arithmetic names the settings that would change the values of samples; "" if there are none.
func (s *Spec) arithmetic() string {
	var names []string
	for _, setting := range []struct {
		name string
		set  bool
	}{
		{"stored.scale", s.Stored.Scale != ""}, {"stored.zeroPoint", s.Stored.ZeroPoint != 0}, {"augmentation.noise", s.Augmentation.Noise != ""},
		{"preprocessing.scale", s.Preprocessing.Scale != ""}, {"preprocessing.offset", s.Preprocessing.Offset != ""},
		{"preprocessing.mean", s.Preprocessing.Mean != nil}, {"preprocessing.std", s.Preprocessing.Std != nil},
	} {
		if setting.set {
			names = append(names, setting.name)
		}
	}
	return strings.Join(names, ", ")
}

// asStored reports whether samples are used as they are stored.
func (s *Spec) asStored() bool {
	p := s.Preprocessing
	plain := p.Audio == nil && p.Resize == nil && p.Crop == nil && p.Channels == "" && p.Scale == "" && p.Offset == "" && p.Mean == nil && p.Std == nil && p.Reshape == nil
	return plain && s.Stored.Layout == "" && s.Stored.Scale == "" && s.Stored.ZeroPoint == 0 && s.Augmentation == Augmentation{}
}

// variation returns how the samples of varying stores differ; they share it.
func variation(found *parts, input int) sizes {
	for _, p := range found.each() {
		if p == nil {
			continue
		}
		if v, ok := p.inputs[input].(varying); ok {
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
