package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/train"
)

// view shows a run: progress on standard error (bars on a terminal, a line an epoch otherwise), a row of the table on standard output
// as each leaf appears.
type view struct {
	streams *ioStreams
	spec    *v1alpha1.OptimizationPipelineSpec
	bars    *mpb.Progress

	mutex   sync.Mutex // guards active
	active  map[string]*activity
	headed  bool
	names   int // columns of leaves' names
	columns []column
	fit     []bool // columns that the terminal has room for; the others' figures stand below the row
}

// activity is a stage under way. Its text is read by the goroutine that draws bars, which must never wait for the view's lock.
type activity struct {
	bar     *mpb.Bar
	text    atomic.Value // string
	epoch   int
	resumed bool // and it was said
	found   bool // a learning rate, and it was said
	layers  int  // reconstructed, and it was said: who looks for channels does it again for every choice
}

func newView(streams *ioStreams, spec *v1alpha1.OptimizationPipelineSpec) *view {
	v := &view{streams: streams, spec: spec, active: map[string]*activity{}, names: 14,
		columns: slices.Clone(columns)}
	if !narrows(spec) {
		v.columns = slices.DeleteFunc(v.columns, func(c column) bool { return c.metric == string(v1alpha1.Multiplications) })
	}
	if spec.Target == (v1alpha1.Target{}) && !asks(spec, v1alpha1.ArenaBytes) { // the arena is LiteRT's
		v.columns = slices.DeleteFunc(v.columns, func(c column) bool { return c.metric == string(v1alpha1.ArenaBytes) })
	}
	for i := range spec.Measurements {
		for _, g := range spec.Measurements[i].Gives() {
			v.columns = append(v.columns, column{strings.ToUpper(g.Name), g.Name, max(9, len(g.Name)+1)})
		}
	}
	for i := range spec.Stages {
		v.names = max(v.names, utf8.RuneCountInString(spec.Stages[i].Name)+1)
	}
	if streams.terminal {
		v.bars = mpb.New(mpb.WithOutput(streams.Err), mpb.WithWidth(40), mpb.WithRefreshRate(150*time.Millisecond))
	}
	return v
}

// narrows reports whether the multiplications of a pipeline's leaves may differ, or matter.
func narrows(spec *v1alpha1.OptimizationPipelineSpec) bool {
	return spec.Search != nil && spec.Search.Minimize != v1alpha1.CompressedBytes || asks(spec, v1alpha1.Multiplications) ||
		slices.ContainsFunc(spec.Stages, func(s v1alpha1.Stage) bool {
			return s.Prune != nil && s.Prune.Structure == v1alpha1.PruneChannels
		})
}

// asks reports whether leaves are chosen by a metric.
func asks(spec *v1alpha1.OptimizationPipelineSpec, m v1alpha1.Metric) bool {
	return spec.Search != nil && spec.Search.Minimize == m || spec.Selection.Objective == m ||
		slices.ContainsFunc(spec.Constraints, func(c v1alpha1.Constraint) bool { return c.Metric == m })
}

// inputs says what was read and decided before the first stage, warnings of stages to come at last.
func (v *view) inputs(p *v1alpha1.OptimizationPipeline, prepared *stage.Prepared, warnings []string) {
	v.Say("model    %s (%s)", p.Spec.Model.URI, prepared.ModelDigest[:19])
	v.Say("dataset  %s: %d training, %d validation, %d test samples", p.Spec.Dataset.URI, prepared.Data.Train.Len(), prepared.Deciding().Len(), prepared.Data.Test.Len())
	if t, err := stage.Target(&p.Spec); err == nil && t != nil {
		v.Say("target   %s: %s", t.Name, t.Title)
	}
	for i := range prepared.Outputs {
		v.Say("output   %s", &prepared.Outputs[i])
	}
	for i := range p.Spec.Measurements {
		m := &p.Spec.Measurements[i]
		v.Say("measure  %s: %s", stage.Given(m), strings.Join(m.Command, " "))
	}
	notes := slices.Concat(prepared.Network.Notes(), prepared.Data.Notes)
	for _, note := range []string{prepared.Guess(), prepared.Known(), prepared.Unbounded(&p.Spec)} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	for _, note := range append(notes, warnings...) {
		v.Say("note     %s", note)
	}
}

