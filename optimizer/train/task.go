package train

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/weight"
)

// Task is what is trained, on what.
type Task struct {
	// Network computes the loss tensor. It belongs to the Trainer until Run returns.
	Network *float.Network
	// Weights are the parametrized weights by tensor index. Trainable kernels, dense weights and biases without one train as
	// plain floats; other constants of the model do not train.
	Weights map[int]*weight.Tensor
	// Ranges are the ranges of quantized activations; nil: none move.
	Ranges *Ranges
	// Chunks, if not nil, say that samples are sequences of which the Network is a chunk: one is run after the other, with the state that the one
	// before left and no gradient from one to the other, and their losses make one step.
	Chunks *stream.Chunks
	// Outputs describe the Network's outputs, of whole sequences; nil: they are described from Network and Train.
	Outputs []answer.Output
	// Teacher is the original model at the Network's micro-batch; nil: none.
	Teacher *float.Network
	// Train and Validation are the samples; Validation may be nil.
	Train, Validation dataset.Source
	// Fitted says that the weights before training are worth keeping unless it makes them better for sure: see Result.Best.
	Fitted bool
	Hooks  Hooks
	// Workers is the number of goroutines, 0 for GOMAXPROCS. It changes no result.
	Workers int
}

// Hooks are called from the goroutine of Run, between steps.
type Hooks struct {
	// BeforeStep may change masks. Steps count from 0.
	BeforeStep func(step, total int) error
	// BeforeTrials is called before a RangeTest and may give weights the form that training ends with; it is undone after the test. What it
	// makes is also what training has to be better than.
	BeforeTrials func() error
	// Back is called when training goes back to a step that it took before (see Config.FindRate).
	Back func(step int)
	// Progress is called before every trial of a RangeTest, after steps, at most every ProgressEvery, and after every epoch.
	Progress      func(Progress)
	ProgressEvery time.Duration
	// Checkpoint is called after a step when CheckpointEvery has passed since the last call or the start; it may call Save.
	Checkpoint      func() error
	CheckpointEvery time.Duration
}

// Progress is how far training has come. Loss and Accuracy are means over the epoch so far; Accuracy is −1 where answers are not
// right or wrong.
type Progress struct {
	Epoch, Epochs    int // epochs completed, of
	Step, Steps      int // steps completed, of
	Resumed          int // of them by an earlier run, whose checkpoint was loaded
	Loss, Accuracy   float64
	Rate             float64    // learning rate of the last step
	Finding          bool       // a RangeTest is under way, and tries Rate
	Test             *RangeTest // with Config.FindRate, once it is done
	SamplesPerSecond float64    // of training, since its first step: the search for a learning rate is apart, in Test
	Remaining        time.Duration
	Validation       *Score // after an epoch, if there are validation samples
	Layer, Layers    int    // while weights are reconstructed before training: layers done, of; 0 otherwise
	Range, Ranges    int    // while ranges of activations are searched: decided, of; 0 otherwise
}

// Score is the result on a set of samples.
type Score struct{ Loss, Accuracy float64 }

// Result is what Run did.
type Result struct {
	Epochs     int     // completed, those of earlier runs included
	Steps      int     // completed
	Training   Score   // of the last epoch
	History    []Score // of every epoch
	Validation *Score  // of the weights that were kept
	Best       int     // epoch the weights are of, from 0; −1: of the start, that training made no better
	Last       *Score  // of the validation samples after the last epoch, where other weights were kept
	Stopped    bool    // by EarlyStop
	Samples    int     // trained on by this run
	Elapsed    time.Duration
	RangeTest  *RangeTest // with FindRate
	Sought     *Sought    // with Seek
}

// maxLanes is the number of sums gradients are collected in. It is fixed, so that results do not depend on the number of workers.
const maxLanes = 8

// lane is what came of the micro-batches of a lane in a step, beside the gradients.
type lane struct {
	tally
	act []float.ActGrad
	err error
}

// Trainer runs a Task.
type Trainer struct {
	task   Task
	config Config
	heads  []*objective // by trained output; the first is the one whose accuracy is shown

	params   []*parameter // in the order of Network.Params
	workers  []*worker
	lanes    []lane
	sum      *float.Grads // of all lanes
	chunks   []*chunk
	sizes    []int // of the dataset's targets
	classes  []int // of them; 0 for values
	tasks    tasks
	turn     int64 // the lane that may begin to add to the sum
	reducing sync.Cond
	batch    batch
	norm     float64       // of the last step's gradients
	crew     *crew         // nil between calls
	cache    [][][]float32 // teacher's loss tensor by head and sample, nil if it is not cached
	ready    bool

	position // what a checkpoint holds, beside the parameters
}

// position is where training is.
type position struct {
	step       int     // steps completed
	resumed    int     // of them by an earlier run
	firstLoss  float64 // of the first batch
	begun      bool    // firstLoss is known
	epochSum   tally
	best       *kept // of the epochs that count
	sinceBest  int
	lastEpoch  Score
	history    []Score
	validation *kept // of the last epoch, without its state
	stopped    bool
	// With FindRate, once it is done:
	test       *RangeTest
	initial    *kept     // before training, in the form that BeforeTrials gives; nil without validation samples
	floor      float64   // a loss that is as good as none
	good       *snapshot // to go back to
	goodEpochs int       // completed in it
	// With Seek:
	sought *Sought // once the rate falls
	timed  int     // epochs that MaxTime allows, once known
	mark   float64 // validation loss that later ones are compared with
}

