package weight

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Scope says what shares a codebook.
type Scope string

const (
	// Shared is one codebook of integers for the tensor, under a scale per output channel or fewer (ScaleIndex).
	Shared Scope = "Shared"
	// PerTensor is one codebook and one scale for the tensor.
	PerTensor Scope = "Tensor"
	// PerChannel is a codebook and a scale for every output channel.
	PerChannel Scope = "Channel"
)

// State is what the weights of a tensor are held to from one stage to the next.
type State struct {
	Shape []int
	Axis  int // of the output channels

	Mask []uint8 // 1 keeps, 0 prunes; nil: nothing is pruned

	// The rest is set for clustered weights only.
	Scope    Scope     // "" : not clustered
	Clusters int       // at most so many distinct values, zero of the mask included, in the tensor (PerChannel: a channel)
	Scale    []float32 // one (PerTensor), as ScaleIndex has them (Shared), or one per output channel
	CodeSets [][]int8  // sorted codes without the mask's zero: one set, or one per output channel (PerChannel)
	Lambda   float32   // price of a bit, in squared code units, that the codes were chosen under
	// Most is the largest magnitude that the codes may have, 0: MaxCode. It is not recorded: a leaf's width is its own.
	Most int
	// Found says that the codes were found in a file of which most weights are not clustered: kept, but no stage's doing.
	Found bool
}

// Clustered reports whether the weights have codebooks.
func (s State) Clustered() bool { return s.Scope != "" }

// Pruned counts the masked weights.
func (s State) Pruned() int {
	n := 0
	for _, m := range s.Mask {
		if m == 0 {
			n++
		}
	}
	return n
}

// Part is the state of part i of n equal ones that the first dimension, that of the output channels, is cut into.
func (s State) Part(i, n int) State {
	if n == 1 {
		return s
	}
	rows := s.Shape[0] / n
	s.Shape = slices.Clone(s.Shape)
	s.Shape[0] = rows
	if s.Mask != nil {
		size := len(s.Mask) / n
		s.Mask = s.Mask[i*size:][:size]
	}
	if len(s.Scale) > 1 {
		scales := len(s.Scale) / n
		s.Scale = s.Scale[i*scales:][:scales]
	}
	if len(s.CodeSets) > 1 {
		s.CodeSets = s.CodeSets[i*rows:][:rows]
	}
	return s
}

// State returns what the tensor is held to.
func (t *Tensor) State() State {
	s := State{Shape: slices.Clone(t.Shape), Axis: t.Axis, Mask: slices.Clone(t.Mask)}
	if t.Most != MaxCode {
		s.Most = t.Most
	}
	if t.Codebooks == nil {
		return s
	}
	s.Scale = slices.Clone(t.Scale)
	switch {
	case len(t.Codebooks) > 1:
		s.Scope = PerChannel
	case len(t.Scale) > 1:
		s.Scope = Shared
	default:
		s.Scope = PerTensor
	}
	for _, book := range t.Codebooks {
		s.CodeSets = append(s.CodeSets, book.Codes())
		n := book.Len()
		if book.nonzero {
			n++
		}
		s.Clusters = max(s.Clusters, n)
		s.Lambda = max(s.Lambda, book.Lambda)
	}
	return s
}

// FromState returns the tensor that values and their state describe, ready to train: float (with its mask), or clustered.
func FromState(name string, values []float32, s State) (*Tensor, error) {
	t, err := New(name, s.Shape, s.Axis, values)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("weights %q: %w", name, err)
	}
	t.Most = s.most()
	if err := t.SetMask(s.Mask); err != nil {
		return nil, err
	}
	if !s.Clustered() {
		return t, nil
	}
	books := make([]*Codebook, len(s.CodeSets))
	for b, codes := range s.CodeSets {
		centers := make([]float32, len(codes))
		for k, code := range codes {
			centers[k] = float32(code)
		}
		if books[b], err = NewCodebook(centers, t.Most, s.Mask != nil); err != nil {
			return nil, fmt.Errorf("weights %q: %w", name, err)
		}
	}
	if err := t.SetCodebooks(s.Scale, books); err != nil {
		return nil, err
	}
	return t, t.price(s.Lambda)
}

// price gives every codebook λ and the shares that its members have now.
func (t *Tensor) price(lambda float32) error {
	if lambda == 0 {
		return nil
	}
	count := make([][]float32, len(t.Codebooks))
	for b, book := range t.Codebooks {
		count[b] = make([]float32, book.Len())
	}
	for i, k := range t.members {
		if k != pruned {
			count[min(t.channel(i), len(count)-1)][k]++
		}
	}
	for b, book := range t.Codebooks {
		if err := book.Price(lambda, count[b]); err != nil {
			return fmt.Errorf("weights %q: codebook %d: %w", t.Name, b, err)
		}
	}
	return nil
}

