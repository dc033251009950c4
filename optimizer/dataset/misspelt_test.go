package dataset

import (
	"strings"
	"testing"
)

func TestWhatIsMisspeltIsNamed(t *testing.T) {
	png, clip := grayPNG(2, 2, 7), wavBytes(8000, 1, 2, 3)
	sees := &Network{Inputs: []Input{{Names: []string{"in"}, Shape: []int{2, 2, 1}}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}
	pairs := Spec{Network: &Network{Inputs: []Input{{Names: []string{"in"}, Shape: []int{2}}}, Outputs: sees.Outputs}}
	for name, test := range map[string]struct {
		files map[string][]byte
		spec  Spec
		says  []string // nothing: it is read
	}{
		"classes of a table that differ by case": {map[string][]byte{"train.csv": []byte("a,b,label\n1,2,cat\n3,4,dog\n"), "test.csv": []byte("a,b,label\n1,2,Cat\n3,4,dog\n")}, pairs,
			[]string{"3 classes (Cat, cat, dog)", "2 classes 0 … 1", "Cat and cat differ only by case: write them the same"}},
		"labels that all differ by case": {map[string][]byte{"train.csv": []byte("a,b,label\n1,2,cat\n3,4,dog\n"), "test.csv": []byte("a,b,label\n1,2,Cat\n3,4,DOG\n")}, pairs,
			[]string{"Cat and cat, DOG and dog differ only by case"}},
		"names of too many classes": {map[string][]byte{"d.csv": []byte("a,b,label\n1,2,ant\n3,4,bee\n3,4,cat\n")}, pairs, []string{"3 classes (ant, bee, cat)", "right dataset"}},
		"folders of classes that differ by case": {map[string][]byte{"train/cat/1.png": png, "train/dog/1.png": png, "test/Cat/1.png": png}, Spec{Network: sees},
			[]string{"Cat and cat differ only by case"}},
		"a row of a column too many": {map[string][]byte{"d.csv": []byte("a,b,label\n1,2,0\n\n3,4,5,1\n")}, pairs, []string{"d.csv", "line 4 has 4 columns, the first row 3", "every row has the same"}},
		"labels of a column too many": {map[string][]byte{"x.npy": npyBytes("<f4", []int{2, 2}, make([]float32, 4)), "y.csv": []byte("1\n0,1\n")}, pairs,
			[]string{"y.csv", "line 2 has 2 columns, the first row 1"}},
		"a heading of splits":             {map[string][]byte{"a.wav": clip, "b.wav": clip, "l.csv": []byte("filename,spilt,label\na.wav,train,0\nb.wav,test,1\n")}, Spec{Network: hears(3)}, []string{"l.csv", "column spilt", "head it split"}},
		"a heading of splits alone":       {map[string][]byte{"a.wav": clip, "b.wav": clip, "l.csv": []byte("filename,part\na.wav,train\nb.wav,test\n")}, Spec{Network: hears(3)}, []string{"column part"}},
		"labels called as splits are":     {map[string][]byte{"a.wav": clip, "b.wav": clip, "l.csv": []byte("filename,label\na.wav,train\nb.wav,test\n")}, Spec{Network: hears(3)}, nil},
		"labels called so by name":        {map[string][]byte{"a.wav": clip, "b.wav": clip, "l.csv": []byte("filename,word\na.wav,train\nb.wav,test\n")}, Spec{Network: hears(3), Labels: "word"}, nil},
		"splits misspelt":                 {map[string][]byte{"trian/cat/1.png": png, "trian/dog/1.png": png, "tset/cat/1.png": png}, Spec{Network: sees}, []string{"trian is no split: is train meant?"}},
		"splits of a letter more or less": {map[string][]byte{"trains/cat/1.png": png, "tes/dog/1.png": png}, Spec{Network: sees}, []string{"tes is no split: is test meant?"}},
		"misspelt splits without classes": {map[string][]byte{"tran/1.png": png, "tesst/1.png": png}, Spec{Network: sees}, []string{"tesst is no split"}},
		"a class that is nearly a split":  {map[string][]byte{"rain/1.png": png, "sea/1.png": png}, Spec{Network: sees}, nil},
		"classes with folders in them":    {map[string][]byte{"hail/a/1.png": png, "sea/b/1.png": png}, Spec{Network: sees}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := folder(t, test.files)
			if len(test.files) == 1 && test.files["d.csv"] != nil {
				path += "/d.csv"
			}
			d, err := Open(path, test.spec)
			if err == nil {
				defer d.Close()
			}
			if (err == nil) != (test.says == nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestClassesThatDifferByCaseAreNoted(t *testing.T) {
	png := grayPNG(2, 2, 7)
	d, err := Open(folder(t, map[string][]byte{"a/1.png": png, "A/1.png": png, "b/1.png": png}), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if said := strings.Join(d.Notes, "\n"); !strings.Contains(said, "A and a differ only by case, and are classes of their own") || strings.Contains(said, "and b") {
		t.Error(said)
	}
}
