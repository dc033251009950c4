package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sort"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetSplit is the rows of one split, on the way to stores.
type parquetSplit struct {
	*parquetLayout
	paths  []string
	starts []int // the first row of each file
	rows   int
	out    []*overflow // by input
	places [][]place   // of files, by input
	labels []*labelList
}

// readParquets reads the files of one split.
func (f *files) readParquets(folder string, names []string, p *parquetLayout) (*harvest, error) {
	s := &parquetSplit{parquetLayout: p}
	var from []int
	for _, in := range p.inputs {
		if in.packing != nil {
			from = append(from, len(in.packing.headers))
		} else {
			from = append(from, 0)
		}
	}
	for _, name := range names {
		path := filepath.Join(folder, name)
		if err := f.readParquet(path, s); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if s.rows == 0 {
		return nil, fmt.Errorf("%s has no rows", filepath.Join(folder, names[0]))
	}
	h := &harvest{}
	for k, in := range p.inputs {
		data, err := s.out[k].done()
		if err != nil {
			return nil, err
		}
		if in.form == mediaValues {
			first := 0
			if k < len(from) {
				first = from[k]
			}
			h.inputs = append(h.inputs, in.packing.store(&packed{title: folder, data: []io.ReaderAt{data}, places: s.places[k], label: s.rowName}, first))
			continue
		}
		title := fmt.Sprintf("%s: column %s", filepath.Join(folder, names[0]), in.names[0])
		a, err := newArray(title, littleKinds[Float32], []int{s.rows, in.width}, data, 0, s.out[k].size)
		if err != nil {
			return nil, err
		}
		h.inputs = append(h.inputs, a)
	}
	for k := range p.labels {
		h.labels = append(h.labels, s.labels[k].array(filepath.Join(folder, names[0]), p.columns[k], s.rowName))
	}
	return h, nil
}

// rowName says where row i of the split comes from.
func (s *parquetSplit) rowName(i int) string {
	file := sort.SearchInts(s.starts, i+1) - 1
	return fmt.Sprintf("%s: row %d", s.paths[file], i-s.starts[file])
}

// readParquet reads one file. The package that decodes it may panic where bytes are damaged.
func (f *files) readParquet(path string, s *parquetSplit) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("is damaged: %v", value)
		}
	}()
	opened, err := f.open(path)
	if err != nil {
		return err
	}
	if opened.compressed {
		return errors.New("is compressed as a whole: decompress it")
	}
	if err := checkFooter(opened.file, opened.size); err != nil {
		return err
	}
	file, err := parquet.OpenFile(opened.file, opened.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(1<<16))
	if err != nil {
		return fmt.Errorf("is no Parquet file, or damaged: %w", damaged(err))
	}
	if !s.settled {
		if err := s.settle(path, file); err != nil {
			return err
		}
		s.settled = true
	}
	if s.out == nil {
		s.out, s.places = make([]*overflow, len(s.inputs)), make([][]place, len(s.inputs))
		for k, in := range s.inputs {
			s.out[k] = &overflow{files: f}
			if in.form == mediaValues && in.packing == nil {
				in.packing = &packing{}
			}
		}
		for range s.parquetLayout.labels {
			s.labels = append(s.labels, &labelList{what: "column"})
		}
	}
	s.paths, s.starts = append(s.paths, path), append(s.starts, s.rows)
	return s.scan(file)
}

// checkFooter looks at the end of a file: the length of its description, which is believed from here on, and a magic word.
func checkFooter(r io.ReaderAt, size int64) error {
	var end [8]byte
	if n, _ := r.ReadAt(end[:], max(0, size-8)); size < 12 || n < len(end) || string(end[4:]) != "PAR1" {
		return errors.New("is no Parquet file, or damaged: its end is none of one (encrypted files are not read)")
	}
	if length := int64(binary.LittleEndian.Uint32(end[:])); length > size-12 {
		return fmt.Errorf("is damaged: its description claims %d of its %d bytes", length, size)
	}
	return nil
}

// rowReader reads a column row by row.
type rowReader struct {
	parquetColumn
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buffer [128]parquet.Value
	have   []parquet.Value
	row    []parquet.Value // the current one
}

