package quantize

import (
	"context"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/panics"
)

const (
	// searchSamples are those that every try of a search is judged on; of a large network fewer, but leastSearched.
	searchSamples = 128
	leastSearched = 16
	// searchWork bounds the multiplications of all tries, a minute or two on two processors. Where the fewest samples take four times as
	// many, all ranges are chosen in one way.
	searchWork = 5e11
	// mostWanted bounds the values that a search keeps of the outputs, 256 MB: of large ones it sees fewer samples.
	mostWanted = 1 << 26
	// better is the share of the error that a try has to save: less is chance.
	better = 0.995
)

// ways are how a search turns what was counted into a range.
var ways = []func(h *Histogram) Range{
	(*Histogram).MinMax,
	func(h *Histogram) Range { return h.Percentile(99.999) },
	func(h *Histogram) Range { return h.Percentile(99.99) },
	func(h *Histogram) Range { return h.Percentile(99.9) },
	(*Histogram).MSE,
	func(h *Histogram) Range { return h.Percentile(99) },
	func(h *Histogram) Range { return h.MinMax().times(0.9) },
	func(h *Histogram) Range { return h.MinMax().times(0.75) },
	func(h *Histogram) Range { return h.MinMax().times(0.5) },
}

// times is the range with both ends moved towards 0.
func (r Range) times(by float32) Range { return Range{Min: r.Min * by, Max: r.Max * by} }

// search tries ranges, for all groups in one way and then group by group, and keeps what leaves the least error in the outputs once
// activations are quantized. Weights stay as they are, so that only the error of activations is judged.
type search struct {
	o       *observer
	feed    Feed
	samples int
	outputs []int
	execs   []*float.Exec
	acts    []*float.ActQuant
	params  []Params
	wanted  [][]float32 // by output: of all samples, what it is without quantization
	noise   [][]float64 // by output and micro-batch: of the last try
	energy  []float64   // by output
}

// search is the statistics by OutputError. The network is left as it was.
func (o *observer) search(ctx context.Context, feed Feed, n int) (*Statistics, error) {
	before := slices.Clone(o.net.Act)
	defer func() {
		copy(o.net.Act, before)
		o.net.Refresh()
	}()
	clear(o.net.Act)
	o.net.Refresh()
	s := &search{o: o, feed: feed, outputs: o.config.Outputs}
	for i := 0; s.outputs == nil && i < len(o.plan.Graph.Outputs); i++ {
		s.outputs = append(s.outputs, o.net.LossTensor(i))
	}
	groups := s.groups()
	if len(groups) == 0 {
		return o.statistics(MinMax)
	}
	answers := 0
	for i := range s.outputs {
		answers += s.elements(i)
	}
	each, every := afforded(o.plan.Graph.Multiplications(), len(groups), answers)
	if !every {
		groups = nil
	}
	s.samples = min(n, each)
	if err := s.reference(ctx); err != nil {
		return nil, err
	}
	return s.run(ctx, groups)
}

// afforded is how many samples a search sees, by a sample's multiplications and the values of its outputs, and whether every group has ranges of
// its own.
func afforded(multiplications int64, groups, answers int) (samples int, every bool) {
	affordable := func(tries int) int {
		return int(min(searchWork/max(float64(multiplications)*float64(tries*len(ways)), 1), searchSamples))
	}
	samples, every = affordable(1+groups), true
	if samples < leastSearched/4 {
		samples, every = affordable(1), false
	}
	return min(max(leastSearched, samples), max(1, mostWanted/max(answers, 1))), every
}

// groups are those that ranges are searched for: of int16 they are fine enough.
func (s *search) groups() (list []int) {
	for i := range s.o.plan.Groups {
		if g := &s.o.plan.Groups[i]; g.Fixed == nil && !g.Wide {
			list = append(list, i)
		}
	}
	return list
}

// reference runs the samples without quantization, and attaches it.
func (s *search) reference(ctx context.Context) (err error) {
	s.execs = s.newExecs()
	for i := range s.outputs {
		s.wanted = append(s.wanted, make([]float32, s.samples*s.elements(i)))
		s.noise = append(s.noise, make([]float64, (s.samples+s.o.net.MicroBatch-1)/s.o.net.MicroBatch))
	}
	if err := s.each(ctx, func(i, first int, values []float32) { copy(s.wanted[i][first*s.elements(i):], values) }); err != nil {
		return err
	}
	for _, values := range s.wanted {
		var sum float64
		for _, v := range values {
			if v-v == 0 {
				sum += float64(v) * float64(v)
			}
		}
		s.energy = append(s.energy, sum)
	}
	ranges, err := s.o.rangesBy(func(h *Histogram, _ Range) Range { return h.MinMax() })
	if err != nil {
		return err
	}
	s.params = s.o.plan.Params(ranges)
	s.acts, err = s.o.plan.Attach(s.o.net, s.params)
	s.execs = s.newExecs() // of a network with quantization
	return err
}

