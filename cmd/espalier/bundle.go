package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/bundle"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
)

func newBundleCommand(streams *ioStreams) *cobra.Command {
	var data dataFlags
	var device, out, name, result string
	var vectors int
	cmd := &cobra.Command{
		Use:   "bundle LEAF --target TARGET -o FOLDER|FILE.zip",
		Short: "Write a leaf as the C++ sources of a firmware, with a test and a model card",
		Long: "Write a leaf as the C++ sources of a firmware for TensorFlow Lite Micro: aligned array, interpreter with just the kernels that are used, arena,\n" +
			"test vectors with a test that compares every byte, and a model card, as an Arduino library, an ESP-IDF component and a CMake project at once.",
		Example: "  espalier bundle out/leaves/pqat.tflite --target cortex-m4 -o firmware\n" +
			"  espalier bundle out/leaves/pqat.tflite --target esp32-s3 --dataset data.npz -o firmware.zip",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if device == "" || out == "" {
				return fault.As(fault.Spec, errors.New("--target and -o are needed: a device of espalier targets, and a folder or a file named .zip"))
			}
			if vectors < 1 {
				return fault.As(fault.Spec, fmt.Errorf("--vectors %d: at least 1 is needed", vectors))
			}
			if name != "" {
				if err := bundle.CheckName(name); err != nil {
					return fault.As(fault.Spec, fmt.Errorf("--name: %w", err))
				}
			}
			if err := data.needed(); err != nil {
				return err
			}
			leaf, err := readModelFile(args[0])
			if err != nil {
				return err
			}
			dated, err := sourceDate()
			if err != nil {
				return fault.As(fault.Spec, err)
			}
			o := bundle.Options{Name: name, Vectors: vectors, Made: tool(), Dated: dated}
			if o.Target, err = target.Lookup(device); err == nil {
				err = bundle.Suits(o.Target)
			}
			if err != nil {
				return fault.As(fault.Spec, fmt.Errorf("--target: %w", err))
			}
			if name == "" {
				o.Name = strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0]))
			}
			known, err := historyOf(leaf, args[0], result)
			if err != nil {
				return fault.As(fault.Spec, err)
			}
			o.History, o.Results = known.history, known.results
			if data.pipeline == "" && data.spec == "" && data.path != "" && known.result != "" {
				data.pipeline = known.result
				streams.note("the dataset is prepared as %s says", known.result)
			}
			if data.path != "" {
				opened, source, err := data.open(streams, leaf)
				if err != nil {
					return err
				}
				defer opened.Close()
				o.Source = source
				sequence, err := asked(streams, leaf, source)
				if err != nil {
					return err
				}
				measured, err := measure.Leaf(cmd.Context(), sequence, source, measure.LeafOptions{Target: o.Target, LatencyBudget: -1, Recognise: true})
				if err != nil {
					return unmeasured(fmt.Errorf("%s: %w", args[0], err))
				}
				o.Results = nil
				known.correct(measured.Metrics)
				for _, v := range measured.Metrics.Values() {
					text := v.Value
					if v.Name.OfAnswers() {
						text += fmt.Sprintf(" on %d samples", source.Len())
					}
					o.Results = append(o.Results, bundle.Result{Name: string(v.Name), Value: text})
				}
			}
			b, err := bundle.Make(leaf, o)
			if err != nil {
				return fault.As(fault.Model, fmt.Errorf("%s: %w", args[0], err))
			}
			if err := writeBundle(b, out); err != nil {
				return fault.As(fault.Storage, err)
			}
			for _, note := range b.Notes {
				streams.note("%s", note)
			}
			streams.say("%s: %d files, %d kernels, an arena of %d bytes on %s, %d test vectors", out, len(b.Files), len(b.Kernels), b.Memory.Bytes, o.Target.Name, b.Vectors)
			return nil
		},
	}
	data.add(cmd, false)
	targetFlag(cmd, &device)
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder to make, or a file named .zip")
	cmd.Flags().StringVar(&name, "name", "", "name of files and of the C++ namespace; default: the leaf's file name")
	cmd.Flags().StringVar(&result, "result", "", "result.json of the run that made the leaf, for the model card; default: that of the folder it lies in, or of the one above")
	cmd.Flags().IntVar(&vectors, "vectors", 4, "test vectors: the first samples of the dataset, else seeded noise")
	return cmd
}

