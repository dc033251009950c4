package audio

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// sound is what hack/peers/sound.py makes by the same name: n samples of 16 bits.
func sound(name string, rate, n int) []float32 {
	out := make([]float32, n)
	seed := uint32(1)
	for i := range out {
		seed = seed*1664525 + 1013904223
		hiss, t := float64(seed)/(1<<32)-0.5, float64(i)/float64(rate)
		v := 0.0
		switch name {
		case "sweep":
			v = 0.8 * math.Sin(2*math.Pi*(50*t+0.5*float64(rate)*t*t))
		case "noise":
			v = hiss
		case "quiet":
			v = hiss / 4096
		case "clipping":
			v = 3*math.Sin(2*math.Pi*700*t) + hiss
		case "speech":
			v = 0.002 * hiss
			for k := 1.0; k < 25; k++ {
				f := 120 * k
				loud := math.Exp(-((f-700)/300)*((f-700)/300)) + 0.5*math.Exp(-((f-1800)/400)*((f-1800)/400))
				v += 0.15 * loud * max(0, math.Sin(2*math.Pi*4*t)) * math.Sin(2*math.Pi*f*t+k*k)
			}
		default:
			if i == n/2 || i == n/2+300 {
				v = 0.5
			}
		}
		out[i] = float32(max(-1, min(32767.0/32768, math.Floor(v*32768+0.5)/32768)))
	}
	return out
}

func TestMicroFrontendIsTFLMs(t *testing.T) {
	data, err := os.ReadFile("testdata/microfrontend.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			By, Sound                                                      string
			Rate, Samples, FrameLength, FrameStep, MelBands, Frames, Every int
			CRC                                                            uint32
			Lower, Upper                                                   float64
			Gain                                                           bool
			Rows                                                           [][]uint16
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 18 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		x := sound(c.Sound, c.Rate, c.Samples)
		raw := make([]byte, 2*len(x))
		for i, v := range x {
			binary.LittleEndian.PutUint16(raw[2*i:], uint16(int16(v*32768)))
		}
		if sum := crc32.ChecksumIEEE(raw); sum != c.CRC {
			t.Fatalf("%s is another sound than the script's", c.Sound)
		}
		e, err := NewExtractor(Features{Kind: MicroFrontend, Rate: c.Rate, FrameLength: c.FrameLength, FrameStep: c.FrameStep, FFTLength: powerOfTwo(c.FrameLength),
			MelBands: c.MelBands, Lower: c.Lower, Upper: c.Upper, GainControl: c.Gain})
		if err != nil {
			t.Fatal(err)
		}
		shape := e.Shape(len(x))
		if !slices.Equal(shape, []int{c.Frames, c.MelBands}) {
			t.Fatalf("%s: shape %v, want %d × %d", c.Sound, shape, c.Frames, c.MelBands)
		}
		got := make([]float32, c.Frames*c.MelBands)
		for range 2 { // what was heard before does not matter
			e.Extract(x, got)
		}
		wrong := 0
		for i, row := range c.Rows {
			for b, v := range row {
				if want := float32(v) * (10.0 / 256); got[i*c.Every*c.MelBands+b] != want {
					if wrong++; wrong == 1 {
						t.Errorf("%s of %d Hz by %s: frame %d, band %d is %v, want %v", c.Sound, c.Rate, c.By, i*c.Every, b, got[i*c.Every*c.MelBands+b], want)
					}
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%d values differ", wrong)
		}
	}
}

// powerOfTwo is the least that holds n.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

func TestMicroFrontendsThatAreNotPossible(t *testing.T) {
	good := Features{Kind: MicroFrontend, Rate: 16000, FrameLength: 480, FrameStep: 160, FFTLength: 512, MelBands: 40, Lower: 125, Upper: 7500, GainControl: true}
	for want, change := range map[string]func(*Features){
		"least power of two":      func(f *Features) { f.FFTLength = 1024 },
		"32 to 32768":             func(f *Features) { f.FrameLength, f.FFTLength, f.MelBands = 20, 32, 8 },
		"half of the sample rate": func(f *Features) { f.Upper = 8000 },
	} {
		f := good
		change(&f)
		if _, err := NewExtractor(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	// as many bands as there are bins, and frames of the greatest transform: nothing is out of bounds
	for _, f := range []Features{
		{Kind: MicroFrontend, Rate: 16000, FrameLength: 32, FrameStep: 1, FFTLength: 32, MelBands: 16, Lower: 0, Upper: 7499, GainControl: true},
		{Kind: MicroFrontend, Rate: 96000, FrameLength: 1 << 15, FrameStep: 1 << 14, FFTLength: 1 << 15, MelBands: 200, Lower: 0, Upper: 40000, GainControl: true},
	} {
		e, err := NewExtractor(f)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 1<<16)
		for i := range x {
			x[i] = float32(2 * math.Sin(float64(i)))
		}
		shape := e.Shape(len(x))
		e.Extract(x, make([]float32, shape[0]*shape[1]))
	}
}

func BenchmarkMicroFrontend(b *testing.B) {
	e, err := NewExtractor(Features{Kind: MicroFrontend, Rate: 16000, FrameLength: 480, FrameStep: 160, FFTLength: 512, MelBands: 40, Lower: 125, Upper: 7500, GainControl: true})
	if err != nil {
		b.Fatal(err)
	}
	x := sound("speech", 16000, 16000)
	out := make([]float32, 98*40)
	for b.Loop() {
		e.Extract(x, out)
	}
}

// Among these are bins at which the nearest float is another.
func TestLog1p32IsTheCLibrarys(t *testing.T) {
	for bin, want := range map[int]uint32{0: 0x0, 1: 0x3d32e4a0, 6: 0x3e730628, 13: 0x3eea5136, 38: 0x3f7def00, 50: 0x3f9629a0, 99: 0x3fd852e6, 148: 0x4001dc92,
		216: 0x40175a58, 240: 0x401d7de6, 252: 0x40205a8a, 256: 0x402147a6} {
		if got := math.Float32bits(log1p32(float32(bin) * 31.25 / 700)); got != want {
			t.Errorf("ln(1 + %d·31.25/700) is %#x, want %#x", bin, got, want)
		}
	}
}
