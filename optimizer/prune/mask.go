package prune

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Pattern is the shape zeros come in. The zero value is single weights.
type Pattern struct {
	// Rows and Columns are the size of a block of zeros in the weights seen as a matrix [output channels, weights of one output
	// channel], 1×16 or 1×4 for runtimes with sparse kernels. 0 means 1. Blocks at the ends may be smaller.
	Rows, Columns int
	// Zeros of every Of weights in a row along the input channels are pruned: 2 of 4 for sparse tensor cores. Not with blocks.
	Zeros, Of int
}

// blocks reports whether zeros come in blocks.
func (p Pattern) blocks() bool { return p.Rows > 1 || p.Columns > 1 }

// Share is the sparsity that a pattern with Zeros and Of has by itself; 0 for others.
func (p Pattern) Share() float64 {
	if p.Of == 0 {
		return 0
	}
	return float64(p.Zeros) / float64(p.Of)
}

// of is the sparsity that a pattern with Zeros and Of gives rows of so many weights. The last, shorter group of a row counts as filled
// up with zeros, and may need none of its own.
func (p Pattern) of(row int) float64 {
	zeros := row/p.Of*p.Zeros + max(0, p.Zeros-(p.Of-row%p.Of))
	return float64(zeros) / float64(row)
}

// String names the pattern in messages.
func (p Pattern) String() string {
	switch {
	case p.Of > 0:
		return fmt.Sprintf("%d:%d", p.Zeros, p.Of)
	case p.blocks():
		return fmt.Sprintf("%d×%d", max(p.Rows, 1), max(p.Columns, 1))
	default:
		return "single weights"
	}
}

// ParsePattern reads a pattern: "1x16" is blocks of one row and sixteen columns, "2:4" two zeros of every four; "" single weights.
func ParsePattern(text string) (Pattern, error) {
	var p Pattern
	var rest string
	switch {
	case text == "":
		return p, nil
	case strings.Contains(text, ":"):
		if n, _ := fmt.Sscanf(text, "%d:%d%s", &p.Zeros, &p.Of, &rest); n != 2 || p.Of == 0 {
			return Pattern{}, fmt.Errorf("pattern %q is not zeros:of, such as 2:4", text)
		}
	default:
		if n, _ := fmt.Sscanf(text, "%dx%d%s", &p.Rows, &p.Columns, &rest); n != 2 || p.Rows < 1 || p.Columns < 1 {
			return Pattern{}, fmt.Errorf("pattern %q is neither rows x columns, such as 1x16, nor zeros:of, such as 2:4", text)
		}
	}
	return p, p.check()
}

// check reports a pattern that makes no sense.
func (p Pattern) check() error {
	switch {
	case p.Rows < 0 || p.Columns < 0:
		return fmt.Errorf("block of %d×%d", p.Rows, p.Columns)
	case p.Of == 0 && p.Zeros == 0:
		return nil
	case p.blocks():
		return fmt.Errorf("blocks of %d×%d and %d zeros of every %d exclude each other", max(p.Rows, 1), max(p.Columns, 1), p.Zeros, p.Of)
	case p.Zeros < 1 || p.Zeros >= p.Of:
		return fmt.Errorf("%d zeros of every %d; zeros must be at least 1 and fewer than all", p.Zeros, p.Of)
	}
	return nil
}

// Weights are a kernel to prune: row-major values, output channels on Axis.
type Weights struct {
	Values []float32
	Shape  []int
	Axis   int
	// Mask is what the input had pruned (0), which stays pruned; nil: nothing.
	Mask []uint8
}

// Mask returns a mask (1 keeps, 0 prunes) of the weights of least magnitude. Of n single weights round(n·sparsity) are pruned, at
// least one kept; of equally large ones those later in the tensor go first. Of blocks as many are pruned as bring the number of
// zeros nearest to n·sparsity. With Zeros and Of sparsity plays no part: groups run along the last axis (the input channels in
// TFLite's layout) and a shorter one at the end counts as filled up with zeros.
func Mask(w Weights, sparsity float64, p Pattern) ([]uint8, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if !(sparsity >= 0 && sparsity < 1) {
		return nil, fmt.Errorf("sparsity %v is outside [0, 1)", sparsity)
	}
	switch {
	case p.Of > 0:
		if last := len(w.Shape) - 1; w.Axis == last {
			return nil, fmt.Errorf("%s needs input channels on the last axis; shape %v has output channels there", p, w.Shape)
		}
		return w.someOfEvery(p.Zeros, p.Of), nil
	case p.blocks():
		return w.blockMask(sparsity, max(p.Rows, 1), max(p.Columns, 1)), nil
	default:
		return w.singles(Count(len(w.Values), sparsity)), nil
	}
}

