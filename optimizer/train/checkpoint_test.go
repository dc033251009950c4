package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestTheResultDoesNotDependOnTheNumberOfWorkers(t *testing.T) {
	for _, mode := range []RangeMode{Frozen, Tracked, Learned} {
		t.Run(string(mode), func(t *testing.T) {
			var want []byte
			for _, workers := range []int{1, 2, 3, 8} {
				config := fastConfig()
				config.ClipNorm = 1
				trainer := newTrainer(t, quantizedTask(t, mode, workers), config)
				mustRun(t, trainer)
				got := outcome(t, trainer)
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d workers give another result than 1", workers)
				}
			}
		})
	}
}

func TestSeedsMatter(t *testing.T) {
	results := map[string]bool{}
	for seed := range 3 {
		config := fastConfig()
		config.Epochs, config.Seed = 1, int64(seed)
		trainer := newTrainer(t, quantizedTask(t, Tracked, 2), config)
		mustRun(t, trainer)
		results[string(bytesOf(trainer.params[0].tensor.Latent))] = true
	}
	if len(results) != 3 {
		t.Errorf("three seeds give %d results", len(results))
	}
}

func TestAResumedTrainingGivesTheSameBytes(t *testing.T) {
	for _, optimizer := range []Optimizer{Adam, SGD} {
		for _, mode := range []RangeMode{Tracked, Learned} {
			config := fastConfig()
			config.Optimizer, config.EarlyStop = optimizer, EarlyStop{Patience: 2}
			if mode == Learned {
				config.FindRate, config.EarlyStop = true, EarlyStop{}
			}
			whole := newTrainer(t, quantizedTask(t, mode, 2), config)
			mustRun(t, whole)
			want := outcome(t, whole)
			for _, stop := range []int{1, 7, 10, 33} {
				t.Run(fmt.Sprintf("%s, ranges %s, after %d steps", optimizer, mode, stop), func(t *testing.T) {
					task := quantizedTask(t, mode, 2)
					ctx, cancel := context.WithCancel(context.Background())
					task.Hooks.BeforeStep = func(step, total int) error {
						if step == stop-1 {
							cancel() // Run ends after the step in progress
						}
						return nil
					}
					first := newTrainer(t, task, config)
					if _, err := first.Run(ctx); !errors.Is(err, context.Canceled) {
						t.Fatalf("got %v, want %v", err, context.Canceled)
					}
					if first.step != stop {
						t.Fatalf("stopped after %d steps, want %d", first.step, stop)
					}
					second := newTrainer(t, quantizedTask(t, mode, 1), config)
					if err := second.Load(bytes.NewReader(outcome(t, first))); err != nil {
						t.Fatal(err)
					}
					if !second.begun || second.resumed != stop {
						t.Errorf("it goes on from step %d, and knows its first loss: %t", second.resumed, second.begun)
					}
					result := mustRun(t, second)
					if result.Steps != second.Steps() && !result.Stopped {
						t.Errorf("ended after %d of %d steps", result.Steps, second.Steps())
					}
					if !bytes.Equal(outcome(t, second), want) {
						t.Error("the result is another than without interruption")
					}
				})
			}
		}
	}
}