// tally adds up losses and right answers.
type tally struct {
	loss           float64
	right, samples int // answers of the first head; samples
}

func (t *tally) add(other tally) {
	t.loss += other.loss
	t.right += other.right
	t.samples += other.samples
}

// score returns the means; the accuracy is −1 if there are no right answers.
func (t tally) score(o *objective) Score {
	s := Score{Loss: t.loss / float64(max(t.samples, 1)), Accuracy: -1}
	if o.answers {
		s.Accuracy = float64(t.right) / float64(max(t.samples, 1)*o.choices())
	}
	return s
}

// New checks that task and configuration fit each other and prepares training.
func New(task Task, config Config) (*Trainer, error) {
	if err := config.Check(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	t := &Trainer{task: task, config: config}
	t.config.ClassWeights = append([]float64(nil), config.ClassWeights...)
	if err := t.checkSamples(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	if err := t.attach(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	if err := t.bind(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	if task.Ranges != nil {
		if err := task.Ranges.prepare(task.Network); err != nil {
			return nil, fmt.Errorf("training: %w", err)
		}
	}
	if t.task.Workers <= 0 {
		t.task.Workers = runtime.GOMAXPROCS(0)
	}
	t.task.Workers = min(t.task.Workers, maxLanes)
	return t, nil
}

// attach gives every output that is trained its loss.
func (t *Trainer) attach() error {
	targets, err := answer.Survey(t.task.Train)
	if err != nil {
		return err
	}
	if t.task.Outputs == nil {
		if t.task.Outputs, err = t.task.Chunks.Describe(t.task.Network.Graph, targets, nil, nil); err != nil {
			return err
		}
	}
	main := answer.Main(t.task.Outputs)
	var tensors []int
	weighted := t.config.ClassWeights == nil
	for i := range t.task.Outputs {
		out := &t.task.Outputs[i]
		if !out.Trained() {
			continue
		}
		classes := 0
		if out.Target >= 0 {
			classes = max(out.Classes, 1)
			if n := targets[out.Target].Classes; n > 0 {
				classes = n
			}
		}
		o, err := newObjective(t.task.Network, t.task.Chunks, out, classes, &t.config, t.task.Teacher != nil)
		if err != nil {
			return err
		}
		weighted = weighted || o.weights != nil || o.kind == none && classes == len(t.config.ClassWeights)
		if i == main {
			t.heads = append([]*objective{o}, t.heads...)
		} else {
			t.heads = append(t.heads, o)
		}
		tensors = append(tensors, o.tensor)
	}
	if len(t.heads) == 0 {
		return errors.New("no output is trained: spec.outputs gives them all loss None or weight 0")
	}
	if !weighted {
		classes := 0
		for _, target := range targets {
			classes = max(classes, target.Classes)
		}
		return fmt.Errorf("%d class weights for %d classes", len(t.config.ClassWeights), classes)
	}
	for i := range targets {
		t.sizes = append(t.sizes, targets[i].Size())
		t.classes = append(t.classes, targets[i].Classes)
	}
	t.task.Network.Attach(tensors...)
	return nil
}

// checkSamples compares the samples' sizes with the network's.
func (t *Trainer) checkSamples() error {
	n := t.task.Network
	if n == nil || t.task.Train == nil {
		return errors.New("a network and training samples are needed")
	}
	for name, src := range map[string]dataset.Source{"training": t.task.Train, "validation": t.task.Validation} {
		if src == nil {
			continue
		}
		if src.Len() == 0 {
			return fmt.Errorf("there are no %s samples", name)
		}
		arrays, inputs := src.Inputs(), len(n.Graph.Inputs)
		if c := t.task.Chunks; c != nil {
			inputs -= len(c.Left[0])
		}
		if len(arrays) != inputs {
			return fmt.Errorf("%s samples have %d inputs; the model has %d", name, len(arrays), inputs)
		}
		for k, a := range arrays {
			want := n.Graph.Numel(n.Graph.Inputs[k]) / n.MicroBatch
			if c := t.task.Chunks; c != nil {
				want = want / c.Chunk * c.Steps
			}
			if a.Size() != want {
				return fmt.Errorf("%s samples have shape %v, %d values; the model's input has %d", name, a.Shape, a.Size(), want)
			}
		}
	}
	if teacher := t.task.Teacher; teacher != nil {
		same := len(n.Graph.Outputs) == len(teacher.Graph.Outputs)
		for i := range n.Graph.Outputs {
			same = same && n.Graph.Numel(n.LossTensor(i)) == teacher.Graph.Numel(teacher.LossTensor(i))
		}
		same = same && len(n.Graph.Inputs) == len(teacher.Graph.Inputs)
		for i := range n.Graph.Inputs {
			same = same && n.Graph.Numel(n.Graph.Inputs[i]) == teacher.Graph.Numel(teacher.Graph.Inputs[i])
		}
		if n.MicroBatch != teacher.MicroBatch || !same {
			return errors.New("the teacher's micro-batch, input or output is not the network's")
		}
	}
	return nil
}

// stepsPerEpoch counts the last, smaller batch as well.
func (t *Trainer) stepsPerEpoch() int {
	return Steps(1, t.config.BatchSize, t.task.Train.Len())
}

// Steps returns the number of steps of the whole training, as far as it is known.
func (t *Trainer) Steps() int {
	return Steps(t.planned(), t.config.BatchSize, t.task.Train.Len())
}

// Steps is the number of optimizer steps of so many epochs over so many samples.
func Steps(epochs, batch, samples int) int { return epochs * ((samples + batch - 1) / batch) }
