package dataset

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxLabel bounds the bytes of a label, and of the .json that it is in.
const maxLabel = 1 << 20

// isWebDataset reports whether a file is a tar by its name.
func isWebDataset(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// webParts reads tars of a few files a sample, which have its name and follow each other: key.jpg, key.cls. A plain tar is read where it lies, a
// compressed one is decompressed first.
func webParts(f *files, path string, spec *Spec) (*parts, error) {
	found, err := findShards(path, ".tar or .tar.gz", isWebDataset)
	if err != nil {
		return nil, err
	}
	w := &webLayout{spec: spec}
	return found.parts(spec, func(split []string) (*harvest, error) { return f.readTars(found.folder, split, w) }, w.stems)
}

// webLayout is what the samples of all splits have in common.
type webLayout struct {
	spec    *Spec
	inputs  []webInput
	labels  []webLabel
	settled bool
}

// webInput is the file of an input: its extension, or others of its kind where that is missing.
type webInput struct {
	extension string
	packing   *packing
}

// webLabel is a file, or a field of one that is JSON.
type webLabel struct{ extension, field string }

func (l webLabel) String() string {
	if l.field != "" {
		return l.extension + "." + l.field
	}
	return l.extension
}

func (w *webLayout) stems() []*stem {
	var out []*stem
	for _, l := range w.labels {
		name := l.extension
		if l.field != "" {
			name = l.field
		}
		out = append(out, &stem{name: name, splits: [4]*entry{{name: name}}})
	}
	return out
}

// webSample is the files of one sample by extension.
type webSample struct {
	key   string
	files map[string]place
}

// webSplit is the samples of one split, on the way to stores.
type webSplit struct {
	*webLayout
	data   []io.ReaderAt
	paths  []string
	keys   []string
	shard  []int32 // of each sample
	places [][]place
	labels []*labelList
	from   []int // how many samples each input had before
}

// readTars reads the shards of one split.
func (f *files) readTars(folder string, names []string, w *webLayout) (*harvest, error) {
	s := &webSplit{webLayout: w}
	for _, in := range w.inputs {
		s.from = append(s.from, len(in.packing.headers))
	}
	for _, name := range names {
		file := filepath.Join(folder, name)
		data, size, err := f.whole(file)
		if err != nil {
			return nil, err
		}
		s.data, s.paths = append(s.data, data), append(s.paths, file)
		if err := s.scan(data, size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("%s holds no samples: files of one name, such as 0001.jpg and 0001.cls", filepath.Join(folder, names[0]))
	}
	h := &harvest{}
	name := func(i int) string { return fmt.Sprintf("%s: sample %q", s.paths[s.shard[i]], s.keys[i]) }
	for k, in := range w.inputs {
		h.inputs = append(h.inputs, in.packing.store(&packed{title: folder, data: s.data, places: s.places[k], label: name}, s.from[k]))
	}
	for k, l := range w.labels {
		h.labels = append(h.labels, s.labels[k].array(folder, l.String(), name))
	}
	return h, nil
}

// counting says where in a tar its reader is.
type counting struct {
	io.ReaderAt
	at, size int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadAt(p[:min(int64(len(p)), max(0, c.size-c.at))], c.at)
	c.at += int64(n)
	if n > 0 {
		err = nil
	} else if err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (c *counting) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	c.at = offset
	return offset, nil
}

// scan reads the headers of a tar, and gathers what belongs together.
func (s *webSplit) scan(data io.ReaderAt, size int64) error {
	at := &counting{ReaderAt: data, size: size}
	in := tar.NewReader(at)
	var one webSample
	for n := 0; ; n++ {
		header, err := in.Next()
		if errors.Is(err, io.EOF) && ended(data, size) {
			return s.add(&one)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("ends after %d files without the mark that ends a tar: truncated? Copy it, or make it, again", n)
		}
		if err != nil {
			return fmt.Errorf("file %d: %w: damaged, or no tar?", n, damaged(err))
		}
		regular, err := checkEntry(header)
		if err == nil && regular && header.Size > size-at.at {
			err = errShort
		}
		if err != nil {
			return fmt.Errorf("%q: %w", short40(header.Name), err)
		}
		key, extension, ok := divideKey(header.Name)
		if !regular || !ok {
			continue
		}
		if key != one.key {
			if err := s.add(&one); err != nil {
				return err
			}
			one = webSample{key: key, files: map[string]place{}}
		}
		if _, again := one.files[extension]; again {
			return fmt.Errorf("sample %q has two files .%s", short40(key), extension)
		}
		one.files[extension] = place{file: int32(len(s.data) - 1), offset: at.at, length: header.Size}
	}
}

// ended reports whether a tar ends as tars do: in blocks of 512 bytes, the last of them zero.
func ended(data io.ReaderAt, size int64) bool {
	var last [512]byte
	_, err := data.ReadAt(last[:], size-int64(len(last)))
	return size%int64(len(last)) == 0 && (err == nil || errors.Is(err, io.EOF)) && last == [512]byte{}
}

// checkEntry reports whether an entry of a tar is a file whose bytes follow. Nothing is unpacked, but what means to get elsewhere is refused.
func checkEntry(h *tar.Header) (bool, error) {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return false, nil
	case tar.TypeLink, tar.TypeSymlink:
		return false, fmt.Errorf("is a link, to %q: pack files themselves (tar --dereference --hard-dereference)", short40(h.Linkname))
	default:
		return false, fmt.Errorf("is no file (type %q)", h.Typeflag)
	}
	if !filepath.IsLocal(filepath.FromSlash(h.Name)) {
		return false, errors.New("leads out of the archive: pack files with paths relative to a folder")
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return false, errors.New("is a sparse file: pack it without tar's --sparse")
		}
	}
	return true, nil
}

