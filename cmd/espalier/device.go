package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

// deviceFigures are what a device makes of a model.
type deviceFigures struct {
	Runs        bool                   `json:"runs"`
	Operators   int                    `json:"operators"`
	Refused     []string               `json:"refused,omitempty"`     // operators that run nowhere, each once
	Accelerated int                    `json:"accelerated,omitempty"` // operators on the accelerator
	ArenaBytes  int                    `json:"arenaBytes,omitempty"`  // 0: not known, or it does not run
	FlashBytes  int                    `json:"flashBytes,omitempty"`  // 0: the runtime does not read the file where it lies
	Measured    []v1alpha1.MetricValue `json:"measured,omitempty"`    // what the pipeline's measurements gave, of a leaf of it
}

// figuresOn says what a device makes of a model. p is the pipeline that may have made it, or nil.
func figuresOn(content []byte, t *target.Target, p *v1alpha1.OptimizationPipeline) (*deviceFigures, error) {
	m, err := tflite.ReadStored(content)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	asLeaf(m)
	report := target.Check(m, t)
	f := &deviceFigures{Runs: report.Runs, Operators: len(report.Operators), Accelerated: report.Count(target.OnAccelerator), Measured: measuredOf(content, p)}
	for _, o := range report.Refused() {
		if !slices.Contains(f.Refused, o.Name) {
			f.Refused = append(f.Refused, o.Name)
		}
	}
	if t.ReadsFromFlash() {
		f.FlashBytes = len(content)
	}
	if !f.Runs || !t.PlansGreedily() {
		return f, nil
	}
	memory, err := target.MemoryOf(m, t)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	f.ArenaBytes = memory.Bytes
	return f, nil
}

// measuredOf are the values that a pipeline's measurements gave of a leaf of it, nil of any other file.
func measuredOf(content []byte, p *v1alpha1.OptimizationPipeline) []v1alpha1.MetricValue {
	if p == nil {
		return nil
	}
	made := madeBy(p, content)
	if made == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(made.Leaf.Metrics), func(m v1alpha1.MetricValue) bool { return !v1alpha1.Metric(m.Name).Measured() })
}

// madeBy is the stage of a pipeline that made a leaf, nil where none did.
func madeBy(p *v1alpha1.OptimizationPipeline, leaf []byte) *v1alpha1.StageStatus {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(leaf))
	at := slices.IndexFunc(p.Status.Stages, func(s v1alpha1.StageStatus) bool { return s.Leaf != nil && s.Leaf.Digest == digest })
	if at < 0 {
		return nil
	}
	return &p.Status.Stages[at]
}

// rows are the figures' names and texts, in order; what is not known has no row.
func (f *deviceFigures) rows(t *target.Target) [][2]string {
	runs := "yes"
	if !f.Runs {
		runs = "no: " + strings.Join(f.Refused, ", ")
	}
	out := [][2]string{{"runs there", runs}}
	add := func(name string, value int) {
		if value > 0 {
			out = append(out, [2]string{name, fmt.Sprint(value)})
		}
	}
	if t.Accelerator != nil {
		out = append(out, [2]string{"on " + t.Accelerator.Title, fmt.Sprintf("%d of %d operators", f.Accelerated, f.Operators)})
	}
	add(string(measure.ArenaBytes), f.ArenaBytes)
	add(string(measure.FlashBytes), f.FlashBytes)
	for _, m := range f.Measured {
		out = append(out, [2]string{m.Name, m.Value})
	}
	return out
}

// targetFigures are what a device makes of two models.
type targetFigures struct {
	Name string         `json:"name"`
	A    *deviceFigures `json:"a"`
	B    *deviceFigures `json:"b"`

	target *target.Target
}

// figures says what a device makes of two models; nil without one.
func (f *dataFlags) figures(t *target.Target, a, b []byte) (*targetFigures, error) {
	if t == nil {
		return nil, nil
	}
	p, err := f.asked()
	if err != nil {
		return nil, err
	}
	out := &targetFigures{Name: t.Name, target: t}
	if out.A, err = figuresOn(a, t, p); err != nil {
		return nil, err
	}
	out.B, err = figuresOn(b, t, p)
	return out, err
}

// show writes the figures of both models beside each other.
func (f *targetFigures) show(streams *ioStreams) error {
	left, right := f.A.rows(f.target), f.B.rows(f.target)
	text := func(rows [][2]string, name string) string {
		if i := slices.IndexFunc(rows, func(r [2]string) bool { return r[0] == name }); i >= 0 {
			return rows[i][1]
		}
		return "-"
	}
	fmt.Fprintln(streams.Out)
	return table(streams, strings.ToUpper(f.Name)+"\tA\tB", func(w io.Writer) {
		var shown []string
		for _, r := range slices.Concat(left, right) {
			if !slices.Contains(shown, r[0]) {
				shown = append(shown, r[0])
				fmt.Fprintf(w, "%s\t%s\t%s\n", r[0], text(left, r[0]), text(right, r[0]))
			}
		}
	})
}
