package train

import (
	"math"
	"strings"
	"testing"
)

func TestTheLearningRateFollowsItsSchedule(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   map[int]float64 // by step of 100, 10 an epoch
	}{
		{"constant", func(c *Config) { c.Schedule = Constant }, map[int]float64{0: 1, 50: 1, 99: 1}},
		{"cosine", func(c *Config) { c.Schedule = Cosine }, map[int]float64{0: 1, 50: 0.5, 99: 0.5 * (1 + math.Cos(math.Pi*0.99))}},
		{"step", func(c *Config) { c.Schedule, c.StepEpochs, c.StepFactor = Step, 3, 0.1 }, map[int]float64{0: 1, 29: 1, 30: 0.1, 60: 0.01, 99: 0.001}},
		{"warm-up, then cosine", func(c *Config) { c.Schedule, c.WarmupEpochs = Cosine, 2 }, map[int]float64{0: 1.0 / 21, 9: 10.0 / 21, 19: 20.0 / 21, 20: 1, 60: 0.5}},
		{"warm-up beyond changes of the rate", func(c *Config) { c.Schedule, c.StepEpochs, c.StepFactor, c.WarmupEpochs = Step, 1, 0.5, 2 }, map[int]float64{19: 20.0 / 21, 20: 0.25, 30: 0.125}},
		{"warm-up throughout", func(c *Config) { c.Schedule, c.WarmupEpochs = Cosine, 20 }, map[int]float64{0: 1.0 / 101, 99: 100.0 / 101}},
		{"warm-up, then step", func(c *Config) { c.Schedule, c.StepEpochs, c.StepFactor, c.WarmupEpochs = Step, 5, 0.5, 0.5 }, map[int]float64{0: 1.0 / 6, 5: 1, 49: 1, 50: 0.5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := DefaultConfig()
			config.LearningRate = 1
			c.change(&config)
			for step, want := range c.want {
				if got := config.Rate(step, 100, 10); math.Abs(got-want) > 1e-12 {
					t.Errorf("step %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

func TestBadConfigurationsAreNamed(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Config)
	}{
		{"batch size is 0", func(c *Config) { c.BatchSize = 0 }},
		{"learning rate is NaN", func(c *Config) { c.LearningRate = math.NaN() }},
		{"momentum is 1", func(c *Config) { c.Optimizer, c.Momentum = SGD, 1 }},
		{"beta 1 is 1", func(c *Config) { c.Beta1 = 1 }},
		{"beta 2 is 1", func(c *Config) { c.Optimizer, c.Beta2 = AdamW, 1 }},
		{"epsilon is 0", func(c *Config) { c.Epsilon = 0 }},
		{"epochs between changes of the learning rate is 0", func(c *Config) { c.Schedule, c.StepEpochs = Step, 0 }},
		{"patience is -1", func(c *Config) { c.EarlyStop.Patience = -1 }},
		{"weight of class 0 is +Inf", func(c *Config) { c.ClassWeights = []float64{math.Inf(1)} }},
		{"weight of class 0 is NaN", func(c *Config) { c.ClassWeights = []float64{math.NaN()} }},
		{"label smoothing is 1", func(c *Config) { c.LabelSmoothing = 1 }},
		{`optimizer is "RMSprop"`, func(c *Config) { c.Optimizer = "RMSprop" }},
		{`schedule is ""`, func(c *Config) { c.Schedule = "" }},
		{"use AdamW", func(c *Config) { c.WeightDecay = 0.1 }},
		{"weight of class 1 is -1", func(c *Config) { c.ClassWeights = []float64{1, -1} }},
		{"temperature of distillation is 0", func(c *Config) { c.Distillation.Temperature = 0 }},
		{"temperature of distillation is 1001", func(c *Config) { c.Distillation.Temperature = 1001 }},
		{"weight of distillation is 1.1", func(c *Config) { c.Distillation.Weight = 1.1 }},
		{"norm to clip at is -1", func(c *Config) { c.ClipNorm = -1 }},
		{"warm-up epochs is -1", func(c *Config) { c.WarmupEpochs = -1 }},
		{"factor of the learning rate is 1.5", func(c *Config) { c.Schedule, c.StepFactor = Step, 1.5 }},
	} {
		t.Run(c.want, func(t *testing.T) {
			config := DefaultConfig()
			c.change(&config)
			if err := config.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	config := DefaultConfig()
	if err := config.Check(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"all of the loss the original's":        func(c *Config) { c.Distillation.Weight = 1 },
		"temperatures at the bounds":            func(c *Config) { c.Distillation.Temperature = 1e-3 },
		"the other one":                         func(c *Config) { c.Distillation.Temperature = 1e3 },
		"a rate that stays":                     func(c *Config) { c.Schedule, c.StepFactor, c.StepEpochs = Step, 1, 1 },
		"moments that SGD has none of":          func(c *Config) { c.Optimizer, c.Beta1, c.Beta2, c.Epsilon = SGD, 1, 1, 0 },
		"momentum that Adam does not read":      func(c *Config) { c.Momentum = 1 },
		"a class that counts for nothing":       func(c *Config) { c.ClassWeights = []float64{0, 1} },
		"a factor that no schedule reads":       func(c *Config) { c.StepFactor = 2 },
		"weight decay, where it is taken apart": func(c *Config) { c.Optimizer, c.WeightDecay = AdamW, 0.1 },
	} {
		config := DefaultConfig()
		if change(&config); config.Check() != nil {
			t.Errorf("%s: %v", name, config.Check())
		}
	}
}
