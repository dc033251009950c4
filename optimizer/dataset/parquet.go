package dataset

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetParts reads Parquet files, column by column and page by page: what is kept of a row goes to memory or, where it is much, to a temporary
// file, so that however large row groups are, a page of each column is all that is unpacked at a time.
func parquetParts(f *files, path string, spec *Spec) (*parts, error) {
	found, err := findShards(path, ".parquet", func(name string) bool { return extension(name) == ".parquet" })
	if err != nil {
		return nil, err
	}
	p := &parquetLayout{spec: spec}
	made, err := found.parts(spec, func(split []string) (*harvest, error) { return f.readParquets(found.folder, split, p) }, p.stems)
	if made != nil {
		made.notes = append(made.notes, p.notes...)
	}
	return made, err
}

// parquetForm is what a column holds.
type parquetForm int

const (
	otherValues parquetForm = iota
	numberValues
	textValues
	listValues  // of numbers, of one length in all rows
	mediaValues // files as bytes
)

// parquetColumn is a column of the table, which Parquet may store as several.
type parquetColumn struct {
	name     string
	form     parquetForm
	leaf     *parquet.Column // that holds the values
	unsigned bool
	field    bool                // of a struct
	decimal  *format.DecimalType // of numbers of a fixed point
}

// parquetInput is how a row holds an input: as one column of files or lists, or as several of numbers.
type parquetInput struct {
	names   []string
	form    parquetForm
	packing *packing
	width   int // of lists, once the first is read
}

// parquetLayout is what the files of all splits have in common.
type parquetLayout struct {
	spec    *Spec
	first   string // the file that told
	inputs  []*parquetInput
	labels  []labelColumn
	columns []string            // of the labels
	classes map[string][]string // names of classes by column
	notes   []string
	settled bool
}

func (p *parquetLayout) stems() []*stem {
	var out []*stem
	for k, l := range p.labels {
		out = append(out, &stem{name: l.name, splits: [4]*entry{{name: p.columns[k], names: p.classes[p.columns[k]]}}})
	}
	return out
}

// columnsOf describes a file's columns: each field of a struct is one, of the name struct.field.
func columnsOf(file *parquet.File) []parquetColumn { return fieldsOf(file, file.Root(), "") }

func fieldsOf(file *parquet.File, group *parquet.Column, prefix string) []parquetColumn {
	var out []parquetColumn
	for _, c := range group.Columns() {
		if len(c.Columns()) > 1 && !c.Repeated() && c.Column("bytes") == nil {
			out = append(out, fieldsOf(file, c, prefix+c.Name()+".")...)
			continue
		}
		d := describeColumn(file, c)
		d.name, d.field = prefix+d.name, prefix != ""
		out = append(out, d)
	}
	return out
}

func describeColumn(file *parquet.File, c *parquet.Column) parquetColumn {
	d := parquetColumn{name: c.Name(), leaf: c}
	for lists := 0; !d.leaf.Leaf(); {
		below := d.leaf.Columns()
		if bytes := d.leaf.Column("bytes"); bytes != nil && bytes.Leaf() { // {bytes, path}
			below = []*parquet.Column{bytes}
		}
		if len(below) != 1 || lists > 8 {
			return d
		}
		d.leaf, lists = below[0], lists+1
	}
	var logical format.LogicalTypeValue // what the values stand for
	if t := d.leaf.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	d.decimal, _ = logical.(*format.DecimalType)
	integer, _ := logical.(*format.IntType)
	_, text := logical.(*format.StringType)
	_, enum := logical.(*format.EnumType)
	switch d.leaf.Type().Kind() {
	case parquet.Boolean, parquet.Float, parquet.Double:
		d.form = numberValues
	case parquet.Int32, parquet.Int64:
		if logical == nil || integer != nil || d.decimal != nil { // else a date
			d.form, d.unsigned = numberValues, integer != nil && !integer.IsSigned
		}
	case parquet.FixedLenByteArray:
		if d.decimal != nil || isHalf(file, d.leaf) {
			d.form = numberValues
		}
	case parquet.ByteArray:
		switch {
		case logical == nil:
			d.form = mediaValues
		case d.decimal != nil:
			d.form = numberValues
		case text || enum:
			d.form = textValues
		}
	}
	if d.leaf.MaxRepetitionLevel() > 0 {
		if d.form != numberValues {
			d.form = otherValues
			return d
		}
		d.form = listValues
	}
	return d
}