// short40 is a name cut for messages.
func short40(name string) string {
	if len(name) > 80 {
		return name[:40] + "…"
	}
	return name
}

// divideKey is the name of a sample and the extension, all that is behind the first dot of the file's name; hidden files are none.
func divideKey(name string) (key, extension string, ok bool) {
	name = path.Clean(name)
	folder, base := path.Split(name)
	stem, extension, ok := strings.Cut(base, ".")
	return strings.Clone(folder + stem), strings.ToLower(extension), ok && stem != ""
}

// add takes a sample that is whole.
func (s *webSplit) add(one *webSample) error {
	if one.files == nil {
		return nil
	}
	err := s.take(one)
	if err != nil {
		return fmt.Errorf("sample %q: %w", short40(one.key), err)
	}
	return nil
}

func (s *webSplit) take(one *webSample) error {
	if !s.settled {
		if err := s.settle(s, one); err != nil {
			return err
		}
	}
	if s.places == nil {
		s.places = make([][]place, len(s.inputs))
		for range s.webLayout.labels {
			s.labels = append(s.labels, &labelList{what: "file"})
		}
	}
	for k, in := range s.inputs {
		at, extension := in.find(one)
		if extension == "" {
			return fmt.Errorf("has no file .%s; there are %s (files of a sample follow each other in the tar: tar --sort=name)", in.extension, extensions(one))
		}
		if err := in.packing.look(s.section(at)); err != nil {
			return fmt.Errorf("its file .%s %w", extension, err)
		}
		s.places[k] = append(s.places[k], at)
	}
	for k, l := range s.webLayout.labels {
		value, err := s.label(one, l)
		if err == nil {
			err = s.labels[k].add(l.String(), value)
		}
		if err != nil {
			return err
		}
	}
	s.keys, s.shard = append(s.keys, one.key), append(s.shard, int32(len(s.data)-1))
	return nil
}

func (s *webSplit) section(at place) *io.SectionReader {
	return io.NewSectionReader(s.data[at.file], at.offset, at.length)
}

// find finds the input's file: another image where there is none of its extension.
func (in *webInput) find(one *webSample) (place, string) {
	at, ok := one.files[in.extension]
	if ok {
		return at, in.extension
	}
	if slices.Contains(imageFiles, "."+in.extension) {
		for _, other := range imageFiles {
			if at, ok := one.files[other[1:]]; ok {
				return at, other[1:]
			}
		}
	}
	return place{}, ""
}

