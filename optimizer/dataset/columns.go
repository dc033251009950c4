package dataset

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// tableParts reads a table that has a row a sample and a column a number: one .csv or .tsv file, or a folder of train.csv, test.csv ….
// The label is the column that dataset.labels names, else the one that is headed so.
func tableParts(f *files, path string, spec *Spec) (*parts, error) {
	folder, names, err := tableFiles(path)
	if err != nil {
		return nil, err
	}
	found, labels, files := catalogue{}, map[string]*table{}, map[string]string{}
	var notes []string
	for _, name := range names {
		file := filepath.Join(folder, name)
		c, err := f.scanColumns(file, spec)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		notes = append(notes, c.notes...)
		split := ""
		if _, at := divide("x_" + tableStem(name)); len(names) > 1 {
			split = splitSuffix(at)
		}
		for _, g := range c.features {
			found.add(&entry{name: g.name + split, file: name, dims: []int{c.rows, len(g.columns)}, kind: littleKinds[Float32],
				open: func() (*array, error) { return f.openColumns(c, g) }})
		}
		for _, g := range c.labels {
			t := g.table
			t.title = fmt.Sprintf("%s, column %s", file, g.name)
			labels[g.name+split], files[g.name+split] = t, name
		}
	}
	encodeTables(labels, func(name string, a *array, classes []string) {
		found.add(&entry{name: name, file: files[name], dims: a.dims, kind: a.kind, names: classes, open: func() (*array, error) { return a, nil }})
	})
	made, err := found.assemble(spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	slices.Sort(made.files)
	made.files = slices.Compact(made.files)
	slices.Sort(notes)
	made.notes = append(made.notes, slices.Compact(notes)...)
	return made, nil
}

// tableFiles are the tables of a dataset: a file, or those of a folder that are of different splits.
func tableFiles(path string) (folder string, names []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() {
		return filepath.Dir(path), []string{filepath.Base(path)}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", nil, err
	}
	of := map[int]string{}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !isTable(e.Name()) {
			continue
		}
		_, split := divide("x_" + tableStem(e.Name()))
		if of[split] != "" {
			return "", nil, fmt.Errorf("%s has both %s and %s: name the one file, or call them train.csv, validation.csv and test.csv", path, of[split], e.Name())
		}
		of[split] = e.Name()
		names = append(names, e.Name())
	}
	if of[undivided] != "" && len(names) > 1 {
		return "", nil, fmt.Errorf("%s is of no split, beside %s: call them train.csv, validation.csv and test.csv, or take it out",
			filepath.Join(path, of[undivided]), names[0])
	}
	if len(names) == 0 {
		return "", nil, fmt.Errorf("%s holds no .csv or .tsv file", path)
	}
	return path, names, nil
}

func isTable(name string) bool { return extension(name) == ".csv" || extension(name) == ".tsv" }

// tableStem is a file's name without its extension.
func tableStem(name string) string {
	return name[:strings.LastIndex(strings.ToLower(name), extension(name))]
}

// columns is what a table has: numbers by input, and labels.
type columns struct {
	path     string
	comma    rune
	headings bool // the first row
	rows     int
	width    int
	features []columnGroup
	labels   []labelColumn
	notes    []string
}

// columnGroup is the columns of one array.
type columnGroup struct {
	name    string
	columns []int
}

// labelColumn is one column of labels with its fields.
type labelColumn struct {
	name   string // of the array
	column int
	*table
}

