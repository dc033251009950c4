package channel

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
)

// MetadataName is the metadata entry that says of a float model which channels and operators of the lineage's first network it has.
const MetadataName = "espalier.channels"

// recordVersion is written; readers refuse others.
const recordVersion = 1

// record is the metadata: compact JSON.
type record struct {
	Version int      `json:"version"`
	Cuts    []axisOf `json:"cuts"`
	Gone    []int    `json:"gone,omitempty"` // operators, in order
}

// axisOf is a Cut of a tensor. Kept has a bit an index, eight a byte, the first lowest, in base64.
type axisOf struct {
	Tensor int    `json:"tensor"`
	Axis   int    `json:"axis"`
	Of     int    `json:"of"`
	Kept   string `json:"kept"`
}

// Write records in a model's metadata cuts and the operators that are gone, in order; none of either remove the entry.
func Write(m *tflite.Model, cuts Cuts, gone []int) error {
	if len(cuts) == 0 && len(gone) == 0 {
		m.DeleteMetadata(MetadataName)
		return nil
	}
	r := record{Version: recordVersion, Gone: gone}
	for _, t := range slices.Sorted(maps.Keys(cuts)) {
		for _, c := range cuts[t] {
			bits := make([]byte, (c.Of+7)/8)
			for _, k := range c.Kept {
				bits[k/8] |= 1 << (k % 8)
			}
			r.Cuts = append(r.Cuts, axisOf{t, c.Axis, c.Of, base64.StdEncoding.EncodeToString(bits)})
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	m.SetMetadata(MetadataName, data)
	return nil
}

// Read returns the cuts that a model's metadata records, and the operators that are gone, in order; nil if there are none. Cuts fit the model's
// tensors, or it is an error.
func Read(m *tflite.Model) (cuts Cuts, gone []int, err error) {
	data, ok := m.Metadata(MetadataName)
	if !ok {
		return nil, nil, nil
	}
	if cuts, gone, err = read(m, data); err != nil {
		return nil, nil, fmt.Errorf("metadata %q: %w", MetadataName, err)
	}
	return cuts, gone, nil
}

func read(m *tflite.Model, data []byte) (Cuts, []int, error) {
	var r record
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return nil, nil, fmt.Errorf("not readable: %w", err)
	}
	if r.Version != recordVersion {
		return nil, nil, fmt.Errorf("version %d; this version of espalier reads %d", r.Version, recordVersion)
	}
	cuts, tensors := Cuts{}, m.Subgraph().Tensors
	for _, a := range r.Cuts {
		bits, err := base64.StdEncoding.DecodeString(a.Kept)
		if err != nil || a.Of < 2 || len(bits) != (a.Of+7)/8 {
			return nil, nil, fmt.Errorf("tensor %d: the record of axis %d is not that of %d channels", a.Tensor, a.Axis, a.Of)
		}
		c := Cut{Axis: a.Axis, Of: a.Of}
		for i := range a.Of {
			if bits[i/8]>>(i%8)&1 == 1 {
				c.Kept = append(c.Kept, i)
			}
		}
		if a.Tensor < 0 || a.Tensor >= len(tensors) || a.Axis < 0 || a.Axis >= len(tensors[a.Tensor].Shape) || int(tensors[a.Tensor].Shape[a.Axis]) != len(c.Kept) {
			return nil, nil, fmt.Errorf("tensor %d has no axis %d of %d channels: another tool changed the file after espalier wrote it", a.Tensor, a.Axis, len(c.Kept))
		}
		if slices.ContainsFunc(cuts[a.Tensor], func(had Cut) bool { return had.Axis == a.Axis }) {
			return nil, nil, fmt.Errorf("tensor %d: axis %d is recorded twice", a.Tensor, a.Axis)
		}
		cuts[a.Tensor] = append(cuts[a.Tensor], c)
	}
	for i, o := range r.Gone {
		if o < 0 || i > 0 && o <= r.Gone[i-1] {
			return nil, nil, fmt.Errorf("operators %v are not in order", r.Gone)
		}
	}
	return cuts, r.Gone, nil
}
