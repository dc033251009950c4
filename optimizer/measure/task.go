package measure

import (
	"fmt"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Task is what a model's output means.
type Task string

// The tasks.
const (
	Classification Task = "Classification" // one output value a class: the largest is the answer
	Binary         Task = "Binary"         // one output value: a probability after LOGISTIC, else a logit
	Reconstruction Task = "Reconstruction" // the input again; a large error is an anomaly, label 1
	Regression     Task = "Regression"     // target values
)

// form is a task and how to read outputs for it.
type form struct {
	task      Task
	outputs   int     // values a sample
	threshold float32 // Binary: above it the answer is class 1
}

// taskOf tells the task by the model's output and the labels there are.
func taskOf(g *ir.Graph, source dataset.Source, inputs, outputs int) (form, error) {
	f := form{outputs: outputs}
	classes, last := source.Classes(), lastOp(g)
	switch {
	case dataset.TargetSize(source) > 0:
		f.task = Regression
		if n := dataset.TargetSize(source); n != outputs {
			return f, fmt.Errorf("the dataset has %d target values a sample, the model has %d outputs", n, outputs)
		}
	case outputs == inputs && outputs > classes && classes <= 2 && last != schema.BuiltinOperatorSOFTMAX:
		f.task = Reconstruction
	case outputs == 1:
		f.task = Binary
		if last == schema.BuiltinOperatorLOGISTIC {
			f.threshold = 0.5
		}
		if classes > 2 {
			return f, fmt.Errorf("the dataset has %d classes, the model one output, which tells two apart", classes)
		}
	default:
		f.task = Classification
		if classes > outputs {
			return f, fmt.Errorf("the dataset has labels up to %d, the model has %d outputs; is it the right dataset?", classes-1, outputs)
		}
	}
	return f, nil
}

// lastOp is the operator that makes the first output, seen through changes of type and shape.
func lastOp(g *ir.Graph) schema.BuiltinOperator {
	for t := g.Outputs[0]; g.Tensors[t].Producer >= 0; {
		n := &g.Nodes[g.Tensors[t].Producer]
		switch n.Op {
		case schema.BuiltinOperatorQUANTIZE, schema.BuiltinOperatorDEQUANTIZE, schema.BuiltinOperatorRESHAPE:
			t = n.Inputs[0]
		default:
			return n.Op
		}
	}
	return schema.BuiltinOperatorPLACEHOLDER_FOR_GREATER_OP_CODES
}

// answer is what a model says of one sample.
type answer struct {
	label int32   // of the dataset, -1 without
	class int32   // Classification, Binary
	score float32 // grows with the likelihood of class 1 (Reconstruction: of an anomaly)
	error float64 // mean squared error of the sample: Regression, Reconstruction
}

// read turns the outputs y for input x and target into an answer.
func (f form) read(x, y, target []float32) answer {
	a := answer{class: -1}
	switch f.task {
	case Classification:
		a.class = int32(argmax(y))
		if len(y) == 2 {
			a.score = y[1] - y[0]
		}
	case Binary:
		a.score = y[0]
		if a.class = 0; y[0] > f.threshold {
			a.class = 1
		}
	case Reconstruction:
		a.error = squaredError(x, y)
		a.score = float32(a.error)
	case Regression:
		a.error = squaredError(target, y)
	}
	return a
}

// scored reports whether answers have a score.
func (f form) scored() bool {
	return f.task == Binary || f.task == Reconstruction || f.task == Classification && f.outputs == 2
}

// argmax is the index of the first largest value, as NumPy's.
func argmax(y []float32) int {
	best := 0
	for i, v := range y {
		if v > y[best] {
			best = i
		}
	}
	return best
}

func squaredError(want, got []float32) float64 {
	sum := 0.0
	for i, v := range got {
		d := float64(want[i]) - float64(v)
		sum += float64(d * d)
	}
	return sum / float64(len(got))
}
