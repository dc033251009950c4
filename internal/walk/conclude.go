package walk

import (
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
)

// advice says what to try when a constraint is missed that is not on answers.
var advice = map[v1alpha1.Metric]string{
	v1alpha1.Sparsity:        "raise the sparsity of the prune stage",
	v1alpha1.Clusters:        "lower clusters, or put a cluster stage before the quantize stage",
	v1alpha1.FileBytes:       "only a smaller network takes fewer bytes uncompressed: prune.structure Channels makes it so; or, for a target with TFLM, weights that are encoded (leaf.encode: Auto)",
	v1alpha1.FlashBytes:      "have weights encoded (leaf.encode: Auto), with more sparsity or fewer clusters; else only a smaller network takes less",
	v1alpha1.CompressedBytes: "try more sparsity, fewer clusters or a higher entropy weight",
	v1alpha1.ArenaBytes:      "only a network with smaller activations needs less arena: prune.structure Channels makes it so",
	v1alpha1.Multiplications: "only fewer channels take fewer multiplications: prune.structure Channels makes it so",
	v1alpha1.LatencyMicros:   "only a smaller network, or a faster node, is quicker: prune.structure Channels makes it so",
}

// unmeasured says what a metric that could not be measured needs.
var unmeasured = map[v1alpha1.Metric]string{
	v1alpha1.Accuracy:         "it needs labels of classes; without them take {metric: Agreement, min: 0.97} or, of numbers, {metric: RelativeError, max: 0.1}",
	v1alpha1.AccuracyDrop:     "it needs labels of classes; without them take {metric: Agreement, min: 0.97} or, of numbers, {metric: RelativeError, max: 0.1}",
	v1alpha1.Agreement:        "it needs an output that chooses classes or is an embedding; RelativeError is of numbers",
	v1alpha1.AUC:              "it needs labels of two classes, both among the samples that decide",
	v1alpha1.MeanIoU:          "it needs an output that chooses a class at every position, and labels of them",
	v1alpha1.F1:               "it needs an output that says yes or no of several labels, and the labels",
	v1alpha1.MeanSquaredError: "it needs numbers to predict, dataset.target Values, or a network that gives its input again",
	v1alpha1.RelativeError:    "it needs an output of numbers or an embedding",
}

// encodedAdvice is advice on a leaf whose weights are encoded.
var encodedAdvice = map[v1alpha1.Metric]string{
	v1alpha1.FileBytes:  "its weights are encoded, and take less with more sparsity or fewer clusters; else only a smaller network does: prune.structure Channels makes it so",
	v1alpha1.FlashBytes: "its weights are encoded, and take less with more sparsity or fewer clusters; else only a smaller network does: prune.structure Channels makes it so",
	v1alpha1.ArenaBytes: "weights that are not encoded (leaf.encode: None) need less of it; else only a network with smaller activations does: prune.structure Channels makes it so",
}

// settings are those of a leaf that missed a constraint, as far as advice depends on them.
type settings struct {
	searched bool // a search chose the stages
	leaf     v1alpha1.LeafOptions
	encoded  bool   // its weights are encoded
	narrowed string // how more channels are cut, where some were
	others   *cuts  // a stage beside the leaf's line that cuts channels, where the line does not; nil: none
	branched string // how more time is saved than by channels, where branches of residual additions could go first
	dense    bool   // channels were cut, and no zeros made
	nearer   []string
	training string // what lets a search train more
	limit    string // the bound that ended a search and may be higher; "": none
}

// cuts is a stage that cuts channels, and how its leaf fell short.
type cuts struct {
	stage, more, fewer string
	missed             []Shortfall
}

// cutsChannels reports whether a stage does.
func cutsChannels(s *v1alpha1.Stage) bool {
	return s.Prune != nil && s.Prune.Structure == v1alpha1.PruneChannels
}

