package dataset

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fixed is a store of one sample.
type fixed struct {
	dims   []int
	values []float32
}

func (f fixed) len() int          { return 1 }
func (f fixed) shape() []int      { return f.dims }
func (f fixed) name(i int) string { return "fixed" }
func (f fixed) read(_ int, into *sample) error {
	into.shape = f.shape()
	copy(into.grow(len(f.values)), f.values)
	return nil
}

func TestPreprocessing(t *testing.T) {
	grid := fixed{dims: []int{2, 3, 1}, values: []float32{0, 1, 2, 3, 5, 9}}
	tests := map[string]struct {
		stored fixed
		spec   Spec
		shape  []int
		want   []float32
	}{
		"nothing declared leaves samples alone": {grid, Spec{}, []int{2, 3, 1}, []float32{0, 1, 2, 3, 5, 9}},
		"scale, then offset": {grid, Spec{Preprocessing: Preprocessing{Scale: "2", Offset: "-1"}}, []int{2, 3, 1},
			[]float32{-1, 1, 3, 5, 9, 17}},
		"mean and standard deviation come after scale": {grid, Spec{Preprocessing: Preprocessing{Scale: "1/2", Mean: []Number{"0.5"}, Std: []Number{"0.25"}}},
			[]int{2, 3, 1}, []float32{-2, 0, 2, 4, 8, 16}},
		"mean and standard deviation by channel": {fixed{dims: []int{2, 2}, values: []float32{1, 2, 3, 4}},
			Spec{Preprocessing: Preprocessing{Mean: []Number{"1", "2"}, Std: []Number{"1", "2"}}}, []int{2, 2}, []float32{0, 0, 2, 1}},
		"integers with scale and zero point": {grid, Spec{Stored: Stored{Scale: "0.5", ZeroPoint: 1}}, []int{2, 3, 1},
			[]float32{-0.5, 0, 0.5, 1, 2, 4}},
		"channels first become last": {fixed{dims: []int{2, 1, 2}, values: []float32{1, 2, 3, 4}}, Spec{Stored: Stored{Layout: ChannelsFirst}},
			[]int{1, 2, 2}, []float32{1, 3, 2, 4}},
		"reshape keeps the order":        {grid, Spec{Preprocessing: Preprocessing{Reshape: []int{6}}}, []int{6}, []float32{0, 1, 2, 3, 5, 9}},
		"crop takes the centre":          {grid, Spec{Preprocessing: Preprocessing{Crop: &Size{2, 1}}}, []int{2, 1, 1}, []float32{1, 5}},
		"RGB becomes BGR":                {fixed{dims: []int{1, 1, 3}, values: []float32{1, 2, 3}}, Spec{Preprocessing: Preprocessing{Channels: BGR}}, []int{1, 1, 3}, []float32{3, 2, 1}},
		"colour becomes luma":            {fixed{dims: []int{1, 1, 3}, values: []float32{100, 200, 50}}, Spec{Preprocessing: Preprocessing{Channels: Gray}}, []int{1, 1, 1}, []float32{153}},
		"gray is repeated":               {fixed{dims: []int{1, 2}, values: []float32{1, 2}}, Spec{Preprocessing: Preprocessing{Channels: RGB}}, []int{1, 2, 3}, []float32{1, 1, 1, 2, 2, 2}},
		"transparency is dropped":        {fixed{dims: []int{1, 1, 4}, values: []float32{1, 2, 3, 9}}, Spec{Preprocessing: Preprocessing{Channels: RGB}}, []int{1, 1, 3}, []float32{1, 2, 3}},
		"resizing comes before cropping": {grid, Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 3, Width: 3}, Crop: &Size{1, 3}}}, []int{1, 3, 1}, []float32{1.5, 3, 5.5}},
		// values of tf.image.resize, TensorFlow 2.21
		"bilinear to 4 × 5": {grid, Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 4, Width: 5}}}, []int{4, 5, 1},
			[]float32{0, 0.4, 1, 1.6, 2, 0.75, 1.25, 2, 3.05, 3.75, 2.25, 2.95, 4, 5.95, 7.25, 3, 3.8, 5, 7.4, 9}},
		"bilinear to 1 × 2": {grid, Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 1, Width: 2}}}, []int{1, 2, 1}, []float32{1.875, 4.875}},
		"nearest to 4 × 5": {grid, Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 4, Width: 5, Method: Nearest}}}, []int{4, 5, 1},
			[]float32{0, 0, 1, 2, 2, 0, 0, 1, 2, 2, 3, 3, 5, 9, 9, 3, 3, 5, 9, 9}},
		"nearest to 1 × 2": {grid, Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 1, Width: 2, Method: Nearest}}}, []int{1, 2, 1}, []float32{3, 9}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := newPipeline(&tt.spec, tt.stored.shape(), sizes{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.shape, p.shape); diff != "" {
				t.Fatalf("shape (-want +got):\n%s", diff)
			}
			x := make([]float32, numel(tt.shape))
			if err := p.run(tt.stored, 0, x, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, x, cmpopts.EquateApprox(0, 1e-5)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The quotient of a byte by 255 is the one NumPy computes in float32.
func TestScaleIsRoundedOnce(t *testing.T) {
	p, err := newPipeline(&Spec{Preprocessing: Preprocessing{Scale: "1/255"}}, []int{256}, sizes{})
	if err != nil {
		t.Fatal(err)
	}
	values, x := make([]float32, 256), make([]float32, 256)
	for i := range values {
		values[i] = float32(i)
	}
	if err := p.run(fixed{dims: []int{256}, values: values}, 0, x, nil); err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		if want := float32(i) / 255; v != want {
			t.Errorf("%d/255 is %v, want %v", i, v, want)
		}
	}
}

func TestAugmentation(t *testing.T) {
	image := npyBytes("|u1", []int{8, 4, 4}, ramp(128))
	open := func(spec Spec) *Dataset {
		d, err := Open(filepath.Join(folder(t, map[string][]byte{"x.npy": image}), "x.npy"), spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	one := func(s Source, i int) []float32 {
		x := Sample(s)
		if err := s.Read(i, x); err != nil {
			t.Fatal(err)
		}
		return x[0]
	}
	d := open(Spec{Augmentation: Augmentation{HorizontalFlip: true, Shift: Size{1, 2}, Noise: "0.001"}})

	t.Run("is the same for the same seed, epoch and index", func(t *testing.T) {
		for i := range 8 {
			if !slices.Equal(one(Epoch(d.Train, 1, 3), i), one(Epoch(d.Train, 1, 3), i)) {
				t.Errorf("sample %d differs from itself", i)
			}
		}
	})
	t.Run("differs from epoch to epoch and from seed to seed", func(t *testing.T) {
		if slices.Equal(one(Epoch(d.Train, 1, 3), 0), one(Epoch(d.Train, 1, 4), 0)) || slices.Equal(one(Epoch(d.Train, 1, 3), 0), one(Epoch(d.Train, 2, 3), 0)) {
			t.Error("nothing changed")
		}
	})
	t.Run("leaves validation and test alone, though they are the same samples", func(t *testing.T) {
		if x := one(Epoch(d.Test, 1, 3), 0); x[5] != 5 || x[0] != 0 {
			t.Errorf("test sample changed: %v", x)
		}
	})
	t.Run("is nothing where none is declared", func(t *testing.T) {
		plain := open(Spec{})
		if Epoch(plain.Train, 1, 1) != plain.Train {
			t.Error("another source")
		}
	})
	t.Run("flips half of the samples", func(t *testing.T) {
		flips := 0
		f := open(Spec{Augmentation: Augmentation{HorizontalFlip: true}})
		for epoch := range 100 {
			x := one(Epoch(f.Train, 1, epoch), 1)
			switch {
			case slices.Equal(x[:4], []float32{19, 18, 17, 16}):
				flips++
			case !slices.Equal(x[:4], []float32{16, 17, 18, 19}):
				t.Fatalf("neither flipped nor not: %v", x)
			}
		}
		if flips < 35 || flips > 65 {
			t.Errorf("%d of 100 flipped", flips)
		}
	})
	t.Run("shifts by at most what is declared and fills with stored zeros", func(t *testing.T) {
		seen := map[[2]int]bool{}
		f := open(Spec{Augmentation: Augmentation{Shift: Size{1, 1}}, Preprocessing: Preprocessing{Offset: "1000"}})
		for epoch := range 200 {
			x := one(Epoch(f.Train, 1, epoch), 1)
			at := slices.Index(x, 1000+16+5) // the pixel at (1, 1)
			seen[[2]int{at/4 - 1, at%4 - 1}] = true
			if down := at/4 - 1; down == 1 && x[0] != 1000 {
				t.Errorf("a new pixel is %v", x[0])
			}
		}
		if len(seen) != 9 {
			t.Errorf("shifts %v", seen)
		}
	})
	t.Run("crops anywhere, padded", func(t *testing.T) {
		seen := map[float32]bool{}
		f := open(Spec{Augmentation: Augmentation{RandomCrop: true, Padding: 1}, Preprocessing: Preprocessing{Crop: &Size{2, 2}, Offset: "1"}})
		for epoch := range 400 {
			seen[one(Epoch(f.Train, 1, epoch), 1)[3]] = true // the lower right pixel: all 16, and 1 below or right of them
		}
		if len(seen) != 17 {
			t.Errorf("%d distinct lower right pixels, want 17", len(seen))
		}
	})
}

// Without padding a crop stays within the image, and comes to all of its places.
func TestRandomCropsStayWithin(t *testing.T) {
	d, err := Open(filepath.Join(folder(t, map[string][]byte{"x.npy": npyBytes("|u1", []int{1, 3, 4, 1}, ramp(12))}), "x.npy"),
		Spec{Augmentation: Augmentation{RandomCrop: true}, Preprocessing: Preprocessing{Crop: &Size{2, 2}, Offset: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[float32]bool{}
	for epoch := range 200 {
		x := Sample(d.Train)
		if err := Epoch(d.Train, 1, epoch).Read(0, x); err != nil {
			t.Fatal(err)
		}
		v := x[0][0]
		if want := []float32{v, v + 1, v + 4, v + 5}; !slices.Equal(x[0], want) {
			t.Fatalf("%v is no part of the image, as %v is", x[0], want)
		}
		seen[v] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d places, want 6", len(seen))
	}
}

// Where a class is of one sample, that is in one split.
func TestSplitsOfClassesOfOneSample(t *testing.T) {
	d, err := Open(folder(t, map[string][]byte{"x.npy": npyBytes("|u1", []int{10, 1}, ramp(10)), "y.npy": npyBytes("|u1", []int{10}, ramp(10))}), Spec{Split: Split{Validation: "0.4", Test: "0.4"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var all []int
	for _, s := range []Source{d.Train, d.Validation, d.Test} {
		all = append(all, Labels(s)...)
	}
	if slices.Sort(all); !slices.Equal(all, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) || d.Test.Len() != 4 {
		t.Errorf("%v in all, %d to test", all, d.Test.Len())
	}
}

func TestSplit(t *testing.T) {
	labels := make([]int64, 100)
	for i := range labels {
		labels[i] = int64(min(i/10, 2)) // 10, 10 and 80 of three classes
	}
	files := map[string][]byte{"x.npy": npyBytes("|u1", []int{100, 1}, ramp(100)), "y.npy": npyBytes("<i8", []int{100}, labels)}
	root := folder(t, files)
	split := func(s Split) (train, validation, test []int, notes []string) {
		d, err := Open(root, Spec{Split: s})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		ids := func(s Source) (out []int) {
			for _, x := range read(t, s).Samples {
				out = append(out, int(x[0]))
			}
			return out
		}
		return ids(d.Train), ids(d.Validation), ids(d.Test), d.Notes
	}
	train, validation, test, _ := split(Split{Validation: "0.2", Test: "0.1", Seed: 1})
	if all := slices.Concat(train, validation, test); len(train) != 70 || len(validation) != 20 || len(test) != 10 {
		t.Errorf("%d, %d, %d samples", len(train), len(validation), len(test))
	} else if slices.Sort(all); !slices.Equal(all[:3], []int{0, 1, 2}) || len(slices.Compact(all)) != 100 {
		t.Error("some samples are in no split, or in two")
	}
	byClass := func(ids []int) (n [3]int) {
		for _, i := range ids {
			n[labels[i]]++
		}
		return n
	}
	if got := byClass(validation); got != [3]int{2, 2, 16} {
		t.Errorf("validation has %v of each class", got)
	}
	if got := byClass(test); got != [3]int{1, 1, 8} {
		t.Errorf("test has %v of each class", got)
	}
	if again, _, _, _ := split(Split{Validation: "0.2", Test: "0.1", Seed: 1}); !slices.Equal(again, train) {
		t.Error("the same seed splits otherwise")
	}
	if other, _, _, _ := split(Split{Validation: "0.2", Test: "0.1", Seed: 2}); slices.Equal(other, train) {
		t.Error("another seed splits the same")
	}
	_, validation, test, notes := split(Split{Test: "0.5"})
	if !slices.Equal(validation, test) || len(notes) != 2 {
		t.Errorf("without validation samples the test samples decide: notes %q", notes)
	}
	train, validation, test, notes = split(Split{})
	if len(train) != 100 || !slices.Equal(train, validation) || !slices.Equal(train, test) || len(notes) != 1 {
		t.Errorf("without a split all are the same: notes %q", notes)
	}
}
