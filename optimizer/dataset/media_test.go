package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
)

// wavBytes is a WAV file of 16-bit samples, in mono.
func wavBytes(rate int, samples ...int16) []byte {
	var f bytes.Buffer
	for _, v := range []any{[]byte("RIFF"), uint32(36 + 2*len(samples)), []byte("WAVEfmt "), uint32(16), uint16(1), uint16(1), uint32(rate), uint32(2 * rate),
		uint16(2), uint16(16), []byte("data"), uint32(2 * len(samples)), samples} {
		_ = binary.Write(&f, binary.LittleEndian, v)
	}
	return f.Bytes()
}

func tone(n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = int16(8000 * math.Sin(float64(i)/3))
	}
	return x
}

// hears is a network that takes a shape and tells two classes.
func hears(shape ...int) *Network {
	return &Network{Inputs: []Input{{Names: []string{"in"}, Shape: shape}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}
}

func TestRecordings(t *testing.T) {
	half, quarter := wavBytes(8000, 1<<14, -1<<14, 0), wavBytes(8000, 1<<13)
	mfcc := &AudioSteps{Features: MFCC, FrameLength: 64, FrameStep: 32, MelBands: 20, UpperHertz: "4000"}
	for name, test := range map[string]struct {
		files map[string][]byte
		spec  Spec
		shape []int
		x     []float32 // nil: not compared
		y     string
		notes string
	}{
		"by class": {files: map[string][]byte{"train/hi/a.wav": half, "train/lo/b.wav": half, "test/hi/c.wav": half},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.5, -0.5, 0}, y: "[[0]]"},
		"cut and padded to the input": {files: map[string][]byte{"hi/a.wav": half, "lo/b.wav": wavBytes(8000, 1, 2)},
			spec: Spec{Network: hears(2)}, shape: []int{2}, x: []float32{0.5, -0.5}, y: "[[0]]", notes: "input in is made of 2 samples (0.00025 s); 1 of 2 recordings are longer and lose up to 1 sample (0.000125 s) at their ends (preprocessing.audio.samples)"},
		"cut to half": {files: map[string][]byte{"hi/a.wav": wavBytes(8000, 1, 2, 3, 4), "lo/b.wav": wavBytes(8000, 1, 2, 3, 4)},
			spec: Spec{Network: hears(2)}, shape: []int{2}, y: "[[0]]", notes: "2 of 2 recordings are longer and lose up to 2 samples (0.00025 s) at their ends (preprocessing.audio.samples); sampleRate: 4000 makes all 4 samples of a recording 2"},
		"padded to twice their length": {files: map[string][]byte{"hi/a.wav": wavBytes(8000, 1, 2), "lo/b.wav": wavBytes(8000, 1, 2, 3)},
			spec: Spec{Network: hears(4)}, shape: []int{4}, y: "[[0]]", notes: "2 of 2 are shorter and padded with up to 2 samples (0.00025 s) of silence"},
		"padded as the manifest says": {files: map[string][]byte{"hi/a.wav": quarter, "lo/b.wav": half},
			spec: Spec{Network: hears(4), Preprocessing: Preprocessing{Audio: &AudioSteps{Samples: 4}}}, shape: []int{4}, x: []float32{0.25, 0, 0, 0}, y: "[[0]]"},
		"a list with headings": {files: map[string][]byte{"a.wav": half, "b.wav": half, "labels.csv": []byte("filename,label\nb.wav,yes\na.wav,no\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.5, -0.5, 0}, y: "[[1]]", notes: "no, yes"},
		"a list without headings": {files: map[string][]byte{"clips/a.wav": half, "clips/b.wav": half, "clips.csv": []byte("a.wav,1\nb.wav,0\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.5, -0.5, 0}, y: "[[1]]"},
		"a list written on Windows": {files: map[string][]byte{"clips/a.wav": half, "clips/b.wav": quarter, "l.csv": []byte("\xef\xbb\xbffilename,label\r\nclips\\b.wav,1\r\n.\\clips\\a.wav,0\r\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list with splits": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "m.csv": []byte("file,split,label\nb.wav,test,0\na.wav,train,1\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.5, -0.5, 0}, y: "[[1]]"},
		"a list of unknown headings": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("word,clip\nyes,b.wav\nno,a.wav\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list of names without extensions": {files: map[string][]byte{"clips/a.wav": half, "clips/b.wav": quarter, "l.csv": []byte("id,word\nclips/b,yes\nclips/a,no\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list with a label in front": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("yes,b.wav\nno,a.wav\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list with a label in front, by its heading": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("label,filename,age\nyes,b.wav,7\nno,a.wav,9\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list of no split": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("filename,label\nb.wav,1\na.wav,0\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[1]]", notes: "one split: training, validation and test are the same samples"},
		"a list of training samples": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "train.csv": []byte("filename,label\nb.wav,1\na.wav,0\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[1]]", notes: "only training samples: validation and test are the same ones"},
		"a list of splits without headings": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("b.wav,train,yes\na.wav,test,no\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list of splits and one column more": {files: map[string][]byte{"a.wav": half, "b.wav": quarter, "l.csv": []byte("filename,split,word\nb.wav,train,yes\na.wav,test,no\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, x: []float32{0.25, 0, 0}, y: "[[1]]"},
		"a list of splits alone": {files: map[string][]byte{"a.wav": half, "b.wav": half, "l.csv": []byte("filename,split\nb.wav,train\na.wav,test\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[]", notes: "l.csv has no column of labels"},
		"a list whose second column, of labels, is not wanted": {files: map[string][]byte{"a.wav": half, "l.csv": []byte("filename,label\na.wav,\n")},
			spec: Spec{Network: hears(3), Target: None}, shape: []int{3}, y: "[]"},
		"files whose labels are not wanted": {files: map[string][]byte{"a.wav": half, "b.wav": half}, spec: Spec{Network: hears(3), Target: None}, shape: []int{3}, y: "[]"},
		"a list whose labels are not wanted": {files: map[string][]byte{"a.wav": half, "l.csv": []byte("filename,age,label\na.wav,3,\n")},
			spec: Spec{Network: hears(3), Target: None}, shape: []int{3}, y: "[]"},
		"a list of part of the files": {files: map[string][]byte{"a.wav": half, "b.wav": half, "c.wav": half, "l.csv": []byte("filename,label\n./b.wav,1\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[1]]", notes: "2 recordings in no list: left out, such as a.wav"},
		"a file in two splits": {files: map[string][]byte{"a.wav": half, "b.wav": half, "train.csv": []byte("filename,label\na.wav,1\nb.wav,0\n"), "test.csv": []byte("filename,label\na.wav,1\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[1]]", notes: "1 file in two splits, such as a.wav"},
		"what is no recording": {files: map[string][]byte{"train/hi/a.wav": half, "train/hi/a.txt": half, "train/lo/b.wav": half, "train/odd/c.doc": nil, "test/hi/d.wav": half},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[0]]", notes: "2 other files among the recordings left out: train/hi/a.txt, train/odd/c.doc\nthe folder train/odd holds no recordings: it is no class"},
		"no labels": {files: map[string][]byte{"a.wav": half, "b.wav": half}, spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[]",
			notes: "the recordings have no labels: a folder for each class, or a labels.csv with the columns filename and label, gives them (dataset.target: None says that none are meant)"},
		"no labels by split": {files: map[string][]byte{"train/a.wav": half, "test/b.wav": half}, spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[]", notes: "the recordings have no labels"},
		"names of arrays": {files: map[string][]byte{"hi/a.wav": half, "lo/b.wav": half},
			spec: Spec{Network: hears(3), Samples: Samples{"in": "x"}}, shape: []int{3}, y: "[[0]]", notes: "dataset.samples is left out"},
		"a table that lists nothing": {files: map[string][]byte{"hi/a.wav": half, "lo/b.wav": half, "about.csv": []byte("speaker,age\nann,7\n")},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[0]]", notes: "about.csv lists no recordings and is left out"},
		"a split that is misspelt": {files: map[string][]byte{"train/hi/a.wav": half, "train/lo/b.wav": half, "tset/hi/c.wav": half, "d.wav": half},
			spec: Spec{Network: hears(3)}, shape: []int{3}, y: "[[0]]", notes: "1 recording beside the folders of the splits: left out"},
		"numbers to predict": {files: map[string][]byte{"a.wav": half, "m.csv": []byte("file,loudness\na.wav,0.75\n")},
			spec: Spec{Network: &Network{Inputs: hears(3).Inputs, Outputs: []Output{{Names: []string{"o"}, Shape: []int{1}}}}}, shape: []int{3}, y: "[[0.75]]"},
		"resampled": {files: map[string][]byte{"hi/a.wav": wavBytes(16000, tone(1600)...), "lo/b.wav": wavBytes(8000, tone(800)...)},
			spec: Spec{Network: hears(800), Preprocessing: Preprocessing{Audio: &AudioSteps{SampleRate: 8000}}}, shape: []int{800}, y: "[[0]]"},
		"features that leave less than a step": {files: map[string][]byte{"hi/a.wav": wavBytes(8000, tone(831)...), "lo/b.wav": wavBytes(8000, tone(831)...)},
			spec: Spec{Network: hears(24, 10), Preprocessing: Preprocessing{Audio: mfcc}}, shape: []int{24, 10}, y: "[[0]]"},
		"features that leave a step": {files: map[string][]byte{"hi/a.wav": wavBytes(8000, tone(832)...), "lo/b.wav": wavBytes(8000, tone(800)...)},
			spec: Spec{Network: hears(24, 10), Preprocessing: Preprocessing{Audio: mfcc}}, shape: []int{24, 10}, y: "[[0]]", notes: "1 of 2 recordings are longer and lose up to 32 samples"},
		"features": {files: map[string][]byte{"hi/a.wav": wavBytes(8000, tone(800)...), "lo/b.wav": wavBytes(8000, tone(700)...)},
			spec: Spec{Network: hears(24, 10), Preprocessing: Preprocessing{Audio: mfcc}}, shape: []int{24, 10}, y: "[[0]]", notes: "input in is made of 800 samples (0.1 s); 1 of 2 are shorter"},
		"features as TensorFlow Lite Micro computes them": {files: map[string][]byte{"hi/a.wav": wavBytes(16000, tone(16000)...), "lo/b.wav": wavBytes(16000, tone(9000)...)},
			spec: Spec{Network: hears(98, 40, 1), Preprocessing: Preprocessing{Audio: &AudioSteps{Features: MicroFrontend}}}, shape: []int{98, 40}, y: "[[0]]", notes: "made of 16000 samples (1 s)"},
		"features of an array": {files: map[string][]byte{"x.npy": npyBytes("<i2", []int{2, 800}, append(tone(800), tone(800)...))},
			spec: Spec{Network: hears(24, 10), Preprocessing: Preprocessing{Audio: &AudioSteps{SampleRate: 8000, Features: MFCC, FrameLength: 64, FrameStep: 32, MelBands: 20, UpperHertz: "4000"}}}, shape: []int{24, 10}, y: "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(folder(t, test.files), test.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if got := d.Train.Inputs()[0].Shape; !slices.Equal(got, test.shape) {
				t.Fatalf("shape %v, want %v", got, test.shape)
			}
			x, y := Sample(d.Train), Truths(d.Train)
			if err := d.Train.Read(0, x); err != nil {
				t.Fatal(err)
			}
			if err := d.Train.Truth(0, y); err != nil {
				t.Fatal(err)
			}
			if test.x != nil && !slices.Equal(x[0], test.x) {
				t.Errorf("sample %v, want %v", x[0], test.x)
			}
			if fmt.Sprint(y) != test.y {
				t.Errorf("targets %v, want %s", y, test.y)
			}
			said := strings.Join(d.Notes, "\n")
			if !strings.Contains(said, test.notes) {
				t.Errorf("notes %q lack %q", said, test.notes)
			}
			if strings.Contains("\n"+said, "\n0 ") {
				t.Errorf("notes of nothing: %q", said)
			}
			if none := strings.Contains(said, "have no labels"); none != strings.HasPrefix(name, "no labels") {
				t.Errorf("of labels, notes %q", said)
			}
		})
	}
}

func TestRecordingsThatCannotBeRead(t *testing.T) {
	clip := wavBytes(8000, 1, 2, 3)
	for name, test := range map[string]struct {
		files map[string][]byte
		steps *AudioSteps
		says  []string
	}{
		"rates that differ":      {map[string][]byte{"hi/a.wav": clip, "lo/b.wav": wavBytes(16000, 1, 2, 3)}, nil, []string{"8000", "16000", "sampleRate"}},
		"a length far from it":   {map[string][]byte{"hi/a.wav": wavBytes(8000, tone(800)...)}, nil, []string{"800 samples", "features", "samples: 3"}},
		"a file that is none":    {map[string][]byte{"hi/a.wav": []byte("ID3 music that is long enough")}, nil, []string{"a.wav", "no WAV"}},
		"another format":         {map[string][]byte{"hi/a.wav": clip, "lo/b.mp3": []byte("x")}, nil, []string{"b.mp3", "convert them to WAV"}},
		"a file that is missing": {map[string][]byte{"a.wav": clip, "l.csv": []byte("file,label\na.wav,1\nz.wav,0\n")}, nil, []string{"l.csv", "line 3", "z.wav", "take the row out"}},
		"a file elsewhere":       {map[string][]byte{"a.wav": clip, "l.csv": []byte("file,label\n../a.wav,1\n")}, nil, []string{"line 2", "relative"}},
		"elsewhere on Windows":   {map[string][]byte{"in/a.wav": clip, "a.wav": clip, "l.csv": []byte("file,label\nin\\..\\..\\a.wav,1\n")}, nil, []string{"line 2", "no file"}},
		"a list of nothing":      {map[string][]byte{"a.wav": clip, "l.csv": []byte("who,what\nann,yes\n")}, nil, []string{"l.csv", "lists no recordings", "filename", "label"}},
		"a label of several":     {map[string][]byte{"a.wav": clip, "l.csv": []byte("filename,age,word\na.wav,7,yes\n")}, nil, []string{"l.csv", "which column is the label", "filename, age, word"}},
		"columns of no heading":  {map[string][]byte{"a.wav": clip, "l.csv": []byte("a.wav,7,yes\n")}, nil, []string{"l.csv", "3 columns and no headings", "filename, label and split"}},
		"an empty label":         {map[string][]byte{"a.wav": clip, "l.csv": []byte("filename,label\na.wav,yes\na.wav,\n")}, nil, []string{"l.csv", "line 3, column 2", "label is empty"}},
		"two labels of a file":   {map[string][]byte{"a.wav": clip, "l.csv": []byte("filename,label\na.wav,yes\n./a.wav,no\n")}, nil, []string{"l.csv", "line 3", "a.wav has label no", "line 2, yes"}},
		"two labels in two lists": {map[string][]byte{"a.wav": clip, "test.csv": []byte("filename,label\na.wav,yes\n"), "train.csv": []byte("filename,label\na.wav,no\n")}, nil,
			[]string{"train.csv", "label no", "test.csv, line 2, yes"}},
		"labels in one list": {map[string][]byte{"a.wav": clip, "test.csv": []byte("filename\na.wav\n"), "train.csv": []byte("filename,label\na.wav,no\n")}, nil,
			[]string{"test.csv", "no column of labels", "target to None"}},
		"a split that is none":  {map[string][]byte{"a.wav": clip, "l.csv": []byte("file,split,label\na.wav,spare,1\n")}, nil, []string{"spare", "train, validation and test"}},
		"features not possible": {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Features: LogMel, UpperHertz: "9000"}, []string{"preprocessing.audio", "9000"}},
		"too long at the rate":  {map[string][]byte{"hi/a.wav": wavBytes(1000, make([]int16, 70000)...)}, &AudioSteps{SampleRate: 1 << 20}, []string{"a.wav", "cut it into clips"}},
		"a rate below 0":        {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{SampleRate: -8000}, []string{"preprocessing.audio.sampleRate is -8000"}},
		"a length below 0":      {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Samples: -1}, []string{"preprocessing.audio.samples is -1"}},
		"a frame without end":   {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Features: MFCC, FrameLength: math.MaxInt}, []string{"preprocessing.audio.frameLength is 9223372036854775807"}},
		"steps without end":     {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Features: MFCC, FrameStep: math.MaxInt / 2}, []string{"preprocessing.audio.frameStep"}},
		"features of another length": {map[string][]byte{"hi/a.wav": wavBytes(8000, tone(80)...)}, &AudioSteps{Features: LogMel, FrameLength: 8, FrameStep: 900, MelBands: 1, LowerHertz: "100"},
			[]string{"in frames of 8 every 900", "frameStep, frameLength", "samples: 1808"}},
		"frames without them": {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{FrameLength: 2}, []string{"LogMel, MFCC or MicroFrontend"}},
		"settings of others":  {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Features: MicroFrontend, Power: 2}, []string{"power", "MicroFrontend has its own"}},
		"gain of others":      {map[string][]byte{"hi/a.wav": clip}, &AudioSteps{Features: MFCC, GainControl: new(bool)}, []string{"gainControl is of MicroFrontend"}},
		"audio of images":     {map[string][]byte{"hi/a.png": grayPNG(1, 3, 7)}, &AudioSteps{SampleRate: 8000}, []string{"for recordings"}},
		"an array of no rate": {map[string][]byte{"x.npy": npyBytes("<i2", []int{1, 3}, []int16{1, 2, 3})}, &AudioSteps{Features: MFCC}, []string{"sampleRate"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, folder(t, test.files), Spec{Network: hears(3), Preprocessing: Preprocessing{Audio: test.steps}}, test.says)
		})
	}
}

// Floats may be no numbers, which features would turn into anything.
func TestARecordingThatIsNotFinite(t *testing.T) {
	file := wavBytes(16000, make([]int16, 2*800)...)
	file[20], file[34] = 3, 32 // floats of 32 bits
	binary.LittleEndian.PutUint32(file[44+4*7:], math.Float32bits(float32(math.NaN())))
	d, err := Open(folder(t, map[string][]byte{"hi/a.wav": file}), Spec{Preprocessing: Preprocessing{Audio: &AudioSteps{Features: MicroFrontend, UpperHertz: "7000"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Train.Read(0, Sample(d.Train)); err == nil || !strings.Contains(err.Error(), "a.wav: value 7 is NaN") {
		t.Errorf("%v", err)
	}
}

// Links count as what they lead to, and one into itself ends nothing.
func TestLinkedFoldersAndFilesAreRead(t *testing.T) {
	elsewhere := folder(t, map[string][]byte{"cats/1.png": grayPNG(2, 2, 7), "one.png": grayPNG(2, 2, 9)})
	root := folder(t, map[string][]byte{"train/dog/1.png": grayPNG(2, 2, 8)})
	for from, to := range map[string]string{"cats": "train/cat", "one.png": "train/dog/2.png"} {
		if err := os.Symlink(filepath.Join(elsewhere, from), filepath.Join(root, to)); err != nil {
			t.Skip(err)
		}
	}
	for _, loop := range []string{"train/dog/again", "test"} {
		if err := os.Symlink(filepath.Join(root, "train"), filepath.Join(root, loop)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(root, Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Train.Len() != 3 || d.Test.Len() != 3 || !slices.Equal(d.ClassNames, []string{"cat", "dog"}) {
		t.Errorf("%d and %d samples of %v", d.Train.Len(), d.Test.Len(), d.ClassNames)
	}
	if err := os.Symlink(filepath.Join(root, "gone"), filepath.Join(root, "train/dog/3.png")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, Spec{}); err == nil || !strings.Contains(err.Error(), "3.png leads nowhere") {
		t.Errorf("a link to nothing: %v", err)
	}
}

func TestImagesThatAListNames(t *testing.T) {
	d, err := Open(folder(t, map[string][]byte{"img/1.png": grayPNG(2, 2, 7), "img/2.png": grayPNG(2, 2, 9), "train.csv": []byte("image,label\nimg/2.png,cat\nimg/1.png,dog\n"),
		"test.csv": []byte("image,label\nimg/1.png,dog\n")}), Spec{})
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
	if d.Train.Len() != 2 || d.Test.Len() != 1 || x[0][0] != 9 || y[0][0] != 0 || !slices.Equal(d.ClassNames, []string{"cat", "dog"}) {
		t.Errorf("%d and %d samples, the first %v of class %v; classes %v", d.Train.Len(), d.Test.Len(), x[0], y[0], d.ClassNames)
	}
}

func TestBitmapsAreRead(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 2, 1))
	img.Set(0, 0, color.RGBA{10, 20, 30, 255})
	img.Set(1, 0, color.RGBA{40, 50, 60, 255})
	var file bytes.Buffer
	if err := bmp.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	var s sample
	if err := decodeImage(file.Bytes(), &s); err != nil || !slices.Equal(s.shape, []int{1, 2, 3}) || !slices.Equal(s.values, []float32{10, 20, 30, 40, 50, 60}) {
		t.Errorf("%v %v, %v", s.shape, s.values, err)
	}
}

// Every kind of picture that the decoders give has the values that its pixels have in 8 bits, whatever their order in memory.
func TestPixelsOfEveryKindOfPicture(t *testing.T) {
	palette := color.Palette{color.RGBA{10, 20, 30, 255}, color.RGBA{40, 50, 60, 255}}
	for name, c := range map[string]struct {
		img interface {
			image.Image
			Set(x, y int, c color.Color)
		}
		want []float32
	}{
		"gray":                   {image.NewGray(image.Rect(0, 0, 2, 1)), []float32{18, 48}}, // luma of both
		"gray in 16 bits":        {image.NewGray16(image.Rect(0, 0, 2, 1)), []float32{18, 48}},
		"colours":                {image.NewRGBA(image.Rect(0, 0, 2, 1)), []float32{10, 20, 30, 40, 50, 60}},
		"colours in 16 bits":     {image.NewNRGBA64(image.Rect(0, 0, 2, 1)), []float32{10, 20, 30, 40, 50, 60}},
		"a palette":              {image.NewPaletted(image.Rect(0, 0, 2, 1), palette), []float32{10, 20, 30, 40, 50, 60}},
		"a part of a larger one": {image.NewRGBA(image.Rect(-5, -5, 9, 9)).SubImage(image.Rect(0, 0, 2, 1)).(*image.RGBA), []float32{10, 20, 30, 40, 50, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			c.img.Set(0, 0, palette[0])
			c.img.Set(1, 0, palette[1])
			var s sample
			if err := decodeImage(pngBytes(c.img), &s); err != nil || !slices.Equal(s.shape, []int{1, 2, len(c.want) / 2}) || !slices.Equal(s.values, c.want) {
				t.Errorf("%v %v, want %v; %v", s.shape, s.values, c.want, err)
			}
		})
	}
	see := image.NewNRGBA(image.Rect(0, 0, 1, 2))
	see.SetNRGBA(0, 0, color.NRGBA{200, 100, 50, 128})
	see.SetNRGBA(0, 1, color.NRGBA{1, 2, 3, 0})
	var s sample
	if err := decodeImage(pngBytes(see), &s); err != nil || !slices.Equal(s.values, []float32{200, 100, 50, 1, 2, 3}) {
		t.Errorf("what is see-through is %v, %v", s.values, err)
	}
}

// testdata/animated.webp is one of two images, written by Pillow 13 (save_all).
func TestAWebPOfSeveralImagesIsRefused(t *testing.T) {
	file, err := os.ReadFile("testdata/animated.webp")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, folder(t, map[string][]byte{"a/0.png": grayPNG(8, 8, 3), "a/1.webp": file}), Spec{}, []string{"1.webp: is an animated WebP: convert one image of it to PNG, or take it out"})
}

// refused opens a dataset that cannot be read, and looks for what is said of it.
func refused(t *testing.T, root string, spec Spec, says []string) {
	t.Helper()
	d, err := Open(root, spec)
	if err == nil {
		d.Close()
		t.Fatal("is read")
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}
