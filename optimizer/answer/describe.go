package answer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
)

// Error says that the network's outputs and the dataset's targets, or what the user says of them, do not fit each other.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// ChoiceError is a choice of an output that there is not.
type ChoiceError struct{ text string }

func (e *ChoiceError) Error() string { return e.text }

func misfit(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Choice is what a user says of an output; empty fields leave it to Describe.
type Choice struct {
	Name   string // the output's
	Target string // the target's
	Loss   Loss
	Weight float64 // 0: 1
}

// Seen is what the original network answers at an output, over some samples.
type Seen struct {
	Least, Most float64
	Simplex     bool // rows along the last dimension are not negative and add up to 1
	Unit        bool // rows have length 1
	Spread      []float64
	// Unexplained is the share of the variance of an input of the same size that the output leaves; 1 without one.
	Unexplained float64
}

// chances reports whether the values may be probabilities.
func (s *Seen) chances() bool { return s != nil && s.Least >= 0 && s.Most <= 1 && s.Least < s.Most }

// Describe decides what every output of a network is. seen, by output, may be nil. Errors say what does not fit and how to change it.
func Describe(g *ir.Graph, targets []Target, choices []Choice, seen []Seen) ([]Output, error) {
	d := &describer{graph: g, targets: targets, alone: len(g.Outputs) == 1}
	for i := range g.Outputs {
		d.outputs = append(d.outputs, d.draft(i, seen))
	}
	if err := d.choose(choices); err != nil {
		return nil, err
	}
	if err := d.assign(); err != nil {
		return nil, err
	}
	out := make([]Output, len(d.outputs))
	for i := range d.outputs {
		o := &d.outputs[i]
		if o.Kind == "" {
			if err := o.untold(); err != nil {
				return nil, err
			}
		}
		if o.still != "" {
			o.Loss, o.Note = None, o.still
		}
		out[i] = o.Output
	}
	scale(out, d)
	return out, nil
}

// describer is a description under way.
type describer struct {
	graph   *ir.Graph
	targets []Target
	outputs []draft
	alone   bool
	taken   []bool // by target
}

// draft is an output that is not decided yet.
type draft struct {
	Output
	rank   int // dimensions of a sample
	rows   int // rows of Width values of the loss tensor
	width  int
	input  int    // values of the first input of the same size; 0: none
	still  string // why no weight bears on it, "" if weights may
	alone  bool
	choice Choice
	seen   *Seen
}

func (d *describer) draft(i int, seen []Seen) draft {
	g := d.graph
	end := g.End(i)
	batch := max(1, g.Batch)
	shape := sampleShape(g, g.Outputs[i])
	o := draft{rank: len(shape), alone: d.alone}
	o.Output = Output{Index: i, Name: nameOf(g, i), Size: g.Numel(g.Outputs[i]) / batch, Width: lastOf(shape),
		Beta: float64(end.Beta), Target: -1, Weight: 1, Scale: 1}
	switch t := &g.Tensors[end.Tensor]; {
	case t.Producer < 0 && t.Const != nil:
		o.still = "a constant"
	case t.Producer < 0:
		o.still = fmt.Sprintf("the input %s as it is", t.Name)
	}
	o.width = max(1, lastOf(sampleShape(g, end.Tensor)))
	o.rows = g.Numel(end.Tensor) / batch / o.width
	o.Activation = map[ir.Last]Activation{ir.PlainEnd: Plain, ir.SoftmaxEnd: Softmax, ir.LogisticEnd: Sigmoid, ir.UnitEnd: Unit}[end.Last]
	if end.Index {
		o.Activation = Position
	}
	for k, t := range g.Inputs {
		if n := g.Numel(t) / batch; n == o.Size && o.input == 0 && slices.Equal(real(sampleShape(g, t)), real(shape)) {
			o.input, o.Input = n, k
		}
	}
	if i < len(seen) {
		o.seen = &seen[i]
		if o.Activation == Plain && o.seen.Unit && o.width > 1 {
			o.Activation = Unit
		}
	}
	return o
}

// real are the dimensions that are not 1.
func real(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// sampleShape is a tensor's shape without the batch.
func sampleShape(g *ir.Graph, t int) []int {
	shape := g.Tensors[t].Shape
	if len(shape) > 0 && (g.Tensors[t].Batched || shape[0] == max(1, g.Batch)) {
		return shape[1:]
	}
	return shape
}

// nameOf is an output's name in the signature, else its tensor's.
func nameOf(g *ir.Graph, i int) string {
	if g.Model != nil {
		for _, s := range g.Model.SignatureDefs {
			for _, m := range s.Outputs {
				if s.SubgraphIndex == 0 && int(m.TensorIndex) == g.Outputs[i] && m.Name != "" {
					return m.Name
				}
			}
		}
	}
	if name := g.Tensors[g.Outputs[i]].Name; name != "" {
		return name
	}
	return fmt.Sprintf("output_%d", i)
}

// choose applies what the user says.
func (d *describer) choose(choices []Choice) error {
	for _, c := range choices {
		o := d.find(c.Name)
		if o == nil {
			var names []string
			for i := range d.outputs {
				names = append(names, d.outputs[i].Name)
			}
			return &ChoiceError{fmt.Sprintf("outputs: the model has no output %q; it has %s", c.Name, strings.Join(names, ", "))}
		}
		o.choice = c
		if c.Weight > 0 {
			o.Weight = c.Weight
		}
	}
	return nil
}

func (d *describer) find(name string) *draft {
	for i := range d.outputs {
		if d.outputs[i].Name == name {
			return &d.outputs[i]
		}
	}
	return nil
}

// assign gives every target an output.
func (d *describer) assign() error {
	d.taken = make([]bool, len(d.targets))
	for i := range d.outputs {
		o := &d.outputs[i]
		if o.choice.Target == "" {
			continue
		}
		k := slices.IndexFunc(d.targets, func(t Target) bool { return t.Name == o.choice.Target || t.Name == "y_"+o.choice.Target })
		if k < 0 {
			var names []string
			for _, t := range d.targets {
				names = append(names, t.Name)
			}
			return misfit("the dataset has no target %q for output %s; it has %s", o.choice.Target, o.Name, strings.Join(names, ", "))
		}
		if err := d.give(k, o); err != nil {
			return err
		}
	}
	for k := range d.targets {
		if d.taken[k] {
			continue
		}
		if o := d.find(strings.TrimPrefix(d.targets[k].Name, "y_")); o != nil && o.Kind == "" {
			if err := d.give(k, o); err != nil {
				return err
			}
		}
	}
	for k := range d.targets {
		if d.taken[k] {
			continue
		}
		if err := d.place(k); err != nil {
			return err
		}
	}
	return nil
}

// give describes output o by target k.
func (d *describer) give(k int, o *draft) error {
	if err := o.told(&d.targets[k]); err != nil {
		return err
	}
	o.Target, o.targetName, d.taken[k] = k, d.targets[k].Name, true
	return nil
}

// place finds the output that suits a target best: of several that take it, one that ends in a softmax or sigmoid suits classes, one
// that does not suits numbers.
func (d *describer) place(k int) error {
	t := &d.targets[k]
	var best *draft
	var reasons []string
	score := 0
	for i := range d.outputs {
		o := &d.outputs[i]
		if o.Kind != "" || o.choice.Loss == None {
			continue
		}
		try := *o
		if err := try.told(t); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		suits := 1
		if ends := o.Activation == Softmax || o.Activation == Sigmoid || o.Activation == Position; ends == (t.Classes > 0 || t.Bits) {
			suits = 2
		}
		if suits > score {
			best, score = o, suits
		}
	}
	if best != nil {
		return d.give(k, best)
	}
	if len(reasons) == 0 { // more targets than outputs, or none is trained
		return nil
	}
	return misfit("%s", strings.Join(reasons, "; "))
}

// told decides what the output is by its target.
func (o *draft) told(t *Target) error {
	rows := t.Classes > 0 || t.Size() == o.rows && o.width > 1 && t.wholeBelow(o.width)
	switch {
	case o.choice.Loss == None:
		o.untrained()
		return nil
	case t.Numbers && (o.Activation == Position || o.Activation == Softmax && (t.Size() != o.rows*o.width || t.OneHot)):
		return misfit("dataset.target is Values, but output %s tells %d classes apart: leave dataset.target out, so that %s is read as classes", o.Name, o.width, t.Name)
	case o.Activation == Unit && t.Classes > 0:
		return misfit("output %s is an embedding of length 1: labels of classes say nothing of it", o.Name)
	case o.Activation == Sigmoid, o.Activation == Plain && o.choice.Loss == BinaryCrossEntropy:
		return o.sigmoid(t)
	case o.Activation == Plain && t.anomalies() && o.reconstructs() && o.choice.Loss == "":
		o.reconstruct()
		return nil
	case o.Activation == Plain && o.width == 1 && t.Size() == o.Size && (t.Classes > 0 && t.Classes <= 2 || t.Bits && !t.Numbers) && o.choice.Loss == "":
		return o.decision(t)
	case o.Activation == Plain && o.choice.Loss != CrossEntropy && t.Size() == o.Size && (t.Classes == 0 || o.Size > 1):
		return o.numbers(t)
	case rows && t.Size() == o.rows:
		return o.classes(t)
	case t.Classes == 0 && t.Size() == o.rows*o.width && o.Activation != Unit:
		o.shares()
		return nil
	}
	return o.mismatch(t)
}

// wholeBelow reports whether a target is class numbers below n, said to be or not.
func (t *Target) wholeBelow(n int) bool {
	return t.Classes > 0 && t.Classes <= n || t.Classes == 0 && !t.Numbers && t.Whole && t.Least >= 0 && t.Most < float64(n)
}

// anomalies reports whether a target may be the labels of an autoencoder's samples.
func (t *Target) anomalies() bool { return t.Size() == 1 && t.Classes > 0 && t.Classes <= 2 }

// reconstructs reports whether the output may be its input again: a vector of the input's size is, whatever the original makes of these
// samples; an image must be near it, since networks that change images give images too.
func (o *draft) reconstructs() bool {
	return o.input > 2 && (o.seen == nil || o.rank <= 1 || o.seen.Unexplained < 0.5)
}

func (o *draft) reconstruct() { o.Kind, o.Loss = Reconstruction, MeanSquaredError }

func (o *draft) untrained() {
	_ = o.untold()
	o.Loss = None
}

// sigmoid is of an output each value of which says yes or no.
func (o *draft) sigmoid(t *Target) error {
	o.Loss = BinaryCrossEntropy
	if o.Activation == Sigmoid {
		o.Threshold = 0.5
	}
	switch {
	case t.anomalies() && o.Size > 2 && o.input > 0 && o.seen != nil && o.seen.Unexplained < 0.5: // a convolutional autoencoder's end
		o.reconstructOutput()
		return nil
	case t.Classes > 0 && t.Size() == 1 && o.Size > 1 && o.rows == 1:
		if t.Classes > o.width {
			return o.tooMany(t, o.width)
		}
		o.Kind, o.Classes, o.Positions, o.Indexed = Classes, o.width, 1, true
		return nil
	case t.Size() == o.rows && o.rows > 1 && o.width > 1 && t.wholeBelow(o.width):
		o.Kind, o.Classes, o.Positions, o.Indexed = PositionClasses, o.width, o.rows, true
		return nil
	case t.Size() != o.Size:
		return o.mismatch(t)
	case t.Classes > 2:
		if o.Size == 1 {
			return misfit("the dataset has %d classes (%s), output %s one value, which tells two apart", t.Classes, t.Name, o.Name)
		}
		return misfit("target %s has classes up to %d, output %s says yes or no of each value: labels are 0 and 1", t.Name, t.Classes-1, o.Name)
	case t.Classes == 0 && (t.Least < 0 || t.Most > 1):
		return misfit("target %s has values from %g to %g, output %s ends in a sigmoid and gives 0 to 1: scale the target, or write labels as 0 and 1",
			t.Name, t.Least, t.Most, o.Name)
	case t.Classes == 0 && (!t.Bits || t.Numbers):
		o.Kind = Values
		if o.peaks(t) {
			o.heatmaps(t)
		}
		return nil
	}
	o.yesOrNo()
	return nil
}

// yesOrNo is of an output each value of which is a decision.
func (o *draft) yesOrNo() {
	o.Classes, o.Positions = 2, o.Size
	switch {
	case o.Size == 1:
		o.Kind = Binary
	case o.rank <= 1:
		o.Kind = MultiLabel
	default:
		o.Kind = PositionClasses
	}
}

// decision is of an output of plain values whose target is 0 or 1.
func (o *draft) decision(t *Target) error {
	o.Loss = BinaryCrossEntropy
	if o.seen.chances() {
		o.Activation, o.Threshold, o.Loss = Chance, 0.5, MeanSquaredError
	} else if t.Classes == 0 && o.seen != nil && o.seen.Least > -1 && o.seen.Most < 2 { // numbers that were trained to be 0 or 1
		o.Threshold, o.Loss = 0.5, MeanSquaredError
	}
	o.yesOrNo()
	return nil
}

// numbers is of an output of plain values with a target of as many.
func (o *draft) numbers(t *Target) error {
	logits := o.seen != nil && (o.seen.Least < -1.5 || o.seen.Most > 2.5)
	switch {
	case t.Numbers:
		o.regress(t)
	case o.peaks(t):
		o.regress(t)
		o.heatmaps(t)
	case t.Classes == 0 && t.OneHot && o.width > 1 && (logits || o.seen == nil):
		o.shares()
	case (t.Bits || t.Classes == 2) && logits:
		o.Loss = BinaryCrossEntropy
		o.yesOrNo()
	case (t.Bits || t.Classes == 2) && o.seen.chances():
		o.Activation, o.Threshold, o.Loss = Chance, 0.5, MeanSquaredError
		if t.OneHot && o.seen.Simplex {
			o.chooses()
			return nil
		}
		o.yesOrNo()
	default:
		o.regress(t)
	}
	return nil
}

// regress is of an output of numbers to predict.
func (o *draft) regress(t *Target) {
	o.Kind, o.Loss = Values, MeanSquaredError
	if o.Spread = usable(t.Spread); o.Spread == nil {
		return
	}
	if ratio := slices.Max(o.Spread) / slices.Min(o.Spread); ratio > codes/4 {
		o.Note = fmt.Sprintf("its numbers differ in spread by %.2g times, and int8 has one scale for all: the smallest are lost, unless the last layer "+
			"stays float (keepFloat) or they are outputs of their own", ratio)
	}
}

// peaks reports whether a target is maps that peak: of rank 3, from 0 to 1, and hardly anywhere above 0.
func (o *draft) peaks(t *Target) bool {
	maps := t.Classes == 0 && !t.Numbers && !t.Bits && len(t.Shape) == 3 && min(t.Shape[0], t.Shape[1]) > 2
	return maps && o.choice.Loss == "" && t.Least >= 0 && t.Most > 0 && t.Most <= 1 && slices.Max(t.Mean) < t.Most/flatness
}

// A map whose mean is more than a flatness-th of the largest value does not peak. A peak below a faintness-th of it is none: its
// keypoint is not there.
const (
	flatness  = 10
	faintness = 4
)

func (o *draft) heatmaps(t *Target) {
	o.Kind, o.Threshold = Heatmaps, float32(t.Most/faintness)
	o.Note = "dataset.target Values says numbers"
}

// codes is how many values an int8 has.
const codes = 256

// chooses is of an output that says one of several at every row.
func (o *draft) chooses() {
	o.Kind, o.Classes, o.Positions = Classes, o.width, o.rows
	if o.rows > 1 {
		o.Kind = PositionClasses
	}
}

// classes is of an output whose target is a class for every row.
func (o *draft) classes(t *Target) error {
	if o.width == 1 && o.Activation == Plain {
		if t.Classes > 2 {
			return misfit("the dataset has %d classes (%s), output %s one value, which tells two apart", t.Classes, t.Name, o.Name)
		}
		return o.decision(t)
	}
	if t.Classes > o.width {
		return o.tooMany(t, o.width)
	}
	o.Loss, o.Indexed = CrossEntropy, true
	if o.Activation == Plain && o.seen.chances() && o.seen.Simplex {
		o.Activation, o.Loss = Chance, MeanSquaredError
	}
	o.chooses()
	return nil
}

// shares is of an output whose target is a distribution, or one-hot, for every row.
func (o *draft) shares() {
	o.Loss = CrossEntropy
	o.chooses()
}

// untold decides what the output is without a target.
func (o *draft) untold() error {
	switch loss := o.choice.Loss; {
	case loss == None:
		defer func() { o.Loss = None }()
	case loss == MeanSquaredError && o.Activation == Plain:
		o.values()
		return nil
	case loss == CrossEntropy && o.Activation == Plain:
		o.shares()
		return nil
	case loss == BinaryCrossEntropy && o.Activation == Plain:
		o.Loss = BinaryCrossEntropy
		o.yesOrNo()
		return nil
	}
	switch {
	case o.Activation == Softmax || o.Activation == Position:
		o.shares()
	case o.Activation == Sigmoid && o.Size > 2 && o.input > 0 && o.seen != nil && o.seen.Unexplained < 0.5:
		o.reconstructOutput()
	case o.Activation == Sigmoid:
		o.Loss, o.Threshold = BinaryCrossEntropy, 0.5
		o.yesOrNo()
	case o.Activation == Unit:
		o.Kind, o.Loss = Embedding, MeanSquaredError
	case o.reconstructs() && (o.seen == nil || o.seen.Unexplained < 0.5): // a forecast, or a state, has its input's size too
		o.reconstruct()
	case o.seen.chances() && o.seen.Simplex && o.width > 1:
		o.Activation, o.Loss = Chance, MeanSquaredError
		o.chooses()
	case o.input > 2 && o.rank <= 1:
		o.values()
		o.Note = "its input has as many values: taken for numbers; outputs with loss CrossEntropy says class scores"
	case o.alone && o.rank <= 1 && o.Size > 1:
		o.Loss = MeanSquaredError
		o.chooses()
		o.Note = "taken for class scores; outputs with loss MeanSquaredError says numbers"
	default:
		o.values()
	}
	return nil
}

func (o *draft) values() {
	o.Kind, o.Loss = Values, MeanSquaredError
	if o.seen != nil {
		o.Spread = usable(o.seen.Spread)
	}
}

// reconstructOutput is of an autoencoder that ends in a sigmoid: its error is of the output, not of the logits.
func (o *draft) reconstructOutput() {
	o.reconstruct()
	o.Activation, o.Whole = Plain, true
}

// usable are spreads to divide by; a column that never changes has the mean of the others.
func usable(spread []float64) []float64 {
	sum, n := 0.0, 0.0
	for _, s := range spread {
		if s > 0 && !math.IsInf(s, 0) && !math.IsNaN(s) {
			sum, n = sum+s, n+1
		}
	}
	if n == 0 {
		return nil
	}
	out := slices.Clone(spread)
	for i, s := range out {
		if !(s > 0) || math.IsInf(s, 0) {
			out[i] = sum / n
		}
	}
	return out
}

func (o *draft) tooMany(t *Target, width int) error {
	return misfit("the dataset has labels up to %d (%s), output %s has %d classes; is it the right dataset?", t.Classes-1, t.Name, o.Name, width)
}

func (o *draft) mismatch(t *Target) error {
	what := fmt.Sprintf("%d values a sample", t.Size())
	if t.Size() == 1 {
		what = "one value a sample"
	}
	if t.Classes > 0 {
		what = fmt.Sprintf("%d labels a sample", t.Size())
		if t.Size() == 1 {
			what = "one label a sample"
		}
	}
	has := fmt.Sprintf("%d values", o.Size)
	if o.rows > 1 && o.width > 1 {
		has = fmt.Sprintf("%d values at each of %d positions", o.width, o.rows)
	}
	return misfit("target %s has %s, output %s %s: give one that fits, or dataset.target None, which trains on the model's own answers", t.Name, what, o.Name, has)
}

// scale makes the losses of several outputs comparable: each counts 1 for an answer that knows nothing of its sample.
func scale(outputs []Output, d *describer) {
	trained := 0
	for i := range outputs {
		if outputs[i].Trained() {
			trained++
		}
	}
	if trained < 2 {
		return
	}
	for i := range outputs {
		o := &outputs[i]
		switch {
		case o.Loss == CrossEntropy:
			o.Scale = 1 / math.Log(max(2, float64(o.Classes)))
		case o.Loss == BinaryCrossEntropy:
			o.Scale = 1 / math.Ln2
		case o.Spread == nil && d.outputs[i].seen != nil:
			o.Spread = usable(d.outputs[i].seen.Spread)
		}
	}
}