// isHalf reports whether a leaf of fixed bytes is floats of 16 bits, which the package that decodes it has no type for.
func isHalf(file *parquet.File, leaf *parquet.Column) bool {
	leaves := 0
	for _, s := range file.Metadata().Schema {
		if !s.Type.Valid { // a group
			continue
		}
		if leaves == leaf.Index() {
			_, half := s.LogicalType.Value.(*format.Float16Type)
			return half && s.TypeLength.V == 2
		}
		leaves++
	}
	return false
}

// settle says what the columns of the first file are for.
func (p *parquetLayout) settle(path string, file *parquet.File) error {
	p.first = filepath.Base(path)
	all := slices.DeleteFunc(columnsOf(file), func(c parquetColumn) bool { return strings.HasPrefix(c.name, "__index_level_") }) // of pandas
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	p.classes = classNames(file)
	inputs := p.spec.inputs()
	if len(inputs) == 1 && p.spec.declared(0) == "" {
		free := func(form parquetForm) (found []string) {
			for _, c := range all {
				isLabel := p.spec.Labels != "" && strings.EqualFold(c.name, p.spec.Labels) ||
					slices.ContainsFunc(headedLabels(names, p.spec), func(l labelColumn) bool { return names[l.column] == c.name })
				if c.form == form && !isLabel && !c.field {
					found = append(found, c.name)
				}
			}
			return found
		}
		for _, form := range []parquetForm{mediaValues, listValues} {
			found := free(form)
			if len(found) > 1 {
				return fmt.Errorf("which column is the sample, %s? dataset.samples: {%s: %s} names it", strings.Join(found, " or "), inputs[0].name(), found[0])
			}
			if len(found) == 1 {
				p.inputs = []*parquetInput{{names: found, form: form}}
				break
			}
		}
		if p.inputs == nil {
			return p.settleTable(path, all)
		}
	}
	if err := p.settleLabels(names); err != nil {
		return err
	}
	for k := range inputs {
		if len(p.inputs) > k {
			continue
		}
		in, err := p.named(k, all)
		if err != nil {
			return err
		}
		p.inputs = append(p.inputs, in)
	}
	var left []string
	for _, name := range names {
		used := slices.Contains(p.columns, name) || slices.ContainsFunc(p.inputs, func(in *parquetInput) bool { return slices.Contains(in.names, name) })
		if !used {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%s: columns that are neither sample nor label are left out: %s", p.first, short(left)))
	}
	return nil
}

// settleTable takes every column for a number of the sample, but for the label's.
func (p *parquetLayout) settleTable(path string, all []parquetColumn) error {
	c := &columns{path: path, width: len(all)}
	for _, column := range all {
		c.headings = append(c.headings, column.name)
	}
	if err := c.assign(p.spec); err != nil {
		return err
	}
	in := &parquetInput{form: numberValues}
	for _, g := range c.features {
		for _, k := range g.columns {
			if all[k].form != numberValues {
				return fmt.Errorf("column %s holds no numbers: encode it as some, or take the column out", all[k].name)
			}
			in.names = append(in.names, all[k].name)
		}
	}
	p.inputs, p.notes = []*parquetInput{in}, append(p.notes, c.notes...)
	for _, l := range c.labels {
		p.labels, p.columns = append(p.labels, l), append(p.columns, all[l.column].name)
	}
	return nil
}

// settleLabels finds the columns of labels.
func (p *parquetLayout) settleLabels(names []string) error {
	if p.spec.Target == None {
		return nil
	}
	found := headedLabels(names, p.spec)
	if p.spec.Labels != "" {
		at := headed(names, []string{p.spec.Labels})
		if at < 0 {
			return fmt.Errorf("has no column %q (dataset.labels); there are %s", p.spec.Labels, short(names))
		}
		found = []labelColumn{{name: names[at], column: at}}
	}
	for _, l := range found {
		p.labels, p.columns = append(p.labels, l), append(p.columns, names[l.column])
	}
	return nil
}

// named finds the columns of an input that a name tells: a column, or those whose names are it and a number.
func (p *parquetLayout) named(k int, all []parquetColumn) (*parquetInput, error) {
	in := p.spec.inputs()[k]
	wanted := []string{p.spec.declared(k)}
	if wanted[0] == "" {
		wanted = nil
		for _, name := range in.Names {
			wanted = append(wanted, name, "x_"+name)
		}
	}
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	for _, name := range wanted {
		if at := headed(names, []string{name}); at >= 0 {
			if all[at].form == textValues || all[at].form == otherValues {
				return nil, fmt.Errorf("column %s holds neither numbers nor files", all[at].name)
			}
			return &parquetInput{names: []string{all[at].name}, form: all[at].form}, nil
		}
		var columns []int
		for at, c := range all {
			if m := numbered.FindStringSubmatch(c.name); c.form == numberValues && m != nil && strings.EqualFold(m[1], name) {
				columns = append(columns, at)
			}
		}
		if columns, _ = inOrder(names, columns); len(columns) > 0 {
			out := &parquetInput{form: numberValues}
			for _, at := range columns {
				out.names = append(out.names, names[at])
			}
			return out, nil
		}
	}
	if name := p.spec.declared(k); name != "" {
		return nil, fmt.Errorf("has no column %q for input %s (dataset.samples); there are %s", name, in.name(), short(names))
	}
	return nil, fmt.Errorf("which column is for input %s? dataset.samples: {%s: COLUMN} names it; there are %s", in.name(), in.name(), short(names))
}

// classNames are the names of classes that Hugging Face's datasets write beside the columns of their numbers.
func classNames(file *parquet.File) map[string][]string {
	text, ok := file.Lookup("huggingface")
	if !ok {
		return nil
	}
	var about struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &about) != nil {
		return nil // a form that is not known says nothing
	}
	out := map[string][]string{}
	for column, raw := range about.Info.Features {
		var feature struct {
			Names []string `json:"names"`
			Type  string   `json:"_type"`
		}
		if json.Unmarshal(raw, &feature) == nil && feature.Type == "ClassLabel" && len(feature.Names) > 0 {
			out[column] = feature.Names
		}
	}
	return out
}

