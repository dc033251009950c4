package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/report"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

// reportBuilder turns a status and its results into the report's data.
type reportBuilder struct {
	*Publication
	ctx      context.Context
	original *tflite.Model
	target   *target.Target // nil: none is named
	data     report.Data
}

func (b *reportBuilder) build() (*report.Data, error) {
	p := b.Pipeline
	b.data = report.Data{
		Pipeline: p.Name, Split: "validation", Verdict: verdictOf(p),
		Tool:    b.Tool,
		Model:   report.Input{URI: p.Spec.Model.URI},
		Dataset: report.Input{URI: p.Spec.Dataset.URI},
	}
	if base := p.Status.Baseline; base != nil {
		b.data.Model.Digest, b.data.Dataset.Digest = base.ModelDigest, base.DatasetDigest
	}
	for _, c := range p.Spec.Constraints {
		b.data.Constraints = append(b.data.Constraints, constraintOf(c))
	}
	var err error
	if b.target, err = Target(&p.Spec); err != nil {
		return nil, err
	}
	if b.target != nil {
		b.data.Device = &report.Device{Name: b.target.Name, Title: b.target.Title}
	}
	b.data.Units = map[measure.Name]string{}
	for i := range p.Spec.Measurements {
		for _, g := range p.Spec.Measurements[i].Gives() {
			b.data.Units[measure.Name(g.Name)] = g.Unit
		}
	}
	b.searched()
	for i := range p.Status.Stages {
		if p.Status.Stages[i].Name == walk.Publish { // makes the report itself
			continue
		}
		s, err := b.stage(&p.Status.Stages[i])
		if err != nil {
			return nil, err
		}
		b.data.Stages = append(b.data.Stages, s)
	}
	for i := range p.Spec.Measurements {
		m := &p.Spec.Measurements[i]
		note := fmt.Sprintf("%s: measured by %s", Given(m), strings.Join(m.Command, " "))
		if m.Image != "" {
			note += ", of image " + m.Image
		}
		b.data.Notes = append(b.data.Notes, note)
	}
	return &b.data, nil
}

// searched says what a search tried and why, and what it came to for each layer.
func (b *reportBuilder) searched() {
	if b.Searched == nil {
		return
	}
	minimized := b.Pipeline.Spec.Search.Minimize
	for _, c := range b.Pipeline.Spec.Constraints { // what is bounded where nothing is minimized
		if sizes := []v1alpha1.Metric{v1alpha1.CompressedBytes, v1alpha1.FlashBytes, v1alpha1.FileBytes, v1alpha1.ArenaBytes, v1alpha1.Multiplications}; minimized == "" && slices.Contains(sizes, c.Metric) {
			minimized = c.Metric
		}
	}
	minimized = cmp.Or(minimized, v1alpha1.CompressedBytes)
	b.data.Search = &report.Search{Metric: measure.Name(minimized), Tried: b.Searched.Tried(), Ended: b.Searched.Ended}
	for _, t := range b.Searched.Trials {
		b.data.Search.Trials = append(b.data.Search.Trials, report.Trial{Stage: t.Stage.Name, Why: t.Why})
		b.decide(t.Stage.Name, "tried", "it "+t.Why)
	}
	if b.Searched.Manifest == nil {
		return
	}
	for _, p := range search.Prices(b.Searched.Layers, b.Searched.Manifest.Spec.Stages) {
		b.data.Search.Prices = append(b.data.Search.Prices, report.Priced{Layer: p.Layer, Share: p.Share, Price: string(p.Entropy)})
	}
}

// verdictOf reads the outcome off the conditions.
func verdictOf(p *v1alpha1.OptimizationPipeline) report.Verdict {
	v := report.Verdict{Outcome: report.Unfinished}
	for _, c := range p.Status.Conditions {
		if c.Type != v1alpha1.ConditionReady {
			continue
		}
		v.Reason = c.Message
		switch {
		case p.Status.Selected != nil:
			v.Outcome, v.Stage = report.Met, p.Status.Selected.Stage
		case c.Reason == walk.ReasonStageFailed || c.Reason == walk.ReasonBaselineFailed:
			v.Outcome = report.Failed
		case c.Status == "False":
			v.Outcome = report.Missed
		}
	}
	return v
}

func constraintOf(c v1alpha1.Constraint) report.Constraint {
	out := report.Constraint{Metric: measure.Name(c.Metric)}
	if c.Min != nil {
		out.Min = string(*c.Min)
	}
	if c.Max != nil {
		out.Max = string(*c.Max)
	}
	if c.Confidence != nil {
		out.Confidence = string(*c.Confidence)
	}
	return out
}

// stage describes one stage; what it made is read from the store.
func (b *reportBuilder) stage(status *v1alpha1.StageStatus) (report.Stage, error) {
	s := report.Stage{Name: status.Name, Input: status.Input, State: report.State(status.State), Message: status.Message, Reused: status.Reused}
	s.Kind, s.Final = b.kind(status.Name)
	if status.Leaf == nil {
		b.decide(s.Name, string(status.State), status.Message)
		return s, nil
	}
	result, err := b.result(b.ctx, status)
	if err != nil {
		return s, err
	}
	s.Settings, s.Epochs, s.Rates = result.Settings, result.History, result.RangeTest
	if seconds, err := strconv.ParseFloat(result.Seconds, 64); err == nil {
		s.Seconds = int(seconds + 0.5)
	}
	notes := slices.Concat(result.Notes, result.doubts(b.Pipeline.Spec.Constraints))
	if s.Kind == report.Baseline {
		s.Metrics, b.data.Dataset.Facts, b.data.Notes = valuesOf(result.Float), result.Facts, notes
		if note := unbounded(&b.Pipeline.Spec, result.Boundable); note != "" {
			b.data.Notes = append(b.data.Notes, note)
		}
	} else {
		for _, note := range notes {
			b.decide(s.Name, "noted", note)
		}
	}
	if err := b.files(&s, status, result); err != nil {
		return s, err
	}
	b.judge(&s, status)
	return s, nil
}

