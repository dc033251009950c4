package dataset

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// recordStore is one feature of the examples of one split's TFRecord files.
type recordStore struct {
	*recordSet
	recordFeature
	stored *Stored
}

// recordSet is the examples of one split's files.
type recordSet struct {
	title   string
	files   []recordFile
	records []record
}

// recordFeature is how examples hold an input.
type recordFeature struct {
	feature string
	form    form
	dims    []int // of a sample
	sizes   *sizes
}

type recordFile struct {
	path string
	data io.ReaderAt
}

// record is where a serialised example lies.
type record struct {
	file   int32
	length int32
	offset int64
}

// form is how a feature holds a sample.
type form int

const (
	encodedImage form = iota + 1 // PNG or JPEG
	rawBytes                     // elements of Stored.Type
	floatValues
	intValues
)

func (s *recordSet) len() int          { return len(s.records) }
func (s *recordStore) shape() []int    { return s.dims }
func (s *recordStore) varying() *sizes { return s.sizes }

func (s *recordSet) name(i int) string {
	if i >= len(s.records) {
		return s.title
	}
	r, n := s.records[i], 0
	for j := i; j > 0 && s.records[j-1].file == r.file; j-- {
		n++
	}
	return fmt.Sprintf("%s: record %d", s.files[r.file].path, n)
}

func (s *recordStore) read(i int, into *sample) error {
	r := s.records[i]
	raw := borrow(int(r.length))
	defer buffers.Put(raw)
	if _, err := s.files[r.file].data.ReadAt(*raw, r.offset); err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", s.name(i), err)
	}
	found := false
	err := walkExample(*raw, func(name string, value feature) error {
		if name != s.feature {
			return nil
		}
		found = true
		return s.decode(value, into)
	})
	if err == nil && !found {
		err = fmt.Errorf("has no feature %q", s.feature)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(i), err)
	}
	return nil
}

// decode turns the feature of a sample into values.
func (s *recordStore) decode(value feature, into *sample) error {
	if s.form == encodedImage {
		if len(value.bytes) != 1 {
			return fmt.Errorf("feature %q holds %d images, not one", s.feature, len(value.bytes))
		}
		return decodeImage(value.bytes[0], into)
	}
	into.shape = s.dims
	out := into.grow(numel(s.dims))
	got := 0
	switch s.form {
	case floatValues:
		got = len(value.floats)
		copy(out, value.floats)
	case intValues:
		got = len(value.ints)
		for i, v := range value.ints[:min(got, len(out))] {
			out[i] = float32(v)
		}
	default:
		k := littleKinds[s.stored.Type]
		if len(value.bytes) == 1 && len(value.bytes[0]) == len(out)*k.size {
			k.decode(out, value.bytes[0])
			return nil
		}
		for _, b := range value.bytes {
			got += len(b) / k.size
		}
	}
	if got != len(out) {
		return fmt.Errorf("feature %q has %d values, not %d (shape %v; stored.shape and stored.type say otherwise)", s.feature, got, len(out), s.dims)
	}
	return nil
}

// recordParts reads one TFRecord file, or those of a folder; the words of their names tell the splits.
func recordParts(f *files, path string, spec *Spec) (*parts, error) {
	names, folder, err := recordFiles(path)
	if err != nil {
		return nil, err
	}
	groups := [4][]string{} // by split; the last is undivided
	for _, name := range names {
		split := splitOf(name)
		groups[split] = append(groups[split], name)
	}
	divided := len(groups[0])+len(groups[2]) > 0
	if divided && len(groups[3]) > 0 {
		return nil, fmt.Errorf("%s: does %s belong to train, validation or test? Its name says nothing, others' do", folder, groups[3][0])
	}
	found := &parts{files: names, single: !divided}
	if !divided {
		groups[0] = names
		groups[1] = nil
	}
	layout := &recordLayout{spec: spec}
	slots := []**part{&found.train, &found.validation, &found.test}
	for i, slot := range slots {
		if len(groups[i]) == 0 {
			continue
		}
		if *slot, err = f.readRecords(folder, groups[i], layout); err != nil {
			return nil, err
		}
	}
	return found, found.tell(layout.stems(), spec)
}

// recordFiles returns the TFRecord files at a path, sorted, and the folder they are in.
func recordFiles(path string) (names []string, folder string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		return []string{filepath.Base(path)}, filepath.Dir(path), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, "", err
	}
	for _, e := range entries {
		if !e.IsDir() && strings.Contains(strings.ToLower(e.Name()), ".tfrecord") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, "", fmt.Errorf("%s holds no .tfrecord files", path)
	}
	return names, path, nil
}