// otherCuts is the first stage with a verdict that cuts channels, nil where none is.
func (w *walk) otherCuts() *cuts {
	for i := range w.spec.Stages {
		s := &w.spec.Stages[i]
		missed, known := w.d.Verdicts[s.Name]
		switch {
		case !known || !cutsChannels(s):
		case s.Prune.Multiplications != nil:
			return &cuts{s.Name, "a smaller prune.multiplications", "a larger prune.multiplications", missed}
		default:
			return &cuts{s.Name, "a larger prune.channels", "a smaller prune.channels", missed}
		}
	}
	return nil
}

// settingsOf are those of a stage's leaf.
func (w *walk) settingsOf(name string) settings {
	stage := w.spec.Stage(name)
	leaf := w.spec.EffectiveLeaf(stage)
	out := settings{searched: w.spec.Search != nil, leaf: leaf, encoded: leaf.Encoded(), training: "more training.epochs"}
	switch {
	case !w.spec.Training.Trains():
		out.training = "training (training.epochs above 0)"
	case w.spec.Training.Seeks():
		out.training = "a larger " + seekBound(&w.spec.Training)
	}
	switch ended := w.facts.Stages[Search].Reason; {
	case ended == EndedByTrials && v1alpha1.Or(w.spec.Search.MaxTrials, v1alpha1.DefaultTrials) < v1alpha1.MostTrials:
		out.limit = "a higher search.maxTrials"
	case ended == EndedByMinutes:
		out.limit = "a higher search.maxMinutes"
	}
	if !slices.ContainsFunc(w.spec.Line(stage), cutsChannels) {
		out.others = w.otherCuts()
	}
	if stage == nil {
		if leaf.Reconstruct == nil || !*leaf.Reconstruct {
			out.nearer = append(out.nearer, "leaf: {reconstruct: true, equalize: true}")
		}
		if leaf.Activations != "Int16" {
			out.nearer = append(out.nearer, "leaf: {activations: Int16}")
		}
		if !slices.ContainsFunc(w.spec.Stages, func(s v1alpha1.Stage) bool { return s.Quantize != nil && len(w.spec.Line(&s)) == 1 }) {
			out.nearer = append(out.nearer, "a quantize stage from model, which trains")
		}
		return out
	}
	training := w.spec.Effective(stage)
	switch {
	case !training.Trains():
		out.nearer = append(out.nearer, "training (epochs above 0)")
	case !training.Seeks():
		out.nearer = append(out.nearer, "more epochs")
	case training.MaxEpochs == nil || w.at[name].fact.Epochs >= *training.MaxEpochs: // else the validation loss wanted no more
		out.nearer = append(out.nearer, "a larger "+seekBound(&training))
	}
	line := w.spec.Line(stage)
	if i := slices.IndexFunc(line, cutsChannels); i >= 0 { // the nearest
		if out.narrowed = "prune.channels, or rules for single layers"; line[i].Prune.Multiplications != nil {
			out.narrowed = "a smaller prune.multiplications"
			if !line[i].Prune.Branches {
				out.branched = "; prune.branches saves more of it where there are residual additions"
			}
		}
	}
	out.dense = out.narrowed != "" && !slices.ContainsFunc(line, func(s *v1alpha1.Stage) bool { return s.Prune != nil && !cutsChannels(s) })
	for _, s := range line {
		switch {
		case cutsChannels(s):
			out.nearer = append(out.nearer, "fewer channels cut")
		case s.Prune != nil:
			out.nearer = append(out.nearer, "less sparsity")
		case s.Cluster != nil:
			out.nearer = append(out.nearer, "more clusters")
		}
	}
	if training.Trains() && training.Distillation == nil {
		out.nearer = append(out.nearer, "distillation")
	}
	return out
}

// seekBound names what bounds a training whose epochs the validation loss decides on.
func seekBound(t *v1alpha1.Training) string {
	if t.MaxEpochs == nil {
		return "training.maxMinutes"
	}
	return "training.maxEpochs"
}

// leaner is advice to leave names out of a leaf that has them, after other advice on the size of its file.
func leaner(leaf v1alpha1.LeafOptions, m v1alpha1.Metric) string {
	if leaf.Names == v1alpha1.DropNames || m != v1alpha1.FileBytes && m != v1alpha1.FlashBytes {
		return ""
	}
	return "; names of tensors can be left out (leaf.names: Drop)"
}