// scanColumns reads a table once: its headings, what the columns are for, all labels, and whether the rest is numbers.
func (f *files) scanColumns(path string, spec *Spec) (*columns, error) {
	c := &columns{path: path}
	var label [][]string
	err := f.eachRow(c, func(row []string) error {
		if c.rows == 0 && c.width == 0 {
			c.width = len(row)
			var headings []string
			if c.headings = isHeading(row); c.headings {
				headings = slices.Clone(row)
			}
			if err := c.assign(headings, spec); err != nil {
				return err
			}
			label = make([][]string, len(c.labels))
			if c.headings {
				return nil
			}
		}
		c.rows++
		for i, l := range c.labels {
			label[i] = append(label[i], strings.TrimSpace(row[l.column]))
		}
		for _, g := range c.features {
			for _, k := range g.columns {
				if _, err := number(row[k]); err != nil {
					return fmt.Errorf("row %d, column %d: %w", c.rows, k+1, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.rows == 0 {
		return nil, errors.New("has no rows")
	}
	for i := range c.labels {
		c.labels[i].table = tableOf(label[i])
	}
	return c, nil
}

// number reads a field as a finite number.
func number(field string) (float32, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(field), 32)
	switch {
	case strings.TrimSpace(field) == "":
		return 0, errors.New("is empty: fill it in, or take the row out")
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Errorf("%.40q is no number: encode it as one, or take the column out", field)
	}
	return float32(v), nil
}

// isHeading reports whether a first row names the columns: none of its fields is a number.
func isHeading(row []string) bool {
	return !slices.ContainsFunc(row, func(field string) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		return err == nil
	})
}

// numbered is a heading of one of several columns: pixel12, accel_3, spec[4].
var numbered = regexp.MustCompile(`^(.*?)[_.\[ -]?\d+\]?$`)

// assign says what the columns are for. headings is nil where there are none.
func (c *columns) assign(headings []string, spec *Spec) error {
	for i := range headings {
		headings[i] = strings.TrimSpace(headings[i])
	}
	taken := make([]bool, c.width)
	if headings != nil && headings[0] == "" { // the row numbers that pandas writes
		taken[0] = true
		c.notes = append(c.notes, "the first column has no heading and is left out: it is taken for the numbers of the rows")
	}
	if err := c.assignLabels(headings, spec, taken); err != nil {
		return err
	}
	inputs := spec.inputs()
	if len(inputs) == 1 && spec.declared(0) == "" {
		g := columnGroup{name: "x"}
		for k := range taken {
			if !taken[k] {
				g.columns = append(g.columns, k)
			}
		}
		if len(g.columns) == 0 {
			return errors.New("has no columns beside the label's")
		}
		c.features = []columnGroup{g}
		return nil
	}
	for k := range taken { // by the headings' common stem
		if taken[k] || headings == nil {
			continue
		}
		stem := headings[k]
		if m := numbered.FindStringSubmatch(stem); m != nil && m[1] != "" {
			stem = m[1]
		}
		at := slices.IndexFunc(c.features, func(g columnGroup) bool { return g.name == stem })
		if at < 0 {
			at = len(c.features)
			c.features = append(c.features, columnGroup{name: stem})
		}
		c.features[at].columns = append(c.features[at].columns, k)
	}
	if len(c.features) == 0 {
		return fmt.Errorf("which columns are for which of the inputs %s? head them %s_0, %s_1 …", list(inputs), inputs[0].name(), inputs[0].name())
	}
	return nil
}

// assignLabels finds the columns of labels and marks them as taken.
func (c *columns) assignLabels(headings []string, spec *Spec, taken []bool) error {
	add := func(name string, column int) {
		taken[column] = true
		if spec.Target != None {
			c.labels = append(c.labels, labelColumn{name: name, column: column})
		}
	}
	find := func(name string) int { return headed(headings, []string{name}) }
	if spec.Labels != "" {
		at := find(spec.Labels)
		if at < 0 && headings == nil {
			return fmt.Errorf("has no headings, so that no column is called %q (dataset.labels)", spec.Labels)
		}
		if at < 0 {
			return fmt.Errorf("has no column %q (dataset.labels); there are %s", spec.Labels, short(headings))
		}
		add(spec.Labels, at)
		return nil
	}
	var outputs []Output
	if spec.Network != nil {
		outputs = spec.Network.Outputs
	}
	for i := range outputs {
		for _, name := range append([]string{outputs[i].Target}, outputs[i].Names...) {
			if at := find(name); name != "" && at >= 0 && !taken[at] {
				add(headings[at], at)
				break
			}
		}
	}
	if len(c.labels) > 0 {
		return nil
	}
	for _, name := range labelColumns {
		if at := find(name); at >= 0 {
			add("y", at)
			return nil
		}
	}
	left := 0
	for _, t := range taken {
		if !t {
			left++
		}
	}
	in := spec.onlyInput()
	switch {
	case in == nil || slices.Contains(in.Shape, -1) || left == numel(in.Shape) || spec.Target == None:
		return nil
	case left == numel(in.Shape)+1:
		add("y", c.width-1)
		c.notes = append(c.notes, "the last column is taken for the label: head it `label`, or name it in dataset.labels")
		return nil
	case headings == nil:
		return fmt.Errorf("has %d columns, the model's input %s takes %d numbers: one column more would be the label", left, in, numel(in.Shape))
	}
	return fmt.Errorf("has %d columns, the model's input %s takes %d numbers; which is the label? Head it `label`, or name it in dataset.labels; there are %s",
		left, in, numel(in.Shape), short(headings))
}

// short lists names, the first twenty.
func short(names []string) string {
	if len(names) > 20 {
		return strings.Join(names[:20], ", ") + " …"
	}
	return strings.Join(names, ", ")
}

// onlyInput is the network's input, nil of a network that has several or where there is none.
func (s *Spec) onlyInput() *Input {
	if s.Network == nil || len(s.Network.Inputs) != 1 {
		return nil
	}
	return &s.Network.Inputs[0]
}

// eachRow calls do with every row of a table, headings too; fields are reused.
func (f *files) eachRow(c *columns, do func(row []string) error) error {
	file, err := os.Open(c.path)
	if err != nil {
		return err
	}
	defer file.Close()
	opened, err := plain(file)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(opened, 1<<16)
	if mark, err := in.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := in.Discard(3); err != nil {
			return err
		}
	}
	if c.comma == 0 {
		head, _ := in.Peek(1 << 15) // less where the file is shorter
		c.comma = separator(head)
	}
	reader := csv.NewReader(in)
	reader.Comma, reader.ReuseRecord, reader.TrimLeadingSpace = c.comma, true, c.comma != '\t'
	for {
		row, err := reader.Read()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, csv.ErrFieldCount):
			return fmt.Errorf("%w; every row has the same columns", err)
		case err != nil:
			return damaged(err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
}

// separator is the one of comma, semicolon and tab that is most in the first line.
func separator(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	best := ','
	for _, r := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(r))) > bytes.Count(line, []byte(string(best))) {
			best = r
		}
	}
	return best
}

// openColumns reads the numbers of some columns, to memory or, where they are many, to a temporary file.
func (f *files) openColumns(c *columns, g columnGroup) (*array, error) {
	size, err := byteSize(c.path, littleKinds[Float32], []int{c.rows, len(g.columns)})
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriterSize(w, 1<<16)
		first := c.headings
		err := f.eachRow(c, func(row []string) error {
			if first {
				first = false
				return nil
			}
			for _, k := range g.columns {
				v, err := number(row[k])
				if err != nil {
					return err
				}
				var raw [4]byte
				binary.LittleEndian.PutUint32(raw[:], math.Float32bits(v))
				if _, err := out.Write(raw[:]); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = out.Flush()
		}
		w.CloseWithError(err)
	}()
	data, err := f.spool(r, size, -1)
	r.CloseWithError(err)
	if err != nil {
		return nil, fmt.Errorf("%s %w", c.path, err)
	}
	return newArray(c.path, littleKinds[Float32], []int{c.rows, len(g.columns)}, data, 0, size)
}
