package integer

import "espalier.dev/espalier/optimizer/ir"

// batchMatMulKernel is BATCH_MATMUL of two activations or of an activation and a constant, both with zero points.
type batchMatMulKernel struct {
	ir.BatchMatMul
	x, y, out          int // tensors
	xZero, yZero, zero int32
	output             multiplier
}

func buildBatchMatMul(c *compiler) (runner, error) {
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
	var index [8]int
	atX, atY := 0, 0 // matrices
	for len(out) > 0 {
		k.matrix(out[:k.M*k.N], x[atX*k.M*k.K:], y[atY*k.K*k.N:])
		out = out[k.M*k.N:]
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
	return nil
}

func (k *batchMatMulKernel) matrix(out, x, y []int8) {
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
			acc := int32(0)
			for i := range k.K {
				acc += (int32(x[r*rowX+i*stepX]) - k.xZero) * (int32(y[c*columnY+i*stepY]) - k.yZero)
			}
			out[r*k.N+c] = clamp(k.output.of(acc)+k.zero, -128, 127)
		}
	}
}
