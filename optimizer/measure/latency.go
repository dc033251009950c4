package measure

import (
	"context"
	"runtime"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/target"
)

// Latency is how long one sample takes, in microseconds; one step of a network that keeps state.
type Latency struct {
	P50, P90, P99 float64
	Runs          int
}

// LatencyOptions say how latency is measured.
type LatencyOptions struct {
	Budget  time.Duration  // how long to measure; 0 stands for 300 ms
	Threads int            // 0 stands for 1
	Target  *target.Target // whose runtime's arithmetic is timed, on this machine; nil is LiteRT
}

// TimeLatency runs a model sample by sample for about the budget, at least 5 and at most 10,000 runs, after a few runs that are
// not counted. Setting the input is not part of a run.
func TimeLatency(ctx context.Context, model []byte, source dataset.Source, o LatencyOptions) (Latency, error) {
	source, err := beginningsOf(source, model)
	if err != nil {
		return Latency{}, err
	}
	exec, err := read(model, source, 0, arithmetic(o.Target)...)
	if err != nil {
		return Latency{}, err
	}
	if o.Budget <= 0 {
		o.Budget = 300 * time.Millisecond
	}
	exec.SetThreads(o.Threads)
	defer exec.Close()
	inputs, _, err := exec.sampleSizes(source)
	if err != nil {
		return Latency{}, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const warm, least, most = 3, 5, 10_000
	x, sample := room(inputs, 1), make([][]float32, len(inputs))
	var times []float64
	for i, start := 0, time.Now(); i < warm+least || i < warm+most && time.Since(start) < o.Budget; i++ {
		if err := ctx.Err(); err != nil {
			return Latency{}, err
		}
		if err := feed(exec, source, func(int) int { return i % source.Len() }, 1, inputs, x, sample); err != nil {
			return Latency{}, err
		}
		begin := time.Now()
		if err := exec.run(); err != nil {
			return Latency{}, err
		}
		if took := time.Since(begin); i >= warm {
			times = append(times, float64(took.Nanoseconds())/1e3/float64(exec.Batch()*exec.steps))
		}
	}
	slices.Sort(times)
	return Latency{P50: stat.Quantile(0.5, stat.Empirical, times, nil), P90: stat.Quantile(0.9, stat.Empirical, times, nil), P99: stat.Quantile(0.99, stat.Empirical, times, nil), Runs: len(times)}, nil
}
