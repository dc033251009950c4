package dataset

import (
	"archive/zip"
	"image/color"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A leaf says how its inputs are made, and a dataset that comes with it later is made into them so without a word of the manifest.
func TestInputsAreMadeAsTheModelsFileSays(t *testing.T) {
	npz := func(members ...member) string {
		return filepath.Join(folder(t, map[string][]byte{"d.npz": npzBytes(zip.Store, members...)}), "d.npz")
	}
	sounds := folder(t, map[string][]byte{"hi/a.wav": wavBytes(8000, tone(256)...), "lo/b.wav": wavBytes(8000, tone(200)...)})
	pictures := folder(t, map[string][]byte{"a/0.png": pngBytes(picture(6, 5, color.RGBA{10, 80, 200, 255}, color.RGBA{250, 3, 9, 255})), "b/1.png": pngBytes(picture(6, 5, color.RGBA{1, 2, 3, 255}, color.RGBA{30, 60, 90, 255}))})
	arrays := npz(member{"x", npyBytes("|i1", []int{2, 3, 4, 2}, ramp(48))}, member{"y", npyBytes("<i4", []int{2}, []int32{0, 1})})
	clips := npz(member{"x", npyBytes("<i2", []int{2, 256}, tone(512))}, member{"y", npyBytes("<i4", []int{2}, []int32{0, 1})})
	features := func(s AudioSteps) Preprocessing {
		return Preprocessing{Audio: &s, Scale: "0.25", Offset: "1", Mean: []Number{"3"}, Std: []Number{"2"}}
	}
	for name, c := range map[string]struct {
		path  string
		input []int
		spec  Spec
		json  string // of the input, after its name
		said  string
	}{
		"MFCC": {sounds, []int{7, 10},
			Spec{Preprocessing: features(AudioSteps{Samples: 256, Features: MFCC, FrameLength: 64, FrameStep: 32, MelBands: 20, UpperHertz: "4000", LowerHertz: "50", Coefficients: 10})},
			`"sampleRate":8000,"samples":256,"features":"MFCC","frameLength":64,"frameStep":32,"fftLength":64,"melBands":20,"lowerHertz":50,"upperHertz":4000,"power":1,"logOffset":0.000001,"coefficients":10,"scale":[0.25],"offset":[1],"mean":[3],"std":[2],"shape":[7,10]`,
			"sound at 8000 Hz, MFCC, scale 0.25, offset 1, mean 3, std 2"},
		"log-mel": {sounds, []int{7, 10},
			Spec{Preprocessing: features(AudioSteps{Samples: 256, Features: LogMel, FrameLength: 64, FrameStep: 32, MelBands: 10, UpperHertz: "3000", LowerHertz: "100", LogOffset: "1e-3", Power: 2})},
			`"sampleRate":8000,"samples":256,"features":"LogMel","frameLength":64,"frameStep":32,"fftLength":64,"melBands":10,"lowerHertz":100,"upperHertz":3000,"power":2,"logOffset":0.001,"scale":[0.25],"offset":[1],"mean":[3],"std":[2],"shape":[7,10]`,
			"sound at 8000 Hz, LogMel, scale 0.25, offset 1, mean 3, std 2"},
		"micro front end": {sounds, []int{7, 10},
			Spec{Preprocessing: Preprocessing{Audio: &AudioSteps{Samples: 256, Features: MicroFrontend, FrameLength: 64, FrameStep: 32, MelBands: 10, UpperHertz: "3500", LowerHertz: "100"}}},
			`"sampleRate":8000,"samples":256,"features":"MicroFrontend","frameLength":64,"frameStep":32,"fftLength":64,"melBands":10,"lowerHertz":100,"upperHertz":3500,"gainControl":true,"shape":[7,10]`,
			"sound at 8000 Hz, MicroFrontend"},
		"sound as it is": {sounds, []int{128}, Spec{Preprocessing: Preprocessing{Audio: &AudioSteps{SampleRate: 4000, Samples: 128}}},
			`"sampleRate":4000,"samples":128,"shape":[128]`, "sound at 4000 Hz"},
		"arrays of sound": {clips, []int{7, 10},
			Spec{Preprocessing: Preprocessing{Audio: &AudioSteps{SampleRate: 8000, Features: LogMel, FrameLength: 64, FrameStep: 32, MelBands: 10}}},
			`"sampleRate":8000,"samples":256,"features":"LogMel","frameLength":64,"frameStep":32,"fftLength":64,"melBands":10,"lowerHertz":20,"upperHertz":4000,"power":1,"logOffset":0.000001,"shape":[7,10]`,
			"sound at 8000 Hz, LogMel"},
		"arrays of sound as it is": {clips, []int{256}, Spec{Preprocessing: Preprocessing{Audio: &AudioSteps{SampleRate: 8000}}},
			`"sampleRate":8000,"samples":256,"shape":[256]`, "sound at 8000 Hz"},
		"images": {pictures, []int{4, 4, 3},
			Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 8, Width: 5}, Crop: &Size{Height: 4, Width: 4}, Channels: BGR, Scale: "1/255", Mean: []Number{"0.485", "0.456", "0.406"}, Std: []Number{"0.5"}}},
			`"resize":{"height":8,"width":5,"method":"Bilinear"},"crop":{"height":4,"width":4},"channels":"BGR","scale":[0.00392156862745098],"mean":[0.485,0.456,0.406],"std":[0.5]`,
			"resized to 8 × 5, cropped to 4 × 4, BGR, scale 0.003922, mean of 3 channels, std 0.5"},
		"images made gray and flat": {pictures, []int{12},
			Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 3, Width: 4, Method: Nearest}, Channels: Gray, Offset: "-128", Reshape: []int{12}}},
			`"resize":{"height":3,"width":4,"method":"Nearest"},"channels":"Gray","offset":[-128],"shape":[12]`, "resized to 3 × 4, Gray, offset -128, reshaped to [12]"},
		"the same for all channels": {pictures, []int{6, 5, 3}, Spec{Preprocessing: Preprocessing{Mean: []Number{"7", "7", "7"}, Std: []Number{"1", "2", "1"}}},
			`"mean":[7],"std":[1,2,1]`, "mean 7, std of 3 channels"},
		"integers, channels first": {arrays, []int{4, 2, 3}, Spec{Stored: Stored{Layout: ChannelsFirst, Scale: "1/3", ZeroPoint: -7}},
			`"stored":{"layout":"ChannelsFirst","scale":0.3333333333333333,"zeroPoint":-7}`, "stored integers, ChannelsFirst"},
		"integers of another zero": {arrays, []int{3, 4, 2}, Spec{Stored: Stored{Layout: ChannelsLast, ZeroPoint: 3}, Augmentation: Augmentation{HorizontalFlip: true}},
			`"stored":{"zeroPoint":3}`, "stored integers"},
		"as stored":                         {pictures, []int{6, 5, 3}, Spec{}, "", ""},
		"as stored, by a word":              {pictures, []int{6, 5, 3}, Spec{Preprocessing: Preprocessing{Scale: "1"}}, "", ""},
		"as stored, varied for training":    {pictures, []int{6, 5, 3}, Spec{Augmentation: Augmentation{HorizontalFlip: true}}, "", ""},
		"raw data, which a type is told of": {arrays, []int{3, 4, 2}, Spec{Stored: Stored{Type: Int8}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Network = &Network{Inputs: []Input{{Names: []string{"in"}, Shape: c.input}}, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}
			first, err := Open(c.path, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			about, err := first.MadeJSON()
			if err != nil {
				t.Fatal(err)
			}
			if c.json == "" {
				if about != nil || first.Made != nil {
					t.Errorf("%s", about)
				}
				return
			}
			if want := `{"inputs":[{"input":"in",` + c.json + `}]}`; string(about) != want {
				t.Errorf("got  %s\nwant %s", about, want)
			}
			again, err := Open(c.path, Spec{Network: c.spec.Network, Made: about})
			if err != nil {
				t.Fatalf("%v: %s", err, about)
			}
			defer again.Close()
			if diff := cmp.Diff(first.Made, again.Made); diff != "" {
				t.Errorf("%s:\n%s", about, diff)
			}
			if diff := cmp.Diff(read(t, first.Test), read(t, again.Test)); diff != "" {
				t.Error(diff)
			}
			if want := "input in is made as the model's file says: " + c.said + " (preprocessing: {scale: 1} takes samples as they are)"; !strings.Contains(strings.Join(again.Notes, "\n")+"\n", want+"\n") {
				t.Errorf("%q lack %q", again.Notes, want)
			}
			told, err := Open(c.path, Spec{Network: c.spec.Network, Made: []byte(`{"inputs":[{"input":"in","scale":[9]}]}`), Preprocessing: c.spec.Preprocessing, Stored: c.spec.Stored})
			if err != nil {
				t.Fatal(err)
			}
			defer told.Close()
			if diff := cmp.Diff(first.Made, told.Made); diff != "" {
				t.Errorf("what the manifest says does not count:\n%s", diff)
			}
		})
	}
}

