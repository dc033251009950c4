package artifact

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"espalier.dev/espalier/internal/s3test"
)

// BenchmarkS3 moves blobs of 16 MiB to and from a server on this machine.
func BenchmarkS3(b *testing.B) {
	server := s3test.Start(b, false)
	server.Bucket("bucket")
	s, err := Open(b.Context(), "s3://bucket", s3Options(server))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	content := make([]byte, 16<<20)
	b.Run("put", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for i := 0; b.Loop(); i++ {
			binary.LittleEndian.PutUint64(content, uint64(i)+1)
			if _, err := s.PutBlob(b.Context(), content); err != nil {
				b.Fatal(err)
			}
		}
	})
	digest, err := s.PutBlob(b.Context(), content)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("get", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			if _, err := s.GetBlob(b.Context(), digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	uri := "s3://bucket/blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
	b.Run("fetch", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		dir := b.TempDir()
		for b.Loop() {
			if _, err := Fetch(b.Context(), uri, s3Options(server), Cache{Dir: dir}); err != nil {
				b.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		}
	})
}
