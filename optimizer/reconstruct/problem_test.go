package reconstruct

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// moments are those of correlated inputs, and weights that gave the outputs with another input than there is now.
func moments(random *rand.Rand, taps, outputs, rows int) (*Moments, [][]float64) {
	n := taps + 1
	mix := make([]float64, taps*taps)
	for i := range mix {
		mix[i] = random.NormFloat64()
	}
	weights := make([][]float64, outputs)
	for o := range weights {
		for range n {
			weights[o] = append(weights[o], random.NormFloat64())
		}
	}
	m := &Moments{Inputs: n, H: make([]float64, n*n), G: make([]float64, outputs*n), Energy: make([]float64, outputs), Rows: rows}
	for range rows {
		x, was := []float64{1}, []float64{1}
		source := make([]float64, taps)
		for i := range source {
			source[i] = random.NormFloat64() + 0.5
		}
		for i := range taps {
			var v float64
			for j, s := range source {
				v += mix[i*taps+j] * s
			}
			x, was = append(x, v+0.3*random.NormFloat64()), append(was, v)
		}
		for i := range n {
			for j := range n {
				m.H[i*n+j] += x[i] * x[j]
			}
		}
		for o, w := range weights {
			var y float64
			for i := range n {
				y += w[i] * was[i]
			}
			m.Energy[o] += y * y
			for i := range n {
				m.G[o*n+i] += y * x[i]
			}
		}
	}
	m.mean()
	return m, weights
}

func problem(t *testing.T, seed uint64, taps, outputs int, bias bool) (*Problem, [][]float64) {
	t.Helper()
	m, weights := moments(rand.New(rand.NewPCG(seed, 3)), taps, outputs, 3*taps+20)
	p, err := NewProblem(m, weights, bias)
	if err != nil {
		t.Fatal(err)
	}
	return p, weights
}

// dense is the problem's quadratic form in the order of the taps, for oracles.
func dense(p *Problem) *mat.SymDense {
	a := mat.NewSymDense(p.n, nil)
	for i, ti := range p.taps {
		for j, tj := range p.taps {
			a.SetSym(ti+1, tj+1, p.a[i*p.n+j])
		}
	}
	return a
}

// solved are the best weights on some places, by a general solver.
func solved(t *testing.T, p *Problem, o int, keep []int) []float64 {
	t.Helper()
	a, best := dense(p), p.Best(o)
	sub, b := mat.NewDense(len(keep), len(keep), nil), mat.NewVecDense(len(keep), nil)
	for r, i := range keep {
		for c, j := range keep {
			sub.Set(r, c, a.At(i, j))
		}
		for j, v := range best {
			b.SetVec(r, b.AtVec(r)+a.At(i, j)*v)
		}
	}
	var x mat.VecDense
	if err := x.SolveVec(sub, b); err != nil {
		t.Fatal(err)
	}
	w := make([]float64, p.n)
	for r, i := range keep {
		w[i] = x.AtVec(r)
	}
	return w
}

func TestBestWeightsSolveTheDampedNormalEquations(t *testing.T) {
	m, weights := moments(rand.New(rand.NewPCG(1, 3)), 6, 2, 60)
	p, err := NewProblem(m, weights, true)
	if err != nil {
		t.Fatal(err)
	}
	var damping float64
	for i := 1; i < m.Inputs; i++ {
		damping += Damping * m.H[i*m.Inputs+i] / float64(m.Inputs-1)
	}
	for o := range weights {
		best := p.Best(o)
		for i := range m.Inputs {
			sum, want := 0.0, m.G[o*m.Inputs+i]
			for j, v := range best {
				sum += m.H[i*m.Inputs+j] * v
			}
			if i > 0 {
				sum, want = sum+damping*best[i], want+damping*weights[o][i]
			}
			if math.Abs(sum-want) > 1e-9*(1+math.Abs(want)) {
				t.Errorf("output %d, equation %d: %v, want %v", o, i, sum, want)
			}
		}
	}
}

