package lineage

import (
	"context"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/equalize"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
)

// mixes are what equalization tries, beside leaving channels as they are.
var mixes = []equalize.Mix{
	{Activation: 1},
	{Activation: 0.75, Reader: 0.25},
	{Activation: 0.5, Reader: 0.5},
	{Activation: 0.25, Reader: 0.75},
	{Activation: 0.5},
	{Maker: 0.5, Reader: 0.5},
}

const (
	// equalizeSamples are those that every try is judged on, of a large network fewer, and at least leastTried.
	equalizeSamples = 64
	leastTried      = 16
	// equalizeWork bounds the multiplications of all tries, a minute on two processors.
	equalizeWork = 1e12
	// better is the share of the error that a try has to save: less is chance.
	better = 0.99
	// exactly is the error, as a share of the outputs' squares, up to which two float networks are one.
	exactly = 1e-8
)

// equalize returns the network with its channels scaled such that the leaf has the least error of the outputs, found by trying; the network
// itself where nothing helps.
func (r *Run) equalize(ctx context.Context, n *Network) (*Network, string, error) {
	switch {
	case n.Int8():
		return n, r.idle("the network is quantized already, and keeps its integers"), nil
	case n.from.stream != nil:
		return n, r.idle("the network keeps state, whose channels stay as they are"), nil
	}
	e, err := r.newEqualization(ctx, n)
	if err != nil {
		return nil, "", wrap("equalize", err)
	}
	m, note, err := e.search(ctx)
	if err != nil {
		return nil, "", wrap("equalize", err)
	}
	if m == nil {
		return n, note, nil
	}
	return n.next(m, n.ids, n.States()), note, nil
}

// idle says why equalization does nothing, where it was asked for by name.
func (r *Run) idle(why string) string {
	if r.Leaf.Equalize == nil {
		return ""
	}
	return "equalize does nothing here: " + why
}

// equalization is a search for the factors of channels.
type equalization struct {
	r         *Run
	n         *Network
	structure *equalize.Structure
	sizes     *equalize.Sizes
	plan      *quantize.Plan
	drawn     []int
	outputs   []int       // tensors that are compared
	wanted    [][]float32 // by sample, what they are
	energy    float64
}

func (r *Run) newEqualization(ctx context.Context, n *Network) (*equalization, error) {
	plan, err := r.plan(n)
	if err != nil {
		return nil, err
	}
	keep, single := map[int]bool{}, map[int]bool{}
	for t, s := range n.States() {
		keep[t] = s.Clustered()
	}
	for _, l := range plan.Layers {
		single[l.Weight] = l.Scales < plan.Graph.Tensors[l.Weight].Shape[l.Axis]
	}
	e := &equalization{r: r, n: n, plan: plan, structure: equalize.Find(plan.Graph, keep), outputs: answer.LossTensors(r.Outputs, plan.Graph)}
	drawn := r.draw(reconstructSamples)
	feed, err := r.feed(n, drawn)
	if err != nil {
		return nil, err
	}
	if e.sizes, err = e.structure.Measure(ctx, n.model, single, feed, len(drawn)); err != nil {
		return nil, err
	}
	e.drawn = drawn[:min(len(drawn), triedOn(e.structure.Classes(), plan.Graph.Multiplications()))]
	net, err := float.Compile(n.model, 1)
	if err != nil {
		return nil, err
	}
	if e.wanted, err = e.answers(ctx, net); err != nil {
		return nil, err
	}
	for _, values := range e.wanted {
		for _, v := range values {
			e.energy += float64(v) * float64(v)
		}
	}
	return e, nil
}

// triedOn is how many samples each try of a network with such classes of channels and multiplications is judged on. A try runs it three times:
// in float, to calibrate and quantized.
func triedOn(classes int, multiplications int64) int {
	tries := float64(len(mixes)*(1+classes)) * 3 * float64(multiplications)
	return max(leastTried, min(equalizeSamples, int(equalizeWork/max(tries, 1))))
}