// What a model's file says is of no use to samples of another kind, and what is damaged is said.
func TestWhatAModelsFileSaysOfOtherSamples(t *testing.T) {
	sounds := folder(t, map[string][]byte{"hi/a.wav": wavBytes(8000, tone(70)...), "lo/b.wav": wavBytes(8000, tone(70)...)})
	pictures := folder(t, map[string][]byte{"a/0.png": grayPNG(7, 10, 40), "b/1.png": grayPNG(7, 10, 80)})
	arrays := filepath.Join(folder(t, map[string][]byte{"d.npz": npzBytes(zip.Store,
		member{"x_in", npyBytes("<f4", []int{1, 7, 10}, make([]float32, 70))}, member{"x_ids", npyBytes("<i4", []int{1, 2}, []int32{5, 6})})}), "d.npz")
	in, ids := Input{Names: []string{"in"}, Shape: []int{7, 10}}, Input{Names: []string{"ids"}, Shape: []int{2}, Integer: true}
	const mfcc = `{"inputs":[{"input":"in","sampleRate":8000,"samples":256,"features":"MFCC","frameLength":64,"frameStep":32,"fftLength":64,"melBands":20,"lowerHertz":50,"upperHertz":4000,"power":1,"logOffset":1e-6,"coefficients":10,"scale":[2],"shape":[7,10]}]}`
	for name, c := range map[string]struct {
		path   string
		inputs []Input
		made   string
		want   []float32 // the first value of each input
		err    string
	}{
		"features that are there already":   {arrays, []Input{in, ids}, mfcc, []float32{0, 5}, ""},
		"images, of sound":                  {pictures, []Input{in}, mfcc, []float32{40}, ""},
		"images, of images":                 {pictures, []Input{in}, `{"inputs":[{"input":"IN","scale":[0.5],"offset":[1],"mean":[0],"std":[1]}]}`, []float32{21}, ""},
		"recordings, of images":             {sounds, []Input{in}, `{"inputs":[{"input":"in","scale":[0]}]}`, []float32{float32(tone(1)[0]) / 32768}, ""},
		"one of two inputs":                 {arrays, []Input{in, ids}, `{"inputs":[{"input":"in","offset":[3]}]}`, []float32{3, 5}, ""},
		"another input":                     {pictures, []Input{in}, `{"inputs":[{"input":"other","scale":[0.5]}]}`, []float32{40}, ""},
		"nothing":                           {pictures, []Input{in}, `{}`, []float32{40}, ""},
		"no JSON":                           {pictures, []Input{in}, `{`, nil, "the model's metadata espalier.preprocessing cannot be read: say in preprocessing how its inputs are made, scale: 1 if they are as stored"},
		"of another kind":                   {pictures, []Input{in}, `{"inputs":[{"input":"in","scale":"1/255"}]}`, nil, "the model's metadata espalier.preprocessing cannot be read"},
		"a shape that is not the samples'":  {pictures, []Input{in}, `{"inputs":[{"input":"in","shape":[3]}]}`, nil, "preprocessing.reshape [3] has 3 elements, samples of shape [7 10 1] have 70"},
		"a size that no image has":          {pictures, []Input{in}, `{"inputs":[{"input":"in","resize":{"height":-1,"width":4}}]}`, nil, "preprocessing.resize to -1 × 4 pixels is not possible"},
		"channels that the samples lack":    {pictures, []Input{in}, `{"inputs":[{"input":"in","mean":[1,2,3]}]}`, nil, "input in cannot be made as the model's file says: preprocessing.mean has 3 numbers: want 1, or 1"},
		"a scale for each channel":          {pictures, []Input{in}, `{"inputs":[{"input":"in","scale":[1,2,3]}]}`, nil, "input in cannot be made as the model's file says: its scale and offset are to be one number each, not 3; say in preprocessing"},
		"a rate that no recording could be": {sounds, []Input{in}, `{"inputs":[{"input":"in","sampleRate":-8000}]}`, nil, "input in cannot be made as the model's file says: preprocessing.audio.sampleRate is -8000"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(c.path, Spec{Network: &Network{Inputs: c.inputs, Outputs: []Output{{Names: []string{"out"}, Shape: []int{2}}}}, Made: []byte(c.made)})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			x := Sample(d.Train)
			if err := d.Train.Read(0, x); err != nil {
				t.Fatal(err)
			}
			for k, want := range c.want {
				if x[k][0] != want {
					t.Errorf("input %d begins with %v, want %v; notes %q", k, x[k][0], want, d.Notes)
				}
			}
		})
	}
}
