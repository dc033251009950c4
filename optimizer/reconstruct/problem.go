package reconstruct

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Problem is the reconstruction of the outputs of one group: to find, for every output, weights w of small error
// (w − w*)ᵀA(w − w*). A is the second moment of the inputs, with Damping on its diagonal, and w* the best free weights.
//
// Weights are coordinates here: 0 is the bias, the others are taps by rising second moment. Values are decided from the last to the
// first, so that the bias and the inputs that matter least make up for the rest.
type Problem struct {
	moments *Moments
	taps    []int       // by coordinate; −1 the bias
	a       []float64   // n × n
	best    [][]float64 // w* by output
	shared  Shared
	inverse func() []float64 // of A over all coordinates, once it is needed
	bias    bool
	n       int
}

// Damping is what is added to the diagonal of a layer's second moments, in shares of its mean: GPTQ's. It holds weights to those they
// were where the samples say little.
const Damping = 0.01

// NewProblem makes the problem of moments, by output for weights that the layer has now, the bias first. Without a bias of the layer's
// own its place is ignored.
func NewProblem(m *Moments, weights [][]float64, bias bool) (*Problem, error) {
	n := m.Inputs
	p := &Problem{moments: m, n: n, bias: bias, taps: order(m)}
	p.a = make([]float64, n*n)
	var diagonal float64
	for i, ti := range p.taps {
		for j, tj := range p.taps {
			p.a[i*n+j] = (m.H[(ti+1)*n+tj+1] + m.H[(tj+1)*n+ti+1]) / 2
		}
		if i > 0 {
			diagonal += p.a[i*n+i]
		}
	}
	damping := Damping * diagonal / float64(max(n-1, 1))
	if damping == 0 {
		damping = 1 // no input is ever anything but 0
	}
	for i := range n {
		if i > 0 {
			p.a[i*n+i] += damping
		}
	}
	free := p.all()
	r, err := p.factor(free)
	if err != nil {
		return nil, err
	}
	p.shared, p.inverse = Shared{factor: r, keep: free}, sync.OnceValue(r.inverse)
	for o, w := range weights {
		own, b := make([]float64, n), make([]float64, n)
		for i, t := range p.taps {
			own[i], b[i] = w[t+1], m.G[o*n+t+1]
			if i > 0 {
				b[i] += damping * own[i]
			}
		}
		if !bias {
			own[0] = 0
		}
		best := make([]float64, n)
		scatter(best, free, r.solve(gather(b, free)))
		p.best = append(p.best, best)
	}
	return p, nil
}

// order returns the bias and the taps by rising second moment.
func order(m *Moments) []int {
	taps := make([]int, m.Inputs)
	for i := range taps {
		taps[i] = i - 1
	}
	slices.SortStableFunc(taps[1:], func(a, b int) int {
		return cmp.Compare(m.H[(a+1)*m.Inputs+a+1], m.H[(b+1)*m.Inputs+b+1])
	})
	return taps
}

// all are the coordinates that there are: without the bias if the layer has none.
func (p *Problem) all() []int {
	list := make([]int, 0, p.n)
	for i := range p.n {
		if i > 0 || p.bias {
			list = append(list, i)
		}
	}
	return list
}

// Outputs is the number of outputs.
func (p *Problem) Outputs() int { return len(p.best) }

// Error is what weights of an output cost, the bias first and then the taps in their own order.
func (p *Problem) Error(o int, weights []float64) float64 {
	d := make([]float64, p.n)
	for i, t := range p.taps {
		d[i] = weights[t+1] - p.best[o][i]
	}
	if !p.bias {
		d[0] = 0
	}
	return p.quadratic(d)
}

func (p *Problem) quadratic(d []float64) float64 {
	var sum float64
	for i, v := range d {
		if v != 0 {
			sum += v * floats.Dot(p.a[i*p.n:(i+1)*p.n], d)
		}
	}
	return max(sum, 0)
}

