package tflite

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// DefaultSignature is the signature that is worked on where a model has several and none is chosen.
const DefaultSignature = "serving_default"

// Select makes the subgraph of a signature the primary one, so that everything works on it. The others are carried through. Without a
// key it is the only signature's, or DefaultSignature's. It returns a note where the model has signatures of other subgraphs, and
// whether subgraphs changed places. It is an error if the model has no such signature, or several and none is chosen.
func Select(m *Model, key string) (note string, moved bool, err error) {
	subgraphs := map[uint32]bool{}
	for _, s := range m.SignatureDefs {
		subgraphs[s.SubgraphIndex] = true
	}
	wanted := key
	if key == "" {
		if len(subgraphs) < 2 {
			return "", false, nil // as the file has it
		}
		wanted = DefaultSignature
	}
	at := slices.IndexFunc(m.SignatureDefs, func(s *schema.SignatureDefT) bool { return s.SignatureKey == wanted })
	switch {
	case at < 0 && key == "":
		return "", false, fmt.Errorf("the model has %d signatures, %s: say which to work on (model.signature)", len(m.SignatureDefs), m.signatures(nil))
	case at < 0 && len(m.SignatureDefs) == 0:
		return "", false, fmt.Errorf("the model has no signatures, so none called %q", key)
	case at < 0:
		return "", false, fmt.Errorf("the model has no signature %q; it has %s", key, m.signatures(nil))
	}
	chosen := m.SignatureDefs[at].SubgraphIndex
	if len(subgraphs) > 1 {
		note = fmt.Sprintf("signature %q is worked on; carried through as they are: %s", wanted, m.signatures(&chosen))
	}
	if chosen != 0 {
		m.swapSubgraphs(chosen)
	}
	return note, chosen != 0, nil
}

// signatures lists the signatures with the shapes of their inputs, without those of one subgraph.
func (m *Model) signatures(without *uint32) string {
	var list []string
	for _, s := range m.SignatureDefs {
		if without != nil && s.SubgraphIndex == *without {
			continue
		}
		var inputs []string
		for _, in := range s.Inputs {
			inputs = append(inputs, fmt.Sprintf("%s %v", in.Name, m.Subgraphs[s.SubgraphIndex].Tensors[in.TensorIndex].Shape))
		}
		list = append(list, fmt.Sprintf("%q (%s)", s.SignatureKey, strings.Join(inputs, ", ")))
	}
	return strings.Join(list, ", ")
}

// swapSubgraphs lets the primary subgraph and another change places.
func (m *Model) swapSubgraphs(other uint32) {
	m.Subgraphs[0], m.Subgraphs[other] = m.Subgraphs[other], m.Subgraphs[0]
	place := func(i uint64) uint64 {
		switch i {
		case 0:
			return uint64(other)
		case uint64(other):
			return 0
		default:
			return i
		}
	}
	for _, s := range m.SignatureDefs {
		s.SubgraphIndex = uint32(place(uint64(s.SubgraphIndex)))
	}
	for _, g := range m.Subgraphs {
		eachSubgraphNamed(g, place)
	}
}

// renumberSubgraphs changes the fields of an operator's options that name a subgraph: those of IF, WHILE, CALL, CALL_ONCE and others.
func renumberSubgraphs(options any, place func(uint64) uint64) {
	v := reflect.ValueOf(options)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return
	}
	v = v.Elem()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if indices, ok := f.Interface().([]int32); ok && strings.HasSuffix(name, "SubgraphIndices") {
			for k, at := range indices {
				indices[k] = int32(place(uint64(at)))
			}
			continue
		}
		if name != "Subgraph" && !strings.HasSuffix(name, "SubgraphIndex") {
			continue
		}
		switch {
		case f.CanInt() && f.Int() >= 0:
			f.SetInt(int64(place(uint64(f.Int()))))
		case f.CanUint():
			f.SetUint(place(f.Uint()))
		}
	}
}
