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

func TestSubset(t *testing.T) {
	root := folder(t, map[string][]byte{"d.npz": npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{5, 1}, ramp(5))},
		member{"y", npyBytes("<i4", []int{5}, []int32{4, 3, 2, 1, 0})})})
	d, err := Open(filepath.Join(root, "d.npz"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	odd, err := Subset(d.Train, []int{3, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&content{Shape: []int{1}, Classes: 5, Labels: []int{1, 3}, Samples: [][]float32{{3}, {1}}}, read(t, odd)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 3}, Labels(odd)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if First(d.Train, 2).Len() != 2 || First(d.Train, 9).Len() != 5 {
		t.Error("the first samples are not as many as there are")
	}
	if _, err := Subset(d.Train, []int{5}); err == nil {
		t.Error("a sample that is not there can be chosen")
	}
	if err := odd.Read(2, Sample(odd)); err == nil {
		t.Error("a subset can be read past its end")
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
