package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// pack is what a set of samples, and one of them, shows.
func pack(t *testing.T, d *Dataset, sample int) (x [][]float32, y string) {
	t.Helper()
	x, truth := Sample(d.Train), Truths(d.Train)
	if err := d.Train.Read(sample, x); err != nil {
		t.Fatal(err)
	}
	if err := d.Train.Truth(sample, truth); err != nil {
		t.Fatal(err)
	}
	return x, fmt.Sprint(truth)
}

// The files are pyarrow's and webdataset's, by hack/peers/datasets.py.
func TestPackedDatasetsOfOthers(t *testing.T) {
	two := &Network{Inputs: []Input{{Names: []string{"pixels"}, Shape: []int{3}}, {Names: []string{"fixed"}, Shape: []int{2}}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{1}}}}
	for name, test := range map[string]struct {
		file    string
		spec    Spec
		shape   []int
		x       []float32 // of sample 5; nil: not compared
		y       string
		classes string
		notes   string
	}{
		"images of Hugging Face":     {file: "images.parquet", shape: []int{2, 3, 3}, x: slices.Repeat([]float32{50}, 18), y: "[[1]]", classes: "cat dog owl"},
		"recordings of Hugging Face": {file: "clips.parquet", shape: []int{4}, x: slices.Repeat([]float32{5.0 / 128}, 4), y: "[[1]]", classes: "yes no"},
		"columns of numbers":         {file: "numbers.parquet", shape: []int{3}, x: []float32{5.5, 50, 1}, y: "[[0]]", classes: "pear plum"},
		"columns without labels":     {file: "numbers.parquet", spec: Spec{Target: None}, shape: []int{3}, x: []float32{5.5, 50, 1}, y: "[]"},
		"a column by its name":       {file: "withtext.parquet", spec: Spec{Samples: Samples{"": "height"}}, shape: []int{1}, x: []float32{5.5}, y: "[[0]]", classes: "pear plum", notes: "left out: id, width, ripe"},
		"lists":                      {file: "lists.parquet", spec: Spec{Samples: Samples{"": "pixels"}}, shape: []int{3}, x: []float32{5, 6, 7}, y: "[[2.5]]", notes: "left out: fixed, name"},
		"lists for two inputs":       {file: "lists.parquet", spec: Spec{Network: two}, shape: []int{3}, x: []float32{5, 6, 7}, y: "[[2.5]]"},
		"lists told by a list":       {file: "lists.parquet", spec: Spec{Labels: "Fixed"}, shape: []int{3}, x: []float32{5, 6, 7}, y: "[[1.25 1]]", notes: "left out: name, y"},
		"numbers of a fixed point":   {file: "decimals.parquet", shape: []int{3}, x: []float32{2e-20, 0.2, 0.02}, y: "[[1]]"},
		"such as integers":           {file: "small_decimals.parquet", shape: []int{1}, x: []float32{0.2}, y: "[[1]]"},
		"such as labels":             {file: "decimals.parquet", spec: Spec{Samples: Samples{"": "b"}, Labels: "c"}, shape: []int{1}, x: []float32{0.2}, y: "[[0.02]]", notes: "left out: a, label"},
		"fields of structs":          {file: "structs.parquet", spec: Spec{Samples: Samples{"": "sensor.values"}, Labels: "meta.kind"}, shape: []int{2}, x: []float32{5, 5.5}, y: "[[1]]", classes: "a b", notes: "left out: sensor.about.unit, sensor.about.rate, meta.age"},
		"lists of halves":            {file: "halves.parquet", shape: []int{2}, x: []float32{2.5, 2.75}, y: "[[1]]"},
		"images of two kinds":        {file: "images.tar", shape: []int{2, 3, 3}, y: "[[2]]"},
		"a number in JSON":           {file: "images.tar", spec: Spec{Labels: "weight", Target: Values}, shape: []int{2, 3, 3}, y: "[[2.5]]"},
		"a name in JSON":             {file: "images.tar", spec: Spec{Labels: "kind"}, shape: []int{2, 3, 3}, y: "[[1]]", classes: "a b"},
		"recordings":                 {file: "clips.tar.gz", spec: Spec{Labels: "word"}, shape: []int{4}, x: slices.Repeat([]float32{5.0 / 128}, 4), y: "[[0]]", classes: "no yes"},
		"arrays":                     {file: "arrays.tar", spec: Spec{Samples: Samples{"": "x.npy"}, Labels: "y.npy"}, shape: []int{2, 2}, x: []float32{5, 5, 5, 5}, y: "[[5 0.5]]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(filepath.Join("testdata", test.file), test.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if got := d.Train.Inputs()[0].Shape; !slices.Equal(got, test.shape) || d.Train.Len() != 6 {
				t.Fatalf("%d samples of shape %v, want %v", d.Train.Len(), got, test.shape)
			}
			x, y := pack(t, d, 5)
			if test.x != nil && !slices.Equal(x[0], test.x) {
				t.Errorf("sample %v, want %v", x[0], test.x)
			}
			if y != test.y {
				t.Errorf("targets %s, want %s", y, test.y)
			}
			if got := strings.Join(d.ClassNames, " "); got != test.classes {
				t.Errorf("classes %q, want %q", got, test.classes)
			}
			if said := strings.Join(d.Notes, "\n"); !strings.Contains(said, test.notes) {
				t.Errorf("notes %q lack %q", said, test.notes)
			}
		})
	}
}

