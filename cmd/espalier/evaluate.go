package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/target"
)

func newEvaluateCommand(streams *ioStreams) *cobra.Command {
	var format output
	var data dataFlags
	var original, signature, device string
	var states stateFlags
	var workers int
	cmd := &cobra.Command{
		Use:   "evaluate MODEL --dataset DATA",
		Short: "Measure a .tflite, float or int8, on a dataset",
		Example: `  espalier evaluate leaf.tflite --dataset data.npz --dataset-spec '{preprocessing: {scale: "1/255"}}' --original model.tflite
  espalier evaluate out/leaves/pqat.tflite --dataset data.npz --pipeline out/result.json --split validation`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := readSignature(args[0], signature)
			if err != nil {
				return err
			}
			content, err := states.write(given)
			if err != nil {
				return err
			}
			var originals [][]byte
			if original != "" {
				other, err := states.read(original, signature)
				if err != nil {
					return err
				}
				originals = append(originals, other)
			}
			opened, source, err := data.open(streams, content, originals...)
			if err != nil {
				return err
			}
			defer opened.Close()
			leaf := content
			if content, err = asked(streams, content, source); err != nil {
				return err
			}
			options := measure.LeafOptions{LatencyBudget: 300 * time.Millisecond, Recognise: true}
			options.Workers = workers
			if options.Target, err = data.target(device); err != nil {
				return err
			}
			for _, other := range originals {
				if other, err = asked(streams, other, source); err != nil {
					return err
				}
				if options.Original, err = measure.Run(cmd.Context(), other, source, options.Options); err != nil {
					return unmeasured(fmt.Errorf("%s: %w", original, err))
				}
			}
			result, err := measure.Leaf(cmd.Context(), content, source, options)
			if err != nil {
				return unmeasured(fmt.Errorf("%s: %w", args[0], err))
			}
			if known, err := historyOf(leaf, args[0], ""); err == nil {
				known.correct(result.Metrics)
			}
			// What is measured may have the state that --state names, or the steps that it answers, written into it.
			result.Metrics[measure.FileBytes], result.Metrics[measure.CompressedBytes] = float64(len(given)), float64(measure.CompressedSize(given))
			divergence, err := divergenceOn(cmd.Context(), content, source, options.Target)
			if err != nil {
				return err
			}
			intervals := result.Metrics.Intervals(result.Answers.Evidence(options.Original))
			if guess := stage.Guess(&result.Answers.Outputs[answer.Main(result.Answers.Outputs)], intervals[measure.Accuracy]); guess != "" {
				streams.note("%s --pipeline or --dataset-spec says how", guess)
			}
			if format == outputJSON {
				out := map[string]any{"split": data.split, "samples": source.Len(), "metrics": result.Metrics}
				if len(intervals) > 0 {
					out["intervals"] = intervals
				}
				if divergence != nil {
					out["divergence"] = divergence
				}
				return printJSON(streams.Out, out)
			}
			err = table(streams, "", func(w io.Writer) {
				fmt.Fprintf(w, "split\t%s\nsamples\t%d\n", data.split, source.Len())
				for _, v := range result.Metrics.Values() {
					fmt.Fprintf(w, "%s\t%s\n", v.Name, figure(result.Metrics, intervals, v.Name))
				}
				if divergence != nil {
					fmt.Fprintf(w, "differs from LiteRT\t%s\n", describeDivergence(divergence))
				}
			})
			if len(intervals) > 0 {
				streams.say("%s", intervalsLegend)
			}
			return err
		},
	}
	format.addFlag(cmd)
	data.add(cmd, true)
	targetFlag(cmd, &device)
	states.add(cmd)
	cmd.Flags().StringVar(&original, "original", "", "model to measure AccuracyDrop and Agreement against")
	cmd.Flags().StringVar(&signature, "signature", "", "signature to measure, of a model with several; default: serving_default, else the file's first")
	cmd.Flags().IntVar(&workers, "workers", 0, "goroutines; 0: one a processor")
	return cmd
}

// target is the device whose arithmetic counts: that of --target, else that of the pipeline that is asked.
func (f *dataFlags) target(device string) (*target.Target, error) {
	if device != "" {
		t, err := target.Lookup(device)
		return t, fault.As(fault.Spec, err)
	}
	p, err := f.asked()
	if p == nil || err != nil {
		return nil, err
	}
	return stage.Target(&p.Spec)
}

// intervalsLegend explains what figure puts in parentheses.
var intervalsLegend = fmt.Sprintf("in parentheses: where it lies on all samples of the kind, with confidence %g", interval.Default)

// figure is a metric's value and its interval; "-" where it was not measured.
func figure(metrics measure.Metrics, intervals map[measure.Name]interval.Interval, name measure.Name) string {
	value, ok := metrics[name]
	if !ok {
		return "-"
	}
	text := measure.Format(value)
	if in, ok := intervals[name]; ok {
		text += fmt.Sprintf(" (%.4f to %.4f)", in.Low, in.High)
	}
	return text
}
