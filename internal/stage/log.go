package stage

import (
	"log/slog"
	"sync"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/train"
)

const (
	beat          = 30 * time.Second
	progressEvery = 10 * time.Second
)

// heartbeat logs that work goes on, until it is told to stop.
func heartbeat(log *slog.Logger) (stop func()) {
	done, start := make(chan struct{}), time.Now()
	go func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				log.Info("working", "seconds", int(time.Since(start).Seconds()))
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
}

// progressLog logs the progress of trainings, one after the other: every epoch, and now and then between. It is for one goroutine.
type progressLog struct {
	log   *slog.Logger
	stage string
	found bool // a learning rate, and it was said
	epoch int
	last  time.Time
}

func (l *progressLog) tell(stage string, p train.Progress) {
	if stage != l.stage { // another trial of a search
		*l = progressLog{log: l.log, stage: stage}
	}
	if p.Resumed > 0 && l.last.IsZero() {
		l.log.Info("resumed", "step", p.Resumed, "steps", p.Steps)
	}
	if p.Layers > 0 {
		l.log.Info("reconstructing", "layer", p.Layer, "layers", p.Layers)
		return
	}
	if p.Ranges > 0 {
		l.log.Info("searching ranges", "range", p.Range, "ranges", p.Ranges)
		return
	}
	if p.Finding {
		return
	}
	if p.Test != nil && !l.found {
		l.found = true
		l.log.Info("learning rate found", "learningRate", p.Test.Rate, "trials", len(p.Test.Trials), "seconds", p.Test.Seconds)
	}
	if p.Epoch == l.epoch && time.Since(l.last) < progressEvery {
		return
	}
	l.epoch, l.last = p.Epoch, time.Now()
	attrs := []any{
		"epoch", p.Epoch, "epochs", p.Epochs, "step", p.Step, "steps", p.Steps, "loss", p.Loss, "learningRate", p.Rate,
		"samplesPerSecond", int(p.SamplesPerSecond), "remainingSeconds", int(p.Remaining.Seconds()),
	}
	if p.Accuracy >= 0 {
		attrs = append(attrs, "accuracy", p.Accuracy)
	}
	if p.Validation != nil && p.Validation.Accuracy >= 0 {
		attrs = append(attrs, "validationAccuracy", p.Validation.Accuracy)
	}
	l.log.Info("training", attrs...)
}

// metricAttrs are metrics as one group.
func metricAttrs(metrics []v1alpha1.MetricValue) slog.Value {
	attrs := make([]slog.Attr, len(metrics))
	for i, m := range metrics {
		attrs[i] = slog.String(m.Name, m.Value)
	}
	return slog.GroupValue(attrs...)
}