// remedy is what to try when a constraint on a metric is missed.
func (s settings) remedy(m v1alpha1.Metric) string {
	switch {
	case m.Measured():
		return "its measurement says it of the leaf: try another technique, or a looser constraint"
	case s.dense && m == v1alpha1.Sparsity:
		return "add a prune stage with a sparsity: channels that are cut leave no zeros"
	case s.narrowed != "" && m == v1alpha1.CompressedBytes:
		return "try more channels cut (" + s.narrowed + "), more sparsity, fewer clusters or a higher entropy weight"
	case s.encoded && encodedAdvice[m] != "":
		return s.narrower(encodedAdvice[m], m)
	case m == v1alpha1.LatencyMicros:
		return s.narrower(advice[m], m) + s.branched
	case advice[m] != "":
		return s.narrower(advice[m], m)
	case len(s.nearer) == 0:
		return "try a looser constraint"
	}
	return try(s.nearer...)
}

// try is advice to try one of some things, of which those that are "" are none.
func try(things ...string) string {
	things = slices.DeleteFunc(slices.Clone(things), func(thing string) bool { return thing == "" })
	last := len(things) - 1
	if last == 0 {
		return "try " + things[0]
	}
	return "try " + strings.Join(things[:last], ", ") + " or " + things[last]
}

// narrower is advice on a metric to cut channels as it is where some are cut already: to cut more; or fewer than a stage that meets the metric, and
// lost the answers by it.
func (s settings) narrower(advice string, m v1alpha1.Metric) string {
	const cut = "prune.structure Channels makes it so"
	switch o := s.others; {
	case s.narrowed != "":
		return strings.Replace(advice, cut, "more channels cut ("+s.narrowed+") make it so", 1)
	case o == nil:
		return advice
	case slices.ContainsFunc(o.missed, func(missed Shortfall) bool { return missed.Constraint.Metric == m }):
		return strings.Replace(advice, cut, "more channels cut than by "+o.stage+" ("+o.more+") make it so", 1)
	default:
		return strings.Replace(advice, cut, o.stage+" cuts enough of them, but misses what else is asked for: cut fewer there ("+o.fewer+")", 1)
	}
}

// searchRemedy is remedy where a search chooses the stages, so that there are none to change.
func (s settings) searchRemedy(m v1alpha1.Metric) string {
	smaller := m == v1alpha1.FileBytes || m == v1alpha1.FlashBytes
	const looser, both = "a looser constraint on the answers", "a looser constraint on it or on the answers"
	switch {
	case s.encoded && smaller:
		return "its weights are encoded: " + try(both, s.limit, s.training, "a smaller network")
	case s.encoded && m == v1alpha1.ArenaBytes:
		return "weights that are not encoded (leaf.encode: None) need less of it; else " + try(looser, s.limit, s.training) + ", so that more channels can go"
	}
	switch m {
	case v1alpha1.FileBytes, v1alpha1.ArenaBytes, v1alpha1.Multiplications, v1alpha1.LatencyMicros:
		return "only a smaller network takes less: " + try(looser, s.limit, s.training) + ", so that more channels can go"
	case v1alpha1.FlashBytes:
		return "have weights encoded (leaf.encode: Auto); else only fewer channels take less: " + try(looser, s.limit, s.training)
	case v1alpha1.CompressedBytes, v1alpha1.Sparsity, v1alpha1.Clusters:
		return try(both, s.limit, s.training)
	}
	if m.Measured() {
		return s.remedy(m)
	}
	return try("leaf: {activations: Int16} if the leaf is of 8 bits", "a looser constraint", s.limit, s.training)
}

// Needs says what a metric needs of a dataset where it could not be measured, "" where nothing is known.
func Needs(m v1alpha1.Metric) string { return unmeasured[m] }

