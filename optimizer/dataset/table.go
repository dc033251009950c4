package dataset

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
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

// maxTable bounds a file of labels, which is read as a whole.
const maxTable = 1 << 30

// readTable reads labels: one a row, or several numbers a row to predict. A first row of headings is optional; where one of
// several columns is headed label, class, target or y, the others are ignored.
func readTable(path string) (*table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t, err := parseTable(io.LimitReader(file, maxTable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.title = path
	return t, nil
}

func parseTable(r io.Reader) (*table, error) {
	reader := csv.NewReader(r)
	reader.TrimLeadingSpace = true
	var rows [][]string
	for {
		row, err := reader.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, unequal(err, row, reader.FieldsPerRecord)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, errors.New("is empty")
	}
	rows[0][0] = strings.TrimPrefix(rows[0][0], "\ufeff")
	rows = withoutHeadings(rows)
	if len(rows) == 0 {
		return nil, errors.New("has headings and no rows")
	}
	return numbersOrNames(rows)
}

// tableOf is the labels of one column.
func tableOf(fields []string) *table {
	rows := make([][]string, len(fields))
	for i := range fields {
		rows[i] = fields[i : i+1]
	}
	t, _ := numbersOrNames(rows) // one column without gaps is always one or the other
	return t
}

// numbersOrNames reads rows of numbers; one column may hold names. Rows count from 1 below the headings.
func numbersOrNames(rows [][]string) (*table, error) {
	t := &table{columns: len(rows[0]), integer: true}
	for i, row := range rows {
		for _, field := range row {
			v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				if t.columns > 1 {
					return nil, fmt.Errorf("row %d: %q is no number; head the label's column `label`", i, field)
				}
				return namesOf(rows)
			}
			t.integer = t.integer && v == math.Trunc(v) && math.Abs(v) < 1<<53 && !strings.ContainsAny(field, ".eE")
			t.numbers = append(t.numbers, v)
		}
	}
	return t, nil
}

// withoutHeadings drops a first row of headings, and all columns but the label's where a heading names it.
func withoutHeadings(rows [][]string) [][]string {
	if i := headed(rows[0], labelColumns); i >= 0 {
		out := rows[1:]
		for j, row := range out {
			out[j] = row[i : i+1]
		}
		return out
	}
	if !isHeading(rows[0]) { // all words over a row with numbers
		return rows
	}
	if len(rows) > 1 {
		for _, field := range rows[1] {
			if isNumber(field) {
				return rows[1:]
			}
		}
	}
	return rows
}

func namesOf(rows [][]string) (*table, error) {
	t, known := &table{columns: 1}, words{}
	for i, row := range rows {
		name := strings.TrimSpace(row[0])
		if name == "" {
			return nil, fmt.Errorf("row %d: %w", i+1, errEmptyLabel)
		}
		t.names = append(t.names, known.keep(name))
	}
	return t, nil
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