// splitOf finds a split's name among the words of a file name: 0 train, 1 validation, 2 test, 3 none.
func splitOf(name string) int {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, word := range words {
		for i, names := range splitNames {
			if slices.Contains(names, word) {
				return i
			}
		}
	}
	return 3
}

// recordLayout is what the examples of all splits have in common.
type recordLayout struct {
	spec    *Spec
	samples []recordFeature // by input
	labels  []string        // features of labels
	settled bool
}

// stems are the labels as arrays.
func (l *recordLayout) stems() []*stem {
	var out []*stem
	for _, name := range l.labels {
		out = append(out, &stem{name: name, splits: [4]*entry{{name: name}}})
	}
	return out
}

// readRecords scans the files of one split: every checksum is verified, every label kept, every sample's shape compared.
func (f *files) readRecords(folder string, names []string, layout *recordLayout) (*part, error) {
	s := &recordSet{title: folder}
	labels := map[string]*labelList{}
	for _, name := range names {
		path := filepath.Join(folder, name)
		data, size, err := f.whole(path)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, recordFile{path: path, data: data})
		err = scanRecords(io.NewSectionReader(data, 0, size), func(offset int64, raw []byte) error {
			s.records = append(s.records, record{file: int32(len(s.files) - 1), length: int32(len(raw)), offset: offset})
			return layout.scan(raw, labels)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	stored := layout.spec.Stored
	if stored.Type == "" {
		stored.Type = Uint8
	}
	p := &part{}
	if len(s.records) == 0 {
		p.inputs = []store{&recordStore{recordSet: s, stored: &stored}}
		return p, nil
	}
	for _, feature := range layout.samples {
		p.inputs = append(p.inputs, &recordStore{recordSet: s, recordFeature: feature, stored: &stored})
	}
	for _, name := range layout.labels {
		p.raw = append(p.raw, labels[name].array(folder, name, s.name))
	}
	return p, nil
}

// scan looks at one example: its labels are kept, its sample must have the shape of the others.
func (l *recordLayout) scan(raw []byte, labels map[string]*labelList) error {
	features := map[string]feature{}
	if err := walkExample(raw, func(name string, value feature) error {
		features[name] = value
		return nil
	}); err != nil {
		return err
	}
	if !l.settled {
		if err := l.settle(features); err != nil {
			return err
		}
	}
	for k := range l.samples {
		if err := l.samples[k].scan(features); err != nil {
			return err
		}
	}
	for _, name := range l.labels {
		if labels[name] == nil {
			labels[name] = &labelList{}
		}
		if err := labels[name].add(name, features[name]); err != nil {
			return err
		}
	}
	return nil
}

// scan compares one example's sample with the others.
func (l *recordFeature) scan(features map[string]feature) error {
	value, ok := features[l.feature]
	if !ok {
		return fmt.Errorf("has no feature %q", l.feature)
	}
	if l.form != encodedImage {
		return nil
	}
	if len(value.bytes) != 1 {
		return fmt.Errorf("feature %q holds %d images, not one", l.feature, len(value.bytes))
	}
	shape, err := measure(value.bytes[0], bytes.NewReader(value.bytes[0]))
	if err != nil {
		return fmt.Errorf("feature %q %w", l.feature, err)
	}
	l.sizes.add(shape)
	return nil
}

// The usual names of features.
var (
	sampleFeatures = []string{"image", "image/encoded", "image_raw", "x"}
	labelFeatures  = []string{"label", "labels", "image/class/label", "y"}
)

// settle chooses the features by the first example.
func (l *recordLayout) settle(features map[string]feature) error {
	names := slices.Sorted(maps.Keys(features))
	pick := func(usual ...string) string {
		for _, name := range usual {
			for _, f := range names {
				if strings.EqualFold(f, name) {
					return f
				}
			}
		}
		return ""
	}
	l.settleLabels(pick)
	inputs := l.spec.inputs()
	l.samples = make([]recordFeature, len(inputs))
	for k := range inputs {
		name := l.spec.declared(k)
		if name == "" && len(inputs) == 1 {
			name = pick(sampleFeatures...)
		}
		for _, own := range inputs[k].Names {
			if name == "" {
				name = pick(own, "x_"+own)
			}
		}
		others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(l.labels, name) })
		if name == "" && len(inputs) == 1 && len(others) == 1 {
			name = others[0]
		}
		if name == "" {
			return fmt.Errorf("which feature is for input %s? dataset.samples: {%s: FEATURE} names it; there are %s", inputs[k].name(), inputs[k].name(),
				strings.Join(names, ", "))
		}
		value, ok := features[name]
		if !ok {
			return fmt.Errorf("has no feature %q; there are %s", name, strings.Join(names, ", "))
		}
		l.samples[k] = recordFeature{feature: name, sizes: &sizes{}}
		spec, err := l.spec.of(k)
		if err != nil {
			return err
		}
		if err := l.samples[k].shapeOf(value, spec, &inputs[k]); err != nil {
			return err
		}
	}
	l.settled = true
	return nil
}

