package lineage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/leaf"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
	"espalier.dev/espalier/optimizer/weight"
)

// Run is what techniques and leaves are made with. It may be used again, with other settings, for the next technique.
type Run struct {
	Data *dataset.Dataset
	// Outputs describe the original's outputs; nil: Describe does.
	Outputs []answer.Output
	// Training says how to train; with 0 epochs a technique is only applied.
	Training train.Config
	// Leaf says how leaves are made.
	Leaf LeafOptions

	// Progress, if set, is told how far training has come.
	Progress func(train.Progress)
	// Checkpoint, if set, is where training resumes from and is saved to.
	Checkpoint *Checkpoint
	// Workers bounds goroutines; 0: as many as there are processors. It changes no result.
	Workers int

	pieces *pieces // of the last draw, of sequences in chunks
}

// Describe decides what the outputs of a network are, by its original, the training samples and what the user chose.
func Describe(ctx context.Context, n *Network, train dataset.Source, choices []answer.Choice) ([]answer.Output, error) {
	targets, err := answer.Survey(train)
	if err != nil {
		return nil, err
	}
	model, err := n.Runs()
	if err != nil {
		return nil, err
	}
	seen, err := measure.Look(ctx, model, train)
	if err != nil {
		return nil, err
	}
	g, err := ir.Parse(n.from.model, 0)
	if err != nil {
		return nil, err
	}
	return n.chunks().Describe(g, targets, choices, seen)
}

// describe sees to it that Outputs are there.
func (r *Run) describe(ctx context.Context, n *Network) (err error) {
	if r.Outputs == nil {
		r.Outputs, err = Describe(ctx, n, r.Data.Train, nil)
	}
	return err
}

// ErrCheckpoint says that training cannot resume from Checkpoint.Load; without it training starts anew.
var ErrCheckpoint = errors.New("resume")

// Checkpoint loads and saves the state of a training under way.
type Checkpoint struct {
	Load  []byte // what Save wrote before; nil starts anew
	Save  func(write func(io.Writer) error) error
	Every time.Duration // default a minute
}

// Outcome is what a technique made, and its leaf.
type Outcome struct {
	Network *Network
	Leaf    *tflite.Model
	// Promises are what the leaf's weights are held to, by its tensors; it was checked against them.
	Promises     map[int]weight.State
	Training     *train.Result // nil if nothing was trained
	Verification *leaf.Verification
	SNR          []leaf.LayerSNR
	Notes        []string // decisions, one line each
	Warnings     []string // of them those to be shown at once
	Once         []string // of them those to be shown with the first leaf that has them
	unnamed      string   // of them the one on names that were left out
}

// Apply applies a technique to a network and makes the leaf.
func (r *Run) Apply(ctx context.Context, n *Network, t Technique) (*Outcome, error) {
	if err := r.describe(ctx, n); err != nil {
		return nil, err
	}
	w, err := r.open(n)
	if err != nil {
		return nil, err
	}
	made, err := t.Apply(ctx, n, w)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Network: made, Training: w.training, Notes: w.notes, Warnings: w.warnings, Once: w.once}
	return out, r.leaf(ctx, out)
}

// Baseline makes the leaf of a network as it is: quantized after training, or an int8 original unchanged.
func (r *Run) Baseline(ctx context.Context, n *Network) (*Outcome, error) {
	out, err := r.baseline(ctx, n)
	if err == nil && out.unnamed != "" {
		out.Once = append(out.Once, out.unnamed) // of the first leaf: of others it is about as many bytes
	}
	return out, err
}

func (r *Run) baseline(ctx context.Context, n *Network) (*Outcome, error) {
	out := &Outcome{Network: n, Notes: n.Notes()}
	if n.Int8() && r.Leaf.unchanged(n) {
		out.Leaf = n.Given()
		out.Promises = n.promises()
		out.Notes = append(out.Notes, "the network is int8 already: it is the first leaf, unchanged, and its integers and activation ranges are kept")
		out.remember()
		return out, r.ship(out)
	}
	if err := r.describe(ctx, n); err != nil {
		return nil, err
	}
	crowded, err := r.crowded(n)
	if err != nil {
		return nil, err
	}
	if crowded != "" {
		out.Warnings = append(out.Warnings, crowded)
	}
	if len(n.states) > 0 { // the leaf holds them exactly, the given values perhaps not
		w, err := r.open(n)
		if err != nil {
			return nil, err
		}
		if out.Network, err = w.Done(); err != nil {
			return nil, err
		}
	}
	if err := r.leaf(ctx, out); err != nil {
		return nil, err
	}
	return out, nil
}

// remember says of a leaf with LSTMs, which runtimes have go on where the last call ended, that each sequence begins with a reset.
func (o *Outcome) remember() {
	for _, operator := range o.Leaf.Subgraph().Operators {
		if code, _ := o.Leaf.Op(operator); code != schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM {
			continue
		}
		note := "LSTMs of leaves keep their state from call to call: reset it before every sequence, with interpreter.reset_all_variables() in LiteRT, Reset() in TensorFlow Lite Micro"
		o.Notes, o.Once = append(o.Notes, note), append(o.Once, note)
		return
	}
}

// reachSamples bounds the samples that Reach looks at.
const reachSamples = 64

// Reach has constants of a lineage's first network that stand for infinity lie within reach of what they meet (quantize.Reach). An
// int8 network's are within its ranges already.
func (r *Run) Reach(ctx context.Context, n *Network) (*Network, error) {
	if n.Int8() {
		return n, nil
	}
	drawn := r.draw(reachSamples)
	feed, err := r.feed(n, drawn)
	if err != nil {
		return nil, err
	}
	model, notes, err := quantize.Reach(ctx, n.model, feed, len(drawn))
	if err != nil || len(notes) == 0 {
		return n, err
	}
	from, out := *n.from, *n
	from.model, from.notes = model, append(slices.Clone(from.notes), notes...)
	out.model, out.from = model, &from
	return &out, nil
}

// draw returns up to n training samples, as many of every class as there are, by a seed of its own: those that ranges, checks and
// sensitivities are taken from.
func (r *Run) draw(n int) []int { return dataset.Draw(r.Data.Train, n, drawSeed) }

// drawSeed is fixed: stages of one pipeline look at the same samples, whatever seed they train with.
const drawSeed = 1

// sparsity is the share of zeros of a mask.
func sparsity(mask []uint8) float64 {
	zeros := 0
	for _, m := range mask {
		if m == 0 {
			zeros++
		}
	}
	return float64(zeros) / float64(max(1, len(mask)))
}

// wrap names what was being done.
func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