// advise is what to do about a shortfall of a leaf of such settings.
func (s Shortfall) advise(of settings) string {
	remedy := of.remedy(s.Constraint.Metric)
	if of.searched {
		remedy = of.searchRemedy(s.Constraint.Metric)
	}
	remedy += leaner(of.leaf, s.Constraint.Metric)
	if need := unmeasured[s.Constraint.Metric]; s.Value == "" && need != "" {
		return need
	}
	if s.Value == "" && s.Constraint.Metric.Measured() {
		return "its measurement printed null; what it says on standard error may tell why"
	}
	switch {
	case s.Value != "" && s.By == "":
		return "set the annotation " + v1alpha1.RerunAnnotation + " to a new value to have it measured again"
	case s.End != "" && s.meets():
		return "more validation samples narrow the interval; else " + remedy
	}
	return remedy
}

// tally counts the stages of the spec by state and names those that stand out.
type tally struct {
	completed, skipped, all           int
	failed, running, queued, stopping []string
}

func (w *walk) tally() tally {
	var t tally
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if !s.implicit() {
			t.all++
		}
		switch s.State {
		case v1alpha1.StageCompleted:
			if !s.implicit() {
				t.completed++
			}
		case v1alpha1.StageSkipped:
			if !s.implicit() {
				t.skipped++
			}
		case v1alpha1.StageFailed:
			if s.Name == Publish {
				continue // told beside the answer
			}
			t.failed = append(t.failed, s.Name)
		case v1alpha1.StageRunning:
			t.running = append(t.running, s.Name)
		case v1alpha1.StageQueued:
			t.queued = append(t.queued, s.Name)
		case v1alpha1.StageStopping:
			t.stopping = append(t.stopping, s.Name)
		}
	}
	return t
}

// String is countable: `2 of 5 stages completed, 1 failed; running cluster`.
func (t tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %s completed", t.completed, counted(t.all, "stage"))
	if n := len(t.failed); n > 0 {
		fmt.Fprintf(&b, ", %d failed", n)
	}
	if t.skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped", t.skipped)
	}
	for _, group := range []struct {
		word  string
		names []string
	}{{"running", t.running}, {"queued", t.queued}, {"stopping", t.stopping}} {
		if len(group.names) > 0 {
			fmt.Fprintf(&b, "; %s %s", group.word, list(group.names))
		}
	}
	return b.String()
}

// conclude says what state the walk is in and names the outcome.
func (w *walk) conclude() {
	t := w.tally()
	busy := false
	for i := range w.d.Stages {
		busy = busy || w.d.Stages[i].inFlight()
	}
	publish := w.published()
	switch {
	case w.d.Answered && !busy && publish.over():
		w.d.Finished = true
		w.outcome(t, publish)
	case w.spec.RunPolicy.Suspend && !busy:
		w.d.Suspended, w.d.Reason, w.d.Message = true, ReasonSuspended, t.String()+"; spec.runPolicy.suspend is true"
	default:
		w.progress(t, publish)
	}
}

// published returns the publish stage; one that is over where there is none.
func (w *walk) published() *Stage {
	if w.facts.Publish {
		return &w.d.Stages[len(w.d.Stages)-1]
	}
	return &Stage{State: v1alpha1.StageCompleted}
}

// progress names what a walk that goes on waits for: what stands in the way first.
func (w *walk) progress(t tally, publish *Stage) {
	w.d.Reason, w.d.Message = ReasonProgressing, t.String()
	switch waiting := w.waiting(); {
	case w.spec.RunPolicy.Suspend:
		w.d.Reason = ReasonSuspended
	case waiting != nil:
		w.d.Reason = waiting.Reason
		w.d.Message += fmt.Sprintf("; %s: %s", waiting.Name, waiting.Message)
	case w.d.Answered && len(t.stopping) > 0:
		w.d.Reason = ReasonStopping
	case w.d.Answered && publish.Name == Publish:
		w.d.Reason = ReasonPublishing
	case len(t.queued) > 0 && len(t.running) == 0:
		w.d.Reason = ReasonQueued
	}
}

// waiting returns the first stage that something stands in the way of, nil where there is none.
func (w *walk) waiting() *Stage {
	for i := range w.d.Stages {
		s := &w.d.Stages[i]
		if s.Reason != "" && !s.over() && s.State != v1alpha1.StageStopping {
			return s
		}
	}
	return nil
}