// search tries mixes for all channels, then for each class by itself. The model is nil if none is better than the one that is.
func (e *equalization) search(ctx context.Context) (*tflite.Model, string, error) {
	classes := e.structure.Classes()
	switch {
	case classes == 0 && equalize.Find(e.plan.Graph, nil).Classes() > 0:
		return nil, e.r.idle("the channels that could be scaled have clustered weights, which stay as they are"), nil
	case classes == 0:
		return nil, e.r.idle("no channel can be scaled without changing the network"), nil
	}
	at := make([]equalize.Mix, classes)
	_, start, err := e.try(ctx, at)
	if err != nil {
		return nil, "", err
	}
	var made *tflite.Model
	least := start
	attempt := func(tried []equalize.Mix) error {
		m, noise, err := e.try(ctx, tried)
		if err == nil && m != nil && noise < better*least {
			made, least, at = m, noise, slices.Clone(tried)
		}
		return err
	}
	for _, mix := range mixes {
		if err := attempt(slices.Repeat([]equalize.Mix{mix}, classes)); err != nil {
			return nil, "", err
		}
	}
	for class := range classes {
		for _, mix := range append([]equalize.Mix{equalize.None}, mixes...) {
			tried := slices.Clone(at)
			if tried[class] = mix; mix == at[class] {
				continue
			}
			if err := attempt(tried); err != nil {
				return nil, "", err
			}
		}
	}
	if made == nil {
		return nil, e.r.idle("no factors of the channels lower the error of the outputs"), nil
	}
	scaled := 0
	for _, f := range e.structure.Factors(e.sizes, at) {
		if f != 1 {
			scaled++
		}
	}
	return made, fmt.Sprintf("channels equalized, %d of %d that can be scaled: outputs of the quantized network at %.1f dB, %.1f dB before", scaled, len(e.sizes.Most), decibel(e.energy, least), decibel(e.energy, start)), nil
}

// decibel is a signal-to-noise ratio, from -120 to 120: as much where there is no noise, and where nothing but noise is.
func decibel(signal, noise float64) float64 {
	const least = 1e-12 // of one beside the other
	if noise <= least*signal {
		return 120
	}
	return 10 * math.Log10(max(signal/noise, least))
}

// try makes the model with mixes by class and returns the squared error that its quantization leaves in the outputs; a nil model if its
// float outputs are others.
func (e *equalization) try(ctx context.Context, mixes []equalize.Mix) (*tflite.Model, float64, error) {
	m, err := e.structure.Apply(e.n.model, e.structure.Factors(e.sizes, mixes))
	if err != nil {
		return nil, 0, err
	}
	net, err := float.Compile(m, 1)
	if err != nil {
		return nil, 0, err
	}
	if noise, err := e.noise(ctx, net); err != nil || !(noise <= exactly*e.energy) {
		return nil, 0, err
	}
	calibration := e.r.Leaf.Calibration
	if calibration.Method == quantize.OutputError {
		calibration.Method = quantize.MinMax // ranges are searched once, when channels are equal
	}
	feed, err := e.r.feed(e.n, e.drawn)
	if err != nil {
		return nil, 0, err
	}
	statistics, err := quantize.Calibrate(ctx, net, e.plan, calibration, feed, len(e.drawn))
	if err != nil {
		return nil, 0, err
	}
	params := e.plan.Params(statistics.Ranges)
	given, err := e.plan.Stored(m)
	if err != nil {
		return nil, 0, err
	}
	weights, _, err := e.plan.Integers(m, params, given)
	if err != nil {
		return nil, 0, err
	}
	simulation, err := e.plan.Simulate(m, params, weights, 1)
	if err != nil {
		return nil, 0, err
	}
	noise, err := e.noise(ctx, simulation)
	return m, noise, err
}

// noise is the squared distance of a network's outputs from those that are wanted.
func (e *equalization) noise(ctx context.Context, net *float.Network) (float64, error) {
	answers, err := e.answers(ctx, net)
	return squaredDistance(answers, e.wanted), err
}

// squaredDistance is that of answers from those that are wanted.
func squaredDistance(answers, wanted [][]float32) (sum float64) {
	for i, values := range answers {
		for k, v := range values {
			d := float64(v) - float64(wanted[i][k])
			sum += d * d
		}
	}
	return sum
}

// answers are by sample the outputs of a network.
func (e *equalization) answers(ctx context.Context, net *float.Network) ([][]float32, error) {
	return e.r.answers(ctx, e.n, net, e.outputs, e.drawn)
}

// answers are by sample the values of some tensors of a form of a network.
func (r *Run) answers(ctx context.Context, n *Network, net *float.Network, tensors, drawn []int) ([][]float32, error) {
	answers := make([][]float32, len(drawn))
	side := min(len(drawn), runners)
	feed, err := r.feed(n, drawn)
	if err != nil {
		return nil, err
	}
	err = panics.Go(side, func(l int) error {
		exec := net.NewForwardExec(tensors...)
		for i := l; i < len(answers); i += side {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := feed.Batch(exec, i, 1); err != nil {
				return err
			}
			exec.Forward()
			for _, t := range tensors {
				answers[i] = append(answers[i], exec.Tensor(t)...)
			}
		}
		return nil
	})
	return answers, err
}

// runners is how many executors run side by side.
const runners = 4