// Left is the mean squared error of an output with such weights, and the mean square of the output that is to be met.
func (p *Problem) Left(o int, weights []float64) (squares, energy float64) {
	m := p.moments
	squares, energy = m.Energy[o], m.Energy[o]
	for i, v := range weights {
		if i == 0 && !p.bias {
			v = 0
		}
		squares += v * (floats.Dot(m.H[i*m.Inputs:(i+1)*m.Inputs], weights) - 2*m.G[o*m.Inputs+i])
	}
	return max(squares, 0), energy
}

// Moment is the second moment of a tap, damped.
func (p *Problem) Moment() []float64 {
	diagonal := make([]float64, p.n-1)
	for i, t := range p.taps {
		if t >= 0 {
			diagonal[t] = p.a[i*p.n+i]
		}
	}
	return diagonal
}

// Best are the best free weights of an output, the bias first.
func (p *Problem) Best(o int) []float64 { return p.natural(p.best[o]) }

// natural puts coordinates in the order of the taps, the bias first.
func (p *Problem) natural(w []float64) []float64 {
	out := make([]float64, p.n)
	for i, t := range p.taps {
		out[t+1] = w[i]
	}
	return out
}

// factor is RᵀR = A over some coordinates, R upper triangular.
type factor struct {
	n    int
	chol mat.Cholesky
	r    *mat.TriDense
}

func (p *Problem) factor(of []int) (*factor, error) {
	return factorOf(of, func(i int) []float64 { return p.a[i*p.n:] }, 0)
}

// factorOf factors a symmetric matrix over some coordinates; row is the matrix's for a coordinate, whose columns count from first.
func factorOf(of []int, row func(i int) []float64, first int) (*factor, error) {
	n := len(of)
	f := &factor{n: n}
	if n == 0 {
		return f, nil
	}
	sym := mat.NewSymDense(n, nil)
	raw := sym.RawSymmetric()
	for i, k := range of {
		values := row(k)
		for j := i; j < n; j++ {
			raw.Data[i*raw.Stride+j] = values[of[j]-first]
		}
	}
	if !f.chol.Factorize(sym) {
		return nil, fmt.Errorf("the second moments of %d inputs are not positive definite", n)
	}
	f.r = mat.NewTriDense(n, mat.Upper, nil)
	f.chol.UTo(f.r)
	return f, nil
}

// inverse is the inverse of A over the factor's coordinates, whole.
func (f *factor) inverse() []float64 {
	sym := mat.NewSymDense(f.n, nil)
	_ = f.chol.InverseTo(sym) // as in solve
	raw := sym.RawSymmetric()
	for i := range f.n {
		for j := range i {
			raw.Data[i*raw.Stride+j] = raw.Data[j*raw.Stride+i]
		}
	}
	return raw.Data
}

// mean is, over the taps among the coordinates, the mean of what an error of a weight costs once the weights before it make up for it.
func (f *factor) mean(of []int) float64 {
	var sum, count float64
	for k, i := range of {
		if i > 0 {
			r := f.row(k)[0]
			sum, count = sum+r*r, count+1
		}
	}
	return sum / max(count, 1)
}

// row is row i of R from its diagonal on.
func (f *factor) row(i int) []float64 {
	raw := f.r.RawTriangular()
	return raw.Data[i*raw.Stride+i : i*raw.Stride+f.n]
}

func (f *factor) solve(b []float64) []float64 {
	if f.n == 0 {
		return nil
	}
	x := mat.NewVecDense(f.n, nil)
	_ = f.chol.SolveVecTo(x, mat.NewVecDense(f.n, b)) // the only error is of the condition, which damping bounds; x is set all the same
	return x.RawVector().Data
}

// inverseDiagonal is the diagonal of the inverse of A over the coordinates.
func (f *factor) inverseDiagonal() []float64 {
	diagonal := make([]float64, f.n)
	if f.n == 0 {
		return diagonal
	}
	inverse := mat.NewTriDense(f.n, mat.Upper, nil)
	_ = inverse.InverseTri(f.r) // as in solve
	raw := inverse.RawTriangular()
	for i := range diagonal {
		for _, v := range raw.Data[i*raw.Stride+i : i*raw.Stride+f.n] {
			diagonal[i] += v * v
		}
	}
	return diagonal
}

