package ir

import (
	"math/bits"
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// rfft2D is RFFT2D: the spectrum of the last two dimensions, cut or filled with zeros to the lengths in the second input.
func rfft2D(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	lengths, err := c.constants(1, "lengths")
	if err != nil {
		return err
	}
	x := c.in(0).Shape
	if len(lengths) != 2 || len(x) < 2 {
		return c.fail("lengths %v of %v: want two, of the last two dimensions", lengths, x)
	}
	for _, n := range lengths {
		if n < 1 || n > maxElements || bits.OnesCount(uint(n)) != 1 {
			return c.fail("length %d is no power of two", n)
		}
	}
	if lengths[1] == 1 {
		return c.fail("its rows have length 1: LiteRT's kernel reads beyond such rows; transform along the last dimension, swapped with the one before if need be")
	}
	rank := len(x)
	if rank == 2 {
		c.mix("it transforms across the samples")
	}
	c.n.Attr = RFFT2D{InH: x[rank-2], InW: x[rank-1], H: lengths[0], W: lengths[1]}
	c.give(slices.Concat(x[:rank-2], []int{lengths[0], lengths[1]/2 + 1}))
	return nil
}

// partOf is COMPLEX_ABS, REAL and IMAG.
func partOf(c *call) error {
	if err := unary(c); err != nil {
		return err
	}
	if t := c.in(0); t.Type != schema.TensorTypeCOMPLEX64 {
		return c.fail("reads %s of type %s, want COMPLEX64", t, t.Type)
	}
	return nil
}