// settleLabels chooses the features of labels.
func (l *recordLayout) settleLabels(pick func(usual ...string) string) {
	if l.spec.Target == None {
		return
	}
	add := func(name string) {
		if name != "" && !slices.Contains(l.labels, name) {
			l.labels = append(l.labels, name)
		}
	}
	if l.spec.Labels != "" {
		add(l.spec.Labels)
	} else {
		add(pick(labelFeatures...))
	}
	if l.spec.Network == nil {
		return
	}
	outputs := l.spec.Network.Outputs
	for i := range outputs {
		if outputs[i].Target != "" {
			add(outputs[i].Target)
			continue
		}
		for _, own := range outputs[i].Names {
			if l.spec.Labels == "" || len(outputs) > 1 {
				add(pick("y_"+own, own))
			}
		}
	}
}

// shapeOf settles how samples are stored by the first one. Where nothing says their shape it is the input's, if that has as many values.
func (l *recordFeature) shapeOf(value feature, spec *Spec, in *Input) error {
	var count int
	switch {
	case len(value.floats) > 0:
		l.form, count = floatValues, len(value.floats)
	case len(value.ints) > 0:
		l.form, count = intValues, len(value.ints)
	case len(value.bytes) != 1:
		return fmt.Errorf("feature %q is empty or a list of byte strings; a sample is one byte string or a list of numbers", l.feature)
	default:
		if _, ok := codecOf(value.bytes[0]); ok {
			l.form = encodedImage
			var err error
			l.dims, err = measure(value.bytes[0], bytes.NewReader(value.bytes[0]))
			return err
		}
		of := spec.Stored.Type
		if of == "" {
			of = Uint8
		}
		l.form, count = rawBytes, len(value.bytes[0])/littleKinds[of].size
	}
	switch l.dims = slices.Clone(spec.Stored.Shape); {
	case l.dims == nil && spec.Network != nil && len(spec.Network.Inputs) > 1 && !slices.Contains(in.Shape, -1) && numel(in.Shape) == count:
		l.dims = slices.Clone(in.Shape)
	case l.dims == nil:
		l.dims = []int{count}
	}
	if _, err := byteSize("stored.shape", kind{size: 1}, append([]int{1}, l.dims...)); err != nil {
		return err
	}
	if numel(l.dims) != count {
		return fmt.Errorf("feature %q has %d values, stored.shape %v has %d", l.feature, count, l.dims, numel(l.dims))
	}
	return nil
}

// labelList gathers the labels of samples.
type labelList struct {
	what   string // that holds a label, for messages; a feature where nothing is said
	width  int
	count  int
	ints   []int64
	floats []float32
	names  []string
}

func (l *labelList) add(name string, value feature) error {
	width := len(value.ints) + len(value.floats) + len(value.bytes)
	what := cmp.Or(l.what, "feature")
	switch {
	case len(value.bytes) > 1 || len(value.bytes) == 1 && len(value.bytes[0]) > maxText:
		return fmt.Errorf("%s %q holds several texts or a long one; labels are integers, names of classes, one-hot rows or numbers (dataset.labels names another %s)", what, name, what)
	case width == 0:
		return fmt.Errorf("has no %s %q; dataset.target None goes without labels", what, name)
	case l.count > 0 && width != l.width:
		return fmt.Errorf("%s %q has %d values, others have %d", what, name, width, l.width)
	case l.count > 0 && (len(l.ints) > 0) != (len(value.ints) > 0) || l.count > 0 && (len(l.names) > 0) != (len(value.bytes) > 0):
		return fmt.Errorf("%s %q is of another kind than others: whole numbers, numbers with a fraction and names do not mix", what, name)
	}
	l.width = width
	l.count++
	l.ints, l.floats = append(l.ints, value.ints...), append(l.floats, value.floats...)
	for _, text := range value.bytes {
		l.names = append(l.names, string(text))
	}
	return nil
}

// array makes an array of the labels; where says where sample i comes from.
func (l *labelList) array(folder, name string, where func(i int) string) *array {
	what := fmt.Sprintf("%s %q", cmp.Or(l.what, "feature"), name)
	var out *array
	switch title := folder + ": " + what; {
	case len(l.names) > 0:
		out = texts(title, l.names)
	case len(l.ints) > 0:
		out = memory(title, Int64, []int{l.count, l.width}, l.ints)
	default:
		out = memory(title, Float32, []int{l.count, l.width}, l.floats)
	}
	out.label = func(i int) string { return where(i) + ", " + what }
	return out
}
