package quantize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/panics"
)

// Method says how observed values become a range.
type Method uint8

const (
	// MinMax takes the smallest and the largest value.
	MinMax Method = iota
	// Average takes the moving average of the smallest and largest values of each micro-batch.
	Average
	// Percentile leaves out the rarest values on either side.
	Percentile
	// MSE takes the range with the smallest mean squared quantization error.
	MSE
	// OutputError takes, of what the other methods and shares of the whole range give, what leaves the least error in the network's outputs.
	OutputError
)

// Methods are all there are.
var Methods = []Method{MinMax, Average, Percentile, MSE, OutputError}

// String is the method's name in a manifest.
func (m Method) String() string {
	return [...]string{"MinMax", "MovingAverage", "Percentile", "MSE", "OutputError"}[m]
}

// DefaultPercentile is that of a Calibration by Percentile that does not say another.
const DefaultPercentile = 99.99

// Calibration configures Calibrate. The zero value is min-max.
type Calibration struct {
	Method     Method
	Percentile float64 // of Percentile, in (50, 100]; 0: DefaultPercentile
	Decay      float32 // of Average, per micro-batch, in [0, 1); 0 = 0.9
	// Outputs are the tensors whose error OutputError minimizes; nil: those that the network is trained by, before a softmax.
	Outputs []int
	// Searched, if not nil, is told how many ranges OutputError has decided.
	Searched func(done, of int)
}

func (c Calibration) withDefaults() (Calibration, error) {
	if c.Percentile == 0 {
		c.Percentile = DefaultPercentile
	}
	if c.Decay == 0 {
		c.Decay = 0.9
	}
	switch {
	case int(c.Method) >= len(Methods):
		return c, fmt.Errorf("unknown calibration method %d", c.Method)
	case !(c.Percentile > 50 && c.Percentile <= 100):
		return c, fmt.Errorf("calibration percentile %v is not in (50, 100]", c.Percentile)
	case !(c.Decay >= 0 && c.Decay < 1):
		return c, fmt.Errorf("calibration decay %v is not in [0, 1)", c.Decay)
	}
	return c, nil
}

// Feed fills the model's inputs, one slice each, with sample i; its error names the sample.
type Feed func(i int, inputs [][]float32) error

// FeedOf feeds the samples of a source, such as a dataset.Source.
func FeedOf(s interface {
	Read(i int, x [][]float32) error
}) Feed {
	return s.Read
}

// Statistics is what calibration found.
type Statistics struct {
	// Ranges are by group; groups with a fixed quantization have that one's range.
	Ranges []Range
	// Note says what OutputError gained; "" of the other methods.
	Note string
}

// lanes is the number of micro-batches in flight. It is fixed, and lane l takes micro-batches l, l+lanes, …, so that sums of
// floats do not depend on the number of processors.
const lanes = 4

// Calibrate runs samples 0 … n−1 through the float network and derives the range of every group of the plan. Memory does not
// grow with n. The result does not depend on the number of processors.
func Calibrate(ctx context.Context, net *float.Network, plan *Plan, config Calibration, feed Feed, n int) (*Statistics, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, errors.New("calibration needs at least one sample")
	}
	workers := lanes
	if config.Method == Average {
		workers = 1 // a moving average depends on order
	}
	observers := make([]*observer, workers)
	for l := range observers {
		observers[l] = newObserver(net, plan, config)
	}
	if err := panics.Go(workers, func(l int) error { return observers[l].run(ctx, feed, l, workers, n) }); err != nil {
		return nil, err
	}
	for _, o := range observers[1:] {
		observers[0].merge(o)
	}
	if config.Method == OutputError {
		return observers[0].search(ctx, feed, n)
	}
	return observers[0].statistics(config.Method)
}

// observer collects one lane's statistics.
type observer struct {
	plan    *Plan
	net     *float.Network
	config  Calibration
	exec    *float.Exec
	sources []int // activations to observe, each once
	seen    map[int]*Histogram
	ranges  map[int]*MovingAverage
	batches int
}

func newObserver(net *float.Network, plan *Plan, config Calibration) *observer {
	o := &observer{plan: plan, net: net, config: config, exec: net.NewExec(false), seen: map[int]*Histogram{}, ranges: map[int]*MovingAverage{}}
	for _, g := range plan.Groups {
		for _, t := range g.Sources {
			if plan.Graph.Tensors[t].Const != nil || o.seen[t] != nil {
				continue
			}
			o.sources = append(o.sources, t)
			o.seen[t] = NewHistogram()
			o.ranges[t] = &MovingAverage{Decay: config.Decay}
		}
	}
	return o
}

// run feeds the micro-batches of one lane.
func (o *observer) run(ctx context.Context, feed Feed, lane, workers, n int) error {
	size := o.net.MicroBatch
	for first := lane * size; first < n; first += workers * size {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(size, n-first)
		if err := feed.Batch(o.exec, first, count); err != nil {
			return err
		}
		for i, t := range o.plan.Graph.Inputs {
			if _, err := rangeOf(o.exec.Input(i)); err != nil {
				return fmt.Errorf("calibration: %s: %w", o.plan.name(t), err)
			}
		}
		o.exec.Forward()
		if tensor, err := o.observe(); err != nil {
			return cmp.Or(o.diagnose(feed, first, count, tensor), err)
		}
	}
	return nil
}