// tarBytes is a tar of files, or of links where the content begins with an arrow.
func tarBytes(files ...string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if to, link := strings.CutPrefix(files[i+1], "→"); link {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
			files[i+1] = ""
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func TestShardsTellTheirSplit(t *testing.T) {
	png := string(grayPNG(2, 2, 7))
	one := tarBytes("a.png", png, "a.cls", "1", ".hidden.png", "x", "b.png", png, "b.cls", "0")
	two := gzipped(tarBytes("c.png", string(grayPNG(2, 2, 9)), "c.cls", "2"))
	d, err := Open(folder(t, map[string][]byte{"train-0000.tar": one, "train-0001.tar.gz": two, "test/0000.tgz": two, "README.md": []byte("about")}), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Format != WebDataset || d.Train.Len() != 3 || d.Test.Len() != 1 {
		t.Fatalf("%s: %d and %d samples", d.Format, d.Train.Len(), d.Test.Len())
	}
	if x, y := pack(t, d, 2); x[0][0] != 9 || y != "[[2]]" {
		t.Errorf("%v of class %s", x[0], y)
	}
	var images bytes.Buffer
	type row struct {
		Image []byte `parquet:"image"`
		Label int32  `parquet:"label"`
	}
	if err := parquet.Write(&images, []row{{grayPNG(2, 2, 7), 1}, {grayPNG(2, 2, 8), 0}}); err != nil {
		t.Fatal(err)
	}
	d, err = Open(folder(t, map[string][]byte{"data/train-00000-of-00001.parquet": images.Bytes(), "data/validation-00000-of-00001.parquet": images.Bytes(), "README.md": nil}), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Format != Parquet || d.Train.Len() != 2 || d.Validation.Len() != 2 {
		t.Fatalf("%s: %d and %d samples", d.Format, d.Train.Len(), d.Validation.Len())
	}
	if x, _ := pack(t, d, 1); x[0][0] != 8 {
		t.Errorf("%v", x[0])
	}
}

func TestPackedDatasetsThatCannotBeRead(t *testing.T) {
	of := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole, archive := of("images.parquet"), tarBytes("a.png", string(grayPNG(2, 2, 7)))
	png, clip := string(grayPNG(2, 2, 7)), string(wavBytes(8000, 1, 2))
	cut := tarBytes("a.png", png, "a.cls", "1")
	huge := tarBytes("a.png", png, "a.cls", "1")
	copy(huge[124:], "77777777777\x00")
	sum := 0
	copy(huge[148:156], "        ")
	for _, b := range huge[:512] {
		sum += int(b)
	}
	copy(huge[148:], fmt.Sprintf("%06o\x00 ", sum))
	for name, test := range map[string]struct {
		files map[string][]byte
		spec  Spec
		says  []string
	}{
		"half a Parquet":        {map[string][]byte{"d.parquet": whole[:len(whole)/2]}, Spec{}, []string{"d.parquet", "damaged"}},
		"no Parquet":            {map[string][]byte{"d.parquet": []byte("PAR1 nothing at all PAR1")}, Spec{}, []string{"d.parquet", "damaged"}},
		"a description of 4 GB": {map[string][]byte{"d.parquet": append(whole[:len(whole)-8:len(whole)-8], "\xf0\xff\xff\xffPAR1"...)}, Spec{}, []string{"d.parquet", "claims 4294967280"}},
		"a gap":                 {map[string][]byte{"d.parquet": of("gaps.parquet")}, Spec{}, []string{"d.parquet", "row 1, column a", "empty"}},
		"text among numbers":    {map[string][]byte{"d.parquet": of("withtext.parquet")}, Spec{}, []string{"d.parquet", "column id", "no numbers"}},
		"truth by runs":         {map[string][]byte{"d.parquet": of("runs.parquet")}, Spec{}, []string{"d.parquet", "column ripe", "whole numbers"}},
		"blocks of LZ4":         {map[string][]byte{"d.parquet": of("blocks.parquet")}, Spec{}, []string{"d.parquet", "column height", "LZ4", "snappy"}},
		"several lists":         {map[string][]byte{"d.parquet": of("lists.parquet")}, Spec{}, []string{"pixels or fixed", "dataset.samples"}},
		"a column that is none": {map[string][]byte{"d.parquet": of("lists.parquet")}, Spec{Samples: Samples{"": "pixel"}}, []string{`no column "pixel"`, "dataset.samples", "pixels, fixed, name, y"}},
		"fields by themselves":  {map[string][]byte{"d.parquet": of("structs.parquet")}, Spec{Labels: "meta.kind"}, []string{"column sensor.about.unit", "no numbers"}},
		"a label that is none":  {map[string][]byte{"d.parquet": whole}, Spec{Labels: "kind"}, []string{`column "kind"`, "image, label"}},
		"another table beside":  {map[string][]byte{"train.parquet": whole, "test.parquet": of("clips.parquet")}, Spec{}, []string{"test.parquet", "no column image", "train.parquet"}},
		"half a tar":            {map[string][]byte{"d.tar": archive[:540]}, Spec{}, []string{"d.tar", "ends before"}},
		"a tar cut in its end":  {map[string][]byte{"d.tar": cut[:len(cut)-1024]}, Spec{}, []string{"d.tar", "2 files", "truncated"}},
		"a tar cut in a file":   {map[string][]byte{"d.tar": cut[:len(cut)-1100]}, Spec{}, []string{"d.tar"}},
		"no tar":                {map[string][]byte{"d.tar": bytes.Repeat([]byte("no tar"), 200)}, Spec{}, []string{"d.tar", "no tar?"}},
		"a size beyond the end": {map[string][]byte{"d.tar": huge}, Spec{}, []string{"d.tar", "a.png", "ends before"}},
		"an empty tar":          {map[string][]byte{"d.tar": tarBytes()}, Spec{}, []string{"d.tar", "no samples"}},
		"a way out":             {map[string][]byte{"d.tar": tarBytes("../a.png", png, "../a.cls", "1")}, Spec{}, []string{"d.tar", "../a.png", "leads out"}},
		"a path from the root":  {map[string][]byte{"d.tar": tarBytes("/etc/a.png", png)}, Spec{}, []string{"/etc/a.png", "leads out"}},
		"a link":                {map[string][]byte{"d.tar": tarBytes("a.png", "→/etc/passwd")}, Spec{}, []string{"a.png", "link", "/etc/passwd"}},
		"a sample without":      {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.cls", "1", "b.cls", "1")}, Spec{}, []string{`"b"`, ".png", "follow each other"}},
		"a label missing":       {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.cls", "1", "b.png", png)}, Spec{}, []string{`"b"`, ".cls", "target None"}},
		"an empty label":        {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.cls", " ")}, Spec{}, []string{`"a"`, ".cls", "empty"}},
		"a label below 0":       {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.cls", "0", "b.png", png, "b.cls", "-1")}, Spec{}, []string{"d.tar: sample \"b\", file \"cls\": label -1 is outside"}},
		"two of a name":         {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.PNG", png)}, Spec{}, []string{`"a"`, "two files .png"}},
		"two samples of one":    {map[string][]byte{"d.tar": tarBytes("a.png", png, "a.wav", clip)}, Spec{}, []string{".png or .wav", "dataset.samples"}},
		"kinds that differ":     {map[string][]byte{"d.tar": tarBytes("a.png", png, "b.png", clip)}, Spec{}, []string{`"b"`, "another kind"}},
		"nothing that is read":  {map[string][]byte{"d.tar": tarBytes("a.mp3", "ID3", "a.cls", "1")}, Spec{}, []string{"dataset.samples", ".cls, .mp3"}},
		"a damaged picture":     {map[string][]byte{"d.tar": tarBytes("a.png", png[:20])}, Spec{}, []string{`"a"`, ".png", "truncated"}},
		"a shard of no split":   {map[string][]byte{"train.tar": huge, "more.tar": huge}, Spec{}, []string{"more.tar", "train, validation or test"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := folder(t, test.files)
			if test.files["d.parquet"] != nil {
				root = filepath.Join(root, "d.parquet")
			}
			refused(t, root, test.spec, test.says)
		})
	}
}

// What is held in memory does not grow with the file: 24 MB of samples that do not compress, in one row group.
func TestPackedDatasetsTakeLittleMemory(t *testing.T) {
	held := inMemory
	inMemory = 1 << 20
	defer func() { inMemory = held }()
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // little garbage
	type row struct {
		Image []byte `parquet:"image"`
		Label int32  `parquet:"label"`
	}
	random := rand.NewChaCha8([32]byte{})
	image := func() []byte { // what follows the end of a picture is not read
		tail := make([]byte, 20000)
		_, _ = random.Read(tail)
		return append(grayPNG(2, 2, 7), tail...)
	}
	folder := t.TempDir()
	create := func(name string, write func(io.Writer) error) string {
		path := filepath.Join(folder, name)
		f, err := os.Create(path)
		if err == nil {
			err = errors.Join(write(f), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const n = 1200
	archive := func(out io.Writer) error {
		w := tar.NewWriter(out)
		for i := range n {
			for _, file := range []struct {
				extension string
				data      []byte
			}{{"png", image()}, {"cls", []byte("1")}} {
				if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.%s", i, file.extension), Size: int64(len(file.data)), Mode: 0o644}); err != nil {
					return err
				}
				if _, err := w.Write(file.data); err != nil {
					return err
				}
			}
		}
		return w.Close()
	}
	for _, path := range []string{
		create("d.parquet", func(out io.Writer) error {
			w := parquet.NewGenericWriter[row](out)
			for range n {
				if _, err := w.Write([]row{{image(), 1}}); err != nil {
					return err
				}
			}
			return w.Close()
		}),
		create("d.tar", archive),
		create("d.tar.gz", func(out io.Writer) error {
			z := gzip.NewWriter(out)
			return errors.Join(archive(z), z.Close())
		}),
	} {
		runtime.GC()
		before, most := objects(), uint64(0)
		done, sampled := make(chan bool), make(chan bool)
		go func() {
			defer close(sampled)
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					most = max(most, objects())
				}
			}
		}()
		d, err := Open(path, Spec{})
		if err != nil {
			t.Fatal(err)
		}
		x := Sample(d.Train)
		for i := range d.Train.Len() {
			if err := d.Train.Read((i*997)%n, x); err != nil {
				t.Fatal(err)
			}
		}
		close(done)
		<-sampled
		if d.Train.Len() != n || most > before+14<<20 {
			t.Errorf("%s: %d samples, %d MB more than before", filepath.Base(path), d.Train.Len(), (int64(most)-int64(before))>>20)
		}
		d.Close()
	}
}

// objects is the bytes of objects in memory, garbage among them.
func objects() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
