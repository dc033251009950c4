package audio

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
)

// signal is the sound that testdata/tfsignal.json is of: three tones and noise in 16 bits, 0.2 s of 8 kHz. Without the noise there would be
// bands that hold TensorFlow's own rounding alone.
func signal() []float32 {
	x := make([]float32, 1600)
	seed := uint32(1)
	for i := range x {
		t := float64(i) / 8000
		v := 0.4*math.Sin(2*math.Pi*440*t) + 0.2*math.Sin(2*math.Pi*1300*t+1)*float64(i)/1599 + 0.05*math.Cos(2*math.Pi*3100*t)
		seed = seed*1664525 + 1013904223
		v = float64(float32(v)) + 0.1*(float64(seed)/(1<<32)-0.5)
		x[i] = float32(math.RoundToEven(float64(float32(v))*32768) / 32768)
	}
	return x
}

func TestFeaturesAreTensorFlows(t *testing.T) {
	data, err := os.ReadFile("testdata/tfsignal.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			FrameLength, FrameStep, FFTLength, MelBands, Power, Coefficients int
			Lower, Upper                                                     float64
			LogMel, MFCC                                                     [][]float32
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 2 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		for kind, want := range map[Kind][][]float32{LogMel: c.LogMel, MFCC: c.MFCC} {
			e, err := NewExtractor(Features{Kind: kind, Rate: 8000, FrameLength: c.FrameLength, FrameStep: c.FrameStep, FFTLength: c.FFTLength,
				Power: c.Power, MelBands: c.MelBands, Lower: c.Lower, Upper: c.Upper, Offset: 1e-6, Count: c.Coefficients})
			if err != nil {
				t.Fatal(err)
			}
			x := signal()
			shape := e.Shape(len(x))
			if shape[0] != len(want) || shape[1] != len(want[0]) {
				t.Fatalf("%s has shape %v, want %d × %d", kind, shape, len(want), len(want[0]))
			}
			got := make([]float32, shape[0]*shape[1])
			e.Extract(x, got)
			worst := 0.0
			for i, row := range want {
				for j, v := range row {
					worst = max(worst, math.Abs(float64(got[i*shape[1]+j]-v)))
				}
			}
			if worst > 1e-4 {
				t.Errorf("%s of frames of %d is up to %g from TensorFlow's", kind, c.FrameLength, worst)
			}
		}
	}
}

func TestFeaturesThatAreNotPossible(t *testing.T) {
	good := Features{Kind: MFCC, Rate: 16000, FrameLength: 640, FrameStep: 320, FFTLength: 1024, Power: 1, MelBands: 40, Lower: 20, Upper: 4000, Offset: 1e-6, Count: 10}
	for want, change := range map[string]func(*Features){
		"features":     func(f *Features) { f.Kind = "Loud" },
		"sampleRate":   func(f *Features) { f.Rate = 0 },
		"frameStep":    func(f *Features) { f.FrameStep = 0 },
		"fftLength":    func(f *Features) { f.FFTLength = 512 },
		"power":        func(f *Features) { f.Power = 3 },
		"melBands":     func(f *Features) { f.MelBands = 600 },
		"8000":         func(f *Features) { f.Upper = 9000 },
		"logOffset":    func(f *Features) { f.Offset = 0 },
		"coefficients": func(f *Features) { f.Count = 41 },
	} {
		f := good
		change(&f)
		if _, err := NewExtractor(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := NewExtractor(good); err != nil {
		t.Error(err)
	}
}

// The tables are those of Python 3.11's audioop.ulaw2lin and alaw2lin(bytes(range(256)), 2), its 16 bits.
func TestLogarithmicCodesAreG711s(t *testing.T) {
	data, err := os.ReadFile("testdata/g711.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ ULaw, ALaw [256]int }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for format, want := range map[int][256]int{formatMuLaw: golden.ULaw, formatALaw: golden.ALaw} {
		file := wave(format, 1, 8000, 8, []byte("fact\x04\x00\x00\x00\x00\x01\x00\x00"), codes)
		c, err := Decode(bytes.NewReader(file), int64(len(file)))
		if err != nil || len(c.Samples) != 256 {
			t.Fatal(err, len(c.Samples))
		}
		for code, v := range want {
			if got := c.Samples[code]; got != float32(v)/32768 {
				t.Errorf("format %d: code %d is %v, want %d/32768", format, code, got, v)
			}
		}
	}
}

// wide writes an RF64 file, or one under another name, whose sizes are in a chunk of their own.
func wide(name string, dataSize uint64, file []byte) []byte {
	out := append([]byte(name+"\xff\xff\xff\xffWAVEds64"), 28, 0, 0, 0)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(file)+36-8))
	out = binary.LittleEndian.AppendUint64(out, dataSize)
	out = append(out, make([]byte, 12)...)
	out = append(out, file[12:]...)
	at := bytes.LastIndex(out, []byte("data")) + 4
	copy(out[at:], "\xff\xff\xff\xff")
	return out
}

