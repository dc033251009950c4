package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// four is a network of one input of four numbers and one output of two classes.
var four = &Network{Inputs: []Input{{Names: []string{"in"}, Shape: []int{4}}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}

// two is a network of the inputs audio and context, and the outputs cls and box.
var two = &Network{
	Inputs:  []Input{{Names: []string{"audio"}, Shape: []int{2}}, {Names: []string{"context"}, Shape: []int{1}}},
	Outputs: []Output{{Names: []string{"cls"}, Shape: []int{3}}, {Names: []string{"box"}, Shape: []int{1}}},
}

func TestTables(t *testing.T) {
	for name, test := range map[string]struct {
		files  map[string]string
		spec   Spec
		x      string // inputs of the first training sample
		y      string // its targets
		test   string // inputs of the first test sample, where they are looked at
		notes  string
		labels []string
	}{
		"the label's heading": {
			files: map[string]string{"d.csv": "a,b,label,c,d\n1,2,1,3,4\n5,6,0,7,8\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]"},
		"the heading that the manifest names": {
			files: map[string]string{"d.csv": "Sick,a,b,c,d\nyes,1,2,3,4\nno,5,6,7,8\n"}, spec: Spec{Network: four, Labels: "sick"}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"no", "yes"}},
		"no headings": {
			files: map[string]string{"d.csv": "1,2,3,4,1\n5,6,7,8,0\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", notes: "last column"},
		"no labels": {
			files: map[string]string{"d.csv": "1,2,3,4\n5,6,7,8\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[]"},
		"labels that are not wanted": {
			files: map[string]string{"d.csv": "a,b,c,d,class\n1,2,3,4,1\n"}, spec: Spec{Network: four, Target: None}, x: "[[1 2 3 4]]", y: "[]"},
		"row numbers, BOM, CRLF and semicolons": {
			files: map[string]string{"d.csv": "\ufeff;a;b;c;d;y\r\n0;1;2;3;4;1\r\n1;5;6;7;8;0\r\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", notes: "numbers of the rows"},
		"tabs": {
			files: map[string]string{"d.tsv": "a\tb\tc\td\ttarget\n1\t2\t3\t4\t1\n5\t6\t7\t8\t0\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]"},
		"splits": {
			files: map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,cat\n", "test.csv": "a,b,c,d,label\n5,6,7,8,ant\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"ant", "cat"}},
		"splits in another order of columns": {
			files: map[string]string{"train.csv": "d,label,c,b,a\n4,1,3,2,1\n", "validation.csv": ",a,b,c,d,label\n0,1,2,3,4,0\n", "test.csv": "a,b,c,d,label\n5,6,7,8,0\n"},
			spec:  Spec{Network: four}, x: "[[4 3 2 1]]", y: "[[1]]", test: "[[8 7 6 5]]"},
		"a split of more columns": {
			files: map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,1\n", "test.csv": "id,d,c,b,a,label\nno,8,7,6,5,0\n"},
			spec:  Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", test: "[[5 6 7 8]]", notes: "test.csv: what train.csv has no column of is left out: id"},
		"inputs in another order of columns": {
			files: map[string]string{"train.csv": "audio_0,audio_1,context,cls,box\n1,2,3,2,0.5\n", "test.csv": "box,context,cls,audio_1,audio_0\n0.75,6,0,5,4\n"},
			spec:  Spec{Network: two}, x: "[[1 2] [3]]", y: "[[2] [0.5]]", test: "[[4 5] [6]]"},
		"headings that occur twice": {
			files: map[string]string{"train.csv": "a,a,b,c,label\n1,2,3,4,1\n", "test.csv": "a,a,b,c,label\n5,6,7,8,0\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", test: "[[5 6 7 8]]"},
		"columns of an input by their numbers": {
			files: map[string]string{"d.csv": "context,audio_10,audio_2,cls,box\n3,2,1,2,0.5\n"}, spec: Spec{Network: two}, x: "[[1 2] [3]]", y: "[[2] [0.5]]"},
		"numbers that are not in order, of the only input": {
			files: map[string]string{"d.csv": "t1,t10,t2,t3,label\n1,2,3,4,1\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", notes: "in their order, t1, t10 …, and not by their numbers, t1, t2 …"},
		"the numbers of columns as pandas writes them": {
			files: map[string]string{"d.csv": ",0,1,2,3,label\n0,5,6,7,8,1\n1,9,9,9,9,0\n"}, spec: Spec{Network: four}, x: "[[5 6 7 8]]", y: "[[1]]"},
		"the numbers of columns over words": {
			files: map[string]string{"d.csv": "0,1,2,3,4\n5.0,6.0,7.0,8.0,cat\n1.0,2.0,3.0,4.0,ant\n"}, spec: Spec{Network: four}, x: "[[5 6 7 8]]", y: "[[1]]", notes: "numbers of the columns"},
		"years among words": {
			files: map[string]string{"d.csv": "2019,2020,2021,2022,label\n5,6,7,8,cat\n1,2,3,4,ant\n"}, spec: Spec{Network: four}, x: "[[5 6 7 8]]", y: "[[1]]"},
		"years and a word over numbers": {
			files: map[string]string{"d.csv": "2019,2020,2021,2022,sick\n5,6,7,8,1\n1,2,3,4,0\n"}, spec: Spec{Network: four}, x: "[[5 6 7 8]]", y: "[[1]]"},
		"a label headed by a number": {
			files: map[string]string{"d.csv": "7,3,5,8,9\n5,6,7,8,1\n1,2,3,4,0\n"}, spec: Spec{Network: four, Labels: "9"}, x: "[[5 6 7 8]]", y: "[[1]]"},
		"classes without headings": {
			files: map[string]string{"d.csv": "1,2,3,4,cat\n5,6,7,8,ant\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"ant", "cat"}},
		"a class called as a heading is": {
			files: map[string]string{"d.csv": "1,2,3,4,y\n5,6,7,8,n\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"n", "y"}},
		"numbers to predict": {
			files: map[string]string{"d.csv": "a,b,c,d,y\n1,2,3,4,0.25\n5,6,7,8,1\n"},
			spec:  Spec{Network: &Network{Inputs: four.Inputs, Outputs: []Output{{Names: []string{"out"}, Shape: []int{1}}}}}, x: "[[1 2 3 4]]", y: "[[0.25]]"},
		"columns by input and output": {
			files: map[string]string{"d.csv": "audio_0,audio_1,context,cls,box\n1,2,3,2,0.5\n4,5,6,0,0.75\n"}, spec: Spec{Network: two}, x: "[[1 2] [3]]", y: "[[2] [0.5]]"},
		"ids are not scaled, and a note says so": {
			files: map[string]string{"x_train.csv": "1,2,3,4\n5,6,7,8\n", "y_train.csv": "1\n0\n"},
			spec: Spec{Preprocessing: Preprocessing{Scale: "1/255", Mean: []Number{"0.5"}},
				Network: &Network{Inputs: []Input{{Names: []string{"ids"}, Shape: []int{4}, Integer: true}}, Outputs: four.Outputs}},
			x: "[[1 2 3 4]]", y: "[[1]]", notes: `"ids" takes integers, which stay as they are: preprocessing.scale, preprocessing.mean is not applied to it`},
		"bars":                                  {files: map[string]string{"d.csv": "a|b|c|d|label\n1|2|3|4|cat, small\n5|6|7|8|ant\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"ant", "cat, small"}},
		"as Excel writes them, with line feeds": {files: map[string]string{"d.csv": "sep=;\na;b;c;d;label\n1;2;3;4;1\n5;6;7;8;0\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]"},
		"as Excel writes them":                  {files: map[string]string{"d.csv": "\ufeffsep=;\r\na;b;c;d;label\r\n1;2;3;4;1\r\n5;6;7;8;0\r\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]"},
		"truth values":                          {files: map[string]string{"d.csv": "a,b,c,d,label\n1,True,false,4,1\n5,6,7,8,0\n"}, spec: Spec{Network: four}, x: "[[1 1 0 4]]", y: "[[1]]"},
		"a split without a class": {files: map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,cat\n1,2,3,4,ant\n", "test.csv": "a,b,c,d,label\n5,6,7,8,ant\n"},
			spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", notes: "test has no samples of class cat"},
		"classes of the network without samples": {files: map[string]string{"d.csv": "a,b,c,d,label\n1,2,3,4,0\n1,2,3,4,2\n"},
			spec: Spec{Network: &Network{Inputs: four.Inputs, Outputs: []Output{{Names: []string{"o"}, Shape: []int{5}}}}}, x: "[[1 2 3 4]]", y: "[[0]]",
			notes: "there are no samples of 3 classes: 1, 3, 4, of the 5 that the network tells apart"},
		"arrays as pandas writes them": {
			files: map[string]string{"x_train.csv": ";0;1;2;3\n0;1.5;2;3;4\n1;5;6;7;8\n", "y_train.csv": "\ufeff;label\r\n0;\"cat; b\"\r\n1;ant\r\n"}, spec: Spec{Network: four},
			x: "[[1.5 2 3 4]]", y: "[[1]]", labels: []string{"ant", "cat; b"}, notes: "x_train.csv: the first row, 0, 1, 2 …, is taken for the numbers of the columns"},
		"compressed arrays": {
			files: map[string]string{"x_train.csv.gz": string(gzipped([]byte("1,2,3,4\n5,6,7,8\n"))), "y_train.csv": "b\na\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]", labels: []string{"a", "b"}},
		"x_train.csv is an array": {
			files: map[string]string{"x_train.csv": "1,2,3,4\n5,6,7,8\n", "y_train.csv": "1\n0\n"}, spec: Spec{Network: four}, x: "[[1 2 3 4]]", y: "[[1]]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(writeTables(t, test.files), test.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			x, y := Sample(d.Train), Truths(d.Train)
			if err := d.Train.Read(0, x); err != nil {
				t.Fatal(err)
			}
			if err := d.Train.Truth(0, y); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(x) != test.x || fmt.Sprint(y) != test.y {
				t.Errorf("sample %v, targets %v; want %s, %s", x, y, test.x, test.y)
			}
			if test.test != "" {
				if err := d.Test.Read(0, x); err != nil || fmt.Sprint(x) != test.test {
					t.Errorf("test sample %v (%v), want %s", x, err, test.test)
				}
			}
			if said := strings.Join(d.Notes, "\n"); !strings.Contains(said, test.notes) {
				t.Errorf("notes %q lack %q", said, test.notes)
			}
			if test.labels != nil && !slices.Equal(d.ClassNames, test.labels) {
				t.Errorf("classes %q, want %q", d.ClassNames, test.labels)
			}
		})
	}
}

// What a column's numbers cannot tell apart is said, by its heading or its number, of the first table alone.
func TestColumnsThatTellNothingAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // notes of columns
	}{
		"all different": {map[string]string{"d.csv": "a,b,label\n1,-1e-6,1\n2,1e-6,0\n"}, nil},
		"one row":       {map[string]string{"d.csv": "a,b,label\n1,2,1\n"}, nil},
		"one constant":  {map[string]string{"d.csv": "a,b,label\n1,2.5,1\n3,2.5,0\n"}, []string{"d.csv: a column holds the same number in all rows, which tells nothing: b"}},
		"two constant, without headings": {map[string]string{"d.csv": "5,7,1\n5,7,0\n5,7,1\n"},
			[]string{"d.csv: 2 columns hold the same number in all rows, which tells nothing: column 1, column 2"}},
		"of test samples alone": {map[string]string{"train.csv": "a,b,label\n1,2,1\n3,4,0\n", "test.csv": "a,b,label\n1,2,1\n1,2,0\n"}, nil},
		"a constant label":      {map[string]string{"d.csv": "a,b,label\n1,2,1\n3,4,1\n"}, nil},
		"times since 1970": {map[string]string{"d.csv": "time,b,label\n1700000000,2,1\n1700000900,3,0\n"},
			[]string{"d.csv: numbers so large are hardly told apart in the 32 bits that samples have: subtract what they have in common, in the table: time (1.7e+09 to 1.7000009e+09 in steps of 128)"}},
		"negative, and all one in 32 bits": {map[string]string{"d.csv": "t,b,label\n-1700000000,2,1\n-1700000001,3,0\n"},
			[]string{"d.csv: numbers so large are hardly told apart in the 32 bits that samples have: subtract what they have in common, in the table: t (-1.7e+09 to -1.7e+09 in steps of 128)"}},
		"times that are far apart": {map[string]string{"d.csv": "time,b,label\n1600000000,2,1\n1700000000,3,0\n"}, nil},
		"16 steps apart":           {map[string]string{"d.csv": "t,b,label\n16777216,2,1\n16777248,3,0\n"}, nil},
		"15 steps apart": {map[string]string{"d.csv": "t,b,label\n16777216,2,1\n16777246,3,0\n"},
			[]string{"d.csv: numbers so large are hardly told apart in the 32 bits that samples have: subtract what they have in common, in the table: t (1.6777216e+07 to 1.6777246e+07 in steps of 2)"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := writeTables(t, c.files)
			d, err := Open(root, Spec{Network: hears(2)})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var got []string
			for _, n := range d.Notes {
				if strings.Contains(n, "same number") || strings.Contains(n, "told apart") {
					got = append(got, n)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSamplesOfANetworkWithoutABatchAreTold(t *testing.T) {
	err := FitShape(Array{Shape: []int{20, 3}}, []int{3}, "")
	if err == nil || !strings.Contains(err.Error(), "taken for the batch") || !strings.Contains(err.Error(), "a first dimension of 1") {
		t.Errorf("%v", err)
	}
	if err := FitShape(Array{Shape: []int{20, 4}}, []int{3}, ""); err == nil || !strings.Contains(err.Error(), "resize") {
		t.Errorf("%v", err)
	}
}

func TestTheRemedyOfAShapeSuitsWhatTheSamplesAre(t *testing.T) {
	for _, test := range []struct {
		a    Array
		want []int
		says string
		not  string
	}{
		{Array{Shape: []int{49, 40}, Features: LogMel}, []int{40, 49}, "melBands", "reshape"},
		{Array{Shape: []int{49, 10}, Features: MFCC}, []int{98, 5, 1}, "coefficients", "reshape"},
		{Array{Shape: []int{49, 10}}, []int{490}, "reshape: [490]", "audio"},
		{Array{Shape: []int{8, 8, 1}}, []int{8, 8, 3}, "channels: RGB", "resize"},
		{Array{Shape: []int{8, 8, 3}}, []int{8, 8, 1}, "channels: Gray", "resize"},
	} {
		if err := FitShape(test.a, test.want, ""); err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), test.not) {
			t.Errorf("%v: %v", test.a, err)
		}
	}
	if err := FitShape(Array{Shape: []int{49, 10}, Features: MFCC}, []int{49, 10, 1}, ""); err != nil {
		t.Error(err)
	}
}

func TestTablesThatCannotBeRead(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		spec  Spec
		says  []string
	}{
		"a word among numbers":       {map[string]string{"d.csv": "a,b,c,d,label\n1,2,red,4,1\n"}, Spec{Network: four}, []string{"d.csv", "line 2, column 3", `"red"`}},
		"UTF-16":                     {map[string]string{"d.csv": "\xff\xfea\x00,\x00b\x00\n\x00"}, Spec{Network: four}, []string{"d.csv", "UTF-16", "UTF-8"}},
		"carriage returns":           {map[string]string{"d.csv": "a,b,c,d,label\r1,2,3,4,1\r"}, Spec{Network: four}, []string{"d.csv", "carriage returns"}},
		"a decimal comma":            {map[string]string{"d.csv": "a;b;c;d;label\n1,5;2;3;4;1\n"}, Spec{Network: four}, []string{"line 2, column 1", `"1,5"`, "decimal comma"}},
		"a title":                    {map[string]string{"d.csv": "# of 2024\na,b,c,d,label\n1,2,3,4,1\n"}, Spec{Network: four}, []string{"line 2 has 5 columns", "title or comment"}},
		"a heading that is a number": {map[string]string{"x_train.csv": "1,2,3,4\n5,6,7,8\n", "y_train.csv": "0\n1\n0\n"}, Spec{Network: four}, []string{"y_train.csv has 3 entries for 2 samples", "heading", "`label`"}},
		"a number that is too large": {map[string]string{"d.csv": "a,b,c,d,label\n1,2,3,4,1\n1,-1e39,3,4,0\n"}, Spec{Network: four}, []string{"line 3, column 2", `"-1e39" is beyond what 32 bits hold: give it in a larger unit`}},
		"a gap":                      {map[string]string{"d.csv": "a,b,c,d,label\n1,2,3,4,1\n1,,3,4,0\n"}, Spec{Network: four}, []string{"line 3, column 2", "empty"}},
		"no such label":              {map[string]string{"d.csv": "a,b,c,d,e\n1,2,3,4,1\n"}, Spec{Network: four, Labels: "z"}, []string{`no column "z"`, "a, b, c, d, e"}},
		"which is the label":         {map[string]string{"d.csv": "a,b,c,d,e,f\n1,2,3,4,1,2\n"}, Spec{Network: four}, []string{"6 columns", "takes 4", "dataset.labels"}},
		"too few columns":            {map[string]string{"d.csv": "1,2,3\n"}, Spec{Network: four}, []string{"3 columns", "takes 4"}},
		"uneven rows":                {map[string]string{"d.csv": "a,b,c,d,label\n1,2,3,4,1\n1,2,3,4\n"}, Spec{Network: four}, []string{"line 3 has 4 columns", "every row has the same"}},
		"headings alone":             {map[string]string{"d.csv": "a,b,c,d,label\n"}, Spec{Network: four}, []string{"no rows"}},
		"two of no split":            {map[string]string{"one.csv": "1,2,3,4\n", "more.csv": "1,2,3,4\n"}, Spec{Network: four}, []string{"one.csv", "more.csv", "train.csv"}},
		"one of no split":            {map[string]string{"train.csv": "1,2,3,4\n", "more.csv": "1,2,3,4\n"}, Spec{Network: four}, []string{"more.csv", "no split"}},
		"a split in another order of two columns of one heading": {map[string]string{"train.csv": "a,a,b,c,label\n1,2,3,4,1\n", "test.csv": "b,c,a,label,a\n7,8,5,0,6\n"}, Spec{Network: four},
			[]string{"test.csv", "another order than train.csv, where two are headed a"}},
		"a split of less": {map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,1\n", "test.csv": "a,b,c,label\n1,2,3,0\n"}, Spec{Network: four}, []string{"test.csv", "no column d", "train.csv"}},
		"a split of other columns": {map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,1\n", "test.csv": "a,b,c,e,label\n1,2,3,4,0\n"}, Spec{Network: four},
			[]string{"test.csv", "no column d", "train.csv", "but e"}},
		"a split without labels": {map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,1\n", "test.csv": "id,a,b,c,d\n1,1,2,3,4\n"}, Spec{Network: four},
			[]string{"test.csv", "no column label", "train.csv"}},
		"a split without headings": {map[string]string{"train.csv": "a,b,c,d,label\n1,2,3,4,1\n", "test.csv": "1,2,3,4,0\n"}, Spec{Network: four},
			[]string{"test.csv", "train.csv begins with headings (a, b, c, d, label)", "test.csv does not"}},
		"a split of less without headings": {map[string]string{"train.csv": "1,2,3,4,1\n", "test.csv": "1,2,3,4\n"}, Spec{Network: four},
			[]string{"test.csv", "has 4 columns, train.csv has 5"}},
		"two labels":             {map[string]string{"d.csv": "a,b,c,label,Label\n1,2,3,4,1\n"}, Spec{Network: four}, []string{"d.csv", "two columns headed label"}},
		"two columns of a label": {map[string]string{"d.csv": "a,b,c,e,e\n1,2,3,4,1\n"}, Spec{Network: four, Labels: "e"}, []string{"two columns headed e"}},
		"an empty label":         {map[string]string{"d.csv": "a,b,c,d,label\n1,2,3,4,cat\n1,2,3,4, \n"}, Spec{Network: four}, []string{"d.csv", "line 3, column 5", "label is empty"}},
		"a gap in the first row": {map[string]string{"d.csv": "1,2,NA,4,1\n5,6,7,8,0\n"}, Spec{Network: four}, []string{"d.csv", "line 1, column 3", `"NA"`}},
		"columns of no input":    {map[string]string{"d.csv": "1,2,3\n"}, Spec{Network: two}, []string{"audio_0"}},
		"headings of no input":   {map[string]string{"d.csv": "p0,p1,q\n1,2,3\n"}, Spec{Network: two, Target: None, Samples: Samples{"audio": "r"}}, []string{"input audio", "p, q"}},
		"a file that is no CSV":  {map[string]string{"d.csv": "a,b\n\"1,2\n"}, Spec{Network: four}, []string{"d.csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, writeTables(t, test.files), test.spec, test.says)
		})
	}
}

// A table that does not fit in memory is spooled to a file, and is read the same.
func TestALargeTableIsSpooled(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "%d,%d,%d,%d,%d\n", i, i+1, i+2, i+3, i%2)
	}
	path := writeTables(t, map[string]string{"d.csv": text.String()})
	defer func(bound int64) { inMemory = bound }(inMemory)
	inMemory = 1 << 10
	d, err := Open(path, Spec{Network: four})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	x := Sample(d.Train)
	if err := d.Train.Read(499, x); err != nil || !slices.Equal(x[0], []float32{499, 500, 501, 502}) {
		t.Errorf("%v, %v", x, err)
	}
}

// A label keeps nothing of its row but itself.
func TestLabelsDoNotKeepTheirRows(t *testing.T) {
	const rows = 400
	number := "1." + strings.Repeat("0", 40_000)
	var table, list strings.Builder
	table.WriteString("a,label\n")
	list.WriteString("note,filename,label\n")
	files := map[string][]byte{}
	for i := range rows {
		fmt.Fprintf(&table, "%s,class %d\n", number, i)
		fmt.Fprintf(&list, "%s,%d.wav,class %d\n", number, i, i)
		files[fmt.Sprintf("%d.wav", i)] = wavBytes(8000, 1, 2, 3)
	}
	files["list.csv"] = []byte(list.String())
	for name, path := range map[string]string{"a table": writeTables(t, map[string]string{"d.csv": table.String()}), "a list": folder(t, files)} {
		before := heap()
		d, err := Open(path, Spec{})
		if err != nil {
			t.Fatal(err)
		}
		if kept := heap() - before; kept > 4<<20 {
			t.Errorf("%s: %d bytes stay in memory for %d labels", name, kept, rows)
		}
		if n := d.Train.Len(); n != rows {
			t.Errorf("%s: %d samples", name, n)
		}
		d.Close()
	}
}

// heap is what is in use, as far as it is reachable.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// writeTables writes files to a folder and returns its path, or that of the only file.
func writeTables(t *testing.T, files map[string]string) string {
	folder := t.TempDir()
	path := folder
	for name, text := range files {
		if len(files) == 1 {
			path = filepath.Join(folder, name)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
