package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The usual names of arrays.
var (
	usualSamples = []string{"x", "X"}
	usualLabels  = []string{"y", "Y", "labels", "label", "targets", "target"}
)

// match finds the arrays of every input, and those of labels.
func (c catalogue) match(spec *Spec) (inputs, targets []*stem, err error) {
	list := spec.inputs()
	inputs = make([]*stem, len(list))
	for k := range list {
		in := &list[k]
		if name := spec.declared(k); name != "" {
			if inputs[k] = c.find(name); inputs[k] == nil {
				return nil, nil, c.missing(spec, in, name)
			}
			continue
		}
		if len(list) == 1 {
			inputs[k] = c.find(usualSamples...)
		}
		if inputs[k] == nil {
			inputs[k] = c.named(in.Names, "x")
		}
	}
	targets, err = c.labels(spec, inputs)
	if err != nil {
		return nil, nil, err
	}
	return inputs, targets, c.byShape(spec, inputs, targets)
}

// named finds the array of one of several names, alone or after a prefix, whatever its case.
func (c catalogue) named(names []string, prefix string) *stem {
	for _, name := range names {
		for _, wanted := range []string{prefix + "_" + name, name} {
			for _, s := range c.sorted() {
				if name != "" && strings.EqualFold(s.name, wanted) {
					return s
				}
			}
		}
	}
	return nil
}

