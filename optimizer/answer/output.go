package answer

import (
	"fmt"
	"strings"

	"espalier.dev/espalier/optimizer/ir"
)

// Kind is what an output says.
type Kind string

// The kinds.
const (
	Classes         Kind = "Classes"         // one of several classes
	Binary          Kind = "Binary"          // yes or no, in one value
	MultiLabel      Kind = "MultiLabel"      // yes or no for each of several labels
	PositionClasses Kind = "PositionClasses" // a class for every pixel, step or box
	Values          Kind = "Values"          // numbers
	Reconstruction  Kind = "Reconstruction"  // the input again; a large error is an anomaly, label 1
	Heatmaps        Kind = "Heatmaps"        // a map for each of several keypoints, which lie where it peaks
	Embedding       Kind = "Embedding"       // a vector of which only the direction counts
)

// Activation is what the output's values are.
type Activation string

// The activations.
const (
	Plain    Activation = "Plain"    // numbers or logits
	Softmax  Activation = "Softmax"  // softmax, or its logarithm, of the loss tensor
	Sigmoid  Activation = "Sigmoid"  // the logistic function of the loss tensor
	Unit     Activation = "Unit"     // a vector of length 1
	Chance   Activation = "Chance"   // probabilities that another function than softmax and sigmoid makes
	Position Activation = "Position" // the class itself, by ARG_MAX of the loss tensor
)

// Loss is how an output is compared with its target.
type Loss string

// The losses.
const (
	CrossEntropy       Loss = "CrossEntropy"
	BinaryCrossEntropy Loss = "BinaryCrossEntropy"
	MeanSquaredError   Loss = "MeanSquaredError"
	None               Loss = "None" // it is not trained
)

// Output describes one output of a network.
type Output struct {
	Index      int    // among the network's outputs
	Name       string // by the signature, else the tensor's
	Kind       Kind
	Input      int // Reconstruction: of the network's, which it is
	Size       int // values of a sample
	Classes    int // to choose from at a position; 0 for kinds without
	Positions  int // choices a sample
	Width      int // the last dimension
	Activation Activation
	Threshold  float32 // Binary, MultiLabel and PositionClasses of one value: above it the answer is yes; Heatmaps: a peak below it is none
	Beta       float64 // what a SOFTMAX multiplies the loss tensor by, else 1
	Loss       Loss
	// Whole says that the loss attaches at the output itself, whatever it ends in.
	Whole bool
	// Target is its target's place among the dataset's, −1 without: then the original network's answers are.
	Target int
	// Indexed says that the target is a class for every position; otherwise it has a value for each of the output's.
	Indexed bool
	// Weight multiplies its loss, Scale before that makes losses of several outputs comparable.
	Weight, Scale float64
	// Spread is the standard deviation of the target by the last dimension, which squared errors are divided by; nil: they are not.
	Spread []float64
	// Note says what was decided that may be wrong, and how to say otherwise; often empty.
	Note string

	targetName string
}

// Trained reports whether the output has a loss, its target's or the original's.
func (o *Output) Trained() bool { return o.Loss != None && o.Weight > 0 }

// Distilled reports whether the original network's answers alone are what the output is trained to give.
func (o *Output) Distilled() bool { return o.Trained() && o.Target < 0 && o.Kind != Reconstruction }

// LossTensors are those of the outputs that are trained, in a graph of the network.
func LossTensors(outputs []Output, g *ir.Graph) []int {
	var tensors []int
	for i := range outputs {
		if outputs[i].Trained() {
			tensors = append(tensors, outputs[i].LossTensor(g))
		}
	}
	return tensors
}

// LossTensor is where the output's loss attaches in a graph of the network.
func (o *Output) LossTensor(g *ir.Graph) int {
	if o.Whole {
		return g.Outputs[o.Index]
	}
	return g.End(o.Index).Tensor
}

// Answers reports whether the output chooses classes.
func (o *Output) Answers() bool { return o.Classes > 0 }

// Main is the output whose metrics go without its name: the first with a target, else the first that chooses classes, else the
// first.
func Main(outputs []Output) int {
	for _, fits := range []func(*Output) bool{
		func(o *Output) bool { return o.Target >= 0 && o.Answers() },
		func(o *Output) bool { return o.Target >= 0 },
		(*Output).Answers,
	} {
		for i := range outputs {
			if fits(&outputs[i]) {
				return i
			}
		}
	}
	return 0
}

// String is a line for people: `cls: one of 4 classes (softmax), cross-entropy with y`.
func (o *Output) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", o.Name, o.meaning())
	switch {
	case !o.Trained():
		b.WriteString(", not trained")
	case o.Target < 0 && o.Kind == Reconstruction:
		b.WriteString(", squared error against the input")
	case o.Target < 0:
		b.WriteString(", distilled from the original")
	case o.Kind == Reconstruction:
		fmt.Fprintf(&b, ", squared error against the input; %s tells anomalies", o.targetName)
	default:
		fmt.Fprintf(&b, ", %s with %s", map[Loss]string{CrossEntropy: "cross-entropy", BinaryCrossEntropy: "binary cross-entropy",
			MeanSquaredError: "squared error"}[o.Loss], o.targetName)
	}
	if o.Weight != 1 && o.Trained() {
		fmt.Fprintf(&b, ", weight %g", o.Weight)
	}
	if o.Note != "" {
		fmt.Fprintf(&b, " (%s)", o.Note)
	}
	return b.String()
}

func (o *Output) meaning() string {
	by := map[Activation]string{Plain: "logits", Softmax: "softmax", Sigmoid: "sigmoid", Chance: "probabilities", Position: "ArgMax", Unit: "of length 1"}[o.Activation]
	switch o.Kind {
	case Classes:
		if o.Classes == 1 {
			return fmt.Sprintf("its only class (%s)", by)
		}
		return fmt.Sprintf("one of %d classes (%s)", o.Classes, by)
	case Binary:
		return fmt.Sprintf("yes or no (%s)", by)
	case MultiLabel:
		return fmt.Sprintf("%d labels, each yes or no (%s)", o.Positions, by)
	case PositionClasses:
		return fmt.Sprintf("one of %d classes at each of %d positions (%s)", o.Classes, o.Positions, by)
	case Reconstruction:
		return "its input again, " + values(o.Size)
	case Heatmaps:
		return fmt.Sprintf("%d heatmaps of %d places, each with a keypoint where it peaks", o.Width, o.Size/o.Width)
	case Embedding:
		return "an embedding of " + values(o.Size)
	default:
		return values(o.Size)
	}
}

func values(n int) string {
	if n == 1 {
		return "1 value"
	}
	return fmt.Sprintf("%d values", n)
}