// Codes returns the integers that values are the multiples of: for every surviving weight the code whose multiple of its
// channel's scale is nearest. Values that Materialize gave are met exactly.
func (s State) Codes(values []float32) ([]int8, error) {
	t, err := FromState("", values, State{
		Shape: s.Shape, Axis: s.Axis, Mask: s.Mask, Scope: s.Scope, Clusters: s.Clusters, Scale: s.Scale, CodeSets: s.CodeSets,
	})
	if err != nil {
		return nil, err
	}
	codes := make([]int8, t.Len())
	return codes, t.Codes(codes)
}

// most is the largest magnitude of a code.
func (s State) most() int {
	if s.Most == 0 {
		return MaxCode
	}
	return s.Most
}

// check reports a state that is inconsistent.
func (s State) check() error {
	n := 1
	for _, d := range s.Shape {
		n *= d
	}
	g, err := checkGeometry(s.Shape, s.Axis, n)
	if err != nil {
		return err
	}
	if s.Mask != nil && len(s.Mask) != g.size() {
		return fmt.Errorf("mask of %d for %d weights", len(s.Mask), g.size())
	}
	for i, m := range s.Mask {
		if m > 1 {
			return fmt.Errorf("mask %d is %d, neither 0 nor 1", i, m)
		}
	}
	if !s.Clustered() {
		if len(s.Scale) > 0 || len(s.CodeSets) > 0 || s.Clusters != 0 || s.Lambda != 0 {
			return errors.New("scales or codes without a scope")
		}
		return nil
	}
	books, scales := 1, len(s.Scale)
	switch s.Scope {
	case Shared:
		if len(s.Scale) == 1 {
			scales = g.channels
		}
	case PerTensor:
		scales = 1
	case PerChannel:
		books, scales = g.channels, g.channels
	default:
		return fmt.Errorf("scope %q is none of Shared, Tensor, Channel", s.Scope)
	}
	if err := checkScale(s.Scale, g.channels); err != nil {
		return err
	}
	if len(s.Scale) != scales || len(s.CodeSets) != books {
		return fmt.Errorf("scope %s with %d scales and %d code sets for %d output channels", s.Scope, len(s.Scale), len(s.CodeSets), g.channels)
	}
	if !(s.Lambda >= 0) || math.IsInf(float64(s.Lambda), 0) {
		return fmt.Errorf("price of a bit %v is negative or not finite", s.Lambda)
	}
	for b, codes := range s.CodeSets {
		if err := s.checkSet(codes); err != nil {
			return fmt.Errorf("code set %d: %w", b, err)
		}
	}
	return nil
}

// checkSet reports a set of codes that is not sorted, distinct, within ±Most, or more than promised.
func (s State) checkSet(codes []int8) error {
	n := len(codes)
	if s.Mask != nil {
		n++
	}
	if n > s.Clusters {
		return fmt.Errorf("%d codes, more than the %d promised", n, s.Clusters)
	}
	for k, code := range codes {
		switch {
		case int(code) < -s.most() || int(code) > s.most():
			return fmt.Errorf("code %d is outside ±%d", code, s.most())
		case k > 0 && code <= codes[k-1]:
			return fmt.Errorf("codes %d and %d are not in rising order", codes[k-1], code)
		case code == 0 && s.Mask != nil:
			return fmt.Errorf("0 is a code of its own although the mask holds the zeros")
		}
	}
	return nil
}

// CheckCodes checks the invariants on emitted integers: every masked code is 0, and a clustered tensor (PerChannel: channel)
// holds at most Clusters distinct codes, zero included. Codes may be others than the state lists: training moves them.
func CheckCodes(codes []int8, s State) error {
	g, err := checkGeometry(s.Shape, s.Axis, len(codes))
	if err != nil {
		return err
	}
	if s.Mask != nil && len(s.Mask) != len(codes) {
		return fmt.Errorf("mask of %d for %d codes", len(s.Mask), len(codes))
	}
	for i, m := range s.Mask {
		if m == 0 && codes[i] != 0 {
			return fmt.Errorf("weight %d is pruned, but its code is %d", i, codes[i])
		}
	}
	if !s.Clustered() {
		return nil
	}
	sets := 1
	if s.Scope == PerChannel {
		sets = g.channels
	}
	seen, distinct := make([][256]bool, sets), make([]int, sets)
	for i, code := range codes {
		set := min(g.channel(i), sets-1)
		if k := uint8(code); !seen[set][k] {
			seen[set][k] = true
			distinct[set]++
		}
	}
	for set, n := range distinct {
		if n > s.Clusters {
			where := ""
			if sets > 1 {
				where = fmt.Sprintf("output channel %d: ", set)
			}
			return fmt.Errorf("%s%d distinct codes, more than the %d promised", where, n, s.Clusters)
		}
	}
	return nil
}
