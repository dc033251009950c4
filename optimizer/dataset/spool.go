package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// inMemory is the most a decompressed stream may take in memory; what is larger goes to a temporary file. Only tests change it.
var inMemory int64 = 64 << 20

// deflateRatio is the most DEFLATE can shrink anything (1032:1); a claim beyond it is a damaged or hostile header.
const deflateRatio = 1032

// errShort is a stream that ended before the data it promised.
var errShort = errors.New("ends before its data does: truncated?")

// files closes what a dataset holds open.
type files []io.Closer

func (f *files) add(c io.Closer) { *f = append(*f, c) }

func (f *files) Close() error {
	var errs []error
	for _, c := range *f {
		errs = append(errs, c.Close())
	}
	*f = nil
	return errors.Join(errs...)
}

// spool reads exactly size bytes and the end of r, to be read at random afterwards. compressed is the length of what r is
// decompressed from, -1 if r is not compressed.
func (f *files) spool(r io.Reader, size, compressed int64) (io.ReaderAt, error) {
	if compressed >= 0 && size/deflateRatio > compressed+1 {
		return nil, fmt.Errorf("claims %d bytes, more than its %d compressed bytes can hold: damaged?", size, compressed)
	}
	if size <= inMemory {
		return spoolMemory(r, size)
	}
	file, err := os.CreateTemp("", "espalier-dataset-")
	if err != nil {
		return nil, fmt.Errorf("a temporary file to decompress to (TMPDIR says where): %w", err)
	}
	f.add(unlinked(file))
	n, err := io.Copy(file, io.LimitReader(r, size))
	if err == nil && n < size {
		err = errShort
	}
	if err == nil {
		err = atEnd(r)
	}
	return file, damaged(err)
}

func spoolMemory(r io.Reader, size int64) (io.ReaderAt, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, size))
	if err == nil && n < size {
		err = errShort
	}
	if err == nil {
		err = atEnd(r)
	}
	return bytes.NewReader(out.Bytes()), damaged(err)
}

// overflow takes bytes of which nobody knows how many there are: in memory up to inMemory, from there on in a temporary file.
type overflow struct {
	files  *files
	memory bytes.Buffer
	out    *bufio.Writer // nil: in memory
	file   *os.File
	size   int64
}

func (o *overflow) Write(p []byte) (int, error) {
	if o.out == nil && o.size+int64(len(p)) > inMemory {
		file, err := os.CreateTemp("", "espalier-dataset-")
		if err != nil {
			return 0, fmt.Errorf("a temporary file (TMPDIR says where): %w", err)
		}
		o.files.add(unlinked(file))
		o.file, o.out = file, bufio.NewWriterSize(file, 1<<18)
		if _, err := o.out.Write(o.memory.Bytes()); err != nil {
			return 0, err
		}
		o.memory = bytes.Buffer{}
	}
	o.size += int64(len(p))
	if o.out != nil {
		return o.out.Write(p)
	}
	return o.memory.Write(p)
}

// done returns what was written.
func (o *overflow) done() (io.ReaderAt, error) {
	if o.out == nil {
		return bytes.NewReader(o.memory.Bytes()), nil
	}
	return o.file, o.out.Flush()
}

// atEnd reads the end of r, where decompressors compare their checksums.
func atEnd(r io.Reader) error {
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return errors.New("goes on after its data: damaged?")
	case err != io.EOF:
		return err
	default:
		return nil
	}
}

// damaged says what errors of the decompressors mean.
func damaged(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errShort
	default:
		return err
	}
}

// temporary is a file that has no name any more, or loses it when closed where an open file cannot be removed.
type temporary struct{ *os.File }

func unlinked(f *os.File) io.Closer {
	if os.Remove(f.Name()) == nil {
		return f
	}
	return temporary{f}
}

func (t temporary) Close() error {
	return errors.Join(t.File.Close(), os.Remove(t.Name()))
}

// opened is a plain or gzip-compressed file, read from the start.
type opened struct {
	io.Reader
	file       *os.File
	size       int64 // of the file
	compressed bool
}

// open opens a file; compression is recognised by its content.
func (f *files) open(path string) (*opened, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f.add(file)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	out := &opened{file: file, size: info.Size()}
	if out.Reader, err = plain(file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	_, out.compressed = out.Reader.(*gzip.Reader)
	return out, nil
}

// plain is what a file holds, decompressed where it is compressed.
func plain(file *os.File) (io.Reader, error) {
	var magic [2]byte
	if n, _ := file.ReadAt(magic[:], 0); n != 2 || magic != [2]byte{0x1f, 0x8b} {
		return file, nil
	}
	r, err := gzip.NewReader(file)
	if err != nil {
		return nil, damaged(err)
	}
	return r, nil
}

// elements makes the rest of an opened file, of which header bytes are read, addressable: size bytes must be left.
func (f *files) elements(o *opened, header, size int64) (io.ReaderAt, int64, error) {
	if o.compressed {
		data, err := f.spool(o.Reader, size, o.size)
		return data, 0, err
	}
	switch left := o.size - header; {
	case left < size:
		return nil, 0, errShort
	case left > size:
		return nil, 0, errors.New("goes on after its data: damaged?")
	default:
		return o.file, header, nil
	}
}
