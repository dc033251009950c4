package stage

import (
	"context"
	"errors"
	"io"
	"time"

	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/lineage"
)

const (
	checkpointEvery = 30 * time.Second
	// periodicSave bounds a save that training waits for.
	periodicSave = 30 * time.Second
	// saveShare is the part of the time that periodic saves may take: one in so many.
	saveShare = 20
)

// checkpoints has a task's training resume from what a stage saved, and save to it.
func (r *Runner) checkpoints(ctx context.Context, t *lineage.Run, name, hash string) error {
	s := &saver{runner: r, name: name, hash: hash}
	t.Checkpoint = &lineage.Checkpoint{Every: r.CheckpointEvery, Save: func(write func(io.Writer) error) error { return s.save(ctx, write) }}
	if t.Checkpoint.Every == 0 {
		t.Checkpoint.Every = checkpointEvery
	}
	var err error
	t.Checkpoint.Load, err = r.Store.LoadCheckpoint(ctx, hash)
	if errors.Is(err, artifact.ErrNotFound) {
		return nil
	}
	return fault.As(fault.Storage, err)
}

// saver saves one training, from one goroutine.
type saver struct {
	runner     *Runner
	name, hash string
	next       time.Time // no periodic save before
	failed     error     // of the save when stopped: there is no time for another
}

// save stores a checkpoint: of a training that is being stopped always, else unless saving takes too much of the time.
func (s *saver) save(ctx context.Context, write func(io.Writer) error) error {
	if ctx.Err() != nil {
		if s.failed == nil {
			s.failed = s.within(context.WithoutCancel(ctx), s.runner.Grace, write)
		}
		if s.failed != nil {
			return errors.Join(ctx.Err(), fault.As(fault.Storage, s.failed))
		}
		return nil
	}
	start := time.Now()
	if start.Before(s.next) {
		return nil
	}
	err := s.within(ctx, periodicSave, write)
	s.next = time.Now().Add(saveShare * time.Since(start))
	if ctx.Err() != nil { // training stops, and saves once more
		return nil
	}
	if errors.Is(err, artifact.ErrTemporary) { // a store that is away for a moment does not stop a training
		s.runner.warn(s.name, err)
		return nil
	}
	return fault.As(fault.Storage, err)
}

// within saves within a limit; 0: none.
func (s *saver) within(ctx context.Context, limit time.Duration, write func(io.Writer) error) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return s.runner.Store.SaveCheckpoint(ctx, s.hash, write)
}
