package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

// deviceFigures are what a device makes of a model.
type deviceFigures struct {
	Runs        bool     `json:"runs"`
	Operators   int      `json:"operators"`
	Refused     []string `json:"refused,omitempty"`     // operators that run nowhere, each once
	Accelerated int      `json:"accelerated,omitempty"` // operators on the accelerator
	ArenaBytes  int      `json:"arenaBytes,omitempty"`  // 0: not known, or it does not run
	FlashBytes  int      `json:"flashBytes,omitempty"`  // 0: the runtime does not read the file where it lies
}

// figuresOn says what a device makes of a model.
func figuresOn(content []byte, t *target.Target) (*deviceFigures, error) {
	m, err := tflite.ReadStored(content)
	if err != nil {
		return nil, fault.As(fault.Model, err)
	}
	asLeaf(m)
	report := target.Check(m, t)
	f := &deviceFigures{Runs: report.Runs, Operators: len(report.Operators), Accelerated: report.Count(target.OnAccelerator)}
	for _, o := range report.Refused() {
		if !slices.Contains(f.Refused, o.Name) {
			f.Refused = append(f.Refused, o.Name)
		}
	}
	if f.Runs && t.ReadsFromFlash() {
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

// given is what a pipeline's measurement gave of a leaf: null where it has no such value.
type given struct {
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// measuredOf is what a pipeline's measurements gave of a leaf of it, nil of any other file.
func measuredOf(content []byte, p *v1alpha1.OptimizationPipeline) (values []given) {
	made := madeBy(p, content)
	if made == nil {
		return nil
	}
	for i := range p.Spec.Measurements {
		for _, g := range p.Spec.Measurements[i].Gives() {
			m := given{Name: g.Name}
			if value := walk.Value(made.Leaf.Metrics, v1alpha1.Metric(g.Name)); value != "" {
				m.Value = &value
			}
			values = append(values, m)
		}
	}
	return values
}

func (m given) String() string {
	if m.Value == nil {
		return "null"
	}
	return *m.Value
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
	return out
}

// targetFigures are what a device makes of two models, A and B.
type targetFigures struct {
	Name string         `json:"name"`
	A    *deviceFigures `json:"a"`
	B    *deviceFigures `json:"b"`

	target *target.Target
}

// compareOn says what a device makes of two models; nil without one.
func compareOn(t *target.Target, a, b []byte) (out *targetFigures, err error) {
	if t == nil {
		return nil, nil
	}
	out = &targetFigures{Name: t.Name, target: t}
	if out.A, err = figuresOn(a, t); err != nil {
		return nil, err
	}
	out.B, err = figuresOn(b, t)
	return out, err
}

// measurements are what a pipeline's measurements gave of two models, A and B, which are leaves of it or not.
type measurements struct {
	A []given `json:"a,omitempty"`
	B []given `json:"b,omitempty"`
}

// measurements is what the measurements of the pipeline that is asked gave of two models; nil where it made neither, or has none.
func (f *dataFlags) measurements(a, b []byte) (*measurements, error) {
	p, err := f.asked()
	if p == nil || err != nil {
		return nil, err
	}
	out := &measurements{A: measuredOf(a, p), B: measuredOf(b, p)}
	if out.A == nil && out.B == nil {
		return nil, nil
	}
	return out, nil
}

// show writes what both models gave beside each other.
func (m *measurements) show(streams *ioStreams) error {
	rows := func(values []given) (rows [][2]string) {
		for _, v := range values {
			rows = append(rows, [2]string{v.Name, v.String()})
		}
		return rows
	}
	return showPairs(streams, "MEASUREMENT", rows(m.A), rows(m.B))
}

// show writes the figures of both models beside each other.
func (f *targetFigures) show(streams *ioStreams) error {
	return showPairs(streams, strings.ToUpper(f.Name), f.A.rows(f.target), f.B.rows(f.target))
}

// showPairs writes names and texts of models A and B beside each other below a title; - where one has none.
func showPairs(streams *ioStreams, title string, left, right [][2]string) error {
	text := func(rows [][2]string, name string) string {
		if i := slices.IndexFunc(rows, func(r [2]string) bool { return r[0] == name }); i >= 0 {
			return rows[i][1]
		}
		return "-"
	}
	fmt.Fprintln(streams.Out)
	return table(streams, title+"\tA\tB", func(w io.Writer) {
		var shown []string
		for _, r := range slices.Concat(left, right) {
			if !slices.Contains(shown, r[0]) {
				shown = append(shown, r[0])
				fmt.Fprintf(w, "%s\t%s\t%s\n", r[0], text(left, r[0]), text(right, r[0]))
			}
		}
	})
}