func gather(from []float64, at []int) []float64 {
	out := make([]float64, len(at))
	for k, i := range at {
		out[k] = from[i]
	}
	return out
}

func scatter(to []float64, at []int, values []float64) {
	for k, i := range at {
		to[i] = values[k]
	}
}

// survivors are the coordinates of an output that a mask over its taps keeps; a nil mask keeps all.
func (p *Problem) survivors(mask []uint8) []int {
	list := p.all()
	if mask == nil {
		return list
	}
	return slices.DeleteFunc(list, func(i int) bool { return p.taps[i] >= 0 && mask[p.taps[i]] == 0 })
}

// Refit returns the best weights of an output under a mask over its taps, the bias first, and by tap what it costs to lose it too once
// the others are refitted (nil unless asked for): w²/[A⁻¹] of the survivors.
func (p *Problem) Refit(o int, mask []uint8, saliency bool) (weights, costs []float64, err error) {
	if mask == nil && !saliency {
		return p.Best(o), nil, nil
	}
	keep := p.survivors(mask)
	w, diagonal, err := p.refit(o, keep, saliency)
	if err != nil {
		return nil, nil, err
	}
	if saliency {
		costs = make([]float64, p.n-1)
		for k, d := range diagonal {
			if t := p.taps[keep[k]]; t >= 0 && d > 0 {
				costs[t] = w[k] * w[k] / d
			}
		}
	}
	all := make([]float64, p.n)
	scatter(all, keep, w)
	return p.natural(all), costs, nil
}

// refit are the best weights on some coordinates, the others 0, and the diagonal of the inverse of A over them, if it is asked for. Where few
// coordinates are left out, what the inverse of the whole says of them takes less than to factor what is left.
func (p *Problem) refit(o int, keep []int, diagonal bool) (w, inverse []float64, err error) {
	gone := without(p.shared.keep, keep)
	most := len(keep)
	if diagonal {
		most = 2 * len(keep) / 3
	}
	if len(gone) <= most {
		return p.leaveOut(o, keep, gone, diagonal)
	}
	f, err := p.factor(keep)
	if err != nil {
		return nil, nil, err
	}
	if diagonal {
		inverse = f.inverseDiagonal()
	}
	return p.solveOn(f, keep, o), inverse, nil
}

// columns is how many columns are solved at once, so that they stay in the cache.
const columns = 64

// leaveOut is refit by the inverse V of A, with S the coordinates that are gone and K those that are kept: w = w*[K] − V[K,S] V[S,S]⁻¹ w*[S], and
// the inverse over K is V[K,K] − V[K,S] V[S,S]⁻¹ V[S,K].
func (p *Problem) leaveOut(o int, keep, gone []int, diagonal bool) (w, inverse []float64, err error) {
	v, n := p.inverse(), len(p.shared.keep)
	first := p.shared.keep[0] // 1 without a bias
	f, err := factorOf(gone, func(i int) []float64 { return v[(i-first)*n:] }, first)
	if err != nil {
		return nil, nil, err
	}
	w = gather(p.best[o], keep)
	lost := f.solve(gather(p.best[o], gone))
	for k, i := range keep {
		row := v[(i-first)*n:]
		for j, g := range gone {
			w[k] -= row[g-first] * lost[j]
		}
	}
	if !diagonal {
		return w, nil, nil
	}
	inverse = make([]float64, len(keep))
	for k, i := range keep {
		inverse[k] = v[(i-first)*n+i-first]
	}
	if len(gone) == 0 {
		return w, inverse, nil
	}
	x := make([]float64, len(gone)*columns)
	for from := 0; from < len(keep); from += columns {
		some := keep[from:min(from+columns, len(keep))]
		b := blas64.General{Rows: len(gone), Cols: len(some), Stride: len(some), Data: x}
		for j, g := range gone {
			row := v[(g-first)*n:]
			for k, i := range some {
				x[j*len(some)+k] = row[i-first]
			}
		}
		blas64.Trsm(blas.Left, blas.Trans, 1, f.r.RawTriangular(), b)
		for j := range gone {
			for k, c := range x[j*len(some) : (j+1)*len(some)] {
				inverse[from+k] -= c * c
			}
		}
	}
	return w, inverse, nil
}

