package audio

import "math"

// Fit brings a clip to a rate (0: its own) and a length (0: its own): what is longer is cut at its end, what is shorter gets zeros there.
func (c *Clip) Fit(rate, length int) *Clip {
	out := &Clip{Rate: c.Rate, Samples: c.Samples}
	if rate > 0 && rate != c.Rate {
		out = &Clip{Rate: rate, Samples: resample(c.Samples, c.Rate, rate)}
	}
	switch n := len(out.Samples); {
	case length <= 0 || n == length:
	case n > length:
		out.Samples = out.Samples[:length]
	default:
		out.Samples = append(make([]float32, 0, length), out.Samples...)[:length]
	}
	return out
}

// Fitted is how many samples Fit leaves of so many.
func Fitted(frames, from, rate, length int) int {
	switch {
	case length > 0:
		return length
	case rate > 0 && rate != from:
		return resampled(frames, from, rate)
	default:
		return frames
	}
}

func resampled(n, from, to int) int { return int((int64(n)*int64(to) + int64(from) - 1) / int64(from)) }

// lobes are the zero crossings of the interpolating sinc to each side, beta the Kaiser window's shape: aliases are 80 dB down.
const (
	lobes = 24
	beta  = 8.0
)

// resample interpolates with a windowed sinc that cuts off at the lower of the two Nyquist frequencies.
func resample(x []float32, from, to int) []float32 {
	g := gcd(from, to)
	up, down := to/g, from/g
	cutoff := math.Min(1, float64(to)/float64(from))
	reach := int(math.Ceil(lobes / cutoff))
	out := make([]float32, resampled(len(x), from, to))
	phases := make([][]float64, up) // weights of the samples around a place between two, made when first asked for
	for i := range out {
		whole, phase := int(int64(i)*int64(down)/int64(up)), int(int64(i)*int64(down)%int64(up))
		if phases[phase] == nil {
			phases[phase] = kernel(float64(phase)/float64(up), cutoff, reach)
		}
		sum := 0.0
		for k, w := range phases[phase] {
			if at := whole + k - reach + 1; at >= 0 && at < len(x) {
				sum += float64(w * float64(x[at])) // not fused: the same bytes on every architecture
			}
		}
		out[i] = float32(sum)
	}
	return out
}

// kernel is the weights of the samples at 1−reach … reach around a place.
func kernel(place, cutoff float64, reach int) []float64 {
	w := make([]float64, 2*reach)
	for k := range w {
		t := (float64(k-reach+1) - place) * cutoff
		if math.Abs(t) >= lobes {
			continue
		}
		sinc := 1.0
		if t != 0 {
			sinc = math.Sin(math.Pi*t) / (math.Pi * t)
		}
		w[k] = cutoff * sinc * bessel(beta*math.Sqrt(1-t*t/(lobes*lobes))) / bessel(beta)
	}
	return w
}

// bessel is the modified Bessel function of the first kind of order 0, by its series.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-17*sum; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
