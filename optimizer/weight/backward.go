package weight

import "math"

// Trainable is one group of numbers the optimizer moves. The optimizer works on Value/StepScale, a variable in weight units, so
// that a learning rate means the same for every technique:
//
//	Value[i] += StepScale · update(Grad[i])        where Mask is nil or 1
type Trainable struct {
	Name  string
	Value []float32 // shared with the tensor
	Grad  []float32 // set by Backward: with respect to Value/StepScale
	Mask  []uint8   // 0: the value stays; nil: none does
	// StepScale converts a step from weight units into those of Value.
	StepScale float32
	// Decay says whether weight decay applies: to latents, not to centers.
	Decay bool
}

// gradients are the tensor's own buffers, made by Trainables.
type gradients struct {
	latent, center []float32
	unit           []float32 // by scale, scale/Unit
	centers        []float32 // all codebooks' centers, one after the other; Codebook.Center are parts of it
	begin          []int     // by codebook, where its part begins; one more than codebooks
}

// Trainables returns what the optimizer moves, in a fixed order: latents, centers of codes. Call it once
// the technique is set up, and again after SetMask on a tensor without mask, Quantize or SetCodebooks.
func (t *Tensor) Trainables() []Trainable {
	if t.grad.latent == nil {
		t.grad.latent = make([]float32, t.Len())
	}
	if t.grad.unit == nil {
		t.grad.unit = make([]float32, len(t.Scale))
		for c, s := range t.Scale {
			t.grad.unit[c] = s / t.Unit
		}
	}
	all := []Trainable{{
		Name: t.Name, Value: t.Latent, Grad: t.grad.latent, Mask: t.Mask, StepScale: 1 / t.Unit, Decay: true,
	}}
	if t.Codebooks != nil {
		if t.grad.centers == nil {
			t.joinCenters()
		}
		all = append(all, Trainable{Name: t.Name + "/codes", Value: t.grad.centers, Grad: t.grad.center, StepScale: 1 / t.Unit})
	}
	return all
}

// joinCenters lays the centers of all codebooks out one after the other.
func (t *Tensor) joinCenters() {
	n := 0
	t.grad.begin = []int{0}
	for _, book := range t.Codebooks {
		n += len(book.Center)
		t.grad.begin = append(t.grad.begin, n)
	}
	t.grad.centers, t.grad.center = make([]float32, n), make([]float32, n)
	rest := t.grad.centers
	for _, book := range t.Codebooks {
		n := copy(rest, book.Center)
		book.Center, rest = rest[:n:n], rest[n:]
	}
}

// Backward sets the trainables' gradients from dW, the gradient of the loss with respect to the effective weights:
//
//	latents   dW, straight through, per code unit; zero for pruned weights
//	centers   the sum of dW over the members of a code (straight through the rounding of the center)
//
// dW is not changed. It allocates nothing; Trainables must have been called.
func (t *Tensor) Backward(dW []float32) {
	if t.Codebooks != nil {
		t.backwardCodes(dW)
		return
	}
	g := t.grad.latent
	if t.Scale == nil {
		copy(g, dW)
	} else {
		t.scaleRows(g, dW, t.grad.unit)
	}
	applyMask(g, t.Mask)
}

// backwardCodes is Backward under codebooks.
func (t *Tensor) backwardCodes(dW []float32) {
	clear(t.grad.center)
	var sums [4][256]float32 // four, so that equal members in a row do not wait for each other
	t.rows(func(c, lo, hi int) {
		b := min(c, len(t.Codebooks)-1)
		book, by := t.Codebooks[b], t.scaleOf(c)/t.Unit
		n := len(book.code)
		for s := range sums {
			clear(sums[s][:n])
		}
		scatter(t.grad.latent[lo:hi], &sums, t.members[lo:hi], dW[lo:hi], by)
		center := t.grad.center[t.grad.begin[b]:t.grad.begin[b+1]]
		for k := range n {
			sum := (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k])
			center[k] += float32(by * sum)
		}
	})
}

// scatter adds every dW to a sum of its member and writes by·dW into g, zero for pruned members.
func scatter(g []float32, sums *[4][256]float32, members []uint8, dW []float32, by float32) {
	members, dW = members[:len(g)], dW[:len(g)]
	i := 0
	for ; i+4 <= len(g); i += 4 {
		m, d, out := members[i:i+4:i+4], dW[i:i+4:i+4], g[i:i+4:i+4]
		sums[0][m[0]] += d[0]
		sums[1][m[1]] += d[1]
		sums[2][m[2]] += d[2]
		sums[3][m[3]] += d[3]
		out[0] = survivor(float32(by*d[0]), m[0])
		out[1] = survivor(float32(by*d[1]), m[1])
		out[2] = survivor(float32(by*d[2]), m[2])
		out[3] = survivor(float32(by*d[3]), m[3])
	}
	for ; i < len(g); i++ {
		sums[0][members[i]] += dW[i]
		g[i] = survivor(float32(by*dW[i]), members[i])
	}
}

// survivor is x, or 0 if the member is pruned, without a branch.
func survivor(x float32, member uint8) float32 {
	return math.Float32frombits(math.Float32bits(x) & ((uint32(member)+1)>>8 - 1))
}
