package dataset

import (
	"archive/zip"
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// npzWith is a folder with d.npz of four samples [2], labels and, instead of them, what is given.
func npzWith(changed ...member) map[string][]byte {
	members := []member{
		{"x_train", npyBytes("<f4", []int{4, 2}, make([]float32, 8))}, {"y_train", npyBytes("<i4", []int{4}, []int32{0, 1, 0, 1})},
		{"x_test", npyBytes("<f4", []int{1, 2}, make([]float32, 2))}, {"y_test", npyBytes("<i4", []int{1}, []int32{1})}}
	for _, c := range changed {
		for i, m := range members {
			if m.name == c.name {
				members[i] = c
			}
		}
	}
	return map[string][]byte{"d.npz": npzBytes(zip.Deflate, members...)}
}

func TestOpenErrors(t *testing.T) {
	nan := float32(math.NaN())
	whole := npzBytes(zip.Store, member{"x", npyBytes("<f4", []int{100}, make([]float32, 100))})
	flipped := bytes.Clone(whole)
	flipped[200] ^= 1
	record := recordBytes(example(map[string]any{"image": []float32{1, 2}, "label": []int64{1}}))
	wrongCRC := bytes.Clone(record)
	wrongCRC[len(wrongCRC)-1] ^= 1
	wrongLength := bytes.Clone(record)
	wrongLength[2] ^= 1
	wrongSum := gzipped(npyBytes("|u1", []int{500}, ramp(500)))
	wrongSum[len(wrongSum)-8] ^= 1
	claim := npyBytes("<f4", []int{1 << 30, 1 << 20}, []float32{1})
	mnist := idxBytes(8, []int{2, 2, 2}, ramp(8))

	tests := map[string]struct {
		files map[string][]byte
		path  string
		spec  Spec
		want  []string // parts of the message
	}{
		"no such file":                 {path: "d.npz", want: []string{"no such file"}},
		"an empty folder":              {want: []string{"empty folder"}},
		"an unknown kind of file":      {files: map[string][]byte{"a.h5": {1}}, path: "a.h5", want: []string{"no known format", "dataset.format"}},
		"a recording":                  {files: map[string][]byte{"yes.WAV": {1}}, path: "yes.WAV", want: []string{"one sample", "the folder that it lies in"}},
		"an image":                     {files: map[string][]byte{"cat.jpg": {1}}, path: "cat.jpg", want: []string{"one sample", "the folder that it lies in"}},
		"an unknown format":            {files: npzWith(), path: "d.npz", spec: Spec{Format: "HDF5"}, want: []string{`"HDF5"`, "NPZ"}},
		"arrays under other names":     {files: npzWith(), path: "d.npz", spec: Spec{Samples: Samples{"": "images"}}, want: []string{"images_train", "x_test, x_train", "dataset.samples"}},
		"several inputs":               {files: map[string][]byte{"d.npz": npzBytes(zip.Store, member{"x_train_0", nil}, member{"x_train_1", nil})}, path: "d.npz", want: []string{"x_train_0"}},
		"a state that is not named":    {files: npzWith(), path: "d.npz", spec: Spec{Network: &Network{Inputs: []Input{{Names: []string{"h"}, Shape: []int{8}}, {Names: []string{"frame"}, Shape: []int{6}}}}}, want: []string{"fewer arrays", "h [8]", "--state h=OUTPUT"}},
		"a label past the classes":     {files: npzWith(), path: "d.npz", spec: Spec{Classes: 1}, want: []string{"y_train: sample 1", "label 1", "0 … 0"}},
		"a negative label":             {files: npzWith(member{"y_train", npyBytes("<i4", []int{4}, []int32{0, 1, -1, 0})}), path: "d.npz", want: []string{"y_train", "sample 2: label -1", "Values"}},
		"labels of another number":     {files: npzWith(member{"y_train", npyBytes("<i4", []int{3}, make([]int32, 3))}), path: "d.npz", want: []string{"y_train has 3 entries for 4 samples"}},
		"fractions declared classes":   {files: npzWith(member{"y_train", npyBytes("<f4", []int{4}, []float32{0, 0.5, 1, 1})}), path: "d.npz", spec: Spec{Target: Classes}, want: []string{"sample 1: label 0.5"}},
		"rows declared classes":        {files: npzWith(member{"y_train", npyBytes("<f4", []int{4, 2}, []float32{0, 1, 1, 1, 0, 1, 0, 1})}, member{"y_test", npyBytes("<f4", []int{1, 2}, []float32{0, 1})}), path: "d.npz", spec: Spec{Target: Classes}, want: []string{"row 1 is not one-hot"}},
		"test samples unlike training": {files: npzWith(member{"x_test", npyBytes("<f4", []int{1, 3}, make([]float32, 3))}), path: "d.npz", want: []string{"x_test: sample 0 has shape [3]", "[2]"}},
		"no samples":                   {files: npzWith(member{"x_test", npyBytes("<f4", []int{0, 2}, []float32{})}, member{"y_test", npyBytes("<i4", []int{0}, []int32{})}), path: "d.npz", want: []string{"x_test is empty"}},
		"text arrays":                  {files: npzWith(member{"x_test", npyBytes("<U8", []int{1, 2}, make([]byte, 64))}), path: "d.npz", want: []string{`"x_test"`, "<U8", "astype"}},
		"a truncated .npz":             {files: map[string][]byte{"d.npz": whole[:len(whole)-40]}, path: "d.npz", want: []string{"truncated"}},
		"a changed byte in an .npz":    {files: map[string][]byte{"d.npz": flipped}, path: "d.npz", want: []string{"checksum"}},
		"an array larger than its data": {files: map[string][]byte{"d.npz": npzBytes(zip.Deflate, member{"x", npyBytes("<f4", []int{3}, make([]float32, 2))})}, path: "d.npz",
			want: []string{"shape [3] needs 12 bytes, there are 8"}},
		"an array of absurd shape":        {files: map[string][]byte{"x.npy": claim}, path: "x.npy", want: []string{"truncated"}},
		"an absurd shape, compressed":     {files: map[string][]byte{"x.npy.gz": gzipped(claim)}, path: "x.npy.gz", want: []string{"damaged"}},
		"a truncated .gz":                 {files: map[string][]byte{"x.npy.gz": gzipped(npyBytes("|u1", []int{500}, ramp(500)))[:150]}, path: "x.npy.gz", want: []string{"truncated"}},
		"no .npy data":                    {files: map[string][]byte{"x.npy": []byte("hello, world")}, path: "x.npy", want: []string{"NUMPY"}},
		"column by column":                {files: map[string][]byte{"x.npy": bytes.Replace(npyBytes("|u1", []int{2, 2}, ramp(4)), []byte("False"), []byte("True "), 1)}, path: "x.npy", want: []string{"ascontiguousarray"}},
		"a truncated IDX file":            {files: map[string][]byte{"train-images-idx3-ubyte": mnist[:20]}, want: []string{"train-images-idx3-ubyte ends", "truncated"}},
		"an IDX file with more":           {files: map[string][]byte{"train-images-idx3-ubyte": append(bytes.Clone(mnist), 1)}, want: []string{"goes on after its data"}},
		"no IDX file":                     {files: map[string][]byte{"train-images-idx3-ubyte": []byte("<html>")}, want: []string{"no IDX file"}},
		"an absurd IDX header":            {files: map[string][]byte{"train-images-idx3-ubyte.gz": gzipped(idxBytes(8, []int{1 << 31, 1 << 20, 4}, ramp(1)))}, want: []string{"shape"}},
		"raw data of unknown type":        {files: map[string][]byte{"x.bin": {1}}, path: "x.bin", want: []string{"stored.type and stored.shape"}},
		"raw data that does not divide":   {files: map[string][]byte{"x.bin": ramp(7)}, path: "x.bin", spec: Spec{Stored: Stored{Type: Uint8, Shape: []int{3}}}, want: []string{"7 bytes", "[3]"}},
		"a table of words and numbers":    {files: map[string][]byte{"x.bin": ramp(2), "x.csv": []byte("1,dog\n2,cat\n")}, path: "x.bin", spec: Spec{Stored: Stored{Type: Uint8, Shape: []int{1}}}, want: []string{`"dog" is no number`, "`label`"}},
		"a record's wrong checksum":       {files: map[string][]byte{"a.tfrecord": wrongCRC}, path: "a.tfrecord", want: []string{"record 0 at byte 0", "wrong checksum"}},
		"a record's wrong length":         {files: map[string][]byte{"a.tfrecord": wrongLength}, path: "a.tfrecord", want: []string{"wrong checksum of its length"}},
		"a truncated record":              {files: map[string][]byte{"a.tfrecord": record[:len(record)-6]}, path: "a.tfrecord", want: []string{"truncated"}},
		"a record that is no example":     {files: map[string][]byte{"a.tfrecord": recordBytes([]byte("\xff\xff"))}, path: "a.tfrecord", want: []string{"no tf.train.Example"}},
		"records without the feature":     {files: map[string][]byte{"a.tfrecord": record}, path: "a.tfrecord", spec: Spec{Samples: Samples{"": "audio"}}, want: []string{`"audio"`, "image, label"}},
		"records of two shapes":           {files: map[string][]byte{"a.tfrecord": append(bytes.Clone(record), recordBytes(example(map[string]any{"image": []float32{1}, "label": []int64{1, 2}}))...)}, path: "a.tfrecord", want: []string{"record 1", "2 values, others have 1"}},
		"no records":                      {files: map[string][]byte{"a.tfrecord": nil}, path: "a.tfrecord", want: []string{"is empty"}},
		"a folder without images":         {files: map[string][]byte{"cat/readme.md": nil}, want: []string{"no .png, .jpg, .jpeg, .webp, .bmp files"}},
		"images of several sizes":         {files: map[string][]byte{"a/1.png": grayPNG(1, 1, 0), "b/2.png": grayPNG(2, 2, 0)}, want: []string{"differ in size", "preprocessing.resize"}},
		"gray and coloured images":        {files: map[string][]byte{"a/1.png": grayPNG(1, 1, 0), "b/2.png": pngBytes(picture(1, 1, red, red))}, want: []string{"preprocessing.channels"}},
		"an image beside classes":         {files: map[string][]byte{"1.png": grayPNG(1, 1, 0), "b/2.png": grayPNG(1, 1, 0)}, want: []string{"beside the folders"}},
		"an image that is none":           {files: map[string][]byte{"a/1.png": []byte("no image at all")}, want: []string{"1.png", "neither PNG nor JPEG"}},
		"a crop larger than the image":    {files: map[string][]byte{"a/1.png": grayPNG(2, 2, 0)}, spec: Spec{Preprocessing: Preprocessing{Crop: &Size{3, 2}}}, want: []string{"crop to 3 × 2", "2 × 2"}},
		"a reshape of other size":         {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Reshape: []int{3}}}, want: []string{"reshape [3]", "[2]"}},
		"means of another number":         {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Mean: []Number{"1", "2", "3"}}}, want: []string{"preprocessing.mean has 3", "want 1, or 2"}},
		"a number that is none":           {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Scale: "1/x"}}, want: []string{"preprocessing.scale", `"1/x"`}},
		"a zero standard deviation":       {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Std: []Number{"0"}}}, want: []string{"preprocessing.std"}},
		"resizing what has no height":     {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 1, Width: 1}}}, want: []string{"[height, width]", "[2]"}},
		"channels first of two":           {files: npzWith(), path: "d.npz", spec: Spec{Stored: Stored{Layout: ChannelsFirst}}, want: []string{"[channels, height, width]"}},
		"splitting what is split":         {files: npzWith(), path: "d.npz", spec: Spec{Split: Split{Test: "0.5"}}, want: []string{"split.test", "its own test"}},
		"a split that leaves nothing":     {files: npzWith(), path: "d.npz", spec: Spec{Split: Split{Validation: "0.99"}}, want: []string{"4 samples cannot be split"}},
		"a split of all":                  {files: npzWith(), path: "d.npz", spec: Spec{Split: Split{Validation: "0.5", Test: "0.5"}}, want: []string{"split leaves no training samples: validation 0.5 and test 0.5"}},
		"a wrong checksum of a .gz":       {files: map[string][]byte{"x.npy.gz": wrongSum}, path: "x.npy.gz", want: []string{"x.npy.gz", "checksum"}},
		"a fraction over 1":               {files: npzWith(), path: "d.npz", spec: Spec{Split: Split{Validation: "2"}}, want: []string{"split.validation is 2"}},
		"padding without a crop":          {files: npzWith(), path: "d.npz", spec: Spec{Augmentation: Augmentation{Padding: 2}}, want: []string{"randomCrop"}},
		"labels of one split unlike":      {files: npzWith(member{"y_test", npyBytes("<f4", []int{1, 3}, make([]float32, 3))}), path: "d.npz", want: []string{"y_test has shape [3]", "y_train has []"}},
		"an empty name of a class":        {files: npzWith(member{"y_train", npyBytes("|S1", []int{4}, []byte("ab\x00b"))}, member{"y_test", npyBytes("|S1", []int{1}, []byte("a"))}), path: "d.npz", want: []string{"y_train: sample 2", "label is empty"}},
		"an empty label of an array":      {files: map[string][]byte{"x.bin": ramp(3), "x.csv": []byte("id,label\n1,dog\n2,\n3,cat\n")}, path: "x.bin", spec: Spec{Stored: Stored{Type: Uint8, Shape: []int{1}}}, want: []string{"x.csv", "line 3", "label is empty"}},
		"targets that are no numbers":     {files: npzWith(member{"y_train", npyBytes("|O", []int{4}, make([]byte, 32))}), path: "d.npz", want: []string{`"y_train"`, "objects"}},
		"a NaN in a sample (when read)":   {files: npzWith(member{"x_test", npyBytes("<f4", []int{1, 2}, []float32{0, nan})}), path: "d.npz", want: []string{"x_test: sample 0: value 1 is NaN"}},
		"an Inf in a sample (when read)":  {files: npzWith(), path: "d.npz", spec: Spec{Preprocessing: Preprocessing{Offset: "1e300"}}, want: []string{"sample 0: value 0 is +Inf"}},
		"an image truncated (when read)":  {files: map[string][]byte{"a/1.png": pngBytes(picture(9, 9, red, gray))[:60]}, want: []string{"1.png", "truncated"}},
		"a JPEG without its end":          {files: map[string][]byte{"a/1.jpg": jpegBytes(picture(9, 9, red, gray))[:620]}, want: []string{"1.jpg", "invalid JPEG format"}},
		"a file where a folder should be": {files: npzWith(), path: "d.npz", spec: Spec{Format: IDX}, want: []string{"format IDX is a folder"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Open(filepath.Join(folder(t, tt.files), tt.path), tt.spec)
			if err == nil {
				defer d.Close()
				err = d.Test.Read(0, Sample(d.Test))
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	d, err := Open(filepath.Join(folder(t, npzWith()), "d.npz"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Train.Read(4, Sample(d.Train)); err == nil || !strings.Contains(err.Error(), "sample 4: there are 4") {
		t.Errorf("reading past the end: %v", err)
	}
	if err := d.Train.Read(0, [][]float32{make([]float32, 3)}); err == nil || !strings.Contains(err.Error(), "2 elements (shape [2]), not 3") {
		t.Errorf("reading into another length: %v", err)
	}
	if err := d.Train.Truth(0, nil); err == nil || !strings.Contains(err.Error(), "1 targets, not 0") {
		t.Errorf("as many targets as there are none: %v", err)
	}
}

func TestFit(t *testing.T) {
	classes, err := Open(filepath.Join(folder(t, npzWith()), "d.npz"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	defer classes.Close()
	tests := map[string]struct {
		data   *Dataset
		inputs [][]int
		want   string
	}{
		"the same shape fits":                          {classes, [][]int{{2}}, ""},
		"dimensions of 1 do not matter":                {classes, [][]int{{1, 2, 1}}, ""},
		"the same number of values can be reshaped":    {classes, [][]int{{2, 1, 1, 1, 1}, {1}}, "the model has 2"},
		"another number of values is another dataset":  {classes, [][]int{{3}}, "shape [2] (2 values), the model's input is [3] (3 values)"},
		"values that are missing have no resize":       {classes, [][]int{{3}}, "dataset.samples and dataset.labels"},
		"images are resized":                           {mustImage(t), [][]int{{4, 4}}, "preprocessing.resize"},
		"a model without inputs is not for a dataset":  {classes, nil, "the model has 0"},
		"the remedy of a reshape is named, ready made": {mustReshape(t), [][]int{{4, 1, 2}}, "preprocessing.reshape: [4, 1, 2]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.data.Fit(tt.inputs)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func mustImage(t *testing.T) *Dataset {
	d, err := Open(filepath.Join(folder(t, map[string][]byte{"x.npy": npyBytes("|u1", []int{1, 2, 2}, ramp(4))}), "x.npy"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestIntegersOf8BitsAreNoted(t *testing.T) {
	for name, tt := range map[string]struct {
		descr string
		spec  Spec
		noted bool
	}{
		"int8 as it is":        {"|i1", Spec{}, true},
		"int8 of a scale":      {"|i1", Spec{Stored: Stored{Scale: "0.5"}}, false},
		"uint8, as pixels are": {"|u1", Spec{}, false},
		"int8 that is ids":     {"|i1", Spec{Network: &Network{Inputs: []Input{{Names: []string{"ids"}, Shape: []int{8}, Integer: true}}}}, false},
	} {
		d, err := Open(filepath.Join(folder(t, map[string][]byte{"x.npy": npyBytes(tt.descr, []int{1, 8}, ramp(8))}), "x.npy"), tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if noted := strings.Contains(strings.Join(d.Notes, ";"), "x.npy holds integers of 8 bits"); noted != tt.noted {
			t.Errorf("%s: notes %q", name, d.Notes)
		}
	}
}

func mustReshape(t *testing.T) *Dataset {
	d, err := Open(filepath.Join(folder(t, map[string][]byte{"x.npy": npyBytes("|u1", []int{1, 8}, ramp(8))}), "x.npy"), Spec{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