func TestRefitAndCostsAgreeWithAGeneralSolver(t *testing.T) {
	for _, bias := range []bool{true, false} {
		p, _ := problem(t, 2, 7, 2, bias)
		mask := []uint8{1, 0, 1, 1, 0, 1, 1}
		keep := []int{1, 3, 4, 6, 7}
		if bias {
			keep = append([]int{0}, keep...)
		}
		for o := range p.Outputs() {
			w, costs, err := p.Refit(o, mask, true)
			if err != nil {
				t.Fatal(err)
			}
			want := solved(t, p, o, keep)
			for i := range want {
				if math.Abs(w[i]-want[i]) > 1e-8 {
					t.Fatalf("bias %t: weight %d is %v, want %v", bias, i, w[i], want[i])
				}
			}
			base := p.Error(o, want)
			for tap, cost := range costs {
				if mask[tap] == 0 {
					if cost != 0 {
						t.Errorf("a pruned weight costs %v", cost)
					}
					continue
				}
				without := slices.DeleteFunc(slices.Clone(keep), func(i int) bool { return i == tap+1 })
				if more := p.Error(o, solved(t, p, o, without)) - base; math.Abs(more-cost) > 1e-8*(1+more) {
					t.Errorf("bias %t: losing tap %d costs %v, want %v", bias, tap, cost, more)
				}
			}
		}
	}
}

func TestWhatIsLeftIsTheMeanSquaredError(t *testing.T) {
	// x is 1, 2, 3; y = 2x + 1; ŷ = 2x: the error is 1 with a bias of 0, and 0 with one of 1.
	m := &Moments{Inputs: 2, H: []float64{1, 2, 2, 14.0 / 3}, G: []float64{5, 2*14.0/3 + 2}, Energy: []float64{(9 + 25 + 49) / 3.0}, Rows: 3}
	p, err := NewProblem(m, [][]float64{{1, 2}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for bias, want := range map[float64]float64{0: 1, 1: 0, 3: 4} {
		if got, energy := p.Left(0, []float64{bias, 2}); math.Abs(got-want) > 1e-9 || energy != m.Energy[0] {
			t.Errorf("bias %v: %v of %v, want %v", bias, got, energy, want)
		}
	}
}

func codes(all ...int8) []int8 { return all }

func every() []int8 {
	var list []int8
	for c := -127; c <= 127; c++ {
		list = append(list, int8(c))
	}
	return list
}

// full puts codes and a bias together as weights.
func full(v *Values, codes []int8, bias float64) []float64 {
	w := []float64{bias}
	for _, c := range codes {
		w = append(w, v.Scale*float64(c))
	}
	return w
}

func TestCodesAreNearlyTheBestThereAre(t *testing.T) {
	v := &Values{Scale: 0.8, Codes: codes(-2, -1, 1, 2)}
	exact, total := 0, 0
	for seed := range uint64(20) {
		p, _ := problem(t, seed, 5, 2, true)
		shared := p.Share()
		for o := range p.Outputs() {
			got, bias, err := p.Assign(o, nil, v, shared, nil)
			if err != nil {
				t.Fatal(err)
			}
			least := math.Inf(1)
			for choice := range 1 << 10 { // all of 4⁵
				c := make([]int8, 5)
				for i := range c {
					c[i] = v.Codes[choice>>(2*i)&3]
				}
				taps := make([]float32, len(c))
				for i, w := range full(v, c, 0)[1:] {
					taps[i] = float32(w)
				}
				least = min(least, p.Error(o, full(v, c, p.BiasFor(o, taps))))
			}
			found := p.Error(o, full(v, got, bias))
			if total++; found <= least*(1+1e-9) {
				exact++
			}
			if found < least*(1-1e-9) {
				t.Fatalf("error %v is below the least there is, %v", found, least)
			}
		}
	}
	if 2*exact < total {
		t.Errorf("the best of all assignments in %d of %d cases", exact, total)
	}
}

// The error is never above that of rounding every weight to its nearest value, masks and codebooks or not.
func TestErrorNeverGrowsAgainstPlainRounding(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 17))
		taps := 1 + random.IntN(24)
		p, weights := problem(t, seed, taps, 3, seed%2 == 0)
		v := &Values{Scale: 3 / 127.0, Codes: every()}
		if seed%3 > 0 {
			v = &Values{Scale: 0.4, Codes: codes(-6, -3, -1, 1, 2, 5)}
		}
		shared := p.Share()
		for o, w := range weights {
			var mask []uint8
			if seed%4 < 2 {
				for range taps {
					mask = append(mask, uint8(random.IntN(2)))
				}
			}
			plain := make([]int8, taps)
			for tap := range plain {
				if mask == nil || mask[tap] != 0 {
					plain[tap] = v.nearest(w[tap+1], 1)
				}
			}
			got, bias, err := p.Assign(o, mask, v, shared, plain)
			if err != nil {
				t.Fatal(err)
			}
			for tap, c := range got {
				if mask != nil && mask[tap] == 0 && c != 0 {
					t.Fatalf("seed %d: pruned tap %d has code %d", seed, tap, c)
				}
				if (mask == nil || mask[tap] != 0) && !slices.Contains(v.Codes, c) {
					t.Fatalf("seed %d: tap %d has code %d, not in %v", seed, tap, c, v.Codes)
				}
			}
			before, after := p.Error(o, full(v, plain, w[0])), p.Error(o, full(v, got, bias))
			if after > before*(1+1e-9)+1e-12 {
				t.Errorf("seed %d, output %d: error %v, plainly rounded %v", seed, o, after, before)
			}
		}
	}
}

