package dataset

import (
	"fmt"
	"math/rand/v2"
)

// Epoch returns the training samples as they are in an epoch: varied as the Spec's Augmentation declares, the same for the same
// seed, epoch and index. Without augmentation, and for a Source of another package, it is src itself.
func Epoch(src Source, seed int64, epoch int) Source {
	if s, ok := src.(*subset); ok {
		return &subset{Source: Epoch(s.Source, seed, epoch), index: s.index}
	}
	v, ok := src.(*view)
	if !ok || v.augment == nil {
		return src
	}
	return &augmented{view: v, seed: seed, epoch: epoch}
}

type augmented struct {
	*view
	seed  int64
	epoch int
}

func (a *augmented) Read(i int, x [][]float32) error {
	return a.view.read(i, x, a.augment.draw(a.seed, a.epoch, i))
}

// augmenter draws changes.
type augmenter struct {
	Augmentation
	sigma float64
}

// change is what is done to one sample in one epoch.
type change struct {
	flip        bool
	down, right int  // shift
	crop        bool // random crop
	padding     int
	u           [2]float64 // position of the crop, in [0, 1) of what is possible
	noise       *rand.Rand // nil: none
	sigma       float64
}

// still reports whether nothing moves.
func (a Augmentation) still() bool {
	return !a.HorizontalFlip && a.Shift == Size{} && !a.RandomCrop
}

// newAugmenter returns nil if nothing is declared.
func newAugmenter(spec *Spec) (*augmenter, error) {
	a := &augmenter{Augmentation: spec.Augmentation}
	var err error
	if a.sigma, err = a.Noise.Float(0); err != nil {
		return nil, fmt.Errorf("augmentation.noise: %w", err)
	}
	switch {
	case a.sigma < 0:
		return nil, fmt.Errorf("augmentation.noise is %v; a standard deviation is not negative", a.sigma)
	case a.Shift.Height < 0 || a.Shift.Width < 0 || a.Padding < 0:
		return nil, fmt.Errorf("augmentation.shift and padding are numbers of pixels, not negative")
	case a.Padding > 0 && !a.RandomCrop:
		return nil, fmt.Errorf("augmentation.padding is of randomCrop, which is not set")
	case a.still() && a.sigma == 0:
		return nil, nil
	}
	return a, nil
}

// draw returns the change of sample i in an epoch.
func (a *augmenter) draw(seed int64, epoch, i int) *change {
	r := rand.New(rand.NewPCG(mix(uint64(seed)), mix(uint64(epoch)<<32^uint64(i))))
	// every number is drawn whatever is declared, so that adding one kind does not change the others
	c := &change{flip: r.IntN(2) == 1 && a.HorizontalFlip, crop: a.RandomCrop, padding: a.Padding}
	c.down, c.right = r.IntN(2*a.Shift.Height+1)-a.Shift.Height, r.IntN(2*a.Shift.Width+1)-a.Shift.Width
	c.u = [2]float64{r.Float64(), r.Float64()}
	if a.sigma > 0 {
		c.noise, c.sigma = r, a.sigma
	}
	return c
}

// within places a crop that has room pixels to spare, and padding more on either side.
func (c *change) within(room int, u float64, padding int) int {
	return int(u*float64(room+2*padding+1)) - padding
}

func (c *change) disturb(x []float32) {
	for i := range x {
		x[i] += float32(c.sigma * c.noise.NormFloat64())
	}
}

// mix is the finalizer of SplitMix64: neighbouring numbers become unrelated ones.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
