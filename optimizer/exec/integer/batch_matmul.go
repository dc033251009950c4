package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
)

// batchMatMulKernel is BATCH_MATMUL of two activations or of an activation and a constant, both with zero points.
type batchMatMulKernel struct {
	ir.BatchMatMul
	x, y, out          int // tensors
	xZero, yZero, zero int32
	output             multiplier
}

func buildBatchMatMul(c *compiler) (runner, error) { return c.newBatchMatMul() }

// batchMatMul16 is BATCH_MATMUL of int16: sums of 64 bits.
type batchMatMul16 struct{ *batchMatMulKernel }

func buildBatchMatMul16(c *compiler) (runner, error) {
	k, err := c.newBatchMatMul()
	return batchMatMul16{k}, err
}

func (k batchMatMul16) run(m *memory) error {
	x, y, out := m.int16s(k.x), m.int16s(k.y), m.int16s(k.out)
	eachMatrix(k.batchMatMulKernel, func(at, atX, atY int) {
		eachSum(k.batchMatMulKernel, out[at:], x[atX:], y[atY:], func(acc int64) int16 {
			return clamp16(k.output.ofWide(acc), math.MinInt16, math.MaxInt16)
		})
	})
	return nil
}

func (c *compiler) newBatchMatMul() (*batchMatMulKernel, error) {
	x, y, out, err := c.binaryQuant()
	if err != nil {
		return nil, err
	}
	return &batchMatMulKernel{
		BatchMatMul: c.n.Attr.(ir.BatchMatMul), x: c.n.Inputs[0], y: c.n.Inputs[1], out: c.n.Outputs[0],
		xZero: x.zero, yZero: y.zero, zero: out.zero,
		output: newMultiplier(float64(float32(x.scale*y.scale)) / float64(out.scale)),
	}, nil
}

func (k *batchMatMulKernel) run(m *memory) error {
	x, y, out := m.int8s(k.x), m.int8s(k.y), m.int8s(k.out)
	eachMatrix(k, func(at, atX, atY int) {
		eachSum(k, out[at:], x[atX:], y[atY:], func(acc int32) int8 {
			return clamp(k.output.of(acc)+k.zero, -128, 127)
		})
	})
	return nil
}

// eachMatrix calls f with where every matrix of the output and its two factors begin.
func eachMatrix(k *batchMatMulKernel, f func(out, x, y int)) {
	count := 1
	for _, n := range k.Shape {
		count *= n
	}
	var index [8]int
	atX, atY := 0, 0 // matrices
	for i := range count {
		f(i*k.M*k.N, atX*k.M*k.K, atY*k.K*k.N)
		for d := len(k.Shape) - 1; d >= 0; d-- {
			index[d]++
			atX += k.A[d]
			atY += k.B[d]
			if index[d] < k.Shape[d] {
				break
			}
			atX -= k.A[d] * k.Shape[d]
			atY -= k.B[d] * k.Shape[d]
			index[d] = 0
		}
	}
}

// eachSum computes one matrix: sums of products, each rescaled.
func eachSum[T int8 | int16, A int32 | int64](k *batchMatMulKernel, out, x, y []T, code func(A) T) {
	rowX, stepX := k.K, 1
	if k.AdjX {
		rowX, stepX = 1, k.M
	}
	columnY, stepY := 1, k.N
	if k.AdjY {
		columnY, stepY = k.K, 1
	}
	for r := range k.M {
		for c := range k.N {
			acc := A(0)
			for i := range k.K {
				acc += A((int32(x[r*rowX+i*stepX]) - k.xZero) * (int32(y[c*columnY+i*stepY]) - k.yZero))
			}
			out[r*k.N+c] = code(acc)
		}
	}
}
