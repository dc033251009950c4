package train

import (
	"errors"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// DivergedError says that training met a loss or gradient that is no number, or a loss beyond all measure.
type DivergedError struct {
	Loss  float64 // of the batch
	Layer string  // the first whose output or gradient is not finite, such as `operator 3 CONV_2D "conv/Relu"`; "" if the loss itself is not
	What  string  // output, gradient, loss; same: the network answers all samples alike
	From  float64 // where the loss is a number: what it was at first
	Grown float64 // and how many times the layer's weights grew
	Backs int     // how often training had gone back to a smaller rate, where the rate was found

	Input string  // whose samples are large, "" where none's are
	Size  float64 // and their root mean square
}

// largeInput is the root mean square of an input's samples from which on it is said to be what training diverged by: weights that read it are
// as much smaller than others, which rates and bounds on gradients do not tell apart. Raw pixels have 150 at most, raw sound of 16 bits 3e4.
const largeInput = 3e4

func (e *DivergedError) Error() string {
	if e.Input != "" {
		return fmt.Sprintf("training diverged: %s; the samples of input %q have a root mean square of %.2g, and training takes numbers about 1: scale them in preprocessing "+
			"(scale, or mean and std) as the network was trained; of one that was trained on such numbers divide these, and multiply the first layer's weights, by as much", e.cause(), e.Input, e.Size)
	}
	if e.Backs > 0 {
		return fmt.Sprintf("training diverged: %s, though the learning rate that was found was lowered %d times; are there outliers among the samples "+
			"or targets? clipNorm bounds what they do, learningRate sets a lower rate", e.cause(), e.Backs)
	}
	return fmt.Sprintf("training diverged: %s; try a lower learning rate (learningRate left out finds one), a warm-up or clipping gradients", e.cause())
}

const same = "answers"

// cause says what was met.
func (e *DivergedError) cause() string {
	switch {
	case e.What == same:
		return fmt.Sprintf("the network came to answer all samples alike, at a loss of %.4g", e.Loss)
	case e.Grown > 1.1:
		return fmt.Sprintf("the loss rose from %.4g to %.4g, and the %s grew most, %.3g times", e.From, e.Loss, e.Layer, e.Grown)
	case e.From > 0:
		return fmt.Sprintf("the loss rose from %.4g to %.4g", e.From, e.Loss)
	case e.Layer != "":
		return fmt.Sprintf("the %s of %s is not finite (loss %v)", e.What, e.Layer, e.Loss)
	}
	return fmt.Sprintf("the %s is not finite (loss %v)", e.What, e.Loss)
}

// A mean loss over an epoch of more than diverged times the first batch's (of at least leastLoss, for numbers that times their mean
// square: of a network trained to an end it may be all but zero) is no setback that training makes up for. Pruning at once, or a range
// that clips, cost a hundredth of that.
const (
	diverged  = 1000
	leastLoss = 0.01
)

// compare reports a loss that has left that of the first batch behind, and the layer whose weights grew most.
func (t *Trainer) compare(loss float64) error {
	if !t.begun || loss <= diverged*t.firstLoss {
		return nil
	}
	e := &DivergedError{Loss: loss, From: t.firstLoss, What: "loss"}
	for _, p := range t.params {
		if times := rms(p.param.Value) / max(p.size, 1e-6); times > e.Grown {
			e.Grown, e.Layer = times, fmt.Sprintf("%s %q", p.param.Kind, p.param.Name)
		}
	}
	return e
}

// refer sets the least that the first batch's loss is taken for, before any weight changes.
func (t *Trainer) refer(src dataset.Source, samples []int) error {
	if t.step > 0 {
		return nil
	}
	var err error
	t.firstLoss, err = t.negligible(src, samples)
	return err
}

// negligible is a loss that is as good as none, by the heads' units.
func (t *Trainer) negligible(src dataset.Source, samples []int) (sum float64, err error) {
	var e *float.Exec
	for _, h := range t.heads {
		least := leastLoss * h.scale
		if h.kind == squared || h.kind == none && h.teaching == squared {
			if e == nil {
				t.refresh()
				e = t.task.Network.NewExec(false)
				if err := t.workers[0].read(t.heads, e, src, samples[:min(len(samples), t.task.Network.MicroBatch)]); err != nil {
					return 0, err
				}
				t.workers[0].last(e)
			}
			least *= h.size(e.Tensor(h.tensor))
		}
		sum += least
	}
	return sum, nil
}

// size is the mean square of answers, in the units of the loss.
func (o *objective) size(z []float32) float64 {
	sum := 0.0
	for i, v := range z {
		by := 1.0
		if n := len(o.precision); n > 0 {
			by = o.precision[i%n]
		}
		sum += by * float64(v) * float64(v)
	}
	return sum / float64(max(len(z), 1))
}

// sized adds to a divergence which of the inputs is so large that it may be why.
func (t *Trainer) sized(err error, src dataset.Source, samples []int) error {
	var diverged *DivergedError
	if !errors.As(err, &diverged) {
		return err
	}
	n := t.task.Network
	e := n.NewExec(false)
	if err := t.workers[0].read(t.heads, e, src, samples[:min(len(samples), n.MicroBatch)]); err != nil {
		return err
	}
	diverged.Size = largeInput
	for i, values := range t.workers[0].inputs(e) {
		if in := &n.Graph.Tensors[n.Graph.Inputs[i]]; in.Type == schema.TensorTypeFLOAT32 {
			if size := rms(values); size > diverged.Size {
				diverged.Input, diverged.Size = in.Name, size
			}
		}
	}
	return err
}

// rms is the root mean square.
func rms(values []float32) float64 {
	sum := 0.0
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(len(values), 1)))
}

// diagnose repeats a batch whose loss or gradient is not finite, keeping every value, to find where that began.
func (t *Trainer) diagnose(src dataset.Source, samples []int, loss float64) error {
	n, w := t.task.Network, t.workers[0]
	e, g := n.NewDiagnosticExec(), n.NewGrads()
	for first := 0; first < len(samples); first += n.MicroBatch {
		part := samples[first:min(first+n.MicroBatch, len(samples))]
		if err := w.read(t.heads, e, src, part); err != nil {
			return err
		}
		answers := t.answers(w, w.inputs(e), part)
		inputs := w.original(t.heads, w.inputs(e))
		for pass := range w.passes() {
			w.pass(e, pass)
			if layer := e.NonFiniteOutput(); layer != "" {
				return &DivergedError{Loss: loss, Layer: layer, What: "output"}
			}
			if !w.asked(pass) {
				continue
			}
			w.losses(t.heads, e, pass, inputs, answers, true, 1/float64(len(samples)), nil)
			e.Backward(g)
			if layer := e.NonFiniteGradient(); layer != "" {
				return &DivergedError{Loss: loss, Layer: layer, What: "gradient"}
			}
		}
	}
	for _, p := range t.params {
		if !isFinite(p.squares) {
			return &DivergedError{Loss: loss, Layer: fmt.Sprintf("%s %q", p.param.Kind, p.param.Name), What: "gradient"}
		}
	}
	return &DivergedError{Loss: loss, What: "loss"}
}
