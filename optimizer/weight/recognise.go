package weight

import (
	"cmp"
	"math"
	"slices"
)

// Thresholds say from when zeros and repeated values of a foreign file are taken for pruning and clustering.
type Thresholds struct {
	// Zeros is the share of exactly zero weights from which a tensor counts as pruned. Training alone leaves hardly any.
	Zeros float64
	// Peak is, for int8 weights, how many times more zeros there must be than codes 1 and than codes −1: rounding makes zeros too,
	// but about as many as of their neighbours.
	Peak float64
	// Spread is, for int8 weights, the largest share of the codes between the least and the greatest that clusters may use:
	// weights with a small range have few codes too, but all of them.
	Spread float64
	// Clusters is the most distinct values, zero included, that count as clusters.
	Clusters int
	// Members is how many surviving weights there must be on average for every distinct value.
	Members float64
}

// DefaultThresholds are those a pipeline uses.
var DefaultThresholds = Thresholds{Zeros: 0.05, Peak: 4, Spread: 0.3, Clusters: 64, Members: 4}

// OnlyRecorded recognises nothing, so that what a file's record says is all there is.
var OnlyRecorded = Thresholds{Zeros: math.Inf(1)}

// Recognise finds zeros and clusters in the float weights of a file that carries no record: values repeated over the tensor, or
// over the tensor after dividing every output channel by a scale of its own (as batch-norm folding leaves per-tensor clusters),
// or within every channel. The clusters found are expressed as integers: exactly if the values are multiples of some scale up to
// 127, else rounded with the largest as ±127 and scales fitted by least squares. It reports whether there is anything to keep.
func Recognise(values []float32, shape []int, axis int, by Thresholds) (State, bool) {
	g, err := checkGeometry(shape, axis, len(values))
	if err != nil || !isFinite(values) {
		return State{}, false
	}
	s := State{Shape: slices.Clone(shape), Axis: axis}
	if n := zeros(values); float64(n) >= by.Zeros*float64(len(values)) && n > 0 {
		s.Mask = maskOf(values, func(v float32) bool { return v != 0 })
	}
	if !s.findClusters(values, g, by) {
		return s, s.Mask != nil
	}
	return s, true
}

// RecogniseCodes is Recognise for the integers and scales of an int8 file.
func RecogniseCodes(codes []int8, scale []float32, shape []int, axis int, by Thresholds) (State, bool) {
	g, err := checkGeometry(shape, axis, len(codes))
	if err != nil || checkScale(scale, g.channels) != nil {
		return State{}, false
	}
	s := State{Shape: slices.Clone(shape), Axis: axis}
	if by.pruned(codes) {
		s.Mask = maskOf(codes, func(q int8) bool { return q != 0 })
	}
	perChannel := make([]map[int8]int, g.channels)
	for c := range perChannel {
		perChannel[c] = map[int8]int{}
	}
	for i, q := range codes {
		if s.Mask == nil || q != 0 {
			perChannel[g.channel(i)][max(q, -MaxCode)]++
		}
	}
	all := map[int8]int{}
	for _, set := range perChannel {
		for q, n := range set {
			all[q] += n
		}
	}
	switch {
	case s.fits([]map[int8]int{all}, scalesOf(scale), by):
		s.Scope, s.CodeSets = Shared, sortedSets(all)
		if len(scale) == 1 {
			s.Scope = PerTensor
		}
	case len(scale) > 1 && s.fits(perChannel, 0, by): // under one scale most channels have few codes anyway
		s.Scope, s.CodeSets = PerChannel, sortedSets(perChannel...)
	default:
		return s, s.Mask != nil
	}
	s.Scale = slices.Clone(scale)
	s.Clusters = s.promise()
	return s, true
}

// pruned reports whether the zeros among int8 codes are there by intent.
func (by Thresholds) pruned(codes []int8) bool {
	var count [3]float64 // of −1, 0, 1
	for _, q := range codes {
		if q >= -1 && q <= 1 {
			count[q+1]++
		}
	}
	return count[1] > 0 && count[1] >= by.Zeros*float64(len(codes)) && count[1] >= by.Peak*max(count[0], count[2])
}

// promise is the largest number of distinct values of a set.
func (s State) promise() int {
	n := 0
	for _, set := range s.CodeSets {
		n = max(n, len(set))
	}
	if s.Mask != nil {
		n++
	}
	return n
}

// scalesOf is how many values the scales of output channels account for: each makes one weight of its channel a certain code.
func scalesOf(scale []float32) int {
	if len(scale) == 1 {
		return 0
	}
	return len(scale)
}