// Batch makes samples first … first+count−1 the next batch of an executor.
func (f Feed) Batch(e *float.Exec, first, count int) error {
	if err := e.SetBatch(count); err != nil {
		return err
	}
	sample := make([][]float32, len(e.Network().Graph.Inputs))
	for k := range count {
		for i := range sample {
			x := e.Input(i)
			per := len(x) / count
			sample[i] = x[k*per : (k+1)*per]
		}
		if err := f(first+k, sample); err != nil {
			return err
		}
	}
	return nil
}

// diagnose runs a micro-batch again, in which a value of a tensor is not finite, to name the operator where that began.
func (o *observer) diagnose(feed Feed, first, count, tensor int) error {
	e := o.net.NewDiagnosticExec()
	if err := feed.Batch(e, first, count); err != nil {
		return err
	}
	e.Forward()
	if operator := e.NonFiniteOrigin(tensor); operator != "" {
		return fmt.Errorf("calibration: %s gives NaN or infinity, though its inputs are numbers: no range holds that; change the network so that it reads "+
			"what it is defined for (a maximum before a LOG, a SQRT or a divisor, a minimum before an EXP), or remove the samples that lead there", operator)
	}
	return nil
}

// observe adds the tensors of the last forward pass; with an error comes the tensor that it is of. Outputs that stay float may be infinite, as the LOG
// of nothing is, but not NaN.
func (o *observer) observe() (tensor int, err error) {
	for i, t := range o.plan.Graph.Outputs {
		if k := slices.IndexFunc(o.exec.Output(i), func(v float32) bool { return v != v }); k >= 0 {
			return t, fmt.Errorf("calibration: %s: value %d is NaN", o.plan.name(t), k)
		}
	}
	for _, t := range o.sources {
		values := o.exec.Tensor(t)
		batch, err := rangeOf(values)
		if err != nil {
			return t, fmt.Errorf("calibration: %s: %w", o.plan.name(t), err)
		}
		o.add(t, values, batch)
	}
	o.batches++
	return 0, nil
}

// add updates what the method needs of a tensor.
func (o *observer) add(t int, values []float32, batch Range) {
	switch o.config.Method {
	case MinMax:
		o.seen[t].seen = o.seen[t].seen.Union(batch)
	case Average:
		if o.batches == 0 {
			o.ranges[t].Range = batch
		}
		o.ranges[t].Update(batch)
	default:
		o.seen[t].Add(values)
	}
}

func (o *observer) merge(p *observer) {
	for t, h := range p.seen {
		o.seen[t].Merge(h)
	}
	o.batches += p.batches
}

// statistics turns what was observed into ranges by group.
func (o *observer) statistics(method Method) (*Statistics, error) {
	ranges, err := o.rangesBy(func(h *Histogram, average Range) Range {
		switch method {
		case Average:
			return average
		case Percentile:
			return h.Percentile(o.config.Percentile)
		case MSE:
			return h.MSE()
		default:
			return h.MinMax()
		}
	})
	return &Statistics{Ranges: ranges}, err
}

// rangesBy are the ranges of the groups, chosen by a function of what was counted of each and of its moving average.
func (o *observer) rangesBy(choose func(h *Histogram, average Range) Range) ([]Range, error) {
	ranges := make([]Range, len(o.plan.Groups))
	for i, g := range o.plan.Groups {
		if g.Fixed != nil {
			ranges[i] = g.Fixed.Range()
			continue
		}
		r, err := o.groupRange(g, choose)
		if err != nil {
			return nil, err
		}
		ranges[i] = r
	}
	return ranges, nil
}

// groupRange derives the range of a group from its sources together. Constants always count in full: clipping them saves
// nothing, since they do not vary.
func (o *observer) groupRange(g Group, choose func(h *Histogram, average Range) Range) (Range, error) {
	all, constants, average := NewHistogram(), Empty(), Empty()
	for _, t := range g.Sources {
		if o.plan.Graph.Tensors[t].Const != nil {
			r, err := rangeOf(o.plan.Graph.Tensors[t].Float32s())
			if err != nil {
				return Range{}, fmt.Errorf("calibration: %s: %w", o.plan.name(t), err)
			}
			constants = constants.Union(r)
			continue
		}
		all.Merge(o.seen[t])
		average = average.Union(o.ranges[t].Range)
	}
	if all.seen == Empty() && average == Empty() {
		return constants.widen(), nil
	}
	return choose(all, average).Union(constants).widen(), nil
}

// rangeOf is the range of finite values.
func rangeOf(values []float32) (Range, error) {
	r := Empty()
	for i, v := range values {
		if v-v != 0 {
			return r, fmt.Errorf("value %d is %v", i, v)
		}
		r.Min, r.Max = min(r.Min, v), max(r.Max, v)
	}
	return r, nil
}
