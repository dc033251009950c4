package train

import (
	"math"
	"testing"
	"time"
)

// What is left is the samples of the epochs to come, at the speed so far.
func TestProgressTellsWhatIsLeft(t *testing.T) {
	const samples, batch, epochs = 300, 32, 5
	task, config := quantizedTask(t, Frozen, 1), fastConfig()
	steps, ends := 0, 0
	task.Hooks.Progress = func(p Progress) {
		steps++
		if p.Step != steps || p.Steps != 50 || p.Epochs != epochs || p.Epoch != steps/10 || p.Resumed != 0 {
			t.Errorf("step %d: %+v", steps, p)
		}
		want := (epochs-steps/10)*samples - steps%10*batch // the last batch of an epoch is smaller
		if left := p.Remaining.Seconds() * p.SamplesPerSecond; math.Abs(left-float64(want)) > 1 {
			t.Errorf("step %d: %v at %v samples/s, of %d left", steps, p.Remaining, p.SamplesPerSecond, want)
		}
		if want := config.Rate(p.Step-1, 50, 10); p.Rate != want {
			t.Errorf("step %d: a rate of %v, want %v", steps, p.Rate, want)
		}
		if (p.Validation != nil) != (steps%10 == 0) {
			t.Errorf("step %d: validation %v", steps, p.Validation)
		}
		if p.Validation != nil {
			ends++
		}
	}
	result := mustRun(t, newTrainer(t, task, config))
	if steps != 50 || ends != epochs {
		t.Errorf("%d reports, %d of ends of epochs", steps, ends)
	}
	if result.Steps != 50 || result.Epochs != epochs || result.Best != epochs-1 || result.Samples != epochs*samples || result.Last != nil {
		t.Errorf("%+v", result)
	}
}

// Reports and checkpoints that are not due are left out; the end of an epoch always reports.
func TestHooksWaitUntilTheyAreDue(t *testing.T) {
	task := quantizedTask(t, Frozen, 1)
	reports, saved := 0, 0
	task.Hooks.Progress, task.Hooks.ProgressEvery = func(Progress) { reports++ }, time.Hour
	task.Hooks.Checkpoint, task.Hooks.CheckpointEvery = func() error { saved++; return nil }, time.Hour
	mustRun(t, newTrainer(t, task, fastConfig()))
	if reports != 5 || saved != 0 {
		t.Errorf("%d reports, want one an epoch; %d checkpoints, want none within the hour", reports, saved)
	}
	task = quantizedTask(t, Frozen, 1)
	task.Hooks.Checkpoint = func() error { saved++; return nil }
	if mustRun(t, newTrainer(t, task, fastConfig())); saved != 50 {
		t.Errorf("%d checkpoints of 50 steps", saved)
	}
}

func TestTheTestOfRatesSaysWhatBecameOfIt(t *testing.T) {
	test := RangeTest{
		Rate: 0.0005, Clip: 2, Steps: 16, Samples: 512, Seconds: 1.25, Trials: []Trial{{Rate: 1e-5}, {Rate: 3e-5}, {Rate: 0.1}},
		Backs: []Back{{Epoch: 2, Rate: 0.002, Cause: "the loss rose"}, {Epoch: 0, Rate: 0.0005, Cause: "it died"}},
	}
	want := "learning rate 0.008, found by 3 trials of 16 steps from 1e-05 to 0.1, 512 samples in 1.2 s; gradients clipped at norm 2" +
		"; epoch 3 diverged (the loss rose) and was repeated with 0.002; epoch 1 diverged (it died) and was repeated with 0.0005"
	if got := test.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	test.Clip, test.Backs = 0, nil
	if got, want := test.String(), "learning rate 0.0005, found by 3 trials of 16 steps from 1e-05 to 0.1, 512 samples in 1.2 s"; got != want {
		t.Errorf("without a bound on gradients: got %q, want %q", got, want)
	}
}

func TestWhichWeightsTrainingEndedWithIsSaid(t *testing.T) {
	for want, r := range map[string]Result{
		"": {Best: 4, Epochs: 5, Validation: &Score{Loss: 1}},
		"the weights are those of epoch 2 of 5: their validation loss is 0.5, that of the last 0.75": {Best: 1, Epochs: 5, Validation: &Score{Loss: 0.5}, Last: &Score{Loss: 0.75}},
		"training is undone: the validation loss was 0.5 before it and is 0.75 after; more training samples, augmentation or more epochs may help": {
			Best: -1, Epochs: 5, Validation: &Score{Loss: 0.5}, Last: &Score{Loss: 0.75},
		},
		"the reconstructed weights stay, as training has to make them better by more than a standard error and with no more wrong answers: the validation loss was 0.5 before it and is 0.25 after; more training samples, augmentation or more epochs may help": {
			Best: -1, Epochs: 5, Validation: &Score{Loss: 0.5}, Last: &Score{Loss: 0.25},
		},
	} {
		if got := r.Kept(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
