package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheRateIsHalfTheGreatestThatTrialsStand(t *testing.T) {
	for _, c := range []struct {
		name   string
		losses []float64 // of the rates 1e-5, 3e-5, …
		floor  float64
		want   float64
	}{
		{"a valley", []float64{1, 0.9, 0.5, 0.2, 0.21, 3}, 0.01, 5e-4},
		{"nothing to learn: it is the rise that bounds", []float64{0.03, 0.0301, 0.0302, 0.032, 0.04, 0.2}, 0.001, 1.5e-4},
		{"losses as good as none do not count", []float64{0, 1e-5, 1e-4, 9e-4, 1e-2, 0.1}, 0.01, 1.5e-4},
		{"a trial without a loss", []float64{1, 0.5, -1}, 0.01, 1.5e-5},
		{"no loss at any rate", []float64{0, 0, 0}, 0, 5e-5},
		{"no trial with a loss", []float64{-1}, 0.01, 5e-6},
		{"falling to the last", []float64{1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05}, 0.01, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trials []Trial
			for i, loss := range c.losses {
				trials = append(trials, Trial{Rate: triedRates[i], Loss: loss})
			}
			if got := choose(trials, c.floor); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func findingConfig() Config {
	c := fastConfig()
	c.FindRate, c.LearningRate = true, 0
	return c
}

func TestAFoundRateTrainsAsIfItHadBeenGiven(t *testing.T) {
	for _, mode := range []RangeMode{Frozen, Tracked, Learned} {
		t.Run(string(mode), func(t *testing.T) {
			finding := newTrainer(t, quantizedTask(t, mode, 2), findingConfig())
			found := mustRun(t, finding).RangeTest
			if found == nil || found.Rate <= 0 || len(found.Trials) < 2 || found.Samples == 0 || len(found.Backs) > 0 {
				t.Fatalf("found %+v", found)
			}
			if last := found.Trials[len(found.Trials)-1]; last.Rate < 1 && last.Loss >= 0 && last.Loss < hopeless*leastLossOf(found.Trials) {
				t.Errorf("the test ended at %v, whose loss is %v", last.Rate, last.Loss)
			}
			config := fastConfig()
			config.LearningRate, config.ClipNorm = found.Rate, found.Clip
			given := newTrainer(t, quantizedTask(t, mode, 1), config)
			mustRun(t, given)
			for i, p := range finding.params {
				if !bytes.Equal(p.state(), given.params[i].state()) {
					t.Errorf("%q is another than with the same rate given", p.param.Name)
				}
			}
		})
	}
}

func TestTheLeastLossIsThatOfTrialsThatHaveOne(t *testing.T) {
	if got := leastLossOf([]Trial{{Loss: 2}, {Loss: 0}, {Loss: -1}}); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
	if got := leastLossOf([]Trial{{Loss: -1}}); !math.IsInf(got, 1) {
		t.Errorf("got %v, want none", got)
	}
}

// Gradients are clipped at four times what trials met up to the rate that was chosen, which is half of the last of these.
func TestTheBoundOnGradientsIsOfTheRatesThatServe(t *testing.T) {
	trials := []Trial{{Rate: 1e-3, Loss: 0, Norm: 5.4321}, {Rate: 3e-3, Loss: 1, Norm: 2}, {Rate: 1e-2, Loss: 1, Norm: 50}, {Rate: 3e-3, Loss: -1, Norm: 70}}
	if got, want := chooseClip(trials, 1.5e-3), 21.7; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := chooseClip(nil, 1); got != 0 {
		t.Errorf("without gradients it is %v", got)
	}
}

// noted is a source that notes which samples are read.
type noted struct {
	*memory
	read map[int]bool
}

func (n noted) Read(i int, x [][]float32) error {
	n.read[i] = true
	return n.memory.Read(i, x)
}

// A trial goes on through the samples, as training does: its steps take them all where there are no more than they can take.
func TestATrialTrainsOnAllSamplesThatItsStepsTake(t *testing.T) {
	task := quantizedTask(t, Frozen, 1)
	src := noted{task.Train.(*memory), map[int]bool{}}
	task.Train = src
	var read []int // in each trial but the last
	task.Hooks.Progress = func(p Progress) {
		if p.Finding {
			read = append(read, len(src.read))
			clear(src.read)
		}
	}
	mustRun(t, newTrainer(t, task, findingConfig()))
	for i, n := range read[1:] {
		if n != src.Len() {
			t.Errorf("trial %d read %d of %d samples", i+1, n, src.Len())
		}
	}
}

// While rates are tried, progress names them, ascending, and says of the training what is known.
func TestProgressNamesTheRatesThatAreTried(t *testing.T) {
	task := quantizedTask(t, Frozen, 1)
	var rates []float64
	task.Hooks.Progress = func(p Progress) {
		if !p.Finding {
			return
		}
		rates = append(rates, p.Rate)
		if p.Accuracy != -1 || p.Epochs != 5 || p.Steps != 50 || p.Step != 0 {
			t.Errorf("%+v", p)
		}
	}
	found := mustRun(t, newTrainer(t, task, findingConfig())).RangeTest
	if !slices.Equal(rates, triedRates[:len(found.Trials)]) {
		t.Errorf("tried %v, reported %v", found.Trials, rates)
	}
}

func TestTrialsSeeTheFormThatTrainingEndsWith(t *testing.T) {
	task := quantizedTask(t, Tracked, 1)
	var masked []byte
	task.Hooks.BeforeTrials = func() error {
		for _, w := range task.Weights {
			mask := slices.Repeat([]uint8{1}, w.Len())
			mask[0] = 0
			if err := w.SetMask(mask); err != nil {
				return err
			}
			masked = append(masked, mask[0])
		}
		return nil
	}
	trainer := newTrainer(t, task, findingConfig())
	mustRun(t, trainer)
	if len(masked) == 0 {
		t.Fatal("the hook was not called")
	}
	for _, w := range task.Weights {
		if w.Mask != nil {
			t.Errorf("%q keeps the mask of the trials", w.Name)
		}
	}
}

func TestAnInterruptedTestOfRatesLeavesTheStart(t *testing.T) {
	task := quantizedTask(t, Tracked, 1)
	ctx, cancel := context.WithCancel(context.Background())
	task.Hooks.Progress = func(p Progress) {
		if p.Finding && p.Rate > 1e-3 {
			cancel()
		}
	}
	first := newTrainer(t, task, findingConfig())
	if _, err := first.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	second := newTrainer(t, quantizedTask(t, Tracked, 2), findingConfig())
	if err := second.Load(bytes.NewReader(outcome(t, first))); err != nil {
		t.Fatal(err)
	}
	mustRun(t, second)
	whole := newTrainer(t, quantizedTask(t, Tracked, 1), findingConfig())
	mustRun(t, whole)
	for i, p := range second.params {
		if !bytes.Equal(p.state(), whole.params[i].state()) {
			t.Errorf("%q is another than without interruption", p.param.Name)
		}
	}
}

// poisoned gives samples without a number while it is on.
type poisoned struct {
	*memory
	on bool
}

func (p *poisoned) Read(i int, x [][]float32) error {
	if err := p.memory.Read(i, x); err != nil || !p.on {
		return err
	}
	x[0][0] = float32(math.NaN())
	return nil
}

func TestTrainingThatDivergesGoesBackWithLess(t *testing.T) {
	found := mustRun(t, newTrainer(t, quantizedTask(t, Frozen, 1), findingConfig())).RangeTest.Rate
	for _, c := range []struct {
		name  string
		below float64 // rate that does not diverge
		backs int
		ends  bool
	}{
		{"once", found, 1, true}, {"twice", found / 4, 2, true}, {"always", 0, mostBacks, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := quantizedTask(t, Frozen, 1)
			src := &poisoned{memory: task.Train.(*memory)}
			task.Train = src
			var trainer *Trainer
			var backs []int
			task.Hooks.Back = func(step int) { backs = append(backs, step) }
			task.Hooks.BeforeStep = func(step, _ int) error {
				src.on = step >= 25 && trainer.test.Rate >= c.below
				return nil
			}
			trainer = newTrainer(t, task, findingConfig())
			result, err := trainer.Run(context.Background())
			if isDivergence(err) == c.ends || c.ends && err != nil {
				t.Fatalf("ended with %v", err)
			}
			if want := slices.Repeat([]int{20}, c.backs); !slices.Equal(backs, want) {
				t.Errorf("went back to steps %v, want %v", backs, want)
			}
			r := result.RangeTest
			if want := found / math.Pow(backFactor, float64(c.backs)); len(r.Backs) != c.backs || r.Rate != want || r.Backs[0].Epoch != 2 {
				t.Errorf("the rate is %v, want %v; %v", r.Rate, want, r)
			}
			if c.ends && (result.Epochs != 5 || len(result.History) != 5 || !isFinite(result.Training.Loss)) {
				t.Errorf("%d epochs, history %v", result.Epochs, result.History)
			}
		})
	}
}

func TestALossFarAboveTheStartIsLeftBehind(t *testing.T) {
	r := &run{Trainer: &Trainer{position: position{test: &RangeTest{Start: 0.2}, floor: 0.01}}}
	if err := r.overshot(1.19); err != nil {
		t.Errorf("a loss of 1.19 from 0.2: %v", err)
	}
	exact := &run{Trainer: &Trainer{position: position{test: &RangeTest{Start: 0.25}}}}
	if err := exact.overshot(1); err != nil {
		t.Errorf("a loss of 1 from 0.25: %v", err)
	}
	if err := r.overshot(1.21); !isDivergence(err) || !strings.Contains(err.Error(), "rose from 0.2 to 1.21") {
		t.Errorf("a loss of 1.21 from 0.2: %v", err)
	}
	r.test.Backs = make([]Back, mostBacks)
	if err := r.overshot(1.21); err != nil {
		t.Errorf("a loss that no smaller rate lowers: %v", err)
	}
	r.test = nil
	if err := r.overshot(100); err != nil {
		t.Errorf("with a given rate: %v", err)
	}
}

func TestTheSpeedIsThatOfTrainingNotOfTheTestOfRates(t *testing.T) {
	task := quantizedTask(t, Tracked, 1)
	const pause = 500 * time.Millisecond
	task.Hooks.BeforeTrials = func() error { time.Sleep(pause); return nil }
	began := time.Now()
	reported := false
	task.Hooks.Progress = func(p Progress) {
		if p.Finding || reported {
			return
		}
		reported = true
		since := time.Since(began).Seconds()
		if trained := float64(p.Step*findingConfig().BatchSize) / p.SamplesPerSecond; trained > since-pause.Seconds() {
			t.Errorf("%.0f samples/s after %d steps: %.3f s of %.3f, of which %v were no training", p.SamplesPerSecond, p.Step, trained, since, pause)
		}
	}
	mustRun(t, newTrainer(t, task, findingConfig()))
	if !reported {
		t.Error("nothing was reported")
	}
}

func TestADivergenceThatNoSmallerRateHelpedAsksForOutliers(t *testing.T) {
	err := &DivergedError{Loss: 9234, From: 0.19, Grown: 1, Layer: "bias b", Backs: mostBacks}
	want := "training diverged: the loss rose from 0.19 to 9234, though the learning rate that was found was lowered 4 times; are there outliers"
	if !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
}
