package dataset

import (
	"archive/zip"
	"image/color"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func float32bits(v float32) uint32 { return math.Float32bits(v) }

var (
	red  = color.RGBA{255, 0, 0, 255}
	gray = color.RGBA{100, 100, 100, 255}
)

// content is what a split holds, read through its Source.
type content struct {
	Shape   []int
	Classes int
	Labels  []int
	Samples [][]float32
	Targets [][]float32
}

func read(t *testing.T, s Source) *content {
	t.Helper()
	if s == nil {
		return nil
	}
	c := &content{Shape: Shapes(s)[0], Classes: ClassCount(s)}
	for i := range s.Len() {
		x, y := Sample(s), Truths(s)
		if err := s.Read(i, x); err != nil {
			t.Fatal(err)
		}
		if err := s.Truth(i, y); err != nil {
			t.Fatal(err)
		}
		c.Samples = append(c.Samples, x[0])
		switch {
		case c.Classes > 0:
			c.Labels = append(c.Labels, int(y[0][0]))
		case len(y) > 0:
			c.Targets = append(c.Targets, y[0])
		}
	}
	return c
}

func TestOpen(t *testing.T) {
	fourSamples := member{"x", npyBytes("<f4", []int{4, 2}, []float32{1, 2, 3, 4, 5, 6, 7, 8})}
	tests := map[string]struct {
		files map[string][]byte
		path  string // below the folder
		spec  Spec
		train content
		test  *content // nil: the same as train
		names []string
	}{
		"a stored .npz with test samples": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Store,
				member{"x_train", npyBytes("|u1", []int{2, 3}, ramp(6))}, member{"y_train", npyBytes("<i8", []int{2}, []int64{1, 0})},
				member{"x_test", npyBytes("|u1", []int{1, 3}, ramp(3))}, member{"y_test", npyBytes("<i8", []int{1}, []int64{2})})},
			path:  "d.npz",
			train: content{Shape: []int{3}, Classes: 3, Labels: []int{1, 0}, Samples: [][]float32{{0, 1, 2}, {3, 4, 5}}},
			test:  &content{Shape: []int{3}, Classes: 3, Labels: []int{2}, Samples: [][]float32{{0, 1, 2}}},
		},
		"a deflated .npz without labels": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate, fourSamples)}, path: "d.npz",
			train: content{Shape: []int{2}, Samples: [][]float32{{1, 2}, {3, 4}, {5, 6}, {7, 8}}},
		},
		"arrays under other names": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate,
				member{"images", npyBytes("<f8", []int{1, 2}, []float64{1, 2})}, member{"digits", npyBytes("|i1", []int{1, 1}, []int8{3})})},
			path: "d.npz", spec: Spec{Samples: Samples{"": "images"}, Labels: "digits"},
			train: content{Shape: []int{2}, Classes: 4, Labels: []int{3}, Samples: [][]float32{{1, 2}}},
		},
		"one-hot labels": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate,
				member{"x", npyBytes(">f4", []int{2, 1}, []uint32{0x0000803f, 0x00000040})},
				member{"y", npyBytes("<f4", []int{2, 3}, []float32{0, 0, 1, 1, 0, 0})})},
			path:  "d.npz",
			train: content{Shape: []int{1}, Classes: 3, Labels: []int{2, 0}, Samples: [][]float32{{1}, {2}}},
		},
		"regression targets": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate, fourSamples,
				member{"y", npyBytes("<f4", []int{4}, []float32{0.5, 1, 2, 3})})},
			path:  "d.npz",
			train: content{Shape: []int{2}, Samples: [][]float32{{1, 2}, {3, 4}, {5, 6}, {7, 8}}, Targets: [][]float32{{0.5}, {1}, {2}, {3}}},
		},
		"integers declared to be regression targets": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate, fourSamples, member{"y", npyBytes("<i4", []int{4}, []int32{-5, 1, 2, 3})})},
			path:  "d.npz", spec: Spec{Target: Values},
			train: content{Shape: []int{2}, Samples: [][]float32{{1, 2}, {3, 4}, {5, 6}, {7, 8}}, Targets: [][]float32{{-5}, {1}, {2}, {3}}},
		},
		"labels that are to be ignored": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Deflate, fourSamples, member{"y", npyBytes("<i4", []int{4}, []int32{0, 1, 2, 3})})},
			path:  "d.npz", spec: Spec{Target: None},
			train: content{Shape: []int{2}, Samples: [][]float32{{1, 2}, {3, 4}, {5, 6}, {7, 8}}},
		},
		"IDX of floats, plain and compressed": {
			files: map[string][]byte{
				"train-images-idx3-ubyte": idxBytes(0x0D, []int{2, 1, 2}, []float32{1, 2, 3, 4}), "train-labels-idx1-ubyte": idxBytes(8, []int{2}, ramp(2)),
				"t10k-images.idx3-ubyte.gz": gzipped(idxBytes(0x0D, []int{1, 1, 2}, []float32{5, 6})), "t10k-labels.idx1-ubyte.gz": gzipped(idxBytes(8, []int{1}, ramp(1)))},
			train: content{Shape: []int{1, 2}, Classes: 2, Labels: []int{0, 1}, Samples: [][]float32{{1, 2}, {3, 4}}},
			test:  &content{Shape: []int{1, 2}, Classes: 2, Labels: []int{0}, Samples: [][]float32{{5, 6}}},
		},
		"raw samples with names of classes in a .csv": {
			files: map[string][]byte{"x_train.bin": ramp(4), "y_train.csv": []byte("file,label\na,dog\nb,cat\n"),
				"x_test.bin.gz": gzipped(ramp(2)), "y_test.csv": []byte("owl\n"), "notes.txt": nil},
			spec:  Spec{Stored: Stored{Type: Int8, Shape: []int{2, 1}, Scale: "0.5", ZeroPoint: 1}},
			train: content{Shape: []int{2, 1}, Classes: 3, Labels: []int{1, 0}, Samples: [][]float32{{-0.5, 0}, {0.5, 1}}},
			test:  &content{Shape: []int{2, 1}, Classes: 3, Labels: []int{2}, Samples: [][]float32{{-0.5, 0}}},
			names: []string{"cat", "dog", "owl"},
		},
		"one .npy file with a .csv of targets beside it": {
			files: map[string][]byte{"s.npy": npyBytes("<f2", []int{2, 1}, []uint16{0x3c00, 0xc000}), "s.csv": []byte("a,b\n1,2.5\n3,4\n")},
			path:  "s.npy",
			train: content{Shape: []int{1}, Samples: [][]float32{{1}, {-2}}, Targets: [][]float32{{1, 2.5}, {3, 4}}},
		},
		"TFRecords by split, raw bytes": {
			files: map[string][]byte{
				"d-train.tfrecord-00000-of-00002": recordBytes(example(map[string]any{"image": ramp(4), "label": []int64{1}})),
				"d-train.tfrecord-00001-of-00002": recordBytes(example(map[string]any{"image": ramp(4), "label": []int64{0}})),
				"d-test.tfrecord":                 recordBytes(example(map[string]any{"image": []byte{9, 9, 9, 9}, "label": []int64{1}}))},
			spec:  Spec{Stored: Stored{Shape: []int{2, 2}}},
			train: content{Shape: []int{2, 2}, Classes: 2, Labels: []int{1, 0}, Samples: [][]float32{{0, 1, 2, 3}, {0, 1, 2, 3}}},
			test:  &content{Shape: []int{2, 2}, Classes: 2, Labels: []int{1}, Samples: [][]float32{{9, 9, 9, 9}}},
		},
		"labels of types that a Spec has no name for": {
			files: map[string][]byte{"d.npz": npzBytes(zip.Store, member{"x_train", npyBytes("<u4", []int{2, 1}, []uint32{1, 1 << 31})}, member{"y_train", npyBytes("<u8", []int{2}, []uint64{2, 0})},
				member{"x_test", npyBytes(">u8", []int{1, 1}, []uint64{5 << 56})}, member{"y_test", npyBytes("|u1", []int{1}, ramp(1))})},
			path:  "d.npz",
			train: content{Shape: []int{1}, Classes: 3, Labels: []int{2, 0}, Samples: [][]float32{{1}, {1 << 31}}},
			test:  &content{Shape: []int{1}, Classes: 3, Labels: []int{0}, Samples: [][]float32{{5}}},
		},
		"IDX of eight dimensions": {
			files: map[string][]byte{"train-images-idx3-ubyte": idxBytes(8, []int{2, 1, 1, 1, 1, 1, 1, 2}, ramp(4)), "train-labels-idx1-ubyte": idxBytes(8, []int{2}, ramp(2))},
			train: content{Shape: []int{1, 1, 1, 1, 1, 1, 2}, Classes: 2, Labels: []int{0, 1}, Samples: [][]float32{{0, 1}, {2, 3}}},
		},
		"TFRecords of raw numbers without a shape": {
			files: map[string][]byte{"a.tfrecord": recordBytes(example(map[string]any{"image": []byte{1, 0, 0, 1}, "label": []int64{0}}), example(map[string]any{"image": []byte{2, 0, 255, 255}, "label": []int64{1}}))},
			path:  "a.tfrecord", spec: Spec{Stored: Stored{Type: Int16}},
			train: content{Shape: []int{2}, Classes: 2, Labels: []int{0, 1}, Samples: [][]float32{{1, 256}, {2, -1}}},
		},
		"TFRecords of numbers": {
			files: map[string][]byte{"a.tfrecord": recordBytes(
				example(map[string]any{"signal": []float32{1, -2}, "y": []float32{0.5, 0.25}}), example(map[string]any{"signal": []float32{3, 4}, "y": []float32{1, 2}}))},
			path:  "a.tfrecord",
			train: content{Shape: []int{2}, Samples: [][]float32{{1, -2}, {3, 4}}, Targets: [][]float32{{0.5, 0.25}, {1, 2}}},
		},
		"images by class, gray from coloured, of two sizes": {
			files: map[string][]byte{
				"train/cat/1.png": pngBytes(picture(1, 2, gray, red)), "train/dog/deep/2.PNG": grayPNG(2, 4, 10),
				"test/dog/3.jpg": jpegBytes(picture(1, 2, gray, gray)), "train/.hidden/x.png": nil, "train/cat/readme.md": nil},
			spec:  Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 1, Width: 2}, Channels: Gray}},
			train: content{Shape: []int{1, 2, 1}, Classes: 2, Labels: []int{0, 1}, Samples: [][]float32{{76.245, 100}, {10, 10}}},
			test:  &content{Shape: []int{1, 2, 1}, Classes: 2, Labels: []int{1}, Samples: [][]float32{{100, 100}}},
			names: []string{"cat", "dog"},
		},
		"loose images have no labels": {
			files: map[string][]byte{"a.png": pngBytes(picture(1, 1, red, red))},
			spec:  Spec{Preprocessing: Preprocessing{Channels: BGR, Scale: "1/255"}},
			train: content{Shape: []int{1, 1, 3}, Samples: [][]float32{{0, 0, 1}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Open(filepath.Join(folder(t, tt.files), tt.path), tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if tt.test == nil {
				tt.test = &tt.train
			}
			if diff := cmp.Diff(&tt.train, read(t, d.Train)); diff != "" {
				t.Errorf("train (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.test, read(t, d.Test)); diff != "" {
				t.Errorf("test (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.names, d.ClassNames); diff != "" {
				t.Errorf("names of classes (-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(d.Digest, "sha256:") || len(d.Digest) != 71 {
				t.Errorf("digest %q", d.Digest)
			}
		})
	}
}

// The files in testdata were written by TensorFlow 2.21.
func TestOpenReadsWhatTensorFlowWrites(t *testing.T) {
	tests := map[string]struct {
		path string
		want content
	}{
		"floats": {"testdata/floats.tfrecord", content{Shape: []int{4}, Classes: 3, Labels: []int{0, 1, 2},
			Samples: [][]float32{{0, 0.5, 0, 2}, {1, 1.5, -1, 2}, {2, 2.5, -2, 2}}}},
		"compressed, PNG": {"testdata/images.tfrecord.gz", content{Shape: []int{2, 3, 3}, Classes: 2, Labels: []int{1, 0},
			Samples: [][]float32{{255, 128, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
				{255, 128, 7, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Open(tt.path, Spec{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if diff := cmp.Diff(&tt.want, read(t, d.Train)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDigestFollowsContentAndNames(t *testing.T) {
	base := map[string][]byte{"train/a/1.png": grayPNG(1, 1, 1), "train/b/2.png": grayPNG(1, 1, 2)}
	open := func(changed map[string][]byte) string {
		d, err := Open(folder(t, changed), Spec{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		return d.Digest
	}
	first := open(base)
	if again := open(base); again != first {
		t.Errorf("the same content elsewhere has digest %s, not %s", again, first)
	}
	for what, changed := range map[string]map[string][]byte{
		"another image":        {"train/a/1.png": grayPNG(1, 1, 9), "train/b/2.png": base["train/b/2.png"]},
		"another name":         {"train/a/1.png": base["train/a/1.png"], "train/c/2.png": base["train/b/2.png"]},
		"names the other way":  {"train/a/1.png": base["train/b/2.png"], "train/b/2.png": base["train/a/1.png"]},
		"an image more":        {"train/a/1.png": base["train/a/1.png"], "train/b/2.png": base["train/b/2.png"], "train/b/3.png": grayPNG(1, 1, 3)},
		"a file of no concern": nil,
	} {
		if changed == nil {
			changed = map[string][]byte{"train/a/1.png": base["train/a/1.png"], "train/b/2.png": base["train/b/2.png"], "train/b/.DS_Store": {1}}
			if got := open(changed); got != first {
				t.Errorf("%s changes the digest", what)
			}
			continue
		}
		if got := open(changed); got == first {
			t.Errorf("%s leaves the digest unchanged", what)
		}
	}
}