// extensible writes a WAV file whose format is in the first bytes of a GUID; valid are the bits that hold something.
func extensible(format, channels, rate, bits, valid int, data []byte) []byte {
	plain := wave(formatExtensible, channels, rate, bits, nil, data)
	guid := []byte{byte(format), 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71}
	out := append([]byte{}, plain[:36]...)
	out[16] = 40
	out = append(append(out, 22, 0, byte(valid), 0, 4, 0, 0, 0), guid...)
	return append(out, plain[36:]...)
}

// wave writes a WAV file; extra goes between header and data.
func wave(format, channels, rate, bits int, extra, data []byte) []byte {
	var f bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&f, binary.LittleEndian, v)
		}
	}
	put([]byte("RIFF"), uint32(36+len(extra)+len(data)), []byte("WAVEfmt "), uint32(16), uint16(format), uint16(channels), uint32(rate),
		uint32(rate*channels*bits/8), uint16(channels*bits/8), uint16(bits), extra, []byte("data"), uint32(len(data)), data)
	return f.Bytes()
}

func TestDecode(t *testing.T) {
	list := append([]byte("LIST\x03\x00\x00\x00"), 1, 2, 3, 0) // of odd length, padded
	float := make([]byte, 8)
	binary.LittleEndian.PutUint32(float, math.Float32bits(0.25))
	binary.LittleEndian.PutUint32(float[4:], math.Float32bits(-1))
	piped := wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128})
	binary.LittleEndian.PutUint32(piped[40:], math.MaxUint32)
	for name, test := range map[string]struct {
		file []byte
		want []float32
	}{
		"8 bits":                   {wave(formatPCM, 1, 8000, 8, nil, []byte{128, 0, 255}), []float32{0, -1, 127.0 / 128}},
		"16 bits":                  {wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128}), []float32{0.5, -1}},
		"24 bits":                  {wave(formatPCM, 1, 8000, 24, nil, []byte{0, 0, 64, 0, 0, 128}), []float32{0.5, -1}},
		"32 bits":                  {wave(formatPCM, 1, 8000, 32, nil, []byte{0, 0, 0, 64}), []float32{0.5}},
		"floats":                   {wave(formatFloat, 1, 8000, 32, nil, float), []float32{0.25, -1}},
		"stereo is averaged":       {wave(formatPCM, 2, 8000, 16, nil, []byte{0, 64, 0, 0, 0, 128, 0, 0}), []float32{0.25, -0.5}},
		"another chunk before":     {wave(formatPCM, 1, 8000, 16, list, []byte{0, 64}), []float32{0.5}},
		"a length that is unknown": {piped, []float32{0.5, -1}},
		"doubles":                  {wave(formatFloat, 1, 8000, 64, nil, binary.LittleEndian.AppendUint64(nil, math.Float64bits(-0.75))), []float32{-0.75}},
		"extensible, 24 bits":      {extensible(formatPCM, 1, 8000, 24, 24, []byte{0, 0, 64, 0, 0, 128}), []float32{0.5, -1}},
		"24 bits in 32":            {extensible(formatPCM, 1, 8000, 32, 24, []byte{0, 0, 0, 64}), []float32{0.5}},
		"extensible, floats":       {extensible(formatFloat, 1, 8000, 32, 32, float), []float32{0.25, -1}},
		"extensible, A-law":        {extensible(formatALaw, 1, 8000, 8, 8, []byte{0xd5, 0x55}), []float32{8.0 / 32768, -8.0 / 32768}},
		"RF64":                     {wide("RF64", 4, wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128, 'L', 'I', 'S', 'T'})), []float32{0.5, -1}},
		"BW64":                     {wide("BW64", 2, wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128})), []float32{0.5}},
		"RF64 of no known length":  {wide("RF64", math.MaxUint64, wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128})), []float32{0.5, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Decode(bytes.NewReader(test.file), int64(len(test.file)))
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Samples) != len(test.want) || c.Rate != 8000 {
				t.Fatalf("%d samples of %d Hz", len(c.Samples), c.Rate)
			}
			for i, v := range test.want {
				if c.Samples[i] != v {
					t.Errorf("sample %d is %v, want %v", i, c.Samples[i], v)
				}
			}
		})
	}
	whole := wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64, 0, 128})
	for want, file := range map[string][]byte{
		"no WAV file: remove it, or convert it":                                      []byte("OggS0000000000"),
		"truncated? Remove or replace it":                                            whole[:len(whole)-1],
		"of WAV format 85 with 16 bits, which is not read; convert it to 16-bit PCM": wave(85, 1, 8000, 16, nil, []byte{0, 64}),
		"of WAV format 1 with 12 bits":                                               wave(formatPCM, 1, 8000, 12, nil, []byte{0, 64}),
		"of WAV format 17 with 4 bits":                                               wave(17, 1, 8000, 4, nil, []byte{0, 64}),
		"3 of 4 bytes: truncated? Remove or replace it":                              func() []byte { f := wide("RF64", 4, whole); return f[:len(f)-1] }(),
		"is no WAV file":                                  append([]byte("RIFX"), whole[4:]...),
		"channels":                                        wave(formatPCM, 0, 8000, 16, nil, []byte{0, 64}),
		"of 1 Hz: damaged? Remove or replace it":          wave(formatPCM, 1, 1, 16, nil, []byte{0, 64}),
		"holds no sound: remove or replace it":            wave(formatPCM, 1, 8000, 16, nil, nil),
		"its data chunk is missing: remove or replace it": whole[:36],
		"ends early: truncated? Remove or replace it":     whole[:30],
		"header: damaged? Remove or replace it":           append(append([]byte{}, whole[:12]...), whole[36:]...),
		"at most 268":                                     append(whole[:40:40], 255, 255, 255, 127),
	} {
		size := int64(len(file))
		if want == "at most 268" {
			size = 1 << 32
		}
		if _, err := Decode(bytes.NewReader(file), size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// A tone stays the tone, whatever the rate, and what the new rate cannot hold is gone.
func TestFit(t *testing.T) {
	for _, rates := range [][2]int{{44100, 16000}, {8000, 16000}, {16000, 8000}, {48000, 16000}, {11025, 16000}} {
		tone := func(hertz float64, rate, n int) []float32 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(math.Sin(2 * math.Pi * hertz * float64(i) / float64(rate)))
			}
			return x
		}
		c := &Clip{Rate: rates[0], Samples: tone(1000, rates[0], rates[0]/4)}
		got := c.Fit(rates[1], 0)
		if got.Rate != rates[1] || len(got.Samples) != Fitted(len(c.Samples), rates[0], rates[1], 0) {
			t.Fatalf("%d samples of %d Hz", len(got.Samples), got.Rate)
		}
		want := tone(1000, rates[1], len(got.Samples))
		for i := 200; i < len(want)-200; i++ {
			if d := math.Abs(float64(got.Samples[i] - want[i])); d > 1e-3 {
				t.Fatalf("%v Hz: sample %d is off by %g", rates, i, d)
			}
		}
		if rates[1] < rates[0] {
			high := (&Clip{Rate: rates[0], Samples: tone(float64(rates[1])*0.6, rates[0], rates[0]/4)}).Fit(rates[1], 0)
			for i := 200; i < len(high.Samples)-200; i++ {
				if math.Abs(float64(high.Samples[i])) > 1e-3 {
					t.Fatalf("%v Hz: a tone above half of the rate is still there, %g", rates, high.Samples[i])
				}
			}
		}
	}
	c := &Clip{Rate: 8000, Samples: []float32{1, 2, 3}}
	if long, cut := c.Fit(0, 5).Samples, c.Fit(8000, 2).Samples; len(long) != 5 || long[2] != 3 || long[4] != 0 || len(cut) != 2 || cut[1] != 2 {
		t.Errorf("%v, %v", long, cut)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(wave(formatPCM, 1, 8000, 16, nil, []byte{0, 64}))
	f.Add(wave(formatFloat, 2, 8000, 32, []byte("LIST\x02\x00\x00\x00ab"), make([]byte, 16)))
	f.Add(wide("RF64", 4, wave(formatMuLaw, 1, 8000, 8, nil, []byte{0, 64, 1, 2})))
	f.Add(extensible(formatALaw, 1, 8000, 8, 8, []byte{1, 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(bytes.NewReader(data), int64(len(data))); err == nil && (len(c.Samples) == 0 || c.Rate < 1) {
			t.Errorf("%d samples of %d Hz", len(c.Samples), c.Rate)
		}
	})
}

func BenchmarkMFCC(b *testing.B) {
	e, err := NewExtractor(Features{Kind: MFCC, Rate: 16000, FrameLength: 640, FrameStep: 320, FFTLength: 1024, Power: 1, MelBands: 40, Lower: 20, Upper: 4000, Offset: 1e-6, Count: 10})
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float32, 16000)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	out := make([]float32, 49*10)
	for b.Loop() {
		e.Extract(x, out)
	}
}

// A file of nothing but chunks is given up soon.
func TestChunksWithoutEnd(t *testing.T) {
	file := append([]byte("RIFF\xff\xff\xff\x7fWAVE"), bytes.Repeat([]byte("JUNK\x00\x00\x00\x00"), 1<<20)...)
	reads := 0
	_, err := ReadHeader(counted{bytes.NewReader(file), &reads}, int64(len(file)))
	if err == nil || !strings.Contains(err.Error(), "no sound") || reads > maxChunks+1 {
		t.Errorf("%v after %d reads", err, reads)
	}
}

// counted counts the reads of a file.
type counted struct {
	*bytes.Reader
	reads *int
}

func (c counted) ReadAt(p []byte, at int64) (int, error) {
	*c.reads++
	return c.Reader.ReadAt(p, at)
}