// outcome names how a finished walk ended.
func (w *walk) outcome(t tally, publish *Stage) {
	switch {
	case w.d.Reason != "": // settled already
	case w.d.Selected == "":
		w.unmet(t)
	case len(w.spec.Constraints) == 0 && len(t.failed) > 0:
		w.d.Reason = ReasonStageFailed
		w.d.Message = fmt.Sprintf("without constraints every stage has to run, but %s; the last leaf there is, is that of %s", w.failures(t), w.d.Selected)
	case len(w.spec.Constraints) == 0:
		w.d.Ready, w.d.Reason = true, ReasonAllStagesRun
		w.d.Message = fmt.Sprintf("no constraints: the last leaf, %s, is taken", w.d.Selected)
		if s := w.spec.Selection.Defaulted(); s.Strategy == v1alpha1.SelectBest {
			w.d.Message = fmt.Sprintf("no constraints: the leaf with the best %s, %s, is taken", s.Objective, w.d.Selected)
		}
	default:
		w.d.Ready, w.d.Reason = true, ReasonConstraintsMet
		w.d.Message = fmt.Sprintf("the leaf of %s meets all %s", w.d.Selected, counted(len(w.spec.Constraints), "constraint"))
		if len(w.spec.Constraints) == 1 {
			w.d.Message = fmt.Sprintf("the leaf of %s meets the constraint", w.d.Selected)
		}
		w.d.Message += w.preferred()
	}
	if publish.State == v1alpha1.StageFailed {
		w.d.Ready, w.d.Reason = false, ReasonPublishFailed
		w.d.Message += "; it could not be published: " + publish.Message
	}
}

// preferred says why the leaf was taken and none of the others that meet the constraints, "" where it is the first that does.
func (w *walk) preferred() string {
	selection := w.spec.Selection.Defaulted()
	if selection.Strategy != v1alpha1.SelectBest {
		return ""
	}
	value := func(name string) string { return Value(w.at[name].fact.Leaf.Metrics, selection.Objective) }
	if w.d.Selected == Search { // the others were made by it
		return fmt.Sprintf(": its %s is %s, that of the baseline %s", selection.Objective, value(Search), value(Baseline))
	}
	var others []string
	for i := range w.d.Stages {
		name := w.d.Stages[i].Name
		if missed, known := w.d.Verdicts[name]; known && len(missed) == 0 && name != w.d.Selected {
			others = append(others, name)
		}
	}
	if others == nil {
		return ", no other does"
	}
	next := w.best(others)
	return fmt.Sprintf(": its %s, %s, is the best of the %d that do; next is %s with %s", selection.Objective, value(w.d.Selected), len(others)+1, next, value(next))
}

// unmet says how near the leaves came, and what to try.
func (w *walk) unmet(t tally) {
	w.d.Nearest = w.nearest()
	w.d.Reason = ReasonNotMet
	w.d.Message = "no leaf came about"
	if w.d.Nearest != "" {
		w.d.Message = fmt.Sprintf("no leaf meets every constraint; %s is nearest", w.d.Nearest)
		of := w.settingsOf(w.d.Nearest)
		for i, s := range w.d.Verdicts[w.d.Nearest] {
			w.d.Message += fmt.Sprintf("%s %s (%s)", []string{":", ";"}[min(i, 1)], s, s.advise(of))
		}
	}
	if len(t.failed) > 0 {
		w.d.Reason = ReasonStageFailed
		if s := w.at[t.failed[0]]; s.Reason != "" {
			w.d.Reason = s.Reason
		}
		w.d.Message += "; " + w.failures(t)
	}
}

// failures says which stages failed and why. What is the walk's own reason is not said again.
func (w *walk) failures(t tally) string {
	parts := make([]string, 0, len(t.failed))
	for _, name := range t.failed {
		s := w.at[name]
		why := s.Message
		if s.Reason == w.d.Reason {
			why = s.fact.Message
		}
		parts = append(parts, fmt.Sprintf("%s failed: %s", name, why))
	}
	return strings.Join(parts, "; ")
}