func TestForeignAndDamagedCheckpointsAreRefused(t *testing.T) {
	trainer := newTrainer(t, quantizedTask(t, Tracked, 1), fastConfig())
	mustRun(t, trainer)
	good := outcome(t, trainer)
	other := fastConfig()
	other.Seed = 99
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name   string
		data   []byte
		config Config
		want   string
	}{
		{"another configuration", good, other, "another training"},
		{"a flipped bit", flipped, fastConfig(), "damaged"},
		{"cut off", good[:len(good)/2], fastConfig(), "damaged"},
		{"empty", nil, fastConfig(), "not a checkpoint"},
		{"less than a checksum", good[:len(checkpointMagic)+31], fastConfig(), "not a checkpoint"},
		{"nothing else", good[:len(checkpointMagic)+32], fastConfig(), "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			trainer := newTrainer(t, quantizedTask(t, Tracked, 1), c.config)
			if err := trainer.Load(bytes.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A checkpoint that says what no training comes to is refused; it neither panics nor goes on without end.
func TestCheckpointsOfNoTrainingAreRefused(t *testing.T) {
	finding, seeking := findingConfig(), seekingConfig(9)
	for name, c := range map[string]struct {
		config Config
		change func(x *Trainer)
	}{
		"a step before the first":             {seeking, func(x *Trainer) { x.step = -5 }},
		"a step after the last":               {seeking, func(x *Trainer) { x.step = 1 << 40 }},
		"more good epochs than there were":    {finding, func(x *Trainer) { x.goodEpochs = 1000 }},
		"fewer good epochs than none":         {finding, func(x *Trainer) { x.goodEpochs = -2 }},
		"epochs since a best that is none":    {seeking, func(x *Trainer) { x.sinceBest = 2 }},
		"a best epoch that is to come":        {seeking, func(x *Trainer) { x.best = &kept{9, Score{}, make([]float32, x.task.Validation.Len()), x.snapshot()} }},
		"more epochs sought than allowed":     {seeking, func(x *Trainer) { x.sought = &Sought{All: 1 << 50} }},
		"more epochs timed than allowed":      {seeking, func(x *Trainer) { x.timed = 1 << 40 }},
		"a rate found that was given":         {seeking, func(x *Trainer) { x.test = &RangeTest{Rate: 1, Trials: []Trial{{}}} }},
		"a rate found without a trial":        {finding, func(x *Trainer) { x.test = &RangeTest{Rate: 1} }},
		"more ways back than there are":       {finding, func(x *Trainer) { x.test.Backs = make([]Back, mostBacks+1) }},
		"more epochs' losses than there were": {finding, func(x *Trainer) { x.history = make([]Score, 5) }},
	} {
		t.Run(name, func(t *testing.T) {
			task := quantizedTask(t, Tracked, 1)
			ctx, cancel := context.WithCancel(context.Background())
			task.Hooks.BeforeStep = func(int, int) error {
				cancel()
				return nil
			}
			changed := newTrainer(t, task, c.config)
			if _, err := changed.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.change(changed)
			if err := newTrainer(t, quantizedTask(t, Tracked, 1), c.config).Load(bytes.NewReader(outcome(t, changed))); err == nil || !strings.Contains(err.Error(), "no training") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Of a checkpoint no more is made in memory than the states of the weights, one after the other.
func TestACheckpointIsWrittenPieceByPiece(t *testing.T) {
	const outputs = 4096
	src := &memory{shape: []int{6, 6, 1}}
	for i := range uint64(4) {
		src.x, src.targets = append(src.x, numbers(i, 36, 1)), append(src.targets, numbers(i, outputs, 1))
	}
	task := Task{Train: src, Workers: 1}
	task.Network, task.Weights = compile(t, classifier(dense(outputs)))
	config := fastConfig()
	config.Epochs, config.BatchSize = 1, 4
	trainer := newTrainer(t, task, config)
	mustRun(t, trainer)
	var before, after runtime.MemStats
	written := &counter{}
	runtime.ReadMemStats(&before)
	if err := trainer.Save(written); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if made := int(after.TotalAlloc - before.TotalAlloc); written.n < 3*4*72*outputs || made > written.n+written.n/2 {
		t.Errorf("%d bytes were made to write %d", made, written.n)
	}
	if written.most > 4*72*outputs+1024 {
		t.Errorf("%d bytes were written at once", written.most)
	}
}

type counter struct{ n, most int }

func (c *counter) Write(data []byte) (int, error) {
	c.n, c.most = c.n+len(data), max(c.most, len(data))
	return len(data), nil
}

// Positions at the edges of a training are taken, those one beyond are refused.
func TestPositionsOfATraining(t *testing.T) {
	const perEpoch, epochs = 10, 9
	scores := func(n int) []Score { return make([]Score, n) }
	at := func(step int, change func(s *saved)) saved {
		s := saved{Step: step, History: scores(step / perEpoch)}
		change(&s)
		return s
	}
	trial := []Trial{{}}
	for name, c := range map[string]struct {
		find  bool
		s     saved
		taken bool
	}{
		"the start":                      {false, at(0, func(*saved) {}), true},
		"the end":                        {false, at(90, func(s *saved) { s.GoodEpochs, s.Timed = 9, 9 }), true},
		"a step beyond":                  {false, at(91, func(*saved) {}), false},
		"an epoch's loss too many":       {false, at(59, func(s *saved) { s.History = scores(6) }), false},
		"a good epoch too many":          {false, at(50, func(s *saved) { s.GoodEpochs = 6 }), false},
		"never better":                   {false, at(50, func(s *saved) { s.SinceBest, s.Best = 5, &savedKept{} }), true},
		"never better for too long":      {false, at(50, func(s *saved) { s.SinceBest, s.Best = 6, &savedKept{} }), false},
		"the last epoch the best":        {false, at(50, func(s *saved) { s.Best, s.Validation = &savedKept{Epoch: 4}, &savedKept{Epoch: 4} }), true},
		"the best to come":               {false, at(50, func(s *saved) { s.Best = &savedKept{Epoch: 5} }), false},
		"a validation to come":           {false, at(50, func(s *saved) { s.Validation = &savedKept{Epoch: 5} }), false},
		"what it began with":             {false, at(50, func(s *saved) { s.Initial = &savedKept{Epoch: -1} }), true},
		"a beginning after an epoch":     {false, at(50, func(s *saved) { s.Initial = &savedKept{Epoch: 1} }), false},
		"the rate falls from the last":   {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5, Best: 5} }), true},
		"and ends there":                 {false, at(50, func(s *saved) { s.Sought = &Sought{All: 5, Full: 5} }), true},
		"epochs beyond the most":         {false, at(50, func(s *saved) { s.Sought = &Sought{All: 10, Full: 5} }), false},
		"it falls before it is there":    {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 6} }), false},
		"it falls after the end":         {false, at(50, func(s *saved) { s.Sought = &Sought{All: 4, Full: 5} }), false},
		"from weights after it fell":     {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5, Best: 6} }), false},
		"sought where they are given":    {true, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5} }), false},
		"as many ways back as there are": {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: 1, Trials: trial, Backs: make([]Back, mostBacks)} }), true},
		"one more":                       {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: 1, Trials: trial, Backs: make([]Back, mostBacks+1)} }), false},
		"no rate":                        {true, at(50, func(s *saved) { s.Test = &RangeTest{Trials: trial} }), false},
		"a rate that is no number":       {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: math.NaN(), Trials: trial} }), false},
		"a rate beyond all":              {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: math.Inf(1), Trials: trial} }), false},
	} {
		config := seekingConfig(epochs)
		if c.find {
			config = findingConfig()
			config.Epochs = epochs
		}
		trainer := newTrainer(t, seekingTask(t, 1), config)
		if trainer.stepsPerEpoch() != perEpoch {
			t.Fatalf("%d steps an epoch", trainer.stepsPerEpoch())
		}
		if err := trainer.follows(&c.s); (err == nil) != c.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A training that has ended is loaded as one that has.
func TestAnEndedTrainingIsLoaded(t *testing.T) {
	config := seekingConfig(9)
	config.FindRate = true
	whole := newTrainer(t, seekingTask(t, 1), config)
	mustRun(t, whole)
	again := newTrainer(t, seekingTask(t, 1), config)
	if err := again.Load(bytes.NewReader(outcome(t, whole))); err != nil {
		t.Fatal(err)
	}
	if result := mustRun(t, again); result.Samples != 0 {
		t.Errorf("it trained on %d samples more", result.Samples)
	}
	if err := again.Load(bytes.NewReader(outcome(t, whole))); err == nil {
		t.Error("loaded once training had begun")
	}
}
