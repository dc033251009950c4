package ir

import (
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Cast is the attribute of CAST.
type Cast struct{ From, To schema.TensorType }

// Of returns what LiteRT makes of a number: of a float what stands before the point, the nearest bound where the integer type does not reach, and the
// greatest of NaN. An integer that does not fit wraps.
func (c Cast) Of(x float64) float64 {
	switch c.To {
	case schema.TensorTypeBOOL:
		if x != 0 {
			return 1
		}
		return 0
	case schema.TensorTypeINT8:
		return whole[int8](c, x, math.MinInt8, math.MaxInt8)
	case schema.TensorTypeUINT8:
		return whole[uint8](c, x, 0, math.MaxUint8)
	case schema.TensorTypeINT16:
		return whole[int16](c, x, math.MinInt16, math.MaxInt16)
	case schema.TensorTypeUINT16:
		return whole[uint16](c, x, 0, math.MaxUint16)
	case schema.TensorTypeINT32:
		return whole[int32](c, x, math.MinInt32, math.MaxInt32)
	case schema.TensorTypeUINT32:
		return whole[uint32](c, x, 0, math.MaxUint32)
	case schema.TensorTypeINT64:
		return whole[int64](c, x, math.MinInt64, math.MaxInt64)
	}
	if isFloat(c.To) {
		return x
	}
	return math.Trunc(x)
}

func whole[T int8 | uint8 | int16 | uint16 | int32 | uint32 | int64](c Cast, x, lo, hi float64) float64 {
	switch {
	case !isFloat(c.From):
		return float64(T(int64(x)))
	case x != x:
		return hi
	}
	return math.Trunc(min(max(x, lo), hi))
}
