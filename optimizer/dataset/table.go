package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// table is the labels of a .csv file: numbers, or names of classes.
type table struct {
	title   string
	columns int
	integer bool
	numbers []float64 // row by row; nil if names
	names   []string  // of each row's class
}

// labelColumns are the headings of the label among other columns.
var labelColumns = []string{"label", "labels", "class", "target", "y"}

// maxTable bounds the numbers of a .csv file that is read as one array.
const maxTable = 1 << 27

// readTable reads an array of a .csv file: numbers, one or several a row, or one name of a class a row. A first row of headings is optional; where
// one of several columns is headed label, class, target or y, the others are ignored, and so is a first one without a heading, the row numbers
// that pandas writes.
func (f *files) readTable(path string) (*table, []string, error) {
	c := &columns{path: path}
	t, err := f.readArray(c)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	t.title = path
	return t, c.notes, nil
}

func (f *files) readArray(c *columns) (*table, error) {
	head, err := f.firstRows(c)
	switch {
	case err != nil:
		return nil, err
	case len(head) == 0:
		return nil, errors.New("is empty")
	}
	first, last := 0, len(head[0])
	label := headed(head[0], labelColumns)
	heads := label >= 0 || len(head) > 1 && slices.ContainsFunc(head[1], isNumber) && hasHeadings(head, "") // words over words are names of classes
	switch {
	case label >= 0:
		first, last = label, label+1
	case heads && head[0][0] == "" && last > 1:
		first = 1
	}
	if heads && counted(head[0][first:last]) == last-first {
		c.notes = append(c.notes, filepath.Base(c.path)+": the first row, 0, 1, 2 …, is taken for the numbers of the columns")
	}
	t, known := &table{columns: last - first, integer: true}, words{}
	var texts []string // of one column, until all of it is numbers
	err = f.eachRow(c, func(row []string, line int) error {
		if heads {
			heads = false
			return nil
		}
		if len(t.numbers)+t.columns > maxTable {
			return fmt.Errorf("has more than %d numbers: save it as .npy", maxTable)
		}
		for k, field := range row[first:last] {
			field = strings.TrimSpace(field)
			if t.columns == 1 {
				if field == "" {
					return fmt.Errorf("line %d: %w", line, errEmptyLabel)
				}
				texts = append(texts, known.keep(field))
				continue
			}
			v, err := finiteNumber(field, 64)
			if err != nil {
				return fmt.Errorf("line %d, column %d: %w; where one column is the label, head it `label`", line, first+k+1, err)
			}
			t.add(field, v)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case t.columns == 1 && len(texts) > 0:
		return tableOf(texts), nil
	case len(t.numbers) == 0:
		return nil, errors.New("has headings and no rows")
	}
	return t, nil
}

// add adds a number as a field holds it.
func (t *table) add(field string, v float64) {
	t.integer = t.integer && v == math.Trunc(v) && math.Abs(v) < 1<<53 && !strings.ContainsAny(field, ".eE")
	t.numbers = append(t.numbers, v)
}

// tableOf is the labels of one column: numbers if all are, else names.
func tableOf(fields []string) *table {
	t := &table{columns: 1, integer: true}
	for _, field := range fields {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return &table{columns: 1, names: fields}
		}
		t.add(field, v)
	}
	return t
}

// encodeTables calls add for each table's array. Names of classes become their positions in the sorted names of the tables that differ
// in their split only; nil if there are only numbers.
func encodeTables(tables map[string]*table, add func(name string, a *array, names []string)) {
	distinct := map[string]map[string]bool{} // by stem
	for key, t := range tables {
		stem, _ := divide(key)
		if t.names != nil && distinct[stem] == nil {
			distinct[stem] = map[string]bool{}
		}
		for _, name := range t.names {
			distinct[stem][name] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tables)) {
		stem, _ := divide(key)
		names := slices.Sorted(maps.Keys(distinct[stem]))
		add(key, tables[key].array(names), names)
	}
}

func (t *table) array(names []string) *array {
	switch {
	case t.names != nil:
		ints := make([]int64, len(t.names))
		for i, name := range t.names {
			j, _ := slices.BinarySearch(names, name)
			ints[i] = int64(j)
		}
		return memory(t.title, Int64, []int{len(ints)}, ints)
	case t.integer:
		ints := make([]int64, len(t.numbers))
		for i, v := range t.numbers {
			ints[i] = int64(v)
		}
		return memory(t.title, Int64, []int{len(ints) / t.columns, t.columns}, ints)
	default:
		return memory(t.title, Float64, []int{len(t.numbers) / t.columns, t.columns}, t.numbers)
	}
}

// memory is an array of values that were not stored as one. values is a slice of the type's Go equivalent.
func memory(title string, of Type, dims []int, values any) *array {
	var out bytes.Buffer
	if err := binary.Write(&out, binary.LittleEndian, values); err != nil {
		panic(err) // only for a type that is not fixed in size
	}
	return &array{title: title, kind: littleKinds[of], dims: dims, data: bytes.NewReader(out.Bytes())}
}
