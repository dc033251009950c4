package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
)

// fullyConnectedKernel is FULLY_CONNECTED by the plain loop: rows of x times weights [outputs, depth].
type fullyConnectedKernel struct {
	*weights
	x, y                 int // tensors
	rows, depth, outputs int
}

func buildFullyConnected(c *compiler) (runner, error) {
	attr := c.n.Attr.(ir.FullyConnected)
	w, err := c.newWeights(c.in(0), 1, 2, 0, attr.Act)
	if err != nil {
		return nil, err
	}
	k := &fullyConnectedKernel{weights: w, x: c.n.Inputs[0], y: c.n.Outputs[0], rows: attr.Rows, depth: attr.In, outputs: attr.Out}
	if !c.reference {
		if q, ok := w.requant(attr.In); ok {
			return &fullyConnectedProduct{k, kernel.NewInt8Dense(w.w, attr.In, q)}, nil
		}
	}
	return k, nil
}

func (k *fullyConnectedKernel) run(m *memory) error {
	x, y := m.int8s(k.x), m.int8s(k.y)
	for r := range k.rows {
		row := x[r*k.depth:][:k.depth]
		for o := range k.outputs {
			acc := k.bias[o]
			for i, w := range k.w[o*k.depth:][:k.depth] {
				acc += (int32(row[i]) - k.xZero) * (int32(w) - k.wZero)
			}
			y[r*k.outputs+o] = k.code(acc, o)
		}
	}
	return nil
}

// fullyConnectedProduct is FULLY_CONNECTED by package kernel.
type fullyConnectedProduct struct {
	*fullyConnectedKernel
	packed *kernel.Int8Dense
}

func (k *fullyConnectedProduct) run(m *memory) error {
	k.runRows(m, &m.scratch, 0, k.fullyConnectedKernel.rows)
	return nil
}

func (k *fullyConnectedProduct) rows() (count, products int) {
	return k.fullyConnectedKernel.rows, k.depth * k.outputs
}

func (k *fullyConnectedProduct) runRows(m *memory, s *kernel.Int8Scratch, from, to int) {
	k.packed.Run(s, m.int8s(k.y)[from*k.outputs:], m.int8s(k.x)[from*k.depth:], to-from, k.depth)
}
