package tflite

import (
	"archive/zip"
	"bytes"
	"strconv"
)

// Associated names the files, such as "labels.txt", quoted, that TFLite's metadata tools append to a model as a zip archive.
func Associated(data []byte) []string {
	if !bytes.Contains(data[max(0, len(data)-(1<<16)-22):], []byte("PK\x05\x06")) { // the end of an archive's directory, and a comment
		return nil
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, strconv.Quote(f.Name[:min(len(f.Name), 100)]))
	}
	return names
}
