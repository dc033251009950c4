package train

import (
	"fmt"

	"espalier.dev/espalier/optimizer/dataset"
)

// DivergedError says that training met a loss or gradient that is no number.
type DivergedError struct {
	Loss  float64 // of the batch
	Layer string  // the first whose output or gradient is not finite, such as `operator 3 CONV_2D "conv/Relu"`; "" if the loss itself is not
	What  string  // output, gradient, loss
}

func (e *DivergedError) Error() string {
	where := "the " + e.What
	if e.Layer != "" {
		where = fmt.Sprintf("the %s of %s", e.What, e.Layer)
	}
	return fmt.Sprintf("training diverged: %s is not finite (loss %v); try a lower learning rate, a warm-up or clipping gradients", where, e.Loss)
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
		answers := t.answers(w, e.Input(0), part)
		inputs := w.original(t.heads, e.Input(0))
		e.Forward()
		if layer := e.NonFiniteOutput(); layer != "" {
			return &DivergedError{Loss: loss, Layer: layer, What: "output"}
		}
		w.losses(t.heads, e, inputs, answers, true, 1/float64(len(samples)))
		e.Backward(g)
		if layer := e.NonFiniteGradient(); layer != "" {
			return &DivergedError{Loss: loss, Layer: layer, What: "gradient"}
		}
	}
	for _, p := range t.params {
		if !isFinite(p.squares) {
			return &DivergedError{Loss: loss, Layer: fmt.Sprintf("%s %q", p.param.Kind, p.param.Name), What: "gradient"}
		}
	}
	return &DivergedError{Loss: loss, What: "loss"}
}
