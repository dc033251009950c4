package dataset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Network says what a dataset is for: which inputs its arrays belong to, which outputs its labels.
type Network struct {
	Inputs  []Input
	Outputs []Output
}

// Input is an input of a network.
type Input struct {
	Names   []string // of the signature, of the tensor …; the first is for messages
	Shape   []int    // of one sample; −1 where the size is open
	Integer bool     // it takes integers, such as ids: they are neither scaled nor normalised
}

// Output is an output of a network.
type Output struct {
	Names  []string
	Shape  []int  // of one sample; −1 where the size is open
	Target string // the array that it is told by, where the user says so
	Steps  bool   // the network keeps state: a sample is a sequence of steps, each of which may have a target of its own
}

// Tell says which target an output is told by; an output that there is not is left to others to refuse.
func (n *Network) Tell(output, target string) {
	for i := range n.Outputs {
		if called(n.Outputs[i].Names, output) {
			n.Outputs[i].Target = target
		}
	}
}

// Samples names arrays or features by the network's input that they belong to. In JSON it may also be the name alone, for networks of
// one input.
type Samples map[string]string

// UnmarshalJSON accepts an object or a string.
func (s *Samples) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(data)), `"`) {
		var name string
		if err := json.Unmarshal(data, &name); err != nil {
			return err
		}
		*s = Samples{"": name}
		return nil
	}
	return json.Unmarshal(data, (*map[string]string)(s))
}

// inputs are the network's inputs; one of no known shape where there is no network.
func (s *Spec) inputs() []Input {
	if s.Network == nil {
		return []Input{{Names: []string{"x"}}}
	}
	return s.Network.Inputs
}

// name is for messages and in Array.
func (in *Input) name() string {
	if len(in.Names) == 0 {
		return ""
	}
	return in.Names[0]
}

// is reports whether a name is one of the input's, whatever its case.
func (in *Input) is(name string) bool { return called(in.Names, name) }

func called(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.EqualFold(n, name) })
}

// String is the input's name and shape.
func (in *Input) String() string { return fmt.Sprintf("%s %s", in.name(), sizesOf(in.Shape)) }

// sizesOf writes a shape with ? for open sizes.
func sizesOf(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), "-1", "?") }

// takes reports whether samples of a shape fit, apart from dimensions of 1.
func (in *Input) takes(shape []int) bool {
	have, want := withoutOnes(shape), withoutOnes(in.Shape)
	return slices.EqualFunc(have, want, func(h, w int) bool { return w == -1 || h == w })
}

func withoutOnes(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// onlyOutput is the network's output, nil of a network that has several.
func (s *Spec) onlyOutput() *Output {
	if s.Network == nil || len(s.Network.Outputs) != 1 {
		return nil
	}
	return &s.Network.Outputs[0]
}

// size is the values of a sample, 0 where that is open.
func (o *Output) size() int {
	if slices.Contains(o.Shape, -1) {
		return 0
	}
	return numel(o.Shape)
}

// width is the last dimension, 0 where that is open.
func (o *Output) width() int {
	if len(o.Shape) == 0 {
		return 1
	}
	return max(0, o.Shape[len(o.Shape)-1])
}

// declared returns the array that the Spec names for input k, "" where it names none.
func (s *Spec) declared(k int) string {
	inputs := s.inputs()
	if len(inputs) == 1 && len(s.Samples) == 1 {
		for _, array := range s.Samples {
			return array
		}
	}
	for name, array := range s.Samples {
		if inputs[k].is(name) {
			return array
		}
	}
	return ""
}

// checkSamples refuses names of inputs that the network does not have.
func (s *Spec) checkSamples() error {
	inputs := s.inputs()
	if s.Network == nil && len(s.Samples) > 1 {
		return fmt.Errorf("samples names %d inputs; without a network one is expected", len(s.Samples))
	}
	if len(inputs) == 1 && len(s.Samples) == 1 {
		return nil
	}
	for name := range s.Samples {
		if !slices.ContainsFunc(inputs, func(in Input) bool { return in.is(name) }) {
			return fmt.Errorf("samples names an input %q; the network has %s", name, list(inputs))
		}
	}
	return nil
}

// list names inputs with their shapes.
func list(inputs []Input) string {
	var out []string
	for i := range inputs {
		out = append(out, inputs[i].String())
	}
	return strings.Join(out, ", ")
}
