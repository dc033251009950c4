package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"
)

// maxPixels bounds one image.
const maxPixels = 1 << 26

// codec is an image format.
type codec struct {
	decode func(io.Reader) (image.Image, error)
	config func(io.Reader) (image.Config, error)
}

// codecOf recognises an image's format by its first bytes.
func codecOf(head []byte) (codec, bool) {
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return codec{png.Decode, png.DecodeConfig}, true
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return codec{jpeg.Decode, jpeg.DecodeConfig}, true
	case bytes.HasPrefix(head, []byte("BM")):
		return codec{bmp.Decode, bmp.DecodeConfig}, true
	case bytes.HasPrefix(head, []byte("RIFF")) && len(head) >= 12 && string(head[8:12]) == "WEBP":
		return codec{still(webp.Decode), still(webp.DecodeConfig)}, true
	default:
		return codec{}, false
	}
}

// still reads a WebP file of one image. The flag of an animation is the second bit behind the header of the first chunk, VP8X.
func still[T any](read func(io.Reader) (T, error)) func(io.Reader) (T, error) {
	return func(r io.Reader) (T, error) {
		buffered := bufio.NewReader(r)
		if head, _ := buffered.Peek(21); len(head) == 21 && string(head[12:16]) == "VP8X" && head[20]&2 != 0 {
			return *new(T), errors.New("is an animated WebP: convert one image of it to PNG, or take it out")
		}
		return read(buffered)
	}
}

// measure returns the shape [height, width, channels] an encoded image will have.
func measure(head []byte, r io.Reader) ([]int, error) {
	c, ok := codecOf(head)
	if !ok {
		return nil, errors.New("is neither PNG nor JPEG, WebP or BMP")
	}
	config, err := c.config(r)
	if err != nil {
		return nil, damaged(err)
	}
	if config.Width <= 0 || config.Height <= 0 || config.Width*config.Height > maxPixels {
		return nil, fmt.Errorf("has %d × %d pixels; at most %d in all are supported", config.Width, config.Height, maxPixels)
	}
	return []int{config.Height, config.Width, channelCount(config.ColorModel)}, nil
}

func channelCount(model color.Model) int {
	if model == color.GrayModel || model == color.Gray16Model {
		return 1
	}
	return 3
}

// decodeImage decodes an image to values of 0 … 255, [height, width, 1 or 3]. Transparency is ignored.
func decodeImage(data []byte, into *sample) error {
	shape, err := measure(data, bytes.NewReader(data))
	if err != nil {
		return err
	}
	c, _ := codecOf(data)
	img, err := c.decode(bytes.NewReader(data))
	if err != nil {
		return damaged(err)
	}
	into.shape = shape
	out := into.grow(numel(shape))
	if b := img.Bounds(); b.Dx()*b.Dy()*shape[2] != len(out) {
		return errors.New("has another size than its header says")
	}
	unpack(img, out, shape[2])
	return nil
}

// unpack copies an image's pixels, by the quick way where there is one.
func unpack(img image.Image, out []float32, channels int) {
	b := img.Bounds()
	i := 0
	put := func(r, g, b uint8) {
		out[i], out[i+1], out[i+2] = float32(r), float32(g), float32(b)
		i += 3
	}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		switch img := img.(type) {
		case *image.Gray:
			for _, v := range img.Pix[img.PixOffset(b.Min.X, y):][:b.Dx()] {
				out[i] = float32(v)
				i++
			}
		case *image.RGBA: // the PNG decoder's opaque images
			for row := img.Pix[img.PixOffset(b.Min.X, y):][:4*b.Dx()]; len(row) > 0; row = row[4:] {
				put(row[0], row[1], row[2])
			}
		case *image.NRGBA:
			for row := img.Pix[img.PixOffset(b.Min.X, y):][:4*b.Dx()]; len(row) > 0; row = row[4:] {
				put(row[0], row[1], row[2])
			}
		case *image.YCbCr:
			for x := b.Min.X; x < b.Max.X; x++ {
				c := img.YCbCrAt(x, y)
				put(color.YCbCrToRGB(c.Y, c.Cb, c.Cr))
			}
		default:
			for x := b.Min.X; x < b.Max.X; x++ {
				if channels == 1 {
					out[i] = float32(color.GrayModel.Convert(img.At(x, y)).(color.Gray).Y)
					i++
					continue
				}
				c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
				put(c.R, c.G, c.B)
			}
		}
	}
}

// sizes finds the common shape of images, and whether there is one.
type sizes struct {
	common   []int // of the first
	size     bool  // some differ in height or width
	channels bool  // some differ in the number of channels
}

func (s *sizes) add(shape []int) {
	if s.common == nil {
		s.common = shape
	}
	s.size = s.size || s.common[0] != shape[0] || s.common[1] != shape[1]
	s.channels = s.channels || s.common[2] != shape[2]
}