// Say writes a line to standard error, above the bars.
func (v *view) Say(format string, args ...any) {
	if v.bars != nil {
		if _, err := fmt.Fprint(v.bars, flowed(v.streams.text(format, args...), v.streams.widthErr)); err == nil { // they are not closed yet
			return
		}
	}
	v.streams.tell(format, args...)
}

// print writes to standard output; above the bars where both are the terminal.
func (v *view) print(text string) {
	if v.bars != nil && v.streams.terminalOut {
		fmt.Fprint(v.bars, text)
		return
	}
	fmt.Fprint(v.streams.Out, text)
}

// Begin shows a stage that started.
func (v *view) Begin(name string) {
	a := &activity{epoch: -1}
	a.text.Store("starting")
	if v.bars != nil {
		a.bar = v.bars.AddBar(0, // the total is known with the first progress
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WC{W: 14, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + a.text.Load().(string) })))
	} else {
		v.Say("%-12s started", name)
	}
	v.mutex.Lock()
	v.active[name] = a
	v.mutex.Unlock()
}

// count shows how much of a stage's preparation is done; without a bar it reports whether all is, for a line of its own.
func (a *activity) count(what string, done, of int) bool {
	if a.bar == nil {
		return done == of
	}
	a.text.Store(fmt.Sprintf("%s %d/%d", what, done, of))
	a.bar.SetTotal(int64(of)+1, false)
	a.bar.SetCurrent(int64(done))
	return false
}

// progress is told of a stage's training.
func (v *view) progress(name string, p train.Progress) {
	v.mutex.Lock()
	a := v.active[name]
	v.mutex.Unlock()
	if a == nil {
		return
	}
	if p.Resumed > 0 && !a.resumed {
		a.resumed = true
		v.Say("%-12s resumed at step %d of %d", name, p.Resumed, p.Steps)
	}
	if p.Layers > 0 {
		if a.count("reconstructed layer", p.Layer, p.Layers) && a.layers != p.Layers {
			a.layers = p.Layers
			layers := "layers"
			if p.Layers == 1 {
				layers = "layer"
			}
			v.Say("%-12s reconstructed %d %s", name, p.Layers, layers)
		}
		return
	}
	if p.Ranges > 0 {
		if a.count("searched range", p.Range, p.Ranges) {
			v.Say("%-12s searched %d ranges", name, p.Ranges)
		}
		return
	}
	if p.Finding {
		if a.bar != nil {
			a.text.Store(fmt.Sprintf("trying learning rate %g", p.Rate))
		}
		return
	}
	if p.Test != nil && !a.found {
		a.found = true
		v.Say("%-12s learning rate %.3g, found by %d trials in %.1f s", name, p.Test.Rate, len(p.Test.Trials), p.Test.Seconds)
	}
	if a.bar != nil {
		a.text.Store(fmt.Sprintf("epoch %d/%d%s  %s left", min(p.Epoch+1, p.Epochs), p.Epochs, figures(p), p.Remaining.Round(time.Second)))
		a.bar.SetTotal(int64(max(p.Steps, 1))+1, false)
		a.bar.SetCurrent(int64(p.Step))
		return
	}
	if p.Epoch > max(a.epoch, 0) {
		a.epoch = p.Epoch
		v.Say("%-12s epoch %d/%d%s", name, p.Epoch, p.Epochs, figures(p))
	}
}

// figures are the numbers of a line of progress.
func figures(p train.Progress) string {
	text := fmt.Sprintf("  loss %.4f", p.Loss)
	if p.Accuracy >= 0 {
		text += fmt.Sprintf("  accuracy %.4f", p.Accuracy)
	}
	if p.Validation != nil && p.Validation.Accuracy >= 0 {
		text += fmt.Sprintf("  validation %.4f", p.Validation.Accuracy)
	}
	return text + fmt.Sprintf("  %.0f samples/s", p.SamplesPerSecond)
}