// without are the members of a sorted list that another sorted list, of some of them, lacks.
func without(all, some []int) []int {
	left := make([]int, 0, len(all)-len(some))
	for _, i := range all {
		if len(some) > 0 && some[0] == i {
			some = some[1:]
			continue
		}
		left = append(left, i)
	}
	return left
}

// solveOn are the best weights of an output on some coordinates, the others 0.
func (p *Problem) solveOn(f *factor, keep []int, o int) []float64 {
	b := make([]float64, len(keep))
	for k, i := range keep {
		b[k] = floats.Dot(p.a[i*p.n:(i+1)*p.n], p.best[o])
	}
	return f.solve(b)
}

// Values are what weights of an output may be, Scale times a code.
type Values struct {
	Scale float64
	Codes []int8 // rising
	// Bits is what a code costs to store, in bits; nil: nothing.
	Bits []float64
	// Lambda is the price of a bit in squared codes, for a weight whose error costs what it does on average once others make up for it.
	Lambda float64
}

// nearest returns the code of least cost for a weight of best value t whose error counts by moment, relative to the mean one.
func (v *Values) nearest(t, moment float64) int8 {
	t /= v.Scale
	if v.Bits == nil || v.Lambda == 0 {
		k, _ := slices.BinarySearchFunc(v.Codes, t, func(c int8, t float64) int { return cmp.Compare(float64(c), t) })
		switch {
		case k == len(v.Codes):
			k--
		case k > 0 && t-float64(v.Codes[k-1]) < float64(v.Codes[k])-t:
			k--
		}
		return v.Codes[k]
	}
	least, at := math.Inf(1), 0
	for k, c := range v.Codes {
		d := t - float64(c)
		if cost := d*d*moment + v.Lambda*v.Bits[k]; cost < least {
			least, at = cost, k
		}
	}
	return v.Codes[at]
}

// bitsOf is the price of a code.
func (v *Values) price(code int8) float64 {
	if v.Bits == nil || v.Lambda == 0 {
		return 0
	}
	k, _ := slices.BinarySearch(v.Codes, code)
	return v.Lambda * v.Bits[k]
}

// sweeps bounds the rounds of coordinate descent after the codes were assigned.
const sweeps = 8

// Assign gives the surviving taps of an output codes, the others 0, and returns them with the bias that fits. given are codes to
// compare with, nil if there are none: where they are no worse, they stay.
func (p *Problem) Assign(o int, mask []uint8, v *Values, shared *Shared, given []int8) (codes []int8, bias float64, err error) {
	f, keep := shared.factor, shared.keep
	if mask != nil {
		keep = p.survivors(mask)
		if f, err = p.factor(keep); err != nil {
			return nil, 0, err
		}
	}
	goal, mean := p.solveOn(f, keep, o), f.mean(keep)
	w := p.nearestPlane(f, keep, goal, v, mean)
	p.descend(o, keep, w, v, mean)
	if given != nil {
		plain := make([]float64, p.n)
		for i, t := range p.taps {
			if t >= 0 {
				plain[i] = v.Scale * float64(given[t])
			}
		}
		p.fitBias(o, plain)
		q := slices.Clone(plain)
		p.descend(o, keep, q, v, mean)
		if p.cost(o, keep, q, v, mean) < p.cost(o, keep, w, v, mean) {
			w = q
		}
	}
	codes = make([]int8, p.n-1)
	for i, t := range p.taps {
		if t >= 0 {
			codes[t] = int8(math.Round(w[i] / v.Scale))
		}
	}
	return codes, w[0], nil
}

// Shared is what the outputs of a problem without masks have in common.
type Shared struct {
	factor *factor
	keep   []int
}

// Share is what all outputs have in common, for Assign.
func (p *Problem) Share() *Shared { return &p.shared }

