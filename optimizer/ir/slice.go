package ir

import (
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// paddings reads the [rank, 2] amounts of PAD, PADV2 and MIRROR_PAD.
func (c *call) paddings() (before, after []int, err error) {
	if err := c.want(2); err != nil {
		return nil, nil, err
	}
	rank := len(c.in(0).Shape)
	amounts, err := c.constants(1, "paddings")
	if err != nil {
		return nil, nil, err
	}
	if len(amounts) != 2*rank {
		return nil, nil, c.fail("%d paddings for %d dimensions", len(amounts), rank)
	}
	for i := range rank {
		b, a := amounts[2*i], amounts[2*i+1]
		if b < 0 || a < 0 || b > maxElements || a > maxElements {
			return nil, nil, c.fail("paddings %d and %d of dimension %d", b, a, i)
		}
		before, after = append(before, b), append(after, a)
	}
	if rank > 0 && before[0]+after[0] > 0 {
		c.mix("it pads the dimension of the samples")
	}
	return before, after, nil
}

func padded(shape, before, after []int) []int {
	out := slices.Clone(shape)
	for i := range out {
		out[i] += before[i] + after[i]
	}
	return out
}

func padOp(c *call) error {
	before, after, err := c.paddings()
	if err != nil {
		return err
	}
	attr := Pad{Before: before, After: after, Value: -1}
	if v := c.in(2); v != nil && c.n.Op == schema.BuiltinOperatorPADV2 {
		if v.Numel() != 1 || v.Batched {
			return c.fail("pad value %s is not one number", v)
		}
		attr.Value = v.Index
	}
	c.n.Attr = attr
	c.batchedOnly(0)
	c.give(padded(c.in(0).Shape, before, after))
	return nil
}

func mirrorPad(c *call) error {
	o, err := options[schema.MirrorPadOptionsT](c)
	if err != nil {
		return err
	}
	before, after, err := c.paddings()
	if err != nil {
		return err
	}
	symmetric := o.Mode == schema.MirrorPadModeSYMMETRIC
	shape := c.in(0).Shape
	for i, d := range shape {
		limit := d - 1
		if symmetric {
			limit = d
		}
		if before[i] > limit || after[i] > limit {
			return c.fail("paddings %d and %d mirror more than dimension %d of %v has", before[i], after[i], i, shape)
		}
	}
	c.n.Attr = MirrorPad{Before: before, After: after, Symmetric: symmetric}
	c.give(padded(shape, before, after))
	return nil
}

// bits of the masks of STRIDED_SLICE, one an entry of begin, end and strides.
func bit(mask int32, i int) bool { return mask>>i&1 == 1 }

func stridedSlice(c *call) error {
	o, err := options[schema.StridedSliceOptionsT](c)
	if err != nil {
		return err
	}
	if err := c.want(4); err != nil {
		return err
	}
	var spec [3][]int
	for i, what := range []string{"begin", "end", "strides"} {
		if spec[i], err = c.constants(i+1, what); err != nil {
			return err
		}
	}
	begin, end, strides := spec[0], spec[1], spec[2]
	if len(begin) != len(end) || len(begin) != len(strides) || len(begin) > 2*maxRank {
		return c.fail("begin %v, end %v and strides %v differ in length", begin, end, strides)
	}
	x := c.in(0)
	attr, out := StridedSlice{}, []int{}
	whole := func() {
		d := x.Shape[len(attr.Begin)]
		attr.add(0, 1, d, false)
		out = append(out, d)
	}
	// Entries that stand for no dimension, or several, make the rest of the list shift.
	missing := len(x.Shape) - len(begin)
	for i := range begin {
		if bit(o.NewAxisMask, i) && !bit(o.EllipsisMask, i) {
			missing++
		}
	}
	for i := range begin {
		d := len(attr.Begin)
		switch {
		case bit(o.EllipsisMask, i):
			for range missing + 1 {
				if len(attr.Begin) == len(x.Shape) {
					return c.fail("begin %v has more entries than %v dimensions", begin, x.Shape)
				}
				whole()
			}
			missing = 0
		case bit(o.NewAxisMask, i):
			out = append(out, 1)
		case d == len(x.Shape):
			return c.fail("begin %v has more entries than %v dimensions", begin, x.Shape)
		case c.keepsSamples(d):
			whole()
		default:
			first, count, err := c.run(x.Shape[d], begin[i], end[i], strides[i], o, i)
			if err != nil {
				return err
			}
			shrink := bit(o.ShrinkAxisMask, i)
			attr.add(first, strides[i], count, shrink)
			if !shrink {
				out = append(out, count)
			}
		}
	}
	for len(attr.Begin) < len(x.Shape) {
		whole()
	}
	c.sliced(attr, out)
	return nil
}

// run resolves one dimension of a strided slice, as numpy does: bounds from the end if negative, clamped to the dimension.
func (c *call) run(size, begin, end, stride int, o *schema.StridedSliceOptionsT, i int) (first, count int, err error) {
	if stride == 0 || stride < -maxElements || stride > maxElements {
		return 0, 0, c.fail("stride %d", stride)
	}
	lo, hi := 0, size // of the positions begin and end may take
	if stride < 0 {
		lo, hi = -1, size-1
	}
	place := func(v int) int {
		if v < 0 {
			v += size
		}
		return min(max(v, lo), hi)
	}
	from := begin
	if bit(o.BeginMask, i) {
		from = 0
		if stride < 0 {
			from = size - 1
		}
	}
	if bit(o.ShrinkAxisMask, i) {
		if from < -size || from >= size {
			return 0, 0, c.fail("index %d of a dimension of %d", from, size)
		}
		if from < 0 {
			from += size
		}
		return from, 1, nil
	}
	first = place(from)
	if bit(o.BeginMask, i) {
		first = min(max(from, lo), hi)
	}
	last := end
	if o.Offset {
		last += first
	}
	switch {
	case bit(o.EndMask, i) && stride > 0:
		last = hi
	case bit(o.EndMask, i):
		last = lo
	default:
		last = place(last)
	}
	if stride > 0 {
		return first, max((last-first+stride-1)/stride, 0), nil
	}
	return first, max((first-last-stride-1)/-stride, 0), nil
}

func slice(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	begin, err := c.constants(1, "begin")
	if err != nil {
		return err
	}
	size, err := c.constants(2, "size")
	if err != nil {
		return err
	}
	x := c.in(0)
	if len(begin) != len(x.Shape) || len(size) != len(x.Shape) {
		return c.fail("begin %v and size %v of %v", begin, size, x.Shape)
	}
	attr := StridedSlice{}
	for i, d := range x.Shape {
		if c.keepsSamples(i) {
			attr.add(0, 1, d, false)
			continue
		}
		if size[i] == -1 {
			size[i] = d - begin[i]
		}
		if begin[i] < 0 || size[i] < 0 || begin[i] > d || size[i] > d-begin[i] {
			return c.fail("begin %v and size %v of %v", begin, size, x.Shape)
		}
		attr.add(begin[i], 1, size[i], false)
	}
	c.sliced(attr, attr.Count)
	return nil
}

func (a *StridedSlice) add(begin, stride, count int, shrink bool) {
	a.Begin, a.Stride, a.Count, a.Shrink = append(a.Begin, begin), append(a.Stride, stride), append(a.Count, count), append(a.Shrink, shrink)
}

// keepsSamples reports whether dimension d is that of the samples and the slice took all of it at the file's batch, so that its
// bounds mean all of it at any batch.
func (c *call) keepsSamples(d int) bool {
	if d != 0 || c.file == nil || !c.in(0).Batched {
		return false
	}
	attr, ok := c.file.Nodes[c.n.Index].Attr.(StridedSlice)
	return ok && attr.all(0, c.file.Tensors[c.n.Inputs[0]].Shape[0])
}

func (a *StridedSlice) all(d, size int) bool {
	return a.Begin[d] == 0 && a.Stride[d] == 1 && a.Count[d] == size && !a.Shrink[d]
}

func (c *call) sliced(attr StridedSlice, out []int) {
	c.n.Attr = attr
	if len(attr.Begin) > 0 && !attr.all(0, c.in(0).Shape[0]) {
		c.mix("it takes some of the samples")
	}
	c.batchedOnly(0)
	c.give(slices.Clone(out))
}
