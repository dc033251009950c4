package tflite

import flatbuffers "github.com/google/flatbuffers/go"

// PackUnchecked writes a model that Marshal would refuse.
func PackUnchecked(m *Model) []byte {
	b := flatbuffers.NewBuilder(1 << 12)
	b.FinishWithFileIdentifier(m.Pack(b), []byte("TFL3"))
	return b.FinishedBytes()
}

// Newer and Since are what min_runtime_version is reckoned by.
var (
	Newer = newer
	Since = since
)
