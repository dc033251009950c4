package integer

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// argKernel is ARG_MAX or ARG_MIN: the first position of the largest or smallest element along an axis.
type argKernel struct {
	in, out            int
	outer, size, inner int // dimensions before the axis, along it, after it
	real, wide, least  bool
}

func buildArg(c *compiler) (runner, error) {
	in, out := c.in(0), c.out(0)
	if in.Type != schema.TensorTypeINT8 && in.Type != schema.TensorTypeFLOAT32 {
		return nil, c.unsupported("%s is %s: only int8 and float32 are supported", in, in.Type)
	}
	if out.Type != schema.TensorTypeINT32 && out.Type != schema.TensorTypeINT64 {
		return nil, c.unsupported("%s is %s, want INT32 or INT64", out, out.Type)
	}
	k := &argKernel{
		in: in.Index, out: out.Index, outer: 1, inner: 1, real: in.Type == schema.TensorTypeFLOAT32,
		wide: out.Type == schema.TensorTypeINT64, least: c.n.Op == schema.BuiltinOperatorARG_MIN,
	}
	axis := c.n.Attr.(ir.ArgReduce).Axis
	for d, n := range in.Shape {
		switch {
		case d < axis:
			k.outer *= n
		case d == axis:
			k.size = n
		default:
			k.inner *= n
		}
	}
	return k, nil
}

func (k *argKernel) run(m *memory) error {
	if k.real {
		argReduce(k, m, m.float32s(k.in))
	} else {
		argReduce(k, m, m.int8s(k.in))
	}
	return nil
}

func argReduce[T int8 | float32](k *argKernel, m *memory, x []T) {
	for o := range k.outer {
		for i := range k.inner {
			best, at := x[o*k.size*k.inner+i], 0
			for s := 1; s < k.size; s++ {
				if v := x[(o*k.size+s)*k.inner+i]; k.least && v < best || !k.least && v > best {
					best, at = v, s
				}
			}
			if k.wide {
				m.int64s(k.out)[o*k.inner+i] = int64(at)
			} else {
				m.int32s(k.out)[o*k.inner+i] = int32(at)
			}
		}
	}
}
