package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folder keeps objects as files below a folder. The blob library has such a backend too, but it renames what is left of a write that
// failed for want of space, and two processes that both write an object only if it is absent both succeed.
type folder struct{ path string }

func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, explain(path, fmt.Errorf("make the artifact store: %w", err))
	}
	return &folder{path}, nil
}

func (f *folder) close() error { return nil }

func (f *folder) file(key string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return "", fmt.Errorf("%s: %q leads out of the store", f.path, key)
	}
	return filepath.Join(f.path, filepath.FromSlash(key)), nil
}

func (f *folder) read(_ context.Context, key string) (io.ReadCloser, error) {
	path, err := f.file(key)
	if err != nil {
		return nil, err
	}
	r, err := os.Open(path)
	if err != nil {
		return nil, explain(path, err)
	}
	return r, nil
}

func (f *folder) write(ctx context.Context, key string, r io.Reader, ifAbsent bool) error {
	path, err := f.file(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return explain(path, err)
	}
	return explain(path, writeWhole(ctx, path, r, ifAbsent))
}

func (f *folder) remove(_ context.Context, key string) error {
	path, err := f.file(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return explain(path, err)
	}
	return nil
}

func (f *folder) list(_ context.Context, prefix string) ([]string, error) {
	root, err := f.file(prefix)
	if err != nil {
		return nil, err
	}
	var keys []string
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), writing) {
			return err
		}
		relative, err := filepath.Rel(f.path, path)
		keys = append(keys, filepath.ToSlash(relative))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return keys, explain(root, err)
}

// writing begins the names of files that are not whole yet.
const writing = ".writing-"

// writeWhole writes a file beside path, makes it durable, and only then gives it its name.
func writeWhole(ctx context.Context, path string, r io.Reader, ifAbsent bool) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), writing+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.Remove(temporary.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = os.Truncate(temporary.Name(), 0) // at least give the space back
		}
	}()
	_, err = io.Copy(temporary, readerWithContext{ctx, r})
	if err == nil {
		err = temporary.Chmod(0o644)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if closing := temporary.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if ifAbsent {
		return nameIfAbsent(temporary.Name(), path)
	}
	return os.Rename(temporary.Name(), path)
}

// nameIfAbsent gives a file its name unless that is taken. Where a file system has no hard links, two writers at the same moment may both
// succeed; the file is whole all the same.
func nameIfAbsent(temporary, path string) error {
	err := os.Link(temporary, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return errPresent
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EMLINK):
		if _, err := os.Lstat(path); err == nil {
			return errPresent
		}
		return os.Rename(temporary, path)
	}
	return err
}

// readerWithContext ends with the context's error.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
