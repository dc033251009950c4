package dataset

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkRead reads samples of 28 × 28 bytes as MNIST's are.
func BenchmarkRead(b *testing.B) {
	const n = 1000
	pixels := ramp(n * 784)
	for _, bm := range []struct {
		name string
		file string
		data []byte
		spec Spec
	}{
		{"stored npz", "d.npz", npzBytes(zip.Store, member{"x", npyBytes("|u1", []int{n, 28, 28}, pixels)}), Spec{Preprocessing: Preprocessing{Scale: "1/255"}}},
		{"deflated npz", "d.npz", npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{n, 28, 28}, pixels)}), Spec{Preprocessing: Preprocessing{Scale: "1/255"}}},
		{"deflated npz, augmented", "d.npz", npzBytes(zip.Deflate, member{"x", npyBytes("|u1", []int{n, 28, 28}, pixels)}),
			Spec{Preprocessing: Preprocessing{Scale: "1/255"}, Augmentation: Augmentation{Shift: Size{2, 2}}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), bm.file)
			if err := os.WriteFile(path, bm.data, 0o644); err != nil {
				b.Fatal(err)
			}
			d, err := Open(path, bm.spec)
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			source := Epoch(d.Train, 1, 0)
			x := [][]float32{make([]float32, 784)}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := source.Read(i%n, x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
