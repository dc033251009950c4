package train

import (
	"os"
	"path/filepath"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
)

// The teacher's answers are kept where samples are the same in every epoch, and computed anew where they are varied.
func TestAnswersToVariedSamplesAreNotKept(t *testing.T) {
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 6, 6, 1), }"
	data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)+1), 0)
	data = append(append(data, header...), '\n')
	data = append(data, bytesOf(numbers(1, 16*36, 1))...)
	path := filepath.Join(t.TempDir(), "x.npy")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, varied := range []bool{false, true} {
		d, err := dataset.Open(path, dataset.Spec{Augmentation: dataset.Augmentation{HorizontalFlip: varied}})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		task := Task{Train: d.Train, Workers: 1}
		task.Network, task.Weights = compile(t, classifier(softmaxEnd))
		task.Teacher, _ = compile(t, classifier(softmaxEnd))
		config := fastConfig()
		config.BatchSize = 8
		trainer := newTrainer(t, task, config)
		mustRun(t, trainer)
		if kept := trainer.cache != nil; kept == varied {
			t.Errorf("varied %t: the teacher's answers are kept: %t", varied, kept)
		}
	}
}
