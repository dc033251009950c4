package integer_test

import (
	"sync"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
)

// TestKeywordSpottingHasItsPublishedAccuracy evaluates MLPerf Tiny's int8 model on its 1,000 samples. Published are 90.2 %; the
// reference kernels' rounding costs one sample.
func TestKeywordSpottingHasItsPublishedAccuracy(t *testing.T) {
	x, y := keywords(t)
	m, err := tflite.ReadFile(testmaterial.Path(t, "models/kws_ref_model.tflite"))
	if err != nil {
		t.Fatal(err)
	}
	if right := correct(t, compile(t, m, 8), x, y); right != 901 {
		t.Errorf("%d of %d are right, want 901", right, len(y))
	}
}

func keywords(t testing.TB) (x []byte, y []int32) {
	t.Helper()
	r, err := npz.Open(testmaterial.Path(t, "kws01/kws01_int8.npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var codes []int8
	if err := r.Read("x.npy", &codes); err != nil {
		t.Fatal(err)
	}
	if err := r.Read("y.npy", &y); err != nil {
		t.Fatal(err)
	}
	return tflite.Int8Bytes(codes), y
}

// correct counts the samples whose largest output is their label, on four clones.
func correct(t testing.TB, e *integer.Executor, x []byte, y []int32) int {
	t.Helper()
	const workers = 4
	counts := make([]int, workers)
	var group sync.WaitGroup
	for w := range workers {
		e := e.Clone()
		group.Go(func() {
			for i := w * e.Batch(); i < len(y); i += workers * e.Batch() {
				counts[w] += correctFrom(t, e, x, y, i)
			}
		})
	}
	group.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// correctFrom evaluates a batch from sample i on.
func correctFrom(t testing.TB, e *integer.Executor, x []byte, y []int32, i int) int {
	sample, n := len(x)/len(y), min(e.Batch(), len(y)-i)
	if err := e.SetInputBytes(0, x[i*sample:(i+n)*sample]); err != nil {
		t.Error(err)
		return 0
	}
	if err := e.Run(); err != nil {
		t.Error(err)
		return 0
	}
	scores := e.Output(0)
	classes, right := len(scores)/e.Batch(), 0
	for k := range n {
		best := 0
		for c, v := range scores[k*classes : (k+1)*classes] {
			if v > scores[k*classes+best] {
				best = c
			}
		}
		if int32(best) == y[i+k] {
			right++
		}
	}
	return right
}
