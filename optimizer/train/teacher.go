package train

import (
	"fmt"
	"reflect"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
)

// maxCache bounds the teacher's answers that are kept, in floats.
const maxCache = 16 << 20

// teach computes the teacher's answers to all training samples once, if samples are the same in every epoch and the answers are
// few enough. They are computed in the samples' own order, so that a resumed run gets the same.
func (t *Trainer) teach() error {
	src := t.task.Train
	if t.task.Teacher == nil || !t.taught() || t.cache != nil {
		return nil
	}
	if t.varies(src) || src.Len() > maxCache/t.width() {
		return nil
	}
	size, n := t.task.Network.MicroBatch, src.Len()
	cache := make([][][]float32, len(t.heads))
	for h, o := range t.heads {
		values := make([]float32, n*o.outputs)
		cache[h] = make([][]float32, n)
		for i := range cache[h] {
			cache[h][i] = values[i*o.outputs : (i+1)*o.outputs]
		}
	}
	count := (n + size - 1) / size
	failed := make([]error, count)
	t.parallel(count, func(w *worker, k int) {
		samples := span(k*size, min((k+1)*size, n))
		if err := w.read(nil, w.teacher, src, samples); err != nil {
			failed[k] = err
			return
		}
		for h, answers := range w.taught(t.heads, w.inputs(w.teacher)) {
			for j, i := range samples {
				copy(cache[h][i], answers[j])
			}
		}
	})
	for _, err := range failed {
		if err != nil {
			return fmt.Errorf("teacher's %w", err)
		}
	}
	t.cache = cache
	return nil
}

// varies reports whether samples are augmented, another way in every epoch.
func (t *Trainer) varies(src dataset.Source) bool {
	return reflect.TypeOf(src).Comparable() && dataset.Epoch(src, t.config.Seed, 0) != src
}

// span returns from, …, to−1.
func span(from, to int) []int {
	list := make([]int, to-from)
	for i := range list {
		list[i] = from + i
	}
	return list
}

// taught reports whether a head learns from the teacher.
func (t *Trainer) taught() bool {
	return slices.ContainsFunc(t.heads, func(o *objective) bool { return o.alpha > 0 })
}

// width is the values of all heads for a sample.
func (t *Trainer) width() int {
	n := 0
	for _, o := range t.heads {
		n += o.outputs
	}
	return max(1, n)
}

// answers returns the teacher's loss tensors, by head, for every training sample of a micro-batch whose inputs are x; nil without a
// teacher.
func (t *Trainer) answers(w *worker, x [][]float32, samples []int) [][][]float32 {
	if !t.taught() {
		return nil
	}
	if t.cache == nil {
		return w.taught(t.heads, x)
	}
	for h := range t.heads {
		w.answers[h] = w.answers[h][:0]
		for _, i := range samples {
			w.answers[h] = append(w.answers[h], t.cache[h][i])
		}
	}
	return w.answers
}
