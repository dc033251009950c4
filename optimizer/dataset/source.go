package dataset

import (
	"errors"
	"fmt"
)

// Source streams samples by index. Its methods may be called from many goroutines at once.
type Source interface {
	// Len returns the number of samples, at least 1.
	Len() int
	// Shape returns the shape of a sample after preprocessing, without a batch dimension.
	Shape() []int
	// Classes returns the number of classes, 0 without class labels.
	Classes() int
	// Read fills x, as long as Shape's product, with sample i and returns its class, -1 without class labels. A sample with
	// NaN or Inf is an error, which names the sample.
	Read(i int, x []float32) (label int, err error)
	// Target fills y with the numbers to predict for sample i. It is ErrNoTarget where there are none, and an error if y has
	// another length than there are numbers.
	Target(i int, y []float32) error
}

// SampleError is a sample that cannot be read: damaged, or not finite.
type SampleError struct{ Err error }

func (e *SampleError) Error() string { return e.Err.Error() }
func (e *SampleError) Unwrap() error { return e.Err }

// ErrNoTarget is returned by Source.Target for samples without regression targets.
var ErrNoTarget = errors.New("the dataset has no regression targets")

// TargetSize returns the numbers Target gives for each sample, 0 without regression targets.
func TargetSize(s Source) int {
	switch t := s.(type) {
	case interface{ targetSize() int }:
		return t.targetSize()
	case interface{ TargetSize() int }: // a Source of another package
		return t.TargetSize()
	}
	return 0
}

// Labels returns the class of every sample, nil without class labels. Samples are not read.
func Labels(s Source) []int {
	if t, ok := s.(interface{ classes() []int }); ok {
		return t.classes()
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

// part is what a format finds for one split, or for all: samples with class labels, targets or neither.
type part struct {
	samples store
	labels  []int32 // class of each sample
	targets store
}

// view is a Source: the samples of a part, or some of them, preprocessed.
type view struct {
	part
	index   []int32 // which samples; nil: all
	count   int
	classN  int
	steps   *pipeline
	augment *augmenter // nil: none declared
}

func (v *view) Len() int     { return v.count }
func (v *view) Shape() []int { return append([]int(nil), v.steps.shape...) }
func (v *view) Classes() int { return v.classN }

func (v *view) stored(i int) int {
	if v.index == nil {
		return i
	}
	return int(v.index[i])
}

func (v *view) Read(i int, x []float32) (int, error) { return v.read(i, x, nil) }

func (v *view) read(i int, x []float32, change *change) (int, error) {
	if i < 0 || i >= v.count {
		return -1, fmt.Errorf("sample %d: there are %d", i, v.count)
	}
	j := v.stored(i)
	if err := v.steps.run(v.samples, j, x, change); err != nil {
		return -1, &SampleError{err}
	}
	if v.labels == nil {
		return -1, nil
	}
	return int(v.labels[j]), nil
}

func (v *view) Target(i int, y []float32) error {
	switch {
	case v.targets == nil:
		return ErrNoTarget
	case i < 0 || i >= v.count:
		return fmt.Errorf("sample %d: there are %d", i, v.count)
	case len(y) != v.targetSize():
		return fmt.Errorf("the dataset has %d target values a sample, not %d", v.targetSize(), len(y))
	}
	j := v.stored(i)
	out := sample{values: y[:0:len(y)]}
	if err := v.targets.read(j, &out); err != nil {
		return err
	}
	return finite(v.targets, j, out.values)
}

func (v *view) targetSize() int {
	if v.targets == nil {
		return 0
	}
	return numel(v.targets.shape())
}

func (v *view) classes() []int {
	if v.labels == nil {
		return nil
	}
	out := make([]int, v.count)
	for i := range out {
		out[i] = int(v.labels[v.stored(i)])
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

// Subset returns the samples of a source at the given indices, in that order.
func Subset(s Source, index []int) (Source, error) {
	for _, i := range index {
		if i < 0 || i >= s.Len() {
			return nil, fmt.Errorf("sample %d: there are %d", i, s.Len())
		}
	}
	return &subset{Source: s, index: index}, nil
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

func (s *subset) Read(i int, x []float32) (int, error) {
	if i < 0 || i >= len(s.index) {
		return -1, fmt.Errorf("sample %d: there are %d", i, len(s.index))
	}
	return s.Source.Read(s.index[i], x)
}

func (s *subset) Target(i int, y []float32) error {
	if i < 0 || i >= len(s.index) {
		return fmt.Errorf("sample %d: there are %d", i, len(s.index))
	}
	return s.Source.Target(s.index[i], y)
}

func (s *subset) targetSize() int { return TargetSize(s.Source) }

func (s *subset) classes() []int {
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
