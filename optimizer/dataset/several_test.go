package dataset

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// Whatever form a dataset has, arrays that are called as inputs and outputs are, with or without x_ and y_, are theirs.
func TestSeveralInputsAndOutputsOfEveryForm(t *testing.T) {
	network := &Network{
		Inputs:  []Input{{Names: []string{"left"}, Shape: []int{2}}, {Names: []string{"right"}, Shape: []int{1}}},
		Outputs: []Output{{Names: []string{"kind"}, Shape: []int{3}}, {Names: []string{"size"}, Shape: []int{1}}},
	}
	type row struct {
		Right []float32 `parquet:"right,list"`
		Size  float32   `parquet:"size"`
		Left  []float32 `parquet:"left,list"`
		Kind  int32     `parquet:"kind"`
	}
	var rows bytes.Buffer
	if err := parquet.Write(&rows, []row{{[]float32{3}, 0.5, []float32{1, 2}, 2}, {[]float32{6}, 0.75, []float32{4, 5}, 0}}); err != nil {
		t.Fatal(err)
	}
	npy := func(values ...float32) string { return string(npyBytes("<f4", []int{len(values)}, values)) }
	record := func(prefix string, left []float32, right []float32, kind int64, size float32) []byte {
		return example(map[string]any{"x_" + prefix + "left": left, "right": right, "y_kind": []int64{kind}, prefix + "size": []float32{size}})
	}
	for name, c := range map[string]struct {
		file string
		data []byte
	}{
		"records": {"d.tfrecord", recordBytes(record("", []float32{1, 2}, []float32{3}, 2, 0.5), record("", []float32{4, 5}, []float32{6}, 0, 0.75))},
		"Parquet": {"d.parquet", rows.Bytes()},
		"a tar": {"d.tar", tarBytes("a.left.npy", npy(1, 2), "a.right.npy", npy(3), "a.json", `{"y_kind": 2, "size": 0.5}`,
			"b.left.npy", npy(4, 5), "b.right.npy", npy(6), "b.json", `{"size": 0.75, "y_kind": 0}`)},
		"a tar of files of labels": {"d.tar", tarBytes("a.left.npy", npy(1, 2), "a.right.npy", npy(3), "a.kind", "2", "a.y_size", "0.5",
			"b.left.npy", npy(4, 5), "b.right.npy", npy(6), "b.kind", "0", "b.y_size", "0.75")},
		"a table": {"d.csv", []byte("right,kind,left_0,left_1,size\n3,2,1,2,0.5\n6,0,4,5,0.75\n")},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(filepath.Join(folder(t, map[string][]byte{c.file: c.data}), c.file), Spec{Network: network})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for i, want := range []string{"[[1 2] [3]] [[2] [0.5]]", "[[4 5] [6]] [[0] [0.75]]"} {
				if x, y := pack(t, d, i); fmt.Sprint(x, " ", y) != want {
					t.Errorf("sample %d is %v %s, want %s", i, x, y, want)
				}
			}
		})
	}
}

// dataset.classes may be more than the names there are, never fewer.
func TestAsManyClassesAsAreNamed(t *testing.T) {
	root := folder(t, map[string][]byte{"ant/0.png": grayPNG(2, 2, 1), "bee/1.png": grayPNG(2, 2, 2)})
	for classes, want := range map[int]int{0: 2, 2: 2, 5: 5} {
		d, err := Open(root, Spec{Classes: classes})
		if err != nil {
			t.Fatal(err)
		}
		if got := ClassCount(d.Train); got != want || !slices.Equal(d.ClassNames, []string{"ant", "bee"}) {
			t.Errorf("%d classes with %d said, want %d; %v", got, classes, want, d.ClassNames)
		}
		d.Close()
	}
	if _, err := Open(root, Spec{Classes: 1}); err == nil || !strings.Contains(err.Error(), "there are 2 classes, not 1 as dataset.classes says: ant, bee") {
		t.Error(err)
	}
}

// Records are read piece by piece, as far as they go: each is its own, however large.
func TestRecordsLargerThanAPiece(t *testing.T) {
	const size = 3<<20 + 5
	large := func(v byte) []byte {
		return example(map[string]any{"image": bytes.Repeat([]byte{v}, size), "label": []int64{int64(v)}})
	}
	d, err := Open(filepath.Join(folder(t, map[string][]byte{"d.tfrecord": recordBytes(large(1), large(0), large(2))}), "d.tfrecord"), Spec{Stored: Stored{Shape: []int{size}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Train.Len() != 3 {
		t.Fatalf("%d records", d.Train.Len())
	}
	for i, want := range []float32{1, 0, 2} {
		x, y := pack(t, d, i)
		if slices.ContainsFunc(x[0], func(v float32) bool { return v != want }) || y != fmt.Sprintf("[[%v]]", want) {
			t.Errorf("record %d is of class %s, or not all %v", i, y, want)
		}
	}
}

// Labels without a sign begin with 0 like any others; what is beyond 63 bits is said.
func TestUnsignedLabelsOfParquet(t *testing.T) {
	type row struct {
		X     []float32 `parquet:"x,list"`
		Label uint64    `parquet:"label"`
	}
	open := func(labels ...uint64) (*Dataset, error) {
		var rows []row
		for _, l := range labels {
			rows = append(rows, row{[]float32{1, 2}, l})
		}
		var file bytes.Buffer
		if err := parquet.Write(&file, rows); err != nil {
			t.Fatal(err)
		}
		return Open(filepath.Join(folder(t, map[string][]byte{"d.parquet": file.Bytes()}), "d.parquet"), Spec{})
	}
	d, err := open(0, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := Labels(d.Train); !slices.Equal(got, []int{0, 2, 1}) {
		t.Errorf("labels %v", got)
	}
	if _, err := open(0, 1<<63+7); err == nil || !strings.Contains(err.Error(), "is 9223372036854775815: at most 9223372036854775807 is supported") {
		t.Error(err)
	}
}

// A linked folder is a split as any other, with the samples that it leads to.
func TestALinkedSplitIsItsOwn(t *testing.T) {
	elsewhere := folder(t, map[string][]byte{"cat/9.png": grayPNG(2, 2, 9)})
	root := folder(t, map[string][]byte{"train/cat/1.png": grayPNG(2, 2, 1), "train/dog/2.png": grayPNG(2, 2, 2)})
	if err := os.Symlink(elsewhere, filepath.Join(root, "test")); err != nil {
		t.Skip(err)
	}
	d, err := Open(root, Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := read(t, d.Test); len(got.Samples) != 1 || got.Samples[0][0] != 9 || d.Train.Len() != 2 {
		t.Errorf("test is %v, beside %d training samples", got, d.Train.Len())
	}
}

// A sample that there is not is refused, of a part as of the whole.
func TestSamplesBeyondTheLast(t *testing.T) {
	d, err := Open(folder(t, map[string][]byte{"x.npy": npyBytes("|u1", []int{3, 1}, ramp(3)), "y.npy": npyBytes("|u1", []int{3}, ramp(3))}), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, s := range map[string]Source{"the whole": d.Train, "a part": First(d.Train, 2)} {
		for _, i := range []int{-1, s.Len()} {
			want := fmt.Sprintf("sample %d: there are %d", i, s.Len())
			if err := s.Read(i, Sample(s)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			if err := s.Truth(i, Truths(s)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q of its truth", name, err, want)
			}
		}
	}
}
