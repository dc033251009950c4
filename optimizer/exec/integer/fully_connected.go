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

func (c *compiler) newFullyConnected() (*fullyConnectedKernel, error) {
	attr := c.n.Attr.(ir.FullyConnected)
	w, err := c.newWeights(c.in(0), 1, 2, 0, attr.Act)
	if err != nil {
		return nil, err
	}
	return &fullyConnectedKernel{weights: w, x: c.n.Inputs[0], y: c.n.Outputs[0], rows: attr.Rows, depth: attr.In, outputs: attr.Out}, nil
}

func buildFullyConnected(c *compiler) (runner, error) {
	k, err := c.newFullyConnected()
	if err != nil {
		return nil, err
	}
	if !c.reference {
		if q, ok := k.requant(k.depth); ok {
			return &fullyConnectedProduct{k, kernel.NewInt8Dense(k.w, k.depth, q)}, nil
		}
	}
	return k, nil
}

// fullyConnected16 is FULLY_CONNECTED of int16: no zero point, a sum of 64 bits.
type fullyConnected16 struct{ *fullyConnectedKernel }

func buildFullyConnected16(c *compiler) (runner, error) {
	k, err := c.newFullyConnected()
	if err != nil {
		return nil, err
	}
	if !c.reference {
		if packed := kernel.NewInt16Dense(k.w, k.outputs, k.depth); packed != nil {
			return &fullyConnectedProduct16{k, packed, k.rescale16(packed.Offset)}, nil
		}
	}
	return fullyConnected16{k}, nil
}

// fullyConnectedProduct16 is FULLY_CONNECTED of int16 by package kernel.
type fullyConnectedProduct16 struct {
	*fullyConnectedKernel
	packed *kernel.Int16Dense
	codes  *rescale16
}

func (k *fullyConnectedProduct16) run(m *memory) error {
	k.runRows(m, &m.scratch, 0, k.fullyConnectedKernel.rows)
	return nil
}

func (k *fullyConnectedProduct16) rows() (count, products int) {
	return k.fullyConnectedKernel.rows, 2 * k.depth * k.outputs
}

func (k *fullyConnectedProduct16) runRows(m *memory, s *kernel.Int8Scratch, from, to int) {
	x, y := m.int16s(k.x), m.int16s(k.y)
	k.codes.of(y[from*k.outputs:to*k.outputs], k.packed.Run(s, x[from*k.depth:], to-from), 0)
}

func (k fullyConnected16) run(m *memory) error {
	x, y := m.int16s(k.x), m.int16s(k.y)
	for r := range k.rows {
		row := x[r*k.depth:][:k.depth]
		for o := range k.outputs {
			y[r*k.outputs+o] = k.code16(k.wide[o]+dot16(row, k.w[o*k.depth:]), o)
		}
	}
	return nil
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
