package dataset

import "fmt"

// Source streams samples by index. Its methods may be called from many goroutines at once.
type Source interface {
	// Len returns the number of samples, at least 1.
	Len() int
	// Inputs describes what a sample has for each input of the network, in the order of the network's inputs.
	Inputs() []Array
	// Targets describes what there is to predict of a sample; none without labels.
	Targets() []Target
	// Read fills x, a slice for every input as long as its shape's product, with sample i. A sample with NaN or Inf is a
	// *SampleError, which names it.
	Read(i int, x [][]float32) error
	// Truth fills y, a slice for every target as long as its shape's product, with the targets of sample i: classes as numbers.
	Truth(i int, y [][]float32) error
}

// Array is one input's part of a sample.
type Array struct {
	Name  string
	Shape []int // after preprocessing, without a batch dimension
	Type  Type  // as stored; empty if it varies or is an image's
	// Features that the samples are, of sound; empty if they are something else.
	Features Features
}

// Size is the values of a sample.
func (a Array) Size() int { return numel(a.Shape) }

// Target is what there is to predict of every sample.
type Target struct {
	Name    string
	Shape   []int // of one sample; empty: one number
	Kind    Kind
	Classes int // of Class
	// Numbers says that the Spec declares Values: of Value, and not to be taken for classes because of how they look.
	Numbers bool
}

// Size is the numbers of a sample.
func (t Target) Size() int { return numel(t.Shape) }

// Kind is what the numbers of a target are.
type Kind string

// The kinds.
const (
	Class Kind = "Class" // a class at every position
	Value Kind = "Value" // numbers: regression, one-hot rows, yes or no for each of several labels
)

// SampleError is a sample that cannot be read: damaged, or not finite.
type SampleError struct{ Err error }

func (e *SampleError) Error() string { return e.Err.Error() }
func (e *SampleError) Unwrap() error { return e.Err }

// FitError is a dataset whose samples are not what a model takes: another number of inputs, another shape.
type FitError struct{ Err error }

func (e *FitError) Error() string { return e.Err.Error() }
func (e *FitError) Unwrap() error { return e.Err }

// Shapes are the shapes of a source's inputs.
func Shapes(s Source) [][]int {
	var out [][]int
	for _, in := range s.Inputs() {
		out = append(out, in.Shape)
	}
	return out
}

// TargetShapes are the shapes of a source's targets; that of one number, or of one class, is empty.
func TargetShapes(s Source) [][]int {
	var out [][]int
	for _, t := range s.Targets() {
		out = append(out, t.Shape)
	}
	return out
}

// Sample makes room for the inputs of one sample.
func Sample(s Source) [][]float32 {
	var out [][]float32
	for _, in := range s.Inputs() {
		out = append(out, make([]float32, numel(in.Shape)))
	}
	return out
}

// Truths makes room for the targets of one sample.
func Truths(s Source) [][]float32 {
	var out [][]float32
	for _, t := range s.Targets() {
		out = append(out, make([]float32, t.Size()))
	}
	return out
}

// ClassCount is the number of classes of the first target that has any, 0 without.
func ClassCount(s Source) int {
	for _, t := range s.Targets() {
		if t.Kind == Class {
			return t.Classes
		}
	}
	return 0
}

// Labels returns the class of every sample by the first target that is one class a sample; nil without. Samples are not read.
func Labels(s Source) []int {
	if t, ok := s.(interface{ labels() []int }); ok {
		return t.labels()
	}
	return nil
}

// store holds samples as they are stored. Its methods are safe for concurrent use.
type store interface {
	len() int
	// shape is that of every sample; of the first if the store is a varying one.
	shape() []int
	// read decodes sample i. into.values may be reused.
	read(i int, into *sample) error
	// name says where sample i comes from, for messages.
	name(i int) string
}

// varying is a store of images that may differ in size.
type varying interface{ varying() *sizes }

// sample is one decoded sample.
type sample struct {
	shape  []int
	values []float32
}

// grow returns values of length n, reusing memory.
func (s *sample) grow(n int) []float32 {
	if cap(s.values) < n {
		s.values = make([]float32, n)
	}
	s.values = s.values[:n]
	return s.values
}

// part is what a format finds for one split, or for all.
type part struct {
	inputs  []store   // by input of the network
	raw     []*array  // labels as stored, by array; nil where the split has none
	targets []*target // none without labels
}

