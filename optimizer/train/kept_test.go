package train

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
)

// lossy is a state with samples' losses.
func lossy(epoch int, losses ...float32) *kept {
	k := &kept{Epoch: epoch, Losses: losses, state: &snapshot{}}
	for _, l := range losses {
		k.Score.Loss += float64(l) / float64(len(losses))
	}
	return k
}

func accurate(k *kept, accuracy float64) *kept {
	other := *k
	other.Score.Accuracy = accuracy
	return &other
}

func TestAStateIsBetterBeyondAStandardError(t *testing.T) {
	for name, c := range map[string]struct {
		a, b   []float32
		margin float64
		want   bool
	}{
		"every sample gains":             {[]float32{1, 2, 3, 4}, []float32{1.1, 2.1, 3.1, 4.1}, 1, true},
		"one of four gains":              {[]float32{1, 2, 3, 4}, []float32{1, 2, 3, 5}, 1, false},
		"one of four gains, least wins":  {[]float32{1, 2, 3, 4}, []float32{1, 2, 3, 5}, 0, true},
		"some gain and as many lose":     {[]float32{1, 2, 3, 4}, []float32{2, 1, 4, 3}, 0, false},
		"more":                           {[]float32{2, 2, 2, 2}, []float32{1, 1, 1, 1}, 0, false},
		"the same":                       {[]float32{2, 2}, []float32{2, 2}, 0, false},
		"one sample":                     {[]float32{1}, []float32{2}, 1, true},
		"a large loss in a sea of small": {[]float32{0, 0, 0, 0, 0, 0, 0, 0, 9, 0}, []float32{.1, .1, .1, .1, .1, .1, .1, .1, 9.1, .1}, 1, true},
	} {
		if got := lossy(0, c.a...).better(lossy(1, c.b...), c.margin); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTrainingEndsWithTheBestThatKeepsThePromise(t *testing.T) {
	start, early, last := lossy(-1, 1, 1, 1), lossy(1, 1, 1, 1), lossy(2, 2, 2, 2)
	for name, c := range map[string]struct {
		initial, best, last *kept
		from                int
		config              func(*Config)
		found               bool
		want                *kept
		fitted              bool
	}{
		"the start was better":                   {start, nil, last, 0, nil, true, start, false},
		"a start that is worth keeping":          {lossy(-1, 3, 2, 1), nil, last, 0, nil, true, lossy(-1), true},
		"better than one that is worth keeping":  {lossy(-1, 3, 3, 3), nil, last, 0, nil, true, last, true},
		"one worth keeping, and a given rate":    {lossy(-1, 3, 2, 1), nil, last, 0, nil, false, nil, true},
		"an epoch was better":                    {lossy(-1, 3, 3, 3), early, last, 0, nil, true, early, false},
		"the start no better than an epoch":      {start, early, last, 0, nil, true, early, false},
		"better by chance":                       {lossy(-1, 2, 2, 1), lossy(1, 1, 2, 2), last, 0, nil, true, last, false},
		"better by chance, but it was to decide": {nil, lossy(1, 1, 2, 2), last, 0, func(c *Config) { c.EarlyStop.Patience = 3 }, false, lossy(1, 1, 2, 2), false},
		"a given rate and number of epochs":      {nil, nil, last, 0, nil, false, nil, false},
		"the start was surer, but oftener wrong": {accurate(start, 0.8), accurate(early, 0.8), accurate(last, 0.9), 0, nil, true, last, false},
		"before the last masks":                  {start, nil, last, 3, nil, true, nil, false},
		"all is known by heart":                  {lossy(-1, 0, 0, 0), lossy(1, 0, 0, 0), accurate(lossy(2, 0.01, 0.01, 0.01), 1), 0, nil, true, lossy(2), true},
		"little is lost, but there is an error":  {accurate(lossy(-1, 0, 0, 0), 0.9), nil, accurate(lossy(2, 0.01, 0.01, 0.01), 0.9), 0, nil, true, lossy(-1), true},
		"by heart, but it was to decide":         {nil, accurate(lossy(1, 0, 0, 0), 1), accurate(lossy(2, 0.01, 0.01, 0.01), 1), 0, func(c *Config) { c.EarlyStop.Patience = 3 }, false, lossy(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			config := fastConfig()
			config.EarlyStop.From = c.from
			if c.config != nil {
				c.config(&config)
			}
			r := &run{Trainer: &Trainer{task: Task{Fitted: c.fitted}, config: config, position: position{initial: c.initial, best: c.best, validation: c.last, floor: 0.02}}}
			if c.found {
				r.test = &RangeTest{}
			}
			if err := r.conclude(); err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == nil && r.ended != nil:
				t.Errorf("ended with epoch %d", r.ended.Epoch)
			case c.want != nil && (r.ended == nil || r.ended.Epoch != c.want.Epoch):
				t.Errorf("ended with %+v, want epoch %d", r.ended, c.want.Epoch)
			}
		})
	}
}

// misled is a task of a few samples whose labels say the reverse of the validation samples': whatever the rate, training is for nothing.
func misled(t testing.TB, workers int) Task {
	task := learned(t, Tracked, workers)
	src := blobs(7, 48, 4)
	for i := range src.labels {
		src.labels[i] = 3 - src.labels[i]
	}
	task.Train = src
	return task
}

// learned is a task whose network knows its samples.
func learned(t testing.TB, mode RangeMode, workers int) Task {
	task := quantizedTask(t, mode, workers)
	config := fastConfig()
	config.Epochs = 20
	mustRun(t, newTrainer(t, task, config))
	return task
}

func shortConfig() Config {
	c := findingConfig()
	c.BatchSize = 4
	return c
}

// More epochs are no remedy where the validation loss wanted no more, and not to be had where no more are allowed.
func TestWhatMayHelpATrainingThatIsUndone(t *testing.T) {
	for want, sought := range map[string]*Sought{
		"more training samples, augmentation or more epochs may help":                                      nil,
		"more training samples, augmentation or a larger bound on epochs (maxEpochs, maxMinutes) may help": {All: 5, Most: 5},
		"more training samples or augmentation may help":                                                   {All: 5, Most: 9, Full: 4, Best: 2},
	} {
		r := Result{Best: -1, Validation: &Score{Loss: 1}, Last: &Score{Loss: 2}, Sought: sought}
		if got := r.Kept(); got != "training is undone: the validation loss was 1 before it and is 2 after; "+want {
			t.Errorf("%+v: %q", sought, got)
		}
	}
}

func TestAStageIsNoWorseThanItsStart(t *testing.T) {
	task := misled(t, 2)
	plain := newTrainer(t, task, shortConfig())
	before, err := plain.Evaluate(task.Validation)
	if err != nil {
		t.Fatal(err)
	}
	result := mustRun(t, plain)
	if result.Last == nil || result.Last.Loss < 1.5*before.Loss {
		t.Fatalf("the training was to spoil the network: %+v from %+v", result.Last, before)
	}
	if result.Best != -1 || *result.Validation != before || !strings.Contains(result.Kept(), "training is undone") {
		t.Errorf("kept epoch %d at %+v, want the start at %+v: %s", result.Best, result.Validation, before, result.Kept())
	}
	if after, err := plain.Evaluate(task.Validation); err != nil || after != before {
		t.Errorf("the network is at %+v, not at %+v (%v)", after, before, err)
	}
}

func TestAnInterruptedTrainingEndsWithTheSameState(t *testing.T) {
	whole := newTrainer(t, misled(t, 1), shortConfig())
	mustRun(t, whole)
	for _, stop := range []int{0, 1, 3} {
		task := misled(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		task.Hooks.BeforeStep = func(step, _ int) error {
			if step == stop {
				cancel()
			}
			return nil
		}
		first := newTrainer(t, task, shortConfig())
		if _, err := first.Run(ctx); err == nil {
			t.Fatal("it was not interrupted")
		}
		second := newTrainer(t, misled(t, 2), shortConfig())
		if err := second.Load(bytes.NewReader(outcome(t, first))); err != nil {
			t.Fatal(err)
		}
		if result := mustRun(t, second); result.Best != -1 {
			t.Errorf("interrupted at step %d, it ends with epoch %d", stop, result.Best)
		}
		for i, p := range second.params {
			if !bytes.Equal(p.state(), whole.params[i].state()) {
				t.Errorf("interrupted at step %d, %q is another", stop, p.param.Name)
			}
		}
	}
}

func TestTrialsAreScoredOnOtherSamplesThanTheyTrainOn(t *testing.T) {
	for _, c := range []struct{ n, scored int }{{2, 0}, {3, 1}, {180, 60}, {600, 200}, {768, 256}, {5000, 256}} {
		order := span(0, c.n)
		trained, scored := heldOut(order)
		if c.scored == 0 {
			if len(trained) != c.n || len(scored) != c.n {
				t.Errorf("of %d samples %d train, %d score", c.n, len(trained), len(scored))
			}
			continue
		}
		if len(scored) != c.scored || len(trained) != c.n-c.scored || trained[len(trained)-1] >= scored[0] {
			t.Errorf("of %d samples %d train, %d score", c.n, len(trained), len(scored))
		}
	}
}

// Validation samples are known by heart if all are answered rightly at next to no loss.
func TestKnowsByHeart(t *testing.T) {
	task, config := quantizedTask(t, Tracked, 2), fastConfig()
	config.Epochs = 300
	mustRun(t, newTrainer(t, task, config))
	known := func(v dataset.Source) bool {
		t.Helper()
		task.Validation = v
		known, err := newTrainer(t, task, shortConfig()).KnowsByHeart()
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	all := blobs(9, 400, 4)
	trainer := newTrainer(t, task, shortConfig())
	trainer.start()
	dismiss := trainer.hire()
	losses := make([]float32, all.Len())
	if _, err := trainer.score(all, losses); err != nil {
		t.Fatal(err)
	}
	dismiss()
	sure := &memory{shape: all.shape, classes: all.classes}
	for i, loss := range losses {
		if loss < leastLoss {
			sure.x, sure.labels = append(sure.x, all.x[i]), append(sure.labels, all.labels[i])
		}
	}
	if len(sure.labels) < 8 || !known(sure) {
		t.Fatalf("%d samples of next to no loss are not known by heart", len(sure.labels))
	}
	if known(nil) || known(all) {
		t.Error("samples that are not there, or have a loss, are known by heart")
	}
	for name, c := range map[string]func(*Config){
		"a given rate": func(c *Config) { c.FindRate, c.LearningRate = false, 1e-3 },
		"epochs found": func(c *Config) { c.Seek = true },
		"early stop":   func(c *Config) { c.EarlyStop.Patience = 2 },
	} {
		config := shortConfig()
		c(&config)
		task.Validation = sure
		if known, err := newTrainer(t, task, config).KnowsByHeart(); err != nil || known {
			t.Errorf("%s: validation decides as it did, or nothing ever (%v)", name, err)
		}
	}
	if sure.labels[3] = (sure.labels[3] + 1) % all.classes; known(sure) {
		t.Error("a sample that is answered wrongly is known by heart")
	}
}

// What a network answers as its teacher, because it is the same yet, is not known by heart.
func TestATeachersAnswersAreNotKnownByHeart(t *testing.T) {
	bare := *blobs(1, 64, 4)
	bare.classes = 0
	task := Task{Train: &bare, Validation: &bare, Workers: 1}
	task.Network, task.Weights = compile(t, classifier(softmaxEnd))
	task.Teacher, _ = compile(t, classifier(softmaxEnd))
	if known, err := newTrainer(t, task, shortConfig()).KnowsByHeart(); err != nil || known {
		t.Errorf("%t, %v", known, err)
	}
}

// A network that knows its classes can only learn a few noisy samples by heart, which a trial must not take for progress.
func TestOfFewSamplesTheRateIsNotTheOneThatLearnsThemByHeart(t *testing.T) {
	product := 1.0
	for seed := range uint64(4) {
		task := learned(t, Tracked, 2)
		src, noise := blobs(seed+7, 12, 4), blobs(seed+57, 12, 4)
		for i, x := range src.x {
			for k := range x {
				x[k] += noise.x[(7*i+3)%len(noise.x)][k]
			}
		}
		task.Train = src
		product *= mustRun(t, newTrainer(t, task, shortConfig())).RangeTest.found()
	}
	if mean := math.Pow(product, 0.25); mean > 6e-3 {
		t.Errorf("the rates are %.2g in their geometric mean, not 2e-3", mean)
	}
}

func TestATrainingThatWasTooShortIsTold(t *testing.T) {
	losses := func(list ...float64) (history []Score) {
		for _, l := range list {
			history = append(history, Score{Loss: l})
		}
		return history
	}
	found := &RangeTest{}
	for name, test := range map[string]struct {
		r    Result
		told bool
	}{
		"few steps, and the loss falls":     {Result{Steps: 12, History: losses(3, 2, 1), Best: 2, RangeTest: found}, true},
		"an epoch before the last was kept": {Result{Steps: 12, History: losses(3, 2, 1), Best: 1, RangeTest: found}, true},
		"it hardly falls":                   {Result{Steps: 12, History: losses(3, 2, 1.91), Best: 2, RangeTest: found}, false},
		"it comes down again":               {Result{Steps: 12, History: losses(1.05, 2, 1), Best: 2, RangeTest: found}, false},
		"the loss is next to nothing":       {Result{Steps: 12, History: losses(3, 2, 9e-4), Best: 2, RangeTest: found}, false},
		"every answer is right":             {Result{Steps: 12, History: []Score{{3, 0.5}, {2, 0.9}, {1, 1}}, Best: 2, RangeTest: found}, false},
		"almost every answer is right":      {Result{Steps: 12, History: []Score{{3, 0.5}, {2, 0.9}, {1, 0.99}}, Best: 2, RangeTest: found}, true},
		"it is zero":                        {Result{Steps: 12, History: losses(0, 0), Best: 1, RangeTest: found}, false},
		"steps enough":                      {Result{Steps: fewSteps, History: losses(3, 2, 1), Best: 2, RangeTest: found}, false},
		"one epoch":                         {Result{Steps: 12, History: losses(3), RangeTest: found}, false},
		"a rate that was given":             {Result{Steps: 12, History: losses(3, 2, 1), Best: 2}, false},
		"training is undone":                {Result{Steps: 12, History: losses(3, 2, 1), Best: -1, RangeTest: found}, false},
		"the validation loss decided":       {Result{Steps: 12, History: losses(3, 2, 1), Best: 2, RangeTest: found, Sought: &Sought{}}, false},
		"the validation loss stopped it":    {Result{Steps: 12, History: losses(3, 2, 1), Best: 2, RangeTest: found, Stopped: true}, false},
	} {
		text := test.r.Unfinished()
		if told := strings.Contains(text, "after 12 steps") && strings.Contains(text, "1 in the last epoch and 2 at best before") && strings.Contains(text, "maxEpochs"); told != test.told || !told && text != "" {
			t.Errorf("%s: %q", name, text)
		}
	}
}