// byShape gives inputs that no name told the only array of their shape.
func (c catalogue) byShape(spec *Spec, inputs, targets []*stem) error {
	list := spec.inputs()
	var open []int
	for k := range inputs {
		if inputs[k] == nil {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return nil
	}
	taken := func(s *stem) bool {
		return slices.Contains(inputs, s) || slices.Contains(targets, s) || s.first().kind.text
	}
	found := map[*stem]int{}
	choice := map[int]*stem{}
	for _, k := range open {
		for _, s := range c.sorted() {
			if spec.Network != nil && !taken(s) && len(s.first().dims) > 0 && list[k].takes(s.shape()) {
				found[s]++
				if choice[k] != nil {
					return c.ambiguous(spec, open, taken)
				}
				choice[k] = s
			}
		}
	}
	for _, k := range open {
		if choice[k] == nil || found[choice[k]] > 1 {
			return c.ambiguous(spec, open, taken)
		}
		inputs[k] = choice[k]
	}
	return nil
}

// ambiguous says which inputs have no array, and which arrays no input.
func (c catalogue) ambiguous(spec *Spec, open []int, taken func(*stem) bool) error {
	list := spec.inputs()
	if len(list) == 1 {
		return c.missing(spec, &list[0], "")
	}
	var inputs, example []string
	for _, k := range open {
		inputs = append(inputs, list[k].String())
		example = append(example, list[k].name()+": ARRAY")
	}
	first, listed := list[open[0]].name(), plural(len(open), "input", "inputs")+" "+strings.Join(inputs, ", ")
	handed := fmt.Sprintf("where an output is handed on as such an input from step to step, say so: model.states: [{input: %s, output: OUTPUT}], --state %s=OUTPUT", first, first)
	free := c.list(taken)
	if free == "" {
		return fmt.Errorf("no array is left for %s of the network: add x_train_%s; or, %s", listed, first, handed)
	}
	left := slices.DeleteFunc(c.sorted(), taken)
	if len(left) < len(open) {
		return fmt.Errorf("there are fewer arrays, %s, than there are inputs without one, %s: add those that are missing, as x_train_%s or by dataset.samples: {%s}; or, %s",
			free, listed, first, strings.Join(example, ", "), handed)
	}
	return fmt.Errorf("neither name nor shape tells which array is for %s of the network; there are %s: name the arrays x_train_%s, or say dataset.samples: {%s}",
		listed, free, first, strings.Join(example, ", "))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// missing says which arrays there are instead of the wanted one.
func (c catalogue) missing(spec *Spec, in *Input, name string) error {
	if name != "" {
		stem, _ := divide(name)
		return fmt.Errorf("there is no %s_train, %s_test or %s for input %s; it holds %s (dataset.samples and dataset.labels name others)",
			stem, stem, stem, in.name(), c.names())
	}
	key := "x"
	if spec.Network != nil {
		key = in.name()
	}
	return fmt.Errorf("there is no x_train, x_test or x; it holds %s: say which is the samples, dataset.samples: {%s: ARRAY}, and which the labels, dataset.labels: ARRAY",
		c.names(), key)
}

// labels finds the arrays of labels: those that the Spec names, else y and, with a name after it, y_…; and those named as outputs.
func (c catalogue) labels(spec *Spec, inputs []*stem) ([]*stem, error) {
	if spec.Target == None {
		return nil, nil
	}
	var out []*stem
	add := func(s *stem) {
		if s != nil && !slices.Contains(out, s) && !slices.Contains(inputs, s) {
			out = append(out, s)
		}
	}
	if spec.Labels != "" {
		s := c.find(spec.Labels)
		if s == nil {
			return nil, fmt.Errorf("there is no array %s of labels; it holds %s", spec.Labels, c.names())
		}
		add(s)
	} else {
		add(c.find(usualLabels...))
	}
	if spec.Network == nil {
		return out, nil
	}
	outputs := spec.Network.Outputs
	for i := range outputs {
		switch name := outputs[i].Target; {
		case name != "":
			s := c.find(name, "y_"+name)
			if s == nil {
				return nil, fmt.Errorf("there is no array %s for output %s; it holds %s", name, outputs[i].Names[0], c.names())
			}
			add(s)
		case spec.Labels == "" || len(outputs) > 1:
			add(c.named(outputs[i].Names, "y"))
		}
	}
	if len(outputs) > 1 && spec.Labels == "" {
		for _, s := range c.sorted() {
			if len(s.name) > 2 && strings.EqualFold(s.name[:2], "y_") && !s.first().kind.text {
				add(s)
			}
		}
	}
	return out, nil
}

// errNoSamples is returned where a split has labels alone.
var errNoSamples = errors.New("no samples")

// assemble makes the parts of arrays.
func (c catalogue) assemble(spec *Spec) (*parts, error) {
	inputs, targets, err := c.match(spec)
	if err != nil {
		return nil, err
	}
	found := &parts{}
	slots := []**part{&found.train, &found.validation, &found.test}
	for i, slot := range slots {
		if *slot, err = found.open(inputs, targets, i); err != nil && !errors.Is(err, errNoSamples) {
			return nil, err
		}
	}
	if found.train == nil && found.validation == nil && found.test == nil {
		found.single = true
		if found.train, err = found.open(inputs, targets, undivided); err != nil {
			return nil, err
		}
	}
	if found.train == nil && found.test == nil {
		return nil, c.missing(spec, &spec.inputs()[0], inputs[0].name)
	}
	return found, found.tell(targets, spec)
}

// open opens the arrays of a split.
func (p *parts) open(inputs, targets []*stem, split int) (*part, error) {
	out := &part{}
	for _, s := range inputs {
		e := s.splits[split]
		if e == nil {
			if first := slices.IndexFunc(inputs, func(s *stem) bool { return s.splits[split] != nil }); first >= 0 {
				return nil, fmt.Errorf("%s has no counterpart for %s", inputs[first].splits[split].name, s.first().name)
			}
			return nil, errNoSamples
		}
		if e.kind.text {
			return nil, fmt.Errorf("array %q has element type %s; save it as a number type with astype, such as float32 or uint8", e.name, e.kind.name)
		}
		a, err := e.open()
		if err != nil {
			return nil, err
		}
		if len(out.inputs) > 0 && a.len() != out.len() {
			return nil, fmt.Errorf("%s has %d samples, %s has %d", a.title, a.len(), strings.TrimSuffix(out.name(0), ": sample 0"), out.len())
		}
		out.inputs = append(out.inputs, a)
		p.files = append(p.files, e.file)
	}
	for _, s := range targets {
		e := s.splits[split]
		if e == nil {
			out.raw = append(out.raw, nil)
			continue
		}
		a, err := e.open()
		if err != nil {
			return nil, err
		}
		if a.len() != out.len() {
			hint := ""
			if a.len() == out.len()+1 && strings.Contains(strings.ToLower(e.file), ".csv") {
				hint = ": if its first row is a heading, call it `label`"
			}
			return nil, fmt.Errorf("%s has %d entries for %d samples%s", a.title, a.len(), out.len(), hint)
		}
		out.raw = append(out.raw, a)
		p.files = append(p.files, e.file)
	}
	return out, nil
}
