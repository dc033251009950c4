package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/tflite"
)

// folder is the output of a run: files appear whole or not at all.
type folder struct{ path string }

// write writes the leaves, the models between, the result and the report.
func (f *folder) write(ctx context.Context, p *stage.Publication) error {
	for _, sub := range []string{"leaves", "models"} {
		if err := f.fresh(sub); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(f.path, stage.FoundFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.Files(ctx, func(name string, content []byte) error {
		return tflite.WriteWhole(filepath.Join(f.path, filepath.FromSlash(name)), content)
	})
}

// fresh empties the .tflite files of a subfolder, so that it holds this run's alone.
func (f *folder) fresh(sub string) error {
	path := filepath.Join(f.path, sub)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(path, "*.tflite"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
