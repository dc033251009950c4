package dataset

import (
	"archive/zip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLargeMembersGoToAFileWithoutAName(t *testing.T) {
	before := inMemory
	inMemory = 16
	defer func() { inMemory = before }()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	files := map[string][]byte{
		"d.npz": npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{50, 2}, ramp(100))}),
		"s.npy": npyBytes("|u1", []int{50, 2}, ramp(100))}
	files["z.npy.gz"] = gzipped(files["s.npy"])
	root := folder(t, files)
	for name := range files {
		d, err := Open(filepath.Join(root, name), Spec{})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
			t.Errorf("%s: %d temporary files have names (%v)", name, len(left), err)
		}
		x := [][]float32{make([]float32, 2)}
		if err := d.Train.Read(49, x); err != nil || x[0][0] != 98 || x[0][1] != 99 {
			t.Errorf("%s: the last sample is %v (%v)", name, x, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Train.Read(0, x); err == nil {
			t.Errorf("%s: a closed dataset can be read", name)
		}
	}
}

func TestSourcesAreReadByManyAtOnce(t *testing.T) {
	root := folder(t, map[string][]byte{"d.npz": npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{40, 2, 2, 1}, ramp(160))})})
	d, err := Open(filepath.Join(root, "d.npz"), Spec{Augmentation: Augmentation{HorizontalFlip: true, Noise: "0.1"}, Preprocessing: Preprocessing{Scale: "1/255"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	source := Epoch(d.Train, 1, 1)
	readAll := func() [][]float32 {
		var out [][]float32
		for i := range source.Len() {
			x := make([]float32, 4)
			if err := source.Read(i, [][]float32{x}); err != nil {
				t.Error(err)
			}
			out = append(out, x)
		}
		return out
	}
	want := readAll()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if diff := cmp.Diff(want, readAll()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	group.Wait()
}

func TestFirst(t *testing.T) {
	root := folder(t, map[string][]byte{"d.npz": npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{5, 1}, ramp(5))},
		member{"y", npyBytes("<i4", []int{5}, []int32{4, 3, 2, 1, 0})})})
	d, err := Open(filepath.Join(root, "d.npz"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	two := First(d.Train, 2)
	if diff := cmp.Diff(&content{Shape: []int{1}, Classes: 5, Labels: []int{4, 3}, Samples: [][]float32{{0}, {1}}}, read(t, two)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{4, 3}, Labels(two)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if n := First(d.Train, 9).Len(); n != 5 {
		t.Errorf("the first 9 of 5 are %d", n)
	}
	if err := two.Read(2, Sample(two)); err == nil {
		t.Error("the first two can be read past their end")
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[Number]float64{"": 7, "0.5": 0.5, "1/4": 0.25, "-1e-3": -0.001, "1.5/3": 0.5, " 2 ": 2} {
		if got, err := text.Float(7); err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []Number{"x", "1/0", "NaN", "1/2/3", "Inf", "/"} {
		if v, err := text.Float(0); err == nil {
			t.Errorf("%q is %v", text, v)
		}
	}
}
