package measure

import (
	"math"

	"espalier.dev/espalier/optimizer/answer"
)

// column is what a model says at one output of every sample.
type column struct {
	out     *answer.Output
	samples int
	classes list      // of outputs that choose: Positions a sample; of Heatmaps, a place for each keypoint
	truth   list      // the same by the target; empty without
	scores  []float32 // they grow with the likelihood of yes, of class 1, of an anomaly; as many a sample as there are labels
	errors  []float64 // mean squared error of every sample: Values and Heatmaps with a target, Reconstruction
	values  []float32 // Values and Embedding: what it says
	wanted  []float32 // Values: what the target says
}

// list holds small numbers in little memory.
type list struct {
	small []uint8
	large []int32
}

func newList(n, most int) list {
	if most <= math.MaxUint8 {
		return list{small: make([]uint8, n)}
	}
	return list{large: make([]int32, n)}
}

func (l *list) len() int { return len(l.small) + len(l.large) }

func (l *list) set(i, v int) {
	if l.small != nil {
		l.small[i] = uint8(v)
		return
	}
	l.large[i] = int32(v)
}

func (l *list) at(i int) int {
	if l.small != nil {
		return int(l.small[i])
	}
	return int(l.large[i])
}

// maxKept bounds the values that are kept of an output, in floats.
const maxKept = 64 << 20

func newColumn(out *answer.Output, samples int) *column {
	c := &column{out: out, samples: samples}
	told := out.Target >= 0
	if out.Answers() {
		c.classes = newList(samples*out.Positions, out.Classes)
		if told {
			c.truth = newList(samples*out.Positions, out.Classes)
		}
	}
	switch {
	case out.Kind == answer.Binary || out.Kind == answer.MultiLabel:
		c.scores = make([]float32, samples*out.Positions)
	case out.Kind == answer.Classes && out.Size == 2 && out.Classes == 2:
		c.scores = make([]float32, samples)
	case out.Kind == answer.Reconstruction:
		c.scores, c.errors = make([]float32, samples), make([]float64, samples)
		if told {
			c.truth = newList(samples, 2)
		}
	case out.Kind == answer.Heatmaps:
		places := out.Size/out.Width + 1
		c.classes = newList(samples*out.Width, places)
		if told {
			c.truth, c.errors = newList(samples*out.Width, places), make([]float64, samples)
		}
	case out.Kind == answer.Values || out.Kind == answer.Embedding:
		if told {
			c.errors = make([]float64, samples)
		}
		if samples <= maxKept/max(1, out.Size) {
			c.values = make([]float32, samples*out.Size)
			if told {
				c.wanted = make([]float32, samples*out.Size)
			}
		}
	}
	return c
}

// read takes sample i: its input x, the output's values y and the target's, nil without.
func (c *column) read(i int, x, y, target []float32) {
	o := c.out
	if o.Answers() {
		for p := range o.Positions {
			c.classes.set(i*o.Positions+p, choice(o, y, p, o.Threshold))
			if target != nil {
				c.truth.set(i*o.Positions+p, truthOf(o, target, p))
			}
		}
	}
	switch {
	case o.Kind == answer.Binary || o.Kind == answer.MultiLabel:
		copy(c.scores[i*o.Positions:], y)
	case o.Kind == answer.Reconstruction:
		c.errors[i] = squaredError(x, y)
		c.scores[i] = float32(c.errors[i])
		if target != nil {
			c.truth.set(i, int(target[0]))
		}
	case o.Kind == answer.Heatmaps:
		for k := range o.Width {
			c.classes.set(i*o.Width+k, peak(y, k, o))
			if target != nil {
				c.truth.set(i*o.Width+k, peak(target, k, o))
			}
		}
	case c.scores != nil:
		c.scores[i] = y[1] - y[0]
	}
	if c.values != nil {
		copy(c.values[i*o.Size:], y)
	}
	if c.errors != nil && o.Kind != answer.Reconstruction {
		c.errors[i] = squaredError(target, y)
		if c.wanted != nil {
			copy(c.wanted[i*o.Size:], target)
		}
	}
}

// choice is the class that an output's values y choose at position p.
func choice(o *answer.Output, y []float32, p int, threshold float32) int {
	switch {
	case o.Activation == answer.Position:
		return int(y[p])
	case len(y) == o.Positions:
		if y[p] > threshold {
			return 1
		}
		return 0
	}
	width := len(y) / o.Positions
	return argmax(y[p*width : (p+1)*width])
}

// truthOf is the class that a target names at position p.
func truthOf(o *answer.Output, target []float32, p int) int {
	switch {
	case o.Indexed:
		return int(target[p])
	case len(target) == o.Positions:
		if target[p] > 0.5 {
			return 1
		}
		return 0
	}
	width := len(target) / o.Positions
	return argmax(target[p*width : (p+1)*width])
}

// peak is the place from 1 on where map k of y is largest, 0 where it peaks nowhere above the output's threshold.
func peak(y []float32, k int, o *answer.Output) int {
	place, top := 0, o.Threshold
	for i := k; i < len(y); i += o.Width {
		if y[i] > top {
			place, top = i/o.Width+1, y[i]
		}
	}
	return place
}

// argmax is the index of the first largest value, as NumPy's.
func argmax(y []float32) int {
	best := 0
	for i, v := range y {
		if v > y[best] {
			best = i
		}
	}
	return best
}

func squaredError(want, got []float32) float64 {
	sum := 0.0
	for i, v := range got {
		d := float64(want[i]) - float64(v)
		sum += float64(d * d)
	}
	return sum / float64(len(got))
}
