// Package audio reads recordings and makes of them what networks that listen take: samples, log-mel spectrograms, MFCCs.
//
// A Clip is mono, with samples from −1 to 1, as tf.audio.decode_wav gives them; Fit brings it to a rate and a length, an Extractor makes
// features of it as tf.signal or the front end of TensorFlow Lite Micro does.
package audio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Clip is a recording: several channels are averaged.
type Clip struct {
	Rate    int // samples a second
	Samples []float32
}

// Header is what a WAV file says of itself.
type Header struct {
	Rate     int // frames a second
	Channels int
	Frames   int // one sample of every channel

	encoding encoding
	data     int64 // where the frames are
}

// encoding is how one sample is stored.
type encoding struct {
	size   int // bytes
	decode func([]byte) float32
}

// maxClip bounds the bytes of one recording: an hour and a half of 16 kHz, 16 bits.
const maxClip = 1 << 28

// maxChunks bounds what is looked through for the sound. Recorders write a handful.
const maxChunks = 1 << 12

// The format codes of a fmt chunk (RFC 2361; extensible: the code is in the first two bytes of a GUID).
const (
	formatPCM        = 1
	formatFloat      = 3
	formatALaw       = 6
	formatMuLaw      = 7
	formatExtensible = 0xfffe
)

// encodings of samples by format and bits.
var encodings = map[[2]int]encoding{
	{formatPCM, 8}:  {1, func(b []byte) float32 { return (float32(b[0]) - 128) / 128 }},
	{formatPCM, 16}: {2, func(b []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) }},
	{formatPCM, 24}: {3, func(b []byte) float32 {
		return float32(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
	}},
	{formatPCM, 32}:   {4, func(b []byte) float32 { return float32(int32(binary.LittleEndian.Uint32(b))) / (1 << 31) }},
	{formatFloat, 32}: {4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }},
	{formatFloat, 64}: {8, func(b []byte) float32 { return float32(math.Float64frombits(binary.LittleEndian.Uint64(b))) }},
	{formatALaw, 8}:   {1, func(b []byte) float32 { return float32(aLaw(b[0])) / (1 << 15) }},
	{formatMuLaw, 8}:  {1, func(b []byte) float32 { return float32(muLaw(b[0])) / (1 << 15) }},
}

// muLaw is a code of G.711's μ-law as one of 16 bits: sign, exponent and mantissa, all inverted, with a bias of 33 in 14 bits.
func muLaw(code byte) int {
	code = ^code
	v := (int(code&0x0f)<<3+132)<<(code>>4&7) - 132
	if code&0x80 != 0 {
		return -v
	}
	return v
}

// aLaw is a code of G.711's A-law as one of 16 bits: every other bit is inverted, and the lowest two segments have one step.
func aLaw(code byte) int {
	code ^= 0x55
	v := int(code&0x0f)<<4 + 8
	if exponent := code >> 4 & 7; exponent > 0 {
		v = (v + 256) << (exponent - 1)
	}
	if code&0x80 == 0 {
		return -v
	}
	return v
}

// ReadHeader reads the header of a WAV file (RIFF, or RF64 of EBU Tech 3306; PCM of 8 to 32 bits, IEEE floats, μ-law or A-law) of size bytes.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	var head [12]byte
	n, _ := r.ReadAt(head[:], 0)
	wide := string(head[:4]) == "RF64" || string(head[:4]) == "BW64"
	if n < len(head) || !wide && string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, errors.New("is no WAV file: remove it, or convert it, such as with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`")
	}
	h := &Header{}
	at, long := int64(12), int64(math.MaxUint32) // what a length that does not fit 32 bits is
	for range maxChunks {
		var chunk [8]byte
		if n, _ := r.ReadAt(chunk[:], at); n < len(chunk) {
			return nil, errors.New("has no sound, its data chunk is missing: remove or replace it")
		}
		length := int64(binary.LittleEndian.Uint32(chunk[4:]))
		at += int64(len(chunk))
		switch string(chunk[:4]) {
		case "fmt ":
			if err := h.readFormat(r, at, length); err != nil {
				return nil, err
			}
		case "ds64": // sizes of the whole, of the sound, …
			var sizes [16]byte
			if n, _ := r.ReadAt(sizes[:], at); wide && n == len(sizes) {
				long = int64(min(binary.LittleEndian.Uint64(sizes[8:]), math.MaxInt64))
			}
		case "data":
			if wide && length == math.MaxUint32 {
				return h, h.measure(at, long, size)
			}
			return h, h.measure(at, length, size)
		}
		at += length + length%2
	}
	return nil, fmt.Errorf("has no sound in its first %d chunks: damaged? Remove or replace it", maxChunks)
}

// readFormat reads a fmt chunk.
func (h *Header) readFormat(r io.ReaderAt, at, length int64) error {
	var f [40]byte
	n, _ := r.ReadAt(f[:min(length, int64(len(f)))], at)
	if n < 16 {
		return errors.New("has a header that ends early: truncated? Remove or replace it")
	}
	format := int(binary.LittleEndian.Uint16(f[:]))
	if format == formatExtensible && n >= 26 {
		format = int(binary.LittleEndian.Uint16(f[24:]))
	}
	bits := int(binary.LittleEndian.Uint16(f[14:]))
	h.Channels, h.Rate = int(binary.LittleEndian.Uint16(f[2:])), int(binary.LittleEndian.Uint32(f[4:]))
	var known bool
	if h.encoding, known = encodings[[2]int{format, bits}]; !known {
		return fmt.Errorf("holds samples of WAV format %d with %d bits, which is not read; convert it to 16-bit PCM, such as with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`", format, bits)
	}
	if h.Channels < 1 || h.Channels > 64 || h.Rate < 1000 || h.Rate > 1<<20 {
		return fmt.Errorf("has %d channels of %d Hz: damaged? Remove or replace it", h.Channels, h.Rate)
	}
	return nil
}

// measure settles how many frames there are. Programs that write to a pipe leave the length open, all ones.
func (h *Header) measure(at, length, size int64) error {
	if h.Channels == 0 {
		return errors.New("has sound before its header: damaged? Remove or replace it")
	}
	left := size - at
	if length >= 1<<31-1 {
		length = left
	}
	if left < length {
		return fmt.Errorf("ends before its sound does, %d of %d bytes: truncated? Remove or replace it", max(0, left), length)
	}
	if length > maxClip {
		return fmt.Errorf("has %d bytes of sound; at most %d are supported: cut it into clips", length, int64(maxClip))
	}
	h.data, h.Frames = at, int(length)/(h.Channels*h.encoding.size)
	if h.Frames == 0 {
		return errors.New("holds no sound: remove or replace it")
	}
	return nil
}

// Decode reads a WAV file of size bytes.
func Decode(r io.ReaderAt, size int64) (*Clip, error) {
	h, err := ReadHeader(r, size)
	if err != nil {
		return nil, err
	}
	frame := h.Channels * h.encoding.size
	raw := make([]byte, h.Frames*frame)
	if n, err := r.ReadAt(raw, h.data); n < len(raw) {
		return nil, err
	}
	c := &Clip{Rate: h.Rate, Samples: make([]float32, h.Frames)}
	for i := range c.Samples {
		sum := float32(0)
		for k := range h.Channels {
			sum += h.encoding.decode(raw[i*frame+k*h.encoding.size:])
		}
		c.Samples[i] = sum / float32(h.Channels)
	}
	return c, nil
}