// fits reports whether sets of distinct values, with their counts, are few enough and used often enough to be clusters. scales is how
// many values have their code by the choice of a scale.
func (s State) fits(sets []map[int8]int, scales int, by Thresholds) bool {
	members, distinct, between := 0, 0, 0
	for _, set := range sets {
		n := len(set)
		if s.Mask != nil {
			n++
		}
		if n > by.Clusters {
			return false
		}
		distinct += len(set)
		least, greatest := math.MaxInt8, math.MinInt8
		for q, n := range set {
			members += n
			least, greatest = min(least, int(q)), max(greatest, int(q))
		}
		between += max(0, greatest-least+1)
	}
	return often(members, distinct+scales, by) && float64(distinct) <= by.Spread*float64(between)
}

// findClusters tries the scopes from the most to the least restrictive. Few codes under many scales can make few values by chance,
// so one scale is believed only if it needs no more values than scales per channel need codes.
func (s *State) findClusters(values []float32, g geometry, by Thresholds) bool {
	limit := by.Clusters
	if s.Mask != nil {
		limit--
	}
	rows := distinctRows(values, s.Mask, g, limit)
	if rows == nil {
		return false
	}
	members, total := len(values)-s.Pruned(), 0
	for _, row := range rows {
		total += len(row)
	}
	all, shared := union(rows), sharedSet(rows, limit)
	switch {
	case len(all) <= limit && often(members, len(all), by) && (shared == nil || len(all) <= len(shared)):
		s.Scope, s.Scale = PerTensor, make([]float32, 1)
		s.CodeSets = [][]int8{integers(all, s.Mask != nil)}
	case shared != nil && often(members, len(shared)+g.channels, by): // every scale fits a value
		s.Scope, s.Scale = Shared, make([]float32, g.channels)
		s.CodeSets = [][]int8{integers(shared, s.Mask != nil)}
	case often(members, total, by):
		s.Scope, s.Scale = PerChannel, make([]float32, g.channels)
		for _, row := range rows {
			s.CodeSets = append(s.CodeSets, integers(row, s.Mask != nil))
		}
	default:
		return false
	}
	s.Clusters = s.promise()
	s.fitScales(rows)
	return true
}

func often(members, distinct int, by Thresholds) bool {
	return distinct > 0 && float64(members) >= by.Members*float64(distinct)
}

// distinctRows returns the sorted distinct surviving values of every output channel; nil if a channel has more than limit.
func distinctRows(values []float32, mask []uint8, g geometry, limit int) [][]float64 {
	rows := make([][]float64, g.channels)
	for i, v := range values {
		if mask != nil && mask[i] == 0 {
			continue
		}
		c := g.channel(i)
		k, found := slices.BinarySearch(rows[c], float64(v))
		if found {
			continue
		}
		if len(rows[c]) == limit {
			return nil
		}
		rows[c] = slices.Insert(rows[c], k, float64(v))
	}
	return rows
}

func union(rows [][]float64) []float64 {
	all := slices.Concat(rows...)
	slices.Sort(all)
	return slices.Compact(all)
}

// alike is the relative difference within which two values are one: a few float32 roundings.
const alike = 4e-6

func same(a, b float64) bool { return math.Abs(a-b) <= alike*max(math.Abs(a), math.Abs(b)) }

func contains(set []float64, v float64) bool {
	k, _ := slices.BinarySearch(set, v)
	return k < len(set) && same(set[k], v) || k > 0 && same(set[k-1], v)
}

// sharedSet finds values that every row is a subset of after division by a scale of its own; nil if more than limit are needed.
// The row with most values starts the set; every other row is laid over it so that most of its values, at least half, coincide.
func sharedSet(rows [][]float64, limit int) []float64 {
	order := slices.Clone(rows)
	slices.SortStableFunc(order, func(a, b []float64) int { return cmp.Compare(len(b), len(a)) })
	if len(order[0]) == 0 {
		return nil
	}
	set := slices.Clone(order[0])
	for _, row := range order[1:] {
		scale, hits := layOver(set, row)
		if 2*hits < len(row) {
			return nil
		}
		for _, v := range row {
			if v := v / scale; !contains(set, v) {
				k, _ := slices.BinarySearch(set, v)
				set = slices.Insert(set, k, v)
			}
		}
		if len(set) > limit {
			return nil
		}
	}
	return set
}

// layOver returns the positive scale under which most values of row coincide with values of set, and how many do. Of equally
// good scales the smallest wins: it makes the largest value of the row one of the largest of the set.
func layOver(set, row []float64) (scale float64, hits int) {
	top := largest(row)
	scale = 1
	for _, c := range set {
		s := top / c
		if top == 0 || c == 0 || s < 0 {
			continue
		}
		n := 0
		for _, v := range row {
			if contains(set, v/s) {
				n++
			}
		}
		if n > hits || n == hits && s < scale {
			scale, hits = s, n
		}
	}
	if top == 0 && len(row) > 0 && contains(set, 0) { // a row of nothing but unmasked zeros
		hits = len(row)
	}
	return scale, hits
}