// find finds a column of a further file.
func (p *parquetLayout) find(all []parquetColumn, name string) (parquetColumn, error) {
	at := slices.IndexFunc(all, func(c parquetColumn) bool { return c.name == name })
	if at < 0 {
		return parquetColumn{}, fmt.Errorf("has no column %s, which %s has: add it, or take the file out", name, p.first)
	}
	return all[at], nil
}

// number is a value of a column of numbers.
func (c *parquetColumn) number(v parquet.Value) (float64, error) {
	var n float64
	switch v.Kind() {
	case parquet.Boolean, parquet.Int32, parquet.Int64:
		i, err := c.whole(v)
		if err != nil {
			return 0, err
		}
		n = float64(i)
	case parquet.Float:
		n = float64(v.Float())
	case parquet.Double:
		n = v.Double()
	case parquet.FixedLenByteArray, parquet.ByteArray:
		if c.decimal != nil {
			n = bigEndian(v.ByteArray())
		} else {
			n = float64(half(binary.LittleEndian.Uint16(v.ByteArray())))
		}
	default:
		return 0, errors.New("is empty: fill it in, or take the row out")
	}
	if c.decimal != nil {
		n /= math.Pow10(int(c.decimal.Scale))
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("is %g: remove or replace it", n)
	}
	return n, nil
}

// bigEndian is a whole number of two's complement.
func bigEndian(data []byte) float64 {
	n := 0.0
	for i, b := range data {
		if n = n*256 + float64(b); i == 0 && b > 127 {
			n -= 256
		}
	}
	return n
}

// whole is a value of a column of whole numbers.
func (c *parquetColumn) whole(v parquet.Value) (int64, error) {
	switch {
	case v.IsNull():
		return 0, errEmptyLabel
	case v.Kind() == parquet.Boolean && v.Boolean():
		return 1, nil
	case v.Kind() == parquet.Boolean:
		return 0, nil
	case v.Kind() == parquet.Int32 && c.unsigned:
		return int64(v.Uint32()), nil
	case v.Kind() == parquet.Int32:
		return int64(v.Int32()), nil
	case c.unsigned && v.Int64() < 0:
		return 0, fmt.Errorf("is %d: at most %d is supported", v.Uint64(), int64(math.MaxInt64))
	default:
		return v.Int64(), nil
	}
}

// wholeNumbers reports whether the column holds such.
func (c *parquetColumn) wholeNumbers() bool {
	kind := c.leaf.Type().Kind()
	return c.decimal == nil && (kind == parquet.Boolean || kind == parquet.Int32 || kind == parquet.Int64)
}

// mistyped is said where a column of a further file holds something else.
func mistyped(c *parquetColumn, first string) error {
	return fmt.Errorf("column %s is of another type than in %s (%s)", c.name, first, strings.TrimSpace(c.leaf.Type().String()))
}
