package measurement

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
)

// Local runs commands on this machine, one at a time: a board measures one leaf at a time.
type Local struct {
	// Dir is where commands start, and what paths in them are relative to.
	Dir string

	mutex sync.Mutex
}

// Program tells the program of a measurement from others: by the content of the files that its command names.
func (l *Local) Program(m *v1alpha1.Measurement) (string, error) {
	program, err := l.find(m.Command[0])
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for i, word := range m.Command {
		file := word
		if i == 0 {
			file = program
		} else if !filepath.IsAbs(file) {
			file = filepath.Join(l.Dir, file)
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := digest(sum, file); err != nil {
			return "", err
		}
	}
	return "files:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// digest adds a file's digest to a sum.
func digest(sum io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	own := sha256.New()
	if _, err := io.Copy(own, f); err != nil {
		return err
	}
	_, err = sum.Write(own.Sum(nil))
	return err
}

// find is the file of a command's program.
func (l *Local) find(name string) (string, error) {
	file := name
	if strings.ContainsRune(name, filepath.Separator) {
		folder, err := filepath.Abs(l.Dir)
		if err != nil {
			return "", err
		}
		if file = name; !filepath.IsAbs(name) {
			file = filepath.Join(folder, name)
		}
	}
	file, err := exec.LookPath(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("%s: %w", name, errProgram)
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, errMissing)
	}
	return filepath.Abs(file)
}

// Run has the command of a measurement print what it measures of a leaf.
func (l *Local) Run(ctx context.Context, m *v1alpha1.Measurement, leaf []byte) ([]byte, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	scratch, err := os.MkdirTemp("", "espalier-measure-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	file := filepath.Join(scratch, leafFile)
	if err := os.WriteFile(file, leaf, 0o600); err != nil {
		return nil, err
	}
	program, err := l.find(m.Command[0])
	if err != nil {
		return nil, err
	}
	command := append([]string{program}, m.Command[1:]...)
	output, said, err := run(ctx, append(command, file), l.Dir, scratch, timeout(m))
	if said = strings.Join(strings.Fields(said), " "); err != nil && said != "" && ctx.Err() == nil {
		err = fmt.Errorf("%w; the end of what it said: %s", err, said)
	}
	return output, err
}

// leafFile is the name of the file that a program is given.
const leafFile = "leaf.tflite"

// Runner is what runs the programs of measurements.
type Runner interface {
	// Program tells the program of a measurement from others that may go by the same name.
	Program(m *v1alpha1.Measurement) (string, error)
	// Run returns what the program prints about a leaf.
	Run(ctx context.Context, m *v1alpha1.Measurement, leaf []byte) ([]byte, error)
}

// Measure has a measurement's program run, again where it fails, and reads what it prints.
func Measure(ctx context.Context, r Runner, m *v1alpha1.Measurement, leaf []byte) ([]v1alpha1.MetricValue, error) {
	retries := int(v1alpha1.Or(m.Retries, v1alpha1.DefaultMeasurementRetries))
	for try := 0; ; try++ {
		output, err := r.Run(ctx, m, leaf)
		var values []v1alpha1.MetricValue
		if err == nil {
			values, err = Parse(output, m)
		}
		switch {
		case err == nil:
			return values, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case Final(err):
			return nil, fmt.Errorf("measurement %s: %w", m.Name, err)
		case try >= retries && try > 0:
			return nil, fmt.Errorf("measurement %s failed %d times: %w", m.Name, try+1, err)
		case try >= retries:
			return nil, fmt.Errorf("measurement %s: %w", m.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try+1) * pause):
		}
	}
}

// pause before the second run; a longer one before each other.
var pause = time.Second
