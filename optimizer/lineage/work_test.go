package lineage

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/train"
)

// mislabelled is samples whose classes are shifted by one: what training gains on the others it loses on them.
type mislabelled struct{ *memory }

func (m mislabelled) Truth(i int, y [][]float32) error {
	y[0][0] = float32((m.label(i) + 1) % m.classes)
	return nil
}

// Weights are kept of the best epoch with all zeros in place, and a note says so.
func TestEpochsBeforeTheLastZeroDoNotCount(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	run := fast(n)
	run.Data.Validation = mislabelled{run.Data.Train.(*memory)}
	run.Training.Epochs, run.Training.LearningRate, run.Training.EarlyStop.Patience = 5, 0.02, 9
	out, err := run.Apply(context.Background(), n, Prune{Options: prune.Options{Sparsity: 0.5, Schedule: prune.Schedule{Kind: prune.Polynomial, End: 6, Every: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	said := slices.ContainsFunc(out.Notes, func(note string) bool { return strings.HasPrefix(note, "the weights are those of epoch 3 of 5") })
	if out.Training.Best != 2 || !said || len(out.Warnings) > 0 { // three steps an epoch
		t.Errorf("epoch %d is kept, notes %q, warnings %q", out.Training.Best, out.Notes, out.Warnings)
	}
}

func TestNotesOfWhatTrainingKept(t *testing.T) {
	falling := []train.Score{{Loss: 4}, {Loss: 1}}
	for name, c := range map[string]struct {
		result         train.Result
		notes, warning string
	}{
		"the last epoch":         {train.Result{Validation: &train.Score{Loss: 1}}, "", ""},
		"the first epoch":        {train.Result{Epochs: 2, Validation: &train.Score{Loss: 1}, Last: &train.Score{Loss: 2}}, "the weights are those of epoch 1 of 2", ""},
		"none":                   {train.Result{Epochs: 2, Best: -1, Validation: &train.Score{Loss: 1}, Last: &train.Score{Loss: 2}}, "training is undone", "training is undone"},
		"all, which were few":    {train.Result{Epochs: 2, Steps: 8, History: falling, RangeTest: &train.RangeTest{}}, "training ended after 8 steps", "training ended after 8 steps"},
		"all, which were enough": {train.Result{Epochs: 2, Steps: 800, History: falling, RangeTest: &train.RangeTest{}}, "", ""},
	} {
		w := &Work{}
		w.noteKept(&c.result, false)
		for what, got := range map[string][]string{c.notes: w.notes, c.warning: w.warnings} {
			if (what == "") != (len(got) == 0) || len(got) > 1 || len(got) == 1 && !strings.HasPrefix(got[0], what) {
				t.Errorf("%s: notes %q, warnings %q, want %q and %q", name, w.notes, w.warnings, c.notes, c.warning)
			}
		}
	}
}

// Reconstruction is advised where a quantize stage was too short and did without.
func TestReconstructionIsAdvisedWhereItIsNotDone(t *testing.T) {
	for _, quantized := range []bool{false, true} {
		for _, fitted := range []bool{false, true} {
			w := &Work{fitted: fitted}
			w.noteKept(&train.Result{Epochs: 2, Steps: 8, History: []train.Score{{Loss: 4}, {Loss: 1}}, RangeTest: &train.RangeTest{}}, quantized)
			if len(w.warnings) != 1 || strings.Contains(w.warnings[0], "quantize: {reconstruct: true}") != (quantized && !fitted) {
				t.Errorf("quantized %v, reconstructed %v: %q", quantized, fitted, w.warnings)
			}
		}
	}
}

// A rate that was found, and epochs that were sought, are noted; neither is where it is not asked for.
func TestNotesOfWhatTrainingFound(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	for _, asked := range []bool{false, true} {
		run := fast(n)
		run.Data.Validation = run.Data.Train
		run.Training.Epochs, run.Training.FindRate, run.Training.Seek = 2, asked, asked
		out, err := run.Apply(context.Background(), n, FineTune{})
		if err != nil {
			t.Fatal(err)
		}
		if (out.Training.RangeTest != nil) != asked || (out.Training.Sought != nil) != asked {
			t.Fatalf("asked %t: %+v", asked, out.Training)
		}
		if !asked {
			if len(out.Notes) > 0 && strings.Contains(strings.Join(out.Notes, "\n"), "learning rate") {
				t.Errorf("notes %q", out.Notes)
			}
			continue
		}
		if !slices.Contains(out.Notes, out.Training.RangeTest.String()) || !slices.Contains(out.Notes, out.Training.Sought.String()) {
			t.Errorf("notes %q lack %q or %q", out.Notes, out.Training.RangeTest, out.Training.Sought)
		}
		if warned := slices.Contains(out.Warnings, out.Training.RangeTest.String()); warned != (len(out.Training.RangeTest.Backs) > 0) {
			t.Errorf("went back %d times, warnings %q", len(out.Training.RangeTest.Backs), out.Warnings)
		}
	}
}

// Without labels the original's answers are what is trained to.
func TestTrainingByTheOriginalsAnswers(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	pruned, err := untrained(n).Apply(context.Background(), n, half)
	if err != nil {
		t.Fatal(err)
	}
	run := fast(n)
	run.Data = &dataset.Dataset{Train: unlabelled{run.Data.Train.(*memory)}}
	run.Training.Epochs, run.Training.LearningRate = 10, 0.01
	out, err := run.Apply(context.Background(), pruned.Network, FineTune{})
	if err != nil || out.Training == nil {
		t.Fatalf("training %v, %v", out.Training, err)
	}
	if h := out.Training.History; h[9].Loss > 0.5*h[0].Loss || distance(t, run, pruned.Network, out.Network) == 0 {
		t.Errorf("the loss goes from %v to %v", h[0].Loss, h[9].Loss)
	}
}

func TestWhatTrainingIsFollowedOn(t *testing.T) {
	labelled := samples(12, 4, 6).Train.(*memory)
	for name, c := range map[string]struct{ train, validation, want dataset.Source }{
		"as much as training has": {labelled, labelled, labelled},
		"no samples":              {labelled, nil, nil},
		"samples without labels":  {labelled, unlabelled{labelled}, nil},
		"no labels in either":     {unlabelled{labelled}, unlabelled{labelled}, unlabelled{labelled}},
	} {
		w := &Work{run: &Run{Data: &dataset.Dataset{Train: c.train, Validation: c.validation}}}
		if got := w.validation(); got != c.want {
			t.Errorf("%s: %T, want %T", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		weight float64
		target int
		want   bool
	}{
		"labels alone": {0, 0, false}, "labels and the original's answers": {0.1, 0, true}, "an output without labels": {0, -1, true},
	} {
		w := &Work{run: &Run{Outputs: []answer.Output{{Kind: answer.Classes, Loss: answer.CrossEntropy, Weight: 1, Target: c.target}}}}
		w.run.Training.Distillation.Weight = c.weight
		if got := w.needsTeacher(); got != c.want {
			t.Errorf("%s: a teacher %t, want %t", name, got, c.want)
		}
	}
}

// Training that is interrupted is saved once more where it can be, and ends with the interruption in any case.
func TestInterruptedTrainingIsSaved(t *testing.T) {
	n := read(t, networks()["dense layers only"])
	saves := 0
	for name, c := range map[string]struct {
		checkpoint *Checkpoint
		saves      int
	}{
		"without a checkpoint":   {nil, 0},
		"with none to be saved":  {&Checkpoint{}, 0},
		"with one to be saved":   {&Checkpoint{Save: func(func(io.Writer) error) error { saves++; return nil }}, 1},
		"with one saved by time": {&Checkpoint{Every: time.Hour, Save: func(func(io.Writer) error) error { saves++; return nil }}, 1},
	} {
		saves = 0
		ctx, cancel := context.WithCancel(context.Background())
		run := fast(n)
		run.Training.Epochs, run.Checkpoint = 1000, c.checkpoint
		run.Progress = func(train.Progress) { cancel() }
		if _, err := run.Apply(ctx, n, FineTune{}); !errors.Is(err, context.Canceled) || saves != c.saves {
			t.Errorf("%s: %v, saved %d times, want %d", name, err, saves, c.saves)
		}
		cancel()
	}
}
