package dataset

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// seeds adds whole files and halves of them.
func seeds(f *testing.F, files ...[]byte) {
	for _, data := range files {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
}

// opens opens data as a file of a name: no panic, no absurd allocation, and what it opens can be read or says why not.
func opens(t *testing.T, name string, data []byte, spec Spec) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, name)
	if spec.Format == IDX {
		path = root
	}
	d, err := Open(path, spec)
	if err != nil {
		return
	}
	defer d.Close()
	for _, s := range []Source{d.Train, d.Validation, d.Test} {
		if s == nil {
			continue
		}
		if s.Len() < 1 {
			t.Fatalf("%d samples", s.Len())
		}
		if s.Inputs()[0].Size() > 1<<24 {
			continue // a shape of zero rows' worth of data cannot be: elements are checked against the file
		}
		_ = s.Read(s.Len()-1, Sample(s))
		_ = s.Truth(s.Len()-1, Truths(s))
	}
}

func FuzzNPZ(f *testing.F) {
	x := member{"x_train", npyBytes("<f4", []int{2, 3}, make([]float32, 6))}
	y := member{"y_train", npyBytes("<i8", []int{2}, []int64{1, 0})}
	seeds(f, npzBytes(zip.Store, x, y), npzBytes(zip.Deflate, x, y))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "d.npz", data, Spec{}) })
}

func FuzzTable(f *testing.F) {
	seeds(f, []byte("a,b,label\n1,2,1\n3,4,0\n"), []byte("\ufeff;a;b;y\r\n0;1;2;x\r\n1;3;4;z\r\n"), []byte("1\t2\n"), gzipped([]byte("1,2,3\n")))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "d.csv", data, Spec{}) })
}

func FuzzNPY(f *testing.F) {
	npy := npyBytes("<f4", []int{2, 3}, make([]float32, 6))
	seeds(f, npy, gzipped(npy), npyBytes(">i8", []int{3}, []int64{1, 2, 3}))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "x.npy", data, Spec{}) })
}

func FuzzIDX(f *testing.F) {
	idx := idxBytes(8, []int{2, 2, 3}, ramp(12))
	seeds(f, idx, gzipped(idx), idxBytes(0x0D, []int{2}, []float32{1, 2}))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "train-images-idx3-ubyte", data, Spec{Format: IDX}) })
}

func FuzzTFRecord(f *testing.F) {
	for _, path := range []string{"testdata/floats.tfrecord", "testdata/images.tfrecord.gz"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		seeds(f, data)
	}
	seeds(f, recordBytes(example(map[string]any{"image": ramp(12), "label": []int64{1}})))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "a.tfrecord", data, Spec{}) })
}

// FuzzExample feeds the parser without the checksums that keep a fuzzer out.
func FuzzExample(f *testing.F) {
	seeds(f, example(map[string]any{"image": ramp(12), "label": []int64{1}}), example(map[string]any{"x": []float32{1, 2}}))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "a.tfrecord", recordBytes(data), Spec{}) })
}

func FuzzImage(f *testing.F) {
	seeds(f, pngBytes(picture(3, 2, gray, red)), grayPNG(2, 2, 7), jpegBytes(picture(3, 2, gray, red)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		if shape, err := measure(data, bytes.NewReader(data)); err != nil || numel(shape) > 1<<20 {
			return
		}
		if err := decodeImage(data, &s); err == nil && len(s.values) != numel(s.shape) {
			t.Fatalf("%d values for shape %v", len(s.values), s.shape)
		}
	})
}

func FuzzCSV(f *testing.F) {
	seeds(f, []byte("file,label\na,1\n"), []byte("1\n2\n"), []byte("dog\ncat\n"), []byte("a,b\n0.5,2\n"), []byte("sep=;\n;y\n0;1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "y.csv")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var f files
		parsed, _, err := f.readTable(path)
		if err != nil {
			return
		}
		arrays := map[string]*array{}
		var names []string
		encodeTables(map[string]*table{"y": parsed}, func(name string, a *array, of []string) { arrays[name], names = a, of })
		if a := arrays["y"]; a.len() == 0 || len(names) > a.len() {
			t.Fatalf("%d rows, %d names", a.len(), len(names))
		}
	})
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"images", "clips", "numbers", "lists", "gaps", "runs", "blocks"} {
		data, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			f.Fatal(err)
		}
		seeds(f, data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "d.parquet", data, Spec{}) })
}

func FuzzWebDataset(f *testing.F) {
	seeds(f, tarBytes("a.png", string(grayPNG(2, 2, 7)), "a.cls", "1"), tarBytes("a.wav", string(wavBytes(8000, 1, 2)), "a.json", `{"label": "x"}`),
		tarBytes("a.npy", string(npyBytes("<f4", []int{2, 3}, make([]float32, 6))), "a.y.npy", string(npyBytes("<i8", []int{2}, []int64{1, 0}))), gzipped(tarBytes("a.png", "x")))
	f.Fuzz(func(t *testing.T, data []byte) { opens(t, "d.tar", data, Spec{}) })
}

// What a model's file says of its inputs is a stranger's.
func FuzzMade(f *testing.F) {
	npz := npzBytes(zip.Store, member{"x", npyBytes("|u1", []int{2, 6, 5, 3}, ramp(180))})
	clips := folder(f, map[string][]byte{"a/a.wav": wavBytes(8000, tone(256)...), "b/b.wav": wavBytes(8000, tone(200)...)})
	for _, made := range []string{
		`{"inputs":[{"input":"in","resize":{"height":8,"width":5,"method":"Bilinear"},"crop":{"height":4,"width":4},"channels":"BGR","scale":[0.1],"mean":[1,2,3],"std":[0.5],"shape":[48]}]}`,
		`{"inputs":[{"input":"in","stored":{"layout":"ChannelsFirst","scale":0.5,"zeroPoint":-7},"offset":[1]}]}`,
		`{"inputs":[{"input":"in","sampleRate":4000,"samples":128,"features":"MFCC","frameLength":64,"frameStep":32,"fftLength":64,"melBands":20,"lowerHertz":50,"upperHertz":2000,"power":1,"logOffset":1e-6,"coefficients":10,"shape":[3,10]}]}`,
		`{"inputs":[{"input":"in","sampleRate":8000,"samples":256,"features":"MicroFrontend","frameLength":64,"frameStep":32,"melBands":10,"lowerHertz":100,"upperHertz":3500,"gainControl":true}]}`,
	} {
		f.Add([]byte(made))
	}
	f.Fuzz(func(t *testing.T, made []byte) {
		spec := Spec{Made: made, Network: &Network{Inputs: []Input{{Names: []string{"in"}, Shape: []int{6, 5, 3}}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}}
		if m, err := madeOf(made, &spec.Network.Inputs[0]); err != nil || m == nil || m.Resize != nil && m.Resize.Height*m.Resize.Width > 1<<16 || m.Sound != nil && max(m.Samples, m.SampleRate, m.FrameLength, m.MelBands) > 1<<12 {
			return // much to compute
		}
		if d, err := Open(clips, spec); err == nil {
			_ = d.Train.Read(0, Sample(d.Train))
			_ = d.Close()
		}
		opens(t, "d.npz", npz, spec)
	})
}