// extensions lists the files of a sample.
func extensions(one *webSample) string {
	return "." + strings.Join(slices.Sorted(maps.Keys(one.files)), ", .")
}

// The usual extensions of labels, and the fields of a .json that may be one.
var webLabels = []string{"cls", "label", "label.txt", "y", "y.npy"}

// settle chooses the files of inputs and labels by the first sample.
func (w *webLayout) settle(s *webSplit, one *webSample) error {
	if err := w.settleLabels(s, one); err != nil {
		return err
	}
	inputs := w.spec.inputs()
	for k := range inputs {
		name := strings.ToLower(strings.TrimPrefix(w.spec.declared(k), "."))
		if name == "" && len(inputs) > 1 {
			name = called1(one, inputs[k].Names)
		}
		if name == "" && len(inputs) == 1 {
			var found []string
			for _, extension := range slices.Sorted(maps.Keys(one.files)) {
				var head [12]byte
				n, _ := s.section(one.files[extension]).ReadAt(head[:], 0) // what is shorter is no sample
				if kindOf(head[:n]) != 0 && !slices.ContainsFunc(w.labels, func(l webLabel) bool { return l.extension == extension }) {
					found = append(found, extension)
				}
			}
			if len(found) > 1 {
				return fmt.Errorf("which file is the sample, .%s? dataset.samples: {%s: %s} names it", strings.Join(found, " or ."), inputs[k].name(), found[0])
			}
			name = strings.Join(found, "")
		}
		if name == "" {
			return fmt.Errorf("which file is for input %s? dataset.samples: {%s: EXTENSION} names it; there are %s", inputs[k].name(), inputs[k].name(), extensions(one))
		}
		w.inputs = append(w.inputs, webInput{extension: name, packing: &packing{}})
		s.from = append(s.from, 0)
	}
	w.settled = true
	return nil
}

// called1 is the extension that one of several names is: audio of key.audio or key.audio.npy.
func called1(one *webSample, names []string) string {
	for _, name := range names {
		for _, extension := range slices.Sorted(maps.Keys(one.files)) {
			first, _, _ := strings.Cut(extension, ".")
			if name != "" && (strings.EqualFold(first, name) || strings.EqualFold(first, "x_"+name)) {
				return extension
			}
		}
	}
	return ""
}

// settleLabels chooses the files of labels, or the fields of a .json.
func (w *webLayout) settleLabels(s *webSplit, one *webSample) error {
	if w.spec.Target == None {
		return nil
	}
	fields := map[string]json.RawMessage{}
	if at, ok := one.files["json"]; ok {
		if raw, err := s.text(at); err == nil {
			_ = json.Unmarshal(raw, &fields) // what is no object has no fields
		}
	}
	add := func(name string) bool {
		l := webLabel{extension: strings.ToLower(strings.TrimPrefix(name, "."))}
		if _, ok := one.files[l.extension]; !ok {
			l = webLabel{extension: "json"}
			for _, field := range slices.Sorted(maps.Keys(fields)) {
				if strings.EqualFold(field, name) {
					l.field = field
				}
			}
			if l.field == "" {
				return false
			}
		}
		if !slices.Contains(w.labels, l) {
			w.labels = append(w.labels, l)
		}
		return true
	}
	if w.spec.Labels != "" {
		if !add(w.spec.Labels) {
			return fmt.Errorf("has no file .%s, nor a field of that name in its .json (dataset.labels); there are %s", w.spec.Labels, extensions(one))
		}
	} else {
		_ = slices.ContainsFunc(append(slices.Clone(webLabels), labelColumns...), add)
	}
	if w.spec.Network == nil {
		return nil
	}
	outputs := w.spec.Network.Outputs
	for i := range outputs {
		if o := &outputs[i]; o.Target != "" {
			if !add(o.Target) {
				return fmt.Errorf("has no file .%s for output %s; there are %s", o.Target, o.Names[0], extensions(one))
			}
		} else if len(outputs) > 1 {
			for _, name := range o.Names {
				_ = name != "" && (add("y_"+name) || add(name))
			}
		}
	}
	return nil
}