// nearestPlane decides coordinates from the last to the first, each where the error that the later ones left is made up for best.
func (p *Problem) nearestPlane(f *factor, keep []int, goal []float64, v *Values, mean float64) []float64 {
	w, d := make([]float64, p.n), make([]float64, len(keep))
	for k := len(keep) - 1; k >= 0; k-- {
		row := f.row(k)
		t := goal[k] - floats.Dot(row[1:], d[k+1:])/row[0]
		if p.taps[keep[k]] >= 0 {
			t = v.Scale * float64(v.nearest(t, row[0]*row[0]/mean))
		}
		w[keep[k]], d[k] = t, t-goal[k]
	}
	return w
}

// descend improves one coordinate after the other until none moves. The cost falls with every move.
func (p *Problem) descend(o int, keep []int, w []float64, v *Values, mean float64) {
	gradient := p.gradient(o, w)
	for range sweeps {
		moved := false
		for _, i := range keep {
			moment := p.a[i*p.n+i]
			to := w[i] + gradient[i]/moment
			if p.taps[i] >= 0 {
				from, code := int8(math.Round(w[i]/v.Scale)), v.nearest(to, moment/mean)
				if code == from {
					continue
				}
				unit := v.Scale * v.Scale * mean
				before, after := to-w[i], to-v.Scale*float64(code)
				if moment*after*after+unit*v.price(code) >= moment*before*before+unit*v.price(from)-1e-12*moment*before*before {
					continue
				}
				to, moved = v.Scale*float64(code), true
			}
			if by := w[i] - to; by != 0 {
				floats.AddScaled(gradient, by, p.a[i*p.n:(i+1)*p.n])
				w[i] = to
			}
		}
		if !moved {
			break
		}
	}
	p.fitBias(o, w)
}

// gradient is A(w* − w).
func (p *Problem) gradient(o int, w []float64) []float64 {
	d, g := make([]float64, p.n), make([]float64, p.n)
	floats.SubTo(d, p.best[o], w)
	for i := range g {
		g[i] = floats.Dot(p.a[i*p.n:(i+1)*p.n], d)
	}
	return g
}

// fitBias sets the bias to what fits the other weights.
func (p *Problem) fitBias(o int, w []float64) {
	if !p.bias {
		return
	}
	var g float64
	for i, a := range p.a[:p.n] {
		g += a * (p.best[o][i] - w[i])
	}
	w[0] += g / p.a[0]
}

// cost is the error of weights and the price of their codes.
func (p *Problem) cost(o int, keep []int, w []float64, v *Values, mean float64) float64 {
	d := make([]float64, p.n)
	floats.SubTo(d, w, p.best[o])
	sum := p.quadratic(d)
	for _, i := range keep {
		if p.taps[i] >= 0 {
			sum += v.Scale * v.Scale * mean * v.price(int8(math.Round(w[i]/v.Scale)))
		}
	}
	return sum
}

// BiasFor is the bias that fits given weights of an output, by tap.
func (p *Problem) BiasFor(o int, taps []float32) float64 {
	w := make([]float64, p.n)
	for i, t := range p.taps {
		if t >= 0 {
			w[i] = float64(taps[t])
		}
	}
	p.fitBias(o, w)
	return w[0]
}

// ScaleTerms returns what the best scale of an output's codes, with the bias that goes with it, is the quotient of. Outputs that share a
// scale add theirs up.
func (p *Problem) ScaleTerms(o int, codes []int8) (above, below float64) {
	q := make([]float64, p.n)
	for i, t := range p.taps {
		if t >= 0 {
			q[i] = float64(codes[t])
		}
	}
	best := slices.Clone(p.best[o])
	for _, w := range [][]float64{q, best} { // with the bias of least error
		w[0] = 0
		if p.bias {
			w[0] = -floats.Dot(p.a[:p.n], w) / p.a[0]
		}
	}
	for i, v := range q {
		if v != 0 {
			row := p.a[i*p.n : (i+1)*p.n]
			above, below = above+v*floats.Dot(row, best), below+v*floats.Dot(row, q)
		}
	}
	return above, below
}
