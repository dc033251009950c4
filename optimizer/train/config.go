package train

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Optimizer is a rule for steps.
type Optimizer string

// The optimizers.
const (
	Adam  Optimizer = "Adam"  // Kingma and Ba, arXiv 1412.6980
	AdamW Optimizer = "AdamW" // with decoupled decay, Loshchilov and Hutter, arXiv 1711.05101
	SGD   Optimizer = "SGD"   // with momentum
)

// Schedule is how the learning rate changes after the warm-up.
type Schedule string

// The schedules.
const (
	Constant Schedule = "Constant"
	Cosine   Schedule = "Cosine" // to 0 along half a cosine (arXiv 1608.03983)
	Step     Schedule = "Step"   // by a factor every few epochs
)

// Config says how to train. Start from DefaultConfig: zero values are meant, not replaced.
type Config struct {
	Epochs       int
	Seek         bool          // Epochs is the most: how many there are, the validation loss decides (see Sought)
	MaxTime      time.Duration // Seek: of a call of Run, by the speed of the first epoch; 0: any
	BatchSize    int
	LearningRate float64
	FindRate     bool // LearningRate is not read: a RangeTest before the first step finds one, and training that diverges goes on with less
	Optimizer    Optimizer
	Momentum     float64 // SGD
	Beta1, Beta2 float64 // Adam, AdamW
	Epsilon      float64 // Adam, AdamW
	WeightDecay  float64 // AdamW and SGD: share of a weight lost per step, times the learning rate; not of biases, scales, codes

	Schedule     Schedule
	StepEpochs   int     // Step: epochs between changes
	StepFactor   float64 // Step: of the learning rate at each change
	WarmupEpochs float64 // linear rise from 0

	ClipNorm       float64 // bound on the norm of all gradients together; 0: none, with FindRate one that the RangeTest chose
	LabelSmoothing float64 // share of a label spread over all classes, in [0, 1)
	ClassWeights   []float64
	Distillation   Distillation
	EarlyStop      EarlyStop

	Seed int64
}

// Distillation mixes a teacher into the loss: (1 − Weight)·labels + Weight·teacher.
type Distillation struct {
	Weight      float64 // in [0, 1]; without labels it counts as 1
	Temperature float64
}

// EarlyStop ends training when the validation loss no longer falls, and goes back to the epoch where it was least.
type EarlyStop struct {
	Patience int // epochs without a better one; 0: never stop, keep the last epoch
	From     int // the first epoch (from 0) that counts, such as the end of a pruning schedule
}

// DefaultConfig is what the manifest's defaults say, and Keras's constants. Only the learning rate is given: set FindRate to have it found,
// as a manifest without one does.
func DefaultConfig() Config {
	return Config{
		Epochs: 3, BatchSize: 64, LearningRate: 1e-4, Optimizer: Adam, Momentum: 0.9, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-7,
		Schedule: Cosine, StepEpochs: 1, StepFactor: 0.5, Distillation: Distillation{Temperature: 2}, Seed: 1,
	}
}

// Check reports the first value that makes no sense, with what is allowed.
func (c *Config) Check() error {
	for _, r := range []struct {
		name       string
		value      float64
		min, max   float64
		open       bool // max itself is not allowed
		applicable bool
	}{
		{"epochs", float64(c.Epochs), 0, 1e6, false, true},
		{"batch size", float64(c.BatchSize), 1, 1 << 20, false, true},
		{"learning rate", c.LearningRate, 0, 1e3, false, true},
		{"momentum", c.Momentum, 0, 1, true, c.Optimizer == SGD},
		{"beta 1", c.Beta1, 0, 1, true, c.Optimizer != SGD},
		{"beta 2", c.Beta2, 0, 1, true, c.Optimizer != SGD},
		{"epsilon", c.Epsilon, 1e-30, 1, false, c.Optimizer != SGD},
		{"weight decay", c.WeightDecay, 0, 1e3, false, true},
		{"epochs between changes of the learning rate", float64(c.StepEpochs), 1, 1e6, false, c.Schedule == Step},
		{"factor of the learning rate", c.StepFactor, 0, 1, false, c.Schedule == Step},
		{"warm-up epochs", c.WarmupEpochs, 0, 1e6, false, true},
		{"norm to clip at", c.ClipNorm, 0, math.MaxFloat32, false, true},
		{"label smoothing", c.LabelSmoothing, 0, 1, true, true},
		{"weight of distillation", c.Distillation.Weight, 0, 1, false, true},
		{"temperature of distillation", c.Distillation.Temperature, 1e-3, 1e3, false, true},
		{"patience", float64(c.EarlyStop.Patience), 0, 1e6, false, true},
	} {
		if r.applicable && !(r.value >= r.min && r.value <= r.max && !(r.open && r.value == r.max)) {
			return fmt.Errorf("%s is %v: want %v to %v", r.name, r.value, r.min, r.max)
		}
	}
	if !slices.Contains([]Optimizer{Adam, AdamW, SGD}, c.Optimizer) {
		return fmt.Errorf("optimizer is %q: want %s, %s or %s", c.Optimizer, Adam, AdamW, SGD)
	}
	if !slices.Contains([]Schedule{Constant, Cosine, Step}, c.Schedule) {
		return fmt.Errorf("schedule is %q: want %s, %s or %s", c.Schedule, Constant, Cosine, Step)
	}
	if c.Optimizer == Adam && c.WeightDecay > 0 {
		return fmt.Errorf("weight decay is %v: optimizer %s has none, use %s", c.WeightDecay, Adam, AdamW)
	}
	for i, w := range c.ClassWeights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("weight of class %d is %v: want a number of at least 0", i, w)
		}
	}
	return nil
}

// Rate returns the learning rate of a step (from 0) of total, perEpoch of them an epoch.
func (c *Config) Rate(step, total, perEpoch int) float64 {
	warmup := min(int(math.Round(c.WarmupEpochs*float64(perEpoch))), total)
	if step < warmup {
		return c.LearningRate * float64(step+1) / float64(warmup+1)
	}
	switch c.Schedule {
	case Cosine:
		done := float64(step-warmup) / float64(max(total-warmup, 1))
		return c.LearningRate * halfCosine(done)
	case Step:
		return c.LearningRate * math.Pow(c.StepFactor, float64(step/perEpoch/c.StepEpochs))
	}
	return c.LearningRate
}

// halfCosine falls from 1 at 0 to 0 at 1.
func halfCosine(done float64) float64 { return 0.5 * (1 + math.Cos(math.Pi*done)) }