// Count is how many of n weights a sparsity means: rounded to the nearest, at least one kept.
func Count(n int, sparsity float64) int {
	return max(0, min(int(math.Round(float64(n)*sparsity)), n-1))
}

func (w Weights) check() error {
	n := 1
	for _, d := range w.Shape {
		n *= d
	}
	switch {
	case n != len(w.Values):
		return fmt.Errorf("%d values for shape %v", len(w.Values), w.Shape)
	case w.Axis < 0 || w.Axis >= len(w.Shape):
		return fmt.Errorf("output-channel axis %d outside shape %v", w.Axis, w.Shape)
	case w.Mask != nil && len(w.Mask) != n:
		return fmt.Errorf("mask of %d for %d weights", len(w.Mask), n)
	}
	return nil
}

// rank orders weights by magnitude as an integer: 0 for one the input had pruned, which goes first.
func (w Weights) rank(i int) uint32 {
	if w.Mask != nil && w.Mask[i] == 0 {
		return 0
	}
	return math.Float32bits(w.Values[i])&^(1<<31) + 1
}

// pruned counts what the input had pruned.
func (w Weights) pruned() int {
	n := 0
	for _, m := range w.Mask {
		if m == 0 {
			n++
		}
	}
	return n
}

// singles prunes count weights, or those the input had pruned if they are more.
func (w Weights) singles(count int) []uint8 {
	n := len(w.Values)
	count = max(count, w.pruned())
	mask := slices.Repeat([]uint8{1}, n)
	if count == 0 {
		return mask
	}
	ranks := make([]uint32, n)
	for i := range ranks {
		ranks[i] = w.rank(i)
	}
	sorted := slices.Clone(ranks)
	slices.Sort(sorted)
	threshold := sorted[count-1]
	ties, _ := slices.BinarySearch(sorted, threshold) // smaller ones
	ties = count - ties                               // of those at the threshold, so many go
	for i := n - 1; i >= 0; i-- {
		switch {
		case ranks[i] < threshold:
			mask[i] = 0
		case ranks[i] == threshold && ties > 0:
			mask[i] = 0
			ties--
		}
	}
	return mask
}

// at is the index of a weight by output channel and position among that channel's weights.
func (w Weights) at(row, column int) int {
	inner := 1
	for _, d := range w.Shape[w.Axis+1:] {
		inner *= d
	}
	return (column/inner*w.Shape[w.Axis]+row)*inner + column%inner
}

// blockMask prunes blocks of rows×columns.
func (w Weights) blockMask(sparsity float64, rows, columns int) []uint8 {
	type block struct {
		row, column, size int
		score             float64
	}
	height := w.Shape[w.Axis]
	width := len(w.Values) / height
	var blocks []block
	for r := 0; r < height; r += rows {
		for c := 0; c < width; c += columns {
			b := block{row: r, column: c}
			var sum float64
			for i := r; i < min(r+rows, height); i++ {
				for j := c; j < min(c+columns, width); j++ {
					at := w.at(i, j)
					v := math.Abs(float64(w.Values[at]))
					if w.Mask != nil && w.Mask[at] == 0 {
						v = 0
					}
					sum += v
					b.size++
				}
			}
			b.score = sum / float64(b.size)
			blocks = append(blocks, b)
		}
	}
	slices.Reverse(blocks) // of equal blocks the later goes first
	slices.SortStableFunc(blocks, func(a, b block) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		default:
			return 0
		}
	})
	mask := slices.Repeat([]uint8{1}, len(w.Values))
	copy(mask, w.Mask)
	target, zeros := float64(len(w.Values))*sparsity, 0
	for k, b := range blocks {
		if k == len(blocks)-1 || float64(zeros)+float64(b.size)/2 > target {
			break
		}
		zeros += b.size
		for i := b.row; i < min(b.row+rows, height); i++ {
			for j := b.column; j < min(b.column+columns, width); j++ {
				mask[w.at(i, j)] = 0
			}
		}
	}
	return mask
}

// someOfEvery prunes zeros of every group of so many along the last axis.
func (w Weights) someOfEvery(zeros, of int) []uint8 {
	mask := slices.Repeat([]uint8{1}, len(w.Values))
	row := w.Shape[len(w.Shape)-1]
	group := make([]int, 0, of)
	for lo := 0; lo < len(w.Values); lo += row {
		for c := 0; c < row; c += of {
			group = group[:0]
			for i := lo + c; i < lo+min(c+of, row); i++ {
				group = append(group, i)
			}
			count := zeros - (of - len(group)) // a short group has zeros already
			slices.SortFunc(group, func(a, b int) int {
				if ra, rb := w.rank(a), w.rank(b); ra != rb {
					return int(int64(ra) - int64(rb))
				}
				return b - a
			})
			for k, i := range group {
				if k < count || w.Mask != nil && w.Mask[i] == 0 {
					mask[i] = 0
				}
			}
		}
	}
	return mask
}