// text is the bytes of a label's file.
func (s *webSplit) text(at place) ([]byte, error) {
	if at.length > maxLabel {
		return nil, fmt.Errorf("has %d bytes; a label has at most %d", at.length, maxLabel)
	}
	raw := make([]byte, at.length)
	if _, err := io.ReadFull(s.section(at), raw); err != nil {
		return nil, damaged(err)
	}
	return raw, nil
}

// label reads a label of a sample: a number or a name, numbers of a .npy or a JSON list.
func (s *webSplit) label(one *webSample, l webLabel) (feature, error) {
	at, ok := one.files[l.extension]
	if !ok {
		return feature{}, fmt.Errorf("has no file .%s; dataset.target None goes without labels", l.extension)
	}
	raw, err := s.text(at)
	if err == nil {
		var value feature
		if value, err = parseLabel(raw, l); err == nil {
			return value, nil
		}
	}
	return feature{}, fmt.Errorf("its file .%s %w", l.extension, err)
}

func parseLabel(raw []byte, l webLabel) (feature, error) {
	switch {
	case bytes.HasPrefix(raw, []byte("\x93NUMPY")):
		return arrayLabel(raw)
	case l.field != "":
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return feature{}, fmt.Errorf("is no JSON object: %w", err)
		}
		if raw = fields[l.field]; raw == nil {
			return feature{}, fmt.Errorf("has no field %q", l.field)
		}
		return jsonLabel(raw)
	case l.extension == "json":
		return jsonLabel(raw)
	default:
		text := strings.TrimSpace(string(raw))
		if v, err := strconv.ParseFloat(text, 32); err == nil && strings.ContainsAny(text, ".eE") {
			return feature{floats: []float32{float32(v)}}, nil
		}
		if text == "" {
			return feature{}, errEmptyLabel
		}
		return feature{bytes: [][]byte{[]byte(text)}}, nil // of integers that are texts others make numbers
	}
}

// arrayLabel reads the numbers of a .npy.
func arrayLabel(raw []byte) (feature, error) {
	r := bytes.NewReader(raw)
	h, err := readNPYHeader(r)
	if err != nil {
		return feature{}, err
	}
	size, err := byteSize("it", h.kind, append([]int{1}, h.dims...))
	if err != nil {
		return feature{}, err
	}
	if h.kind.text || int64(len(raw)) != h.size+size || size == 0 {
		return feature{}, fmt.Errorf("has %d bytes, its header says %d numbers: truncated or damaged?", len(raw), numel(h.dims))
	}
	values := make([]float32, numel(h.dims))
	h.kind.decode(values, raw[h.size:])
	if h.kind.integer {
		out := feature{}
		for _, v := range values {
			out.ints = append(out.ints, int64(v))
		}
		return out, nil
	}
	return feature{floats: values}, nil
}

// jsonLabel reads a number, a name, true or false, or a list of numbers.
func jsonLabel(raw json.RawMessage) (feature, error) {
	var list []float32
	if err := json.Unmarshal(raw, &list); err == nil && list != nil {
		return feature{floats: list}, nil
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return feature{}, fmt.Errorf("is no JSON: %w", err)
	}
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return feature{ints: []int64{i}}, nil
		}
		f, err := strconv.ParseFloat(v.String(), 32)
		return feature{floats: []float32{float32(f)}}, err
	case string:
		if strings.TrimSpace(v) == "" {
			return feature{}, errEmptyLabel
		}
		return feature{bytes: [][]byte{[]byte(v)}}, nil
	case bool:
		if v {
			return feature{ints: []int64{1}}, nil
		}
		return feature{ints: []int64{0}}, nil
	default:
		return feature{}, fmt.Errorf("is %.40s: a label is a number, a name or a list of numbers", raw)
	}
}
