package tflite

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	flatbuffers "github.com/google/flatbuffers/go"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxFile is what 32-bit FlatBuffers offsets reach.
const maxFile = 1<<31 - 1

// Marshal checks the model and returns it as a file: buffers aligned to 16 bytes, operator versions and min_runtime_version
// recomputed, the archive of associated files at its end, of a Bare one without names of inner tensors. The model itself is not changed.
func (m *Model) Marshal() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	size := 1 << 12
	for _, b := range m.Buffers {
		if b != nil {
			size += len(b.Data) + 32
		}
	}
	if size > maxFile {
		return nil, wrong("", "the model takes %d bytes, more than the 2 GB that a .tflite holds: split it", size)
	}
	out := *m.ModelT
	versioned := &Model{ModelT: &out}
	versioned.setVersions()
	b := flatbuffers.NewBuilder(size + size/8)
	defer schema.ShareVectors(b)()
	packed := lean(&out)
	if m.Bare {
		for s, inner := range m.inner() {
			for i, t := range packed.Subgraphs[s].Tensors {
				if inner[i] {
					t.Name = ""
				}
			}
		}
	}
	b.FinishWithFileIdentifier(packed.Pack(b), []byte("TFL3"))
	return m.withArchive(b.FinishedBytes())
}

// WriteFile writes the model to a file that appears whole or not at all.
func WriteFile(path string, m *Model) error {
	data, err := m.Marshal()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return WriteWhole(path, data)
}

// WriteWhole writes data to a temporary file beside path, syncs it and renames it to path.
func WriteWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync())
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Compact drops what nothing refers to (tensors, buffers, operator codes) and stores equal constants once. Tensor indices
// change; names, signatures and metadata are kept. It returns the new index of every tensor of the primary subgraph, −1 if dropped.
func Compact(m *Model) (moved []int) {
	before := m.Subgraph().Tensors
	for s, g := range m.Subgraphs {
		m.dropTensors(s, g)
	}
	m.dropOperatorCodes()
	m.dropBuffers()
	after := m.Subgraph().Tensors
	moved = make([]int, len(before))
	next := 0
	for t := range before {
		moved[t] = -1
		if next < len(after) && after[next] == before[t] {
			moved[t] = next
			next++
		}
	}
	return moved
}

// dropTensors removes the tensors of a subgraph that no operator, border or signature names.
func (m *Model) dropTensors(s int, g *schema.SubGraphT) {
	used := make([]bool, len(g.Tensors))
	visit := func(lists ...[]int32) {
		for _, list := range lists {
			for _, t := range list {
				if t >= 0 {
					used[t] = true
				}
			}
		}
	}
	visit(g.Inputs, g.Outputs)
	for _, o := range g.Operators {
		visit(o.Inputs, o.Outputs, o.Intermediates)
	}
	for _, t := range g.Tensors {
		if q := t.Quantization; q != nil && q.Details != nil && q.Details.Type != schema.QuantizationDetailsNONE {
			return // such details name tensors too
		}
	}
	m.eachSignatureTensor(s, func(t *uint32) { used[*t] = true })
	index := make([]int32, len(g.Tensors))
	var kept []*schema.TensorT
	for t, keep := range used {
		if keep {
			index[t] = int32(len(kept))
			kept = append(kept, g.Tensors[t])
		}
	}
	if len(kept) == len(g.Tensors) {
		return
	}
	g.Tensors = kept
	renumber := func(lists ...[]int32) {
		for _, list := range lists {
			for i, t := range list {
				if t >= 0 {
					list[i] = index[t]
				}
			}
		}
	}
	renumber(g.Inputs, g.Outputs)
	for _, o := range g.Operators {
		renumber(o.Inputs, o.Outputs, o.Intermediates)
	}
	m.eachSignatureTensor(s, func(t *uint32) { *t = uint32(index[*t]) })
}

func (m *Model) eachSignatureTensor(subgraph int, visit func(*uint32)) {
	for _, signature := range m.SignatureDefs {
		if int(signature.SubgraphIndex) != subgraph {
			continue
		}
		for _, entry := range signature.Inputs {
			visit(&entry.TensorIndex)
		}
		for _, entry := range signature.Outputs {
			visit(&entry.TensorIndex)
		}
	}
}

func (m *Model) dropOperatorCodes() {
	index := map[uint32]uint32{}
	var kept []*schema.OperatorCodeT
	for _, g := range m.Subgraphs {
		for _, o := range g.Operators {
			at, ok := index[o.OpcodeIndex]
			if !ok {
				at = uint32(len(kept))
				index[o.OpcodeIndex] = at
				kept = append(kept, m.OperatorCodes[o.OpcodeIndex])
			}
			o.OpcodeIndex = at
		}
	}
	m.OperatorCodes = kept
}

func (m *Model) dropBuffers() {
	index := map[uint32]uint32{0: 0}
	byData := map[[sha256.Size]byte]uint32{}
	kept := []*schema.BufferT{{}}
	place := func(buffer *uint32, mutable bool) {
		if at, ok := index[*buffer]; ok {
			*buffer = at
			return
		}
		b := m.Buffers[*buffer]
		old, sum := *buffer, sha256.Sum256(b.Data)
		switch at, known := byData[sum]; {
		case len(b.Data) == 0 && !mutable:
			*buffer = 0
		case known && !mutable:
			*buffer = at
		default:
			*buffer = uint32(len(kept))
			byData[sum] = *buffer
			kept = append(kept, b)
		}
		index[old] = *buffer
	}
	for _, g := range m.Subgraphs {
		for _, t := range g.Tensors {
			place(&t.Buffer, t.IsVariable)
		}
	}
	for _, entry := range m.ModelT.Metadata {
		place(&entry.Buffer, true)
	}
	m.MetadataBuffer = nil
	m.Buffers = kept
}
