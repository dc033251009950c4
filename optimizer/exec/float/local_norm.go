package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
)

// localNorm is LOCAL_RESPONSE_NORMALIZATION: y = x·s^−β with s = bias + α·Σ x² over the neighbouring channels, on both sides as many, as
// TensorFlow and LiteRT's optimized kernel have it. LiteRT's reference kernel leaves out the last one.
type localNorm struct {
	node
	ir.LocalNorm
	width int // channels
}

func newLocalNorm(n node, g *ir.Graph, attr ir.LocalNorm) layer {
	n.usesIn = true
	shape := g.Tensors[n.in[0]].Shape
	return &localNorm{node: n, LocalNorm: attr, width: shape[len(shape)-1]}
}

// near are the channels that one is normalised by, and that are normalised by it.
func (l *localNorm) near(channel int) (from, to int) {
	return max(0, channel-l.Radius), min(l.width, channel+l.Radius+1)
}

// divisor is s at a channel of a row.
func (l *localNorm) divisor(row []float32, channel int) float64 {
	from, to := l.near(channel)
	return float64(l.Bias) + float64(l.Alpha)*squares(row[from:to])
}

func (l *localNorm) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for at := 0; at < len(x); at += l.width {
		row := x[at : at+l.width]
		for i, v := range row {
			y[at+i] = float32(float64(v) * math.Pow(l.divisor(row, i), -float64(l.Beta)))
		}
	}
}

// backward: dx = dy·s^−β − 2αβ·x·Σ dy·x·s^(−β−1), the sum over the channels that x is a neighbour of.
func (l *localNorm) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	if !add {
		clear(dx)
	}
	x, dy := e.value(l.in[0]), e.gradient(l.out[0])
	for at := 0; at < len(x); at += l.width {
		row, d, to := x[at:at+l.width], dy[at:at+l.width], dx[at:at+l.width]
		for i, v := range row {
			s := l.divisor(row, i)
			scale := math.Pow(s, -float64(l.Beta))
			to[i] += float32(float64(d[i]) * scale)
			shared := -2 * float64(l.Alpha) * float64(l.Beta) * float64(d[i]) * float64(v) * scale / s
			from, end := l.near(i)
			for j := from; j < end; j++ {
				to[j] += float32(shared * float64(row[j]))
			}
		}
	}
}