func (s *search) newExecs() []*float.Exec {
	size := s.o.net.MicroBatch
	execs := make([]*float.Exec, min(lanes, (s.samples+size-1)/size))
	for i := range execs {
		execs[i] = s.o.net.NewForwardExec(s.outputs...)
	}
	return execs
}

// each runs all samples, and calls use for every output i of those from first on, beside each other.
func (s *search) each(ctx context.Context, use func(i, first int, values []float32)) error {
	size := s.o.net.MicroBatch
	return panics.Go(len(s.execs), func(l int) error {
		for first := l * size; first < s.samples; first += len(s.execs) * size {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.feed.Batch(s.execs[l], first, min(size, s.samples-first)); err != nil {
				return err
			}
			s.execs[l].Forward()
			for i, t := range s.outputs {
				use(i, first, s.execs[l].Tensor(t))
			}
		}
		return nil
	})
}

// elements is how many values of output i a sample has.
func (s *search) elements(i int) int {
	g := s.o.plan.Graph
	return g.Numel(s.outputs[i]) / max(g.Batch, 1)
}

// try is the error that ranges leave: of every output as a share of its squares, summed up.
func (s *search) try(ctx context.Context, ranges []Range) (float64, error) {
	s.o.plan.SetParams(s.params, ranges)
	for g, q := range s.params {
		s.acts[g].Scale, s.acts[g].ZeroPoint = q.Scale, q.ZeroPoint
	}
	s.o.net.Refresh()
	if err := s.each(ctx, func(i, first int, values []float32) {
		s.noise[i][first/s.o.net.MicroBatch] = squares(values, s.wanted[i][first*s.elements(i):])
	}); err != nil {
		return 0, err
	}
	var sum float64
	for i := range s.outputs {
		var of float64
		for _, part := range s.noise[i] {
			of += part
		}
		sum += of / max(s.energy[i], math.SmallestNonzeroFloat64)
	}
	return sum, nil
}

// squares is the sum of those of differences from what is wanted.
func squares(values, wanted []float32) (sum float64) {
	for k, v := range values {
		w := float64(wanted[k])
		if w-w != 0 {
			continue
		}
		d := float64(v) - w
		if d-d != 0 {
			d = w // infinite, as the LOG of what was rounded to 0: it is lost
		}
		sum += d * d
	}
	return sum
}

func (s *search) run(ctx context.Context, groups []int) (*Statistics, error) {
	by := make([][]Range, len(ways))
	for k, way := range ways {
		var err error
		if by[k], err = s.o.rangesBy(func(h *Histogram, _ Range) Range { return way(h) }); err != nil {
			return nil, err
		}
		for g := range s.o.plan.Groups {
			if s.o.plan.Groups[g].Wide {
				by[k][g] = by[0][g]
			}
		}
	}
	best := by[0]
	least, err := s.try(ctx, best)
	if err != nil {
		return nil, err
	}
	whole := least
	attempt := func(ranges []Range) error {
		left, err := s.try(ctx, ranges)
		if err == nil && left < better*least {
			best, least = ranges, left
		}
		return err
	}
	for _, ranges := range by[1:] {
		if err := attempt(ranges); err != nil {
			return nil, err
		}
	}
	for done, g := range groups {
		tried := []Range{best[g]}
		for _, ranges := range by {
			if slices.Contains(tried, ranges[g]) {
				continue
			}
			tried = append(tried, ranges[g])
			one := slices.Clone(best)
			one[g] = ranges[g]
			if err := attempt(one); err != nil {
				return nil, err
			}
		}
		if s.o.config.Searched != nil {
			s.o.config.Searched(done+1, len(groups))
		}
	}
	clipped, free := 0, s.groups()
	for _, g := range free {
		if best[g] != by[0][g] {
			clipped++
		}
	}
	return &Statistics{Ranges: best, Note: fmt.Sprintf("activation ranges were chosen by the error of the outputs, on %d samples: %d of %d leave out the rarest values; quantized activations leave the outputs at %.1f dB, %.1f dB with all values",
		s.samples, clipped, len(free), s.decibel(least), s.decibel(whole))}, nil
}

// decibel is the signal-to-noise ratio of the outputs.
func (s *search) decibel(noise float64) float64 {
	return -10 * math.Log10(max(noise/float64(max(len(s.outputs), 1)), 1e-12))
}
