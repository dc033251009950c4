package weight

import (
	"math"

	"espalier.dev/espalier/optimizer/kernel"
)

// Project restores what must hold after an optimizer step: pruned latents stay zero, latents stay within ±Most, centers are sorted
// and distinct after rounding, every weight belongs to a rounded code. It allocates nothing.
func (t *Tensor) Project() {
	applyMask(t.Latent, t.Mask)
	if t.Scale != nil {
		kernel.Clamp(t.Latent, t.Latent, -float32(t.Most), float32(t.Most))
	}
	if t.Codebooks == nil {
		return
	}
	for _, book := range t.Codebooks {
		book.project()
	}
	t.assign()
}

// assign gives every weight the code its latent belongs to, then lets the prices follow.
func (t *Tensor) assign() {
	if len(t.Codebooks) == 1 {
		book := t.Codebooks[0]
		kernel.AssignCodes(t.members, t.Latent, book.boundary)
		prune(t.members, t.Mask)
		if book.Bits != nil {
			var count [256]int
			countMembers(&count, t.members)
			book.follow(count[:book.Len()])
			book.place()
		}
		return
	}
	for c, book := range t.Codebooks {
		var count [256]int
		for o := range t.outer {
			lo := (o*t.channels + c) * t.inner
			row := t.members[lo : lo+t.inner]
			kernel.AssignCodes(row, t.Latent[lo:lo+t.inner], book.boundary)
			if t.Mask != nil {
				prune(row, t.Mask[lo:lo+t.inner])
			}
			if book.Bits != nil {
				countMembers(&count, row)
			}
		}
		if book.Bits != nil {
			book.follow(count[:book.Len()])
			book.place()
		}
	}
}

// prune marks masked members.
func prune(members, mask []uint8) {
	for i, m := range mask {
		members[i] |= m - 1
	}
}

func countMembers(count *[256]int, members []uint8) {
	for _, k := range members {
		count[k]++
	}
}

// applyMask zeroes what is pruned; a nil mask nothing. It has no branches: half of them would be mispredicted.
func applyMask(x []float32, mask []uint8) {
	if mask == nil {
		return
	}
	mask = mask[:len(x)]
	for i, v := range x {
		x[i] = math.Float32frombits(math.Float32bits(v) & -uint32(mask[i]))
	}
}

// Materialize writes the effective weights, mask · scale · code (mask · latent of a float tensor), into dst.
func (t *Tensor) Materialize(dst []float32) {
	switch {
	case t.Scale == nil:
		copy(dst, t.Latent)
	case t.Codebooks == nil:
		t.roundAll(dst)
		t.scaleRows(dst, dst, t.Scale)
	default:
		t.lookUp(dst)
		return // members are pruned already
	}
	applyMask(dst, t.Mask)
}

// roundAll writes codes, latents rounded to the nearest integer (ties away from zero) within ±Most, into dst.
func (t *Tensor) roundAll(dst []float32) {
	kernel.Clamp(dst, t.Latent, -float32(t.Most), float32(t.Most))
	kernel.FakeQuant(dst, dst, kernel.Quant{Scale: 1})
}

// scaleRows multiplies every row of x by its channel's factor, of as many as there are scales.
func (t *Tensor) scaleRows(dst, x, by []float32) {
	if t.inner == 1 && len(by) == t.channels {
		for lo := 0; lo < len(x); lo += t.channels {
			row := x[lo : lo+t.channels]
			for c, v := range row {
				dst[lo+c] = float32(v * by[c])
			}
		}
		return
	}
	t.rows(func(c, lo, hi int) {
		s := by[ScaleIndex(c, len(by), t.channels)]
		for i, v := range x[lo:hi] {
			dst[lo+i] = float32(v * s)
		}
	})
}

// lookUp materializes from the codebooks.
func (t *Tensor) lookUp(dst []float32) {
	var table [256]float32   // pruned stays 0
	filled := [2]int{-1, -1} // the codebook and the scale in the table
	t.rows(func(c, lo, hi int) {
		b, s := min(c, len(t.Codebooks)-1), ScaleIndex(c, len(t.Scale), t.channels)
		if now := [2]int{b, s}; now != filled {
			filled = now
			for k, code := range t.Codebooks[b].code {
				table[k] = float32(t.Scale[s] * float32(code))
			}
		}
		out := dst[lo:hi]
		for i, k := range t.members[lo:hi] {
			out[i] = table[k]
		}
	})
}

// Codes writes the integers that go into the file into dst.
func (t *Tensor) Codes(dst []int8) error {
	switch {
	case t.Scale == nil:
		return errFloat
	case t.Codebooks == nil:
		codes := make([]float32, t.Len())
		t.roundAll(codes)
		applyMask(codes, t.Mask)
		for i, v := range codes {
			dst[i] = int8(v)
		}
	default:
		for i, k := range t.members {
			dst[i] = 0
			if k != pruned {
				dst[i] = t.bookOf(t.channel(i)).code[k]
			}
		}
	}
	return nil
}

// Values returns the effective weights as a new slice.
func (t *Tensor) Values() []float32 {
	values := make([]float32, t.Len())
	t.Materialize(values)
	return values
}

// isFinite reports whether every value is.
func isFinite(values []float32) bool {
	for _, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}

// Lean moves the latents of a clustered tensor towards values, in weight units, at most half of the way to where they would get another code:
// what is given out by other rules than the nearest code trains on from where it came from.
func (t *Tensor) Lean(values []float32) {
	t.rows(func(c, lo, hi int) {
		book, scale := t.bookOf(c), t.scaleOf(c)
		for i := lo; i < hi; i++ {
			k := t.members[i]
			if k == pruned {
				continue
			}
			code := float32(book.code[k])
			least, most := -float32(t.Most), float32(t.Most)
			if k > 0 {
				least = max(least, (code+book.boundary[k-1])/2)
			}
			if int(k) < len(book.boundary) {
				most = min(most, (code+book.boundary[k])/2)
			}
			if least <= code && code <= most { // not so dear that it has no interval
				t.Latent[i] = min(max(values[i]/scale, least), most)
			}
		}
	})
}