// largest is the value of largest magnitude.
func largest(values []float64) float64 {
	var top float64
	for _, v := range values {
		if math.Abs(v) > math.Abs(top) {
			top = v
		}
	}
	return top
}

// integers expresses sorted distinct values as codes: exact multiples if there is a largest code up to 127 that makes them all
// integers, else rounded with the largest as ±127.
func integers(values []float64, nonzero bool) []int8 {
	if len(values) == 0 {
		return nil
	}
	top := math.Abs(largest(values))
	if top == 0 {
		return []int8{0}
	}
	unit := top / MaxCode
	for m := MaxCode; m > 0; m-- {
		if whole(values, top/float64(m)) {
			unit = top / float64(m)
			break
		}
	}
	centers := make([]float32, len(values))
	for k, v := range values {
		centers[k] = float32(v / unit)
	}
	book, err := NewCodebook(centers, MaxCode, nonzero)
	if err != nil { // cannot be: fewer than 255 finite values
		return nil
	}
	return book.code
}

// whole reports whether all values are integer multiples of unit, and no two the same multiple.
func whole(values []float64, unit float64) bool {
	before := math.Inf(-1)
	for _, v := range values {
		q := math.Round(v / unit)
		if math.Abs(v/unit-q) > 1e-3 || q == before || q == 0 && v != 0 {
			return false
		}
		before = q
	}
	return true
}

// fitScales sets the scale of every channel from its distinct values and the codes, alternating assignment and least squares.
func (s *State) fitScales(rows [][]float64) {
	if s.Scope == PerTensor {
		s.Scale[0] = fitScale(union(rows), s.CodeSets[0])
		return
	}
	idle := float32(math.Inf(1))
	for c, row := range rows {
		s.Scale[c] = 0
		if top := largest(row); top != 0 {
			s.Scale[c] = fitScale(row, s.CodeSets[min(c, len(s.CodeSets)-1)])
			idle = min(idle, s.Scale[c])
		}
	}
	for c := range s.Scale {
		if s.Scale[c] == 0 {
			s.Scale[c] = idle
		}
	}
}

// fitScale returns the positive scale under which codes come nearest to values. Every code is tried as that of the largest
// value; the best is refined by least squares, or rounded to few bits where that is exact.
func fitScale(values []float64, codes []int8) float32 {
	top := largest(values)
	best, least := 1.0, math.Inf(1)
	for _, code := range codes {
		unit := top / float64(code)
		if code == 0 || unit < 0 {
			continue
		}
		for range 3 {
			fitted, _ := leastSquares(values, codes, unit)
			unit = fitted
		}
		if _, e := leastSquares(values, codes, unit); e < least*(1-1e-9) {
			best, least = unit, e
		}
	}
	if short := float32(roundBits(best, 8)); exact(values, codes, short) {
		return short
	}
	return float32(max(best, smallestScale))
}

// leastSquares assigns values to the codes nearest under unit and returns the unit that fits best, and the squared error of the
// assignment under the given one.
func leastSquares(values []float64, codes []int8, unit float64) (fitted, squares float64) {
	var top, bottom float64
	for _, v := range values {
		q := float64(nearest(codes, v/unit))
		top, bottom = top+v*q, bottom+q*q
		squares += (v - unit*q) * (v - unit*q)
	}
	if bottom == 0 || top <= 0 {
		return unit, squares
	}
	return top / bottom, squares
}

// exact reports whether float32 products of scale and codes are the values.
func exact(values []float64, codes []int8, scale float32) bool {
	for _, v := range values {
		if float64(float32(scale*float32(nearest(codes, v/float64(scale))))) != v {
			return false
		}
	}
	return true
}

// nearest code to x.
func nearest(codes []int8, x float64) int8 {
	best := codes[0]
	for _, code := range codes[1:] {
		if math.Abs(float64(code)-x) < math.Abs(float64(best)-x) {
			best = code
		}
	}
	return best
}

// roundBits rounds x to so many significant bits.
func roundBits(x float64, n int) float64 {
	fraction, exponent := math.Frexp(x)
	return math.Ldexp(math.Round(math.Ldexp(fraction, n)), exponent-n)
}

func maskOf[T any](values []T, keep func(T) bool) []uint8 {
	mask := make([]uint8, len(values))
	for i, v := range values {
		if keep(v) {
			mask[i] = 1
		}
	}
	return mask
}

func sortedSets(sets ...map[int8]int) [][]int8 {
	sorted := make([][]int8, len(sets))
	for b, set := range sets {
		for q := range set {
			sorted[b] = append(sorted[b], q)
		}
		slices.Sort(sorted[b])
	}
	return sorted
}
