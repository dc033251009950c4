package reconstruct

import (
	"context"
	"errors"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/panics"
	"espalier.dev/espalier/optimizer/quantize"
)

// Moments are those of the inputs of one part of a layer: means over rows, which are samples and pixels.
type Moments struct {
	// Inputs are the taps and the constant 1 before them.
	Inputs int
	// H is E[x xᵀ], Inputs × Inputs.
	H []float64
	// G is by output E[y x], with y the part's share of the output of the network to be met, before its activation function; the bias is the
	// first part's.
	G []float64
	// Energy is by output E[y²].
	Energy []float64
	Rows   int
}

// mostRows bounds the rows that a layer's moments are taken over, and rowsPerInput does for fewer inputs, such as those of a depthwise
// convolution, but not below leastRows: pixels of every sample are left out evenly.
const mostRows, leastRows, rowsPerInput = 1 << 15, 1 << 12, 256

// rowsOf bounds those of a layer.
func rowsOf(l *Layer) int {
	inputs := 0
	for _, p := range l.Parts {
		inputs = max(inputs, p.Taps+1)
	}
	return min(mostRows, max(leastRows, rowsPerInput*inputs))
}

// lanes are fixed, and lane l takes micro-batches l, l+lanes, …, so that sums do not depend on the number of processors. Of wide layers, whose
// moments every lane has by itself, they are fewer.
const lanes, wideLanes = 4, 2

// mostMultiplications bounds what running the operators before every layer takes, minutes on two processors; but leastSamples are looked
// at in any case.
const (
	mostMultiplications = 2e12
	leastSamples        = 32
)

// Samples is how many samples to observe the layers on, at most so many: fewer of a large network.
func Samples(g *ir.Graph, layers []*Layer, most int) int {
	all := running(g, layers)
	if all*float64(most) <= mostMultiplications {
		return most
	}
	return min(most, max(leastSamples, int(mostMultiplications/all)))
}

// running is the multiplications of one sample in the operators before every layer, in both networks.
func running(g *ir.Graph, layers []*Layer) (all float64) {
	var before float64
	at := 0
	for _, l := range layers {
		for last := l.Nodes[len(l.Nodes)-1]; at < last; at++ {
			before += float64(g.MultiplicationsOf(&g.Nodes[at]))
		}
		all += 2 * before
	}
	return all
}

// Observing is about how many multiplications it takes to observe all layers on so many samples.
func Observing(g *ir.Graph, layers []*Layer, samples int) float64 {
	all := running(g, layers) * float64(samples)
	for _, l := range layers {
		total := 0
		for _, node := range l.Nodes {
			p := newPatches(g, l, node)
			total += samples * p.rows
		}
		all += float64(min(total, rowsOf(l))) * float64(l.moments())
	}
	return all
}

// chunk is how many rows are multiplied at once, in float32; their sums are added up in float64.
const chunk = 256

// band is how many rows of H are multiplied at once, from their diagonal on.
const band = 128

// Observe returns the moments of every part of a layer. target is the network whose outputs are to be met, now the one whose inputs the
// layer gets; they are two forms of one graph, with the same micro-batch. Only the operators before the layer run.
func Observe(ctx context.Context, target, now *float.Network, l *Layer, feed quantize.Feed, samples int) ([]Moments, error) {
	if samples < 1 {
		return nil, errors.New("reconstruction needs at least one sample")
	}
	side := lanes
	if l.Taps > MaxTaps {
		side = wideLanes
	}
	all := make([]*lane, side)
	err := panics.Go(side, func(i int) error {
		all[i] = newLane(target, now, l, samples)
		return all[i].run(ctx, feed, i, side, samples)
	})
	if err != nil {
		return nil, err
	}
	moments := all[0].moments
	for i, other := range all[1:] {
		for k := range moments {
			moments[k].add(&other.moments[k])
		}
		all[i+1] = nil // its moments may be large
	}
	for k := range moments {
		moments[k].mean()
	}
	return moments, nil
}

func (m *Moments) add(other *Moments) {
	for _, pair := range [][2][]float64{{m.H, other.H}, {m.G, other.G}, {m.Energy, other.Energy}} {
		for i, v := range pair[1] {
			pair[0][i] += v
		}
	}
	m.Rows += other.Rows
}

// mean divides the sums by the rows, and completes H, of which the lower triangle was not summed up.
func (m *Moments) mean() {
	for i := range m.Inputs {
		for j := range i {
			m.H[i*m.Inputs+j] = m.H[j*m.Inputs+i]
		}
	}
	by := 1 / float64(max(m.Rows, 1))
	for _, sums := range [][]float64{m.H, m.G, m.Energy} {
		for i := range sums {
			sums[i] *= by
		}
	}
}

// lane sums up some of the micro-batches.
type lane struct {
	layer       *Layer
	target, now *float.Exec
	size        int // of a micro-batch
	patches     []patches
	step        int         // of the rows of an image, one is taken
	weights     [][]float32 // by part: [inputs, outputs], the bias first
	moments     []Moments

	scratch    kernel.Scratch
	wanted     []float32 // rows of the network to be met, all parts
	given      []float32 // and of the other
	x, t, y    []float32 // one part's, with the constant
	h, g       []float32
	rows, room int
}

