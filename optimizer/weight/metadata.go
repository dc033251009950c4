package weight

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// MetadataName is the metadata entry that holds the states of a float model's weights.
const MetadataName = "espalier.weights"

// metadataVersion is written; readers refuse others.
const metadataVersion = 1

// entry is the metadata: compact JSON.
type entry struct {
	Version int           `json:"version"`
	Tensors []tensorEntry `json:"tensors"`
}

// tensorEntry is the State of one tensor. It is found by name, and by index where several tensors have that name.
type tensorEntry struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Shape []int  `json:"shape"`
	Axis  int    `json:"axis"`

	// Pruned counts pruned weights; nil: no mask. Mask is "" if these are all the zeros there are, else the mask's bits, eight a
	// byte, first weight lowest, 1 keeps, in base64.
	Pruned *int   `json:"pruned,omitempty"`
	Mask   string `json:"mask,omitempty"`

	Scope    Scope     `json:"scope,omitempty"`
	Clusters int       `json:"clusters,omitempty"`
	Scale    []float32 `json:"scale,omitempty"` // shortest decimals that give the same float32 back
	CodeSets [][]int8  `json:"codes,omitempty"`
	Lambda   float32   `json:"lambda,omitempty"`
	Found    bool      `json:"found,omitempty"`
}

// WriteState records the states of a float model's weights, by tensor index of the primary subgraph, in its metadata. The
// weights must already be as the states say. No states remove the entry.
func WriteState(m *tflite.Model, states map[int]State) error {
	if len(states) == 0 {
		m.DeleteMetadata(MetadataName)
		return nil
	}
	e := entry{Version: metadataVersion}
	for _, index := range slices.Sorted(maps.Keys(states)) {
		values, name, err := floats(m, index)
		if err != nil {
			return fmt.Errorf("recording the state of weights: %w", err)
		}
		s := states[index]
		if err := s.Agrees(values); err != nil {
			return fmt.Errorf("recording the state of weights %q: %w", name, err)
		}
		t := tensorEntry{
			Name: name, Index: index, Shape: s.Shape, Axis: s.Axis,
			Scope: s.Scope, Clusters: s.Clusters, Scale: s.Scale, CodeSets: s.CodeSets, Lambda: s.Lambda, Found: s.Found,
		}
		if s.Mask != nil {
			n := s.Pruned()
			t.Pruned = &n
			if n != zeros(values) {
				t.Mask = packMask(s.Mask)
			}
		}
		e.Tensors = append(e.Tensors, t)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	m.SetMetadata(MetadataName, data)
	return nil
}

// ReadState returns the states recorded in a model's metadata, by tensor index of the primary subgraph; nil if there is no
// record. A record that contradicts the weights is an error: something else changed the file and did not know of it.
func ReadState(m *tflite.Model) (map[int]State, error) {
	data, ok := m.Metadata(MetadataName)
	if !ok {
		return nil, nil
	}
	states, err := readState(m, data)
	if err != nil {
		return nil, fmt.Errorf("metadata %q: %w", MetadataName, err)
	}
	return states, nil
}

func readState(m *tflite.Model, data []byte) (map[int]State, error) {
	var e entry
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("not readable: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not readable: something follows the record")
	}
	if e.Version != metadataVersion {
		return nil, fmt.Errorf("version %d; this version of espalier reads %d", e.Version, metadataVersion)
	}
	states := make(map[int]State, len(e.Tensors))
	for _, t := range e.Tensors {
		index, s, err := t.state(m)
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w", t.Name, err)
		}
		if _, twice := states[index]; twice {
			return nil, fmt.Errorf("weights %q: recorded twice", t.Name)
		}
		states[index] = s
	}
	return states, nil
}

// errStale explains a record that the weights contradict.
var errStale = errors.New("the record no longer describes the weights: another tool changed the file after espalier wrote it; " +
	"remove the metadata entry, or start again from the file espalier wrote")