// fill makes sure that a value is there, io.EOF at the end.
func (r *rowReader) fill() error {
	for len(r.have) == 0 {
		if r.values == nil {
			page, err := r.pages.ReadPage()
			if err != nil {
				return err
			}
			r.page, r.values = page, page.Values()
		}
		n, err := r.values.ReadValues(r.buffer[:])
		r.have = r.buffer[:n]
		if errors.Is(err, io.EOF) || n == 0 && err == nil {
			r.values = nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// next reads a row of one value, or of a list; values are good until the next row is read.
func (r *rowReader) next() error {
	r.row = r.row[:0]
	for {
		err := r.fill()
		if errors.Is(err, io.EOF) && len(r.row) > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.row) > 0 && (r.form != listValues || r.have[0].RepetitionLevel() == 0) {
			return nil
		}
		if len(r.row) == maxElements {
			return errors.New("a list has too many values")
		}
		r.row, r.have = append(r.row, r.have[0]), r.have[1:]
		if r.form != listValues {
			return nil
		}
	}
}

// scan reads the rows of a file.
func (s *parquetSplit) scan(file *parquet.File) error {
	all := columnsOf(file)
	var readers []*rowReader
	defer func() {
		for _, r := range readers {
			r.pages.Close()
		}
	}()
	open := func(name string, form parquetForm) (*rowReader, error) {
		c, err := s.find(all, name)
		if err != nil {
			return nil, err
		}
		if form != otherValues && c.form != form {
			return nil, mistyped(&c, s.first)
		}
		if err := decodable(file, c.leaf); err != nil {
			return nil, fmt.Errorf("column %s %w", c.name, err)
		}
		r := &rowReader{parquetColumn: c, pages: c.leaf.Pages()}
		readers = append(readers, r)
		return r, nil
	}
	inputs := make([][]*rowReader, len(s.inputs))
	for k, in := range s.inputs {
		for _, name := range in.names {
			r, err := open(name, in.form)
			if err != nil {
				return err
			}
			inputs[k] = append(inputs[k], r)
		}
	}
	var labels []*rowReader
	for _, name := range s.columns {
		r, err := open(name, otherValues)
		if err != nil {
			return err
		}
		if r.form == otherValues || r.form == mediaValues {
			return fmt.Errorf("column %s is no label: it holds neither numbers nor text (dataset.labels names another)", name)
		}
		labels = append(labels, r)
	}
	for row := 0; ; row++ {
		ended := 0
		for _, r := range readers {
			switch err := r.next(); {
			case errors.Is(err, io.EOF):
				ended++
			case err != nil:
				return fmt.Errorf("row %d, column %s: %w", row, r.name, damaged(err))
			}
		}
		if ended == len(readers) {
			return nil
		}
		if ended > 0 {
			return fmt.Errorf("row %d: some columns end before others: damaged?", row)
		}
		for k, in := range s.inputs {
			if err := s.take(k, in, inputs[k]); err != nil {
				return fmt.Errorf("row %d, column %w", row, err)
			}
		}
		for k, r := range labels {
			value, err := r.label()
			if err == nil {
				err = s.labels[k].add(r.name, value)
			}
			if err != nil {
				return fmt.Errorf("row %d, column %s: %w", row, r.name, err)
			}
		}
		s.rows++
	}
}

// decodable refuses what the decoder makes other values of, without an error: blocks of LZ4, whose bytes it mislays, and truth values by the length
// of runs, of which there are some where no plain page is among a chunk's encodings.
func decodable(file *parquet.File, leaf *parquet.Column) error {
	for _, g := range file.Metadata().RowGroups {
		if leaf.Index() >= len(g.Columns) {
			return errors.New("is missing from a row group: damaged?")
		}
		chunk := g.Columns[leaf.Index()].MetaData
		switch {
		case chunk.Codec == format.Lz4Raw:
			return errors.New("is compressed by LZ4, which is not read: write the file with compression snappy or zstd")
		case leaf.Type().Kind() == parquet.Boolean && !slices.Contains(chunk.Encoding, format.Plain):
			return errors.New("holds truth values by the length of runs, which are not read: write them as whole numbers (astype), or as data pages of version 1")
		}
	}
	return nil
}

// take keeps an input of the current row.
func (s *parquetSplit) take(k int, in *parquetInput, readers []*rowReader) error {
	out := s.out[k]
	if in.form == mediaValues {
		r := readers[0]
		if r.row[0].IsNull() {
			return fmt.Errorf("%s: is empty: fill it in, or take the row out", r.name)
		}
		raw := r.row[0].ByteArray()
		if err := in.packing.look(io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw)))); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		s.places[k] = append(s.places[k], place{offset: out.size, length: int64(len(raw))})
		_, err := out.Write(raw)
		return err
	}
	width := 0
	for _, r := range readers {
		for _, v := range r.row {
			n, err := r.number(v)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			var raw [4]byte
			binary.LittleEndian.PutUint32(raw[:], math.Float32bits(float32(n)))
			if _, err := out.Write(raw[:]); err != nil {
				return err
			}
			width++
		}
	}
	if in.width == 0 {
		in.width = width
	}
	if width != in.width {
		return fmt.Errorf("%s: has %d values, others have %d", readers[0].name, width, in.width)
	}
	return nil
}

// label is the label of the current row.
func (r *rowReader) label() (feature, error) {
	var out feature
	for _, v := range r.row {
		switch {
		case v.IsNull():
			return out, errEmptyLabel
		case r.form == textValues:
			out.bytes = append(out.bytes, v.ByteArray())
		case r.wholeNumbers():
			n, err := r.whole(v)
			if err != nil {
				return out, err
			}
			out.ints = append(out.ints, n)
		default:
			n, err := r.number(v)
			if err != nil {
				return out, err
			}
			out.floats = append(out.floats, float32(n))
		}
	}
	return out, nil
}
