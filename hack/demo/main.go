// Command demo makes the demo's dataset, and the demo's model by training it on that dataset with Espalier's own trainer.
//
//	go run ./hack/demo data -o FOLDER      write FOLDER/glyphs.npz
//	go run ./hack/demo train -o FILE       train the classifier from scratch and write it (seconds)
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/train"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: demo data|train -o PATH")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	out := flags.String("o", "", "where to write")
	each := flags.Int("per-class", perClass, "training samples of a class; a sixth as many each for validation and test")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "data":
		return makeData(filepath.Join(*out, "glyphs.npz"), *each)
	case "train":
		return trainModel(ctx, *out)
	default:
		return fmt.Errorf("no command %q: data or train", args[0])
	}
}

// perClass is how many training samples of a class the demo's model was trained on.
const perClass = 600

// makeData writes the three splits, with so many training samples of a class; the same every time.
func makeData(path string, each int) error {
	shapes, err := templates()
	if err != nil {
		return err
	}
	if each < 6 {
		return fmt.Errorf("-per-class %d: want at least 6", each)
	}
	train, others := each*len(glyphs), each/6*len(glyphs)
	return writeDataset(path, generate(shapes, train, 1), generate(shapes, others, 2), generate(shapes, others, 3))
}

// trainModel trains the classifier and writes it.
func trainModel(ctx context.Context, path string) error {
	folder, err := os.MkdirTemp("", "glyphs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "glyphs.npz")
	if err := makeData(file, perClass); err != nil {
		return err
	}
	data, err := dataset.Open(file, dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}})
	if err != nil {
		return err
	}
	defer data.Close()
	content, err := untrained(1).Marshal()
	if err != nil {
		return err
	}
	network, err := lineage.Read(content)
	if err != nil {
		return err
	}
	config := train.DefaultConfig()
	config.Epochs, config.BatchSize, config.LearningRate, config.WarmupEpochs, config.LabelSmoothing = 12, 128, 4e-3, 0.5, 0.05
	config.Distillation.Weight = 0
	run := &lineage.Run{Data: data, Training: config, Progress: func(p train.Progress) {
		if p.Validation != nil {
			fmt.Printf("epoch %d/%d  loss %.4f  accuracy %.4f  validation %.4f  %.0f samples/s\n", p.Epoch, p.Epochs, p.Loss, p.Accuracy, p.Validation.Accuracy, p.SamplesPerSecond)
		}
	}}
	trained, err := run.Apply(ctx, network, lineage.Prune{}) // pruning nothing is training
	if err != nil {
		return err
	}
	return tflite.WriteFile(path, trained.Network.Model())
}