// kind is a stage's technique, and whether it yields a leaf only.
func (b *reportBuilder) kind(name string) (kind string, final bool) {
	s := b.Pipeline.Spec.Stage(name)
	if s == nil {
		return report.Baseline, false
	}
	if searches(s) {
		return walk.Search, false
	}
	kind, _ = s.Technique()
	return kind, s.Final()
}

// files describes the stage's model and leaf, layer by layer.
func (b *reportBuilder) files(s *report.Stage, status *v1alpha1.StageStatus, result *Result) error {
	if result.Model != "" {
		model, size, err := b.read(result.Model)
		if err != nil {
			return err
		}
		if b.original == nil {
			b.original = model
		}
		if b.Models {
			s.Model = &report.File{Path: modelFile(s.Name), Digest: result.Model, Bytes: size}
		}
		if s.Layers, err = report.Layers(model, b.original); err != nil {
			return err
		}
	}
	leaf, size, err := b.read(result.Leaf)
	if err != nil {
		return err
	}
	runs, err := b.runs(result.Leaf)
	if err != nil {
		return err
	}
	s.Leaf = &report.Leaf{
		Technique: result.LeafKind, Metrics: valuesOf(status.Leaf.Metrics), Test: valuesOf(result.Test),
		Intervals: intervalsOf(b.Pipeline.Spec.Constraints, status.Leaf), TestIntervals: intervalsOf(b.Pipeline.Spec.Constraints, result.testStatus()), Samples: int(status.Leaf.Samples),
		Runs: runs, File: &report.File{Path: LeafFile(s.Name), Digest: result.Leaf, Bytes: size},
	}
	if s.Leaf.Layers, err = report.Layers(leaf, b.original); err != nil {
		return err
	}
	for i := range s.Leaf.Layers {
		s.Leaf.Layers[i].OutputSNR = result.outputSNR(s.Leaf.Layers[i].Output)
	}
	return nil
}

// runs says how many of a leaf's operators run on the target, "" without one.
func (b *reportBuilder) runs(digest string) (string, error) {
	if b.target == nil {
		return "", nil
	}
	content, err := b.Store.GetBlob(b.ctx, digest)
	if err != nil {
		return "", err
	}
	m, err := tflite.ReadStored(content)
	if err != nil {
		return "", err
	}
	report := target.Check(m, b.target)
	all := len(report.Operators)
	if b.target.Accelerator != nil {
		return fmt.Sprintf("%d of %d on %s", report.Count(target.OnAccelerator), all, b.target.Accelerator.Title), nil
	}
	return fmt.Sprintf("%d of %d", all-report.Count(target.Nowhere), all), nil
}

func (b *reportBuilder) read(digest string) (*tflite.Model, int, error) {
	content, err := b.Store.GetBlob(b.ctx, digest)
	if errors.Is(err, artifact.ErrNotFound) {
		return nil, 0, fmt.Errorf("%w: run the pipeline again", err)
	}
	if err != nil {
		return nil, 0, err
	}
	m, err := tflite.Read(content)
	return m, len(content), err
}

// judge states which constraints the leaf misses.
func (b *reportBuilder) judge(s *report.Stage, status *v1alpha1.StageStatus) {
	text := ""
	for _, missed := range walk.Judge(b.Pipeline.Spec.Constraints, status.Leaf) {
		s.Leaf.Missed = append(s.Leaf.Missed, report.Shortfall{Constraint: constraintOf(missed.Constraint), Value: missed.Value, End: missed.End, Text: missed.String()})
		if text != "" {
			text += "; "
		}
		text += missed.String()
	}
	if selected := b.Pipeline.Status.Selected; selected != nil && selected.Stage == s.Name {
		s.Leaf.Selected = true
		b.decide(s.Name, "leaf selected", b.data.Verdict.Reason)
		return
	}
	if text != "" {
		b.decide(s.Name, "leaf rejected", text)
	}
}

func (b *reportBuilder) decide(name, action, reason string) {
	b.data.Decisions = append(b.data.Decisions, report.Decision{Stage: name, Action: action, Reason: reason})
}

func valuesOf(metrics []v1alpha1.MetricValue) []measure.Value {
	var out []measure.Value
	for _, m := range metrics {
		out = append(out, measure.Value{Name: measure.Name(m.Name), Value: m.Value})
	}
	return out
}

func intervalsOf(constraints []v1alpha1.Constraint, leaf *v1alpha1.Leaf) []report.Interval {
	var out []report.Interval
	for _, in := range walk.Intervals(constraints, leaf) {
		out = append(out, report.Interval{Metric: measure.Name(in.Name), Low: in.Low, High: in.High, Confidence: in.Confidence})
	}
	return out
}
