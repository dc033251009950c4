package ir

import "espalier.dev/espalier/optimizer/tflite/schema"

// LocalNorm is the attribute of LOCAL_RESPONSE_NORMALIZATION: x·(Bias + Alpha·Σ x²)^−Beta, the sum over the channels at most Radius away.
type LocalNorm struct {
	Radius            int
	Bias, Alpha, Beta float32
}

func localNorm(c *call) error {
	o, err := options[schema.LocalResponseNormalizationOptionsT](c)
	if err != nil {
		return err
	}
	if o.Radius < 0 || !(o.Bias > 0) || !(o.Alpha >= 0) {
		return c.fail("radius %d, bias %g and alpha %g: what it divides by could be 0", o.Radius, o.Bias, o.Alpha)
	}
	return overLast(c, LocalNorm{Radius: int(o.Radius), Bias: o.Bias, Alpha: o.Alpha, Beta: o.Beta})
}