// sourceDate is the time that SOURCE_DATE_EPOCH names, as reproducible builds have it, in seconds since 1970; zero without.
func sourceDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32) // what an archive can tell
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%.20q: want seconds since 1970, from 0 to %d, or none", text, uint32(math.MaxUint32))
	}
	return time.Unix(int64(seconds), 0), nil
}

func writeBundle(b *bundle.Bundle, out string) error {
	if !strings.EqualFold(filepath.Ext(out), ".zip") {
		return b.WriteFolder(out)
	}
	content, err := b.Zip()
	if err != nil {
		return err
	}
	return tflite.WriteWhole(out, content)
}

// known is what a run's result tells of a leaf.
type known struct {
	result   string // the file; "" where there is none that knows the leaf
	history  []string
	results  []bundle.Result
	clusters float64 // 0 where it does not say
}

// correct puts in what the leaf alone does not tell: which of its tensors were clustered.
func (k known) correct(m measure.Metrics) {
	if k.clusters > 0 {
		m[measure.Clusters] = k.clusters
	}
}

// historyOf is what a run's result tells of a leaf: nothing where there is none, an error where the one that was named does not know it.
func historyOf(leaf []byte, path, result string) (k known, err error) {
	named := result != ""
	places := []string{result}
	if !named { // a leaf of a run lies in a folder beside it, a published one beside it
		places = []string{filepath.Join(filepath.Dir(path), "..", stage.ResultFile), filepath.Join(filepath.Dir(path), stage.ResultFile)}
	}
	var content []byte
	for _, result = range places {
		if content, err = os.ReadFile(result); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) && !named {
		return k, nil
	}
	var pipeline *v1alpha1.OptimizationPipeline
	if err == nil {
		pipeline, _, err = stage.ReadResult(content)
	}
	if err != nil {
		return k, fmt.Errorf("--result: %s: %w: name the result.json of the run that made the leaf", result, err)
	}
	found := madeBy(pipeline, leaf)
	switch {
	case found == nil && named:
		return k, fmt.Errorf("--result: %s knows no leaf with the content of %s: name the result.json of the run that made it", result, path)
	case found == nil:
		return k, nil
	}
	k.result = result
	for _, v := range found.Leaf.Metrics {
		text := v.Value
		switch name := measure.Name(v.Name); {
		case name == measure.ArenaBytes: // of the run's runtime: the card has that of the bundle's device
			continue
		case name == measure.LatencyMicros:
			text += " on the computer of the run, not on the device"
		case name.OfAnswers():
			text += " on the validation split"
		}
		k.results = append(k.results, bundle.Result{Name: v.Name, Value: text})
	}
	k.clusters, _ = strconv.ParseFloat(walk.Value(found.Leaf.Metrics, v1alpha1.Clusters), 64) // 0 where it is missing
	for name := found.Name; name != "" && name != v1alpha1.FromModel; {
		line, input := stageLine(pipeline, name)
		k.history, name = append(k.history, line), input
	}
	if b := pipeline.Status.Baseline; b != nil {
		k.history = append(k.history, fmt.Sprintf("from the model %s, with the dataset %s", b.ModelDigest, b.DatasetDigest))
	}
	slices.Reverse(k.history)
	k.history = append(k.history, "algorithm "+pipeline.Status.AlgorithmVersion)
	return k, nil
}

// stageLine says what a stage did, and what it worked on.
func stageLine(p *v1alpha1.OptimizationPipeline, name string) (line, input string) {
	for _, s := range p.Status.Stages {
		if s.Name == name {
			input = s.Input
		}
	}
	if name == walk.Search { // of an object in a cluster, which has no room for them
		return name + ": the stages that it found are in " + stage.FoundFile + ", published beside the leaf", input
	}
	line = name
	if s := p.Spec.Stage(name); s != nil {
		technique, section := s.Technique()
		if text, err := json.Marshal(section); err == nil {
			line = fmt.Sprintf("%s: %s %s", name, technique, text)
		}
	}
	return line, input
}
