package profile

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pprofile "github.com/google/pprof/profile"
)

func TestPlace(t *testing.T) {
	const own = "espalier.dev/espalier/optimizer/"
	tests := map[string]struct {
		stack []string
		want  Share
	}{
		"a kernel's assembly is the kernel": {
			[]string{own + "kernel/internal/simd.gemmAVX512", own + "kernel.Gemm", own + "graph.(*conv).forward", own + "graph.(*Exec).Forward", "runtime.goexit"},
			Share{Kernel: "Gemm", Phase: "forward"},
		},
		"a kernel inside another is the outer one": {
			[]string{own + "kernel.(*Int8Dense).Run", own + "kernel.(*Int8Conv).Run", own + "integer.(*convProduct).run"},
			Share{Kernel: "Int8Conv"},
		},
		"copying by the runtime belongs to who asked": {
			[]string{"runtime.memmove", own + "graph.(*concat).backward", own + "graph.(*Exec).Backward"},
			Share{Kernel: "graph", Phase: "backward"},
		},
		"a step that is no pass updates": {
			[]string{own + "kernel.AdamStep", own + "train.(*parameter).update", own + "train.(*Trainer).runStep"},
			Share{Kernel: "AdamStep", Phase: "update"},
		},
		"nobody's": {[]string{"runtime.gcBgMarkWorker"}, Share{Kernel: "Go runtime"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, place(tt.stack)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSharesAddUpToOneAndSayHowBusy(t *testing.T) {
	sample := func(ns int64, name string) *pprofile.Sample {
		f := &pprofile.Function{Name: name}
		return &pprofile.Sample{Value: []int64{1, ns}, Location: []*pprofile.Location{{Line: []pprofile.Line{{Function: f}}}}}
	}
	p := &pprofile.Profile{Sample: []*pprofile.Sample{
		sample(3e9, "espalier.dev/espalier/optimizer/kernel.Gemm"), sample(1e9, "runtime.futex"), sample(2e9, "espalier.dev/espalier/optimizer/kernel.Gemm"),
	}}
	want := Shares{Elapsed: 4 * time.Second, Busy: 1.5, Kernels: []Share{{Kernel: "Gemm", Part: 5.0 / 6}, {Kernel: "Go runtime", Part: 1.0 / 6}}}
	if diff := cmp.Diff(want, sharesOf(p, 4*time.Second)); diff != "" {
		t.Error(diff)
	}
}

func TestOfPassesErrorsOnAndCanRunAgain(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Of(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	sink := 0.0
	shares, err := Of(func() error {
		for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
			sink += math.Sqrt(sink + 1)
		}
		return nil
	})
	if err != nil || len(shares.Kernels) == 0 || shares.Busy <= 0 {
		t.Errorf("%+v, %v", shares, err)
	}
}