// End removes a stage's progress.
func (v *view) End(name string) {
	v.mutex.Lock()
	a := v.active[name]
	delete(v.active, name)
	v.mutex.Unlock()
	if a != nil && a.bar != nil {
		a.bar.Abort(true)
		a.bar.Wait()
	}
}

// column of the table of leaves.
type column struct {
	title, metric string
	width         int
}

// columns of the table of leaves, before those of measurements; those that nothing was measured for are left out.
var columns = []column{
	{"ACCURACY", "Accuracy", 9}, {"DROP", "AccuracyDrop", 9}, {"AUC", "AUC", 9}, {"MEANIOU", "MeanIoU", 9}, {"F1", "F1", 9}, {"MSE", "MeanSquaredError", 9}, {"RELERROR", "RelativeError", 9}, {"AGREEMENT", "Agreement", 10}, {"COMPRESSED", "CompressedBytes", 11}, {"FILE", "FileBytes", 9}, {"FLASH", "FlashBytes", 9}, {"ARENA", "ArenaBytes", 9},
	{"ZEROS", "Sparsity", 9}, {"CODES", "Clusters", 6}, {"MULTS", "Multiplications", 10}, {"µs", "LatencyMicros", 8},
}

// Leaf prints the row of a stage that is done.
func (v *view) Leaf(name string, r *stage.Result, reused bool) {
	v.End(name)
	var line strings.Builder
	if !v.headed {
		v.headed = true
		var later []column
		fmt.Fprintf(&line, "%-*s", v.names, "LEAF")
		v.columns = slices.DeleteFunc(v.columns, func(c column) bool {
			m := v1alpha1.Metric(c.metric)
			if walk.Value(r.Metrics, m) != "" {
				return false
			}
			if m.Measured() { // what is null of this leaf may be a number of the next, and stands below it
				later = append(later, c)
			}
			return true
		})
		widths := make([]int, len(v.columns))
		for i, c := range v.columns {
			widths[i] = c.width + 1
		}
		v.fit = append(fits(v.names, widths, v.streams.width), make([]bool, len(later))...)
		v.columns = append(v.columns, later...)
		used := v.names
		for i, c := range v.columns {
			if v.fit[i] {
				used += c.width + 1
				fmt.Fprintf(&line, "%*s", c.width+1, c.title)
			}
		}
		if verdict := "  VERDICT"; v.streams.width == 0 || used+len(verdict) <= v.streams.width {
			line.WriteString(verdict)
		}
		line.WriteString("\n")
		if r.Float != nil {
			v.row(&line, "(original)", r.Float)
			line.WriteString("\n" + v.under(r.Float) + v.indented(others(r.Float)))
		}
	}
	var figures strings.Builder
	v.row(&figures, name, r.Metrics)
	verdict := "meets all constraints"
	if missed := walk.Judge(v.spec.Constraints, r.Status()); len(missed) > 0 {
		parts := make([]string, len(missed))
		for i, s := range missed {
			parts[i] = s.String()
		}
		verdict = strings.Join(parts, "; ")
	} else if len(v.spec.Constraints) == 0 {
		verdict = "no constraints"
	}
	if reused {
		verdict += " (reused)"
	}
	line.WriteString(beside(figures.String(), verdict, v.streams.width))
	line.WriteString(v.under(r.Metrics))
	line.WriteString(v.indented(sureness(v.spec.Constraints, r.Status())))
	line.WriteString(v.indented(others(r.Metrics)))
	v.print(line.String())
}

// sureness is a line of the intervals of a leaf's metrics, "" without any.
func sureness(constraints []v1alpha1.Constraint, leaf *v1alpha1.Leaf) string {
	var parts []string
	confidence := ""
	for _, in := range walk.Intervals(constraints, leaf) {
		part := fmt.Sprintf("%s %s to %s", in.Name, in.Low, in.High)
		if in.Confidence != confidence {
			confidence = in.Confidence
			part = fmt.Sprintf("with confidence %s %s", confidence, part)
		}
		parts = append(parts, part)
	}
	if parts == nil {
		return ""
	}
	return fmt.Sprintf("%s (%d samples)", strings.Join(parts, ", "), leaf.Samples)
}

