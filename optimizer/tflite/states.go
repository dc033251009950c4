package tflite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// StatesName is the metadata entry that pairs the inputs and outputs by which a network hands its state on.
const StatesName = "espalier.states"

// answersName is the metadata entry that says at which steps of a sequence a network with state is asked.
const answersName = "espalier.answers"

// eachStep is its only value.
const eachStep = `"EachStep"`

// SetEachStep records whether a network with state is asked at each step of a sequence; else at the last alone.
func (m *Model) SetEachStep(each bool) {
	m.DeleteMetadata(answersName)
	if each {
		m.SetMetadata(answersName, []byte(eachStep))
	}
}

// EachStep reports whether that was recorded.
func (m *Model) EachStep() bool {
	data, _ := m.Metadata(answersName)
	return string(data) == eachStep
}

// chunkName is the metadata entry that says how many steps of a sequence are unrolled at once.
const chunkName = "espalier.chunk"

// SetChunk records how many steps of a sequence a network with state is trained over at once; 0: as many as can be.
func (m *Model) SetChunk(steps int) {
	m.DeleteMetadata(chunkName)
	if steps > 0 {
		m.SetMetadata(chunkName, []byte(strconv.Itoa(steps)))
	}
}

// Chunk returns what was recorded, 0 without.
func (m *Model) Chunk() int {
	data, _ := m.Metadata(chunkName)
	steps, err := strconv.Atoi(string(data))
	if err != nil || steps < 0 {
		return 0
	}
	return steps
}

// Assigns reports whether the primary subgraph sets a variable, by which a network keeps state.
func (m *Model) Assigns() bool {
	return slices.ContainsFunc(m.Subgraph().Operators, func(o *schema.OperatorT) bool {
		code, _ := m.Op(o)
		return code == schema.BuiltinOperatorASSIGN_VARIABLE
	})
}

// StatePair is state that a network hands on from step to step: what Output gives is the next step's Input. Both are names, of the
// signature or of tensors.
type StatePair struct {
	Input  string `json:"input"`
	Output string `json:"output"`
}

// SetStates records which inputs and outputs are state.
func (m *Model) SetStates(pairs []StatePair) error {
	m.DeleteMetadata(StatesName)
	if len(pairs) == 0 {
		return nil
	}
	if _, err := m.statesOf(pairs); err != nil {
		return err
	}
	data, err := json.Marshal(pairs)
	if err != nil {
		return err
	}
	m.SetMetadata(StatesName, data)
	return nil
}

// States are the inputs and outputs, as tensors of the primary subgraph, that the file's metadata calls state; none without an entry.
func (m *Model) States() ([][2]int, error) {
	data, ok := m.Metadata(StatesName)
	if !ok {
		return nil, nil
	}
	var pairs []StatePair
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pairs); err != nil {
		return nil, wrong("metadata "+StatesName, "%v", err)
	}
	return m.statesOf(pairs)
}

// statesOf finds the tensors of pairs.
func (m *Model) statesOf(pairs []StatePair) ([][2]int, error) {
	g := m.Subgraph()
	taken := map[int]string{}
	find := func(kind, name string, border []int32) (int, error) {
		names := m.borderNames(border, kind == "output")
		for k, t := range border {
			if !slices.Contains(names[k], name) {
				continue
			}
			if before, ok := taken[int(t)]; ok {
				return 0, fmt.Errorf("the %s %q is that of two states (%s)", kind, name, before)
			}
			taken[int(t)] = name
			return int(t), nil
		}
		var all []string
		for _, n := range names {
			all = append(all, n[0])
		}
		return 0, fmt.Errorf("the model has no %s %q; it has %q", kind, name, all)
	}
	var out [][2]int
	for _, p := range pairs {
		in, err := find("input", p.Input, g.Inputs)
		if err != nil {
			return nil, err
		}
		y, err := find("output", p.Output, g.Outputs)
		if err != nil {
			return nil, err
		}
		if a, b := g.Tensors[in], g.Tensors[y]; !slices.Equal(a.Shape, b.Shape) || a.Type != b.Type {
			return nil, fmt.Errorf("input %q is %s %v, output %q %s %v: what a step gives is the next one's input, so they are alike", p.Input, a.Type, a.Shape, p.Output, b.Type, b.Shape)
		}
		out = append(out, [2]int{in, y})
	}
	return out, nil
}

// borderNames are the names of inputs or outputs: those of signatures, then the tensor's.
func (m *Model) borderNames(border []int32, outputs bool) [][]string {
	names := make([][]string, len(border))
	for k, t := range border {
		for _, s := range m.SignatureDefs {
			entries := s.Inputs
			if outputs {
				entries = s.Outputs
			}
			for _, e := range entries {
				if s.SubgraphIndex == 0 && int32(e.TensorIndex) == t {
					names[k] = append(names[k], e.Name)
				}
			}
		}
		names[k] = append(names[k], m.Subgraph().Tensors[t].Name)
	}
	return names
}

// AddOp appends an operator to a subgraph and returns it. Options may be nil.
func (m *Model) AddOp(g *schema.SubGraphT, code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, inputs, outputs []int32) *schema.OperatorT {
	o := m.NewOp(code, kind, options, inputs, outputs)
	g.Operators = append(g.Operators, o)
	return o
}

// NewOp is an operator that is in no subgraph yet.
func (m *Model) NewOp(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, inputs, outputs []int32) *schema.OperatorT {
	at := slices.IndexFunc(m.OperatorCodes, func(c *schema.OperatorCodeT) bool { return c.BuiltinCode == code })
	if at < 0 {
		at = len(m.OperatorCodes)
		m.OperatorCodes = append(m.OperatorCodes, &schema.OperatorCodeT{BuiltinCode: code, DeprecatedBuiltinCode: int8(min(code, 127)), Version: 1})
	}
	o := &schema.OperatorT{OpcodeIndex: uint32(at), Inputs: inputs, Outputs: outputs}
	if options != nil {
		o.BuiltinOptions = &schema.BuiltinOptionsT{Type: kind, Value: options}
	}
	return o
}
