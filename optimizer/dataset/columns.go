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
	var first *columns
	for _, name := range names {
		file := filepath.Join(folder, name)
		c, err := f.scanColumns(file, spec, first)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if first == nil {
			first = c
		}
		notes = append(notes, c.notes...)
		split := ""
		if len(names) > 1 {
			split = splitSuffix(tableSplit(name))
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

// tableFiles are the tables of a dataset: a file, or those of a folder that are of different splits, in the order of splitNames.
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
		split := tableSplit(e.Name())
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
	slices.SortFunc(names, func(a, b string) int { return tableSplit(a) - tableSplit(b) })
	return path, names, nil
}

// tableSplit is the split that a file's name tells.
func tableSplit(name string) int {
	_, split := divide("x_" + tableStem(name))
	return split
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
	headings []string // the first row; nil if that is data already
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

// scanColumns reads a table once: its headings, what the columns are for, all labels, and whether the rest is numbers. first is the table
// of the dataset whose headings say what its columns are for, nil if this is it.
func (f *files) scanColumns(path string, spec *Spec, first *columns) (*columns, error) {
	c := &columns{path: path}
	if err := f.begin(c, spec); err != nil {
		return nil, err
	}
	var err error
	if first != nil {
		err = c.follow(first)
	} else {
		err = c.assign(spec)
	}
	if err != nil {
		return nil, err
	}
	label := make([][]string, len(c.labels))
	least, most := make([]float32, c.width), make([]float32, c.width)
	known, heads := words{}, c.headings != nil
	err = f.eachRow(c, func(row []string, line int) error {
		if heads {
			heads = false
			return nil
		}
		c.rows++
		for i, l := range c.labels {
			field := strings.TrimSpace(row[l.column])
			if field == "" {
				return fmt.Errorf("line %d, column %d: %w", line, l.column+1, errEmptyLabel)
			}
			label[i] = append(label[i], known.keep(field))
		}
		for _, g := range c.features {
			for _, k := range g.columns {
				v, err := number(row[k])
				if err != nil {
					return fmt.Errorf("line %d, column %d: %w", line, k+1, err)
				}
				if c.rows == 1 {
					least[k], most[k] = v, v
				}
				least[k], most[k] = min(least[k], v), max(most[k], v)
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
	if first == nil && c.rows > 1 {
		c.noteSpans(least, most)
	}
	return c, nil
}

// fewSteps is how many steps of a float32 the numbers of a column have to span to be told apart.
const fewSteps = 16

// noteSpans names columns of features that tell nothing, given the least and the most of each column: what is the same in all rows, and what is so
// large that 32 bits do not tell its numbers apart, such as times since 1970.
func (c *columns) noteSpans(least, most []float32) {
	var same, coarse []string
	for _, g := range c.features {
		for _, k := range g.columns {
			top := max(most[k], -least[k])
			step := math.Nextafter32(top, math.MaxFloat32) - top
			switch span := most[k] - least[k]; {
			case span < fewSteps*step && (span > 0 || step >= 1):
				coarse = append(coarse, fmt.Sprintf("%s (%g to %g in steps of %g)", c.called(k), least[k], most[k], step))
			case span == 0:
				same = append(same, c.called(k))
			}
		}
	}
	if n := len(same); n > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s: %s the same number in all rows, which tells nothing: %s", filepath.Base(c.path), plural(n, "a column holds", fmt.Sprintf("%d columns hold", n)), short(same)))
	}
	if len(coarse) > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s: numbers so large are hardly told apart in the 32 bits that samples have: subtract what they have in common, in the table: %s", filepath.Base(c.path), short(coarse)))
	}
}

// called is the heading of a column, or its number.
func (c *columns) called(k int) string {
	if c.headings == nil {
		return fmt.Sprintf("column %d", k+1)
	}
	return c.headings[k]
}

// errEmptyLabel is returned where a label is missing, which would else be a class of its own.
var errEmptyLabel = errors.New("the label is empty: fill it in, or take the row out")

// number reads a field as a finite number; truth values are 1 and 0.
func number(field string) (float32, error) {
	v, err := finiteNumber(strings.TrimSpace(field), 32)
	return float32(v), err
}

// decimalComma is a number as it is written in much of Europe.
var decimalComma = regexp.MustCompile(`^[+-]?\d+,\d+$`)

// finiteNumber reads a trimmed field as a number of so many bits.
func finiteNumber(field string, bits int) (float64, error) {
	v, err := strconv.ParseFloat(field, bits)
	switch {
	case err == nil && !math.IsNaN(v) && !math.IsInf(v, 0):
		return v, nil
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%.40q is beyond what %d bits hold: give it in a larger unit", field, bits)
	case field == "":
		return 0, errors.New("is empty: fill it in, or take the row out")
	case strings.EqualFold(field, "true"):
		return 1, nil
	case strings.EqualFold(field, "false"):
		return 0, nil
	case decimalComma.MatchString(field):
		return 0, fmt.Errorf("%.40q has a decimal comma: write numbers with a point", field)
	}
	return 0, fmt.Errorf("%.40q is no number: encode it as one, or take the column out", field)
}

// words keeps the words of a file once each: a field that is kept as it was read keeps its whole row in memory.
type words map[string]string

func (w words) keep(word string) string {
	if kept, ok := w[word]; ok {
		return kept
	}
	word = strings.Clone(word)
	w[word] = word
	return word
}

// firstRows are the first rows of a table, two if there are so many.
func (f *files) firstRows(c *columns) (rows [][]string, err error) {
	enough := errors.New("two rows are enough")
	err = f.eachRow(c, func(row []string, _ int) error {
		if rows = append(rows, slices.Clone(row)); len(rows) == 2 {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return rows, err
}

// begin settles whether a table has headings.
func (f *files) begin(c *columns, spec *Spec) error {
	rows, err := f.firstRows(c)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errors.New("has no rows")
	}
	c.width = len(rows[0])
	if hasHeadings(rows, spec.Labels) {
		for _, field := range rows[0] {
			c.headings = append(c.headings, strings.TrimSpace(field))
		}
	}
	if c.headings != nil && counted(rows[0]) == c.width {
		c.notes = append(c.notes, filepath.Base(c.path)+": the first row, 0, 1, 2 …, is taken for the numbers of the columns")
	}
	return nil
}

// hasHeadings reports whether the first of a table's first rows names the columns. It does where all of it is words, and where it holds
// the numbers of the columns, as pandas writes them, over numbers that are written otherwise. Among numbers that may be names, such as
// years, a word is a heading where there is a number below it or where it is one that heads labels.
func hasHeadings(rows [][]string, label string) bool {
	first, second := rows[0], rows[len(rows)-1]
	if isHeading(first) || label != "" && headed(first, []string{label}) >= 0 {
		return true
	}
	inOrder := counted(first)
	if inOrder == len(first) {
		return inOrder >= 8 || strings.Contains(strings.Join(second, ""), ".")
	}
	numbers, named := map[string]bool{}, false
	for k, field := range first {
		switch field = strings.TrimSpace(field); {
		case isNumber(field):
			if _, err := strconv.ParseUint(field, 10, 32); err != nil || numbers[field] {
				return false
			}
			numbers[field] = true
		case field == "" && k == 0: // above the row numbers that pandas writes
			named = named || inOrder == len(first)-1
		case slices.Contains(gaps, strings.ToLower(field)):
			return false
		default:
			heads := headed([]string{field}, []string{"label", "labels", "class"}) == 0
			named = named || heads || len(rows) > 1 && isNumber(second[k]) || inOrder > 1 && inOrder == len(first)-1
		}
	}
	return named
}

// gaps are what stands for a number that is not known.
var gaps = []string{"", "?", "-", "na", "n/a", "#n/a", "null", "none", "missing"}

// counted is how many of the fields are 0, 1, 2 … in that order, if all of them are that are numbers, else 0.
func counted(row []string) int {
	n := 0
	for _, field := range row {
		if field = strings.TrimSpace(field); field == strconv.Itoa(n) {
			n++
		} else if isNumber(field) {
			return 0
		}
	}
	return n
}

// isHeading reports whether none of a row's fields is a number.
func isHeading(row []string) bool { return !slices.ContainsFunc(row, isNumber) }

func isNumber(field string) bool {
	_, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
	return err == nil
}

// numbered is a heading of one of several columns: pixel12, accel_3, spec[4].
var numbered = regexp.MustCompile(`^(.*?)[_.\[ -]?(\d+)\]?$`)

// inOrder sorts columns whose headings differ by a number alone by that number, and reports whether their order was another.
func inOrder(headings []string, columns []int) (sorted []int, changed bool) {
	numbers := map[int]int{}
	stem := ""
	for i, k := range columns {
		m := numbered.FindStringSubmatch(headings[k])
		if m == nil || i > 0 && m[1] != stem {
			return columns, false
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return columns, false
		}
		stem, numbers[k] = m[1], n
	}
	sorted = slices.Clone(columns)
	slices.SortStableFunc(sorted, func(a, b int) int { return numbers[a] - numbers[b] })
	return sorted, !slices.Equal(sorted, columns)
}

// assign says what the columns are for.
func (c *columns) assign(spec *Spec) error {
	headings := c.headings
	taken := make([]bool, c.width)
	if headings != nil && headings[0] == "" { // the row numbers that pandas writes
		taken[0] = true
		c.notes = append(c.notes, "the first column has no heading and is left out: it is taken for the numbers of the rows")
	}
	if err := c.assignLabels(headings, spec, taken); err != nil {
		return err
	}
	for k, heading := range headings {
		if taken[k] && heading != "" && slices.ContainsFunc(headings[k+1:], func(h string) bool { return strings.EqualFold(h, heading) }) {
			return fmt.Errorf("has two columns headed %s: which is the label? Rename the other, or take it out", heading)
		}
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
		if headings != nil {
			if sorted, changed := inOrder(headings, g.columns); changed {
				c.notes = append(c.notes, fmt.Sprintf("%s: columns are taken in their order, %s, %s …, and not by their numbers, %s, %s …: is that how the model takes them?",
					filepath.Base(c.path), headings[g.columns[0]], headings[g.columns[1]], headings[sorted[0]], headings[sorted[1]]))
			}
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
	for i := range c.features {
		c.features[i].columns, _ = inOrder(headings, c.features[i].columns)
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
	for _, l := range headedLabels(headings, spec) {
		if !taken[l.column] {
			add(l.name, l.column)
		}
	}
	if len(c.labels) > 0 || spec.Target == None && slices.Contains(taken, true) {
		return nil
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

// headedLabels are the columns that are headed as outputs of the network are called or, where none is, as labels usually are.
func headedLabels(headings []string, spec *Spec) []labelColumn {
	var found []labelColumn
	if spec.Network != nil {
		for _, o := range spec.Network.Outputs {
			for _, name := range append([]string{o.Target}, o.Names...) {
				at := headed(headings, []string{name})
				if name != "" && at >= 0 && !slices.ContainsFunc(found, func(l labelColumn) bool { return l.column == at }) {
					found = append(found, labelColumn{name: headings[at], column: at})
					break
				}
			}
		}
	}
	for _, name := range labelColumns {
		if at := headed(headings, []string{name}); at >= 0 && len(found) == 0 {
			found = append(found, labelColumn{name: "y", column: at})
		}
	}
	return found
}

// follow gives the columns the purposes that columns of the same headings have in another table of the dataset.
func (c *columns) follow(first *columns) error {
	if (c.headings == nil) != (first.headings == nil) {
		with, without := first, c
		if c.headings != nil {
			with, without = c, first
		}
		return fmt.Errorf("%s begins with headings (%s), %s does not: give both the same", filepath.Base(with.path), short(with.headings), filepath.Base(without.path))
	}
	if c.headings == nil && c.width != first.width {
		return fmt.Errorf("has %d columns, %s has %d: give both the same columns, with headings if their order differs", c.width, filepath.Base(first.path), first.width)
	}
	if !slices.Equal(c.headings, first.headings) {
		for k, heading := range first.headings {
			if heading != "" && first.occurrence(k) > 0 {
				return fmt.Errorf("has its columns in another order than %s, where two are headed %s: rename one, in both", filepath.Base(first.path), heading)
			}
		}
	}
	used := make([]bool, c.width)
	var missing []string
	find := func(column int) int {
		at := column
		if c.headings != nil {
			at = c.find(first.headings[column], first.occurrence(column))
		}
		if at < 0 {
			missing = append(missing, first.headings[column])
			return 0
		}
		used[at] = true
		return at
	}
	for _, g := range first.features {
		mine := columnGroup{name: g.name}
		for _, k := range g.columns {
			mine.columns = append(mine.columns, find(k))
		}
		c.features = append(c.features, mine)
	}
	for _, l := range first.labels {
		c.labels = append(c.labels, labelColumn{name: l.name, column: find(l.column)})
	}
	var more []string
	for k, heading := range c.headings {
		if !used[k] && heading != "" && !slices.Contains(first.headings, heading) {
			more = append(more, heading)
		}
	}
	switch {
	case len(missing) > 0 && len(more) > 0:
		return fmt.Errorf("has no column %s, which %s has, but %s: give both the same headings", short(missing), filepath.Base(first.path), short(more))
	case len(missing) > 0:
		return fmt.Errorf("has no column %s, which %s has: add it, or take the file out", short(missing), filepath.Base(first.path))
	case len(more) > 0:
		c.notes = append(c.notes, fmt.Sprintf("%s: what %s has no column of is left out: %s", filepath.Base(c.path), filepath.Base(first.path), short(more)))
	}
	return nil
}

// find is the column of a heading, the n-th that has it; −1 if there is none.
func (c *columns) find(heading string, n int) int {
	for k, h := range c.headings {
		if h == heading {
			if n == 0 {
				return k
			}
			n--
		}
	}
	return -1
}

// occurrence counts the columns before one that have its heading.
func (c *columns) occurrence(column int) int {
	n := 0
	for _, h := range c.headings[:column] {
		if h == c.headings[column] {
			n++
		}
	}
	return n
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

// eachRow calls do with every row of a table, headings too, and the line it begins in; fields are reused.
func (f *files) eachRow(c *columns, do func(row []string, line int) error) error {
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
	if err := c.dialect(in); err != nil {
		return err
	}
	reader := csv.NewReader(in)
	reader.Comma, reader.ReuseRecord, reader.TrimLeadingSpace = c.comma, true, c.comma != '\t'
	for {
		row, err := reader.Read()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, csv.ErrFieldCount):
			return unequal(err, row, reader.FieldsPerRecord)
		case err != nil:
			return damaged(err)
		}
		line, _ := reader.FieldPos(0)
		if err := do(row, line); err != nil {
			return err
		}
	}
}

// dialect reads past what a table may begin with, a mark of UTF-8 and Excel's line sep=;, and settles what separates its fields.
func (c *columns) dialect(in *bufio.Reader) error {
	head, _ := in.Peek(1 << 15) // less where the file is shorter
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return errors.New("is UTF-16: save it as UTF-8")
	}
	skip := 0
	if bytes.HasPrefix(head, []byte("\ufeff")) {
		skip = len("\ufeff")
	}
	line, _, more := bytes.Cut(head[skip:], []byte("\n"))
	if !more && bytes.IndexByte(head, '\r') >= 0 && bytes.IndexByte(head, '\r') < len(bytes.TrimSpace(head)) {
		return errors.New("ends its lines with carriage returns alone, as old Macs did: save it with line feeds")
	}
	if said := bytes.TrimSpace(line); len(said) == len("sep=;") && bytes.EqualFold(said[:4], []byte("sep=")) {
		c.comma = rune(said[4])
		skip += len(line) + 1
	}
	if c.comma == 0 {
		c.comma = separator(line)
	}
	_, err := in.Discard(skip)
	return err
}

// separator is the one of comma, semicolon, tab and bar that is most in the first line.
func separator(line []byte) rune {
	best := ','
	for _, r := range ";\t|" {
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
		first := c.headings != nil
		err := f.eachRow(c, func(row []string, _ int) error {
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