// state resolves and checks a recorded tensor.
func (t tensorEntry) state(m *tflite.Model) (int, State, error) {
	index, err := t.find(m)
	if err != nil {
		return 0, State{}, err
	}
	values, _, err := floats(m, index)
	if err != nil {
		return 0, State{}, err
	}
	if shape := m.Subgraph().Tensors[index].Shape; !slices.EqualFunc(shape, t.Shape, func(a int32, b int) bool { return int(a) == b }) {
		return 0, State{}, fmt.Errorf("%w (shape %v was %v)", errStale, shape, t.Shape)
	}
	s := State{
		Shape: t.Shape, Axis: t.Axis,
		Scope: t.Scope, Clusters: t.Clusters, Scale: t.Scale, CodeSets: t.CodeSets, Lambda: t.Lambda, Found: t.Found,
	}
	if t.Pruned != nil {
		if s.Mask, err = t.mask(values); err != nil {
			return 0, State{}, err
		}
		if n := s.Pruned(); n != *t.Pruned {
			return 0, State{}, fmt.Errorf("%w (%d weights are zero, %d were pruned)", errStale, n, *t.Pruned)
		}
	}
	return index, s, s.Agrees(values)
}

// find returns the index of the tensor with the recorded name.
func (t tensorEntry) find(m *tflite.Model) (int, error) {
	found, n := -1, 0
	for i, tensor := range m.Subgraph().Tensors {
		if tensor.Name == t.Name {
			if i == t.Index {
				return i, nil
			}
			found, n = i, n+1
		}
	}
	switch n {
	case 0:
		return 0, fmt.Errorf("%w (no tensor of that name)", errStale)
	case 1:
		return found, nil
	default:
		return 0, fmt.Errorf("%w (%d tensors of that name, none at index %d)", errStale, n, t.Index)
	}
}

// mask is the recorded mask.
func (t tensorEntry) mask(values []float32) ([]uint8, error) {
	mask := make([]uint8, len(values))
	if t.Mask == "" {
		for i, v := range values {
			if v != 0 {
				mask[i] = 1
			}
		}
		return mask, nil
	}
	bits, err := base64.StdEncoding.DecodeString(t.Mask)
	if err != nil {
		return nil, fmt.Errorf("mask: %w", err)
	}
	if len(bits) != (len(values)+7)/8 {
		return nil, fmt.Errorf("%w (a mask of %d bytes for %d weights)", errStale, len(bits), len(values))
	}
	for i := range mask {
		mask[i] = bits[i/8] >> (i % 8) & 1
	}
	return mask, nil
}

func packMask(mask []uint8) string {
	bits := make([]byte, (len(mask)+7)/8)
	for i, m := range mask {
		bits[i/8] |= m << (i % 8)
	}
	return base64.StdEncoding.EncodeToString(bits)
}

// Agrees reports whether values are what the state says, bit for bit: pruned weights zero, clustered ones scale·code.
func (s State) Agrees(values []float32) error {
	if err := s.check(); err != nil {
		return err
	}
	for i, m := range s.Mask {
		if m == 0 && values[i] != 0 {
			return fmt.Errorf("%w (pruned weight %d is %v)", errStale, i, values[i])
		}
	}
	if !s.Clustered() {
		return nil
	}
	t, err := FromState("", values, s)
	if err != nil {
		return err
	}
	for i, v := range t.Values() {
		if v != values[i] {
			return fmt.Errorf("%w (weight %d is %v, its nearest code means %v)", errStale, i, values[i], v)
		}
	}
	return nil
}

// floats returns the values and the name of a float weight tensor.
func floats(m *tflite.Model, index int) ([]float32, string, error) {
	tensors := m.Subgraph().Tensors
	if index < 0 || index >= len(tensors) {
		return nil, "", fmt.Errorf("no tensor %d; the model has %d", index, len(tensors))
	}
	t := tensors[index]
	if t.Type != schema.TensorTypeFLOAT32 {
		return nil, t.Name, fmt.Errorf("tensor %d %q is %s, not FLOAT32", index, t.Name, t.Type)
	}
	values, err := m.Float32s(t)
	if err != nil {
		return nil, t.Name, fmt.Errorf("tensor %d %q: %w", index, t.Name, err)
	}
	if len(values) == 0 {
		return nil, t.Name, fmt.Errorf("tensor %d %q has no constant values", index, t.Name)
	}
	return values, t.Name, nil
}

// zeros counts the values that are exactly zero.
func zeros(values []float32) int {
	n := 0
	for _, v := range values {
		if v == 0 {
			n++
		}
	}
	return n
}