func TestScaleTermsGiveTheScaleOfLeastError(t *testing.T) {
	for _, bias := range []bool{true, false} {
		p, _ := problem(t, 9, 6, 1, bias)
		c := codes(3, -1, 0, 2, -4, 1)
		of := func(scale float64) float64 {
			w := full(&Values{Scale: scale}, c, 0)
			taps := make([]float32, len(c))
			for i := range taps {
				taps[i] = float32(w[i+1])
			}
			w[0] = p.BiasFor(0, taps)
			return p.Error(0, w)
		}
		above, below := p.ScaleTerms(0, c)
		best := above / below
		for _, other := range []float64{best - 0.01, best + 0.01} {
			if of(other) <= of(best) {
				t.Errorf("bias %t: scale %v leaves %v, %v leaves %v", bias, other, of(other), best, of(best))
			}
		}
	}
}

func TestDearCodesAreTakenLess(t *testing.T) {
	p, _ := problem(t, 5, 30, 4, true)
	shared := p.Share()
	count := func(lambda float64) (dear int) {
		v := &Values{Scale: 0.5, Codes: codes(-4, -2, 1, 3), Bits: []float64{1, 1, 8, 1}, Lambda: lambda}
		for o := range p.Outputs() {
			got, _, err := p.Assign(o, nil, v, shared, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range got {
				if c == 1 {
					dear++
				}
			}
		}
		return dear
	}
	if free, priced := count(0), count(1); priced >= free {
		t.Errorf("a code of 8 bits is taken %d times at a price, %d times without", priced, free)
	}
}

func TestInputsThatAreAlwaysZeroChangeNothing(t *testing.T) {
	n := 4
	m := &Moments{Inputs: n, H: make([]float64, n*n), G: make([]float64, n), Energy: []float64{1}, Rows: 8}
	m.H[0], m.G[0] = 1, 0.5
	p, err := NewProblem(m, [][]float64{{0.1, 1, 2, 3}}, true)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Best(0)
	for i, want := range []float64{0.5, 1, 2, 3} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("weights %v", got)
			break
		}
	}
}

// However many inputs are left out, the inverse of the whole and the factor of what is left say the same.
func TestLeavingOutIsFactoringWhatIsLeft(t *testing.T) {
	const taps = columns + 20
	for _, bias := range []bool{true, false} {
		p, _ := problem(t, 11, taps, 2, bias)
		for _, every := range []int{2, 3, 5, taps, taps + 1} { // the last leaves nothing out
			mask := slices.Repeat([]uint8{1}, taps)
			for i := every - 1; i < taps; i += every {
				mask[i] = 0
			}
			keep := p.survivors(mask)
			f, err := p.factor(keep)
			if err != nil {
				t.Fatal(err)
			}
			for o := range p.Outputs() {
				w, inverse, err := p.leaveOut(o, keep, without(p.shared.keep, keep), true)
				if err != nil {
					t.Fatal(err)
				}
				for name, pair := range map[string][2][]float64{"weight": {w, p.solveOn(f, keep, o)}, "inverse": {inverse, f.inverseDiagonal()}} {
					for k, want := range pair[1] {
						if math.Abs(pair[0][k]-want) > 1e-9*(1+math.Abs(want)) {
							t.Fatalf("bias %t, every %d.: %s %d is %v, want %v", bias, every, name, k, pair[0][k], want)
						}
					}
				}
			}
		}
	}
}
