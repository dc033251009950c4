package train

import (
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
)

// TestAStepAllocatesNothing: with everything that moves — weights with learned scales, learned ranges, a teacher — and several
// workers.
func TestAStepAllocatesNothing(t *testing.T) {
	tasks := map[string]Task{"float": {Train: blobs(4, 300, 4), Workers: 2}}
	for _, mode := range []RangeMode{Frozen, Tracked, Learned} {
		tasks["quantized, ranges "+string(mode)] = quantizedTask(t, mode, 2)
	}
	for name, task := range tasks {
		t.Run(name, func(t *testing.T) {
			if task.Network == nil {
				task.Network, task.Weights = compile(t, classifier(softmaxEnd))
			}
			trainer := newTrainer(t, task, fastConfig())
			trainer.start()
			defer trainer.hire()()
			if err := trainer.teach(); err != nil {
				t.Fatal(err)
			}
			src, samples := dataset.Epoch(task.Train, 1, 0), trainer.order(0)[:128]
			step := func() {
				if _, err := trainer.runStep(src, samples, 1e-3); err != nil {
					t.Fatal(err)
				}
				trainer.step++
			}
			step()
			for _, w := range trainer.workers { // what a worker needs it makes on its first micro-batch, whenever that is
				if _, err := trainer.microBatch(w, src, samples[:trainer.task.Network.MicroBatch], 0); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(20, step); n > 0 {
				t.Errorf("%v allocations a step", n)
			}
		})
	}
}