// len is the number of samples.
func (p *part) len() int { return p.inputs[0].len() }

// name says where sample i comes from.
func (p *part) name(i int) string { return p.inputs[0].name(i) }

// target is one target of a part.
type target struct {
	Target
	classes []int32 // of every sample where it has one; else values
	values  store
}

// single returns the first target that is one class a sample, nil without.
func (p *part) single() *target {
	for _, t := range p.targets {
		if t.classes != nil {
			return t
		}
	}
	return nil
}

// view is a Source: the samples of a part, or some of them, preprocessed.
type view struct {
	part
	index   []int32 // which samples; nil: all
	count   int
	names   []string    // of inputs
	steps   []*pipeline // by input
	augment *augmenter  // nil: none declared; of inputs that are prepared
}

func (v *view) Len() int { return v.count }

func (v *view) Inputs() []Array {
	out := make([]Array, len(v.inputs))
	for k, steps := range v.steps {
		out[k] = Array{Name: v.names[k], Shape: append([]int(nil), steps.shape...)}
		if a, ok := v.inputs[k].(*array); ok {
			out[k].Type = a.kind.name
		}
		if l, ok := v.inputs[k].(*listener); ok && l.extractor != nil {
			out[k].Features = Features(l.extractor.Kind)
		}
	}
	return out
}

func (v *view) Targets() []Target {
	var out []Target
	for _, t := range v.targets {
		out = append(out, t.Target)
	}
	return out
}

func (v *view) stored(i int) int {
	if v.index == nil {
		return i
	}
	return int(v.index[i])
}

func (v *view) Read(i int, x [][]float32) error { return v.read(i, x, nil) }

func (v *view) read(i int, x [][]float32, change *change) error {
	if i < 0 || i >= v.count {
		return fmt.Errorf("sample %d: there are %d", i, v.count)
	}
	if len(x) != len(v.inputs) {
		return fmt.Errorf("samples have %d inputs, not %d", len(v.inputs), len(x))
	}
	j := v.stored(i)
	for k, steps := range v.steps {
		if err := steps.run(v.inputs[k], j, x[k], steps.varied(change)); err != nil {
			return &SampleError{err}
		}
	}
	return nil
}

func (v *view) Truth(i int, y [][]float32) error {
	switch {
	case i < 0 || i >= v.count:
		return fmt.Errorf("sample %d: there are %d", i, v.count)
	case len(y) != len(v.targets):
		return fmt.Errorf("samples have %d targets, not %d", len(v.targets), len(y))
	}
	j := v.stored(i)
	for k, t := range v.targets {
		if len(y[k]) != t.Size() {
			return fmt.Errorf("target %s has %d numbers a sample, not %d", t.Name, t.Size(), len(y[k]))
		}
		if t.classes != nil {
			y[k][0] = float32(t.classes[j])
			continue
		}
		out := sample{values: y[k][:0:len(y[k])]}
		if err := t.values.read(j, &out); err != nil {
			return err
		}
		if err := finite(t.values, j, out.values); err != nil {
			return &SampleError{err}
		}
	}
	return nil
}

func (v *view) labels() []int {
	t := v.single()
	if t == nil {
		return nil
	}
	out := make([]int, v.count)
	for i := range out {
		out[i] = int(t.classes[v.stored(i)])
	}
	return out
}

// numel is the product of a shape.
func numel(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// First returns the first n samples of a source, or all where there are fewer.
func First(s Source, n int) Source {
	index := make([]int, min(max(n, 1), s.Len()))
	for i := range index {
		index[i] = i
	}
	return &subset{Source: s, index: index}
}

// subset is some samples of a source.
type subset struct {
	Source
	index []int
}

func (s *subset) Len() int { return len(s.index) }

func (s *subset) Read(i int, x [][]float32) error {
	if i < 0 || i >= len(s.index) {
		return fmt.Errorf("sample %d: there are %d", i, len(s.index))
	}
	return s.Source.Read(s.index[i], x)
}

func (s *subset) Truth(i int, y [][]float32) error {
	if i < 0 || i >= len(s.index) {
		return fmt.Errorf("sample %d: there are %d", i, len(s.index))
	}
	return s.Source.Truth(s.index[i], y)
}

func (s *subset) labels() []int {
	all := Labels(s.Source)
	if all == nil {
		return nil
	}
	out := make([]int, len(s.index))
	for k, i := range s.index {
		out[k] = all[i]
	}
	return out
}
