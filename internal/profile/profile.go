// Package profile says where a computation's processor time went, by kernel, from Go's own sampling profiler.
package profile

import (
	"bytes"
	"cmp"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	pprofile "github.com/google/pprof/profile"
)

// Shares is where processor time went.
type Shares struct {
	Kernels []Share       // largest first; they add up to 1
	Busy    float64       // cores busy on average
	Elapsed time.Duration // wall time
}

// Share is the part of processor time that one kernel took in one phase.
type Share struct {
	Kernel string  `json:"kernel"`          // "Gemm", or the package whose own code it is: "graph"
	Phase  string  `json:"phase,omitempty"` // "forward", "backward", "weights", "update" or none
	Part   float64 `json:"part"`            // of all samples, 0 to 1
}

// Of runs f and samples where it spends its time, a hundred times a second on every core. Only one profile can be made at a time.
func Of(f func() error) (Shares, error) {
	var raw bytes.Buffer
	if err := pprof.StartCPUProfile(&raw); err != nil {
		return Shares{}, fmt.Errorf("profiling: %w", err)
	}
	start := time.Now()
	err := f()
	elapsed := time.Since(start)
	pprof.StopCPUProfile()
	if err != nil {
		return Shares{}, err
	}
	p, err := pprofile.ParseData(raw.Bytes())
	if err != nil {
		return Shares{}, fmt.Errorf("profiling: %w", err)
	}
	return sharesOf(p, elapsed), nil
}

func sharesOf(p *pprofile.Profile, elapsed time.Duration) Shares {
	times := map[Share]int64{}
	total := int64(0) // nanoseconds
	for _, s := range p.Sample {
		at := place(frames(s))
		spent := s.Value[len(s.Value)-1]
		times[at] += spent
		total += spent
	}
	out := Shares{Elapsed: elapsed}
	if elapsed > 0 {
		out.Busy = float64(total) / float64(elapsed)
	}
	for share, spent := range times {
		share.Part = float64(spent) / float64(total)
		out.Kernels = append(out.Kernels, share)
	}
	slices.SortFunc(out.Kernels, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Part, a.Part), cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(a.Phase, b.Phase))
	})
	return out
}

// frames are the names of a sample's functions, innermost first.
func frames(s *pprofile.Sample) []string {
	var out []string
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function != nil {
				out = append(out, line.Function.Name)
			}
		}
	}
	return out
}

const (
	module  = "espalier.dev/espalier/"
	kernels = module + "optimizer/kernel."
)

// phases are the functions that a phase of a training step is inside of.
var phases = []struct{ function, phase string }{
	{"optimizer/graph.(*Exec).Forward", "forward"},
	{"optimizer/graph.(*Exec).Backward", "backward"},
	{"optimizer/train.(*Trainer).refresh", "weights"},
	{"optimizer/train.(*Trainer).reduce", "reduce"},
	{"optimizer/train.(*Trainer).runStep", "update"},
}

// place names the kernel a stack is in: the outermost function of package kernel, else the innermost package of ours, else the runtime.
func place(stack []string) Share {
	at := Share{Kernel: "Go runtime"}
	for _, name := range slices.Backward(stack) {
		if kernel, ok := strings.CutPrefix(name, kernels); ok {
			at.Kernel = receiver(kernel)
			break
		}
		if own, ok := strings.CutPrefix(name, module); ok {
			at.Kernel = packageOf(own)
		}
	}
	for _, p := range phases {
		if slices.ContainsFunc(stack, func(name string) bool { return strings.HasPrefix(name, module+p.function) }) {
			at.Phase = p.phase
			break
		}
	}
	return at
}

// receiver turns "(*Int8Conv).Run" into "Int8Conv" and leaves "Gemm" alone.
func receiver(name string) string {
	name = strings.TrimPrefix(name, "(*")
	if i := strings.IndexAny(name, ")."); i >= 0 {
		return name[:i]
	}
	return name
}

// packageOf turns "optimizer/graph.(*conv).forward" into "graph".
func packageOf(name string) string {
	path, _, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ".")
	return path
}