func newLane(target, now *float.Network, l *Layer, samples int) *lane {
	graph := now.Graph
	inputs := make([]int, len(l.Nodes))
	la := &lane{layer: l, size: now.MicroBatch, room: chunk}
	total := 0
	for i, node := range l.Nodes {
		inputs[i] = graph.Nodes[node].Inputs[l.data]
		la.patches = append(la.patches, newPatches(graph, l, node))
		total += samples * la.patches[i].rows
	}
	la.step = max(total/rowsOf(l), 1)
	la.target, la.now = target.NewForwardExec(inputs...), now.NewForwardExec(inputs...)
	most := 0
	for _, p := range l.Parts {
		n := p.Taps + 1
		most = max(most, n)
		la.moments = append(la.moments, Moments{Inputs: n, H: make([]float64, n*n), G: make([]float64, l.Outputs*n), Energy: make([]float64, l.Outputs)})
	}
	width := l.Taps * l.Groups
	la.wanted, la.given = make([]float32, chunk*width), make([]float32, chunk*width)
	la.x, la.t, la.y = make([]float32, chunk*most), make([]float32, chunk*most), make([]float32, chunk*l.Outputs)
	la.h, la.g = make([]float32, min(band, most)*most), make([]float32, l.Outputs*most)
	la.weights = targetWeights(target, l)
	return la
}

// targetWeights are those of the network to be met, by part as [inputs, outputs].
func targetWeights(target *float.Network, l *Layer) [][]float32 {
	w, bias := target.Param(l.Weight).Value, []float32(nil)
	if l.Bias != None {
		bias = target.Param(l.Bias).Value
	}
	parts := make([][]float32, len(l.Parts))
	for k, p := range l.Parts {
		parts[k] = make([]float32, (p.Taps+1)*l.Outputs)
		for o := range l.Outputs {
			if bias != nil && p.From == 0 {
				parts[k][o] = bias[l.Channel(k, o)]
			}
			for tap := range p.Taps {
				parts[k][(tap+1)*l.Outputs+o] = w[l.At(k, o, tap)]
			}
		}
	}
	return parts
}

func (la *lane) run(ctx context.Context, feed quantize.Feed, first, side, samples int) error {
	for from := first * la.size; from < samples; from += side * la.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		count := min(la.size, samples-from)
		for _, e := range []*float.Exec{la.target, la.now} {
			if err := feed.Batch(e, from, count); err != nil {
				return err
			}
			e.ForwardBefore(la.layer.Nodes[len(la.layer.Nodes)-1])
		}
		for i, node := range la.layer.Nodes {
			input := la.now.Network().Graph.Nodes[node].Inputs[la.layer.data]
			la.images(&la.patches[i], la.target.Tensor(input), la.now.Tensor(input), from, count)
		}
		la.flush()
	}
	return nil
}

// images takes the rows of count images, of which the first is sample number from.
func (la *lane) images(p *patches, wanted, given []float32, from, count int) {
	step := min(la.step, p.rows)
	for k := range count {
		lo, hi := k*p.size, (k+1)*p.size
		for r := (from + k) % step; r < p.rows; r += step {
			at := la.rows * p.width
			p.row(la.wanted[at:at+p.width], wanted[lo:hi], r)
			p.row(la.given[at:at+p.width], given[lo:hi], r)
			if la.rows++; la.rows == la.room {
				la.flush()
			}
		}
	}
}

// flush adds the rows that were collected to the moments.
func (la *lane) flush() {
	if la.rows == 0 {
		return
	}
	l, rows := la.layer, la.rows
	p := &la.patches[0]
	for k := range la.moments {
		m, n := &la.moments[k], la.moments[k].Inputs
		for r := range rows {
			la.x[r*n], la.t[r*n] = 1, 1
			p.part(la.x[r*n+1:(r+1)*n], la.given[r*p.width:(r+1)*p.width], l.Parts[k])
			p.part(la.t[r*n+1:(r+1)*n], la.wanted[r*p.width:(r+1)*p.width], l.Parts[k])
		}
		kernel.Gemm(&la.scratch, rows, l.Outputs, n, la.t, n, 1, la.weights[k], l.Outputs, la.y, l.Outputs, false)
		for i := 0; i < n; i += band {
			high, wide := min(band, n-i), n-i
			kernel.Gemm(&la.scratch, high, wide, rows, la.x[i:], 1, n, la.x[i:], n, la.h, wide, false)
			for j := range high {
				sum(m.H[(i+j)*n+i:(i+j+1)*n], la.h[j*wide:])
			}
		}
		kernel.Gemm(&la.scratch, l.Outputs, n, rows, la.y, 1, l.Outputs, la.x, n, la.g, n, false)
		sum(m.G, la.g)
		for r := range rows {
			for o, v := range la.y[r*l.Outputs : (r+1)*l.Outputs] {
				m.Energy[o] += float64(v) * float64(v)
			}
		}
		m.Rows += rows
	}
	la.rows = 0
}

// sum adds to what there is of to.
func sum(to []float64, of []float32) {
	of = of[:len(to)]
	for i := range to {
		to[i] += float64(of[i])
	}
}
