package tflite

import (
	"archive/zip"
	"bytes"
	"errors"
	"strconv"
)

// Associated names the files, such as "labels.txt", quoted, that TFLite's metadata tools append to a model as a zip archive.
func Associated(data []byte) []string {
	archive := appended(data)
	if archive == nil {
		return nil
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, strconv.Quote(f.Name[:min(len(f.Name), 100)]))
	}
	return names
}

// appended is the zip archive at the end of a file; nil if there is none.
func appended(data []byte) *zip.Reader {
	if !bytes.Contains(data[max(0, len(data)-(1<<16)-22):], []byte("PK\x05\x06")) { // the end of an archive's directory, and a comment
		return nil
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil
	}
	return archive
}

// archiveOf is the archive at the end of a file as a file of its own; nil if there is none, or one that is damaged.
func archiveOf(data []byte) []byte {
	archive := appended(data)
	if archive == nil || len(archive.File) == 0 {
		return nil
	}
	left := uint64(len(data))
	for _, f := range archive.File {
		if f.CompressedSize64 > left { // entries that share bytes are no tool's
			return nil
		}
		left -= f.CompressedSize64
	}
	var out bytes.Buffer
	if err := copyArchive(&out, archive, 0); err != nil {
		return nil
	}
	return out.Bytes()
}

// copyArchive writes the files of an archive, as they are compressed, as one that follows offset bytes of another kind: its directory counts from the
// start of the whole file, as readers of TFLite models expect.
func copyArchive(out *bytes.Buffer, archive *zip.Reader, offset int64) error {
	w := zip.NewWriter(out)
	w.SetOffset(offset)
	err := w.SetComment(archive.Comment)
	for _, f := range archive.File {
		if err == nil {
			err = w.Copy(f)
		}
	}
	return errors.Join(err, w.Close())
}

// withArchive appends the model's archive to its file.
func (m *Model) withArchive(file []byte) ([]byte, error) {
	if m.Archive == nil {
		return file, nil
	}
	archive := appended(m.Archive)
	if archive == nil {
		return nil, wrong("", "the archive of associated files is damaged")
	}
	out := bytes.NewBuffer(bytes.Clone(file))
	if err := copyArchive(out, archive, int64(len(file))); err != nil {
		return nil, wrong("", "the archive of associated files: %v", err)
	}
	if out.Len() > maxFile {
		return nil, wrong("", "the model takes %d bytes with its associated files, more than the 2 GB that a .tflite holds: take some out", out.Len())
	}
	return out.Bytes(), nil
}
