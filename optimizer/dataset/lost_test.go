package dataset

import (
	"archive/zip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Labels and images that would be left out are named.
func TestNothingIsLeftOutInSilence(t *testing.T) {
	x, y := npyBytes("<f4", []int{4, 2}, make([]float32, 8)), npyBytes("<i8", []int{4}, []int64{0, 1, 0, 1})
	words := npyBytes("|S1", []int{4, 2}, []byte("abababab"))
	archive := func(arrays map[string][]byte) string {
		var members []member
		for name, data := range arrays {
			members = append(members, member{name, data})
		}
		return filepath.Join(folder(t, map[string][]byte{"d.npz": npzBytes(zip.Store, members...)}), "d.npz")
	}
	png := grayPNG(4, 4, 7)
	tests := map[string]struct {
		path string
		spec Spec
		want []string
	}{
		"labels of no split":            {archive(map[string][]byte{"x_train": x, "x_test": x, "y": y}), Spec{}, []string{"y has labels", "y_train"}},
		"labels of no split, by name":   {archive(map[string][]byte{"x_train": x, "x_test": x, "y": y}), Spec{Labels: "y", Target: Classes}, []string{"y_train"}},
		"labels of a split alone":       {archive(map[string][]byte{"x": x, "y_train": y}), Spec{}, []string{"y_train has labels"}},
		"several texts a sample":        {archive(map[string][]byte{"x": x, "y": words}), Spec{}, []string{"2 texts a sample"}},
		"a split under two names":       {folder(t, map[string][]byte{"train/cat/1.png": png, "training/dog/1.png": png, "test/cat/1.png": png}), Spec{}, []string{"train", "training", "same split"}},
		"a class as large as the bound": {archive(map[string][]byte{"x": x, "y": npyBytes("<i8", []int{4}, []int64{0, 1, 0, maxClasses})}), Spec{}, []string{"outside"}},
		"pictures that cannot be read":  {folder(t, map[string][]byte{"train/cat/1.png": png, "train/cat/2.gif": png, "test/cat/1.png": png}), Spec{}, []string{"cat/2.gif", "convert"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Open(tt.path, tt.spec)
			if err == nil {
				d.Close()
				t.Fatal("it opens")
			}
			for _, word := range tt.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
		})
	}
	t.Run("numbers written as text", func(t *testing.T) {
		digits := npyBytes("|S2", []int{4}, []byte("10"+"2\x00"+"0\x00"+"2\x00"))
		d, err := Open(archive(map[string][]byte{"x": x, "y": digits}), Spec{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := Labels(d.Train); !slices.Equal(got, []int{10, 2, 0, 2}) || d.ClassNames != nil {
			t.Errorf("labels %v, names %v", got, d.ClassNames)
		}
	})
	t.Run("a class that the network knows and the labels do not", func(t *testing.T) {
		words := npyBytes("|S3", []int{4}, []byte("catdogcatdog"))
		d, err := Open(archive(map[string][]byte{"x": x, "y": words}), Spec{Network: &Network{
			Inputs: []Input{{Names: []string{"x"}, Shape: []int{2}}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{3}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if notes := strings.Join(d.Notes, "; "); !strings.Contains(notes, "cat, dog") || !strings.Contains(notes, "labels have 2 classes, the network's output 3") {
			t.Errorf("notes %q", notes)
		}
	})
	t.Run("a class that a split lacks", func(t *testing.T) {
		d, err := Open(folder(t, map[string][]byte{"train/cat/1.png": png, "train/dog/1.png": png, "test/cat/1.png": png}), Spec{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if notes := strings.Join(d.Notes, "; "); !strings.Contains(notes, "test has no samples of class dog") {
			t.Errorf("notes %q", notes)
		}
	})
}
