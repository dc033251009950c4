package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// CAST: raw values, scales play no part. Floats are truncated and saturate, NaN gives the greatest integer, integers wrap.
func buildCast(c *compiler) (runner, error) {
	in, out := c.in(0), c.out(0)
	for _, t := range []schema.TensorType{in.Type, out.Type} {
		switch t {
		case schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeINT64, schema.TensorTypeINT8, schema.TensorTypeINT16, schema.TensorTypeUINT8, schema.TensorTypeBOOL:
		default:
			return nil, c.unsupported("CAST from %s to %s is not supported", in.Type, out.Type)
		}
	}
	return &castKernel{in.Index, out.Index, in.Type, out.Type}, nil
}

type castKernel struct {
	in, out  int
	from, to schema.TensorType
}

func (k *castKernel) run(m *memory) error {
	switch k.from {
	case schema.TensorTypeFLOAT32:
		castFrom(k, m, m.float32s(k.in))
	case schema.TensorTypeINT32:
		castFrom(k, m, m.int32s(k.in))
	case schema.TensorTypeINT64:
		castFrom(k, m, m.int64s(k.in))
	case schema.TensorTypeINT8:
		castFrom(k, m, m.int8s(k.in))
	case schema.TensorTypeINT16:
		castFrom(k, m, m.int16s(k.in))
	default:
		castFrom(k, m, m.bytes[k.in])
	}
	return nil
}

type number interface {
	int8 | uint8 | int16 | int32 | int64 | float32
}

func castFrom[T number](k *castKernel, m *memory, x []T) {
	switch k.to {
	case schema.TensorTypeFLOAT32:
		convert(m.float32s(k.out), x)
	case schema.TensorTypeINT32:
		castTo(m.int32s(k.out), x, math.MinInt32, math.MaxInt32)
	case schema.TensorTypeINT64:
		castTo(m.int64s(k.out), x, math.MinInt64, math.MaxInt64)
	case schema.TensorTypeINT8:
		castTo(m.int8s(k.out), x, math.MinInt8, math.MaxInt8)
	case schema.TensorTypeINT16:
		castTo(m.int16s(k.out), x, math.MinInt16, math.MaxInt16)
	case schema.TensorTypeUINT8:
		castTo(m.bytes[k.out], x, 0, math.MaxUint8)
	case schema.TensorTypeBOOL:
		for i, v := range x {
			m.bytes[k.out][i] = 0
			if v != 0 {
				m.bytes[k.out][i] = 1
			}
		}
	}
}

// convert gives float32 values.
func convert[T number](dst []float32, x []T) {
	for i, v := range x {
		dst[i] = float32(v)
	}
}

// castTo gives integers.
func castTo[D int8 | uint8 | int16 | int32 | int64, T number](dst []D, x []T, lo, hi float64) {
	if reals, ok := any(x).([]float32); ok {
		for i, v := range reals {
			switch f := float64(v); {
			case f <= lo:
				dst[i] = D(int64(lo))
			case f >= hi || f != f:
				dst[i] = D(uint64(hi) - 1)
				if hi < math.MaxInt64 {
					dst[i] = D(int64(hi))
				}
			default:
				dst[i] = D(int64(f))
			}
		}
		return
	}
	for i, v := range x {
		dst[i] = D(v)
	}
}