// others is a line of the metrics of outputs that are not the main one.
func others(metrics []v1alpha1.MetricValue) string {
	var parts []string
	for _, m := range metrics {
		if metric, output, ok := strings.Cut(m.Name, "/"); ok {
			parts = append(parts, fmt.Sprintf("%s %s %s", output, metric, m.Value))
		}
	}
	if parts == nil {
		return ""
	}
	return strings.Join(parts, ", ")
}

// under are the figures that the terminal has no room for in a row, "" without any.
func (v *view) under(metrics []v1alpha1.MetricValue) string {
	var parts []string
	for i, c := range v.columns {
		if value := shown(metrics, c.metric); !v.fit[i] && value != "-" {
			parts = append(parts, c.title+" "+value)
		}
	}
	return v.indented(strings.Join(parts, ", "))
}

// indented are the lines of a text below a row; "" is none.
func (v *view) indented(text string) string {
	if text == "" {
		return ""
	}
	return wrapped(text, v.streams.width)
}

func (v *view) row(line *strings.Builder, name string, metrics []v1alpha1.MetricValue) {
	fmt.Fprintf(line, "%-*s", v.names, name)
	for i, c := range v.columns {
		if v.fit[i] {
			fmt.Fprintf(line, "%*s", c.width+1, shown(metrics, c.metric))
		}
	}
}

// shown is a metric's value for the table.
func shown(metrics []v1alpha1.MetricValue, metric string) string {
	switch value := walk.Value(metrics, v1alpha1.Metric(metric)); {
	case value == "":
		return "-"
	case metric == "LatencyMicros":
		return rounded(value, 1)
	default:
		return rounded(value, 7)
	}
}

// rounded cuts the decimals of a number to those that fit room characters, rounding the last. A whole number stays as long as it is.
func rounded(value string, room int) string {
	whole, decimals, found := strings.Cut(value, ".")
	x, err := strconv.ParseFloat(value, 64)
	if !found || err != nil || len(value) <= room {
		return value
	}
	if strings.Contains(value, "e") {
		return strconv.FormatFloat(x, 'g', max(1, room-3), 64)
	}
	return strconv.FormatFloat(x, 'f', min(len(decimals), max(0, room-len(whole)-1)), 64)
}

// beside puts text behind a row, or below it in lines of its own where a terminal of width columns has no room there; 0: it has.
func beside(row, text string, width int) string {
	if line := row + "  " + text; width == 0 || utf8.RuneCountInString(line) <= width {
		return line + "\n"
	}
	return row + "\n" + wrapped(text, width)
}

// Failed says why a stage has no leaf.
func (v *view) Failed(name string, err error) {
	v.End(name)
	v.Say("%-12s failed: %s", name, fault.Line(err))
}

// close ends the bars. What was written above them is on the terminal once they are drawn anew, so one more is.
func (v *view) close() {
	if v.bars == nil {
		return
	}
	v.mutex.Lock()
	for _, a := range v.active {
		a.bar.Abort(true)
	}
	v.mutex.Unlock()
	v.bars.New(1, mpb.NopStyle(), mpb.BarRemoveOnComplete()).Increment()
	v.bars.Wait()
}

// conclude says what was decided and where it lies.
func (v *view) conclude(d walk.Decision, out string, searched *stage.Searched) {
	fmt.Fprintln(v.streams.Out)
	v.streams.say("%s", d.Message)
	if d.Selected != "" {
		fmt.Fprintf(v.streams.Out, "leaf:   %s/leaves/%s.tflite\n", strings.TrimSuffix(out, "/"), d.Selected)
	}
	switch {
	case searched == nil:
	case searched.Manifest != nil:
		fmt.Fprintf(v.streams.Out, "stages: %s/%s\n", strings.TrimSuffix(out, "/"), stage.FoundFile)
	case d.Selected == walk.Baseline:
		fmt.Fprintf(v.streams.Out, "stages: none, so no %s: the baseline, plain int8, is the leaf\n", stage.FoundFile)
	}
	fmt.Fprintf(v.streams.Out, "report: %s/report.html\n", strings.TrimSuffix(out, "/"))
}
